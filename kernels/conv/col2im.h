// Backward-data into a few channels (the input gradient of pictures) as a matrix product and col2im: for every row of
// the signal
//
//   Z[(channel, tap)][j] = sum over outputs o of  w[o][channel, tap] * y[o][j]          x[channel][j * stride + tap] +=
//   Z[channel, tap][j]
//
// Each vector of the signal is multiplied with the taps of all channels at once; the gather convolution would load it
// once per tap.
//
// A tile is a block of rows of one image. Rows are summed with their columns split by residue modulo the stride, so
// that neighbouring sums are neighbours in memory; the columns are merged at the end.
#pragma once

#include "kernels/conv/gather.h"

namespace vitrine::kernels {
namespace {

template <class V>
struct Col2Im {
  using Args = ConvArgs<float>;
  static constexpr std::int64_t max_channels = 4;  ///< of the input, at most
  static constexpr std::int64_t rows_per_halo_row =
      12;  ///< rows per tile, at least, for each row that two tiles compute
  static constexpr std::int64_t tile_sums = 64 * 1024;        ///< floats of sums per tile, about
  static constexpr int group_vectors = 2, max_row_taps = 16;  ///< vectors per group of columns; taps per row
  static constexpr std::int64_t group_columns = group_vectors * V::width;

  ConvShape s;
  std::int64_t m, wide;        ///< rows of Z; signal columns, rounded up to groups
  std::int64_t part, row;      ///< columns per residue; per row of sums
  std::int64_t before, z_row;  ///< zeros before a row of Z; its length
  std::int64_t rows_per, row_blocks;
  Panels panels;

  explicit Col2Im(const Args& a)
      : s(a.s), m(std::int64_t{s.c} * s.kh * s.kw), wide(round_up(s.ow, group_columns)), panels(panels_of<V>(m)) {
    part = round_up(ceil_div(s.w, s.stride_w), V::width);
    row = s.stride_w * part;
    const std::int64_t first = shift(0, s.kw - 1), last = shift(s.stride_w - 1, 0);
    before = round_up(larger<std::int64_t>(0, -first), 16);
    z_row = before + round_up(larger(wide, part + larger<std::int64_t>(0, last)), 16) + 16;
    rows_per = larger(smaller(ceil_div(s.h, 8), tile_sums / (s.c * row)),
                      rows_per_halo_row * (std::int64_t{s.kh} - 1) * s.dilation_h + 1);
    rows_per = ceil_div(s.h, ceil_div(s.h, rows_per));
    row_blocks = ceil_div(s.h, rows_per);
  }

  static constexpr const char* name = "matrix product and col2im";
  /// It ignores the batch, since an image's result must not depend on it: the maps must be too large for the
  /// interleaved ways.
  static const char* refuses(const Args& a) noexcept {
    const ConvShape& s = a.s;
    if (a.x_interleaved || a.y_interleaved) return reads_planar;
    if (s.groups != 1 || s.c > max_channels) return "there are more than 4 input channels";
    if (s.kh * s.kw <= 1 || s.kw > max_row_taps) return "the kernel has one tap, or more than 16 columns";
    if (s.oc < 2 * V::width) return "there are few output channels";
    if (!rows_fill_vectors<V>(s.ow) || larger(std::int64_t{s.h} * s.w, std::int64_t{s.oh} * s.ow) <= small_map_pixels)
      return "the maps are small";
    if (std::int64_t{s.kh} * s.dilation_h > s.h || std::int64_t{s.kw} * s.dilation_w > s.w)
      return "the kernel is larger than the map";
    return nullptr;
  }

  /// Column q of residue r reads column q + shift(r, k) of Z for tap k, if tap k has_residue(r, k).
  std::int64_t shift(std::int64_t r, std::int64_t k) const {
    const std::int64_t at = r + s.pad_left - k * s.dilation_w;
    return at >= 0 ? at / s.stride_w : -ceil_div(-at, s.stride_w);
  }
  bool has_residue(std::int64_t r, std::int64_t k) const {
    return (r + s.pad_left - k * s.dilation_w) % s.stride_w == 0;
  }

  struct Scratch {
    std::int64_t signal, z, sums, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.signal = s.oc * wide;
    t.z = m * z_row;
    t.sums = s.c * rows_per * row;
    t.total = t.signal + t.z + t.sums;
    return t;
  }

  Work work() const {
    return {s.n * row_blocks, static_cast<std::size_t>(m * s.oc) * sizeof(float),
            static_cast<std::size_t>(scratch().total) * sizeof(float), panels.count};
  }

  /// [panel][output][row of the panel]; the rows are neighbours in the weights, too.
  void pack(const Args& a, float* to, std::int64_t panel) const {
    const std::int64_t first = panels.begin(panel), rows = panels.height(panel);
    to += first * s.oc;
    for (std::int64_t o = 0; o < s.oc; ++o, to += rows) substitute_row<V>(a.w_sub, a.w + o * m + first, to, rows);
  }

  void run_tile(const Args& a, const float* weights, float* memory, std::int64_t index) const {
    const std::int64_t image = index / row_blocks, h0 = index % row_blocks * rows_per,
                       h1 = smaller<std::int64_t>(s.h, h0 + rows_per);
    const Scratch t = scratch();
    float *signal = memory, *z = signal + t.signal, *sums = z + t.z;
    Stage::zero<V>(z, t.z);
    Stage::zero<V>(sums, t.sums);
    // Signal rows that contribute to rows [h0, h1): row i covers i * stride - pad and `reach` rows below.
    const std::int64_t reach = std::int64_t{s.kh - 1} * s.dilation_h;
    const std::int64_t i0 =
        larger<std::int64_t>(0, ceil_div(larger<std::int64_t>(0, h0 + s.pad_top - reach), s.stride_h));
    const std::int64_t i1 = smaller<std::int64_t>(s.oh, (h1 - 1 + s.pad_top) / s.stride_h + 1);
    for (std::int64_t i = i0; i < i1; ++i) {
      fetch(a.y + (image * s.oc * s.oh + i) * s.ow, signal);
      for (std::int64_t j = 0; j < s.ow; j += group_columns) {
        const std::int64_t whole[] = {V::width, V::width};
        const float* const b[] = {signal + j * s.oc, signal + j * s.oc + V::width};
        for (std::int64_t q = 0; q < panels.count; ++q) {
          float* const to = z + panels.begin(q) * z_row + before + j;
          float* const c[] = {to, to + V::width};
          block_function<V, Strided>(panels.height(q), s.ow - j > V::width ? group_vectors : 1)(
              {s.oc, weights + panels.begin(q) * s.oc, b, {group_columns}, c, whole, z_row, nullptr, false});
        }
      }
      for (std::int64_t k = 0; k < s.kh; ++k) {
        const std::int64_t at = i * s.stride_h + k * s.dilation_h - s.pad_top;
        if (at < h0 || at >= h1) continue;
        for (std::int64_t c = 0; c < s.c; ++c)
          add_row(z + (c * s.kh + k) * s.kw * z_row + before, sums + (c * rows_per + at - h0) * row);
      }
    }
    for (std::int64_t c = 0; c < s.c; ++c)
      for (std::int64_t y = h0; y < h1; ++y)
        store_row(sums + (c * rows_per + y - h0) * row, a.x_out + ((image * s.c + c) * s.h + y) * s.w, a.add);
  }

  /// Copies one row of every output channel to [group of columns][output][column]. Planes are pages apart, so they are
  /// prefetched by hand.
  void fetch(const float* y, float* to) const {
    const std::int64_t plane = std::int64_t{s.oh} * s.ow, group = s.oc * group_columns;
    constexpr std::int64_t ahead = 4;
    for (std::int64_t o = 0; o < s.oc; ++o, to += group_columns) {
      const float *from = y + o * plane, *later = y + smaller<std::int64_t>(o + ahead, s.oc - 1) * plane;
      float* dst = to;
      std::int64_t left = s.ow;
      for (; left >= group_columns; left -= group_columns, from += group_columns, later += group_columns, dst += group)
        unroll<group_vectors>([&](auto v) __attribute__((always_inline)) {
          __builtin_prefetch(later + v * V::width);
          __builtin_prefetch(from + s.ow + v * V::width, 0, 2);  // the next row
          V::load(from + v * V::width).store(dst + v * V::width);
        });
      if (left > 0)
        unroll<group_vectors>([&](auto v) __attribute__((always_inline)) {
          V::load_n(from + v * V::width, larger<std::int64_t>(0, left - v * V::width)).store(dst + v * V::width);
        });
    }
  }

  /// Adds the taps of one kernel row to a row of sums.
  void add_row(const float* z, float* to) const {
    for (std::int64_t r = 0; r < s.stride_w; ++r, to += part) {
      const float* from[max_row_taps];
      int count = 0;
      for (std::int64_t k = 0; k < s.kw; ++k)
        if (has_residue(r, k)) from[count++] = z + k * z_row + shift(r, k);
      for (std::int64_t q = 0; q < part; q += V::width) {
        V sum = V::load(to + q);
        for (int k = 0; k < count; ++k) sum = sum + V::load(from[k] + q);
        sum.store(to + q);
      }
    }
  }

  void store_row(const float* sums, float* to, bool add) const {
    if (s.stride_w == 1) {
      stream<V>(s.w, [&](std::int64_t i, auto step) { store(load<V>(sums + i, step), to + i, add, step); });
    } else if (s.stride_w == 2) {
      for (std::int64_t q = 0; 2 * q < s.w; q += V::width) {
        const V even = V::load(sums + q), odd = V::load(sums + part + q);
        store(V::zip_low(even, odd), to + 2 * q, add, Part{s.w - 2 * q});
        if (2 * q + V::width < s.w)
          store(V::zip_high(even, odd), to + 2 * q + V::width, add, Part{s.w - 2 * q - V::width});
      }
    } else {
      for (std::int64_t r = 0; r < s.stride_w; ++r, sums += part)
        for (std::int64_t q = 0; r + q * s.stride_w < s.w; ++q) {
          float& x = to[r + q * s.stride_w];
          x = add ? x + sums[q] : sums[q];
        }
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
