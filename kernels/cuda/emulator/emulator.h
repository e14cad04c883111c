// CUDA's execution model on the CPU, for kernels that include kernels/cuda/launch.h: a block's threads are fibers,
// which run one at a time until they reach a barrier or a warp collective. Detected and reported with the kernel's name
// and the source line: barriers that not all threads of a block reach, or reach at different places; deadlocks;
// collectives whose lanes disagree or have left; copies nobody waited for; misaligned vector accesses; launches beyond
// the hardware's limits. Shared memory holds NaN until it is written and has guard zones around every array.
//
// The order in which threads run is one of those of Order, seeded: a kernel must give the same bits under all of them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/cuda/runtime.h"

// The standard headers that use these words as attributes are included above.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace vitrine::kernels::cuda {

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
constexpr float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulator {

/// A place in the sources.
struct Site {
  const char* file;
  int line;
};

/// Which thread runs next: the first or last that can; a random one; or, greedy, threads of one warp as long as any of
/// them can run. Warps have priorities that are drawn again now and then. Greedy is unfair, as hardware may be.
enum class Order : std::uint8_t { forward, reverse, random, greedy };

/// What the running kernel may read beside its own stack: indices, and its parameters.
struct Visible {
  uint3 thread_index, block_index;
  dim3 block_size, grid_size;
  alignas(16) unsigned char parameters[4096];
};
extern Visible visible;

/// Runs invoke(visible.parameters) for every thread of the grid.
void run(const void* kernel, void (*invoke)(void*), dim3 grid, dim3 block, std::size_t shared_bytes,
         std::size_t parameter_bytes) noexcept;

void barrier(Site) noexcept;
enum class Collective : std::uint8_t { none, sync, shuffle, ballot, load_matrices, multiply_bf16, multiply_tf32 };
/// Waits until all lanes of the mask have arrived; in and out are this lane's operands.
void collective(Collective, unsigned mask, const void* in, void* out, std::size_t bytes, Site) noexcept;
unsigned lane() noexcept;
void* shared_array(const void* key, std::size_t bytes, std::size_t alignment, Site) noexcept;
void* dynamic_array(Site) noexcept;
void copy_async(void* to, const void* from, Site) noexcept;
void commit_copies() noexcept;
void wait_copies(int pending) noexcept;
/// Checks the alignment and, in the check build, the access; copies 16 bytes.
void copy16(void* to, const void* from, const void* checked, bool write, Site) noexcept;
float atomic_add(float* to, float value, Site) noexcept;
std::int32_t atomic_add(std::int32_t* to, std::int32_t value, Site) noexcept;
std::uint32_t atomic_add(std::uint32_t* to, std::uint32_t value, Site) noexcept;
unsigned long long atomic_add(unsigned long long* to, unsigned long long value, Site) noexcept;

/// A shuffle as posted by a lane: the value, and the lane that it wants.
struct Shuffled {
  unsigned char value[8];
  unsigned from;
};

template <class T>
T shuffled(T value, unsigned from, unsigned mask, Site site) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  Shuffled in{};
  std::memcpy(in.value, &value, sizeof value);
  in.from = from;
  Shuffled out{};
  collective(Collective::shuffle, mask, &in, &out, sizeof in, site);
  std::memcpy(&value, out.value, sizeof value);
  return value;
}

/// A lane's operands and result of a matrix product.
struct Fragments {
  float d[4];
  std::uint32_t a[4], b[2];
};

}  // namespace emulator

// CUDA's own names for the indices.
inline constexpr const uint3& threadIdx = emulator::visible.thread_index;
inline constexpr const uint3& blockIdx = emulator::visible.block_index;
inline constexpr const dim3& blockDim = emulator::visible.block_size;
inline constexpr const dim3& gridDim = emulator::visible.grid_size;

constexpr unsigned all_lanes = 0xffffffffu;

#define VITRINE_SITE \
  ::vitrine::kernels::cuda::emulator::Site { file, line }
#define VITRINE_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

#define VITRINE_SHARED(name, ...)                                                                              \
  auto& name = *static_cast<std::add_pointer_t<__VA_ARGS__>>(::vitrine::kernels::cuda::emulator::shared_array( \
      [] {                                                                                                     \
        static char key;                                                                                       \
        return &key;                                                                                           \
      }(),                                                                                                     \
      sizeof(std::type_identity_t<__VA_ARGS__>), alignof(std::type_identity_t<__VA_ARGS__>),                   \
      {__builtin_FILE(), __LINE__}))

template <class T>
T* dynamic_shared(VITRINE_HERE) {
  return static_cast<T*>(emulator::dynamic_array(VITRINE_SITE));
}

inline void sync_threads(VITRINE_HERE) { emulator::barrier(VITRINE_SITE); }
inline void sync_warp(VITRINE_HERE) {
  emulator::collective(emulator::Collective::sync, all_lanes, nullptr, nullptr, 0, VITRINE_SITE);
}

template <class T>
T shuffle_xor(T value, int bits, unsigned mask = all_lanes, VITRINE_HERE) {
  return emulator::shuffled(value, emulator::lane() ^ static_cast<unsigned>(bits), mask, VITRINE_SITE);
}
template <class T>
T shuffle_down(T value, unsigned offset, unsigned mask = all_lanes, VITRINE_HERE) {
  const unsigned from = emulator::lane() + offset;
  return emulator::shuffled(value, from < 32 ? from : emulator::lane(), mask, VITRINE_SITE);
}
template <class T>
T shuffle(T value, int lane, unsigned mask = all_lanes, VITRINE_HERE) {
  return emulator::shuffled(value, static_cast<unsigned>(lane) & 31u, mask, VITRINE_SITE);
}
inline unsigned ballot(bool predicate, unsigned mask = all_lanes, VITRINE_HERE) {
  unsigned in = predicate, out = 0;
  emulator::collective(emulator::Collective::ballot, mask, &in, &out, sizeof in, VITRINE_SITE);
  return out;
}

template <class T>
T atomic_add(T* to, T value, VITRINE_HERE) {
  return emulator::atomic_add(to, value, VITRINE_SITE);
}

inline float4 load4(const float* p, VITRINE_HERE) {
  float4 v;
  emulator::copy16(&v, p, p, false, VITRINE_SITE);
  return v;
}
inline void store4(float* p, float4 v, VITRINE_HERE) { emulator::copy16(p, &v, p, true, VITRINE_SITE); }

inline void copy_async(float* to_shared, const float* from, VITRINE_HERE) {
  emulator::copy_async(to_shared, from, VITRINE_SITE);
}
inline void commit_copies() { emulator::commit_copies(); }
template <int Pending>
void wait_copies() {
  emulator::wait_copies(Pending);
}

inline void load_matrices(std::uint32_t (&r)[4], const void* row, VITRINE_HERE) {
  emulator::collective(emulator::Collective::load_matrices, all_lanes, &row, r, sizeof row, VITRINE_SITE);
}
inline void multiply(emulator::Collective which, float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                     std::uint32_t b1, emulator::Site site) {
  emulator::Fragments f = {{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  emulator::collective(which, all_lanes, &f, d, sizeof f, site);
}
inline void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                          VITRINE_HERE) {
  multiply(emulator::Collective::multiply_bf16, d, a, b0, b1, VITRINE_SITE);
}
inline void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                          VITRINE_HERE) {
  multiply(emulator::Collective::multiply_tf32, d, a, b0, b1, VITRINE_SITE);
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, A&&... args) noexcept {
  static_assert(sizeof...(P) == sizeof...(A), "the kernel has another number of parameters");
  static_assert((std::is_trivially_copyable_v<P> && ...), "parameters go to the device as bytes");
  if (failed()) return;
  using Call = std::pair<void (*)(P...), std::tuple<std::remove_cv_t<P>...>>;
  static_assert(sizeof(Call) <= sizeof emulator::visible.parameters, "CUDA allows 4 KiB of parameters");
  new (emulator::visible.parameters) Call(kernel, std::tuple<std::remove_cv_t<P>...>(std::forward<A>(args)...));
  emulator::run(
      reinterpret_cast<const void*>(kernel),
      [](void* p) {
        const Call& call = *static_cast<Call*>(p);
        std::apply(call.first, call.second);
      },
      grid, block, shared_bytes, sizeof(Call));
}

#undef VITRINE_SITE
#undef VITRINE_HERE

}  // namespace vitrine::kernels::cuda
