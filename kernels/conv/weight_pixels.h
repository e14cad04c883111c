// The weight gradient with vectors of neighbouring pixels (weight_blocks.h): the last way, which takes every planar
// shape. For wide rows nothing is packed: x[j] is the staged channel at the tap's offset. Otherwise the pixels that
// each tap reads are packed one after another.
#pragma once

#include "kernels/conv/weight_blocks.h"

namespace vitrine::kernels {
namespace {

template <class V>
struct WeightPixels : WeightBlocks<V> {
  using Base = WeightBlocks<V>;
  using Base::s, Base::cg, Base::og, Base::taps, Base::j_count, Base::pixels, Base::m_per, Base::j_per,
      Base::channels_per, Base::rows_per, Base::tiles, Base::stage, Base::block_rows, Base::block_columns;
  using typename Base::Args;
  using typename Base::Tile;
  static constexpr std::int64_t staged_floats = 32 * 1024;  ///< staged or packed floats, about

  bool direct;              ///< vectors straight from the staged rows
  std::int64_t images_per;  ///< packed images per step, so that the sums are not reloaded for each small image

  static constexpr const char* name = "inner products along pixels";
  static const char* refuses(const Args& a) noexcept {
    return a.x_interleaved || a.y_interleaved ? reads_planar : nullptr;
  }

  explicit WeightPixels(const Args& a) : Base(a) {
    direct = rows_fill_vectors<V>(s.ow) || !whole_image_fits();
    m_per = ceil_div(og, ceil_div(og, m_per));
    j_per = smaller(j_count, larger<std::int64_t>(block_columns, round_up(Base::tile_sums / m_per, block_columns)));
    if (!direct)
      j_per = smaller(
          j_per, larger<std::int64_t>(block_columns, staged_floats / padded_pixels() / block_columns * block_columns));
    images_per = direct ? 1 : smaller<std::int64_t>(s.n, ceil_div(512, padded_pixels()));
    while (images_per > 1 && j_per * images_per * padded_pixels() > 2 * staged_floats) --images_per;
    // Cut further while each tile keeps about 2 Mflop.
    const std::int64_t flops = 2 * s.n * pixels;
    while (tiles() < 16 && j_per > 2 * block_columns && flops * m_per * j_per > (1 << 22)) {
      j_per = round_up(ceil_div(j_per, 2), block_columns);
    }
    while (tiles() < 16 && m_per > 2 * block_rows && flops * m_per * j_per > (1 << 22)) {
      m_per = round_up(ceil_div(m_per, 2), block_rows);
    }
    this->count_blocks();
    rows_per = direct ? larger<std::int64_t>(1, smaller<std::int64_t>(s.oh, 1024 / s.ow)) : s.oh;
    while (rows_per > 1 && (rows_per * s.stride_h + s.kh) * (s.w + s.kw) * channels_per > staged_floats) --rows_per;
    if (!direct) rows_per = s.oh;
  }

  std::int64_t padded_pixels() const { return round_up(pixels, V::width); }
  bool whole_image_fits() const { return padded_pixels() * block_columns <= staged_floats; }

  struct Scratch {
    std::int64_t staged, packed, sums, taps, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.taps = round_up(j_per, 16);
    t.staged = round_up(channels_per * stage(0, rows_per).plane + V::width, 16);
    t.packed = direct ? 0 : round_up(j_per * images_per * padded_pixels() + V::width, 16);
    t.sums = m_per * j_per * V::width;
    t.total = t.staged + t.packed + t.sums + t.taps;
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
    for (std::int64_t image = 0; image < s.n; image += images_per) {
      const std::int64_t images = smaller<std::int64_t>(images_per, s.n - image);
      for (std::int64_t r0 = 0; r0 < s.oh; r0 += rows_per) {
        const std::int64_t r1 = smaller<std::int64_t>(s.oh, r0 + rows_per);
        const Stage st = stage(r0, r1);
        const float *x = a.x + (image * s.groups + t.group) * cg * s.h * s.w,
                    *y = a.y + ((image * s.groups + t.group) * og + t.m0) * pixels + r0 * s.ow;
        for (std::int64_t i = 0; i < images; ++i) {
          for (std::int64_t c = t.c0; c < t.c1; ++c)
            st.template fill<V>(a.x_sub, x + (i * s.groups * cg + c) * s.h * s.w, staged + (c - t.c0) * st.plane);
          if (!direct) pack_rows(st, staged, t, packed + i * padded_pixels());
        }
        this->fill_taps(st, st.plane, t, tap_offsets);
        const Stretch stretch = direct ? Stretch{r1 - r0, s.ow, s.ow, st.row_offset(1)}
                                       : Stretch{images, pixels, s.oc * pixels, padded_pixels()};
        InnerProducts<V>::accumulate(
            stretch, y, pixels, t.nm, nj,
            [&](std::int64_t j) {
              return direct ? staged + tap_offsets[j] : packed + j * images_per * padded_pixels();
            },
            sums, ld_sums);
      }
    }
    this->store_sums(a, t, sums);
  }

  /// packed[j] = the pixels of the image that tap j reads, in order, padded with zeros to a whole vector.
  void pack_rows(const Stage& st, const float* staged, const Tile& t, float* packed) const {
    for (std::int64_t j = t.j0; j < t.j1; ++j, packed += images_per * padded_pixels()) {
      const float* from = staged + this->tap_at(st, st.plane, j, t.c0);
      float* to = packed;
      float* const end = packed + padded_pixels();
      for (std::int64_t row = 0; row < s.oh; ++row, to += s.ow) {
        const float* x = from + st.row_offset(row);
        for (std::int64_t i = 0; i < s.ow; i += V::width) {
          // Whole vectors if they stay within this image: the next row overwrites the excess.
          const V v = V::load(x + i);
          if (to + i + V::width <= end) {
            v.store(to + i);
          } else {
            v.store_n(to + i, s.ow - i);
          }
        }
      }
      if (to < end) V::zero().store_n(to, end - to);
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
