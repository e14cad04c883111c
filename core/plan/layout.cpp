// Which values are stored interleaved: (n/b, c, h, w, b), so that one vector holds the same pixel of b images
// (core/layout.h). Convolutions of small maps run fastest that way.
//
//     x -> [conv] -> a -> [relu] -> b -> [avg_pool] -> c -> [fc]
//
//     conv writes either layout, relu keeps it, avg_pool reads planar maps only:
//     before      all planar
//     first try   a, b interleaved
//     after       b is read by avg_pool, so b is planar; relu keeps the layout, so a is planar too
//
// A value is interleaved only if the node that makes it can write it and every reader takes it; sums and concatenations
// want all operands alike. The pass starts from every value that could be, and gives values up until nothing changes.
// Values that the caller or an observer sees stay planar.
//
// Preconditions: reach. One rule of the walk that cannot read interleaved maps turns the pass off. Fills in
// `interleaved`, which reuse and the run (Plan::block_of) read.
#include <algorithm>

#include "core/plan/passes.h"

namespace vitrine::planning {
namespace {

class LayoutPass {
 public:
  explicit LayoutPass(Draft& d) noexcept : d_(d), g_(d.graph), values_(d.plan.values) {}

  void start() noexcept {
    for (std::size_t i = 0; i < g_.nodes.size(); ++i) {
      const Node& node = g_.nodes[i];
      if (!d_.plan.nodes[i].needed || d_.keeps(node.out) || d_.signal_seen(node.out)) continue;
      const Layouts takes = takes_of(i);
      values_[node.out].interleaved =
          takes == Layouts::both || (takes != Layouts::planar && values_[node.in[0]].interleaved);
    }
  }

  // One round; whether anything changed.
  bool settle() noexcept {
    changed_ = false;
    for (std::size_t i = 0; i < g_.nodes.size(); ++i) {
      const Node& node = g_.nodes[i];
      if (!d_.plan.nodes[i].needed) continue;
      const Layouts takes = takes_of(i);
      const bool all = std::all_of(node.in.begin(), node.in.end(), [&](Id v) { return values_[v].interleaved; });
      if (takes == Layouts::planar || (takes == Layouts::same && !(all && values_[node.out].interleaved)))
        for (const Id v : node.in) make_planar(v);
      if (!all && (takes == Layouts::same || takes == Layouts::follows)) make_planar(node.out);
    }
    return changed_;
  }

 private:
  Layouts takes_of(std::size_t i) const noexcept {
    const Node& node = g_.nodes[i];
    if (d_.plan.nodes[i].watched) return Layouts::planar;
    return node.op->layouts(d_.ctx, g_.shape(node.in[0]), g_.shape(node.out));
  }

  void make_planar(Id v) noexcept {
    changed_ = changed_ || values_[v].interleaved;
    values_[v].interleaved = false;
  }

  Draft& d_;
  const Graph& g_;
  std::span<ValuePlan> values_;
  bool changed_ = false;
};

}  // namespace

void choose_layout(Draft& d) noexcept {
  if (!d.plan.freedom.layout) return;
  for (std::size_t i = 0; i < d.graph.nodes.size(); ++i)
    if (d.plan.nodes[i].walked && !d.request.rules[i]->traits(*d.graph.nodes[i].op).any_layout) return;
  d.plan.block = d.ctx->lanes;
  LayoutPass pass(d);
  pass.start();
  while (pass.settle()) continue;
}

}  // namespace vitrine::planning
