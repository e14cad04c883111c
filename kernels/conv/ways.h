// The ways of the three passes of a convolution, best first (kernels/ways.h), and the shapes that they all take
// interleaved. Each way is a class in a file of its own: `name`, `refuses(args)`, `work()`, `pack` if it packs weights,
// and `run_tile`. Each step constructs it again from sizes and flags.
#pragma once

#include "kernels/conv/col2im.h"
#include "kernels/conv/difference.h"
#include "kernels/conv/rows.h"
#include "kernels/conv/weight_batch.h"
#include "kernels/conv/weight_pixels.h"
#include "kernels/conv/weight_products.h"
#include "kernels/conv/weight_rows.h"
#include "kernels/conv/winograd_batch.h"

namespace vitrine::kernels {
namespace {

using ConvWay = Way<ConvArgs<float>>;

template <class Conv>
struct ConvSteps {
  using Args = ConvArgs<float>;
  static Work plan(const Args& a) noexcept { return Conv(a).work(); }
  static void pack(const Args& a, std::byte* shared, std::int64_t part) noexcept {
    if constexpr (requires(const Conv& conv) { conv.pack(a, nullptr, part); })
      Conv(a).pack(a, reinterpret_cast<float*>(shared), part);
  }
  static void tile(const Args& a, const std::byte* shared, std::byte* scratch, std::int64_t index) noexcept {
    auto* const memory = reinterpret_cast<float*>(scratch);
    if constexpr (requires(const Conv& conv) { conv.run_tile(a, memory, index); })
      Conv(a).run_tile(a, memory, index);
    else
      Conv(a).run_tile(a, reinterpret_cast<const float*>(shared), memory, index);
  }
};

template <class Conv>
constexpr ConvWay conv_way() {
  using Steps = ConvSteps<Conv>;
  return {Conv::name, &Conv::refuses, {&Steps::plan, &Steps::pack, &Steps::tile}};
}

/// A result without elements.
template <bool Forward>
struct NoOutput {
  static constexpr const char* name = "nothing";
  static const char* refuses(const ConvArgs<float>& a) noexcept {
    const ConvShape& s = a.s;
    const bool empty = s.n <= 0 || s.c <= 0 || s.oc <= 0 || (Forward ? s.oh <= 0 || s.ow <= 0 : s.h <= 0 || s.w <= 0);
    return empty ? nullptr : does_not_apply;
  }
  explicit NoOutput(const ConvArgs<float>&) {}
  Work work() const { return {0, 0, 0}; }
  void run_tile(const ConvArgs<float>&, float*, std::int64_t) const {}
};

/// The weight gradient of a result without elements: zeros, if there are weights.
template <class V>
struct NoSignal {
  static constexpr const char* name = "zeros";
  static const char* refuses(const ConvArgs<float>& a) noexcept {
    const ConvShape& s = a.s;
    return size_of(s) <= 0 || s.oh <= 0 || s.ow <= 0 ? nullptr : does_not_apply;
  }
  static std::int64_t size_of(const ConvShape& s) {
    return s.c <= 0 || s.oc <= 0 || s.kh <= 0 || s.kw <= 0 ? 0 : std::int64_t{s.oc} * (s.c / s.groups) * s.kh * s.kw;
  }
  std::int64_t size;
  explicit NoSignal(const ConvArgs<float>& a) : size(size_of(a.s)) {}
  Work work() const { return {size > 0 ? 1 : 0, 0, 0}; }
  void run_tile(const ConvArgs<float>& a, float*, std::int64_t) const {
    if (!a.add) Stage::zero<V>(a.w_out, size);
  }
};

template <class V>
struct ConvForward {
  static constexpr const char* kernel = "conv_forward";
  static constexpr ConvWay ways[] = {
      conv_way<NoOutput<true>>(),                //
      conv_way<DifferenceConv<V>>(),             //
      conv_way<InterleavedDifferenceConv<V>>(),  //
      conv_way<BatchWinograd<V, true, 3>>(),     //
      conv_way<BatchWinograd<V, true, 5>>(),     //
      conv_way<Winograd<V, true>>(),             //
      conv_way<BatchConv<V, true>>(),            //
      conv_way<RowConv<V, true>>(),
  };
};

template <class V>
struct ConvBackwardData {
  static constexpr const char* kernel = "conv_backward_data";
  static constexpr ConvWay ways[] = {
      conv_way<NoOutput<false>>(),             //
      conv_way<BatchWinograd<V, false, 3>>(),  //
      conv_way<BatchWinograd<V, false, 5>>(),  //
      conv_way<Winograd<V, false>>(),          //
      conv_way<Col2Im<V>>(),                   //
      conv_way<BatchConv<V, false>>(),         //
      conv_way<RowConv<V, false>>(),
  };
};

template <class V>
struct ConvBackwardWeights {
  static constexpr const char* kernel = "conv_backward_weights";
  static constexpr ConvWay ways[] = {
      conv_way<NoSignal<V>>(),                  //
      conv_way<BatchWinogradGradient<V, 3>>(),  //
      conv_way<BatchWinogradGradient<V, 5>>(),  //
      conv_way<WinogradGradient<V>>(),          //
      conv_way<WeightRows<V>>(),                //
      conv_way<WeightProducts<V>>(),            //
      conv_way<WeightBatch<V>>(),               //
      conv_way<WeightPixels<V>>(),
  };
};

/// Table::takes_interleaved: in each pass the best way for a planar batch takes an interleaved one as well.
template <class V>
bool takes_interleaved(const ConvShape& shape) noexcept {
  if (shape.c <= 0 || shape.oc <= 0 || shape.oh <= 0 || shape.ow <= 0) return false;
  ConvArgs<float> planar;
  planar.s = shape;
  planar.s.n = V::width;
  ConvArgs<float> interleaved = planar;
  interleaved.x_interleaved = interleaved.y_interleaved = true;
  const auto same = [&](const auto& ways) { return find_way(ways, planar) == find_way(ways, interleaved); };
  return same(ConvForward<V>::ways) && same(ConvBackwardData<V>::ways) && same(ConvBackwardWeights<V>::ways);
}

}  // namespace
}  // namespace vitrine::kernels
