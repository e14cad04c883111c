// Reference pools. The value of a window that holds no input at all (ceil mode far outside) is 0, its switch 0, and
// nothing is gathered from or scattered to it. In adaptive pools a switch counts in rows of that window's own width.
#pragma once

#include <limits>

#include "kernels/pool/window.h"
#include "kernels/ref.h"

namespace vitrine::kernels::ref {

/// f(plane, output index, window of rows, window of columns) for every output.
template <class F>
void for_each_window(const PoolShape& s, F f) noexcept {
  for (std::int64_t p = 0; p < s.planes; ++p) {
    for (std::int64_t i = 0; i < s.oh; ++i) {
      for (std::int64_t j = 0; j < s.ow; ++j)
        f(p * s.h * s.w, (p * s.oh + i) * s.ow + j, window_y(s, i), window_x(s, j));
    }
  }
}

template <class T>
void max_pool_forward(const PoolShape& s, const T* x, T* y, Switch* switches) noexcept {
  for_each_window(s, [&](std::int64_t plane, std::int64_t o, const Window& a, const Window& b) {
    T best = 0;
    Switch at = 0;
    bool any = false;
    for (std::int64_t ty = a.first; ty < a.last; ++ty) {
      for (std::int64_t tx = b.first; tx < b.last; ++tx) {
        const T v = x[plane + (a.begin + ty * a.dilation) * s.w + b.begin + tx * b.dilation];
        if (any && !(v > best) && !(v != v && best == best)) continue;
        any = true;
        best = v;
        at = static_cast<Switch>(ty * b.span + tx);
      }
    }
    y[o] = best;
    if (switches) switches[o] = at;
  });
}

/// Whether the elements p and q of an image agree in all its channels.
template <class T>
bool tie(const T* image, std::int64_t channels, std::int64_t channel_stride, std::int64_t p, std::int64_t q,
         T tolerance) noexcept {
  for (std::int64_t c = 0; c < channels; ++c) {
    const T difference = image[c * channel_stride + p] - image[c * channel_stride + q];
    if (!(difference < tolerance && difference > -tolerance)) return false;
  }
  return true;
}

/// The largest magnitude of n elements that are `stride` apart; NaN does not count.
template <class T>
T largest_magnitude(const T* y, std::int64_t n, std::int64_t stride) noexcept {
  T most = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const T v = y[i * stride] < 0 ? -y[i * stride] : y[i * stride];
    if (v > most) most = v;
  }
  return most;
}

template <class T>
void max_pool_ties(const PoolShape& s, std::int32_t channels, const T* x, const T* y, T* largest,
                   Switch* switches) noexcept {
  const std::int64_t block = s.block, places = std::int64_t{s.h} * s.w * block,
                     windows = std::int64_t{s.oh} * s.ow * block;
  for (std::int64_t n = 0; n < s.planes / channels * block; ++n) {
    const std::int64_t first = n / block * channels, lane = n % block;
    const T* const image = x + first * places + lane;
    largest[n] = largest_magnitude(y + first * windows + lane, channels * windows / block, block);
    if (!(largest[n] <= std::numeric_limits<T>::max())) continue;
    const T tolerance = largest[n] * T(tie_tolerance);
    PoolShape planes = s;
    planes.planes = channels;
    for_each_window(planes, [&](std::int64_t, std::int64_t o, const Window& a, const Window& b) {
      Switch& at = switches[first * windows + o * block + lane];
      const std::int64_t won = winner(s, a, b, at);
      if (won < 0) return;
      for (std::int64_t ty = a.first; ty < a.last; ++ty) {
        for (std::int64_t tx = b.first; tx < b.last; ++tx) {
          const std::int64_t place = (a.begin + ty * a.dilation) * s.w + b.begin + tx * b.dilation;
          if (place != won && !tie(image, channels, places, place * block, won * block, tolerance)) continue;
          at = static_cast<Switch>(ty * b.span + tx);
          return;
        }
      }
    });
  }
}

template <class T>
void max_pool_gather(const PoolShape& s, const T* x, const Switch* switches, T* y) noexcept {
  for_each_window(s, [&](std::int64_t plane, std::int64_t o, const Window& a, const Window& b) {
    const std::int64_t at = winner(s, a, b, switches[o]);
    y[o] = at < 0 ? T(0) : x[plane + at];
  });
}

template <class T>
void max_pool_scatter(const PoolShape& s, const T* y, const Switch* switches, T* x, bool add) noexcept {
  if (!add) {
    for (std::int64_t i = 0; i < s.planes * s.h * s.w; ++i) x[i] = 0;
  }
  for_each_window(s, [&](std::int64_t plane, std::int64_t o, const Window& a, const Window& b) {
    const std::int64_t at = winner(s, a, b, switches[o]);
    if (at >= 0) x[plane + at] += y[o];
  });
}

template <class T>
void avg_pool_forward(const PoolShape& s, const T* x, T* y) noexcept {
  for_each_window(s, [&](std::int64_t plane, std::int64_t o, const Window& a, const Window& b) {
    T sum = 0;
    for (std::int64_t ty = a.first; ty < a.last; ++ty) {
      for (std::int64_t tx = b.first; tx < b.last; ++tx) {
        sum += x[plane + (a.begin + ty * a.dilation) * s.w + b.begin + tx * b.dilation];
      }
    }
    const std::int64_t count = divisor(s, a, b);
    y[o] = count ? sum / T(count) : T(0);
  });
}

template <class T>
void avg_pool_backward(const PoolShape& s, const T* y, T* x, bool add) noexcept {
  if (!add) {
    for (std::int64_t i = 0; i < s.planes * s.h * s.w; ++i) x[i] = 0;
  }
  for_each_window(s, [&](std::int64_t plane, std::int64_t o, const Window& a, const Window& b) {
    const std::int64_t count = divisor(s, a, b);
    if (!count) return;
    for (std::int64_t ty = a.first; ty < a.last; ++ty) {
      for (std::int64_t tx = b.first; tx < b.last; ++tx) {
        x[plane + (a.begin + ty * a.dilation) * s.w + b.begin + tx * b.dilation] += y[o] / T(count);
      }
    }
  });
}

}  // namespace vitrine::kernels::ref
