#include "core/planner.h"

#include <algorithm>

#include "core/measure.h"
#include "core/plan/passes.h"

namespace vitrine {
namespace {

Status check_request(const PlanRequest& q, const Context& ctx, const Freedom& freedom) noexcept {
  const Graph& g = *q.graph;
  const auto refuse = [&](const char* why) { return ctx.fail(Status::bad_argument, why); };
  if (q.one_reference && (!q.reference || q.observer != nullptr))
    return refuse("one reference for all images needs a reference run that nothing watches");
  if (q.one_reference && g.inputs.size() > 1)
    return refuse("a network with several inputs needs a reference for each image");
  if (!q.rules.empty() && q.rules.size() != g.nodes.size()) return refuse("a plan needs one rule per node");
  for (const std::int32_t size : q.batches)
    if (size < 1 || size > q.batch) return refuse("a batch size is to be planned that is not within 1 and the largest");
  if (q.recompute && !freedom.recompute)
    return refuse(q.observer != nullptr ? "an observer watches the run, so no value can be dropped and computed again"
                                        : "only a walk without a reference computes values again");
  for (Id p = 0; q.updater != nullptr && p < g.values.size(); ++p) {
    std::ptrdiff_t readers = 0;
    for (const Node& node : g.nodes) readers += std::count(node.par.begin(), node.par.end(), p);
    if (readers > 1)
      return refuse("an updater cannot take the gradient of a parameter that two nodes read before the walk has ended");
  }
  return Status::ok;
}

template <class T>
bool allocate(Arena& book, std::size_t n, std::span<T>& out) noexcept {
  T* const p = book.array<T>(n);
  if (p == nullptr) return false;
  out = {p, n};
  std::fill(out.begin(), out.end(), T{});
  return true;
}

// What runs, and where everything is stored. The order matters: each line says why its pass stands where it does.
Status lay_out(planning::Draft& d, Arena& book) noexcept {
  using namespace planning;
  VITRINE_TRY(reach(d));  // first: every pass looks at needed and walked nodes only
  see_relu_outputs(d);    // before elide_steps, which takes the ReLUs it looks for out of the walk
  elide_steps(d);         // before find_reads: an elided step reads nothing; a pool with a folded ReLU reads its output
  find_reads(d);          // before fuse_epilogues, cut_segments and set_lifetimes, which ask who reads a value
  choose_layout(d);       // before reuse_signals: two signals share a buffer only if they share a layout
  reuse_signals(d);       // after elide_steps: elision decides who writes a signal
  fuse_epilogues(d);      // after find_reads: what a backward step reads must be stored
  cut_segments(d);        // after fuse_epilogues: no cut parts a node from one that is fused into it
  set_lifetimes(d);       // after all that decides what is stored, who reads it, and what shares a buffer
  return place_buffers(d, book);
}

}  // namespace

Status make_plan(const PlanRequest& q, const Context& ctx, Arena& book, Plan& plan) noexcept {
  const std::size_t nodes = q.graph->nodes.size(), values = q.graph->values.size();
  plan = {};
  plan.request = q;
  plan.freedom = freedom_of(q, ctx);
  VITRINE_TRY(check_request(q, ctx, plan.freedom));
  if (!allocate(book, nodes, plan.nodes) || !allocate(book, values, plan.values) ||
      !allocate(book, values * static_cast<std::size_t>(q.channels), plan.signals) ||
      !allocate(book, q.recompute ? nodes + 1 : 1, plan.segments))
    return ctx.fail(Status::out_of_arena, "the plan's records do not fit");
  {
    const ArenaScope working(book);
    planning::Draft draft{q, *q.graph, ctx, plan};
    if (!allocate(book, nodes, draft.needs) || !allocate(book, values, draft.reads) ||
        !allocate(book, values, draft.flags))
      return ctx.fail(Status::out_of_arena, "the plan's working memory does not fit");
    VITRINE_TRY(lay_out(draft, book));
  }
  return measure_scratch(ctx, book, plan);  // last: a dry run needs the whole plan
}

}  // namespace vitrine
