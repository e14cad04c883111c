// Who reads a value last.
//
//     x -> [conv] -> a -> [relu] -> b -> [fc]        gradient
//
//     a: forward = relu, walk = none        (relu's gradient reads b)
//     b: forward = fc,   walk = relu        (the walk comes to relu after fc)
//
// Preconditions: outputs (a step may read another value as its output) and elide (an elided step reads nothing; a pool
// with a folded ReLU reads its output). Fills in the draft's needs and reads, which epilogue, segments and lifetimes
// read.
#include <algorithm>

#include "core/plan/passes.h"

namespace vitrine::planning {

void find_reads(Draft& d) noexcept {
  const std::int32_t none = d.nodes();
  std::fill(d.needs.begin(), d.needs.end(), Need{});
  std::fill(d.reads.begin(), d.reads.end(), Reads{-1, none, -1, none, -1});
  for (std::int32_t i = 0; i < d.nodes(); ++i) {
    const auto k = static_cast<std::size_t>(i);
    const Node& node = d.graph.nodes[k];
    const NodePlan& plan = d.plan.nodes[k];
    Need& need = d.needs[k];
    if (!plan.needed) continue;
    if (plan.walked) need = d.request.rules[k]->needs(*node.op);
    if (plan.folded_relu != no_id) need.out = true;
    const bool both = plan.walked && d.request.rules[k]->traits(*d.graph.nodes[k].op).needs_reference;
    const auto in_run = [&](Id v) {
      Reads& r = d.reads[v];
      r.forward = r.reference = i;
      if (plan.watched) r.watched = i;
    };
    const auto in_walk = [&](Id v) {
      Reads& r = d.reads[v];
      r.walk = std::min(r.walk, i);
      if (both) r.reference_walk = std::min(r.reference_walk, i);
    };
    for (const Id v : node.in) in_run(v);
    in_run(node.out);
    if (need.in)
      for (const Id v : node.in) in_walk(v);
    if (need.out) in_walk(plan.output_seen);
  }
}

}  // namespace vitrine::planning
