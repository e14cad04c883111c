// Vector softmax and cross-entropy, row by row.
#pragma once

#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

template <class V>
VITRINE_INLINE V keep_first(V v, V other, Part t) {
  return V::select(V::first(t.n), v, other);
}
template <class V>
VITRINE_INLINE V keep_first(V v, V, Whole) {
  return v;
}

/// The largest element that is not NaN; the sum of exponentials then turns a NaN into a row of NaN.
template <class V>
VITRINE_INLINE float row_max(const float* x, std::int64_t k) {
  V m = V::set(-infinity);
  stream<V>(
      k, [&](std::int64_t j, auto step) { m = V::max(keep_first(load<V>(x + j, step), V::set(-infinity), step), m); });
  return m.highest();
}

template <class V>
void softmax_forward(const float* x, std::int64_t n, std::int64_t k, float* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i, x += k, y += k) {
    const V m = V::set(row_max<V>(x, k));
    V sum = V::zero();
    stream<V>(k, [&](std::int64_t j, auto step) {
      const V e = exp(load<V>(x + j, step) - m);
      store(e, y + j, step);
      sum = sum + keep_first(e, V::zero(), step);
    });
    const V total = V::set(sum.sum());
    stream<V>(k, [&](std::int64_t j, auto step) { store(load<V>(y + j, step) / total, y + j, step); });
  }
}

template <class V>
void softmax_backward(const float* y, const float* s, std::int64_t n, std::int64_t k, float* d, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i, y += k, s += k, d += k) {
    V sum = V::zero();
    stream<V>(k, [&](std::int64_t j, auto step) { sum = V::fma(load<V>(s + j, step), load<V>(y + j, step), sum); });
    const V total = V::set(sum.sum());
    stream<V>(k, [&](std::int64_t j, auto step) {
      store(load<V>(y + j, step) * (load<V>(s + j, step) - total), d + j, add, step);
    });
  }
}

template <class S>
void cross_entropy(const float* x, const float* target, std::int64_t n, std::int64_t k, float scale, double* loss,
                   float* d) noexcept {
  using V = typename S::Vec;
  for (std::int64_t i = 0; i < n; ++i, x += k, target += k) {
    if (k <= 0) {
      loss[i] = 0;
      continue;
    }
    const float top = row_max<V>(x, k);
    const V m = V::set(top);
    typename S::Sum64 sum, weight;
    stream<V>(k, [&](std::int64_t j, auto step) {
      sum.add(keep_first(exp(load<V>(x + j, step) - m), V::zero(), step));
      weight.add(load<V>(target + j, step));
    });
    // -sum t (x - m - log sum): the log is taken once, in double; classes with target 0 are left out.
    const double total = sum.sum(), t = weight.sum(), log_total = ::log(total);
    typename S::Sum64 linear;
    stream<V>(k, [&](std::int64_t j, auto step) {
      const V q = load<V>(target + j, step);
      linear.add_product(q, V::select(q == V::zero(), V::zero(), load<V>(x + j, step) - m));
    });
    loss[i] = (t == 0 ? 0.0 : t * log_total) - linear.sum();
    if (!d) continue;
    const V factor = V::set(static_cast<float>(t)), sum_v = V::set(static_cast<float>(total)), s = V::set(scale);
    stream<V>(k, [&](std::int64_t j, auto step) {
      const V p = exp(load<V>(x + j, step) - m) / sum_v;
      store(s * V::fma(factor, p, V::zero() - load<V>(target + j, step)), d + i * k + j, step);
    });
  }
}

}  // namespace
}  // namespace vitrine::kernels
