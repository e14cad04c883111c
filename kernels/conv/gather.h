// What both ways of running a gather convolution (see geometry.h) share: rows.h, whose vectors run along the rows of an
// image, and batch.h, whose vectors hold one pixel of several images. The order of additions per output is (channel
// block, channel, tap) in both, whatever the cut into tiles, so an image's result does not depend on its batch.
#pragma once

#include "kernels/conv/geometry.h"
#include "kernels/gemm/micro.h"

namespace vitrine::kernels {
namespace {

/// Pixels per map, at most, for the ways that interleave images.
inline constexpr std::int64_t small_map_pixels = 40 * 40;

/// What both ways of running a gather convolution share: its phases, the blocks of the sum, the packed weights.
template <class V, bool Forward>
struct Gather {
  using Args = ConvArgs<float>;
  static constexpr std::int64_t rows_ahead = 8;  ///< of weights to prefetch: rows are pages apart
  static constexpr std::int64_t depth_per_block = 256,
                                depth_of_few_rows =
                                    1024;  ///< taps times channels per block of the sum, about; if few()

  ConvShape s;
  std::int64_t images, groups, phases_h, phases_w;
  std::int64_t m, channels;  ///< rows of A; source channels of a group
  std::int64_t out_h, out_w, src_h, src_w;
  std::int64_t block;     ///< source channels per block of the sum; depends only on the kernel and the channels
  std::int64_t max_taps;  ///< of the largest phase
  Panels panels;

  explicit Gather(const Args& a) : s(flattened(a.s)) {
    images = s.n;
    groups = s.groups;
    const std::int64_t cg = s.c / groups, og = s.oc / groups;
    m = Forward ? og : cg;
    channels = Forward ? cg : og;
    phases_h = Forward ? 1 : s.stride_h;
    phases_w = Forward ? 1 : s.stride_w;
    out_h = Forward ? s.oh : s.h;
    out_w = Forward ? s.ow : s.w;
    src_h = Forward ? s.h : s.oh;
    src_w = Forward ? s.w : s.ow;
    panels = panels_of<V>(m);
    max_taps = largest(s.kh, s.pad_top, s.dilation_h, phases_h) * largest(s.kw, s.pad_left, s.dilation_w, phases_w);
    const std::int64_t taps = larger<std::int64_t>(1, ceil_div(s.kh, phases_h) * ceil_div(s.kw, phases_w));
    const std::int64_t blocks =
        larger<std::int64_t>(1, ceil_div(channels * taps, few() ? depth_of_few_rows : depth_per_block));
    block = larger<std::int64_t>(1, ceil_div(channels, blocks));
  }

  /// At most four output rows (input gradients of pictures): memory traffic dominates, so sum deeper blocks.
  bool few() const { return m <= 4; }

  /// The most taps that one phase has along an axis.
  static std::int64_t largest(std::int64_t k, std::int64_t pad, std::int64_t dilation, std::int64_t phases) {
    if (Forward) return k;
    std::int64_t most = 1;
    for (std::int64_t residue = 0; residue < phases; ++residue)
      most = larger(most, phase_taps(residue, k, pad, dilation, phases).count);
    return most;
  }

  /// One phase: its taps and the grid of outputs it writes.
  struct Phase {
    Taps ty, tx;
    std::int64_t gh, gw, y0, x0, step_h, step_w;
  };

  Phase phase(std::int64_t index) const {
    if constexpr (Forward) {
      return {forward_taps(s.kh, s.pad_top, s.dilation_h),
              forward_taps(s.kw, s.pad_left, s.dilation_w),
              s.oh,
              s.ow,
              0,
              0,
              1,
              1};
    } else {
      const std::int64_t ry = index / phases_w, rx = index % phases_w;
      return {phase_taps(ry, s.kh, s.pad_top, s.dilation_h, s.stride_h),
              phase_taps(rx, s.kw, s.pad_left, s.dilation_w, s.stride_w),
              ry < s.h ? ceil_div(s.h - ry, s.stride_h) : 0,
              rx < s.w ? ceil_div(s.w - rx, s.stride_w) : 0,
              ry,
              rx,
              s.stride_h,
              s.stride_w};
    }
  }

  /// Offset of the packed weights of a phase and group. They are stored in the order of use: [block of
  /// channels][panel][channel, tap][row of the panel].
  std::int64_t weights_at(std::int64_t index, std::int64_t group) const {
    std::int64_t taps = 0;
    for (std::int64_t i = 0; i < index; ++i) {
      const Phase p = phase(i);
      taps += p.ty.count * p.tx.count;
    }
    const Phase p = phase(index);
    return m * channels * (groups * taps + group * p.ty.count * p.tx.count);
  }

  std::int64_t group_width() const { return Blocking<V>::vectors(panels.height(0)) * V::width; }

  Stage stage(const Phase& p, std::int64_t r0, std::int64_t r1) const {
    return {p.ty, p.tx, src_h, src_w, Forward ? s.stride_h : 1, Forward ? s.stride_w : 1, r0, r1, p.gw};
  }

  /// One part per panel, with its rows in every phase and group.
  std::int64_t parts() const { return panels.count; }

  void pack(const Args& a, float* shared, std::int64_t panel) const {
    for (std::int64_t i = 0; i < phases_h * phases_w; ++i) {
      const Phase p = phase(i);
      for (std::int64_t group = 0; group < groups; ++group)
        for (std::int64_t c = 0; c < channels; c += block)
          pack_panel(a, p, group, panels.begin(panel), panels.height(panel), c, smaller(channels, c + block),
                     shared + weights_at(i, group) + panel_at(p, panel, c));
    }
  }

  /// Offset, from weights_at(), of a panel's weights for the block that begins at channel c.
  std::int64_t panel_at(const Phase& p, std::int64_t panel, std::int64_t c) const {
    return p.ty.count * p.tx.count * (c * m + smaller(block, channels - c) * panels.begin(panel));
  }

  /// The weights of `rows` outputs from source channels [c0, c1).
  void pack_panel(const Args& a, const Phase& p, std::int64_t group, std::int64_t row, int rows, std::int64_t c0,
                  std::int64_t c1, float* dst) const {
    const std::int64_t cg = s.c / groups, og = s.oc / groups, kernel = std::int64_t{s.kh} * s.kw;
    if constexpr (Forward) {
      const std::int64_t k = cg * kernel;
      transpose<V>(a.w_sub, a.w + (group * og + row) * k + c0 * kernel, k, rows, (c1 - c0) * kernel, dst, rows);
    } else if (kernel == 1) {
      for (std::int64_t o = c0; o < c1 && p.ty.count * p.tx.count > 0; ++o, dst += rows) {
        const float* const w = a.w + (group * og + o) * cg + row;
        __builtin_prefetch(w + rows_ahead * cg);
        substitute_row<V>(a.w_sub, w, dst, rows);
      }
    } else {
      // The kernels of `rows` neighbours are contiguous: squares of them are transposed, and the taps of this phase
      // kept.
      const Substitution<V> sub(a.w_sub);
      const bool raw = is_raw(a.w_sub);
      const std::int64_t taps = p.ty.count * p.tx.count;
      for (std::int64_t k0 = 0; k0 < kernel && taps > 0; k0 += V::width) {
        std::int64_t place[V::width];  // of a tap in the phase, or -1
        for (std::int64_t i = 0; i < V::width; ++i) {
          const std::int64_t y = (k0 + i) / s.kw - p.ty.k0, x = (k0 + i) % s.kw - p.tx.k0, ty = y / p.ty.kstep,
                             tx = x / p.tx.kstep;
          const bool kept = k0 + i < kernel && y >= 0 && x >= 0 && y % p.ty.kstep == 0 && x % p.tx.kstep == 0 &&
                            ty < p.ty.count && tx < p.tx.count;
          place[i] = kept ? ty * p.tx.count + tx : -1;
        }
        for (std::int64_t o = c0; o < c1; ++o) {
          const float* const w = a.w + ((group * og + o) * cg + row) * kernel + k0;
          V v[V::width];
          unroll<V::width>([&](auto i) __attribute__((always_inline)) {
            if (i < rows) __builtin_prefetch(w + (rows_ahead * cg + i) * kernel);
            v[i] = i < rows ? V::load_n(w + i * kernel, kernel - k0) : V::zero();
            if (!raw) v[i] = sub(v[i]);
          });
          transpose_square(v);
          float* const to = dst + (o - c0) * rows * taps;
          unroll<V::width>([&](auto i) __attribute__((always_inline)) {
            if (place[i] >= 0) v[i].store_n(to + place[i] * rows, rows);
          });
        }
      }
    }
  }

  std::size_t weight_bytes() const {
    return static_cast<std::size_t>(s.oc * (std::int64_t{s.c} / groups) * s.kh * s.kw) * sizeof(float);
  }

  /// Offsets in the staged source of the channels and taps of one block of the sum, times `lanes`.
  std::int64_t fill_offsets(const Phase& p, const Stage& st, std::int64_t plane, std::int64_t count, std::int64_t lanes,
                            std::int32_t* next) const {
    const std::int64_t taps = p.ty.count * p.tx.count;
    if (count <= 0 || taps == 0) return 0;
    for (std::int64_t t = 0; t < taps; ++t)
      next[t] = static_cast<std::int32_t>(st.tap_offset(t / p.tx.count, t % p.tx.count) * lanes);
    for (std::int64_t k = taps; k < count * taps; ++k)
      next[k] = next[k - taps] + static_cast<std::int32_t>(plane * lanes);
    return count * taps;
  }
};

}  // namespace
}  // namespace vitrine::kernels
