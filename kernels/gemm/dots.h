// Inner products of long rows. Vectors run along the rows of both operands; each pair of rows in a register block keeps
// one vector of partial sums, whose lanes are added up once, at the end. Nothing is transposed. The weight gradient of
// convolutions (conv/weight_blocks.h) and the product of a small batch with a large matrix use them.
#pragma once

#include "kernels/simd/common.h"
#include "kernels/ways.h"

namespace vitrine::kernels {
namespace {

/// `rows` rows of `len` elements: y and x advance by y_step and x_step from row to row.
struct Stretch {
  std::int64_t rows, len, y_step, x_step;
};

/// sums[r][j] += y[r] * x[j], vectors of partial sums, r < R, j < J.
template <class V, int R, int J>
void weight_block(const Stretch& g, const float* y, std::int64_t ld_y, const float* const* x_rows, float* sums,
                  std::int64_t ld_sums) {
  V acc[R][J];
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<J>([&](auto j) __attribute__((always_inline)) { acc[r][j] = V::load(sums + r * ld_sums + j * V::width); });
  });
  const float* x[J];
  unroll<J>([&](auto j) __attribute__((always_inline)) { x[j] = x_rows[j]; });
  const auto step = [&](std::int64_t y_at, std::int64_t x_at, auto whole) __attribute__((always_inline)) {
    V b[J];
    unroll<J>([&](auto j) __attribute__((always_inline)) { b[j] = load<V>(x[j] + x_at, whole).pinned(); });
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      const V a = load<V>(y + r * ld_y + y_at, whole).pinned();
      unroll<J>([&](auto j) __attribute__((always_inline)) { acc[r][j] = V::fma(a, b[j], acc[r][j]); });
    });
  };
  const std::int64_t len = g.len, full = len / V::width * V::width;
  for (std::int64_t i = 0; i < g.rows; ++i) {
    const std::int64_t y_row = i * g.y_step, x_row = i * g.x_step;
    for (std::int64_t p = 0; p < full; p += V::width) step(y_row + p, x_row + p, Whole{});
    if (full < len) step(y_row + full, x_row + full, Part{len - full});
  }
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<J>([&](auto j) __attribute__((always_inline)) { acc[r][j].store(sums + r * ld_sums + j * V::width); });
  });
}

template <class V>
struct InnerProducts {
  static constexpr int block_rows = V::registers == 32 ? 6 : 3, block_columns = V::registers == 32 ? 4 : 3;
  static constexpr int few_rows = block_rows / 2,
                       more_columns =
                           2 *
                           block_columns;  ///< with few_rows or fewer, more columns: enough sums to hide the latency
  using Function = void (*)(const Stretch&, const float*, std::int64_t, const float* const*, float*, std::int64_t);
  struct Functions {
    Function f[block_rows + 1][more_columns + 1] = {};
  };
  template <int R, int... J>
  static constexpr void enter(Functions& t, std::integer_sequence<int, J...>) {
    ((t.f[R][J + 1] = &weight_block<V, R, J + 1>), ...);
  }
  template <int... R>
  static constexpr Functions functions(std::integer_sequence<int, R...>) {
    Functions t;
    (enter<R + 1>(t, std::make_integer_sequence < int, R + 1 <= few_rows ? more_columns : block_columns > {}), ...);
    return t;
  }

  /// sums += y x^T, in register blocks; `x(j)` points to row j of the right operand.
  template <class X>
  static void accumulate(const Stretch& stretch, const float* y, std::int64_t ld_y, std::int64_t nm, std::int64_t nj,
                         X x, float* sums, std::int64_t ld_sums) {
    static constexpr Functions table = functions(std::make_integer_sequence<int, block_rows>{});
    const std::int64_t m_steps = ceil_div(nm, block_rows), most = nm <= few_rows ? more_columns : block_columns,
                       j_steps = ceil_div(nj, most);
    for (std::int64_t mi = 0; mi < m_steps; ++mi) {
      const std::int64_t m = mi * nm / m_steps, rows = (mi + 1) * nm / m_steps - m;
      for (std::int64_t ji = 0; ji < j_steps; ++ji) {
        const std::int64_t j = ji * nj / j_steps, columns = (ji + 1) * nj / j_steps - j;
        const float* from[more_columns];
        for (std::int64_t i = 0; i < columns; ++i) from[i] = x(j + i);
        table.f[rows][columns](stretch, y + m * ld_y, ld_y, from, sums + m * ld_sums + j * V::width, ld_sums);
      }
    }
  }
};

/// C = A B^T for few rows of A, which stay in cache while B streams by.
template <class V>
struct Dots {
  using Args = GemmArgs<float>;
  using P = InnerProducts<V>;
  static constexpr std::int64_t depth_per_block = 2048, block_columns = 32;

  std::int64_t depth;

  explicit Dots(const Args& g) : depth(smaller(g.k, depth_per_block)) {}
  static const char* refuses(const Args& g) noexcept {
    if (g.m <= 0 || g.n <= 0) return does_not_apply;
    if (g.a_transposed || !g.b_transposed) return "the operands' rows are not what is summed along";
    if (g.m > 16) return "A has more than 16 rows";
    return g.k >= 512 ? nullptr : "the sums have fewer than 512 terms";
  }
  static Work plan(const Args& g) noexcept { return Dots(g).work_of(g); }
  static void tile(const Args& g, const std::byte*, std::byte* scratch, std::int64_t index) noexcept {
    Dots(g).run_tile(g, reinterpret_cast<float*>(scratch), index);
  }

  Work work_of(const Args& g) const {
    const std::int64_t copies = (is_raw(g.a_sub) ? 0 : g.m * depth) + (is_raw(g.b_sub) ? 0 : block_columns * depth);
    return {ceil_div(g.n, block_columns), 0,
            static_cast<std::size_t>(g.m * block_columns * V::width + copies) * sizeof(float)};
  }

  void run_tile(const Args& g, float* sums, std::int64_t index) const {
    const std::int64_t j0 = index * block_columns, nj = smaller(block_columns, g.n - j0);
    float *a_copy = sums + g.m * block_columns * V::width, *b_copy = a_copy + (is_raw(g.a_sub) ? 0 : g.m * depth);
    for (std::int64_t i = 0; i < g.m * nj; ++i) V::zero().store(sums + i * V::width);
    for (std::int64_t k0 = 0; k0 < g.k; k0 += depth) {
      const std::int64_t n = smaller(depth, g.k - k0);
      const float *a = g.a + k0, *b = g.b + j0 * g.ldb + k0;
      std::int64_t lda = g.lda, ldb = g.ldb;
      if (!is_raw(g.a_sub)) {
        for (std::int64_t i = 0; i < g.m; ++i) substitute_row<V>(g.a_sub, a + i * g.lda, a_copy + i * depth, n);
        a = a_copy, lda = depth;
      }
      if (!is_raw(g.b_sub)) {
        for (std::int64_t j = 0; j < nj; ++j) substitute_row<V>(g.b_sub, b + j * g.ldb, b_copy + j * depth, n);
        b = b_copy, ldb = depth;
      }
      P::accumulate(
          {1, n, 0, 0}, a, lda, g.m, nj, [&](std::int64_t j) { return b + j * ldb; }, sums, nj * V::width);
    }
    const Substitution<V> bias(g.bias_sub);
    for (std::int64_t i = 0; i < g.m; ++i) {
      for (std::int64_t j = 0; j < nj; j += V::width) {
        const Part part{smaller<std::int64_t>(V::width, nj - j)};
        V lanes[V::width];
        for (std::int64_t l = 0; l < V::width; ++l)
          lanes[l] = V::load(sums + (i * nj + smaller(j + l, nj - 1)) * V::width);
        V v = lane_sums(lanes);
        if (g.bias) v = v + bias(load<V>(g.bias + j0 + j, part));
        store(v, g.c + i * g.ldc + j0 + j, g.add, part);
      }
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
