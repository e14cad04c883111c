// Reference matrix product: one tile, three loops.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
Work gemm_plan(const GemmArgs<T>&) noexcept {
  return {1, 0, 0};
}

template <class T>
void gemm_pack(const GemmArgs<T>&, std::byte*, std::int64_t) noexcept {}

template <class T>
void gemm_tile(const GemmArgs<T>& g, const std::byte*, std::byte*, std::int64_t) noexcept {
  for (std::int64_t i = 0; i < g.m; ++i) {
    for (std::int64_t j = 0; j < g.n; ++j) {
      T sum = 0;
      for (std::int64_t k = 0; k < g.k; ++k) {
        const T a = g.a_transposed ? g.a[k * g.lda + i] : g.a[i * g.lda + k];
        const T b = g.b_transposed ? g.b[j * g.ldb + k] : g.b[k * g.ldb + j];
        sum += substituted(g.a_sub, a) * substituted(g.b_sub, b);
      }
      if (g.bias) sum += substituted(g.bias_sub, g.bias[j]);
      put(g.c[i * g.ldc + j], sum, g.add);
    }
  }
}

}  // namespace vitrine::kernels::ref
