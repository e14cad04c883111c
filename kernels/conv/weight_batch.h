// The weight gradient with vectors of one pixel of several images (weight_blocks.h), for batches of small maps.
#pragma once

#include "kernels/conv/weight_blocks.h"

namespace vitrine::kernels {
namespace {

template <class V>
struct WeightBatch : WeightBlocks<V> {
  using Base = WeightBlocks<V>;
  using Base::s, Base::cg, Base::og, Base::j_count, Base::pixels, Base::m_per, Base::j_per, Base::channels_per,
      Base::rows_per, Base::tiles, Base::stage, Base::block_rows, Base::block_columns;
  using typename Base::Args;
  using typename Base::Tile;

  static constexpr const char* name = "inner products, interleaved";
  static const char* refuses(const Args& a) noexcept { return batch_refuses<V>(a.s); }

  /// Few tiles, since every tile interleaves its operands itself.
  explicit WeightBatch(const Args& a) : Base(a) {
    j_per = smaller(j_count, larger<std::int64_t>(block_columns, 2 * Base::tile_sums / m_per));
    while (tiles() < 2 && m_per > 2 * block_rows) m_per = ceil_div(m_per, 2);
    while (tiles() < 2 && j_per > 2 * block_columns) j_per = ceil_div(j_per, 2);
    this->count_blocks();
    const auto vectors = [&](std::int64_t rows) {
      return channels_per * (rows * s.stride_h + s.kh) * (s.w + s.kw) + m_per * rows * s.ow;
    };
    rows_per = s.oh;
    while (rows_per > 1 && vectors(rows_per) > BatchConv<V, true>::tile_vectors) rows_per = ceil_div(rows_per, 2);
  }

  struct Scratch {
    std::int64_t staged, packed, sums, taps, places, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.taps = round_up(j_per, 16);
    t.staged = channels_per * BatchConv<V, true>::plane_of(stage(0, rows_per)) * V::width;
    t.packed = m_per * rows_per * s.ow * V::width;
    t.sums = m_per * j_per * V::width;
    t.places = round_up(larger<std::int64_t>(std::int64_t{s.h} * s.w, pixels), 16);
    t.total = t.staged + t.packed + t.sums + t.taps + 2 * t.places;
    return t;
  }
  Work work() const { return {tiles(), 0, static_cast<std::size_t>(scratch().total) * sizeof(float)}; }

  void run_tile(const Args& a, float* memory, std::int64_t index) const {
    const Tile t = this->tile(index);
    const Scratch part = scratch();
    float *staged = memory, *packed = staged + part.staged, *sums = packed + part.packed;
    auto* const tap_offsets = reinterpret_cast<std::int32_t*>(sums + part.sums);
    const std::int64_t nj = t.j1 - t.j0, ld_sums = nj * V::width;
    Stage::zero<V>(sums, t.nm * ld_sums);
    for (std::int64_t image = 0; image < s.n; image += V::width) {
      const std::int64_t images = smaller<std::int64_t>(V::width, s.n - image);
      for (std::int64_t r0 = 0; r0 < s.oh; r0 += rows_per) {
        const std::int64_t r1 = smaller<std::int64_t>(s.oh, r0 + rows_per);
        const Stage st = stage(r0, r1);
        const Operands o = operands(a, st, image, images, t, r0, r1, staged, packed, tap_offsets + part.taps);
        this->fill_taps(st, o.x_plane, t, tap_offsets);
        InnerProducts<V>::accumulate(
            {r1 - r0, s.ow * V::width, s.ow * V::width, st.row_offset(1) * V::width}, o.y, o.y_row, t.nm, nj,
            [&](std::int64_t j) { return o.x + tap_offsets[j] * V::width; }, sums, ld_sums);
      }
    }
    this->store_sums(a, t, sums);
  }

  /// Both operands interleaved: staged pixels of x, `x_plane` vectors from channel to channel; rows of y, `y_row`
  /// elements from channel to channel.
  struct Operands {
    const float* x;
    std::int64_t x_plane;
    const float* y;
    std::int64_t y_row;
  };

  /// The tile's channels of x and y for output rows [r0, r1) of the images from `image` on: in place if possible, else
  /// staged and interleaved.
  Operands operands(const Args& a, const Stage& st, std::int64_t image, std::int64_t images, const Tile& t,
                    std::int64_t r0, std::int64_t r1, float* staged, float* packed_y, std::int32_t* places) const {
    const std::int64_t x_plane = std::int64_t{s.h} * s.w, count = (r1 - r0) * s.ow;
    const float* const x = a.x + image * s.c * x_plane + t.group * cg * x_plane * (a.x_interleaved ? V::width : 1);
    const float* const y = a.y + image * s.oc * pixels +
                           ((t.group * this->og + t.m0) * pixels + r0 * s.ow) * (a.y_interleaved ? V::width : 1);
    const std::int64_t y0 = larger<std::int64_t>(0, st.y0),
                       y1 = larger(y0, smaller<std::int64_t>(s.h, st.y0 + (st.rows - 1) * st.row_step + 1));
    Operands out{staged, BatchConv<V, true>::plane_of(st), packed_y, count * V::width};
    if (a.x_interleaved && is_raw(a.x_sub) && is_stored_staged(st)) {
      out.x = x + (t.c0 * x_plane + y0 * s.w) * V::width;
      out.x_plane = x_plane;
    } else {
      stage_places(st, y0, y1, places);
      Stage::zero<V>(staged, (t.c1 - t.c0) * out.x_plane * V::width);
      for (std::int64_t c = t.c0; c < t.c1; ++c) {
        float* const dst = staged + (c - t.c0) * out.x_plane * V::width;
        if (a.x_interleaved) {
          place_interleaved<V>(a.x_sub, x + c * x_plane * V::width, y0 * s.w, y1 * s.w, places, dst);
        } else {
          interleave<V>(a.x_sub, x + c * x_plane, s.c * x_plane, images, y0 * s.w, y1 * s.w, places, dst);
        }
      }
    }
    if (a.y_interleaved) {
      out.y = y;
      out.y_row = pixels * V::width;
    } else {
      std::int32_t* const in_order = places + round_up(x_plane, 16);
      for (std::int64_t i = 0; i < count; ++i) in_order[i] = static_cast<std::int32_t>(i);
      for (std::int64_t m = 0; m < t.nm; ++m)
        interleave<V>({}, y + m * pixels, s.oc * pixels, images, 0, count, in_order, packed_y + m * count * V::width);
    }
    return out;
  }
};

}  // namespace
}  // namespace vitrine::kernels
