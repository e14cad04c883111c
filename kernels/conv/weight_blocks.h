// What weight gradients by inner products share. dW[m][j] = sum over images and pixels of y[m][pixel] * x[j][pixel], j
// = (channel, tap). A vector holds neighbouring pixels (weight_pixels.h) or one pixel of several images
// (weight_batch.h). Each (m, j) of a register block keeps one vector of partial sums over all images; its lanes are
// added up once, at the end.
//
// A tile is a block of output channels times a block of j, summed over all images in order, so tiles share no partial
// results.
#pragma once

#include "kernels/conv/batch.h"
#include "kernels/gemm/dots.h"

namespace vitrine::kernels {
namespace {

template <class V>
struct WeightBlocks {
  using Args = ConvArgs<float>;
  static constexpr int block_rows = InnerProducts<V>::block_rows, block_columns = InnerProducts<V>::block_columns;
  static constexpr std::int64_t tile_sums = 2048;  ///< vectors of partial sums per tile, about

  ConvShape s;
  Taps ty, tx;
  std::int64_t cg, og, taps, j_count, pixels;
  std::int64_t m_per, m_blocks, j_per, j_blocks;
  std::int64_t channels_per;  ///< channels, at most, that a block of j belongs to
  std::int64_t rows_per;      ///< output rows per step

  explicit WeightBlocks(const Args& a) : s(flattened(a.s)) {
    ty = forward_taps(s.kh, s.pad_top, s.dilation_h);
    tx = forward_taps(s.kw, s.pad_left, s.dilation_w);
    cg = s.c / s.groups;
    og = s.oc / s.groups;
    taps = std::int64_t{s.kh} * s.kw;
    j_count = cg * taps;
    pixels = std::int64_t{s.oh} * s.ow;
    m_per = smaller(og, std::int64_t{16} * block_rows);
  }

  std::int64_t tiles() const { return s.groups * ceil_div(og, m_per) * ceil_div(j_count, j_per); }
  void count_blocks() {
    m_blocks = ceil_div(og, m_per);
    j_blocks = ceil_div(j_count, j_per);
    channels_per = smaller(cg, ceil_div(j_per - 1, taps) + 1);
  }

  Stage stage(std::int64_t r0, std::int64_t r1) const {
    return {ty, tx, s.h, s.w, s.stride_h, s.stride_w, r0, r1, s.ow};
  }

  /// A tile: its output channels [m0, m0 + nm), its j, and the input channels that the j belong to.
  struct Tile {
    std::int64_t group, m0, nm, j0, j1, c0, c1;
  };
  Tile tile(std::int64_t index) const {
    Tile t{};
    t.j0 = index % j_blocks * j_per, t.j1 = smaller(j_count, t.j0 + j_per);
    t.group = index / j_blocks / m_blocks;
    t.m0 = index / j_blocks % m_blocks * m_per, t.nm = smaller(m_per, og - t.m0);
    t.c0 = t.j0 / taps, t.c1 = (t.j1 - 1) / taps + 1;
    return t;
  }

  std::int64_t tap_at(const Stage& st, std::int64_t plane, std::int64_t j, std::int64_t c0) const {
    const std::int64_t c = j / taps, t = j % taps;
    return (c - c0) * plane + st.tap_offset(t / s.kw, t % s.kw);
  }
  void fill_taps(const Stage& st, std::int64_t plane, const Tile& t, std::int32_t* to) const {
    for (std::int64_t j = t.j0; j < t.j1; ++j)
      to[j - t.j0] = j < t.j0 + taps ? static_cast<std::int32_t>(tap_at(st, plane, j, t.c0))
                                     : to[j - t.j0 - taps] + static_cast<std::int32_t>(plane);
  }

  /// Adds up the lanes of a tile's sums, [m][j] vectors, and stores them.
  void store_sums(const Args& a, const Tile& t, const float* sums) const {
    const std::int64_t nj = t.j1 - t.j0, ld = nj * V::width;
    for (std::int64_t m = 0; m < t.nm; ++m) {
      float* to = a.w_out + (t.group * og + t.m0 + m) * j_count + t.j0;
      for (std::int64_t j = 0; j < nj; j += V::width) {
        const std::int64_t n = smaller<std::int64_t>(V::width, nj - j);
        V lanes[V::width];
        for (std::int64_t i = 0; i < V::width; ++i)
          lanes[i] = V::load(sums + m * ld + smaller(j + i, nj - 1) * V::width);
        store(lane_sums(lanes), to + j, a.add, Part{n});
      }
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
