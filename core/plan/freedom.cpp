#include "core/plan/freedom.h"

#include "core/plan/plan.h"

namespace vitrine {

Freedom freedom_of(const PlanRequest& q, const Context& ctx) noexcept {
  const bool walk = !q.rules.empty();
  // Two runs are compared value by value, so both must store the same values in the same layout.
  const bool one_run = !q.reference;
  // A channel is a copy of the whole signal; rules with several channels read each step's signals side by side.
  const bool one_channel = q.channels == 1;
  // The ledger has a line per step, and looks at the arriving signal after the step.
  const bool no_ledger = !q.ledger;
  const bool kernels = ctx->takes_interleaved != nullptr;

  Freedom f;
  f.epilogues = true;
  f.relu_outputs = walk && one_run;
  f.elision = walk && one_run && one_channel && no_ledger;
  f.reuse = walk && one_run && one_channel && no_ledger;
  f.layout = one_run && one_channel && kernels;  // and every rule of the walk reads both layouts: see layout.cpp
  f.recompute = walk && one_run && q.observer == nullptr;
  return f;
}

}  // namespace vitrine
