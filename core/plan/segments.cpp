// Activation checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"): the network is cut into
// segments; values that only their own segment reads are dropped after the forward run, and the walk runs the segment
// again before it passes it.
//
//     x -> [conv1, relu1] -> a -> [conv2, relu2] -> b | -> [conv3, relu3] -> c -> loss
//
//     before      a, b and c are kept from the forward run to the walk
//     after       segment 0 (conv1 to relu2), segment 1 (conv3, relu3). b crosses the cut, so it is kept. a is dropped
//                 when the forward run has left segment 0, and computed again before the walk comes to it. The last
//                 segment is walked at once and never runs again.
//
// Cuts are placed where little crosses, so that what crosses and the largest segment's own values together are least:
// in a chain of n equal values, about 2 sqrt(n) of them in place of n.
//
// A node and those fused into it are one piece of work that runs at one time, so no cut parts them.
//
// Preconditions: find_reads and epilogue (a node and those fused into it belong to one segment). Fills in the plan's
// segments and `recomputed`, which lifetimes and the walk read.
#include <algorithm>
#include <limits>

#include "core/plan/passes.h"

namespace vitrine::planning {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

class SegmentPass {
 public:
  explicit SegmentPass(const Draft& d) noexcept : d_(d), g_(d.graph) {}

  // Writes the first node of each segment to `firsts`; returns their number. Tries limits on a segment's own bytes.
  std::size_t cut_best(std::int32_t* firsts) const noexcept {
    double all = 0;
    for (std::int32_t i = 0; i < d_.nodes(); ++i) all += kept(i);
    double best = all, limit = 0;
    for (int parts = 2; parts <= 32; ++parts)
      if (const double cost = cut(all / parts, nullptr).cost; cost < best) best = cost, limit = all / parts;
    return limit > 0 ? cut(limit, firsts).count : 1;
  }

 private:
  struct Cut {
    std::size_t count;
    double cost;  // bytes per image
  };

  double bytes(Id v) const noexcept { return static_cast<double>(g_.shape(v).size()) * sizeof(real); }

  // Bytes of what the walk reads of a node's forward run.
  double kept(std::int32_t node) const noexcept {
    const auto i = static_cast<std::size_t>(node);
    if (!d_.plan.nodes[i].runs()) return 0;
    const Id v = d_.plan.nodes[i].result;
    return (d_.reads[v].walk < d_.nodes() ? bytes(v) : 0) +
           (d_.needs[i].aux ? static_cast<double>(g_.nodes[i].aux_bytes) : 0);
  }

  // Bytes that nodes from p on read of nodes before p; infinite if p would part a node from one fused into it.
  double crossing(std::int32_t p) const noexcept {
    double sum = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(p); ++i) {
      if (!d_.plan.nodes[i].runs()) continue;
      const Id v = d_.plan.nodes[i].result;
      if (static_cast<std::int32_t>(g_.values[v].producer) >= p) return infinite;
      if (d_.reads[v].forward >= p) sum += bytes(v);
    }
    return sum;
  }

  struct Place {
    std::int32_t before;  // the node before which to cut; -1: nowhere
    double crossing;
  };
  // The cheapest cut in the second half of the nodes from `start` to `last`: earlier ones would make short segments.
  Place cheapest(std::int32_t start, std::int32_t last) const noexcept {
    Place best{-1, infinite};
    for (std::int32_t p = start + (last - start) / 2 + 1; p <= last; ++p)
      if (const double c = crossing(p); c <= best.crossing && c < infinite) best = {p, c};
    return best;
  }

  // Segments of as many nodes as keep at most `limit` bytes of their own.
  Cut cut(double limit, std::int32_t* firsts) const noexcept {
    Cut result{1, 0};
    if (firsts != nullptr) firsts[0] = 0;
    double across = 0, largest = 0, here = 0;
    for (std::int32_t i = 0, start = 0; i < d_.nodes(); ++i) {
      here += kept(i);
      if (here <= limit) continue;
      const Place best = cheapest(start, i);
      if (best.before < 0) continue;
      if (firsts != nullptr) firsts[result.count] = best.before;
      ++result.count;
      across += best.crossing;
      double own = 0;
      for (std::int32_t j = start; j < best.before; ++j) own += kept(j);
      largest = std::max(largest, own);
      here -= own;
      start = best.before;
    }
    result.cost = across + std::max(largest, here);
    return result;
  }

  const Draft& d_;
  const Graph& g_;
};

std::size_t segment_of(const Plan& plan, std::int32_t node) noexcept {
  std::size_t s = 0;
  while (s + 1 < plan.segments.size() && plan.segments[s + 1] <= node) ++s;
  return s;
}

// A node runs again if only its own segment reads its result, and the walk or another node that runs again needs it.
void find_recomputed(Draft& d) noexcept {
  const Graph& g = d.graph;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    NodePlan& node = d.plan.nodes[i];
    const std::size_t s = segment_of(d.plan, static_cast<std::int32_t>(i));
    const Id v = node.result;
    if (!node.runs() || s + 1 == d.plan.segments.size() || d.keeps(v) || segment_of(d.plan, d.reads[v].forward) != s)
      continue;
    bool wanted = d.reads[v].walk < d.nodes() || d.needs[i].aux;
    for (std::size_t j = i + 1; j < g.nodes.size() && !wanted; ++j)
      wanted = d.plan.nodes[j].recomputed && (contains(g.nodes[j].in, v) || d.plan.nodes[j].residual == v);
    node.recomputed = wanted;
  }
}

}  // namespace

void cut_segments(Draft& d) noexcept {
  const bool cut = d.request.recompute;
  d.plan.segments = d.plan.segments.first(cut ? SegmentPass(d).cut_best(d.plan.segments.data()) : 1);
  if (d.plan.segments.size() > 1) find_recomputed(d);
}

}  // namespace vitrine::planning
