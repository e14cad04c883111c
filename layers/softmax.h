// Softmax over the channels of a vector (N,K,1,1). Training and explanation start at the logits before it (README.md,
// section 3), so rules other than the gradient have no meaning here.
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

Id log_softmax(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id softmax(GraphBuilder&, Id x, const char* name = nullptr) noexcept;

}  // namespace vitrine
