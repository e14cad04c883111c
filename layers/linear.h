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
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept override;
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&, const Sink& z) const noexcept override;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k, const Sink& c) const noexcept override;
  Status parameter_gradient(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_par) const noexcept override;
  Weights weights() const noexcept override { return Weights::mixing; }
};

Id linear(GraphBuilder&, Id x, std::int32_t out, const char* name = nullptr, bool bias = true) noexcept;

}  // namespace vitrine
