// Layer-wise relevance propagation [Bach et al. 2015]: one walk from the relevance of the objective (its value times
// its weights), with a composite of rules. interp/rules/README.md has the rules' formulas.
#include "interp/runs/one_walk.h"

namespace vitrine::methods {
namespace {

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  const bool merge = s.text("batch-norm") == "merge";
  auto m = std::make_unique<OneWalk>(c, merge ? c.subject.merged(c.objective.kept_nodes()) : c.subject.model(),
                                     Walk::Seed::relevance, false);
  Assignment& rules = m->rules();
  const CompositeFile* const file = c.composite.get();
  const CompositeOptions options = composite_options(rules.model(), s, rules, file);
  if (file != nullptr)
    rules.compose(options, *file);
  else
    rules.compose(options);
  rules.override_with(c.rules);
  m->start();
  return m;
}

}  // namespace

extern const MethodEntry lrp;
constinit const MethodEntry lrp = {.card = {.name = "lrp",
                                            .summary = "layer-wise relevance propagation by a composite of rules",
                                            .reference = "Bach et al. 2015",
                                            .promises = {.sensitivity = true, .class_sensitivity = true},
                                            .takes_rules = true,
                                            .takes_ledger = true,
                                            .settings = lrp_settings},
                                   .attribution = make};

}  // namespace vitrine::methods
