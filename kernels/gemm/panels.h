// The matrix product by panels, the way that takes every shape. A tile is a block of C; it packs what it needs of both
// operands into its own scratch, so that no step is serial and tiles share nothing. Within a tile: blocks of K, panels
// of columns, panels of rows (the left operand's blocks stay in L2, one column panel stays in L1).
#pragma once

#include "kernels/gemm/micro.h"

namespace vitrine::kernels {
namespace {

template <class V>
struct Panelled {
  using Args = GemmArgs<float>;
  static constexpr std::int64_t depth_per_block = 256;

  struct Cut {
    std::int64_t rows, cols, row_tiles, col_tiles;
  };

  static Cut cut(const Args& g) {
    constexpr std::int64_t step_m = Blocking<V>::max_rows, step_n = 2 * V::width;
    Cut c{smaller(larger<std::int64_t>(g.m, 1), 20 * step_m), smaller(larger<std::int64_t>(g.n, 1), std::int64_t{2048}),
          0, 0};
    // Halve tiles while each keeps enough work to pay for its packing and for passing it to a thread. An operand is
    // packed once per tile that reads it, so the longer side is cut first, unless B must be transposed.
    const std::int64_t least_rows = g.b_transposed ? 16 * step_m : 8 * step_m;
    for (;;) {
      c.row_tiles = ceil_div(g.m, c.rows);
      c.col_tiles = ceil_div(g.n, c.cols);
      if (c.row_tiles * c.col_tiles >= 8 || c.rows * c.cols * larger<std::int64_t>(g.k, 1) < (1 << 20)) break;
      if (c.rows > least_rows && (g.b_transposed || c.rows >= c.cols || c.cols <= 8 * step_n)) {
        c.rows = round_up(ceil_div(c.rows, 2), step_m);
      } else if (c.cols > 4 * step_n) {
        c.cols = round_up(ceil_div(c.cols, 2), step_n);
      } else if (c.rows > 4 * step_m) {
        c.rows = round_up(ceil_div(c.rows, 2), step_m);
      } else {
        break;
      }
    }
    // Tiles are of equal size: a last one of few rows would pack all of B for these.
    c.rows = ceil_div(larger<std::int64_t>(g.m, 1), c.row_tiles);
    c.cols = smaller(c.cols, round_up(ceil_div(larger<std::int64_t>(g.n, 1), c.col_tiles), step_n));
    return c;
  }

  static std::int64_t depth(const Args& g) {
    const std::int64_t blocks = larger<std::int64_t>(1, ceil_div(g.k, depth_per_block));
    return larger<std::int64_t>(1, ceil_div(g.k, blocks));
  }

  static Work plan(const Args& g) noexcept {
    if (g.m <= 0 || g.n <= 0) return {0, 0, 0};
    const Cut c = cut(g);
    const std::int64_t floats = depth(g) * (c.rows + Blocking<V>::max_vectors * V::width) + 2 * V::width;
    return {c.row_tiles * c.col_tiles, 0, static_cast<std::size_t>(floats) * sizeof(float)};
  }

  static void pack(const Args&, std::byte*, std::int64_t) noexcept {}

  /// dst[k][R] = sub(op(A)) of R rows from `row`, `n` columns from k0.
  static void pack_a(const Args& g, std::int64_t row, int rows, std::int64_t k0, std::int64_t n, float* dst) {
    if (g.a_transposed) {
      for (std::int64_t k = 0; k < n; ++k)
        substitute_row<V>(g.a_sub, g.a + (k0 + k) * g.lda + row, dst + k * rows, rows);
    } else {
      transpose<V>(g.a_sub, g.a + row * g.lda + k0, g.lda, rows, n, dst, rows);
    }
  }

  /// dst[k][width] = sub(op(B)) of `cols` columns from `col`, zero beyond.
  static void pack_b(const Args& g, std::int64_t col, std::int64_t cols, std::int64_t width, std::int64_t k0,
                     std::int64_t n, float* dst) {
    if (cols < width) {
      for (std::int64_t i = 0; i < n * width; i += V::width) V::zero().store(dst + i);
    }
    if (g.b_transposed) {
      transpose<V>(g.b_sub, g.b + col * g.ldb + k0, g.ldb, cols, n, dst, width);
    } else {
      for (std::int64_t k = 0; k < n; ++k)
        substitute_row<V>(g.b_sub, g.b + (k0 + k) * g.ldb + col, dst + k * width, cols);
    }
  }

  static void tile(const Args& g, const std::byte*, std::byte* scratch, std::int64_t index) noexcept {
    const Cut c = cut(g);
    const std::int64_t row0 = index / c.col_tiles * c.rows, col0 = index % c.col_tiles * c.cols;
    const std::int64_t rows = smaller(c.rows, g.m - row0), cols = smaller(c.cols, g.n - col0);
    const Panels panels = panels_of<V>(rows);
    // A panel that must be transposed is kept narrow, so that its rows stay in L1 while they are written piece by
    // piece.
    int nv = Blocking<V>::vectors(panels.height(0));
    if (g.b_transposed) nv = smaller(nv, 2);
    if (cols <= V::width) nv = 1;
    const std::int64_t width = nv * V::width, depth_block = depth(g);
    float* const b_panel = reinterpret_cast<float*>(scratch);
    float* const a_block = b_panel + depth_block * Blocking<V>::max_vectors * V::width + V::width;
    // With a single panel of rows each element of B is used once, so B is read without packing.
    const bool in_place = panels.count == 1 && !g.b_transposed && is_raw(g.b_sub);

    bool add = g.add;
    if (g.bias) {
      for (std::int64_t i = 0; i < rows; ++i) add_bias(g, g.c + (row0 + i) * g.ldc + col0, col0, cols);
      add = true;
    }
    std::int64_t k0 = 0;
    do {
      const std::int64_t n = smaller(depth_block, g.k - k0);
      for (std::int64_t p = 0; p < panels.count; ++p) {
        pack_a(g, row0 + panels.begin(p), panels.height(p), k0, n, a_block + panels.begin(p) * n);
      }
      for (std::int64_t j = 0; j < cols; j += width) {
        const std::int64_t here = smaller(width, cols - j);
        const float* b[Blocking<V>::max_vectors];
        float* to[Blocking<V>::max_vectors];
        std::int64_t count[Blocking<V>::max_vectors];
        std::int64_t stride = width;
        const float* from = b_panel;
        if (in_place && here == width) {
          from = g.b + k0 * g.ldb + col0 + j;
          stride = g.ldb;
        } else {
          pack_b(g, col0 + j, here, width, k0, n, b_panel);
        }
        for (int v = 0; v < nv; ++v) {
          b[v] = from + v * V::width;
          count[v] = larger<std::int64_t>(0, smaller<std::int64_t>(V::width, here - v * V::width));
          to[v] = g.c + row0 * g.ldc + col0 + j + (count[v] > 0 ? v * V::width : 0);
        }
        for (std::int64_t p = 0; p < panels.count; ++p) {
          float* c_row[Blocking<V>::max_vectors];
          for (int v = 0; v < nv; ++v) c_row[v] = to[v] + panels.begin(p) * g.ldc;
          block_function<V, Strided>(
              panels.height(p), nv)({n, a_block + panels.begin(p) * n, b, {stride}, c_row, count, g.ldc, nullptr, add});
        }
      }
      add = true;
      k0 += n;
    } while (k0 < g.k);
  }

  static void add_bias(const Args& g, float* c, std::int64_t col, std::int64_t n) {
    const Substitution<V> sub(g.bias_sub);
    stream<V>(n, [&](std::int64_t i, auto step) { store(sub(load<V>(g.bias + col + i, step)), c + i, g.add, step); });
  }
};

}  // namespace
}  // namespace vitrine::kernels
