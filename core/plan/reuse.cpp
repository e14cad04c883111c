// Signals that are written over the signal they are made of, so that both need one buffer.
//
// 1. A step that works element by element (Op::vjp_in_place), of one input:
//
//     a -> [relu] -> b           before: signal(b) -> signal(a)       after: one buffer, signal_reuses[a] = b
//
// 2. A sum. Both terms get the same signal, so one buffer can serve both:
//
//     a -> [conv1] -> m -> [conv2] -> b
//     a, b -> [add] -> c         before: signal(c) is copied to signal(a) and signal(b)
//                                after:  one buffer for all three. conv2's step reads it as signal(b); conv1's step
//                                        comes later and adds its share to it as signal(a)
//
//    Safe if the later-made term (b) has no other reader, since it is consumed first, and if all other readers of the
//    earlier one (a) write their share after that. With a single conv between a and b only b and c share a buffer: that
//    conv's step would read and write the same bytes. The node that made b must not change its signal in place
//    (`pinned`).
//
// A signal keeps a buffer of its own if the caller or an observer sees it, if another step writes it earlier in the
// walk, or if the two layouts differ.
//
// Preconditions: reach, elide (who writes which signal, and which node applies a folded ReLU in place) and layout (both
// signals must have one layout). Fills in signal_reuses, which lifetimes reads.
#include <utility>

#include "core/plan/passes.h"

namespace vitrine::planning {
namespace {

class ReusePass {
 public:
  explicit ReusePass(Draft& d) noexcept : d_(d), g_(d.graph), values_(d.plan.values), pinned_(d.flags) {
    for (Id v = 0; v < g_.values.size(); ++v) pinned_[v] = false;
  }

  void visit(std::size_t i) noexcept {
    const Node& node = g_.nodes[i];
    if (!d_.plan.nodes[i].walked || !d_.request.rules[i]->traits(*node.op).derivative || !node.op->vjp_in_place() ||
        seen(node.out) || pinned_[node.out])
      return;
    if (node.in.size() == 1) {
      if (starts_at(node.in[0], i)) values_[node.in[0]].signal_reuses = values_[node.out].signal_reuses;
    } else if (node.in.size() == 2 && node.in[0] != node.in[1]) {
      visit_sum(i);
    }
  }

 private:
  struct Writers {
    std::int32_t first_in_walk = -1, second_in_walk = -1;
  };

  void visit_sum(std::size_t i) noexcept {
    const Node& node = g_.nodes[i];
    const bool swapped = made_at(node.in[0]) > made_at(node.in[1]);
    const Id early = node.in[swapped ? 1 : 0], late = node.in[swapped ? 0 : 1];
    // A node with a folded ReLU masks its signal in place first.
    const bool alone = starts_at(late, i) && writers(late).second_in_walk < 0 &&
                       d_.plan.nodes[g_.values[late].producer].folded_relu == no_id;
    if (alone) values_[late].signal_reuses = values_[node.out].signal_reuses;
    if (starts_at(early, i) && (!alone || writers(early).second_in_walk < made_at(late))) {
      values_[early].signal_reuses = values_[node.out].signal_reuses;
      pinned_[late] = alone;
    }
  }

  // The first two nodes in the walk (the last two of the network) whose steps write the signal of v; -1: none.
  Writers writers(Id v) const noexcept {
    Writers w;
    for (std::size_t i = 0; i < g_.nodes.size(); ++i)
      for (std::size_t k = 0; d_.plan.nodes[i].walked && k < g_.nodes[i].in.size(); ++k)
        if (d_.plan.target(i, k) == v) w = {static_cast<std::int32_t>(i), w.first_in_walk};
    return w;
  }

  // Node i is the first in the walk to write the signal of v, and that buffer may be another's.
  bool starts_at(Id v, std::size_t i) const noexcept {
    return values_[v].wanted && values_[v].signal_goes_to == v && !seen(v) &&
           values_[v].interleaved == values_[g_.nodes[i].out].interleaved &&
           writers(v).first_in_walk == static_cast<std::int32_t>(i);
  }

  bool seen(Id v) const noexcept { return d_.signal_seen(v) || v == g_.output; }

  std::int32_t made_at(Id v) const noexcept {
    return g_.values[v].producer != no_id ? static_cast<std::int32_t>(g_.values[v].producer) : -1;
  }

  Draft& d_;
  const Graph& g_;
  std::span<ValuePlan> values_;
  std::span<bool> pinned_;
};

}  // namespace

void reuse_signals(Draft& d) noexcept {
  for (Id v = 0; v < d.graph.values.size(); ++v) d.plan.values[v].signal_reuses = v;
  if (!d.plan.freedom.reuse) return;
  ReusePass pass(d);
  for (std::size_t i = d.graph.nodes.size(); i-- > 0;) pass.visit(i);
}

}  // namespace vitrine::planning
