// When every buffer is in use.
//
// Time: the reference run, the forward run, then the walk; each node takes one tick in each. With segments, the ticks
// in which a segment runs again stand before those of its walk.
//
//     x -> [conv] -> a -> [relu] -> b -> [fc] -> c        gradient, nothing fused or reused; the walk starts at tick 3
//
//     tick            0     1     2   |  3    4     5
//                     conv  relu  fc  |  fc   relu  conv
//     a               =========                             written by conv, read by relu
//     b                     =======================         relu's gradient reads it
//     c                           =========================  the output stays readable
//     signal(c)                   ======                    set before the walk
//     signal(b)                          ==========
//     signal(a)                                ==========
//
// Preconditions: all passes before this one. Fills in the times and buffers of all records (but for their offsets),
// which place reads. print.cpp draws them.
#include <algorithm>

#include "core/plan/passes.h"

namespace vitrine::planning {

std::size_t buffer_bytes(const Graph& g, Id v, std::size_t images) noexcept {
  return aligned(images * static_cast<std::size_t>(g.shape(v).size()) * sizeof(real));
}

namespace {

class LifetimePass {
 public:
  explicit LifetimePass(Draft& d) noexcept
      : d_(d),
        g_(d.graph),
        q_(d.request),
        plan_(d.plan),
        batch_(static_cast<std::size_t>(q_.batch)),
        reference_batch_(q_.one_reference ? 1 : batch_) {}

  void set_times() noexcept {
    const std::int32_t n = d_.nodes();
    const std::int32_t forward0 = q_.reference ? n : 0;
    walk0_ = forward0 + n;
    std::int32_t tick = walk0_;
    for (std::int32_t i = 0; i < n; ++i) node(i).forward_at = forward0 + i;
    for (std::size_t s = plan_.segments.size(); s-- > 0;) {
      const bool again = s + 1 < plan_.segments.size();
      const std::int32_t first = plan_.segments[s], last = again ? plan_.segments[s + 1] : n;
      for (std::int32_t i = first; i < last && again; ++i) node(i).recompute_at = tick++;
      for (std::int32_t i = last; i-- > first;) node(i).walk_at = tick++;
    }
    plan_.end = tick;
  }

  // A node's private record: for its own step, if that reads it.
  void set_aux(std::size_t i) noexcept {
    NodePlan& p = plan_.nodes[i];
    const std::size_t each = g_.nodes[i].aux_bytes, bytes = aligned(batch_ * each);
    if (bytes == 0) return;
    const bool read = d_.needs[i].aux;
    p.aux = {not_planned, bytes, p.forward_at, read && !p.recomputed ? p.walk_at : p.forward_at};
    if (p.recomputed) p.recomputed_aux = {not_planned, bytes, p.recompute_at, read ? p.walk_at : p.recompute_at};
    const auto tick = static_cast<std::int32_t>(i);
    if (q_.reference)
      p.reference_aux = {
          not_planned, aligned(reference_batch_ * each), tick,
          std::max(read && q_.rules[i]->traits(*g_.nodes[i].op).needs_reference ? reference_end(tick) : tick,
                   p.watched ? p.forward_at : tick)};
  }

  // The value that a node writes. A fused sum takes the buffer of its residual if nothing reads that any more.
  void set_result(std::size_t i) noexcept {
    const NodePlan& p = plan_.nodes[i];
    const Id v = p.result;
    ValuePlan& value = plan_.values[v];
    const Reads& reads = d_.reads[v];
    const std::int32_t in_run = plan_.nodes[static_cast<std::size_t>(reads.forward)].forward_at, in_walk = last_step(v);
    const std::int32_t last = d_.keeps(v) ? plan_.end : p.recomputed ? in_run : std::max(in_run, in_walk);
    value.memory = {not_planned, buffer_bytes(g_, v, batch_), p.forward_at, last};
    if (p.recomputed)
      value.recomputed = {not_planned, value.memory.bytes, p.recompute_at, std::max(p.recompute_at, in_walk)};
    if (q_.reference) {
      const std::int32_t read = d_.keeps(v)                         ? plan_.end
                                : reads.reference_walk < d_.nodes() ? reference_end(reads.reference_walk)
                                                                    : reads.reference;
      const std::int32_t seen = reads.watched >= 0 ? node(reads.watched).forward_at : read;
      value.reference = {not_planned, buffer_bytes(g_, v, reference_batch_), static_cast<std::int32_t>(i),
                         std::max(read, seen)};
    }
    if (takes_residual(i)) take_over(v, p.residual);
  }

  // A signal lives from the first step that writes it, or from its seed, to the step of the node that made the value.
  void set_signals() noexcept {
    for (Id v = 0; v < g_.values.size(); ++v) signal(v, 0) = {not_planned, 0, -1, -1};
    for (std::size_t i = g_.nodes.size(); i-- > 0;) {
      const std::int32_t now = plan_.nodes[i].walk_at;
      if (!plan_.nodes[i].walked) continue;
      for (std::size_t k = 0; k < g_.nodes[i].in.size(); ++k) {
        Buffer& b = signal(plan_.target(i, k), 0);
        if (b.first < 0) b.first = now;
      }
      signal(g_.nodes[i].out, 0).last = now;
    }
    for (Id v = 0; v < g_.values.size(); ++v) finish_signal(v);
    // Only signals of one channel are reused.
    for (Id v = 0; v < g_.values.size(); ++v) {
      const Id owner = plan_.values[v].signal_reuses;
      if (owner == v) continue;
      signal(owner, 0).last = std::max(signal(owner, 0).last, signal(v, 0).last);
      signal(v, 0) = {};
    }
  }

 private:
  NodePlan& node(std::int32_t i) noexcept { return plan_.nodes[static_cast<std::size_t>(i)]; }

  Buffer& signal(Id v, std::int32_t c) noexcept {
    return plan_.signals[v * static_cast<std::size_t>(q_.channels) + static_cast<std::size_t>(c)];
  }

  // One reference trace for all images is read by the walks of later runs too, in which the reference does not run.
  std::int32_t reference_end(std::int32_t i) noexcept { return q_.one_reference ? plan_.end : node(i).walk_at; }

  // The last tick of the walk that reads v: a step, or a node that runs again; -1: none.
  std::int32_t last_step(Id v) noexcept {
    std::int32_t last = d_.reads[v].walk < d_.nodes() ? node(d_.reads[v].walk).walk_at : -1;
    for (std::size_t j = 0; plan_.segments.size() > 1 && j < g_.nodes.size(); ++j)
      if (plan_.nodes[j].recomputed && (contains(g_.nodes[j].in, v) || plan_.nodes[j].residual == v))
        last = std::max(last, plan_.nodes[j].recompute_at);
    return last;
  }

  bool takes_residual(std::size_t i) const noexcept {
    const Id r = plan_.nodes[i].residual;
    return r != no_id && g_.values[r].kind == ValueKind::result && !q_.reference && plan_.segments.size() == 1 &&
           !d_.keeps(r) && d_.reads[r].walk == d_.nodes() && !read_later(r, i);
  }

  // Whether anything reads v from node i on, other than i's own epilogue.
  bool read_later(Id v, std::size_t i) const noexcept {
    for (std::size_t k = i; k < g_.nodes.size(); ++k) {
      if (!plan_.nodes[k].runs()) continue;
      if (contains(g_.nodes[k].in, v) || (plan_.nodes[k].residual == v && k != i)) return true;
    }
    return false;
  }

  // v has no buffer of its own but `from`'s, or the one that `from` took over itself.
  void take_over(Id v, Id from) noexcept {
    const Id owner = plan_.values[from].memory_of;
    Buffer& b = plan_.values[owner].memory;
    b.last = std::max(b.last, plan_.values[v].memory.last);
    plan_.values[v].memory_of = owner;
  }

  // From the steps that write and read the signal of v to its buffers, one per channel; none if nothing writes it.
  void finish_signal(Id v) noexcept {
    Buffer b = signal(v, 0);
    if (!plan_.values[v].wanted) b.first = -1;
    // A seed's signal is set between the forward run and the walk, when nothing of the walk lives yet.
    if (d_.seeded(v)) b.first = walk0_ - 1;
    if (v == q_.until || contains(q_.keep_signals, v)) b.last = plan_.end;
    b = b.first < 0 ? Buffer{} : Buffer{not_planned, buffer_bytes(g_, v, batch_), b.first, std::max(b.first, b.last)};
    for (std::int32_t c = 0; c < q_.channels; ++c) signal(v, c) = b;
  }

  Draft& d_;
  const Graph& g_;
  const PlanRequest& q_;
  Plan& plan_;
  std::size_t batch_, reference_batch_;
  std::int32_t walk0_ = 0;
};

}  // namespace

void set_lifetimes(Draft& d) noexcept {
  for (Id v = 0; v < d.graph.values.size(); ++v) d.plan.values[v].memory_of = v;
  LifetimePass pass(d);
  pass.set_times();
  for (std::size_t i = 0; i < d.graph.nodes.size(); ++i) {
    if (d.plan.nodes[i].needed) pass.set_aux(i);
    if (d.plan.nodes[i].runs()) pass.set_result(i);
  }
  if (d.walk()) pass.set_signals();
}

}  // namespace vitrine::planning
