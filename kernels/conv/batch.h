// The gather convolution for interleaved images: every vector holds one pixel of V::width images. Planar pixels are
// transposed when they are staged and when they are stored. In between no access is unaligned, partial or strided,
// whatever the stride and however small the maps. It suits batches of small maps, whose rows do not fill vectors.
//
// A tile is one group, V::width images, a block of output rows and a block of output channels; its phases run one after
// another. Outputs near the border skip the taps outside the source, so that interleaved operands need neither
// transposing nor staging.
#pragma once

#include "kernels/conv/gather.h"
#include "kernels/conv/interleave.h"

namespace vitrine::kernels {
namespace {

/// Whether a batch fills the lanes and its maps are so small that transposing them stays within the cache.
template <class V>
VITRINE_INLINE bool batch_fills_lanes(std::int64_t images, std::int64_t pixels) {
  return 4 * images >= 3 * round_up(images, V::width) && pixels <= small_map_pixels;
}

/// Why the interleaved ways do not take a convolution of this shape, or null.
template <class V>
VITRINE_INLINE const char* batch_refuses(const ConvShape& s) {
  const std::int64_t pixels = larger(std::int64_t{s.oh} * s.ow, std::int64_t{s.h} * s.w);
  return batch_fills_lanes<V>(s.n, pixels) ? nullptr
                                           : "the batch does not fill the lanes, or the maps are larger than 40x40";
}

/// place[pixel] of source rows [y0, y1): its place in the stage, in pixels, or -1 if the stage leaves it out.
VITRINE_INLINE void stage_places(const Stage& st, std::int64_t y0, std::int64_t y1, std::int32_t* place) {
  const std::int64_t step = st.tx.count <= 1 ? st.stride_w : st.residues;
  for (std::int64_t y = y0; y < y1; ++y, place += st.w) {
    const std::int64_t u = y - st.y0;
    const bool row_kept = u % st.row_step == 0 && u / st.row_step < st.rows;
    const std::int64_t row = u / st.row_step * st.row;
    for (std::int64_t x = 0; x < st.w; ++x) {
      const std::int64_t at = x - st.x0, q = step == 1 ? at : at / step, r = at - q * step;
      const bool kept = row_kept && at >= 0 && r < st.residues && q < st.part;
      place[x] = kept ? static_cast<std::int32_t>(row + r * st.part + q) : -1;
    }
  }
}

/// Whether staged rows would equal the stored ones, so that nothing need be staged.
VITRINE_INLINE bool is_stored_staged(const Stage& st) {
  return st.y0 >= 0 && st.y0 + st.rows <= st.h && st.row_step == 1 && st.x0 == 0 && st.row == st.w &&
         st.residues == 1 && st.stride_w == 1;
}

template <class V, bool Forward>
struct BatchConv : Gather<V, Forward> {
  using Base = Gather<V, Forward>;
  using Base::s, Base::images, Base::groups, Base::phases_h, Base::phases_w, Base::m, Base::channels, Base::out_h,
      Base::out_w, Base::src_h, Base::src_w, Base::block, Base::panels, Base::phase, Base::stage, Base::weights_at;
  using typename Base::Args;
  using typename Base::Phase;
  static constexpr std::int64_t tile_vectors = 12 * 1024;  ///< pixel vectors of source and result per tile, about

  std::int64_t image_blocks, rows_per, row_blocks, panels_per, panel_blocks;
  bool src_interleaved, out_interleaved;

  explicit BatchConv(const Args& a)
      : Base(a),
        src_interleaved(Forward ? a.x_interleaved : a.y_interleaved),
        out_interleaved(Forward ? a.y_interleaved : a.x_interleaved) {
    image_blocks = ceil_div(images, V::width);
    panels_per = smaller<std::int64_t>(panels.count, 8);
    panel_blocks = ceil_div(panels.count, panels_per);
    rows_per = round_up(out_h, phases_h);
    while (rows_per > phases_h && (vectors(rows_per) > tile_vectors || (tiles() < 8 && rows_per > 4 * phases_h)))
      rows_per = round_up(ceil_div(rows_per, 2), phases_h);
    row_blocks = ceil_div(out_h, rows_per);
  }

  static constexpr const char* name = "interleaved";
  static const char* refuses(const Args& a) noexcept { return batch_refuses<V>(a.s); }
  std::int64_t tiles() const { return groups * image_blocks * ceil_div(out_h, rows_per) * panel_blocks; }
  std::int64_t block_rows() const { return smaller<std::int64_t>(m, panels_per * ceil_div(m, panels.count)); }
  std::int64_t vectors(std::int64_t rows) const {
    const std::int64_t source = (rows * (Forward ? s.stride_h : 1) / phases_h + s.kh) * (src_w + s.kw);
    return block * source + block_rows() * rows * out_w;
  }

  /// Pixels from one staged channel to the next: odd, so that channels fall into different cache sets.
  static std::int64_t plane_of(const Stage& st) { return st.rows * st.row | 1; }

  struct Scratch {
    std::int64_t staged, out, offsets, places, total;
  };
  Scratch scratch() const {
    Scratch t{};
    for (std::int64_t i = 0; i < phases_h * phases_w; ++i) {
      const Phase p = phase(i);
      if (p.gh <= 0 || p.gw <= 0) continue;
      const Stage st = stage(p, 0, smaller(ceil_div(rows_per, phases_h), p.gh));
      t.staged = larger(t.staged, block * plane_of(st) * V::width);
    }
    t.out = out_interleaved ? 0 : block_rows() * smaller(rows_per, out_h) * out_w * V::width;
    t.offsets = round_up(block * this->max_taps, 16);
    t.places = round_up(larger(src_h * src_w, out_h * out_w), 16);
    t.total = t.staged + t.out + t.offsets + t.places;
    return t;
  }

  Work work() const {
    return {tiles(), this->weight_bytes(), static_cast<std::size_t>(scratch().total) * sizeof(float), this->parts()};
  }

  /// A tile: `here` images from `image` on, a group, output rows [h0, h1), and a range of panels.
  struct Tile {
    std::int64_t image, here, group, h0, h1, first_panel, last_panel;
  };
  Tile tile_of(std::int64_t index) const {
    Tile t{};
    t.first_panel = index % panel_blocks * panels_per, t.last_panel = smaller(panels.count, t.first_panel + panels_per);
    index /= panel_blocks;
    t.h0 = index % row_blocks * rows_per, t.h1 = smaller(out_h, t.h0 + rows_per);
    index /= row_blocks;
    t.image = index % image_blocks * V::width, t.here = smaller<std::int64_t>(V::width, images - t.image);
    t.group = index / image_blocks;
    return t;
  }

  void run_tile(const Args& a, const float* packed_weights, float* memory, std::int64_t index) const {
    const auto [image, here, group, h0, h1, first_panel, last_panel] = tile_of(index);
    const std::int64_t pixels = (h1 - h0) * out_w, first_row = panels.begin(first_panel),
                       last_row = panels.begin(last_panel);
    const Scratch part = scratch();
    float *staged = memory, *result = staged + part.staged;
    auto* const offsets = reinterpret_cast<std::int32_t*>(result + part.out);
    std::int32_t* const places = offsets + part.offsets;
    const std::int64_t src_plane = src_h * src_w, out_plane = out_h * out_w, src_image = groups * channels * src_plane,
                       out_image = groups * m * out_plane;
    const float* const src =
        (Forward ? a.x : a.y) + image * src_image + group * channels * src_plane * (src_interleaved ? V::width : 1);
    float* const out = (Forward ? a.y_out : a.x_out) + image * out_image +
                       (group * m * out_plane + h0 * out_w) * (out_interleaved ? V::width : 1);
    // Where the results of a row of A are stored.
    const std::int64_t to_row = (out_interleaved ? out_plane : pixels) * V::width;
    const auto to = [&](std::int64_t row) {
      return out_interleaved ? out + row * to_row : result + (row - first_row) * to_row;
    };

    // Start from the old output, so that the order of additions is the same for every cut.
    if (a.add && !out_interleaved) {
      for (std::int64_t i = 0; i < pixels; ++i) places[i] = static_cast<std::int32_t>(i);
      for (std::int64_t row = first_row; row < last_row; ++row)
        interleave<V>({}, out + row * out_plane, out_image, here, 0, pixels, places, to(row));
    }
    for (std::int64_t which = 0; which < phases_h * phases_w; ++which) {
      const Phase p = phase(which);
      const std::int64_t r0 = h0 / p.step_h, r1 = smaller(p.gh, ceil_div(h1 - p.y0, p.step_h));
      if (r0 >= r1 || p.gw <= 0) continue;
      const std::int64_t taps = p.ty.count * p.tx.count;
      const float* const weights = packed_weights + weights_at(which, group);
      const bool in_place = src_interleaved && is_raw(Forward ? a.x_sub : Substitute{});
      const Stage st = in_place ? as_stored(stage(p, r0, r1)) : stage(p, r0, r1);
      const std::int64_t plane = in_place ? src_plane : plane_of(st);
      // The source rows that the stage holds.
      const std::int64_t y0 = larger<std::int64_t>(0, st.y0),
                         y1 = larger(y0, smaller(src_h, st.y0 + (st.rows - 1) * st.row_step + 1));
      if (taps > 0 && !in_place) stage_places(st, y0, y1, places);
      std::int64_t c0 = 0;
      do {
        const std::int64_t c1 = smaller(channels, c0 + block);
        for (std::int64_t c = c0; c < c1 && taps > 0 && !in_place; ++c)
          stage_channel(a, src, c, here, y0, y1, places, staged + (c - c0) * plane * V::width);
        this->fill_offsets(p, st, plane, c1 - c0, V::width, offsets);
        for (std::int64_t q = first_panel; q < last_panel; ++q) {
          const std::int64_t row = panels.begin(q);
          run_panel(
              a, p, st,
              {c1 - c0, weights + this->panel_at(p, q, c0), offsets,
               in_place ? src + (c0 * src_plane + st.y0 * src_w + st.x0) * V::width : staged,
               in_place && Forward ? s.stride_w : 1, to(row), to_row, group * m + row, panels.height(q), r0, r1, h0},
              a.add || c0 > 0, c0 == 0, out_interleaved && Forward && a.relu && c1 == channels);
        }
        c0 = c1;
      } while (c0 < channels);
    }
    for (std::int64_t row = first_row; row < last_row && !out_interleaved; ++row)
      deinterleave<V>(to(row), pixels, out + row * out_plane, out_image, here, false, Forward && a.relu);
  }

  /// Copies source rows [y0, y1) of channel c to their places in the stage.
  VITRINE_INLINE void stage_channel(const Args& a, const float* src, std::int64_t c, std::int64_t here, std::int64_t y0,
                                    std::int64_t y1, const std::int32_t* places, float* to) const {
    const Substitute sub = Forward ? a.x_sub : Substitute{};
    const std::int64_t src_plane = src_h * src_w, src_image = groups * channels * src_plane;
    if (src_interleaved) {
      place_interleaved<V>(sub, src + c * src_plane * V::width, y0 * src_w, y1 * src_w, places, to);
    } else {
      interleave<V>(sub, src + c * src_plane, src_image, here, y0 * src_w, y1 * src_w, places, to);
    }
  }

  /// The stage that describes the source as it is stored, whatever the stride.
  static Stage as_stored(Stage st) {
    st.row_step = st.residues = 1;
    st.row = st.part = st.w;
    return st;
  }

  /// One panel of output channels over the grid rows [r0, r1) of a phase.
  struct Panel {
    std::int64_t channels;  ///< of the source, in this block of the sum
    const float* weights;
    const std::int32_t* offsets;
    const float* staged;
    std::int64_t step;  ///< staged columns from one column of the grid to the next
    float* out;
    std::int64_t out_row, channel;  ///< elements from one channel's pixels to the next's
    int rows;
    std::int64_t r0, r1, h0;
  };

  void run_panel(const Args& a, const Phase& p, const Stage& st, const Panel& t, bool add, bool first,
                 bool relu) const {
    float bias[Blocking<V>::max_rows];
    const bool with_bias = Forward && first && a.bias != nullptr;
    for (int r = 0; r < t.rows && with_bias; ++r) bias[r] = substituted(a.bias_sub, a.bias[t.channel + r]);
    constexpr int most = Blocking<V>::max_vectors;
    const int width = Blocking<V>::vectors(panels.height(0));
    std::int64_t whole[most];
    for (std::int64_t& n : whole) n = V::width;
    const std::int64_t stride_h = Forward ? s.stride_h : 1, stride_w = Forward ? s.stride_w : 1;
    // Areas of the output whose pixels skip the same taps. Within one, pixels are taken in order, as many at once as
    // the registers hold.
    for (std::int64_t j0 = t.r0, j1; j0 < t.r1; j0 = j1) {
      const Range ty = taps_inside(p.ty, j0 * stride_h, src_h);
      for (j1 = j0 + 1; j1 < t.r1 && taps_inside(p.ty, j1 * stride_h, src_h) == ty;) ++j1;
      for (std::int64_t i0 = 0, i1; i0 < p.gw; i0 = i1) {
        const Range tx = taps_inside(p.tx, i0 * stride_w, src_w);
        for (i1 = i0 + 1; i1 < p.gw && taps_inside(p.tx, i1 * stride_w, src_w) == tx;) ++i1;
        const std::int64_t rows = ty.last - ty.first, columns = tx.last - tx.first,
                           first_tap = ty.first * p.tx.count + tx.first;
        // Contiguous taps are one piece of the sum.
        Block<Indirect> sum{};
        sum.a = t.weights + first_tap * t.rows, sum.rows = {t.offsets + first_tap}, sum.n = whole, sum.ldc = t.out_row;
        sum.bias = with_bias ? bias : nullptr, sum.add = add, sum.relu = relu;
        if (rows == p.ty.count && columns == p.tx.count) {
          sum.k = t.channels * rows * columns;
        } else if (rows == 0 || columns == 0) {
          sum.k = 0;
        } else if (columns == p.tx.count) {
          sum.k = rows * columns, sum.pieces = t.channels, sum.skip = (p.ty.count - rows) * columns;
        } else {
          sum.k = columns, sum.pieces = t.channels * rows, sum.skip = p.tx.count - columns;
          sum.group = rows, sum.group_skip = (p.ty.count - rows) * p.tx.count;
        }
        const float* from[most];
        float* to[most];
        sum.b = from, sum.c = to;
        int count = 0;
        const auto flush = [&](int nv) {
          block_function<V, Indirect>(t.rows, nv)(sum);
          count = 0;
        };
        for (std::int64_t j = j0; j < j1; ++j) {
          const float* x = t.staged + (st.row_offset(j - t.r0) + i0 * t.step) * V::width;
          float* y = t.out + ((p.y0 + j * p.step_h - t.h0) * out_w + p.x0 + i0 * p.step_w) * V::width;
          for (std::int64_t i = i0; i < i1; ++i, x += t.step * V::width, y += p.step_w * V::width) {
            from[count] = x;
            to[count] = y;
            if (++count == width) flush(width);
          }
        }
        // The rest, two pixels or one at a time.
        while (count > 0) {
          const int total = count, nv = total >= 2 && width >= 2 ? 2 : 1;
          flush(nv);
          for (int i = nv; i < total; ++i) from[i - nv] = from[i], to[i - nv] = to[i];
          count = total - nv;
        }
      }
    }
  }

  struct Range {
    std::int64_t first, last;
    friend constexpr bool operator==(const Range&, const Range&) = default;
  };

  /// The taps that read inside a source of `size` places for the output at source place `at`.
  static Range taps_inside(const Taps& taps, std::int64_t at, std::int64_t size) {
    const auto inside = [&](std::int64_t t) { return at + taps.at(t) >= 0 && at + taps.at(t) < size; };
    Range r{0, taps.count};
    while (r.first < r.last && !inside(r.first)) ++r.first;
    while (r.last > r.first && !inside(r.last - 1)) --r.last;
    return r;
  }
};

}  // namespace
}  // namespace vitrine::kernels
