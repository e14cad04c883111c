// Reference convolutions: one tile each. A tap in the padding multiplies an explicit 0, so that a non-finite weight or
// signal next to the border has the same effect here as in a matrix product over zero-padded patches.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
Work conv_plan(const ConvArgs<T>&) noexcept {
  return {1, 0, 0};
}

template <class T>
void conv_pack(const ConvArgs<T>&, std::byte*, std::int64_t) noexcept {}

/// Calls f(image, output channel, oy, ox, index of the weight, index of the input or -1 in the padding) for every tap.
template <class F>
void for_each_tap(const ConvShape& s, F f) noexcept {
  const std::int64_t cg = s.c / s.groups, og = s.oc / s.groups;
  for (std::int64_t n = 0; n < s.n; ++n) {
    for (std::int64_t o = 0; o < s.oc; ++o) {
      for (std::int64_t oy = 0; oy < s.oh; ++oy) {
        for (std::int64_t ox = 0; ox < s.ow; ++ox) {
          for (std::int64_t c = 0; c < cg; ++c) {
            for (std::int64_t ky = 0; ky < s.kh; ++ky) {
              for (std::int64_t kx = 0; kx < s.kw; ++kx) {
                const std::int64_t iy = oy * s.stride_h + ky * s.dilation_h - s.pad_top;
                const std::int64_t ix = ox * s.stride_w + kx * s.dilation_w - s.pad_left;
                const bool inside = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w;
                const std::int64_t weight = ((o * cg + c) * s.kh + ky) * s.kw + kx;
                const std::int64_t plane = n * s.c + o / og * cg + c;
                f(n, o, oy, ox, weight, inside ? (plane * s.h + iy) * s.w + ix : std::int64_t{-1});
              }
            }
          }
        }
      }
    }
  }
}

template <class T>
void conv_forward_tile(const ConvArgs<T>& a, const std::byte*, std::byte*, std::int64_t) noexcept {
  const ConvShape& s = a.s;
  const std::int64_t size = std::int64_t{s.n} * s.oc * s.oh * s.ow;
  for (std::int64_t i = 0; i < size; ++i) {
    const T bias = a.bias ? substituted(a.bias_sub, a.bias[i / (std::int64_t{s.oh} * s.ow) % s.oc]) : T(0);
    put(a.y_out[i], bias, a.add);
  }
  for_each_tap(s,
               [&](std::int64_t n, std::int64_t o, std::int64_t oy, std::int64_t ox, std::int64_t w, std::int64_t x) {
                 const T v = x < 0 ? T(0) : substituted(a.x_sub, a.x[x]);
                 a.y_out[((n * s.oc + o) * s.oh + oy) * s.ow + ox] += v * substituted(a.w_sub, a.w[w]);
               });
  for (std::int64_t i = 0; i < size && a.relu; ++i) a.y_out[i] = a.y_out[i] < 0 ? T(0) : a.y_out[i];
}

template <class T>
void conv_backward_data_tile(const ConvArgs<T>& a, const std::byte*, std::byte*, std::int64_t) noexcept {
  const ConvShape& s = a.s;
  if (!a.add) {
    for (std::int64_t i = 0; i < std::int64_t{s.n} * s.c * s.h * s.w; ++i) a.x_out[i] = 0;
  }
  for_each_tap(s,
               [&](std::int64_t n, std::int64_t o, std::int64_t oy, std::int64_t ox, std::int64_t w, std::int64_t x) {
                 if (x >= 0) a.x_out[x] += a.y[((n * s.oc + o) * s.oh + oy) * s.ow + ox] * substituted(a.w_sub, a.w[w]);
               });
}

template <class T>
void conv_backward_weights_tile(const ConvArgs<T>& a, const std::byte*, std::byte*, std::int64_t) noexcept {
  const ConvShape& s = a.s;
  if (!a.add) {
    for (std::int64_t i = 0; i < std::int64_t{s.oc} * (s.c / s.groups) * s.kh * s.kw; ++i) a.w_out[i] = 0;
  }
  for_each_tap(s,
               [&](std::int64_t n, std::int64_t o, std::int64_t oy, std::int64_t ox, std::int64_t w, std::int64_t x) {
                 const T v = x < 0 ? T(0) : substituted(a.x_sub, a.x[x]);
                 a.w_out[w] += v * a.y[((n * s.oc + o) * s.oh + oy) * s.ow + ox];
               });
}

}  // namespace vitrine::kernels::ref
