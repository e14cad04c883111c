// The register block at the bottom of every matrix product and convolution: R rows of a packed left operand times NV
// vectors of columns, summed over k in registers.
#pragma once

#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

/// The offset of the k-th row of the right operand from the first: a fixed stride, or from a table.
struct Strided {
  std::int64_t stride;
  VITRINE_INLINE std::int64_t operator()(std::int64_t k) const { return k * stride; }
};
struct Indirect {
  const std::int32_t* offset;
  VITRINE_INLINE std::int64_t operator()(std::int64_t k) const { return offset[k]; }
};

/// One block. `a` is packed [k][R]. Vector v of row k of the right operand is read whole at b[v] + rows(k). Its first
/// n[v] columns go to c[v] + r*ldc: C (+)= sum (+ bias[r]), then cut at 0 if `relu`.
template <class Rows>
struct Block {
  std::int64_t k;
  const float* a;
  const float* const* b;
  Rows rows;
  float* const* c;
  const std::int64_t* n;
  std::int64_t ldc;
  const float* bias;
  bool add;
  bool relu = false;
  /// The sum consists of `pieces` pieces of k rows each. Between two of them `skip` rows of both operands are skipped,
  /// and `group_skip` more after every `group` pieces.
  std::int64_t pieces = 1, skip = 0, group = 1, group_skip = 0;
};

/// acc[r][v] += a[r] * b[v], NV vectors of b.
template <class V, int R, int NV>
VITRINE_INLINE void add_outer(const float* a, const float* b, V (&acc)[R][NV]) {
  V y[NV];
  unroll<NV>([&](auto v) __attribute__((always_inline)) { y[v] = V::load(b + v * V::width).pinned(); });
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    const V x = V::set(a[r]);
    unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v] = V::fma(x, y[v], acc[r][v]); });
  });
}

/// Prefetches the outputs of the next column group.
template <class V, int R, int NV, class Rows>
VITRINE_INLINE void prefetch_next(const Block<Rows>& g) {
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<NV>([&](auto v)
                   __attribute__((always_inline)) { __builtin_prefetch(g.c[v] + r * g.ldc + NV * V::width, 1); });
  });
}

template <class V, int R, int NV, class Rows>
void multiply_block(const Block<Rows>& g) {
  V acc[R][NV];
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v] = V::zero(); });
  });
  const float* b[NV];
  unroll<NV>([&](auto v) __attribute__((always_inline)) { b[v] = g.b[v]; });
  const float* a = g.a;
  const Rows rows = g.rows;
  const std::int64_t depth = g.k;
  if constexpr (R >= 8) {
    if (depth >= 16) prefetch_next<V, R, NV>(g);
  }
  const auto step = [&](std::int64_t k) __attribute__((always_inline)) {
    const std::int64_t at = rows(k);
    // Weights of large layers come from memory, once: prefetch them.
    if constexpr (R >= 8) __builtin_prefetch(a + prefetch_ahead);
    if constexpr (NV > R) {
      V x[R];
      unroll<R>([&](auto r) __attribute__((always_inline)) { x[r] = V::set(a[r]); });
      unroll<NV>([&](auto v) __attribute__((always_inline)) {
        const V y = V::load(b[v] + at).pinned();
        unroll<R>([&](auto r) __attribute__((always_inline)) { acc[r][v] = V::fma(x[r], y, acc[r][v]); });
      });
    } else {
      V y[NV];
      unroll<NV>([&](auto v) __attribute__((always_inline)) { y[v] = V::load(b[v] + at).pinned(); });
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        const V x = V::set(a[r]);
        unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v] = V::fma(x, y[v], acc[r][v]); });
      });
    }
  };
  std::int64_t k = 0;
  for (std::int64_t piece = g.pieces, in_group = g.group;;) {
    for (const std::int64_t end = k + depth; k < end; ++k, a += R) step(k);
    if (--piece <= 0) break;
    std::int64_t skip = g.skip;
    if (--in_group == 0) skip += g.group_skip, in_group = g.group;
    k += skip;
    a += skip * R;
  }
  unroll<NV>([&](auto v) __attribute__((always_inline)) {
    const std::int64_t n = g.n[v];
    float* c = g.c[v];
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      V sum = acc[r][v];
      float* to = c + r * g.ldc;
      if (g.bias) sum = sum + V::set(g.bias[r]);
      if (n >= V::width) {
        store(sum, to, g.add, g.relu, Whole{});
      } else if (n > 0) {
        store(sum, to, g.add, g.relu, Part{n});
      }
    });
  });
}

/// Sums of P panels and C columns, with a panel's rows as the lanes: for single columns, which would leave most lanes
/// of a column vector empty. Panel p is packed [k][rows[p]]; row k of the columns begins at b + k*stride. Each sum has
/// the same order of additions as in multiply_block.
template <class V, int P, int C>
void multiply_columns(std::int64_t depth, const float* const* panels, const int* rows, const float* b,
                      std::int64_t stride, float (*sums)[C][V::width]) {
  V acc[P][C];
  const float* a[P];
  unroll<P>([&](auto p) __attribute__((always_inline)) {
    a[p] = panels[p];
    unroll<C>([&](auto c) __attribute__((always_inline)) { acc[p][c] = V::zero(); });
  });
  for (std::int64_t k = 0; k < depth; ++k, b += stride) {
    V x[C];
    unroll<C>([&](auto c) __attribute__((always_inline)) { x[c] = V::set(b[c]); });
    unroll<P>([&](auto p) __attribute__((always_inline)) {
      const V y = V::load_n(a[p], rows[p]).pinned();
      a[p] += rows[p];
      unroll<C>([&](auto c) __attribute__((always_inline)) { acc[p][c] = V::fma(y, x[c], acc[p][c]); });
    });
  }
  unroll<P>([&](auto p) __attribute__((always_inline)) {
    unroll<C>([&](auto c) __attribute__((always_inline)) { acc[p][c].store(sums[p][c]); });
  });
}

/// How many rows and vectors fit the registers. Fewer rows take more vectors, so that there are enough independent sums
/// to hide the latency of the multiply-adds.
template <class V>
struct Blocking {
  static constexpr bool many = V::registers == 32;
  static constexpr int max_rows = many ? 14 : 6;
  static constexpr int max_vectors = 8;
  /// At most this many columns after the last whole vector go by multiply_columns: each costs about a tenth of a
  /// vector.
  static constexpr int max_columns = many ? 4 : 2;
  static constexpr int vectors(int rows) {
    if (many) return rows <= 3 ? 8 : rows <= 7 ? 4 : 2;
    return rows <= 1 ? 8 : rows <= 3 ? 4 : 2;
  }
};

template <class V, class Rows>
using BlockFunction = void (*)(const Block<Rows>&);

/// Rows are cut into panels of nearly equal height, because a last panel of one or two rows would waste the registers.
struct Panels {
  std::int64_t rows, count;
  VITRINE_INLINE std::int64_t begin(std::int64_t p) const {
    const std::int64_t low = rows / count, extra = rows % count;
    return p * low + smaller(p, extra);
  }
  VITRINE_INLINE int height(std::int64_t p) const { return static_cast<int>(begin(p + 1) - begin(p)); }
};

template <class V>
VITRINE_INLINE Panels panels_of(std::int64_t rows) {
  return {rows, larger<std::int64_t>(1, ceil_div(rows, Blocking<V>::max_rows))};
}

VITRINE_INLINE constexpr int slot_of(int vectors) { return vectors == 8 ? 3 : vectors == 4 ? 2 : vectors - 1; }

template <class V, class Rows>
struct BlockTable {
  BlockFunction<V, Rows> f[Blocking<V>::max_rows + 1][4] = {};
};

template <class V, int R, class Rows>
constexpr void enter(BlockTable<V, Rows>& t) {
  constexpr int own = Blocking<V>::vectors(R), next = Blocking<V>::vectors(R + 1);
  t.f[R][0] = &multiply_block<V, R, 1, Rows>;
  t.f[R][1] = &multiply_block<V, R, 2, Rows>;
  t.f[R][slot_of(own)] = &multiply_block<V, R, own, Rows>;
  t.f[R][slot_of(next)] = &multiply_block<V, R, next, Rows>;
}

template <class V, class Rows, int... R>
constexpr BlockTable<V, Rows> block_table(std::integer_sequence<int, R...>) {
  BlockTable<V, Rows> t;
  (enter<V, R + 1>(t), ...);
  return t;
}

/// The block function for `rows` rows and nv = 1, 2, vectors(rows) or vectors(rows + 1): neighbouring panels differ in
/// height by at most one and share the column group of the higher one.
template <class V, class Rows>
VITRINE_INLINE BlockFunction<V, Rows> block_function(int rows, int nv) {
  static constexpr BlockTable<V, Rows> table =
      block_table<V, Rows>(std::make_integer_sequence<int, Blocking<V>::max_rows>{});
  return table.f[rows][slot_of(nv)];
}

}  // namespace
}  // namespace vitrine::kernels
