// The ways of the matrix product, best first (kernels/ways.h).
#pragma once

#include "kernels/gemm/dots.h"
#include "kernels/gemm/panels.h"

namespace vitrine::kernels {
namespace {

template <class V>
struct Gemm {
  using Args = GemmArgs<float>;
  static const char* takes_all(const Args&) noexcept { return nullptr; }

  static constexpr const char* kernel = "gemm";
  static constexpr Way<Args> ways[] = {
      {"inner products of rows", &Dots<V>::refuses, {&Dots<V>::plan, &Panelled<V>::pack, &Dots<V>::tile}},
      {"panels", &takes_all, {&Panelled<V>::plan, &Panelled<V>::pack, &Panelled<V>::tile}},
  };
};

}  // namespace
}  // namespace vitrine::kernels
