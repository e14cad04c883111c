// Reductions in a fixed order: over the lanes of a warp by a butterfly of shuffles, over the warps of a block in their
// order, over blocks by a second kernel. The number of blocks follows from the sizes alone, so results do not depend on
// the chip.
#pragma once

#include "kernels/cuda/elementwise.h"

namespace vitrine::kernels::cuda {

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Maximum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

/// The result is in all lanes.
template <class T, class Op>
__device__ __forceinline__ T warp_reduce(T v, Op op) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) v = op(v, shuffle_xor(v, bits));
  return v;
}

/// The result is in all threads of a block of `Threads`. All of them call it.
template <int Threads, class T, class Op>
__device__ T block_reduce(T v, Op op) {
  VITRINE_SHARED(parts, T[Threads / 32]);
  v = warp_reduce(v, op);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  sync_threads();
  T total = parts[0];
#pragma unroll
  for (int w = 1; w < Threads / 32; ++w) total = op(total, parts[w]);
  sync_threads();  // before the next call overwrites the parts
  return total;
}

constexpr int reduce_block = 256;

/// How many blocks share a sum of n terms, at most `most`.
constexpr int parts_for(std::int64_t n, std::int64_t most) {
  constexpr std::int64_t terms = 4096;  // per block: 16 per thread; with fewer, launching costs more than adding
  const std::int64_t parts = (n + terms - 1) / terms;
  return static_cast<int>(parts < 1 ? 1 : parts < most ? parts : most < 1 ? 1 : most);
}

}  // namespace vitrine::kernels::cuda
