// DeepLIFT [Shrikumar et al. 2017]: multipliers m with sum of m * (x - x0) = f(x) - f(x0), at every node. Two runs
// (actual and reference) are kept apart; nothing is stacked into the batch, so images of a batch never mix.
//
// Rescale needs one multiplier per value. RevealCancel needs two, for the positive and the negative part of a
// difference, and these parts themselves: the rule observes the actual run and computes them beside it. README.md in
// this folder, section 3, has the formulas.
#pragma once

#include "core/run.h"

namespace vitrine {

/// One multiplier per value: positive and negative parts share it. Completeness holds also for overlapping max pools
/// and for sums: a pool's contribution goes to the two runs' winners (cross maximum), and windows add.
class DeepLiftRescale final : public Rule {
 public:
  const char* name() const noexcept override { return "rescale"; }
  const char* refuses(const Op&) const noexcept override;
  Need needs(const Op&) const noexcept override;
  RuleTraits traits(const Op&) const noexcept override { return {.needs_reference = true}; }

 protected:
  Status activation(const Context&, const ActivationOp&, const Step&) const noexcept override;
  Status route(const Context&, const RouteOp&, const Step&) const noexcept override;
  Status product(const Context&, const ProductOp&, const Step&) const noexcept override;
  Status custom(const Context&, const CustomOp&, const Step&) const noexcept override;
};

/// The positive and negative parts of every value's difference from the reference (sums of positive and of negative
/// contributions, not the sign of the total). Both views of a value have its shape at the planned batch size.
struct DeepLiftParts {
  std::span<TensorView> positive, negative;  ///< one per value of the graph; those of parameters are empty
};

/// Lays out the parts for one batch size: the views in `book`, and in `data`, where kernels work, 2 x (sum of all
/// values' sizes). Both may be the same arena.
Status make_deeplift_parts(const Graph&, std::int32_t batch, Arena& book, Arena& data, DeepLiftParts&) noexcept;

/// Two multipliers per value (a walk of two channels). `reveal[i]` says whether pointwise node i uses RevealCancel;
/// else Rescale. The same object is the rule of every node of the plan, and the plan's observer.
class DeepLiftRevealCancel final : public Rule, public Observer {
 public:
  DeepLiftRevealCancel(const Graph& graph, DeepLiftParts parts, std::span<const bool> reveal) noexcept
      : graph_(graph), parts_(parts), reveal_(reveal) {}
  const char* name() const noexcept override { return "reveal-cancel"; }
  const char* refuses(const Op&) const noexcept override;
  Need needs(const Op&) const noexcept override;
  RuleTraits traits(const Op&) const noexcept override { return {.needs_reference = true}; }

  // It watches every node: the parts of a value are made from those of the values before it.
  Status after_forward(const Context&, const Graph&, Id node, const NodeIO&, const NodeIO* reference) noexcept override;

  /// R = m+ dx+ + m- dx- at a value, once the walk has set its signals.
  Status contribution(const Context&, const Run&, Id value, const TensorView& out) const noexcept;

 protected:
  Status affine(const Context&, const AffineOp&, const Step&) const noexcept override;
  Status activation(const Context&, const ActivationOp&, const Step&) const noexcept override;
  Status route(const Context&, const RouteOp&, const Step&) const noexcept override;
  Status product(const Context&, const ProductOp&, const Step&) const noexcept override;
  Status custom(const Context&, const CustomOp&, const Step&) const noexcept override;

 private:
  Status of_total(const Context&, const Step&, TensorView& m) const noexcept;
  Status input_parts(const Context&, Id input, const TensorView& x, const TensorView& x0) noexcept;
  // The parts of a node's result, by what its op is. `views`: room for one view per input.
  Status reveal_parts(const Context&, const ActivationOp&, const NodeIO& reference, Id in, Id out) noexcept;
  Status rescaled_parts(const Context&, const ActivationOp&, const NodeIO&, const NodeIO& reference,
                        const Node&) const noexcept;
  Status mixed_parts(const Context&, const AffineOp&, const NodeIO&, const NodeIO& reference, const Node&,
                     std::span<TensorView> views) const noexcept;
  Status separate_parts(const Context&, const AffineOp&, const NodeIO&, const Node&,
                        std::span<TensorView> views) const noexcept;
  Status moved_parts(const Context&, const NodeIO&, const Node&, std::span<TensorView> views) const noexcept;

  const Graph& graph_;
  DeepLiftParts parts_;
  std::span<const bool> reveal_;
};

}  // namespace vitrine
