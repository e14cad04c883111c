// What a file of CUDA kernels includes. nvcc compiles it to the real thing; g++ and clang++ compile the same sources
// against the fiber emulator (kernels/cuda/emulator), which runs every thread of every block on the CPU.
//
// Kernels use CUDA's own names where both compilers know them (__global__, __device__, threadIdx, blockIdx, blockDim,
// gridDim, float4, dim3) and the wrappers below for the rest: shared memory, barriers, warp collectives, asynchronous
// copies, matrix instructions and launches. Rules that keep both sides equal:
//  - no kernel in an anonymous namespace, no static kernel: its mangled name is how tools find it;
//  - parameters are trivially copyable and go by value; no __constant__, no cooperative groups, no __activemask;
//  - a vector access goes through load4/store4, which check the alignment;
//  - all warps of a block are full (block sizes are multiples of 32), every collective has all 32 lanes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/cuda/runtime.h"

#ifdef __CUDACC__

#include <cuda_runtime.h>

namespace vitrine::kernels::cuda {

/// `VITRINE_SHARED(tile, float[16][68]);` declares a __shared__ array. A type, not a declarator, so that the emulator
/// can place, poison and guard it.
#define VITRINE_SHARED(name, ...) __shared__ std::type_identity_t<__VA_ARGS__> name

constexpr unsigned all_lanes = 0xffffffffu;

/// The dynamic shared memory of the launch, aligned to 16 bytes.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char vitrine_dynamic_shared[];
  return reinterpret_cast<T*>(vitrine_dynamic_shared);
}

__device__ __forceinline__ void sync_threads() { __syncthreads(); }
__device__ __forceinline__ void sync_warp() { __syncwarp(all_lanes); }

/// The value that the lane (own lane ^ bits), (own lane + offset), or `lane` holds.
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int bits, unsigned mask = all_lanes) {
  return __shfl_xor_sync(mask, value, bits);
}
template <class T>
__device__ __forceinline__ T shuffle_down(T value, unsigned offset, unsigned mask = all_lanes) {
  return __shfl_down_sync(mask, value, offset);
}
template <class T>
__device__ __forceinline__ T shuffle(T value, int lane, unsigned mask = all_lanes) {
  return __shfl_sync(mask, value, lane);
}
__device__ __forceinline__ unsigned ballot(bool predicate, unsigned mask = all_lanes) {
  return __ballot_sync(mask, predicate);
}

template <class T>
__device__ __forceinline__ T atomic_add(T* to, T value) {
  return atomicAdd(to, value);
}

/// Four floats from or to memory aligned to 16 bytes, in one access.
__device__ __forceinline__ float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ __forceinline__ void store4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }

/// Starts copying one float from global to shared memory; zero if `from` is null. The thread may read it after the
/// wait_copies that covers it, other threads after a barrier that follows. Before sm_80 the copy is immediate.
__device__ __forceinline__ void copy_async(float* to_shared, const float* from) {
#if __CUDA_ARCH__ >= 800
  // Size 0 reads nothing and fills with zeros; the address must still be one of global memory, so any will do.
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(to_shared)), bytes = from ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#else
  *to_shared = from ? *from : 0.0f;
#endif
}
/// Closes a group of copies.
__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}
/// Waits for all groups of this thread but the latest `Pending`.
template <int Pending>
__device__ __forceinline__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(Pending) : "memory");
#endif
}

/// Four 8x8 matrices of 16-bit elements (or 8x4 of 32-bit ones) from shared memory: lanes 8i ... 8i+7 give the
/// addresses of the rows of matrix i, 16 bytes each and aligned so; lane l receives in r[i] the 4 bytes of row l/4,
/// place l%4.
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], const void* row) {
  const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}

/// d += a b by one warp, m16n8k16, a row-major and b column-major in bf16, d in float. Needs sm_80.
__device__ __forceinline__ void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                              std::uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
/// The same, m16n8k8 in tf32.
__device__ __forceinline__ void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                              std::uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/// The stream on which the module does everything.
cudaStream_t stream() noexcept;

/// Queues kernel(args...) on the module's stream. Arguments are converted to the parameters' types first and go by
/// value. A failure is kept (runtime.h), and nothing is launched after one.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, A&&... args) noexcept {
  static_assert(sizeof...(P) == sizeof...(A), "the kernel has another number of parameters");
  if (failed()) return;
  std::tuple<std::remove_cv_t<P>...> values(std::forward<A>(args)...);
  void* pointers[sizeof...(P) + 1] = {};
  std::apply(
      [&pointers](auto&... value) {
        int i = 0;
        ((pointers[i++] = &value), ...);
      },
      values);
  const void* const function = reinterpret_cast<const void*>(kernel);
  cudaError_t error = cudaSuccess;
  if (shared_bytes > 48 * 1024)
    error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  if (error == cudaSuccess) error = cudaLaunchKernel(function, grid, block, pointers, shared_bytes, stream());
  if (error != cudaSuccess) fail("a kernel could not be launched: ", cudaGetErrorString(error));
}

}  // namespace vitrine::kernels::cuda

#else
#include "kernels/cuda/emulator/emulator.h"
#endif
