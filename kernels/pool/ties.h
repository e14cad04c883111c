// Which of several equal places of a max-pool window wins (kernels.h, tie_tolerance). Vectors run over interleaved
// images, or over the outputs of a row whose windows are inside the input; other windows are done one by one. Places of
// most windows differ in one of the first channels, and nothing more is read of them.
#pragma once

#include "kernels/pool/generic.h"

namespace vitrine::kernels {
namespace {

/// Windows of up to this many places are compared place by place, once for all channels; larger ones per winner.
constexpr int small_window = 16;

template <class V>
VITRINE_INLINE typename V::Mask within(V difference, V tolerance) {
  return V::abs(difference) < tolerance;  // false for NaN
}

/// One place of a window: its offset from the window's first element, and the switch that names it.
struct WindowTap {
  std::int64_t offset;
  float at;
};

/// The places of a small window in their order.
struct WindowTaps {
  std::int64_t count = 0;
  WindowTap taps[small_window];

  /// `block`: elements of neighbouring places are that far apart.
  WindowTaps(const PoolShape& s, const Window& a, const Window& b, std::int64_t block) {
    for (std::int64_t ty = a.first; ty < a.last; ++ty)
      for (std::int64_t tx = b.first; tx < b.last; ++tx)
        taps[count++] = {((a.begin + ty * a.dilation) * s.w + b.begin + tx * b.dilation) * block,
                         static_cast<float>(ty * b.span + tx)};
  }
};

/// Which of a window's places stand for which, in a vector of windows.
template <class V, int N>
struct StandsFor {
  V place[N];
  bool any = false;

  /// The first of the places that it ties with stands for q; p < q, places in their order.
  VITRINE_INLINE void note(typename V::Mask ties, int p, int q, typename V::Mask& open, const WindowTaps& w) {
    ties = ties & open;
    if (ties.count() == 0) return;
    place[q] = V::select(ties, V::set(w.taps[p].at), place[q]);
    open = open & !ties;
    any = true;
  }
};

/// Moves the switches of a vector of windows, in all channels (`stride` apart).
template <class V, int N>
VITRINE_INLINE void move_switches(const StandsFor<V, N>& s, const WindowTaps& w, std::int64_t channels,
                                  std::int64_t lanes, Switch* switches, std::int64_t stride) {
  for (std::int64_t c = 0; c < channels; ++c, switches += stride) {
    const V found = V::load_u16_n(switches, lanes);
    V moved = found;
    for (std::int64_t q = 1; q < w.count; ++q) moved = V::select(found == V::set(w.taps[q].at), s.place[q], moved);
    moved.store_u16_n(switches, lanes);
  }
}

/// A vector of windows of four places. All pairs are compared together, channel by channel. load(element) gives the
/// vector of elements that starts there; `lanes`: those that hold windows.
template <class V, class Load>
VITRINE_INLINE void settle_four(const float* x, std::int64_t channels, std::int64_t plane, const WindowTaps& w,
                                V tolerance, std::int64_t lanes, Switch* switches, std::int64_t stride, Load load) {
  const float* const at[] = {x + w.taps[0].offset, x + w.taps[1].offset, x + w.taps[2].offset, x + w.taps[3].offset};
  auto m01 = V::first(lanes), m02 = m01, m12 = m01, m03 = m01, m13 = m01, m23 = m01;
  for (std::int64_t c = 0; c < channels; ++c) {
    const V a = load(at[0] + c * plane), b = load(at[1] + c * plane), d = load(at[2] + c * plane),
            e = load(at[3] + c * plane);
    m01 = m01 & within(a - b, tolerance), m02 = m02 & within(a - d, tolerance), m12 = m12 & within(b - d, tolerance);
    m03 = m03 & within(a - e, tolerance), m13 = m13 & within(b - e, tolerance), m23 = m23 & within(d - e, tolerance);
    if (((m01 | m02) | (m12 | m03) | (m13 | m23)).count() == 0) return;
  }
  StandsFor<V, 4> s;
  for (int q = 0; q < 4; ++q) s.place[q] = V::set(w.taps[q].at);
  auto open1 = V::first(lanes), open2 = open1, open3 = open1;
  s.note(m01, 0, 1, open1, w);
  s.note(m02, 0, 2, open2, w), s.note(m12, 1, 2, open2, w);
  s.note(m03, 0, 3, open3, w), s.note(m13, 1, 3, open3, w), s.note(m23, 2, 3, open3, w);
  move_switches(s, w, channels, lanes, switches, stride);
}

/// A vector of small windows, pair by pair.
template <class V, class Load>
VITRINE_INLINE void settle(const float* x, std::int64_t channels, std::int64_t plane, const WindowTaps& w, V tolerance,
                           std::int64_t lanes, Switch* switches, std::int64_t stride, Load load) {
  if (w.count == 4) return settle_four<V>(x, channels, plane, w, tolerance, lanes, switches, stride, load);
  V first[small_window];
  StandsFor<V, small_window> s;
  for (int q = 0; q < w.count; ++q) {
    first[q] = load(x + w.taps[q].offset);
    s.place[q] = V::set(w.taps[q].at);
    auto open = V::first(lanes);
    for (int p = 0; p < q; ++p) {
      auto ties = open & within(first[p] - first[q], tolerance);
      for (std::int64_t c = 1; c < channels && ties.count() > 0; ++c)
        ties =
            ties & within(load(x + c * plane + w.taps[p].offset) - load(x + c * plane + w.taps[q].offset), tolerance);
      s.note(ties, p, q, open, w);
    }
  }
  if (s.any) move_switches(s, w, channels, lanes, switches, stride);
}

/// Likewise one window of any size in one image: each channel's winner against the places before it.
VITRINE_INLINE void settle_one(const float* x, std::int64_t channels, std::int64_t plane, std::int64_t block,
                               float tolerance, const PoolShape& s, const Window& a, const Window& b, Switch* switches,
                               std::int64_t stride) {
  const auto tie = [&](std::int64_t p, std::int64_t q) __attribute__((always_inline)) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const float difference = x[c * plane + p * block] - x[c * plane + q * block];
      if (!(difference < tolerance && difference > -tolerance)) return false;
    }
    return true;
  };
  for (std::int64_t c = 0; c < channels; ++c, switches += stride) {
    const std::int64_t won = winner(s, a, b, *switches);
    if (won < 0) continue;
    for (std::int64_t tap = a.first * b.span + b.first; tap < *switches; ++tap) {
      const std::int64_t place = winner(s, a, b, static_cast<Switch>(tap));
      if (place < 0 || !tie(place, won)) continue;
      *switches = static_cast<Switch>(tap);
      break;
    }
  }
}

/// The tolerance that belongs to a largest magnitude; NaN, which no difference is within, if that is infinite.
VITRINE_INLINE float tolerance_of(float largest) { return largest < infinity ? largest * tie_tolerance : NAN; }

/// One block of interleaved images.
template <class V>
void ties_interleaved(const PoolShape& s, std::int64_t channels, const float* x, const float* y, float* largest,
                      Switch* switches) {
  const std::int64_t plane = std::int64_t{s.h} * s.w * V::width, windows = std::int64_t{s.oh} * s.ow * V::width;
  V most = V::zero();
  for (std::int64_t i = 0; i < channels * windows; i += V::width) most = V::max(V::abs(V::load(y + i)), most);
  most.store(largest);
  float tolerance[V::width];
  for (std::int64_t lane = 0; lane < V::width; ++lane) tolerance[lane] = tolerance_of(largest[lane]);
  const V each = V::load(tolerance);
  for (std::int64_t i = 0; i < s.oh; ++i) {
    const Window a = window_y(s, i);
    for (std::int64_t j = 0; j < s.ow; ++j, switches += V::width) {
      const Window b = window_x(s, j);
      if ((a.last - a.first) * (b.last - b.first) <= small_window) {
        settle<V>(
            x, channels, plane, WindowTaps(s, a, b, V::width), each, V::width, switches, windows,
            [](const float* p) __attribute__((always_inline)) { return V::load(p); });
        continue;
      }
      for (std::int64_t lane = 0; lane < V::width; ++lane)
        settle_one(x + lane, channels, plane, V::width, tolerance[lane], s, a, b, switches + lane, windows);
    }
  }
}

/// One image.
template <class V>
void ties_planar(const PoolShape& s, std::int64_t channels, const float* x, const float* y, float* largest,
                 Switch* switches) {
  const std::int64_t plane = std::int64_t{s.h} * s.w, windows = std::int64_t{s.oh} * s.ow;
  V most = V::zero();
  stream<V>(channels * windows, [&](std::int64_t i, auto step) { most = V::max(V::abs(load<V>(y + i, step)), most); });
  float lanes[V::width];
  most.store(lanes);
  *largest = 0;
  for (const float v : lanes) *largest = larger(*largest, v);
  const float tolerance = tolerance_of(*largest);
  const bool small = !s.adaptive && std::int64_t{s.kh} * s.kw <= small_window;
  const Middle mid = small ? middle(s) : Middle{0, 0};
  for (std::int64_t i = 0; i < s.oh; ++i, switches += s.ow) {
    const Window a = window_y(s, i);
    for (std::int64_t j = 0; j < s.ow; ++j) {
      if (j == mid.first) j = mid.last;
      if (j < s.ow) settle_one(x, channels, plane, 1, tolerance, s, a, window_x(s, j), switches + j, windows);
    }
    if (mid.first == mid.last) continue;
    const WindowTaps w(s, a, window_x(s, mid.first), 1);
    for (std::int64_t j = mid.first; j < mid.last; j += V::width) {
      const std::int64_t n = smaller<std::int64_t>(V::width, mid.last - j);
      settle<V>(
          x + (j - mid.first) * s.stride_w, channels, plane, w, V::set(tolerance), n, switches + j,
          windows, [&](const float* p) __attribute__((always_inline)) { return load_strided<V>(p, s.stride_w, n); });
    }
  }
}

template <class V>
void max_pool_ties(const PoolShape& s, std::int32_t channels, const float* x, const float* y, float* largest,
                   Switch* switches) noexcept {
  const std::int64_t in = std::int64_t{s.h} * s.w * s.block * channels,
                     out = std::int64_t{s.oh} * s.ow * s.block * channels;
  for (std::int64_t n = 0; n < s.planes / channels; ++n)
    (s.block > 1 ? ties_interleaved<V> : ties_planar<V>)(s, channels, x + n * in, y + n * out, largest + n * s.block,
                                                         switches + n * out);
}

}  // namespace
}  // namespace vitrine::kernels
