// Reference resampling.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

/// What output `o` of one axis reads: two neighbours and the weight of the second.
struct Tap {
  std::int64_t at[2] = {0, 0};
  double weight = 0;
};

inline Tap resize_tap(const ResizeShape& s, std::int64_t o, std::int64_t in, std::int64_t out, float given) noexcept {
  const double step = given > 0 ? static_cast<double>(given) : static_cast<double>(in) / static_cast<double>(out);
  double x = s.half_pixel ? (static_cast<double>(o) + 0.5) * step - 0.5 : static_cast<double>(o) * step;
  if (s.align_corners)
    x = out > 1 ? static_cast<double>(o) * static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
  const double last = static_cast<double>(in - 1);
  Tap t;
  if (!s.bilinear) {
    // Half-pixel centres: the nearest, halves down; otherwise rounded down, as PyTorch does. The steps are rounded
    // numbers.
    const double nearest = s.half_pixel && !s.align_corners ? std::ceil(x - 0.5 - 1e-6) : std::floor(x + 1e-6);
    t.at[0] = t.at[1] = static_cast<std::int64_t>(nearest < 0 ? 0 : nearest > last ? last : nearest);
    return t;
  }
  x = x < 0 ? 0 : x > last ? last : x;
  t.at[0] = static_cast<std::int64_t>(x);
  t.at[1] = t.at[0] + 1 < in ? t.at[0] + 1 : t.at[0];
  t.weight = x - static_cast<double>(t.at[0]);
  return t;
}

template <class F>
void for_each_tap(const ResizeShape& s, F f) noexcept {
  for (std::int64_t plane = 0; plane < s.planes; ++plane)
    for (std::int64_t i = 0; i < s.oh; ++i) {
      const Tap y = resize_tap(s, i, s.h, s.oh, s.step_h);
      for (std::int64_t j = 0; j < s.ow; ++j) {
        const Tap x = resize_tap(s, j, s.w, s.ow, s.step_w);
        f((plane * s.oh + i) * s.ow + j, plane * s.h * s.w, y, x);
      }
    }
}

template <class T>
void resize_forward(const ResizeShape& s, const T* x, T* y) noexcept {
  for_each_tap(s, [&](std::int64_t o, std::int64_t plane, const Tap& a, const Tap& b) {
    double v = 0;
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j)
        if (const double w = (i ? a.weight : 1 - a.weight) * (j ? b.weight : 1 - b.weight); w != 0)
          v += w * static_cast<double>(x[plane + a.at[i] * s.w + b.at[j]]);
    y[o] = static_cast<T>(v);
  });
}

template <class T>
void resize_backward(const ResizeShape& s, const T* y, T* x, bool add) noexcept {
  if (!add)
    for (std::int64_t i = 0; i < s.planes * s.h * s.w; ++i) x[i] = 0;
  for_each_tap(s, [&](std::int64_t o, std::int64_t plane, const Tap& a, const Tap& b) {
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j)
        if (const double w = (i ? a.weight : 1 - a.weight) * (j ? b.weight : 1 - b.weight); w != 0)
          x[plane + a.at[i] * s.w + b.at[j]] += static_cast<T>(w * static_cast<double>(y[o]));
  });
}

}  // namespace vitrine::kernels::ref
