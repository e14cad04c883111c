// Sum of two or more tensors of one shape: the residual connection. A linear op in every input, so that a rule splits
// relevance by contribution with the same table that it uses elsewhere.
#pragma once

#include "core/graph.h"

namespace vitrine {

class Add final : public AffineOp {
 public:
  const char* name() const noexcept override { return "add"; }
  EpilogueRole epilogue_role() const noexcept override { return EpilogueRole::sum; }
  bool vjp_in_place() const noexcept override { return true; }
  Layouts layouts(const Context&, const Shape&, const Shape&) const noexcept override { return Layouts::same; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
               const Sink& z) const noexcept override;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                 const Sink& c) const noexcept override;
};

Id add(GraphBuilder&, std::span<const Id> terms, const char* name = nullptr) noexcept;
Id add(GraphBuilder&, Id a, Id b, const char* name = nullptr) noexcept;

}  // namespace vitrine
