// The matrix product of GEMM and of all implicit-GEMM convolutions: C = A B^T. An operand gives, for a row and a depth,
// the address of an element, or null for a zero (padding, or outside). C's rows are A's, C's columns are B's rows.
//
// product_kernel: float, by FMA. A block computes a tile of C, tile_m x tile_n; A and B pass through shared memory in
// slices of tile_k along the depth, stored as [depth][row], in two alternating slices: while one is multiplied, the
// next one is loaded, by cp.async if elements are raw, through registers if they are substituted. A thread computes 4 x
// 4 elements in each of HalvesM x HalvesN quarters of the tile, so that the threads of a warp read neighbouring float4
// of a slice.
//
// tensor_kernel: the same with operands rounded to tf32 or bf16 and mma.sync. The tile is 128 x 128; a slice holds 64
// bytes of depth for every row, as [row][depth], rows 80 bytes apart, so that the eight rows of an ldmatrix matrix are
// in different banks. Eight warps, 2 x 4, compute 64 x 32 each.
//
// Every element is summed over the depth in order, in one accumulator, whatever the tile, so results do not depend on
// how a caller cuts C.
#pragma once

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/families.h"

namespace vitrine::kernels::cuda {

constexpr int product_threads = 256;

/// ThreadsM x 256/ThreadsM threads, each with HalvesM x HalvesN times 4 x 4 elements; slices of `Depth`.
template <int ThreadsM, int HalvesM, int HalvesN, int Depth>
struct Tile {
  static constexpr int threads_m = ThreadsM, threads_n = product_threads / ThreadsM, halves_m = HalvesM,
                       halves_n = HalvesN;
  static constexpr int tile_m = threads_m * 4 * HalvesM, tile_n = threads_n * 4 * HalvesN, tile_k = Depth;
};
using LargeTile = Tile<16, 2, 2, 8>;    ///< 128 x 128
using MiddleTile = Tile<16, 1, 1, 16>;  ///< 64 x 64
using WideTile = Tile<8, 1, 1, 16>;     ///< 32 x 128: few rows (few filters, or a small batch)

/// A dense matrix with any strides. DepthFirst: neighbours in memory along the depth, so threads load along it.
template <bool DepthFirst>
struct MatrixOperand {
  static constexpr bool depth_first = DepthFirst;
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

/// Brings slices of an operand, Rows x Depth, to shared memory. A thread's elements are in one column of the slice and
/// several rows (DepthFirst), or in one row and several columns; what depends on the row alone is computed once.
template <class Operand, int Rows, int Depth>
class SliceLoader {
 public:
  static constexpr int per_thread = Rows * Depth / product_threads;
  static_assert(per_thread * product_threads == Rows * Depth &&
                (Operand::depth_first ? product_threads % Depth == 0 : product_threads % Rows == 0));
  using Slice = float[Depth][Rows + 4];

  __device__ SliceLoader(const Operand& operand, int first_row) : operand_(operand) {
    const int t = static_cast<int>(threadIdx.x);
    row_ = Operand::depth_first ? t / Depth : t % Rows;
    depth_ = Operand::depth_first ? t % Depth : t / Rows;
#pragma unroll
    for (int j = 0; j < rows_per_thread; ++j) rows_[j] = operand.row(first_row + row_ + j * row_step);
  }

  /// Starts copying the slice from depth `first` on.
  __device__ void copy(int first, int last, Slice& slice) const {
    each(first, last, [&](int k, int r, const float* p) { copy_async(&slice[k][r], p); });
  }
  __device__ void fetch(int first, int last, float (&values)[per_thread]) const {
    int j = 0;
    each(first, last, [&](int, int, const float* p) { values[j++] = p ? substituted(operand_.sub, *p) : 0.0f; });
  }
  __device__ void store(const float (&values)[per_thread], Slice& slice) const {
#pragma unroll
    for (int j = 0; j < per_thread; ++j) slice[depth_ + j * depth_step][row_ + j * row_step] = values[j];
  }

 private:
  static constexpr int rows_per_thread = Operand::depth_first ? per_thread : 1;
  static constexpr int row_step = Operand::depth_first ? product_threads / Depth : 0;
  static constexpr int depth_step = Operand::depth_first ? 0 : product_threads / Rows;

  template <class F>
  __device__ void each(int first, int last, F f) const {
    if constexpr (Operand::depth_first) {
      const int k = first + depth_;
      const bool inside = k < last;
      const auto depth = operand_.depth(inside ? k : first);
#pragma unroll
      for (int j = 0; j < per_thread; ++j)
        f(depth_, row_ + j * row_step, inside ? operand_.at(rows_[j], depth) : nullptr);
    } else {
#pragma unroll
      for (int j = 0; j < per_thread; ++j) {
        const int k = first + depth_ + j * depth_step;
        f(depth_ + j * depth_step, row_, k < last ? operand_.at(rows_[0], operand_.depth(k)) : nullptr);
      }
    }
  }

  Operand operand_;
  typename Operand::Row rows_[rows_per_thread];
  int row_, depth_;
};

/// sum += the product of two slices, for this thread's elements.
template <class T>
__device__ __forceinline__ void multiply_slices(const float (&a)[T::tile_k][T::tile_m + 4],
                                                const float (&b)[T::tile_k][T::tile_n + 4], int tm, int tn,
                                                float (&sum)[4 * T::halves_m][4 * T::halves_n]) {
#pragma unroll
  for (int k = 0; k < T::tile_k; ++k) {
    float x[4 * T::halves_m], y[4 * T::halves_n];
#pragma unroll
    for (int h = 0; h < T::halves_m; ++h) {
      const float4 v = load4(&a[k][(h * T::threads_m + tm) * 4]);
      x[4 * h] = v.x, x[4 * h + 1] = v.y, x[4 * h + 2] = v.z, x[4 * h + 3] = v.w;
    }
#pragma unroll
    for (int h = 0; h < T::halves_n; ++h) {
      const float4 v = load4(&b[k][(h * T::threads_n + tn) * 4]);
      y[4 * h] = v.x, y[4 * h + 1] = v.y, y[4 * h + 2] = v.z, y[4 * h + 3] = v.w;
    }
#pragma unroll
    for (int i = 0; i < 4 * T::halves_m; ++i)
#pragma unroll
      for (int j = 0; j < 4 * T::halves_n; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
  }
}

/// Stores this thread's sums in the m x n elements of C.
template <class T, class Part>
__device__ __forceinline__ void store_sums(const Part& part, const Place& place, int m, int n, int tm, int tn,
                                           const float (&sum)[4 * T::halves_m][4 * T::halves_n]) {
#pragma unroll
  for (int hn = 0; hn < T::halves_n; ++hn) {
    const int c = place.column + (hn * T::threads_n + tn) * 4;
    if (part.vectors() && c + 4 <= n) {
      const auto column = part.column(c);
#pragma unroll
      for (int i = 0; i < 4 * T::halves_m; ++i) {
        const int r = place.row + (i / 4 * T::threads_m + tm) * 4 + i % 4;
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
      for (int i = 0; i < 4 * T::halves_m; ++i) {
        const int r = place.row + (i / 4 * T::threads_m + tm) * 4 + i % 4;
        if (r < m) part.store(r, column, sum[i][4 * hn + j]);
      }
    }
  }
}

/// A problem gives max_m and max_n, which bound the sizes of C; large_blocks, how many blocks with the large tile a
/// multiprocessor has registers for; and part(z) for each z (a group, a class of residues, a part
/// of a split sum), which gives
///   A, B, a(), b()          the operands
///   m(), n()                rows and columns of C; blocks beyond them do nothing
///   first(), last()         the range of depth
///   Column, column(c)       what depends on a column of C alone
///   store(r, Column, v)     puts a sum into C
///   vectors(), store4(r, Column, v) if true, stores four neighbouring columns from a multiple of 4 on
template <class T, class Problem, bool Raw>
__global__ void __launch_bounds__(product_threads, std::is_same_v<T, LargeTile> ? Problem::large_blocks : 2)
    product_kernel(Problem p) {
  VITRINE_SHARED(a_slices, float[2][T::tile_k][T::tile_m + 4]);
  VITRINE_SHARED(b_slices, float[2][T::tile_k][T::tile_n + 4]);
  const Place place = place_of_block<T::tile_m, T::tile_n>(p.max_m, p.max_n);
  const auto part = p.part(place.z);
  const int m = part.m(), n = part.n();
  if (place.row >= m || place.column >= n) return;
  const SliceLoader<typename Problem::A, T::tile_m, T::tile_k> a(part.a(), place.row);
  const SliceLoader<typename Problem::B, T::tile_n, T::tile_k> b(part.b(), place.column);
  // A warp is 4 x 8 threads: it reads 4 float4 of A and 8 of B for each depth, one pass over the banks each.
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32,
            warps_per_row = T::threads_n / 8;
  const int tm = warp / warps_per_row * 4 + lane / 8, tn = warp % warps_per_row * 8 + lane % 8;
  const int first = part.first(), last = part.last();
  float sum[4 * T::halves_m][4 * T::halves_n] = {};
  float next_a[Raw ? 1 : a.per_thread], next_b[Raw ? 1 : b.per_thread];

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
  for (int k = first; k < last; k += T::tile_k, turn ^= 1) {
    // One barrier per slice: after it, this slice is complete and no thread reads the other one any more.
    if constexpr (Raw) wait_copies<0>();
    sync_threads();
    const bool more = k + T::tile_k < last;
    if (more) {
      if constexpr (Raw) {
        a.copy(k + T::tile_k, last, a_slices[turn ^ 1]);
        b.copy(k + T::tile_k, last, b_slices[turn ^ 1]);
        commit_copies();
      } else {
        a.fetch(k + T::tile_k, last, next_a);
        b.fetch(k + T::tile_k, last, next_b);
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
  store_sums<T>(part, place, m, n, tm, tn, sum);
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

/// How elements are stored in a 32-bit word of a slice: one tf32, or two bf16, the first in the lower half.
struct Tf32 {
  static constexpr int per_word = 1;
  static __device__ __forceinline__ std::uint32_t word(const float* v) { return tf32_bits(v[0]); }
  static __device__ __forceinline__ void multiply(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                  std::uint32_t b1) {
    multiply_tf32(d, a, b0, b1);
  }
};
struct Bf16 {
  static constexpr int per_word = 2;
  static __device__ __forceinline__ std::uint32_t word(const float* v) {
    return bf16_bits(v[0]) | bf16_bits(v[1]) << 16;
  }
  static __device__ __forceinline__ void multiply(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                  std::uint32_t b1) {
    multiply_bf16(d, a, b0, b1);
  }
};

constexpr int tensor_tile = 128, slice_words = 16,
              word_pitch = 20;  // words of depth in a row of a slice; distance of two rows
using TensorSlice = std::uint32_t[tensor_tile][word_pitch];

template <class Operand, class Element>
class TensorLoader {
 public:
  static constexpr int per_word = Element::per_word, per_thread = tensor_tile * slice_words / product_threads;

  __device__ TensorLoader(const Operand& operand, int first_row) : operand_(operand) {
    const int t = static_cast<int>(threadIdx.x);
    row_ = Operand::depth_first ? t / slice_words : t % tensor_tile;
    word_ = Operand::depth_first ? t % slice_words : t / tensor_tile;
#pragma unroll
    for (int j = 0; j < rows_per_thread; ++j) rows_[j] = operand.row(first_row + row_ + j * row_step);
  }

  __device__ void fetch(int first, int last, float (&values)[per_thread * per_word]) const {
#pragma unroll
    for (int e = 0; e < per_word; ++e) {
#pragma unroll
      for (int j = 0; j < per_thread; ++j) {
        const int k = first + (word_ + j * word_step) * per_word + e;
        const float* const p = k < last ? operand_.at(rows_[Operand::depth_first ? j : 0], operand_.depth(k)) : nullptr;
        values[j * per_word + e] = p ? substituted(operand_.sub, *p) : 0.0f;
      }
    }
  }
  __device__ void store(const float (&values)[per_thread * per_word], TensorSlice& slice) const {
#pragma unroll
    for (int j = 0; j < per_thread; ++j)
      slice[row_ + j * row_step][word_ + j * word_step] = Element::word(values + j * per_word);
  }

 private:
  static constexpr int rows_per_thread = Operand::depth_first ? per_thread : 1;
  static constexpr int row_step = Operand::depth_first ? product_threads / slice_words : 0;
  static constexpr int word_step = Operand::depth_first ? 0 : product_threads / tensor_tile;

  Operand operand_;
  typename Operand::Row rows_[rows_per_thread];
  int row_, word_;
};

/// sum += the product of two slices, for this warp's 64 x 32 elements.
template <class Element>
__device__ __forceinline__ void multiply_slices(const TensorSlice& a_slice, const TensorSlice& b_slice, int warp_row,
                                                int warp_column, int lane, float (&sum)[4][4][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    // The matrices of A: rows 0-7 and 8-15 of the first 16 bytes, then of the next; of B: 16 bytes twice, then 8 rows
    // on.
    std::uint32_t x[4][4], y[2][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) load_matrices(x[i], &a_slice[warp_row + i * 16 + lane % 16][half * 8 + lane / 16 * 4]);
#pragma unroll
    for (int j = 0; j < 2; ++j)
      load_matrices(y[j], &b_slice[warp_column + j * 16 + lane / 16 * 8 + lane % 8][half * 8 + lane / 8 % 2 * 4]);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) Element::multiply(sum[i][j], x[i], y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]);
  }
}

template <class Element, class Problem>
__global__ void __launch_bounds__(product_threads, 1) tensor_kernel(Problem p) {
  VITRINE_SHARED(a_slices, TensorSlice[2]);
  VITRINE_SHARED(b_slices, TensorSlice[2]);
  const Place place = place_of_block<tensor_tile, tensor_tile>(p.max_m, p.max_n);
  const auto part = p.part(place.z);
  const int m = part.m(), n = part.n();
  if (place.row >= m || place.column >= n) return;
  const TensorLoader<typename Problem::A, Element> a(part.a(), place.row);
  const TensorLoader<typename Problem::B, Element> b(part.b(), place.column);
  constexpr int depth = slice_words * Element::per_word;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / 4 * 64, warp_column = warp % 4 * 32;
  const int first = part.first(), last = part.last();
  float sum[4][4][4] = {};  // a fragment: 16 rows, 8 columns
  float next_a[a.per_thread * a.per_word], next_b[b.per_thread * b.per_word];

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
    multiply_slices<Element>(a_slices[turn], b_slices[turn], warp_row, warp_column, lane, sum);
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

/// Launches a problem with `count` values of z. The tile depends on the sizes alone.
template <class Problem>
void launch_product(const Problem& p, int count, bool raw, Math math) noexcept {
  const auto tiles = [&](int rows, int columns) {
    return std::int64_t{(p.max_m + rows - 1) / rows} * ((p.max_n + columns - 1) / columns) * count;
  };
  const auto grid = [&](int rows, int columns) { return static_cast<unsigned>(tiles(rows, columns)); };
  if (p.max_m <= 0 || p.max_n <= 0 || count <= 0) return;
  if (tiles(32, 64) > 0x7fffffff) return fail("a matrix product has more tiles than a grid can have blocks");
  if (math == Math::bf16)
    return launch(tensor_kernel<Bf16, Problem>, grid(tensor_tile, tensor_tile), product_threads, 0, p);
  if (math == Math::tf32)
    return launch(tensor_kernel<Tf32, Problem>, grid(tensor_tile, tensor_tile), product_threads, 0, p);
  const auto with = [&](auto tile) {
    using T = decltype(tile);
    if (raw) return launch(product_kernel<T, Problem, true>, grid(T::tile_m, T::tile_n), product_threads, 0, p);
    if constexpr (!std::is_same_v<T, LargeTile>)
      launch(product_kernel<T, Problem, false>, grid(T::tile_m, T::tile_n), product_threads, 0, p);
  };
  // The large tile reads least, but only pays if there are enough blocks for a large chip. Substituted operands need
  // registers, of which the large tile has none left.
  if (raw && (p.max_m > 64 || tuning.large_from == 0) &&
      tiles(LargeTile::tile_m, LargeTile::tile_n) >= tuning.large_from)
    with(LargeTile());
  else if (p.max_m > 32)
    with(MiddleTile());
  else
    with(WideTile());
}

}  // namespace vitrine::kernels::cuda
