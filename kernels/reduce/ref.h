// Reference reductions.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
Stats stats(const T* x, std::int64_t n) noexcept {
  Stats s;
  for (std::int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) {
      ++s.non_finite;
      continue;
    }
    const double v = static_cast<double>(x[i]), a = v < 0 ? -v : v;
    s.sum += v;
    s.abs_sum += a;
    if (a > s.abs_max) s.abs_max = a;
  }
  return s;
}

template <class T>
double dot(const T* x, const T* y, std::int64_t n) noexcept {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

template <class T>
void channel_sum(const T* x, std::int64_t images, std::int64_t channels, std::int64_t pixels, T* y, bool add) noexcept {
  for (std::int64_t c = 0; c < channels; ++c) {
    T sum = 0;
    for (std::int64_t n = 0; n < images; ++n) {
      for (std::int64_t p = 0; p < pixels; ++p) sum += x[(n * channels + c) * pixels + p];
    }
    put(y[c], sum, add);
  }
}

}  // namespace vitrine::kernels::ref
