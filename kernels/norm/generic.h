// Vector normalisations: sums in float over lanes of a plane, in double over planes, as in channel_sum.
#pragma once

#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

template <class V>
void channel_affine(const ChannelAffineArgs<float>& a) noexcept {
  const Substitution<V> sub(a.x_sub);
  const bool raw = is_raw(a.x_sub);
  for (std::int64_t plane = a.first; plane < a.first + a.planes; ++plane) {
    const std::int64_t c = plane % a.channels, at = plane * a.pixels;
    const V scale = V::set(a.scale ? a.scale[c] : 1), shift = V::set(a.shift ? a.shift[c] : 0);
    const auto each = [&](auto f) __attribute__((always_inline)) {
      stream<V>(a.pixels, [&](std::int64_t i, auto step) {
        store(V::fma(scale, f(load<V>(a.x + at + i, step)), shift), a.y + at + i, a.add, step);
      });
    };
    if (!a.x)
      stream<V>(a.pixels, [&](std::int64_t i, auto step) { store(shift, a.y + at + i, a.add, step); });
    else if (raw)
      each([](V v) { return v; });
    else
      each([&](V v) { return sub(v); });
  }
}

/// The sum of f(i, step) over a plane.
template <class V, class F>
VITRINE_INLINE double plane_sum(std::int64_t pixels, F f) {
  V s0 = V::zero(), s1 = V::zero();
  std::int64_t i = 0;
  for (; i + 2 * V::width <= pixels; i += 2 * V::width) {
    s0 = s0 + f(i, Whole{});
    s1 = s1 + f(i + V::width, Whole{});
  }
  for (; i + V::width <= pixels; i += V::width) s0 = s0 + f(i, Whole{});
  if (i < pixels) s1 = s1 + f(i, Part{pixels - i});
  return static_cast<double>((s0 + s1).sum());
}

template <class V>
void batch_norm_forward(const BatchNormArgs<float>& a) noexcept {
  const double count = static_cast<double>(a.images * a.pixels);
  for (std::int64_t c = a.first; c < a.last; ++c) {
    double sum = 0, squares = 0;
    for (std::int64_t n = 0; n < a.images; ++n) {
      const float* x = a.x + (n * a.channels + c) * a.pixels;
      sum += plane_sum<V>(a.pixels, [&](std::int64_t i, auto step) { return load<V>(x + i, step); });
    }
    const double mean = sum / count;
    const V m = V::set(static_cast<float>(mean));
    for (std::int64_t n = 0; n < a.images; ++n) {
      const float* x = a.x + (n * a.channels + c) * a.pixels;
      squares += plane_sum<V>(a.pixels, [&](std::int64_t i, auto step) {
        // What a last partial vector does not read is 0, and must not count as a deviation.
        V d = load<V>(x + i, step) - m;
        if constexpr (requires { step.n; }) d = V::select(V::first(step.n), d, V::zero());
        return d * d;
      });
    }
    // The deviations used the mean rounded to float: subtract what the rounding added to every square.
    const double shift = mean - static_cast<double>(static_cast<float>(mean));
    squares = larger(0.0, squares - count * shift * shift);
    const double var = squares / count, inv = 1 / __builtin_sqrt(var + static_cast<double>(a.eps));
    a.mean[c] = static_cast<float>(mean);
    a.inv_std[c] = static_cast<float>(inv);
    const double unbiased = count > 1 ? squares / (count - 1) : var, k = static_cast<double>(a.momentum);
    a.running_mean[c] = static_cast<float>((1 - k) * static_cast<double>(a.running_mean[c]) + k * mean);
    a.running_var[c] = static_cast<float>((1 - k) * static_cast<double>(a.running_var[c]) + k * unbiased);
    const V scale = V::set(static_cast<float>(static_cast<double>(a.gamma[c]) * inv)), beta = V::set(a.beta[c]);
    for (std::int64_t n = 0; n < a.images; ++n) {
      const std::int64_t at = (n * a.channels + c) * a.pixels;
      stream<V>(a.pixels, [&](std::int64_t i, auto step) {
        V v = V::fma(scale, load<V>(a.x + at + i, step) - m, beta);
        if (a.residual) v = v + load<V>(a.residual + at + i, step);
        store(v, a.y + at + i, false, a.relu, step);
      });
    }
  }
}

template <class V>
void batch_norm_backward(const BatchNormArgs<float>& a) noexcept {
  const double count = static_cast<double>(a.images * a.pixels);
  for (std::int64_t c = a.first; c < a.last; ++c) {
    double sum = 0, product = 0;
    const V mean = V::set(a.mean[c]), inv = V::set(a.inv_std[c]);
    for (std::int64_t n = 0; n < a.images; ++n) {
      const std::int64_t at = (n * a.channels + c) * a.pixels;
      sum += plane_sum<V>(a.pixels, [&](std::int64_t i, auto step) { return load<V>(a.dy + at + i, step); });
      // dy is 0 beyond a last partial vector.
      product += plane_sum<V>(a.pixels, [&](std::int64_t i, auto step) {
        return load<V>(a.dy + at + i, step) * ((load<V>(a.x + at + i, step) - mean) * inv);
      });
    }
    if (a.dgamma) a.dgamma[c] = static_cast<float>(a.add_dgamma ? static_cast<double>(a.dgamma[c]) + product : product);
    if (a.dbeta) a.dbeta[c] = static_cast<float>(a.add_dbeta ? static_cast<double>(a.dbeta[c]) + sum : sum);
    if (!a.dx) continue;
    const double scale = static_cast<double>(a.gamma[c]) * static_cast<double>(a.inv_std[c]);
    // dx = scale dy - scale mean(dy) - (x - mean) inv scale mean(dy x^)
    const V f = V::set(static_cast<float>(scale));
    const V constant = V::set(a.constant ? 0 : static_cast<float>(scale * sum / count));
    const V slope =
        V::set(a.constant ? 0 : static_cast<float>(scale * product / count * static_cast<double>(a.inv_std[c])));
    for (std::int64_t n = 0; n < a.images; ++n) {
      const std::int64_t at = (n * a.channels + c) * a.pixels;
      stream<V>(a.pixels, [&](std::int64_t i, auto step) {
        const V d = V::fma(f, load<V>(a.dy + at + i, step), V::zero() - constant);
        store(V::fnma(load<V>(a.x + at + i, step) - mean, slope, d), a.dx + at + i, a.add_dx, step);
      });
    }
  }
}

}  // namespace
}  // namespace vitrine::kernels
