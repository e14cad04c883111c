// What flows backward. A rule says, class by class, how the signal at an op's output becomes signals at its inputs. The
// gradient is one rule; LRP, DeepLIFT, deconvnet and guided backprop (interp/rules) are others.
#pragma once

#include <span>

#include "core/op.h"

namespace vitrine {

/// What a rule tells the ledger about one step beyond what can be read off the signals.
struct StepReport {
  double absorbed_by_bias = 0;        ///< relevance that went to the bias
  double absorbed_by_stabiliser = 0;  ///< relevance that the stabiliser took
};

/// One step of a walk: one node, its forward record, the signal that arrives and where to put the signals that leave.
struct Step {
  const NodeIO& io;         ///< its `out` may be cut at 0 where no signal arrives (RuleTraits::zero_inputs)
  const NodeIO* reference;  ///< the same node in the reference run (of one image: PlanRequest::one_reference), for
                            ///< rules that need one; else null
  std::span<const TensorView> s_out;  ///< one per channel (PlanRequest::channels)
  std::span<const Sink> s_in;         ///< channel c, input k at c * inputs + k; a sink without data is not wanted
  std::span<const Sink> d_par;        ///< parameter gradients (gradient only); may be empty
  StepReport* report;                 ///< null: no ledger

  /// The step of one channel alone.
  std::span<const Sink> inputs(std::size_t channel) const noexcept {
    return s_in.subspan(channel * io.in.size(), io.in.size());
  }
};

/// Whether input elements that are 0 receive no signal. (At a ReLU: those that the ReLU sets to 0.)
enum class ZeroInputs : std::uint8_t {
  may_receive,
  follow_output,  ///< they receive none if output elements that are 0 carry none: the op moves or passes the signal
  receive_none,   ///< relevance, say, which is a share of the value
};

/// What the planner needs to know of a rule's step at one op.
struct RuleTraits {
  bool needs_reference = false;  ///< the step reads the reference run
  bool derivative = false;       ///< the step is the op's own vjp
  bool passes = false;           ///< the step gives the one input what arrives, unchanged
  bool any_layout = false;       ///< the step takes values and signals in either layout (core/layout.h)
  /// If zeros receive none, the planner need not keep the map before a ReLU (core/plan/outputs.cpp).
  ZeroInputs zero_inputs = ZeroInputs::may_receive;
};

class Rule {
 public:
  virtual const char* name() const noexcept = 0;
  /// Null if the rule has a meaning at this op; else the reason, as the end of a sentence ("has no meaning at tanh").
  /// Planning asks at every node on the walk.
  virtual const char* refuses(const Op&) const noexcept = 0;
  /// What the step reads of the forward run (and of the reference run, if there is one).
  virtual Need needs(const Op&) const noexcept = 0;
  virtual RuleTraits traits(const Op&) const noexcept { return {}; }

  /// Sends the step to the op's class.
  Status step(const Context&, const Op&, const Step&) const noexcept;

 protected:
  // Defaults, if nothing else is named: the gradient (channel by channel).
  virtual Status affine(const Context&, const AffineOp&, const Step&) const noexcept;
  virtual Status activation(const Context&, const ActivationOp&, const Step&) const noexcept;
  virtual Status pointwise(const Context&, const PointwiseOp&, const Step&) const noexcept;  ///< activation()
  virtual Status gate(const Context&, const GateOp&, const Step&) const noexcept;            ///< activation()
  virtual Status route(const Context&, const RouteOp&, const Step&) const noexcept;
  virtual Status view(const Context&, const ViewOp&, const Step&) const noexcept;
  virtual Status product(const Context&, const ProductOp&, const Step&) const noexcept;
  virtual Status custom(const Context&, const CustomOp&, const Step&) const noexcept;
  static Status gradient(const Context&, const Op&, const Step&) noexcept;
  /// Adds (or writes) the signal unchanged: LRP at activations, views of equal shape.
  static Status pass(const Context&, const Step&) noexcept;

  ~Rule() = default;
};

/// d/d(input) of the seeded outputs; with parameter sinks, training's gradient too.
class GradientRule final : public Rule {
 public:
  explicit constexpr GradientRule(bool parameters = false) noexcept : parameters_(parameters) {}
  const char* name() const noexcept override { return "gradient"; }
  const char* refuses(const Op&) const noexcept override { return nullptr; }
  Need needs(const Op& op) const noexcept override { return op.vjp_needs(parameters_); }
  RuleTraits traits(const Op&) const noexcept override { return {.derivative = true, .any_layout = true}; }

 private:
  bool parameters_;
};

}  // namespace vitrine
