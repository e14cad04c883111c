// Softmax over the channels of a vector (N,K,1,1), as a network ends: training and explanation start at the logits
// before it (README.md, section 3), so rules other than the gradient have no meaning here. And softmax over rows, which
// all rules pass.
#pragma once

#include "core/graph.h"

namespace vitrine {

class Softmax final : public CustomOp {
 public:
  const char* name() const noexcept override { return "softmax"; }
  OpTraits traits() const noexcept override { return {.scores = Scores::probabilities}; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
  Need vjp_needs(bool) const noexcept override { return {false, true, false}; }
};

/// The logarithm of the softmax, where PyTorch's examples end; logits before it, as before a softmax.
class LogSoftmax final : public CustomOp {
 public:
  const char* name() const noexcept override { return "log_softmax"; }
  OpTraits traits() const noexcept override { return {.scores = Scores::log_probabilities}; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
  Need vjp_needs(bool) const noexcept override { return {false, true, false}; }
};

/// The softmax (or its logarithm) of every row: over the last dimension, inside a network, as attention over places or
/// detectors' scores have it. Relevance passes it unchanged, element by element: the common denominator gets none, as
/// in local response normalisation. DeepLIFT's multipliers are complete (README.md, section 6).
class RowSoftmax final : public CustomOp {
 public:
  bool logarithm = false;

  const char* name() const noexcept override { return "row_softmax"; }
  void attributes(AttributeVisitor& v) noexcept override { v("logarithm", logarithm); }
  OpTraits traits() const noexcept override {
    return {.scores = logarithm ? Scores::log_probabilities : Scores::probabilities};
  }
  Field field(const Shape&, const Shape&, std::size_t axis) const noexcept override { return {1, 1, 0, axis == 3}; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
  Need vjp_needs(bool) const noexcept override { return {false, true, false}; }
  bool passes() const noexcept override { return true; }
  bool has_multipliers() const noexcept override { return true; }
  Status multipliers(const Context&, const NodeIO&, const NodeIO& reference, const TensorView& m,
                     std::span<const Sink> d_in) const noexcept override;
};

Id row_softmax(GraphBuilder&, Id x, bool logarithm = false, const char* name = nullptr) noexcept;
Id log_softmax(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id softmax(GraphBuilder&, Id x, const char* name = nullptr) noexcept;

}  // namespace vitrine
