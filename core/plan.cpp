#include "core/plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/run.h"

namespace vitrine {
namespace {

struct Buffer {
  std::size_t bytes;
  std::int32_t first, last;  // times at which it is in use, both included
  std::size_t* offset;
};

constexpr std::size_t aligned(std::size_t bytes) noexcept {
  return (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
}

// Largest first, each into the lowest gap among the buffers already placed that live at the same time.
std::size_t place(std::span<Buffer> buffers) noexcept {
  std::sort(buffers.begin(), buffers.end(), [](const Buffer& a, const Buffer& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.first != b.first ? a.first < b.first : a.offset < b.offset;
  });
  std::size_t total = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    Buffer& b = buffers[i];
    std::size_t at = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t j = 0; j < i; ++j) {
        const Buffer& o = buffers[j];
        if (o.last < b.first || b.last < o.first || at + b.bytes <= *o.offset || *o.offset + o.bytes <= at) continue;
        at = *o.offset + o.bytes;
        moved = true;
      }
    }
    *b.offset = at;
    total = std::max(total, at + b.bytes);
  }
  return total;
}

template <class T>
bool take(Arena& book, std::size_t n, T fill, std::span<T>& out) noexcept {
  T* p = book.array<T>(n);
  if (p == nullptr) return false;
  out = {p, n};
  std::fill(out.begin(), out.end(), fill);
  return true;
}

bool contains(std::span<const Id> ids, Id v) noexcept { return std::find(ids.begin(), ids.end(), v) != ids.end(); }

// Which nodes must run: what is asked for, and from there back all that it is made of.
void find_needed(const PlanRequest& q, Plan& plan) noexcept {
  const Graph& g = *q.graph;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const Id out = g.nodes[i].out;
    if (q.observer != nullptr || (q.seeds.empty() && out == g.output) || out == q.until || contains(q.seeds, out) ||
        contains(q.keep_values, out) || contains(q.keep_signals, out))
      plan.needed[i] = true;
    if (!plan.needed[i]) continue;
    for (const Id v : g.nodes[i].in)
      if (g.values[v].producer != no_id) plan.needed[g.values[v].producer] = true;
  }
}

// Which values' signals are wanted, and which nodes a signal passes.
void find_path(const PlanRequest& q, Plan& plan) noexcept {
  const Graph& g = *q.graph;
  if (q.until != no_id) plan.wanted[q.until] = true;
  for (const Node& node : g.nodes) {
    bool want = plan.wanted[node.out];
    for (const Id v : node.in) want = want || plan.wanted[v];
    if (q.parameter_gradients)
      for (const Id p : node.par) want = want || g.values[p].trainable;
    plan.wanted[node.out] = want;
  }
  // A signal arrives at a value from a seed or from a walked node that reads it. `walked` doubles as the record of it.
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const Id out = g.nodes[i].out;
    bool arrives = q.seeds.empty() ? out == g.output : contains(q.seeds, out);
    for (std::size_t j = i + 1; j < g.nodes.size() && !arrives; ++j)
      arrives = plan.walked[j] && contains(g.nodes[j].in, out);
    // The walk ends at `until`: the node that made it is not asked to go on.
    bool before = q.parameter_gradients;
    for (const Id v : g.nodes[i].in) before = before || plan.wanted[v];
    plan.walked[i] = arrives && plan.wanted[out] && before && out != q.until;
  }
}

bool is_kept(const PlanRequest& q, Id v) noexcept { return v == q.graph->output || contains(q.keep_values, v); }

// Whether anything reads v from node i on, other than i's own finish.
bool read_from(const Graph& g, const Plan& plan, Id v, std::int32_t i) noexcept {
  for (auto k = static_cast<std::size_t>(i); k < g.nodes.size(); ++k) {
    if (!plan.runs(k)) continue;
    if (contains(g.nodes[k].in, v) || (plan.fused[k].residual == v && k != static_cast<std::size_t>(i))) return true;
  }
  return false;
}

// Sums and ReLUs that the node before them does along the way. `passing(value, reader)`: nobody but this node reads it.
template <class F>
void find_fusions(const PlanRequest& q, Plan& plan, F passing) noexcept {
  const Graph& g = *q.graph;
  if (q.observer != nullptr) return;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    if (!plan.needed[i] || !g.nodes[i].op->finishes()) continue;
    Fusion& f = plan.fused[i];
    for (Id v = g.nodes[i].out; v != no_id && !f.relu;) {
      std::size_t reads = 0, j = 0;
      for (std::size_t k = i + 1; k < g.nodes.size(); ++k) {
        const auto in = g.nodes[k].in;
        if (!plan.needed[k] || !contains(in, v)) continue;
        reads += static_cast<std::size_t>(std::count(in.begin(), in.end(), v));
        j = k;
      }
      if (reads != 1 || !passing(v, static_cast<std::int32_t>(j))) break;
      const Node& next = g.nodes[j];
      const Op::Finishing what = next.op->finishing();
      if (what == Op::Finishing::sum && next.in.size() == 2 && f.residual == no_id) {
        const Id other = next.in[next.in[0] == v ? 1 : 0], producer = g.values[other].producer;
        if (producer != no_id && producer > i) break;  // not there yet
        f.residual = other;
      } else if (what == Op::Finishing::relu) {
        f.relu = true;
      } else {
        break;
      }
      plan.fused[j].absorbed = true;
      f.result = v = next.out;
    }
  }
}

// Nodes that need no step of their own: those that pass the signal on unchanged, and ReLUs whose derivative the route
// after them takes along: the winners that are positive are those whose result is, so the larger map before the route
// need not be kept, nor passed over.
void find_carried(const PlanRequest& q, Plan& plan) noexcept {
  const Graph& g = *q.graph;
  for (Id v = 0; v < g.values.size(); ++v) plan.carried[v] = v;
  if (q.rules.empty() || q.reference || q.observer != nullptr || q.channels > 1 || q.ledger) return;
  const auto plain = [&](std::size_t i) { return plan.walked[i] && q.rules[i]->derivative(); };
  const auto seen = [&](Id v) { return v == q.until || contains(q.seeds, v) || contains(q.keep_signals, v); };
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const Id v = g.nodes[i].out;
    if (!plan.walked[i] || seen(v) || v == g.output) continue;
    if (q.rules[i]->passes(*g.nodes[i].op)) {
      plan.carried[v] = plan.carried[g.nodes[i].in[0]];
      plan.walked[i] = false;
      continue;
    }
    if (!plain(i) || g.nodes[i].op->finishing() != Op::Finishing::relu) continue;
    std::size_t reads = 0, reader = 0;
    for (std::size_t j = i + 1; j < g.nodes.size(); ++j)
      if (plan.needed[j] && contains(g.nodes[j].in, v)) ++reads, reader = j;
    if (reads != 1 || g.nodes[reader].op->klass() != OpClass::route || !plain(reader) || seen(g.nodes[reader].out))
      continue;
    plan.rectifier[reader] = static_cast<Id>(i);
    plan.carried[v] = plan.carried[g.nodes[i].in[0]];
    plan.walked[i] = false;
  }
}

// Signals that take the place of the signal they are made of, element by element. Those of a sum's two terms are one
// and the same: the term that is walked first must be read alone, and out of its place; the other's further readers add
// to it only after that. `busy` (a value) is working memory.
void find_shares(const PlanRequest& q, Plan& plan, bool* busy) noexcept {
  const Graph& g = *q.graph;
  for (Id v = 0; v < g.values.size(); ++v) plan.shares[v] = v, busy[v] = false;
  if (q.rules.empty() || q.reference || q.observer != nullptr || q.channels > 1 || q.ledger) return;
  // The last and, but for that, the last node that writes the signal of v, in the order of the network; -1: none.
  const auto writers = [&](Id v) {
    std::pair<std::int32_t, std::int32_t> last{-1, -1};
    for (std::size_t i = 0; i < g.nodes.size(); ++i)
      for (std::size_t k = 0; plan.walked[i] && k < g.nodes[i].in.size(); ++k)
        if (plan.target(i, k) == v) last = {static_cast<std::int32_t>(i), last.first};
    return last;
  };
  const auto seen = [&](Id v) {
    return v == q.until || v == g.output || contains(q.seeds, v) || contains(q.keep_signals, v);
  };
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const Node& node = g.nodes[i];
    if (!plan.walked[i] || !q.rules[i]->derivative() || !node.op->vjp_in_place() || seen(node.out) || busy[node.out])
      continue;
    // Which inputs' signals no node has written before this one in the walk.
    const auto first = [&](Id v) {
      return plan.wanted[v] && plan.carried[v] == v && !seen(v) && plan.innermost[v] == plan.innermost[node.out] &&
             writers(v).first == static_cast<std::int32_t>(i);
    };
    const auto made = [&](Id v) {
      return g.values[v].producer != no_id ? static_cast<std::int32_t>(g.values[v].producer) : -1;
    };
    if (node.in.size() == 1) {
      if (first(node.in[0])) plan.shares[node.in[0]] = plan.shares[node.out];
    } else if (node.in.size() == 2 && node.in[0] != node.in[1]) {
      const bool swapped = made(node.in[0]) > made(node.in[1]);
      const Id early = node.in[swapped ? 1 : 0], late = node.in[swapped ? 0 : 1];
      // A node that does a ReLU's step, too, writes in its place first.
      const bool alone = first(late) && writers(late).second < 0 && plan.rectifier[g.values[late].producer] == no_id;
      if (alone) plan.shares[late] = plan.shares[node.out];
      if (first(early) && (!alone || writers(early).second < made(late))) {
        plan.shares[early] = plan.shares[node.out];
        busy[late] = alone;
      }
    }
  }
}

// Nodes before a ReLU behind which no signal arrives where it gave 0: their step reads the ReLU's result for their own,
// which differs from it only there. `vanishes` (a value) is working memory.
void find_shown(const PlanRequest& q, Plan& plan, bool* vanishes) noexcept {
  const Graph& g = *q.graph;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) plan.shown[i] = g.nodes[i].out;
  if (q.rules.empty() || q.reference || q.observer != nullptr) return;
  for (Id v = 0; v < g.values.size(); ++v) vanishes[v] = q.seeds.empty() ? v != g.output : !contains(q.seeds, v);
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const Node& node = g.nodes[i];
    if (!plan.walked[i]) continue;
    const bool here = q.rules[i]->vanishes(*node.op, vanishes[node.out]);
    for (const Id v : node.in) vanishes[v] = vanishes[v] && here;
  }
  for (std::size_t j = 0; j < g.nodes.size(); ++j) {
    const Node& relu = g.nodes[j];
    const Id v = relu.in[0], producer = g.values[v].producer;
    if (!plan.walked[j] || relu.op->finishing() != Op::Finishing::relu || !vanishes[v]) continue;
    std::size_t reads = 0;
    for (std::size_t k = 0; k < g.nodes.size(); ++k) reads += plan.needed[k] && contains(g.nodes[k].in, v) ? 1 : 0;
    if (reads == 1 && !is_kept(q, v) && producer != no_id && g.nodes[producer].op->klass() == OpClass::affine)
      plan.shown[producer] = relu.out;
  }
}

// Which values lie with images innermost: what convolutions give that way, and on through ops that keep it, as far as
// every reader takes it. Runs that are watched or have a reference do without, and nobody outside reads them.
void find_innermost(const PlanRequest& q, const Context& ctx, Plan& plan) noexcept {
  const Graph& g = *q.graph;
  if (q.reference || q.observer != nullptr || q.channels > 1 || ctx->takes_interleaved == nullptr) return;
  for (std::size_t i = 0; i < plan.walked.size(); ++i)
    if (plan.walked[i] && !q.rules[i]->any_layout()) return;
  plan.lanes = ctx->lanes;
  const auto manner = [&](const Node& node) { return node.op->layouts(ctx, g.shape(node.in[0]), g.shape(node.out)); };
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& node = g.nodes[i];
    if (!plan.needed[i] || is_kept(q, node.out) || node.out == q.until || contains(q.seeds, node.out) ||
        contains(q.keep_signals, node.out))
      continue;
    const Layouts m = manner(node);
    plan.innermost[node.out] = m == Layouts::both || (m != Layouts::planar && plan.innermost[node.in[0]]);
  }
  for (bool changed = true; changed;) {
    changed = false;
    const auto give_up = [&](Id v) {
      changed = changed || plan.innermost[v];
      plan.innermost[v] = false;
    };
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      const Node& node = g.nodes[i];
      if (!plan.needed[i]) continue;
      const Layouts m = manner(node);
      bool all = true;
      for (const Id v : node.in) all = all && plan.innermost[v];
      if (m == Layouts::planar || (m == Layouts::same && !(all && plan.innermost[node.out])))
        for (const Id v : node.in) give_up(v);
      if (!all && (m == Layouts::same || m == Layouts::follows)) give_up(node.out);
    }
  }
}

// Nodes: a value's last reader in a run, the first whose step in the walk reads it.
struct Reads {
  std::int32_t forward, walk, reference, reference_walk;
};

// Cuts the network where little crosses, so that what crosses and the largest segment's own values together are least:
// about the square root of all. Writes the first node of each segment, and returns their number.
std::size_t find_segments(const PlanRequest& q, const Plan& plan, const Reads* reads, const Need* needs, std::int32_t n,
                          std::int32_t* first_nodes) noexcept {
  const Graph& g = *q.graph;
  const auto bytes = [&](Id v) { return static_cast<double>(g.shape(v).size()) * sizeof(real); };
  // What the walk reads of node i's work.
  const auto kept = [&](std::int32_t node) {
    const auto i = static_cast<std::size_t>(node);
    if (!plan.runs(i)) return 0.0;
    return (reads[plan.result(i)].walk < n ? bytes(plan.result(i)) : 0) +
           (needs[i].aux ? static_cast<double>(g.nodes[i].aux_bytes) : 0);
  };
  // What later nodes read across a cut before node p; infinite where it would part a node from one that does its work.
  const auto crossing = [&](std::int32_t p) {
    double sum = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(p); ++i) {
      if (!plan.runs(i)) continue;
      const Id v = plan.result(i);
      if (static_cast<std::int32_t>(g.values[v].producer) >= p) return std::numeric_limits<double>::infinity();
      if (reads[v].forward >= p) sum += bytes(v);
    }
    return sum;
  };
  double all = 0;
  for (std::int32_t i = 0; i < n; ++i) all += kept(i);
  // With a limit on a segment's own values: as many nodes as fit, cut at the cheapest place in their second half.
  const auto cut = [&](double limit, std::int32_t* firsts) {
    std::size_t count = 1;
    if (firsts != nullptr) firsts[0] = 0;
    double across = 0, largest = 0, here = 0;
    for (std::int32_t i = 0, start = 0; i < n; ++i) {
      here += kept(i);
      if (here <= limit) continue;
      std::int32_t best = -1;
      double least = std::numeric_limits<double>::infinity();
      for (std::int32_t p = start + (i - start) / 2 + 1; p <= i; ++p)
        if (const double c = crossing(p); c <= least && c < std::numeric_limits<double>::infinity())
          best = p, least = c;
      if (best < 0) continue;
      if (firsts != nullptr) firsts[count] = best;
      ++count;
      across += least;
      double own = 0;
      for (std::int32_t j = start; j < best; ++j) own += kept(j);
      largest = std::max(largest, own);
      here -= own;
      start = best;
    }
    return std::pair<std::size_t, double>{count, across + std::max(largest, here)};
  };
  double best = all, limit = 0;
  for (int parts = 2; parts <= 32; ++parts)
    if (const double cost = cut(all / parts, nullptr).second; cost < best) best = cost, limit = all / parts;
  return limit > 0 ? cut(limit, first_nodes).first : 1;
}

}  // namespace

Status check_rules(const PlanRequest& q, const Plan& plan, Failure* failure) noexcept {
  for (std::size_t i = 0; i < plan.walked.size(); ++i) {
    if (!plan.walked[i]) continue;
    const Node& node = q.graph->nodes[i];
    const char* why = q.rules[i] == nullptr ? "has no rule" : q.rules[i]->refuses(*node.op);
    if (why == nullptr) continue;
    if (failure != nullptr) *failure = {Status::no_rule, node.name, why, {}, {}, 0};
    return Status::no_rule;
  }
  return Status::ok;
}

Status make_plan(const PlanRequest& q, const Context& ctx, Arena& book, Plan& plan) noexcept {
  const Graph& g = *q.graph;
  const std::size_t nodes = g.nodes.size(), values = g.values.size();
  const bool walk = !q.rules.empty();
  const auto channels = static_cast<std::size_t>(q.channels);
  plan = {};
  plan.request = q;
  if (q.one_reference && (!q.reference || q.observer != nullptr))
    return ctx.fail(Status::bad_argument, "one reference for all images needs a reference run that nothing watches");
  if (walk && q.rules.size() != nodes) return ctx.fail(Status::bad_argument, "a plan needs one rule a node");
  if (q.updater != nullptr) {
    for (Id p = 0; p < values; ++p) {
      std::ptrdiff_t readers = 0;
      for (const Node& node : g.nodes) readers += std::count(node.par.begin(), node.par.end(), p);
      if (readers > 1)
        return ctx.fail(
            Status::bad_argument,
            "a parameter that two nodes read has its gradient after the walk alone, so none can be taken within it");
    }
  }
  if (!take(book, values, not_planned, plan.values) || !take(book, values, not_planned, plan.reference_values) ||
      !take(book, values * channels, not_planned, plan.signals) || !take(book, nodes, not_planned, plan.aux) ||
      !take(book, nodes, not_planned, plan.reference_aux) || !take(book, nodes, Fusion{}, plan.fused) ||
      !take(book, nodes, no_id, plan.rectifier) || !take(book, nodes, no_id, plan.shown) ||
      !take(book, values, no_id, plan.shares) || !take(book, values, no_id, plan.carried) ||
      !take(book, nodes, false, plan.again) || !take(book, values, false, plan.innermost) ||
      !take(book, q.recompute ? nodes + 1 : 1, 0, plan.segments) || !take(book, nodes, false, plan.needed) ||
      !take(book, nodes, false, plan.walked) || !take(book, values, false, plan.wanted))
    return ctx.fail(Status::out_of_arena, "the plan's arrays do not fit");
  if (q.recompute) {
    if (!walk || q.reference || q.observer != nullptr)
      return ctx.fail(Status::bad_argument,
                      q.observer != nullptr
                          ? "what watches a run sees every value, so none can be dropped and computed again"
                          : "only a walk without a reference computes values again");
    if (!take(book, values, not_planned, plan.again_values) || !take(book, nodes, not_planned, plan.again_aux))
      return ctx.fail(Status::out_of_arena, "the plan's arrays do not fit");
  }
  find_needed(q, plan);
  if (walk) {
    find_path(q, plan);
    VITRINE_TRY(check_rules(q, plan, ctx.failure));
  }

  const std::size_t working = book.mark();
  Buffer* const buffers = book.array<Buffer>(3 * (values + nodes) + values * channels);
  Reads* const reads = book.array<Reads>(values);
  Need* const needs = book.array<Need>(nodes);
  Buffer** const own = book.array<Buffer*>(values);
  bool* const flags = book.array<bool>(values);
  std::int32_t *const walk_at = book.array<std::int32_t>(nodes), *const again_at = book.array<std::int32_t>(nodes);
  if (buffers == nullptr || reads == nullptr || needs == nullptr || own == nullptr || flags == nullptr ||
      walk_at == nullptr || again_at == nullptr)
    return ctx.fail(Status::out_of_arena, "the plan's working memory does not fit");
  std::fill(needs, needs + nodes, Need{});
  find_shown(q, plan, flags);
  find_carried(q, plan);
  std::size_t count = 0;
  const auto n = static_cast<std::int32_t>(nodes);
  const auto batch = static_cast<std::size_t>(q.batch);
  const std::size_t reference_batch = q.one_reference ? 1 : batch;
  const auto value_bytes = [&](Id v, std::size_t images) {
    return aligned(images * static_cast<std::size_t>(g.shape(v).size()) * sizeof(real));
  };

  // Who reads a value last: the forward run's last reader, and the first node whose step in the walk reads it (n: none
  // does).
  std::fill(reads, reads + values, Reads{-1, n, -1, n});
  for (std::int32_t i = 0; i < n; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const Node& node = g.nodes[k];
    if (!plan.needed[k]) continue;
    if (walk && plan.walked[k]) needs[k] = q.rules[k]->needs(*node.op);
    if (plan.rectifier[k] != no_id) needs[k].out = true;
    const bool both = walk && plan.walked[k] && q.rules[k]->needs_reference();
    const auto read = [&](Id v, bool in_run, bool in_walk) {
      Reads& r = reads[v];
      if (in_run) r.forward = r.reference = i;
      if (in_walk) r.walk = std::min(r.walk, i);
      if (in_walk && both) r.reference_walk = std::min(r.reference_walk, i);
    };
    for (const Id v : node.in) read(v, true, needs[k].in);
    read(node.out, true, false);
    read(plan.shown[k], false, needs[k].out);
  }
  find_innermost(q, ctx, plan);
  find_shares(q, plan, flags);
  find_fusions(q, plan, [&](Id v, std::int32_t reader) {
    return !is_kept(q, v) && reads[v].forward == reader && reads[v].walk == n &&
           (!q.reference || (reads[v].reference == reader && reads[v].reference_walk == n));
  });

  // Segments, and what runs again in them: whose result only its own segment reads, if the walk or another that runs
  // again needs it.
  plan.segments = plan.segments.first(q.recompute ? find_segments(q, plan, reads, needs, n, plan.segments.data()) : 1);
  const std::size_t segments = plan.segments.size();
  const auto segment_of = [&](std::int32_t i) {
    std::size_t s = 0;
    while (s + 1 < segments && plan.segments[s + 1] <= i) ++s;
    return s;
  };
  for (std::size_t i = nodes; segments > 1 && i-- > 0;) {
    const std::size_t s = segment_of(static_cast<std::int32_t>(i));
    const Id v = plan.result(i);
    if (!plan.runs(i) || s + 1 == segments || is_kept(q, v) || segment_of(reads[v].forward) != s) continue;
    bool wanted = reads[v].walk < n || needs[i].aux;
    for (std::size_t j = i + 1; j < nodes && !wanted; ++j)
      wanted = plan.again[j] && (contains(g.nodes[j].in, v) || plan.fused[j].residual == v);
    plan.again[i] = wanted;
  }

  // Times: the reference run, the run, the walk, each node one tick. Before the walk passes a segment it runs again.
  const std::int32_t forward0 = q.reference ? n : 0, walk0 = forward0 + n;
  std::int32_t end = walk0;
  for (std::size_t s = segments; s-- > 0;) {
    const std::int32_t first = plan.segments[s], last = s + 1 < segments ? plan.segments[s + 1] : n;
    for (std::int32_t i = first; i < last && s + 1 < segments; ++i) again_at[i] = end++;
    for (std::int32_t i = last; i-- > first;) walk_at[i] = end++;
  }
  const auto forward_time = [&](std::int32_t node) { return forward0 + node; };
  const auto walk_time = [&](std::int32_t node) { return walk_at[node]; };
  // What the walk's step of a node reads of the reference run; where that lasts, the next run's walk reads it too.
  const auto reference_end = [&](std::int32_t node) { return q.one_reference ? end : walk_time(node); };
  // The last time in the walk at which a value is read.
  const auto read_in_walk = [&](Id v) {
    std::int32_t last = reads[v].walk < n ? walk_time(reads[v].walk) : -1;
    for (std::size_t j = 0; segments > 1 && j < nodes; ++j)
      if (plan.again[j] && (contains(g.nodes[j].in, v) || plan.fused[j].residual == v))
        last = std::max(last, again_at[j]);
    return last;
  };

  // The buffer of each value; a fused sum takes that of its residual where nothing reads that any more.
  std::fill(own, own + values, nullptr);
  for (std::int32_t i = 0; i < n; ++i) {
    const auto k = static_cast<std::size_t>(i);
    if (!plan.needed[k]) continue;
    if (const std::size_t bytes = aligned(batch * g.nodes[k].aux_bytes); bytes > 0) {
      const bool again = plan.again[k];
      buffers[count++] = {bytes, forward_time(i), needs[k].aux && !again ? walk_time(i) : forward_time(i),
                          &plan.aux[k]};
      if (again) buffers[count++] = {bytes, again_at[k], needs[k].aux ? walk_time(i) : again_at[k], &plan.again_aux[k]};
      if (q.reference)
        buffers[count++] = {aligned(reference_batch * g.nodes[k].aux_bytes), i,
                            needs[k].aux && q.rules[k]->needs_reference() ? reference_end(i) : i,
                            &plan.reference_aux[k]};
    }
    if (plan.fused[k].absorbed) continue;
    const Id v = plan.result(k), r = plan.fused[k].residual;
    const std::int32_t in_walk = read_in_walk(v);
    const std::int32_t last = is_kept(q, v)   ? end
                              : plan.again[k] ? forward_time(reads[v].forward)
                                              : std::max(forward_time(reads[v].forward), in_walk);
    if (r != no_id && own[r] != nullptr && !q.reference && segments == 1 && !is_kept(q, r) && reads[r].walk == n &&
        !read_from(g, plan, r, i)) {
      own[v] = own[r];
      own[v]->last = std::max(own[v]->last, last);
      continue;
    }
    own[v] = &buffers[count++];
    *own[v] = {value_bytes(v, batch), forward_time(i), last, &plan.values[v]};
    if (plan.again[k])
      buffers[count++] = {value_bytes(v, batch), again_at[k], std::max(again_at[k], in_walk), &plan.again_values[v]};
    if (q.reference)
      buffers[count++] = {value_bytes(v, reference_batch), i,
                          is_kept(q, v)                 ? end
                          : reads[v].reference_walk < n ? reference_end(reads[v].reference_walk)
                                                        : reads[v].reference,
                          &plan.reference_values[v]};
  }
  if (walk) {
    std::fill(own, own + values, nullptr);
    const auto times = [&](Id v) {
      const bool seed = q.seeds.empty() ? v == g.output : contains(q.seeds, v);
      std::int32_t first = seed ? walk0 : -1, last = -1;
      for (std::int32_t i = n; i-- > 0;) {
        const auto k = static_cast<std::size_t>(i);
        if (!plan.walked[k]) continue;
        for (std::size_t j = 0; j < g.nodes[k].in.size() && first < 0; ++j)
          if (plan.wanted[v] && plan.target(k, j) == v) first = walk_time(i);
        if (g.nodes[k].out == v) last = walk_time(i);
      }
      if (v == q.until || contains(q.keep_signals, v)) last = end;
      // A seed's signal is set between the forward run and the walk, when nothing of the walk lives yet.
      if (seed) first = walk0 - 1;
      return std::pair<std::int32_t, std::int32_t>{first, std::max(first, last)};
    };
    for (Id v = 0; v < values; ++v) {
      const auto [first, last] = times(v);
      if (first < 0 || plan.shares[v] != v) continue;
      own[v] = &buffers[count];
      for (std::size_t c = 0; c < channels; ++c)
        buffers[count++] = {value_bytes(v, batch), first, last, &plan.signals[v * channels + c]};
    }
    // Only single signals are shared.
    for (Id v = 0; v < values; ++v)
      if (plan.shares[v] != v) own[plan.shares[v]]->last = std::max(own[plan.shares[v]]->last, times(v).second);
  }
  plan.planned_bytes = place({buffers, count});
  for (const Fusion& fused : plan.fused)
    if (fused.result != no_id && plan.values[fused.result] == not_planned)
      plan.values[fused.result] = plan.values[fused.residual];
  for (Id v = 0; v < values && channels == 1; ++v) plan.signals[v] = plan.signals[plan.shares[v]];
  book.rewind(working);
  return measure_scratch(ctx, book, plan);
}

}  // namespace vitrine
