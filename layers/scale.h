// y = weight x + bias, one of each a channel: preprocessing inside a network, layer scales, merged batch norms.
#pragma once

#include "layers/diagonal.h"

namespace vitrine {

class Scale final : public DiagonalOp {
 public:
  const char* name() const noexcept override { return "scale"; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status parameter_gradient(const Context&, const NodeIO&, const TensorView& d_out,
                            std::span<const Sink> d_par) const noexcept override;
  void coefficients(const Context&, const NodeIO&, Substitute w, Substitute b, real* scale,
                    real* shift) const noexcept override;
};

Id scale(GraphBuilder&, Id x, const char* name = nullptr) noexcept;

}  // namespace vitrine
