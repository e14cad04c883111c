#include "kernels/cuda/emulator/device_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace vitrine::ptx {
namespace {

constexpr std::size_t unit = 256;

void* reserve(std::size_t bytes, int protection) {
  void* p = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) std::abort();
#ifdef MADV_HUGEPAGE
  if (protection != PROT_NONE) ::madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

// Releases the pages that are wholly inside; their content is then zero.
void forget(void* p, std::size_t bytes) {
  constexpr std::size_t page = 4096;
  auto first = reinterpret_cast<std::uintptr_t>(p);
  const std::uintptr_t last = (first + bytes) / page * page;
  const std::uintptr_t aligned = (first + page - 1) / page * page;
  if (aligned >= last) {
    std::memset(p, 0, bytes);
    return;
  }
  std::memset(p, 0, aligned - first);
  ::madvise(reinterpret_cast<void*>(aligned), last - aligned, MADV_DONTNEED);
  std::memset(reinterpret_cast<void*>(last), 0, first + bytes - last);
}

}  // namespace

DeviceMemory& DeviceMemory::instance() {
  static DeviceMemory* const memory = new DeviceMemory();  // never destroyed: modules unload late
  return *memory;
}

DeviceMemory::DeviceMemory() {
  base_ = reinterpret_cast<std::uint64_t>(reserve(size, PROT_NONE));
  data_ = static_cast<std::byte*>(reserve(size, PROT_READ | PROT_WRITE));
  shadow_ = static_cast<std::uint8_t*>(reserve(size, PROT_READ | PROT_WRITE));
}

std::uint64_t DeviceMemory::allocate(std::size_t bytes) {
  if (bytes > capacity_ - used_) return 0;
  // First fit; a block takes its bytes rounded up, and a unit of gap after it.
  const auto room = [](std::size_t b) { return (b + unit - 1) / unit * unit + unit; };
  std::uint64_t at = base_ + unit;
  for (const auto& [address, size_of] : blocks_) {
    if (address - at >= room(bytes)) break;
    at = address + room(size_of);
  }
  if (at + room(bytes) > base_ + size) return 0;
  blocks_[at] = bytes;
  used_ += bytes;
  // What nobody wrote needs no poison: reading it is found by the shadow.
  std::memset(shadow(at), uninitialised, bytes);
  return at;
}

bool DeviceMemory::release(std::uint64_t address) {
  const auto block = blocks_.find(address);
  if (block == blocks_.end()) return false;
  static_assert(unmapped == 0);
  forget(shadow(address), block->second);
  forget(raw(address), block->second);
  used_ -= block->second;
  blocks_.erase(block);
  return true;
}

std::byte* DeviceMemory::data(std::uint64_t address, std::size_t bytes) const noexcept {
  auto block = blocks_.upper_bound(address);
  if (block == blocks_.begin()) return nullptr;
  --block;
  return address - block->first <= block->second && bytes <= block->second - (address - block->first) ? raw(address)
                                                                                                      : nullptr;
}

void DeviceMemory::mark(std::uint64_t address, std::size_t bytes, Shadow s) { std::memset(shadow(address), s, bytes); }

void DeviceMemory::copy(std::uint64_t to, std::uint64_t from, std::size_t bytes) {
  std::memmove(raw(to), raw(from), bytes);
  std::memmove(shadow(to), shadow(from), bytes);
}

std::string DeviceMemory::describe(std::uint64_t address) const {
  if (!contains(address)) return "is no device memory (a host pointer?)";
  auto block = blocks_.upper_bound(address);
  if (block == blocks_.begin()) return "lies before all allocations";
  --block;
  return std::to_string(address - block->first - block->second) + " bytes past the end of an allocation of " +
         std::to_string(block->second) + " bytes";
}

}  // namespace vitrine::ptx
