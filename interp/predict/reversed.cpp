// Deconvnet [Zeiler & Fergus 2014] and guided backprop [Springenberg et al. 2015]: the gradient's walk, with the signal
// rectified at every ReLU.
//
//   deconvnet: s <- max(s, 0),   guided backprop: s <- max(s, 0) * [x > 0]
#include "interp/rules/signal.h"
#include "interp/runs/one_walk.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    {Setting::choice, "other", "refuse", "at activations that are no rectifiers", "refuse|gradient"},
};

template <kernels::Rectify kind>
std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  const bool merge = c.rules.empty() && !c.ledger;
  auto m = std::make_unique<OneWalk>(c, merge ? c.subject.merged(c.objective.kept_nodes()) : c.subject.model(),
                                     Walk::Seed::weights, false);
  RuleSet set(m->rules().arena());
  m->rules().fill(set.make<RectifyRule>(kind, s.text("other") == "refuse"));
  m->rules().override_with(c.rules);
  m->start();
  return m;
}

}  // namespace

extern const MethodEntry guided_backprop;
constinit const MethodEntry guided_backprop = {.card = {.name = "guided-backprop",
                                                        .summary = "gradient rectified by signal and input",
                                                        .reference = "Springenberg et al. 2015",
                                                        .promises = {.sensitivity = true},
                                                        .faithfulness_metric = "cascading-randomisation",
                                                        .takes_rules = true,
                                                        .takes_ledger = true,
                                                        .settings = settings},
                                               .attribution = make<kernels::Rectify::guided>};

extern const MethodEntry deconvnet;
constinit const MethodEntry deconvnet = {.card = {.name = "deconvnet",
                                                  .summary = "gradient rectified by signal",
                                                  .reference = "Zeiler & Fergus 2014",
                                                  .promises = {.sensitivity = true},
                                                  .faithfulness_metric = "cascading-randomisation",
                                                  .takes_rules = true,
                                                  .takes_ledger = true,
                                                  .settings = settings},
                                         .attribution = make<kernels::Rectify::deconvnet>};

}  // namespace vitrine::methods
