// Planning as a whole: the passes of core/plan/, then a dry run that measures scratch memory.
#pragma once

#include "core/plan/plan.h"

namespace vitrine {

/// Lays out a run. `book` holds the plan's records (and some working memory, given back). `ctx` gives the number of
/// workers and the kernels that scratch sizes depend on; nothing is computed. Fails with
///   bad_argument   if the request contradicts itself,
///   no_rule        if a node on the walk has no rule, or one that refuses it (the failure names the node),
///   out_of_arena   if `book` is too small.
Status make_plan(const PlanRequest&, const Context& ctx, Arena& book, Plan&) noexcept;

}  // namespace vitrine
