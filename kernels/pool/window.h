// The window of one output of a pool, along one axis.
#pragma once

#include "kernels/kernels.h"

namespace vitrine::kernels {
namespace {

/// Taps first <= t < last are inside the input, at begin + t*dilation. `counted`: taps inside the input or the declared
/// padding. A switch counts taps, `span` to a row.
struct Window {
  std::int64_t begin, dilation, first, last, counted, span;
};

[[gnu::always_inline]] inline Window window(bool adaptive, std::int64_t i, std::int64_t in, std::int64_t out,
                                            std::int64_t k, std::int64_t stride, std::int64_t pad,
                                            std::int64_t dilation, std::int64_t pad_after) {
  if (adaptive) {
    const std::int64_t b = i * in / out, n = ((i + 1) * in + out - 1) / out - b;
    return {b, 1, 0, n, n, n};
  }
  Window w{i * stride - pad, dilation, 0, k, k, k};
  while (w.first < k && w.begin + w.first * dilation < 0) ++w.first;
  while (w.last > w.first && w.begin + (w.last - 1) * dilation >= in) --w.last;
  while (w.counted > 0 && w.begin + (w.counted - 1) * dilation >= in + pad_after) --w.counted;
  return w;
}

[[gnu::always_inline]] inline Window window_y(const PoolShape& s, std::int64_t i) {
  return window(s.adaptive, i, s.h, s.oh, s.kh, s.stride_h, s.pad_top, s.dilation_h, s.pad_bottom);
}
[[gnu::always_inline]] inline Window window_x(const PoolShape& s, std::int64_t j) {
  return window(s.adaptive, j, s.w, s.ow, s.kw, s.stride_w, s.pad_left, s.dilation_w, s.pad_right);
}

/// The divisor of an average over the two windows; 0 if the window is empty.
[[gnu::always_inline]] inline std::int64_t divisor(const PoolShape& s, const Window& a, const Window& b) {
  return s.count_padding ? a.counted * b.counted : (a.last - a.first) * (b.last - b.first);
}

/// The place in the plane that a switch names, or -1 if its window is empty.
[[gnu::always_inline]] inline std::int64_t winner(const PoolShape& s, const Window& a, const Window& b, Switch at) {
  const std::int64_t ty = at / b.span, tx = at % b.span;
  if (ty < a.first || ty >= a.last || tx < b.first || tx >= b.last) return -1;
  return (a.begin + ty * a.dilation) * s.w + b.begin + tx * b.dilation;
}

}  // namespace
}  // namespace vitrine::kernels
