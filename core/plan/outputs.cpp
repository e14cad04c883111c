// Where no signal reaches the elements that a ReLU set to 0, the backward step of the layer before it may read the
// ReLU's output in place of the layer's own: the two differ in those elements only. The layer's output, usually one of
// the largest values, then need not be kept for the walk.
//
//   LRP:   x -> [conv] -> a -> [relu] -> b -> [fc]
//
//     before                                 after
//     step of conv reads x, a                step of conv reads x, b
//     a and b live until the walk            b lives until the walk (the step of fc reads it anyway)
//
// Relevance is a share of the value, so it is 0 wherever the value is (RuleTraits::zero_inputs). An observer may add to
// a signal or change a value, so nothing is assumed of what a watched node makes.
//
// Preconditions: reach. Fills in output_seen, which find_reads and the walk read.
#include "core/plan/passes.h"

namespace vitrine::planning {
namespace {

// Marks the values whose signal is 0 at every element that a later ReLU sets to 0.
void find_vanishing(Draft& d, std::span<bool> vanishes) noexcept {
  const PlanRequest& q = d.request;
  const Graph& g = d.graph;
  for (Id v = 0; v < g.values.size(); ++v) vanishes[v] = !d.seeded(v) && !d.made_watched(v);
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const Node& node = g.nodes[i];
    if (!d.plan.nodes[i].walked) continue;
    const ZeroInputs zeros = q.rules[i]->traits(*node.op).zero_inputs;
    const bool here = zeros == ZeroInputs::receive_none || (zeros == ZeroInputs::follow_output && vanishes[node.out]);
    for (const Id v : node.in) vanishes[v] = vanishes[v] && here;
  }
}

}  // namespace

void see_relu_outputs(Draft& d) noexcept {
  const Graph& g = d.graph;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) d.plan.nodes[i].output_seen = g.nodes[i].out;
  if (!d.plan.freedom.relu_outputs) return;
  find_vanishing(d, d.flags);
  for (std::size_t j = 0; j < g.nodes.size(); ++j) {
    const Node& relu = g.nodes[j];
    const Id v = relu.in[0], producer = g.values[v].producer;
    if (!d.plan.nodes[j].walked || d.plan.nodes[j].watched || relu.op->epilogue_role() != Op::EpilogueRole::relu ||
        !d.flags[v])
      continue;
    if (d.readers(v).count == 1 && !d.keeps(v) && producer != no_id &&
        g.nodes[producer].op->op_class() == OpClass::affine)
      d.plan.nodes[producer].output_seen = relu.out;
  }
}

}  // namespace vitrine::planning
