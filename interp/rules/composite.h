// Which rule at which node. A composite gives every node of a graph a rule by what the node is (attribution spec
// section 3.5, names and defaults as in Zennit); single nodes can then be overridden. Nothing here needs heap: rules
// live in an arena, so firmware composes them the same way.
#pragma once

#include "core/graph.h"
#include "interp/rules/lrp.h"
#include "interp/rules/signal.h"

namespace vitrine {

enum class Composite : std::uint8_t {
  epsilon_plus,               ///< conv z+, linear epsilon
  epsilon_plus_flat,          ///< likewise, flat at the first layer
  epsilon_gamma_box,          ///< conv gamma, linear epsilon, z^B at the first layer if it is a convolution
  epsilon_alpha2_beta1,       ///< conv alpha 2 beta 1, linear epsilon
  epsilon_alpha2_beta1_flat,  ///< likewise, flat at the first layer
  excitation_backprop,        ///< conv and linear z+; activations as the gradient passes them
  uniform,                    ///< one rule (CompositeOptions::rule.kind) at every convolution and linear layer
};

struct CompositeOptions {
  Composite composite = Composite::epsilon_plus;
  LrpOptions rule{};  ///< kind for `uniform`; parameters of all rules
};

/// The rules of one kind that a composite hands out, made once each.
class RuleSet {
 public:
  explicit RuleSet(Arena& arena) noexcept : arena_(arena) {}
  /// An LRP rule with these options, or null (why() says why).
  const Rule* lrp(const LrpOptions&, bool nonnegative) noexcept;
  template <class T, class... Args>
  const Rule* make(Args&&... args) noexcept {
    const T* rule = arena_.create<T>(std::forward<Args>(args)...);
    if (rule == nullptr) why_ = "the rules' arena is full";
    return rule;
  }
  const char* why() const noexcept { return why_; }

 private:
  Arena& arena_;
  const char* why_ = nullptr;
};

/// What can be said of a graph before it runs: one bit a value. Outputs of rectifiers, and what pools, averages, sums
/// and views make of them, have no negative element.
void find_nonnegative(const Graph&, std::span<bool> values) noexcept;

/// The weighted nodes that the input reaches without passing another weighted node.
void find_first_layers(const Graph&, std::span<bool> nodes) noexcept;

/// Fills rules (one a node). Working memory is taken from `arena` for good: rules are few and small.
Status compose(const Graph&, const CompositeOptions&, Arena& arena, std::span<const Rule*> rules, Failure*) noexcept;

}  // namespace vitrine
