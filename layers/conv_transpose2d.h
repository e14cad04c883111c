// Transposed 2-D convolution: the adjoint of a convolution as a layer. Input (N,C,H,W), weight (C, out/groups, kh, kw)
// as in PyTorch, bias (out), output (N, out, OH, OW) with OH = (H-1) stride - pad_top - pad_bottom + dilation
// (kernel-1) + 1 + output_pad.
#pragma once

#include "layers/convolution.h"

namespace vitrine {

class ConvTranspose2d final : public ConvolutionOp {
 public:
  std::int32_t output_pad_h = 0, output_pad_w = 0;

  const char* name() const noexcept override { return "conv_transpose2d"; }
  void attributes(AttributeVisitor& v) noexcept override {
    ConvolutionOp::attributes(v);
    v("output_pad_h", output_pad_h);
    v("output_pad_w", output_pad_w);
  }
  std::int64_t output_channel(const Shape& weight, std::int64_t k) const noexcept override {
    // (in, out/groups, kh, kw): the group comes from the input channel.
    const std::int64_t in = k / weight.per_image(), within = k / weight.pixels() % weight.c();
    return in / (weight.n() / groups) * weight.c() + within;
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
               const Sink& z) const noexcept override;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                 const Sink& c) const noexcept override;
  Status parameter_gradient(const Context&, const NodeIO&, const TensorView& d_out,
                            std::span<const Sink> d_par) const noexcept override;
  Field field(const Shape& in, const Shape& out, std::size_t axis) const noexcept override;
};

struct ConvTranspose2dOptions {
  std::int32_t out = 1, kernel = 1, stride = 1, padding = 0, output_padding = 0, dilation = 1, groups = 1;
  bool bias = true;
};
Id conv_transpose2d(GraphBuilder&, Id x, const ConvTranspose2dOptions&, const char* name = nullptr) noexcept;

}  // namespace vitrine
