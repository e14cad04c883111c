// What rules over detection maps are made of besides products, sums and shifted maxima, so that soft logic is a graph
// like any other [Wang: ReNN, 2018]. models/inside/rule_language.h builds such graphs.
#pragma once

#include "layers/diagonal.h"

namespace vitrine {

/// y = factor x + shift with given numbers: "not" is 1 - x, a rule's weight w x, a threshold (x - n)/tau.
class AffineMap final : public DiagonalOp {
 public:
  float factor = 1, shift = 0;

  const char* name() const noexcept override { return "affine_map"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("factor", factor);
    v("shift", shift);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  void coefficients(const Context&, const NodeIO&, Substitute w, Substitute b, real* scale,
                    real* shift) const noexcept override;
};

/// Keeps the places that are the maximum of those within `radius` rows and columns (ties: the first), and zeroes the
/// rest: one place a detection, to be counted. A gate: its derivative is itself.
class LocalMaximum final : public GateOp {
 public:
  std::int32_t radius = 1;

  const char* name() const noexcept override { return "local_maximum"; }
  void attributes(AttributeVisitor& v) noexcept override { v("radius", radius); }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status gate(const Context&, const NodeIO&, const TensorView& x, const TensorView& s,
              const Sink& y) const noexcept override;
};

Id affine_map(GraphBuilder&, Id x, float factor, float shift, const char* name = nullptr) noexcept;
Id local_maximum(GraphBuilder&, Id x, std::int32_t radius, const char* name = nullptr) noexcept;

/// Offsets from a place, in places of the map, both ends included.
struct OffsetBox {
  std::int32_t top = 0, bottom = 0, left = 0, right = 0;
};
/// "exists at an offset": the maximum over the box around each place, where places outside the map count as 0. Rows and
/// columns are taken one after the other; the nodes are NAME.shifted, NAME.rows and NAME.
Id shifted_max(GraphBuilder&, Id x, const OffsetBox&, const char* name) noexcept;
/// The sum over the box around each place: nodes NAME.shifted, NAME.mean and NAME.
Id shifted_sum(GraphBuilder&, Id x, const OffsetBox&, const char* name) noexcept;

}  // namespace vitrine
