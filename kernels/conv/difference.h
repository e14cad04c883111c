// A sum that is known, up to rounding, as a difference (KnownDifference in kernels.h). LRP rules that treat
// contributions by sign need it: their second denominator is the forward result minus the first. A subtraction replaces
// a convolution, but it inherits the rounding errors of both terms. Elements that are small compared with these are
// summed directly: seldom more than a few per map.
#pragma once

#include "kernels/conv/geometry.h"

namespace vitrine::kernels {
namespace {

/// Outputs in a row of a Winograd tile: they share one error.
constexpr std::int64_t winograd_outputs = 4;

/// The whole and the part err by up to 64 roundoffs of the largest values nearby (tests/kernels/tiled.cpp), usually by
/// a few. Differences above this share of those values therefore err by at most 0.05 %, usually by less than 0.01 %.
/// Smaller ones are summed directly.
constexpr float small_share = 1.0f / 128;

/// The difference for up to winograd_outputs vectors of `n` elements each, `step` apart.
template <class V>
struct Difference {
  V y[winograd_outputs], nearby = V::zero();
  typename V::Mask needed[winograd_outputs];

  VITRINE_INLINE Difference(const KnownDifference<float>& known, std::int64_t at, std::int64_t step,
                            std::int64_t vectors, std::int64_t n) {
    const V factor = V::set(known.factor);
    for (std::int64_t k = 0; k < vectors; ++k, at += step) {
      const V taken = V::load_n(known.part + at, n), whole = V::load_n(known.whole + at, n);
      needed[k] = !(V::load_n(known.needed + at, n) == V::zero());
      if (known.sign != Sign::any)
        needed[k] = needed[k] & (known.sign == Sign::positive ? whole > V::zero() : whole < V::zero());
      y[k] = factor * whole - taken;
      nearby = V::max(V::max(V::abs(y[k]), V::abs(taken)), nearby);
    }
  }
  /// Whether a needed element is too small compared with `largest`. NaN counts as too small: an infinity nearby may
  /// have contaminated the part.
  VITRINE_INLINE bool small(std::int64_t k, V largest) const {
    return (needed[k] & !(V::abs(y[k]) > V::set(small_share) * largest)).count() > 0;
  }
};

/// A tile is a band of rows of one image.
template <class V>
struct DifferenceConv {
  using Args = ConvArgs<float>;
  static constexpr std::int64_t band_rows = winograd_outputs;  ///< of a band
  static constexpr std::int64_t planes_ahead = 4;   ///< planes are pages apart: the prefetcher does not follow
  static constexpr std::int64_t max_listed = 4096;  ///< vectors summed at once

  ConvShape s;
  std::int64_t cg, og, taps, bands, vectors, most;

  explicit DifferenceConv(const Args& a)
      : s(a.s), cg(s.c / s.groups), og(s.oc / s.groups), taps(std::int64_t{s.kh} * s.kw) {
    bands = ceil_div(s.oh, band_rows);
    vectors = ceil_div(s.ow, V::width);
    most = smaller(max_listed, std::int64_t{s.oc} * band_rows * vectors);
  }

  static constexpr const char* name = "difference";
  static const char* refuses(const Args& a) noexcept {
    const bool takes =
        a.known.whole != nullptr && !a.relu && !a.x_interleaved && !a.y_interleaved && a.s.kh > 0 && a.s.kw > 0;
    return takes ? nullptr : does_not_apply;
  }

  Stage stage(std::int64_t r0, std::int64_t r1) const {
    return {forward_taps(s.kh, s.pad_top, s.dilation_h),
            forward_taps(s.kw, s.pad_left, s.dilation_w),
            s.h,
            s.w,
            s.stride_h,
            s.stride_w,
            r0,
            r1,
            s.ow};
  }

  struct Scratch {
    std::int64_t staged, sums, weights, offsets, list, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.staged = round_up(stage(0, smaller<std::int64_t>(band_rows, s.oh)).plane + V::width, 16);
    t.sums = most * V::width;
    t.weights = t.offsets = round_up(taps, 16);
    t.list = round_up(3 * most, 16);
    t.total = t.staged + t.sums + t.weights + t.offsets + t.list;
    return t;
  }

  Work work() const { return {s.n * bands, 0, static_cast<std::size_t>(scratch().total) * sizeof(float)}; }

  /// Output channel, row of the band and first column of a vector.
  struct Place {
    std::int32_t channel, row, column;
  };

  void run_tile(const Args& a, float* memory, std::int64_t index) const {
    const std::int64_t image = index / bands, r0 = index % bands * band_rows,
                       r1 = smaller<std::int64_t>(s.oh, r0 + band_rows);
    const Scratch part = scratch();
    auto* const list = reinterpret_cast<Place*>(memory + part.staged + part.sums + part.weights + part.offsets);
    std::int64_t count = 0;
    for (std::int64_t o = 0; o < s.oc; ++o) {
      const std::int64_t ahead = smaller<std::int64_t>(planes_ahead, s.oc - 1 - o);
      for (std::int64_t i = 0; i < s.ow; i += V::width) {
        const std::int64_t n = smaller<std::int64_t>(V::width, s.ow - i), rows = r1 - r0;
        const std::int64_t at = ((image * s.oc + o) * s.oh + r0) * s.ow + i;
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t next = at + (r + ahead * s.oh) * s.ow;
          __builtin_prefetch(a.known.part + next), __builtin_prefetch(a.known.whole + next),
              __builtin_prefetch(a.known.needed + next);
        }
        const Difference<V> difference(a.known, at, s.ow, rows, n);
        const V largest = V::set(difference.nearby.highest());
        for (std::int64_t r = 0; r < rows; ++r) {
          if (!a.add) difference.y[r].store_n(a.y_out + at + r * s.ow, n);
          if (difference.small(r, largest))
            list[count++] = {static_cast<std::int32_t>(o), static_cast<std::int32_t>(r), static_cast<std::int32_t>(i)};
        }
        if (count + band_rows > most) {
          sum(a, image, r0, r1, list, count, memory);
          count = 0;
        }
      }
    }
    if (count > 0) sum(a, image, r0, r1, list, count, memory);
  }

  /// Sums the listed vectors directly. The list is sorted by channel.
  void sum(const Args& a, std::int64_t image, std::int64_t r0, std::int64_t r1, const Place* list, std::int64_t count,
           float* memory) const {
    const Scratch part = scratch();
    float *const staged = memory, *const sums = staged + part.staged, *const weights = sums + part.sums;
    auto* const offsets = reinterpret_cast<std::int32_t*>(weights + part.weights);
    const Stage st = stage(r0, r1);
    const Substitution<V> w_sub(a.w_sub), bias_sub(a.bias_sub);
    for (std::int64_t t = 0; t < taps; ++t) offsets[t] = static_cast<std::int32_t>(st.tap_offset(t / s.kw, t % s.kw));
    for (std::int64_t k = 0; k < count; ++k) {
      const Place& p = list[k];
      const V bias = a.bias != nullptr ? bias_sub(V::set(a.bias[p.channel])) : V::zero();
      (a.add ? bias + V::load_n(result(a, image, r0, p), columns(p)) : bias).store(sums + k * V::width);
    }
    for (std::int64_t first = 0; first < count;) {
      const std::int64_t group = list[first].channel / og;
      std::int64_t last = first;
      while (last < count && list[last].channel / og == group) ++last;
      for (std::int64_t c = 0; c < cg; ++c) {
        st.template fill<V>(a.x_sub, a.x + ((image * s.groups + group) * cg + c) * s.h * s.w, staged);
        for (std::int64_t k = first; k < last; ++k) {
          const Place& p = list[k];
          if (k == first || p.channel != list[k - 1].channel) {
            const float* const w = a.w + (p.channel * cg + c) * taps;
            stream<V>(taps, [&](std::int64_t t, auto step) { store(w_sub(load<V>(w + t, step)), weights + t, step); });
          }
          const float* const x = staged + st.row_offset(p.row) + p.column;
          V total = V::load(sums + k * V::width);
          for (std::int64_t t = 0; t < taps; ++t) total = V::fma(V::set(weights[t]), V::load(x + offsets[t]), total);
          total.store(sums + k * V::width);
        }
      }
      first = last;
    }
    for (std::int64_t k = 0; k < count; ++k) {
      const Place& p = list[k];
      V::load(sums + k * V::width).store_n(result(a, image, r0, p), columns(p));
    }
  }

  float* result(const Args& a, std::int64_t image, std::int64_t r0, const Place& p) const {
    return a.y_out + ((image * s.oc + p.channel) * s.oh + r0 + p.row) * s.ow + p.column;
  }
  std::int64_t columns(const Place& p) const { return smaller<std::int64_t>(V::width, s.ow - p.column); }
};

/// The same for interleaved results. A tile is one output channel of one block of images.
template <class V>
struct InterleavedDifferenceConv {
  using Args = ConvArgs<float>;
  ConvShape s;
  std::int64_t cg, og, taps;

  explicit InterleavedDifferenceConv(const Args& a)
      : s(a.s), cg(s.c / s.groups), og(s.oc / s.groups), taps(std::int64_t{s.kh} * s.kw) {}

  static constexpr const char* name = "difference, interleaved";
  static const char* refuses(const Args& a) noexcept {
    const bool takes = a.known.whole != nullptr && !a.relu && a.y_interleaved && a.s.kh > 0 && a.s.kw > 0;
    return takes ? nullptr : does_not_apply;
  }

  Work work() const { return {s.n / V::width * s.oc, 0, static_cast<std::size_t>(cg * taps) * sizeof(float)}; }

  void run_tile(const Args& a, float* weights, std::int64_t index) const {
    const std::int64_t images = index / s.oc, o = index % s.oc;
    bool substituted = false;
    for (std::int64_t row = 0; row < s.oh; ++row) {
      for (std::int64_t column = 0; column < s.ow; column += winograd_outputs) {
        const std::int64_t at = ((index * s.oh + row) * s.ow + column) * V::width,
                           count = smaller(winograd_outputs, s.ow - column);
        const Difference<V> difference(a.known, at, V::width, count, V::width);
        for (std::int64_t k = 0; k < count; ++k) {
          float* const y = a.y_out + at + k * V::width;
          if (!a.add) difference.y[k].store(y);
          if (!difference.small(k, difference.nearby)) continue;
          if (!substituted) substitute_row<V>(a.w_sub, a.w + o * cg * taps, weights, cg * taps);
          substituted = true;
          const V bias = V::set(a.bias != nullptr ? vitrine::kernels::substituted(a.bias_sub, a.bias[o]) : 0);
          const V sum = this->sum(a, images, o / og * cg, row, column + k, weights);
          (a.add ? V::load(y) + bias + sum : bias + sum).store(y);
        }
      }
    }
  }

  V sum(const Args& a, std::int64_t images, std::int64_t channel, std::int64_t row, std::int64_t column,
        const float* weights) const {
    const Substitution<V> x_sub(a.x_sub);
    const std::int64_t plane = std::int64_t{s.h} * s.w, image = s.c * plane;
    const bool raw = is_raw(a.x_sub);
    V total = V::zero();
    for (std::int64_t c = 0; c < cg; ++c) {
      for (std::int64_t t = 0; t < taps; ++t) {
        const std::int64_t y = row * s.stride_h - s.pad_top + t / s.kw * s.dilation_h,
                           x = column * s.stride_w - s.pad_left + t % s.kw * s.dilation_w;
        if (y < 0 || y >= s.h || x < 0 || x >= s.w) continue;
        const std::int64_t place = (channel + c) * plane + y * s.w + x;
        V value;
        if (a.x_interleaved) {
          value = V::load(a.x + (images * image + place) * V::width);
        } else {
          alignas(64) float gathered[V::width];
          for (std::int64_t k = 0; k < V::width; ++k) gathered[k] = a.x[(images * V::width + k) * image + place];
          value = V::load(gathered);
        }
        total = V::fma(V::set(weights[c * taps + t]), raw ? value : x_sub(value), total);
      }
    }
    return total;
  }
};

}  // namespace
}  // namespace vitrine::kernels
