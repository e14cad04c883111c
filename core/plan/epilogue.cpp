// Residual sums and ReLUs that the node before them does before it stores its result.
//
//     x -> [conv] -> a, (a, r) -> [add] -> b -> [relu] -> c
//
//     before      conv writes a; add reads a and r, writes b; relu reads b, writes c
//     after       conv reads x and r, writes c          conv: residual = r, relu, result = c; add, relu: fused_into
//     conv
//
// Nobody else may read what lies between (a and b): no other node, no backward step, not the caller, and no observer
// may watch a node of the chain. The other term (r) must exist when conv runs.
//
// Preconditions: reach and find_reads. Fills in result, residual, relu and fused_into, which segments, lifetimes and
// the run read.
#include <algorithm>

#include "core/plan/passes.h"

namespace vitrine::planning {
namespace {

// The one node that reads v, once, where nothing else does; no_id: there is none.
Id only_reader(const Draft& d, Id v, std::size_t after) noexcept {
  const Graph& g = d.graph;
  std::size_t reads = 0, reader = 0;
  for (std::size_t k = after + 1; k < g.nodes.size(); ++k) {
    const auto in = g.nodes[k].in;
    if (!d.plan.nodes[k].needed || !contains(in, v)) continue;
    reads += static_cast<std::size_t>(std::count(in.begin(), in.end(), v));
    reader = k;
  }
  const std::int32_t none = d.nodes();
  const Reads& r = d.reads[v];
  const bool only = reads == 1 && !d.keeps(v) && r.walk == none && (!d.request.reference || r.reference_walk == none);
  return only ? static_cast<Id>(reader) : no_id;
}

void fuse_after(Draft& d, std::size_t i) noexcept {
  const Graph& g = d.graph;
  NodePlan& f = d.plan.nodes[i];
  for (Id v = g.nodes[i].out; !f.relu;) {
    const Id j = only_reader(d, v, i);
    if (j == no_id || d.plan.nodes[j].watched) return;
    const Node& next = g.nodes[j];
    const Op::EpilogueRole role = next.op->epilogue_role();
    if (role == Op::EpilogueRole::sum && next.in.size() == 2 && f.residual == no_id) {
      const Id other = next.in[next.in[0] == v ? 1 : 0], producer = g.values[other].producer;
      if (producer != no_id && producer > i) return;
      f.residual = other;
    } else if (role == Op::EpilogueRole::relu) {
      f.relu = true;
    } else {
      return;
    }
    d.plan.nodes[j].fused_into = static_cast<Id>(i);
    f.result = v = next.out;
  }
}

}  // namespace

void fuse_epilogues(Draft& d) noexcept {
  const Graph& g = d.graph;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) d.plan.nodes[i].result = g.nodes[i].out;
  if (!d.plan.freedom.epilogues) return;
  for (std::size_t i = 0; i < g.nodes.size(); ++i)
    if (d.plan.nodes[i].needed && !d.plan.nodes[i].watched && g.nodes[i].op->takes_epilogue()) fuse_after(d, i);
}

}  // namespace vitrine::planning
