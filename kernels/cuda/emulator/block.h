// What the emulator's files share.
#pragma once

#include <string>

#include "kernels/cuda/emulator/emulator.h"

namespace vitrine::kernels::cuda::emulator {

/// How the emulator runs, read from the environment when a device is opened:
/// VITRINE_EMULATOR_ORDER=forward|reverse|random|greedy, VITRINE_EMULATOR_SEED=N.
struct Options {
  Order order = Order::greedy;
  std::uint64_t seed = 1;
};
extern Options options;

/// A range of addresses.
struct Range {
  const std::byte* begin = nullptr;
  const std::byte* end = nullptr;
  bool holds(const void* p, std::size_t bytes) const noexcept {
    const auto* b = static_cast<const std::byte*>(p);
    return b >= begin && b + bytes <= end;
  }
};

/// Poison: NaN as a float, far outside any array as an index.
constexpr std::uint32_t poison_bits = 0x7fa1dead;
void poison(void* p, std::size_t bytes) noexcept;

// --- heap.cpp
/// The address range of device memory. It is accessible during kernels and copies only.
Range device_range() noexcept;
void open_heap() noexcept;
void close_heap() noexcept;
/// The allocation that holds p; empty if there is none.
Range allocation_of(const void* p) noexcept;

// --- emulator.cpp
/// The running thread, for the check build.
struct Here {
  bool in_kernel = false;
  std::uint32_t launch = 0;      ///< counts from 1
  std::uint64_t block = 0;       ///< linear
  std::uint32_t thread = 0;      ///< linear within the block
  std::uint32_t phase = 0;       ///< barriers of the block so far
  std::uint32_t warp_phase = 0;  ///< sync_warps of the warp so far
};
extern Here here;
Range stacks() noexcept;
Range shared_memory() noexcept;
/// Ends the launch with a failure. The caller, if it is a kernel's thread, then calls leave().
void stop(const char* what, Site site, const char* detail = "") noexcept;
/// Leaves a stopped kernel for good.
void leave() noexcept;
/// The running kernel as written in the sources.
std::string kernel_name();

// --- check.cpp, empty functions in the plain build
namespace check {
void launch_begins() noexcept;
void launch_ends() noexcept;
void block_begins() noexcept;
void block_ends() noexcept;
/// Memory is allocated, with or without content.
void created(const void*, std::size_t bytes, bool initialised) noexcept;
void destroyed(const void*, std::size_t bytes) noexcept;
/// Written by an asynchronous copy that has not been waited for.
void pending(const void*, std::size_t bytes) noexcept;
enum class Access : std::uint8_t { read, write, atomic };
/// The emulator accesses memory for the running thread (or for `thread` of its warp).
void access(const void*, std::size_t bytes, Access, Site) noexcept;
}  // namespace check

}  // namespace vitrine::kernels::cuda::emulator
