// Elementwise product of two tensors: squeeze-and-excitation gates, masks. Each size of the second is the first's or 1.
#pragma once

#include "core/graph.h"

namespace vitrine {

class Multiply final : public ProductOp {
 public:
  std::int32_t gate_input = -1;  ///< which factor is a gate (ProductOp::gate)

  const char* name() const noexcept override { return "multiply"; }
  void attributes(AttributeVisitor& v) noexcept override { v("gate", gate_input); }
  int gate() const noexcept override { return gate_input; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status partial(const Context&, const NodeIO&, const TensorView& s, const TensorView& other, std::size_t k,
                 const Sink& d) const noexcept override;
};

Id multiply(GraphBuilder&, Id a, Id b, std::int32_t gate = -1, const char* name = nullptr) noexcept;

}  // namespace vitrine
