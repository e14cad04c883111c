// The weight gradient: dW[m][j] = sum over images and pixels of y[m][pixel] * x[j][pixel], j = (channel, tap). Both
// operands run along the pixels, so vectors do too: each (m, j) of a register block keeps one vector of partial sums
// over all images and is added up across lanes once, at the end. For wide rows nothing is even
// packed: x[j] is the staged channel at the tap's offset. Batches of small maps go by vectors across images instead, as
// in batch.h and winograd_batch.h; where channels fill the lanes, see weight_products.h and winograd.h; for pictures,
// weight_rows.h.
//
// A tile is a block of output channels times a block of j, over all images in order, so no partial results exist.
#pragma once

#include "kernels/conv/batch.h"
#include "kernels/conv/weight_products.h"
#include "kernels/conv/weight_rows.h"
#include "kernels/conv/winograd_batch.h"
#include "kernels/gemm/dots.h"

namespace vitrine::kernels {
namespace {

template <class V>
struct WeightGradient {
  using Args = ConvArgs<float>;
  static constexpr int kRows = InnerProducts<V>::kRows, kColumns = InnerProducts<V>::kColumns;
  static constexpr std::int64_t kStaged = 32 * 1024;  ///< staged or packed floats, about
  static constexpr std::int64_t kSums = 2048;         ///< vectors of partial sums of a tile, about

  ConvShape s;
  Taps ty, tx;
  std::int64_t cg, og, taps, j_count, pixels;
  bool batch;   ///< vectors across images
  bool direct;  ///< vectors straight from the staged rows
  std::int64_t m_per, m_blocks, j_per, j_blocks;
  std::int64_t channels_per;  ///< most channels that a block of j touches
  std::int64_t rows_per;      ///< output rows handled at once
  std::int64_t images_per;    ///< packed images handled at once, so that small ones do not reload the sums each time

  explicit WeightGradient(const Args& a) : s(flattened(a.s)) {
    ty = forward_taps(s.kh, s.pad_top, s.dilation_h);
    tx = forward_taps(s.kw, s.pad_left, s.dilation_w);
    cg = s.c / s.groups;
    og = s.oc / s.groups;
    taps = std::int64_t{s.kh} * s.kw;
    j_count = cg * taps;
    pixels = std::int64_t{s.oh} * s.ow;
    batch = batch_fills_lanes<V>(s.n, larger<std::int64_t>(pixels, std::int64_t{s.h} * s.w));
    if (batch) {
      cut_batch();
      return;
    }
    direct = rows_fill_vectors<V>(s.ow) || !whole_image_fits();
    m_per = smaller(og, std::int64_t{16} * kRows);
    m_per = ceil_div(og, ceil_div(og, m_per));
    j_per = smaller(j_count, larger<std::int64_t>(kColumns, round_up(kSums / m_per, kColumns)));
    if (!direct)
      j_per = smaller(j_per, larger<std::int64_t>(kColumns, kStaged / padded_pixels() / kColumns * kColumns));
    images_per = direct ? 1 : smaller<std::int64_t>(s.n, ceil_div(512, padded_pixels()));
    while (images_per > 1 && j_per * images_per * padded_pixels() > 2 * kStaged) --images_per;
    // More tiles while each keeps about 2 Mflop.
    const std::int64_t flops = 2 * s.n * pixels;
    while (tiles() < 16 && j_per > 2 * kColumns && flops * m_per * j_per > (1 << 22)) {
      j_per = round_up(ceil_div(j_per, 2), kColumns);
    }
    while (tiles() < 16 && m_per > 2 * kRows && flops * m_per * j_per > (1 << 22)) {
      m_per = round_up(ceil_div(m_per, 2), kRows);
    }
    m_blocks = ceil_div(og, m_per);
    j_blocks = ceil_div(j_count, j_per);
    channels_per = smaller(cg, ceil_div(j_per - 1, taps) + 1);
    rows_per = direct ? larger<std::int64_t>(1, smaller<std::int64_t>(s.oh, 1024 / s.ow)) : s.oh;
    while (rows_per > 1 && (rows_per * s.stride_h + s.kh) * (s.w + s.kw) * channels_per > kStaged) --rows_per;
    if (!direct) rows_per = s.oh;
  }

  /// Few tiles, because every tile brings its operands into the order of lanes itself.
  void cut_batch() {
    direct = true;
    images_per = V::width;
    m_per = smaller(og, std::int64_t{16} * kRows);
    j_per = smaller(j_count, larger<std::int64_t>(kColumns, 2 * kSums / m_per));
    while (tiles() < 2 && m_per > 2 * kRows) m_per = ceil_div(m_per, 2);
    while (tiles() < 2 && j_per > 2 * kColumns) j_per = ceil_div(j_per, 2);
    m_blocks = ceil_div(og, m_per);
    j_blocks = ceil_div(j_count, j_per);
    channels_per = smaller(cg, ceil_div(j_per - 1, taps) + 1);
    const auto vectors = [&](std::int64_t rows) {
      return channels_per * (rows * s.stride_h + s.kh) * (s.w + s.kw) + m_per * rows * s.ow;
    };
    rows_per = s.oh;
    while (rows_per > 1 && vectors(rows_per) > BatchConv<V, true>::kVectors) rows_per = ceil_div(rows_per, 2);
  }

  /// Channels fill the lanes, and images do not, or the channels are many.
  bool by_products() const { return WeightProducts<V>::suits(s) && (!batch || (cg >= 64 && og >= 64)); }
  /// Input channels are few, output channels fill the lanes, and images do not.
  bool by_rows() const { return WeightRows<V>::suits(s) && !batch; }
  std::int64_t tiles() const { return s.groups * ceil_div(og, m_per) * ceil_div(j_count, j_per); }
  std::int64_t padded_pixels() const { return round_up(pixels, V::width); }
  bool whole_image_fits() const { return padded_pixels() * kColumns <= kStaged; }

  /// Table::takes_lanes: batches go by vectors across images, in all three directions.
  static bool takes_lanes(const ConvShape& shape) noexcept {
    if (shape.c <= 0 || shape.oc <= 0 || shape.oh <= 0 || shape.ow <= 0) return false;
    Args a;
    a.s = shape;
    a.s.n = V::width;
    if (BatchWinogradShape<V>::suits(a.s, false)) return true;
    if (winograd_suits(a.s, false)) return false;
    const WeightGradient g(a);
    return g.batch && (!g.by_products() || WeightProducts<V>(a).takes_lanes());
  }

  Stage stage(std::int64_t r0, std::int64_t r1) const {
    return {ty, tx, s.h, s.w, s.stride_h, s.stride_w, r0, r1, s.ow};
  }

  struct Scratch {
    std::int64_t staged, packed, sums, taps, places, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.taps = round_up(j_per, 16);
    if (batch) {
      t.staged = channels_per * BatchConv<V, true>::plane_of(stage(0, rows_per)) * V::width;
      t.packed = m_per * rows_per * s.ow * V::width;
      t.sums = m_per * j_per * V::width;
      t.places = round_up(larger<std::int64_t>(std::int64_t{s.h} * s.w, pixels), 16);
      t.total = t.staged + t.packed + t.sums + t.taps + 2 * t.places;
      return t;
    }
    t.staged = round_up(channels_per * stage(0, rows_per).plane + V::width, 16);
    t.packed = direct ? 0 : round_up(j_per * images_per * padded_pixels() + V::width, 16);
    t.sums = m_per * j_per * V::width;
    t.total = t.staged + t.packed + t.sums + t.taps;
    return t;
  }

  /// f(the way that suits the shape).
  template <class F>
  static VITRINE_INLINE auto by_shape(const Args& a, F f) {
    if (BatchWinogradShape<V>::suits(a.s, a.exact))
      return a.s.kw == 3 ? f(BatchWinogradGradient<V, 3>(a)) : f(BatchWinogradGradient<V, 5>(a));
    if (winograd_suits(a.s, a.exact)) return f(WinogradGradient<V>(a));
    const WeightGradient g(a);
    return g.by_rows() ? f(WeightRows<V>(a)) : g.by_products() ? f(WeightProducts<V>(a)) : f(g);
  }
  Work work() const { return {tiles(), 0, static_cast<std::size_t>(scratch().total) * sizeof(float)}; }

  static Work plan(const Args& a) noexcept {
    if (a.s.c <= 0 || a.s.oc <= 0 || a.s.kh <= 0 || a.s.kw <= 0) return {0, 0, 0};
    if (a.s.oh <= 0 || a.s.ow <= 0) return {1, 0, 0};
    return by_shape(a, [](const auto& gradient) { return gradient.work(); });
  }

  static void pack(const Args&, std::byte*, std::int64_t) noexcept {}

  static void tile(const Args& a, const std::byte*, std::byte* memory, std::int64_t index) noexcept {
    if (a.s.oh <= 0 || a.s.ow <= 0) {
      const std::int64_t size = std::int64_t{a.s.oc} * (a.s.c / a.s.groups) * a.s.kh * a.s.kw;
      if (!a.add) Stage::zero<V>(a.w_out, size);
      return;
    }
    by_shape(a, [&](const auto& gradient) { gradient.run_tile(a, reinterpret_cast<float*>(memory), index); });
  }

  void run_tile(const Args& a, float* memory, std::int64_t index) const {
    const std::int64_t j_block = index % j_blocks, m_block = index / j_blocks % m_blocks,
                       group = index / j_blocks / m_blocks;
    const std::int64_t j0 = j_block * j_per, j1 = smaller(j_count, j0 + j_per), nj = j1 - j0;
    const std::int64_t m0 = m_block * m_per, nm = smaller(m_per, og - m0);
    const std::int64_t c0 = j0 / taps, c1 = (j1 - 1) / taps + 1;
    const Scratch part = scratch();
    float *staged = memory, *packed = staged + part.staged, *sums = packed + part.packed;
    auto *const under = reinterpret_cast<std::int32_t*>(sums + part.sums), *const places = under + part.taps;
    const std::int64_t ld_sums = nj * V::width;
    Stage::zero<V>(sums, nm * ld_sums);

    for (std::int64_t image = 0; image < s.n; image += images_per) {
      const std::int64_t images = smaller<std::int64_t>(images_per, s.n - image);
      for (std::int64_t r0 = 0; r0 < s.oh; r0 += rows_per) {
        const std::int64_t r1 = smaller<std::int64_t>(s.oh, r0 + rows_per);
        const Stage st = stage(r0, r1);
        if (batch) {
          const Across t = across(a, st, image, images, {group, c0, c1, m0, nm, r0, r1}, staged, packed, places);
          fill_taps(st, t.x_plane, j0, j1, c0, under);
          InnerProducts<V>::accumulate(
              {r1 - r0, s.ow * V::width, s.ow * V::width, st.row_offset(1) * V::width}, t.y, t.y_row, nm, nj,
              [&](std::int64_t j) { return t.x + under[j] * V::width; }, sums, ld_sums);
          continue;
        }
        const float *x = a.x + (image * s.groups + group) * cg * s.h * s.w,
                    *y = a.y + ((image * s.groups + group) * og + m0) * pixels + r0 * s.ow;
        for (std::int64_t i = 0; i < images; ++i) {
          for (std::int64_t c = c0; c < c1; ++c)
            st.fill<V>(a.x_sub, x + (i * s.groups * cg + c) * s.h * s.w, staged + (c - c0) * st.plane);
          if (!direct) pack_rows(st, staged, j0, j1, c0, packed + i * padded_pixels());
        }
        fill_taps(st, st.plane, j0, j1, c0, under);
        const Stretch stretch = direct ? Stretch{r1 - r0, s.ow, s.ow, st.row_offset(1)}
                                       : Stretch{images, pixels, s.oc * pixels, padded_pixels()};
        InnerProducts<V>::accumulate(
            stretch, y, pixels, nm, nj,
            [&](std::int64_t j) { return direct ? staged + under[j] : packed + j * images_per * padded_pixels(); },
            sums, ld_sums);
      }
    }
    for (std::int64_t m = 0; m < nm; ++m) {
      float* to = a.w_out + (group * og + m0 + m) * j_count + j0;
      for (std::int64_t j = 0; j < nj; j += V::width) {
        const std::int64_t n = smaller<std::int64_t>(V::width, nj - j);
        V lanes[V::width];
        for (std::int64_t i = 0; i < V::width; ++i)
          lanes[i] = V::load(sums + m * ld_sums + smaller(j + i, nj - 1) * V::width);
        store(lane_sums(lanes), to + j, a.add, Part{n});
      }
    }
  }

  struct Operands {
    std::int64_t group, c0, c1, m0, nm, r0, r1;
  };
  /// Both operands as vectors across images: staged pixels of x, `x_plane` vectors a channel; rows of y, `y_row`
  /// elements a channel.
  struct Across {
    const float* x;
    std::int64_t x_plane;
    const float* y;
    std::int64_t y_row;
  };

  /// Channels [c0, c1) of x and nm channels of y, rows [r0, r1) of the output, from `image` on: where they lie if that
  /// will do, else staged and transposed.
  Across across(const Args& a, const Stage& st, std::int64_t image, std::int64_t images, const Operands& t,
                float* staged, float* spread_y, std::int32_t* places) const {
    const std::int64_t x_plane = std::int64_t{s.h} * s.w, count = (t.r1 - t.r0) * s.ow;
    const float* const x = a.x + image * s.c * x_plane + t.group * cg * x_plane * (a.x_lanes ? V::width : 1);
    const float* const y =
        a.y + image * s.oc * pixels + ((t.group * og + t.m0) * pixels + t.r0 * s.ow) * (a.y_lanes ? V::width : 1);
    const std::int64_t y0 = larger<std::int64_t>(0, st.y0),
                       y1 = larger(y0, smaller<std::int64_t>(s.h, st.y0 + (st.rows - 1) * st.row_step + 1));
    Across out{staged, BatchConv<V, true>::plane_of(st), spread_y, count * V::width};
    if (a.x_lanes && is_raw(a.x_sub) && lies_staged(st)) {
      out.x = x + (t.c0 * x_plane + y0 * s.w) * V::width;
      out.x_plane = x_plane;
    } else {
      stage_places(st, y0, y1, places);
      Stage::zero<V>(staged, (t.c1 - t.c0) * out.x_plane * V::width);
      for (std::int64_t c = t.c0; c < t.c1; ++c) {
        float* const dst = staged + (c - t.c0) * out.x_plane * V::width;
        if (a.x_lanes) {
          spread_lanes<V>(a.x_sub, x + c * x_plane * V::width, y0 * s.w, y1 * s.w, places, dst);
        } else {
          spread<V>(a.x_sub, x + c * x_plane, s.c * x_plane, images, y0 * s.w, y1 * s.w, places, dst);
        }
      }
    }
    if (a.y_lanes) {
      out.y = y;
      out.y_row = pixels * V::width;
    } else {
      std::int32_t* const straight = places + round_up(x_plane, 16);
      for (std::int64_t i = 0; i < count; ++i) straight[i] = static_cast<std::int32_t>(i);
      for (std::int64_t m = 0; m < t.nm; ++m)
        spread<V>({}, y + m * pixels, s.oc * pixels, images, 0, count, straight, spread_y + m * count * V::width);
    }
    return out;
  }

  std::int64_t tap_at(const Stage& st, std::int64_t plane, std::int64_t j, std::int64_t c0) const {
    const std::int64_t c = j / taps, t = j % taps;
    return (c - c0) * plane + st.tap_offset(t / s.kw, t % s.kw);
  }
  void fill_taps(const Stage& st, std::int64_t plane, std::int64_t j0, std::int64_t j1, std::int64_t c0,
                 std::int32_t* to) const {
    for (std::int64_t j = j0; j < j1; ++j)
      to[j - j0] = j < j0 + taps ? static_cast<std::int32_t>(tap_at(st, plane, j, c0))
                                 : to[j - j0 - taps] + static_cast<std::int32_t>(plane);
  }

  /// packed[j] = the pixels of the image under tap j, one behind another, zeros up to a whole vector.
  void pack_rows(const Stage& st, const float* staged, std::int64_t j0, std::int64_t j1, std::int64_t c0,
                 float* packed) const {
    for (std::int64_t j = j0; j < j1; ++j, packed += images_per * padded_pixels()) {
      const float* from = staged + tap_at(st, st.plane, j, c0);
      float* to = packed;
      float* const end = packed + padded_pixels();
      for (std::int64_t row = 0; row < s.oh; ++row, to += s.ow) {
        const float* x = from + st.row_offset(row);
        for (std::int64_t i = 0; i < s.ow; i += V::width) {
          // Whole vectors where that stays within this image: what one writes too far is overwritten next.
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
