// 2-D convolution (cross-correlation): input (N,C,H,W), weight (out, C/groups, kh, kw), bias (out), output
// (N, out, OH, OW) with OH = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.
#pragma once

#include "layers/convolution.h"

namespace vitrine {

class Conv2d final : public ConvolutionOp {
 public:
  const char* name() const noexcept override { return "conv2d"; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  bool takes_epilogue() const noexcept override { return true; }
  Layouts layouts(const Context&, const Shape& in, const Shape& out) const noexcept override;
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
               const Sink& z) const noexcept override;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                 const Sink& c) const noexcept override;
  Status parameter_gradient(const Context&, const NodeIO&, const TensorView& d_out,
                            std::span<const Sink> d_par) const noexcept override;
  Field field(const Shape& in, const Shape& out, std::size_t axis) const noexcept override;
};

struct Conv2dOptions {
  std::int32_t out = 1, kernel = 1, stride = 1, padding = 0, dilation = 1, groups = 1;
  bool bias = true;
};
Id conv2d(GraphBuilder&, Id x, const Conv2dOptions&, const char* name = nullptr) noexcept;

}  // namespace vitrine
