// Reference pools. The value of a window that holds no input at all (ceil mode far outside) is 0, its switch 0, and
// nothing is gathered from or scattered to it. In adaptive pools a switch counts in rows of that window's own width.
#pragma once

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
