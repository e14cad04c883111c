// Which of several equal places of a max-pool window wins (kernels.h, tie_tolerance). Places of most windows differ in
// the first channel already: that test decides nearly always, and for interleaved images it is made for a whole vector.
#pragma once

#include "kernels/pool/window.h"
#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

/// Windows of up to this many places are compared place by place once for all channels; larger ones per winner.
constexpr std::int64_t small_window = 16;

/// An image's planes: element (channel, place) is x[channel * plane + place * block].
struct PooledImage {
  const float* x;
  std::int64_t channels, plane, block;
  float tolerance;

  bool tie(std::int64_t p, std::int64_t q) const {
    const float *a = x + p * block, *b = x + q * block;
    for (std::int64_t c = 0; c < channels; ++c, a += plane, b += plane) {
      const float difference = *a - *b;
      if (!(difference <= tolerance && difference >= -tolerance)) return false;
    }
    return true;
  }
};

/// The places of a small window in their order, each with the switch that names it.
struct WindowPlaces {
  std::int64_t count = 0, place[small_window];
  Switch at[small_window];

  WindowPlaces(const PoolShape& s, const Window& a, const Window& b) {
    for (std::int64_t ty = a.first; ty < a.last; ++ty)
      for (std::int64_t tx = b.first; tx < b.last; ++tx, ++count) {
        place[count] = (a.begin + ty * a.dilation) * s.w + b.begin + tx * b.dilation;
        at[count] = static_cast<Switch>(ty * b.span + tx);
      }
  }
};

/// Moves the switches of one image at one small window, in all channels (`stride` apart).
VITRINE_INLINE void settle_small(const PooledImage& image, const WindowPlaces& w, Switch* switches,
                                 std::int64_t stride) {
  std::int64_t stands_for[small_window];
  bool any = false;
  for (std::int64_t q = 0; q < w.count; ++q) {
    std::int64_t p = 0;
    while (p < q && !image.tie(w.place[p], w.place[q])) ++p;
    stands_for[q] = p;
    any = any || p != q;
  }
  if (!any) return;
  for (std::int64_t c = 0; c < image.channels; ++c, switches += stride)
    for (std::int64_t q = 0; q < w.count; ++q)
      if (*switches == w.at[q]) {
        *switches = w.at[stands_for[q]];
        break;
      }
}

/// Likewise for a window of any size: each channel's winner against the places before it.
VITRINE_INLINE void settle_large(const PooledImage& image, const PoolShape& s, const Window& a, const Window& b,
                                 Switch* switches, std::int64_t stride) {
  for (std::int64_t c = 0; c < image.channels; ++c, switches += stride) {
    const std::int64_t won = winner(s, a, b, *switches);
    if (won < 0) continue;
    for (std::int64_t tap = a.first * b.span + b.first; tap < *switches; ++tap) {
      const std::int64_t place = winner(s, a, b, static_cast<Switch>(tap));
      if (place < 0 || !image.tie(place, won)) continue;
      *switches = static_cast<Switch>(tap);
      break;
    }
  }
}

/// Whether some two places of a window may tie in some image of a block: their first channels agree.
template <class V>
VITRINE_INLINE bool may_tie(const float* x, const WindowPlaces& w, V tolerance) {
  for (std::int64_t q = 1; q < w.count; ++q) {
    const V there = V::load(x + w.place[q] * V::width);
    for (std::int64_t p = 0; p < q; ++p)
      if ((!(V::abs(V::load(x + w.place[p] * V::width) - there) > tolerance)).count() > 0) return true;
  }
  return false;
}

/// The largest magnitude of n elements that are V::width apart, per lane; NaN does not count.
template <class V>
VITRINE_INLINE V largest_of_lanes(const float* y, std::int64_t n) {
  V most = V::zero();
  for (std::int64_t i = 0; i < n; ++i) most = V::max(V::abs(V::load(y + i * V::width)), most);
  return most;
}

template <class V>
VITRINE_INLINE float largest_of(const float* y, std::int64_t n) {
  V most = V::zero();
  stream<V>(n, [&](std::int64_t i, auto step) { most = V::max(V::abs(load<V>(y + i, step)), most); });
  float lanes[V::width], largest = 0;
  most.store(lanes);
  for (const float v : lanes) largest = larger(largest, v);
  return largest;
}

template <class V>
void max_pool_ties(const PoolShape& s, std::int32_t channels, const float* x, const float* y, float* largest,
                   Switch* switches) noexcept {
  const std::int64_t block = s.block, plane = std::int64_t{s.h} * s.w * block,
                     windows = std::int64_t{s.oh} * s.ow * block;
  float tolerance[V::width];
  for (std::int64_t n = 0; n < s.planes / channels;
       ++n, x += channels * plane, y += channels * windows, switches += channels * windows, largest += block) {
    if (block > 1)
      largest_of_lanes<V>(y, channels * windows / block).store(largest);
    else
      *largest = largest_of<V>(y, channels * windows);
    // A tolerance of NaN is never met.
    for (std::int64_t lane = 0; lane < block; ++lane)
      tolerance[lane] = largest[lane] < infinity ? largest[lane] * tie_tolerance : NAN;
    for (std::int64_t i = 0, o = 0; i < s.oh; ++i) {
      const Window a = window_y(s, i);
      for (std::int64_t j = 0; j < s.ow; ++j, o += block) {
        const Window b = window_x(s, j);
        const bool small = (a.last - a.first) * (b.last - b.first) <= small_window;
        if (!small) {
          for (std::int64_t lane = 0; lane < block; ++lane)
            settle_large({x + lane, channels, plane, block, tolerance[lane]}, s, a, b, switches + o + lane, windows);
          continue;
        }
        const WindowPlaces w(s, a, b);
        if (block > 1 && !may_tie<V>(x, w, V::load(tolerance))) continue;
        for (std::int64_t lane = 0; lane < block; ++lane)
          settle_small({x + lane, channels, plane, block, tolerance[lane]}, w, switches + o + lane, windows);
      }
    }
  }
}

}  // namespace
}  // namespace vitrine::kernels
