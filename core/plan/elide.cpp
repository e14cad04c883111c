// Backward steps that need not run.
//
// 1. A step that passes the signal on unchanged (RuleTraits::passes): the next step writes to where it would have
// written.
//
//     LRP:        x -> [conv] -> a -> [relu] -> b -> [fc]
//     before      step of fc writes signal(b), step of relu copies it to signal(a)
//     after       step of fc writes signal(a)                             signal_goes_to[b] = a, relu elided
//
// 2. A ReLU that only a pool reads. The pool's winner is positive exactly if its output is, so the pool applies the
//    ReLU's mask to its own, smaller signal, and the larger map before the pool need not be kept.
//
//     gradient:   x -> [conv] -> a -> [relu] -> b -> [pool] -> c
//     before      pool: signal(b) = scatter(signal(c)); relu: signal(a) = signal(b) where b > 0
//     after       pool: signal(c) = signal(c) where c > 0, signal(a) = scatter(signal(c))    folded_relu[pool] = relu
//
// A step stays if anyone sees the signal in between: the caller, or an observer that watches the node.
//
// Preconditions: reach. Clears `walked` of elided nodes; fills in elided, folded_relu and signal_goes_to, which reuse,
// find_reads, lifetimes and the walk read.
#include "core/plan/passes.h"

namespace vitrine::planning {
namespace {

// The pool that can do the step of ReLU i too; no_id: none.
Id folding_pool(const Draft& d, std::size_t i) noexcept {
  const Graph& g = d.graph;
  const auto derivative = [&](std::size_t k) {
    return d.plan.nodes[k].walked && d.request.rules[k]->traits(*g.nodes[k].op).derivative;
  };
  if (!derivative(i) || g.nodes[i].op->epilogue_role() != Op::EpilogueRole::relu) return no_id;
  const Draft::Readers readers = d.readers(g.nodes[i].out);
  const Node& pool = g.nodes[readers.last];
  if (readers.count != 1 || pool.op->op_class() != OpClass::route || !derivative(readers.last) ||
      d.signal_seen(pool.out))
    return no_id;
  return static_cast<Id>(readers.last);
}

}  // namespace

void elide_steps(Draft& d) noexcept {
  const Graph& g = d.graph;
  for (Id v = 0; v < g.values.size(); ++v) d.plan.values[v].signal_goes_to = v;
  if (!d.plan.freedom.elision) return;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& node = g.nodes[i];
    NodePlan& plan = d.plan.nodes[i];
    if (!plan.walked || d.signal_seen(node.out) || node.out == g.output) continue;
    if (!d.request.rules[i]->traits(*node.op).passes) {
      const Id pool = folding_pool(d, i);
      if (pool == no_id) continue;
      d.plan.nodes[pool].folded_relu = static_cast<Id>(i);
    }
    // The nodes before come first, so their own elision is already known.
    d.plan.values[node.out].signal_goes_to = d.plan.values[node.in[0]].signal_goes_to;
    plan.walked = false;
    plan.elided = true;
  }
}

}  // namespace vitrine::planning
