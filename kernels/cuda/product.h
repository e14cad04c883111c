// The matrix product that GEMM and all implicit-GEMM convolutions are: C = A B^T, where an operand gives, for a row and
// a depth, the address of an element, or null for a zero (padding, or outside). C's rows are A's, C's columns are B's
// rows.
//
// product_kernel: float, by FMA. A block computes a tile of C, kM x kN; A and B pass through shared memory in slices of
// kK along the depth, stored as [depth][row], two slices by turns: while one is multiplied, the next one is on its way,
// by cp.async where elements go in as they are, through registers where they are substituted. A thread computes 4 x 4
// elements in each of HalvesM x HalvesN quarters of the tile, so that the threads of a warp read neighbouring float4 of
// a slice.
//
// tensor_kernel: the same with operands rounded to tf32 or bf16 and mma.sync. The tile is 128 x 128; a slice holds 64
// bytes of depth for every row, as [row][depth], rows 80 bytes apart, so that the eight rows of a matrix of ldmatrix
// lie in different banks. Eight warps, 2 x 4, compute 64 x 32 each.
//
// Sums run over the depth in order in one accumulator an element, whatever the tile: how a caller cuts C does not show.
#pragma once

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/families.h"

namespace vitrine::kernels::cuda {

constexpr int kProductThreads = 256;

/// ThreadsM x 256/ThreadsM threads, each with HalvesM x HalvesN times 4 x 4 elements; slices of `Depth`.
template <int ThreadsM, int HalvesM, int HalvesN, int Depth>
struct Tile {
  static constexpr int kThreadsM = ThreadsM, kThreadsN = kProductThreads / ThreadsM, kHalvesM = HalvesM,
                       kHalvesN = HalvesN;
  static constexpr int kM = kThreadsM * 4 * HalvesM, kN = kThreadsN * 4 * HalvesN, kK = Depth;
};
using LargeTile = Tile<16, 2, 2, 8>;    ///< 128 x 128
using MiddleTile = Tile<16, 1, 1, 16>;  ///< 64 x 64
using WideTile = Tile<8, 1, 1, 16>;     ///< 32 x 128: few rows, as few filters or a small batch

/// A dense matrix with any strides. DepthFirst: neighbours in memory along the depth, so threads load along it.
template <bool DepthFirst>
struct MatrixOperand {
  static constexpr bool kDepthFirst = DepthFirst;
  const float* data = nullptr;
  std::int64_t row_stride = 0, depth_stride = 0;
  std::int32_t rows = 0;
  Substitute sub;

  using Row = const float*;
  using Depth = std::int64_t;
  __device__ Row row(int r) const { return r < rows ? data + r * row_stride : nullptr; }
  __device__ Depth depth(int k) const { return k * depth_stride; }
  __device__ const float* at(Row r, Depth k) const { return r ? r + k : nullptr; }
};

/// The tile of C that a block computes.
struct Place {
  int z, row, column;
};

template <int M, int N>
__device__ __forceinline__ Place place_of_block(int m, int n) {
  // Columns first: neighbouring blocks share A's rows.
  const unsigned tile_columns = static_cast<unsigned>((n + N - 1) / N),
                 tile_rows = static_cast<unsigned>((m + M - 1) / M), b = blockIdx.x;
  return {static_cast<int>(b / tile_columns / tile_rows), static_cast<int>(b / tile_columns % tile_rows) * M,
          static_cast<int>(b % tile_columns) * N};
}

/// Brings slices of an operand, Rows x Depth, to shared memory. A thread's elements lie in one column of the slice and
/// some rows (DepthFirst), or in one row and some columns; what belongs to the row is computed once.
template <class Operand, int Rows, int Depth>
class SliceLoader {
 public:
  static constexpr int kCount = Rows * Depth / kProductThreads;
  static_assert(kCount * kProductThreads == Rows * Depth &&
                (Operand::kDepthFirst ? kProductThreads % Depth == 0 : kProductThreads % Rows == 0));
  using Slice = float[Depth][Rows + 4];

  __device__ SliceLoader(const Operand& operand, int first_row) : operand_(operand) {
    const int t = static_cast<int>(threadIdx.x);
    row_ = Operand::kDepthFirst ? t / Depth : t % Rows;
    depth_ = Operand::kDepthFirst ? t % Depth : t / Rows;
#pragma unroll
    for (int j = 0; j < kRows; ++j) rows_[j] = operand.row(first_row + row_ + j * kRowStep);
  }

  /// Starts copying the slice from depth `first` on.
  __device__ void copy(int first, int last, Slice& slice) const {
    each(first, last, [&](int k, int r, const float* p) { copy_async(&slice[k][r], p); });
  }
  __device__ void fetch(int first, int last, float (&values)[kCount]) const {
    int j = 0;
    each(first, last, [&](int, int, const float* p) { values[j++] = p ? substituted(operand_.sub, *p) : 0.0f; });
  }
  __device__ void store(const float (&values)[kCount], Slice& slice) const {
#pragma unroll
    for (int j = 0; j < kCount; ++j) slice[depth_ + j * kDepthStep][row_ + j * kRowStep] = values[j];
  }

 private:
  static constexpr int kRows = Operand::kDepthFirst ? kCount : 1;
  static constexpr int kRowStep = Operand::kDepthFirst ? kProductThreads / Depth : 0;
  static constexpr int kDepthStep = Operand::kDepthFirst ? 0 : kProductThreads / Rows;

  template <class F>
  __device__ void each(int first, int last, F f) const {
    if constexpr (Operand::kDepthFirst) {
      const int k = first + depth_;
      const bool inside = k < last;
      const auto depth = operand_.depth(inside ? k : first);
#pragma unroll
      for (int j = 0; j < kCount; ++j) f(depth_, row_ + j * kRowStep, inside ? operand_.at(rows_[j], depth) : nullptr);
    } else {
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        const int k = first + depth_ + j * kDepthStep;
        f(depth_ + j * kDepthStep, row_, k < last ? operand_.at(rows_[0], operand_.depth(k)) : nullptr);
      }
    }
  }

  Operand operand_;
  typename Operand::Row rows_[kRows];
  int row_, depth_;
};

/// sum += the product of two slices, for this thread's elements.
template <class T>
__device__ __forceinline__ void multiply_slices(const float (&a)[T::kK][T::kM + 4], const float (&b)[T::kK][T::kN + 4],
                                                int tm, int tn, float (&sum)[4 * T::kHalvesM][4 * T::kHalvesN]) {
#pragma unroll
  for (int k = 0; k < T::kK; ++k) {
    float x[4 * T::kHalvesM], y[4 * T::kHalvesN];
#pragma unroll
    for (int h = 0; h < T::kHalvesM; ++h) {
      const float4 v = load4(&a[k][(h * T::kThreadsM + tm) * 4]);
      x[4 * h] = v.x, x[4 * h + 1] = v.y, x[4 * h + 2] = v.z, x[4 * h + 3] = v.w;
    }
#pragma unroll
    for (int h = 0; h < T::kHalvesN; ++h) {
      const float4 v = load4(&b[k][(h * T::kThreadsN + tn) * 4]);
      y[4 * h] = v.x, y[4 * h + 1] = v.y, y[4 * h + 2] = v.z, y[4 * h + 3] = v.w;
    }
#pragma unroll
    for (int i = 0; i < 4 * T::kHalvesM; ++i)
#pragma unroll
      for (int j = 0; j < 4 * T::kHalvesN; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
  }
}

/// A problem gives max_m and max_n, which bound the sizes of C; kLargeBlocks, how many blocks with the large tile a
/// multiprocessor has registers for; and part(z) for each z (a group, a class of residues, a part
/// of a split sum), which gives
///   A, B, a(), b()          the operands
///   m(), n()                rows and columns of C; blocks beyond them do nothing
///   first(), last()         the range of depth
///   Column, column(c)       what belongs to a column of C alone
///   store(r, Column, v)     puts a sum into C
///   vectors(), store4(r, Column, v)   where true, stores four neighbouring columns from one that is a multiple of 4
template <class T, class Problem, bool Raw>
__global__ void __launch_bounds__(kProductThreads, std::is_same_v<T, LargeTile> ? Problem::kLargeBlocks : 2)
    product_kernel(Problem p) {
  VITRINE_SHARED(a_slices, float[2][T::kK][T::kM + 4]);
  VITRINE_SHARED(b_slices, float[2][T::kK][T::kN + 4]);
  const Place place = place_of_block<T::kM, T::kN>(p.max_m, p.max_n);
  const auto part = p.part(place.z);
  const int m = part.m(), n = part.n();
  if (place.row >= m || place.column >= n) return;
  const SliceLoader<typename Problem::A, T::kM, T::kK> a(part.a(), place.row);
  const SliceLoader<typename Problem::B, T::kN, T::kK> b(part.b(), place.column);
  // A warp is 4 x 8 threads: it reads 4 float4 of A and 8 of B for each depth, one pass over the banks each.
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32,
            warps_per_row = T::kThreadsN / 8;
  const int tm = warp / warps_per_row * 4 + lane / 8, tn = warp % warps_per_row * 8 + lane % 8;
  const int first = part.first(), last = part.last();
  float sum[4 * T::kHalvesM][4 * T::kHalvesN] = {};
  float next_a[Raw ? 1 : a.kCount], next_b[Raw ? 1 : b.kCount];

  if (first < last) {
    if constexpr (Raw) {
      a.copy(first, last, a_slices[0]);
      b.copy(first, last, b_slices[0]);
      commit_copies();
    } else {
      a.fetch(first, last, next_a);
      b.fetch(first, last, next_b);
      a.store(next_a, a_slices[0]);
      b.store(next_b, b_slices[0]);
    }
  }
  int turn = 0;
  for (int k = first; k < last; k += T::kK, turn ^= 1) {
    // One barrier a slice: behind it, this slice is whole, and nobody reads the other one any more.
    if constexpr (Raw) wait_copies<0>();
    sync_threads();
    const bool more = k + T::kK < last;
    if (more) {
      if constexpr (Raw) {
        a.copy(k + T::kK, last, a_slices[turn ^ 1]);
        b.copy(k + T::kK, last, b_slices[turn ^ 1]);
        commit_copies();
      } else {
        a.fetch(k + T::kK, last, next_a);
        b.fetch(k + T::kK, last, next_b);
      }
    }
    multiply_slices<T>(a_slices[turn], b_slices[turn], tm, tn, sum);
    if constexpr (!Raw) {
      if (more) {
        a.store(next_a, a_slices[turn ^ 1]);
        b.store(next_b, b_slices[turn ^ 1]);
      }
    }
  }

#pragma unroll
  for (int hn = 0; hn < T::kHalvesN; ++hn) {
    const int c = place.column + (hn * T::kThreadsN + tn) * 4;
    if (part.vectors() && c + 4 <= n) {
      const auto column = part.column(c);
#pragma unroll
      for (int i = 0; i < 4 * T::kHalvesM; ++i) {
        const int r = place.row + (i / 4 * T::kThreadsM + tm) * 4 + i % 4;
        if (r < m)
          part.store4(r, column,
                      make_float4(sum[i][4 * hn], sum[i][4 * hn + 1], sum[i][4 * hn + 2], sum[i][4 * hn + 3]));
      }
      continue;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (c + j >= n) continue;
      const auto column = part.column(c + j);
#pragma unroll
      for (int i = 0; i < 4 * T::kHalvesM; ++i) {
        const int r = place.row + (i / 4 * T::kThreadsM + tm) * 4 + i % 4;
        if (r < m) part.store(r, column, sum[i][4 * hn + j]);
      }
    }
  }
}

// --- Tensor cores.

/// Round to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ std::uint32_t bf16_bits(float v) {
  std::uint32_t u;
  memcpy(&u, &v, sizeof u);
  if (v != v) return 0x7fc0u;
  return (u + 0x7fffu + (u >> 16 & 1)) >> 16;
}
/// Round to nearest, ties away from 0, as cvt.rna does: 10 bits of mantissa are left.
__device__ __forceinline__ std::uint32_t tf32_bits(float v) {
  std::uint32_t u;
  memcpy(&u, &v, sizeof u);
  return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
}

/// How elements lie in a 32-bit word of a slice: one tf32, or two bf16, the first one below.
struct Tf32 {
  static constexpr int kPerWord = 1;
  static __device__ __forceinline__ std::uint32_t word(const float* v) { return tf32_bits(v[0]); }
  static __device__ __forceinline__ void multiply(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                  std::uint32_t b1) {
    multiply_tf32(d, a, b0, b1);
  }
};
struct Bf16 {
  static constexpr int kPerWord = 2;
  static __device__ __forceinline__ std::uint32_t word(const float* v) {
    return bf16_bits(v[0]) | bf16_bits(v[1]) << 16;
  }
  static __device__ __forceinline__ void multiply(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                  std::uint32_t b1) {
    multiply_bf16(d, a, b0, b1);
  }
};

constexpr int kTensorTile = 128, kWords = 16,
              kWordPitch = 20;  // words of depth in a row of a slice; distance of two rows
using TensorSlice = std::uint32_t[kTensorTile][kWordPitch];

template <class Operand, class Element>
class TensorLoader {
 public:
  static constexpr int kPer = Element::kPerWord, kCount = kTensorTile * kWords / kProductThreads;

  __device__ TensorLoader(const Operand& operand, int first_row) : operand_(operand) {
    const int t = static_cast<int>(threadIdx.x);
    row_ = Operand::kDepthFirst ? t / kWords : t % kTensorTile;
    word_ = Operand::kDepthFirst ? t % kWords : t / kTensorTile;
#pragma unroll
    for (int j = 0; j < kRows; ++j) rows_[j] = operand.row(first_row + row_ + j * kRowStep);
  }

  __device__ void fetch(int first, int last, float (&values)[kCount * kPer]) const {
#pragma unroll
    for (int e = 0; e < kPer; ++e) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        const int k = first + (word_ + j * kWordStep) * kPer + e;
        const float* const p = k < last ? operand_.at(rows_[Operand::kDepthFirst ? j : 0], operand_.depth(k)) : nullptr;
        values[j * kPer + e] = p ? substituted(operand_.sub, *p) : 0.0f;
      }
    }
  }
  __device__ void store(const float (&values)[kCount * kPer], TensorSlice& slice) const {
#pragma unroll
    for (int j = 0; j < kCount; ++j)
      slice[row_ + j * kRowStep][word_ + j * kWordStep] = Element::word(values + j * kPer);
  }

 private:
  static constexpr int kRows = Operand::kDepthFirst ? kCount : 1;
  static constexpr int kRowStep = Operand::kDepthFirst ? kProductThreads / kWords : 0;
  static constexpr int kWordStep = Operand::kDepthFirst ? 0 : kProductThreads / kTensorTile;

  Operand operand_;
  typename Operand::Row rows_[kRows];
  int row_, word_;
};

template <class Element, class Problem>
__global__ void __launch_bounds__(kProductThreads, 1) tensor_kernel(Problem p) {
  VITRINE_SHARED(a_slices, TensorSlice[2]);
  VITRINE_SHARED(b_slices, TensorSlice[2]);
  const Place place = place_of_block<kTensorTile, kTensorTile>(p.max_m, p.max_n);
  const auto part = p.part(place.z);
  const int m = part.m(), n = part.n();
  if (place.row >= m || place.column >= n) return;
  const TensorLoader<typename Problem::A, Element> a(part.a(), place.row);
  const TensorLoader<typename Problem::B, Element> b(part.b(), place.column);
  constexpr int depth = kWords * Element::kPerWord;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / 4 * 64, warp_column = warp % 4 * 32;
  const int first = part.first(), last = part.last();
  float sum[4][4][4] = {};  // 16 rows, 8 columns, a fragment
  float next_a[a.kCount * a.kPer], next_b[b.kCount * b.kPer];

  if (first < last) {
    a.fetch(first, last, next_a);
    b.fetch(first, last, next_b);
    a.store(next_a, a_slices[0]);
    b.store(next_b, b_slices[0]);
  }
  int turn = 0;
  for (int k = first; k < last; k += depth, turn ^= 1) {
    sync_threads();
    const bool more = k + depth < last;
    if (more) {
      a.fetch(k + depth, last, next_a);
      b.fetch(k + depth, last, next_b);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // The matrices of A: rows 0-7 and 8-15 of the first 16 bytes, then of the next; of B: 16 bytes twice, then 8 rows
      // on.
      std::uint32_t x[4][4], y[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        load_matrices(x[i], &a_slices[turn][warp_row + i * 16 + lane % 16][half * 8 + lane / 16 * 4]);
#pragma unroll
      for (int j = 0; j < 2; ++j)
        load_matrices(y[j],
                      &b_slices[turn][warp_column + j * 16 + lane / 16 * 8 + lane % 8][half * 8 + lane / 8 % 2 * 4]);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) Element::multiply(sum[i][j], x[i], y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]);
    }
    if (more) {
      a.store(next_a, a_slices[turn ^ 1]);
      b.store(next_b, b_slices[turn ^ 1]);
    }
  }

#pragma unroll
  for (int j = 0; j < 4; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int c = place.column + warp_column + j * 8 + lane % 4 * 2 + e;
      if (c >= n) continue;
      const auto column = part.column(c);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = place.row + warp_row + i * 16 + lane / 4;
        if (r < m) part.store(r, column, sum[i][j][e]);
        if (r + 8 < m) part.store(r + 8, column, sum[i][j][2 + e]);
      }
    }
  }
}

/// Launches a problem with `count` values of z: the tile by the sizes alone.
template <class Problem>
void launch_product(const Problem& p, int count, bool raw, Math math) noexcept {
  const auto tiles = [&](int rows, int columns) {
    return std::int64_t{(p.max_m + rows - 1) / rows} * ((p.max_n + columns - 1) / columns) * count;
  };
  const auto grid = [&](int rows, int columns) { return static_cast<unsigned>(tiles(rows, columns)); };
  if (p.max_m <= 0 || p.max_n <= 0 || count <= 0) return;
  if (tiles(32, 64) > 0x7fffffff) return fail("a matrix product has more tiles than a grid can have blocks");
  if (math == Math::bf16)
    return launch(tensor_kernel<Bf16, Problem>, grid(kTensorTile, kTensorTile), kProductThreads, 0, p);
  if (math == Math::tf32)
    return launch(tensor_kernel<Tf32, Problem>, grid(kTensorTile, kTensorTile), kProductThreads, 0, p);
  const auto with = [&](auto tile) {
    using T = decltype(tile);
    if (raw) return launch(product_kernel<T, Problem, true>, grid(T::kM, T::kN), kProductThreads, 0, p);
    if constexpr (!std::is_same_v<T, LargeTile>)
      launch(product_kernel<T, Problem, false>, grid(T::kM, T::kN), kProductThreads, 0, p);
  };
  // The large tile reads least, but only pays where it makes blocks enough for a large chip. Substituted operands pass
  // through registers, which the large tile has none left of.
  if (raw && (p.max_m > 64 || tuning.large_from == 0) && tiles(LargeTile::kM, LargeTile::kN) >= tuning.large_from)
    with(LargeTile());
  else if (p.max_m > 32)
    with(MiddleTile());
  else
    with(WideTile());
}

}  // namespace vitrine::kernels::cuda
