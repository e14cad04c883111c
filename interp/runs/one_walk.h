// Attributions that are one forward run and one walk: gradients, LRP, DeepLIFT, reversed networks. A method chooses the
// rules, where the signal starts, and what is made of the signal that arrives at the input.
#pragma once

#include <memory>

#include "interp/result/registry.h"

namespace vitrine {

/// A usage Error if a probability or log-odds is to be explained: relevance and multipliers sum to what the rules of
/// the ops conserve, and the step from logits to a probability is no op of the network.
void require_logit(const AttributionCall&);

class OneWalk : public Attribution {
 public:
  /// `model`: the subject's network or its merged copy.
  OneWalk(const AttributionCall&, const Model& model, Walk::Seed, bool times_input);
  bool resolves_targets() const override { return true; }
  Answer attribute(const Query&, const Job&) override;

  Assignment& rules() noexcept { return assignment_; }
  /// Makes the walk, once the rules are assigned. What the call asks for (ledger, demand) is filled in.
  void start(Walk::Options = {});

 protected:
  /// Writes the relevance of one batch: the signal at the input, times the input if that was asked for (its difference
  /// from the baseline, if there is one).
  virtual void finish(const Query&, real* relevance);

  Subject& subject_;
  const Objective& objective_;
  const Model& model_;
  Assignment assignment_;
  std::unique_ptr<Walk> walk_;

 private:
  Walk::Seed seed_;
  bool times_input_, ledger_;
  Demand demand_;
};

}  // namespace vitrine
