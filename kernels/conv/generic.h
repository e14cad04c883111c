// Convolution forward and backward-data: which of the ways of running them suits a shape.
#pragma once

#include "kernels/conv/batch.h"
#include "kernels/conv/remainder.h"
#include "kernels/conv/rows.h"
#include "kernels/conv/winograd.h"

namespace vitrine::kernels {
namespace {

template <class V, bool Forward>
struct Conv {
  using Args = ConvArgs<float>;

  static VITRINE_INLINE bool remains(const Args& a) { return Forward && RemainderConv<V>::suits(a); }

  static Work plan(const Args& a) noexcept {
    if (a.s.n <= 0 || a.s.c <= 0 || a.s.oc <= 0) return {0, 0, 0};
    const BatchConv<V, Forward> batch(a);
    if (batch.out_h <= 0 || batch.out_w <= 0) return {0, 0, 0};
    if (remains(a)) return RemainderConv<V>(a).work();
    if (winograd_suits(a.s, a.exact)) return Winograd<V, Forward>(a).work();
    return batch.suits() ? batch.work() : RowConv<V, Forward>(a).work();
  }

  static void pack(const Args& a, std::byte* shared, std::int64_t part) noexcept {
    auto* weights = reinterpret_cast<float*>(shared);
    if (winograd_suits(a.s, a.exact)) {
      Winograd<V, Forward>(a).pack(a, weights, part);
    } else {
      Gather<V, Forward>(a).pack(a, weights, part);
    }
  }

  static void tile(const Args& a, const std::byte* shared, std::byte* scratch, std::int64_t index) noexcept {
    const auto* weights = reinterpret_cast<const float*>(shared);
    auto* memory = reinterpret_cast<float*>(scratch);
    if (remains(a)) {
      RemainderConv<V>(a).run_tile(a, memory, index);
      return;
    }
    if (winograd_suits(a.s, a.exact)) {
      Winograd<V, Forward>(a).run_tile(a, weights, memory, index);
      return;
    }
    const BatchConv<V, Forward> batch(a);
    if (batch.suits()) {
      batch.run_tile(a, weights, memory, index);
    } else {
      RowConv<V, Forward>(a).run_tile(a, weights, memory, index);
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
