// Fully connected layer: input (N,C,1,1), weight (out, C), bias (out), output (N,out,1,1).
#pragma once

#include "core/graph.h"

namespace vitrine {

class Linear final : public AffineOp {
 public:
  std::int32_t out = 1;
  bool bias = true;

  const char* name() const noexcept override { return "linear"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("out", out);
    v("bias", bias);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
               const Sink& z) const noexcept override;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                 const Sink& c) const noexcept override;
  Status parameter_gradient(const Context&, const NodeIO&, const TensorView& d_out,
                            std::span<const Sink> d_par) const noexcept override;
  Weights weights() const noexcept override { return Weights::dense; }
  Layouts layouts(const Context&, const Shape& in, const Shape& out) const noexcept override;
  bool takes_epilogue() const noexcept override { return true; }

 private:
  /// The layer as a convolution of one place (of x to y), which is how it runs where images may lie innermost: then
  /// nothing is transposed, and the kernels' weights are kept where parameters are constant.
  static kernels::ConvShape shape(const Shape& x, const Shape& y) noexcept {
    return {x.n(), x.c(), 1, 1, y.c(), 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1};
  }
  static bool convolves(const Context&, const Shape& x, const Shape& y) noexcept;
  Status product(const Context&, const NodeIO&, const TensorView& x, const Row&, const Sink& z,
                 bool relu) const noexcept;
};

Id linear(GraphBuilder&, Id x, std::int32_t out, const char* name = nullptr, bool bias = true) noexcept;

}  // namespace vitrine
