// Reference optimisers. The factors that are the same for the whole block are computed in double.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
void sgd(const SgdArgs<T>& o) noexcept {
  for (std::int64_t i = 0; i < o.n; ++i) {
    T g = o.grad[i] + T(o.weight_decay) * o.value[i];
    if (o.momentum_buffer) {
      const T b = T(o.momentum) * o.momentum_buffer[i] + g;
      o.momentum_buffer[i] = b;
      g = o.nesterov ? g + T(o.momentum) * b : b;
    }
    o.value[i] -= T(o.lr) * g;
  }
}

template <class T>
void adam(const AdamArgs<T>& o) noexcept {
  const double c1 = 1 - std::pow(static_cast<double>(o.beta1), static_cast<double>(o.step));
  const double c2 = 1 - std::pow(static_cast<double>(o.beta2), static_cast<double>(o.step));
  const T rate = static_cast<T>(static_cast<double>(o.lr) / c1), root = static_cast<T>(1 / std::sqrt(c2));
  const T keep = static_cast<T>(1 - static_cast<double>(o.lr) * static_cast<double>(o.weight_decay));
  for (std::int64_t i = 0; i < o.n; ++i) {
    const T g = o.decoupled ? o.grad[i] : o.grad[i] + T(o.weight_decay) * o.value[i];
    const T m = T(o.beta1) * o.m[i] + (T(1) - T(o.beta1)) * g;
    const T v = T(o.beta2) * o.v[i] + (T(1) - T(o.beta2)) * (g * g);
    o.m[i] = m;
    o.v[i] = v;
    const T value = o.decoupled ? keep * o.value[i] : o.value[i];
    o.value[i] = value - rate * m / (std::sqrt(v) * root + T(o.eps));
  }
}

}  // namespace vitrine::kernels::ref
