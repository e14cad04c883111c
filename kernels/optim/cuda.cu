// Optimiser steps on a CUDA device, one pass over a flat block. The factors that are the same for the whole block are
// computed in double.
#include <cmath>

#include "kernels/cuda/elementwise.h"

namespace vitrine::kernels::cuda {

struct Sgd {
  SgdArgs<float> o;
  __device__ void operator()(std::int64_t i) const {
    const float value = o.value[i];
    float g = o.grad[i] + o.weight_decay * value;
    if (o.momentum_buffer) {
      const float b = o.momentum * o.momentum_buffer[i] + g;
      o.momentum_buffer[i] = b;
      g = o.nesterov ? g + o.momentum * b : b;
    }
    o.value[i] = value - o.lr * g;
  }
};

struct Adam {
  AdamArgs<float> o;
  float rate, root, keep;
  __device__ void operator()(std::int64_t i) const {
    const float old = o.value[i];
    const float g = o.decoupled ? o.grad[i] : o.grad[i] + o.weight_decay * old;
    const float m = o.beta1 * o.m[i] + (1.0f - o.beta1) * g, v = o.beta2 * o.v[i] + (1.0f - o.beta2) * (g * g);
    o.m[i] = m;
    o.v[i] = v;
    o.value[i] = (o.decoupled ? keep * old : old) - rate * m / (sqrtf(v) * root + o.eps);
  }
};

namespace {

void sgd(const SgdArgs<float>& o) noexcept { for_each(o.n, Sgd{o}); }

void adam(const AdamArgs<float>& o) noexcept {
  const double c1 = 1 - std::pow(static_cast<double>(o.beta1), static_cast<double>(o.step));
  const double c2 = 1 - std::pow(static_cast<double>(o.beta2), static_cast<double>(o.step));
  const double lr = static_cast<double>(o.lr);
  for_each(o.n, Adam{o, static_cast<float>(lr / c1), static_cast<float>(1 / std::sqrt(c2)),
                     static_cast<float>(1 - lr * static_cast<double>(o.weight_decay))});
}

}  // namespace

void fill_optim(Table<float>& t) noexcept {
  t.sgd = &sgd;
  t.adam = &adam;
}

}  // namespace vitrine::kernels::cuda
