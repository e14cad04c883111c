// Vector optimisers: one pass over memory.
#pragma once

#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

template <class V>
void sgd(const SgdArgs<float>& o) noexcept {
  const V lr = V::set(o.lr), mu = V::set(o.momentum), decay = V::set(o.weight_decay);
  stream<V>(o.n, [&](std::int64_t i, auto step) {
    const V value = load<V>(o.value + i, step);
    V g = V::fma(decay, value, load<V>(o.grad + i, step));
    if (o.momentum_buffer) {
      const V b = V::fma(mu, load<V>(o.momentum_buffer + i, step), g);
      store(b, o.momentum_buffer + i, step);
      g = o.nesterov ? V::fma(mu, b, g) : b;
    }
    store(V::fnma(lr, g, value), o.value + i, step);
  });
}

template <class V>
void adam(const AdamArgs<float>& o) noexcept {
  const double c1 = 1 - ::pow(static_cast<double>(o.beta1), static_cast<double>(o.step));
  const double c2 = 1 - ::pow(static_cast<double>(o.beta2), static_cast<double>(o.step));
  const V rate = V::set(static_cast<float>(static_cast<double>(o.lr) / c1)),
          root = V::set(static_cast<float>(1 / ::sqrt(c2)));
  const V keep = V::set(static_cast<float>(1 - static_cast<double>(o.lr) * static_cast<double>(o.weight_decay)));
  const V b1 = V::set(o.beta1), b2 = V::set(o.beta2), r1 = V::set(1 - o.beta1), r2 = V::set(1 - o.beta2);
  const V eps = V::set(o.eps), decay = V::set(o.weight_decay);
  stream<V>(o.n, [&](std::int64_t i, auto step) {
    V value = load<V>(o.value + i, step), g = load<V>(o.grad + i, step);
    if (o.decoupled) {
      value = keep * value;
    } else {
      g = V::fma(decay, value, g);
    }
    const V m = V::fma(b1, load<V>(o.m + i, step), r1 * g), v = V::fma(b2, load<V>(o.v + i, step), r2 * (g * g));
    store(m, o.m + i, step);
    store(v, o.v + i, step);
    store(value - rate * m / V::fma(V::sqrt(v), root, eps), o.value + i, step);
  });
}

}  // namespace
}  // namespace vitrine::kernels
