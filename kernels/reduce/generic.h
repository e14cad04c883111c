// Vector reductions.
#pragma once

#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

template <class S>
Stats stats(const float* x, std::int64_t n) noexcept {
  using V = typename S::Vec;
  typename S::Sum64 sum, abs_sum;
  V highest = V::zero();
  std::int64_t finite = 0;
  stream<V>(n, [&](std::int64_t i, auto step) {
    const V v = load<V>(x + i, step);
    const auto ok = V::abs(v) < V::set(infinity);
    const V w = V::select(ok, v, V::zero());
    finite += ok.count();
    sum.add(w);
    abs_sum.add(V::abs(w));
    highest = V::max(highest, V::abs(w));
  });
  // The lanes that a last partial vector does not read are finite zeros.
  Stats s;
  s.sum = sum.sum();
  s.abs_sum = abs_sum.sum();
  s.abs_max = static_cast<double>(highest.highest());
  s.non_finite = round_up(n, V::width) - finite;
  return s;
}

template <class S>
double dot(const float* x, const float* y, std::int64_t n) noexcept {
  using V = typename S::Vec;
  typename S::Sum64 sum[2];
  std::int64_t turn = 0;
  stream<V>(n, [&](std::int64_t i, auto step) {
    sum[turn].add_product(load<V>(x + i, step), load<V>(y + i, step));
    turn ^= 1;
  });
  return sum[0].sum() + sum[1].sum();
}

/// Lanes are summed in float over a plane, planes in double.
template <class S>
void channel_sum(const float* x, std::int64_t images, std::int64_t channels, std::int64_t pixels, float* y,
                 bool add) noexcept {
  using V = typename S::Vec;
  for (std::int64_t c = 0; c < channels; ++c) {
    double total = 0;
    for (std::int64_t i = 0; i < images; ++i) {
      const float* p = x + (i * channels + c) * pixels;
      V s0 = V::zero(), s1 = V::zero(), s2 = V::zero(), s3 = V::zero();
      std::int64_t j = 0;
      for (; j + 4 * V::width <= pixels; j += 4 * V::width) {
        s0 = s0 + V::load(p + j);
        s1 = s1 + V::load(p + j + V::width);
        s2 = s2 + V::load(p + j + 2 * V::width);
        s3 = s3 + V::load(p + j + 3 * V::width);
      }
      stream<V>(pixels - j, [&](std::int64_t k, auto step) { s0 = s0 + load<V>(p + j + k, step); });
      total += static_cast<double>(((s0 + s1) + (s2 + s3)).sum());
    }
    y[c] = static_cast<float>(add ? static_cast<double>(y[c]) + total : total);
  }
}

}  // namespace
}  // namespace vitrine::kernels
