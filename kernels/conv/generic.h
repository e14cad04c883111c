// Convolution forward and backward-data: which of the ways of running them suits a shape.
#pragma once

#include "kernels/conv/batch.h"
#include "kernels/conv/col2im.h"
#include "kernels/conv/remainder.h"
#include "kernels/conv/rows.h"
#include "kernels/conv/winograd_batch.h"

namespace vitrine::kernels {
namespace {

template <class V, bool Forward>
struct Conv {
  using Args = ConvArgs<float>;

  static VITRINE_INLINE bool remains(const Args& a) {
    return Forward && (RemainderConv<V>::suits(a) || RemainderAcross<V>::suits(a));
  }

  /// f(the way that suits the shape).
  template <class F>
  static VITRINE_INLINE auto by_shape(const Args& a, F f) {
    if (BatchWinogradShape<V>::suits(a.s, a.exact))
      return a.s.kw == 3 ? f(BatchWinograd<V, Forward, 3>(a)) : f(BatchWinograd<V, Forward, 5>(a));
    if (winograd_suits(a.s, a.exact)) return f(Winograd<V, Forward>(a));
    if constexpr (!Forward)
      if (Col2Im<V>::suits(a)) return f(Col2Im<V>(a));
    const BatchConv<V, Forward> batch(a);
    return batch.suits() ? f(batch) : f(RowConv<V, Forward>(a));
  }

  static Work plan(const Args& a) noexcept {
    if (a.s.n <= 0 || a.s.c <= 0 || a.s.oc <= 0) return {0, 0, 0};
    if (const BatchConv<V, Forward> batch(a); batch.out_h <= 0 || batch.out_w <= 0) return {0, 0, 0};
    if (remains(a)) return a.y_lanes ? RemainderAcross<V>(a).work() : RemainderConv<V>(a).work();
    return by_shape(a, [](const auto& conv) { return conv.work(); });
  }

  static void pack(const Args& a, std::byte* shared, std::int64_t part) noexcept {
    by_shape(a, [&](const auto& conv) { conv.pack(a, reinterpret_cast<float*>(shared), part); });
  }

  static void tile(const Args& a, const std::byte* shared, std::byte* scratch, std::int64_t index) noexcept {
    auto* const memory = reinterpret_cast<float*>(scratch);
    if (!remains(a))
      by_shape(a, [&](const auto& conv) { conv.run_tile(a, reinterpret_cast<const float*>(shared), memory, index); });
    else if (a.y_lanes)
      RemainderAcross<V>(a).run_tile(a, memory, index);
    else
      RemainderConv<V>(a).run_tile(a, memory, index);
  }
};

}  // namespace
}  // namespace vitrine::kernels
