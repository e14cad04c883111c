// Gradient [Simonyan et al. 2014] and input times gradient [Shrikumar et al. 2016].
//
//   R_i = d s / d x_i,   R_i = x_i * d s / d x_i
#include "interp/rules/signal.h"
#include "interp/runs/one_walk.h"

namespace vitrine::methods {
namespace {

template <bool times_input>
std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings&) {
  // Rules and ledgers name nodes, merged ones too.
  const bool merge = c.rules.empty() && !c.ledger;
  auto m = std::make_unique<OneWalk>(c, merge ? c.subject.merged(c.objective.kept_nodes()) : c.subject.model(),
                                     Walk::Seed::weights, times_input);
  m->rules().fill_gradient();
  m->rules().override_with(c.rules);
  m->start({.shared_as = c.rules.empty() ? "gradient" : ""});
  return m;
}

}  // namespace

extern const MethodEntry gradient;
constinit const MethodEntry gradient = {
    .card = {.name = "gradient",
             .summary = "derivative of the target's logit",
             .reference = "Simonyan et al. 2014",
             .promises = {.sensitivity = true, .implementation_invariance = true, .class_sensitivity = true},
             .takes_rules = true,
             .takes_ledger = true},
    .attribution = make<false>};

extern const MethodEntry input_x_gradient;
constinit const MethodEntry input_x_gradient = {
    .card = {.name = "input-x-gradient",
             .summary = "input times gradient",
             .reference = "Shrikumar et al. 2016",
             .promises = {.sensitivity = true, .implementation_invariance = true, .class_sensitivity = true},
             .takes_rules = true,
             .takes_ledger = true},
    .attribution = make<true>};

}  // namespace vitrine::methods
