// Vector kernels of the explanation rules.
#pragma once

#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

template <class V>
void relevance_quotient(Stabilise st, Sign sign, const float* r, const float* z, const float* out, float* s,
                        std::int64_t n) noexcept {
  const V eps = V::set(st.eps);
  const bool exact = st.eps == 0, clip = st.mode == Stabilise::clip;
  stream<V>(n, [&](std::int64_t i, auto step) {
    const V d = load<V>(z + i, step);
    const auto negative = d < V::zero();
    V stable;
    if (clip) {
      const V a = V::abs(d), size = V::select(a < eps, eps, a);
      stable = V::select(negative, V::zero() - size, size);
    } else {
      stable = d + V::select(negative, V::zero() - eps, eps);
    }
    V q = load<V>(r + i, step) / stable;
    if (exact) q = V::select(d == V::zero(), V::zero(), q);
    if (sign != Sign::any) {
      const V o = load<V>(out + i, step);
      q = V::select(sign == Sign::positive ? o > V::zero() : o < V::zero(), q, V::zero());
    }
    store(q, s + i, step);
  });
}

template <class V>
bool no_relevance(Sign sign, const float* r, const float* out, std::int64_t n) noexcept {
  constexpr std::int64_t chunk = 1024;
  for (std::int64_t begin = 0; begin < n; begin += chunk) {
    V found = V::zero();
    stream<V>(smaller(chunk, n - begin), [&](std::int64_t i, auto step) {
      V v = load<V>(r + begin + i, step);
      if (sign != Sign::any) {
        const V o = load<V>(out + begin + i, step);
        v = V::select(sign == Sign::positive ? o > V::zero() : o < V::zero(), v, V::zero());
      }
      found = V::select(v == V::zero(), found, V::set(1));
    });
    float lanes[V::width];
    found.store(lanes);
    for (const float lane : lanes)
      if (lane != 0) return false;
  }
  return true;
}

template <class V>
void relevance_product(float factor, Substitute sub, const float* x, const float* c, float* d, std::int64_t n,
                       bool add) noexcept {
  const Substitution<V> map(sub);
  const V f = V::set(factor);
  stream<V>(n, [&](std::int64_t i, auto step) {
    store(f * map(load<V>(x + i, step)) * load<V>(c + i, step), d + i, add, step);
  });
}

template <class V>
void rescale_multiplier(const float* x, const float* x0, const float* y, const float* y0, const float* slope,
                        const float* s, float* d, std::int64_t n, bool add) noexcept {
  stream<V>(n, [&](std::int64_t i, auto step) {
    const V dx = load<V>(x + i, step) - load<V>(x0 + i, step), dy = load<V>(y + i, step) - load<V>(y0 + i, step);
    const V m = V::select(V::abs(dx) < V::set(1e-7f), load<V>(slope + i, step), dy / dx);
    store(load<V>(s + i, step) * m, d + i, add, step);
  });
}

template <class V>
void cross_max(const float* y, const float* y0, const float* s, float* a, float* b, std::int64_t n) noexcept {
  stream<V>(n, [&](std::int64_t i, auto step) {
    const V v = load<V>(y + i, step), v0 = load<V>(y0 + i, step), g = load<V>(s + i, step);
    const V m = V::select(v < v0, v0, v);
    store(g * (m - v0), a + i, step);
    store(g * (v - m), b + i, step);
  });
}

template <class V>
void select_by_sign(const float* d, const float* p, const float* q, float* z, std::int64_t n, bool add) noexcept {
  stream<V>(n, [&](std::int64_t i, auto step) {
    const V v = load<V>(d + i, step), a = load<V>(p + i, step), b = load<V>(q + i, step);
    const V mean = (a + b) * V::set(0.5f);
    store(V::select(v > V::zero(), a, V::select(v < V::zero(), b, mean)), z + i, add, step);
  });
}

template <class V>
void pseudo_count(const float* x, float* y, std::int64_t n) noexcept {
  stream<V>(n, [&](std::int64_t i, auto step) {
    const V v = load<V>(x + i, step), least = V::select(v < V::zero(), V::set(-1e-7f), V::set(1e-7f));
    store(V::select(V::abs(v) < V::set(0.5e-7f), least, v), y + i, step);
  });
}

template <class V>
void safe_divide(const float* x, const float* y, float* z, std::int64_t n, bool add) noexcept {
  stream<V>(n, [&](std::int64_t i, auto step) {
    const V d = load<V>(y + i, step);
    store(V::select(d == V::zero(), V::zero(), load<V>(x + i, step) / d), z + i, add, step);
  });
}

}  // namespace
}  // namespace vitrine::kernels
