#include "core/plan.h"

#include <algorithm>

#include "core/run.h"

namespace vitrine {
namespace {

struct Buffer {
  std::size_t bytes;
  std::int32_t first, last;  // times at which it is in use, both included
  std::size_t* offset;
};

constexpr std::size_t aligned(std::size_t bytes) noexcept { return (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment; }

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
    if (q.observer != nullptr || (q.seeds.empty() && out == g.output) || out == q.until || contains(q.seeds, out) || contains(q.keep_values, out) ||
        contains(q.keep_signals, out))
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
    for (std::size_t j = i + 1; j < g.nodes.size() && !arrives; ++j) arrives = plan.walked[j] && contains(g.nodes[j].in, out);
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
    if (!plan.needed[k] || plan.fused[k].absorbed) continue;
    if (contains(g.nodes[k].in, v) || (plan.fused[k].residual == v && k != static_cast<std::size_t>(i))) return true;
  }
  return false;
}

// Sums and ReLUs that the convolution before them does along the way. `passing(value, reader)`: nobody but this node reads it.
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
  if (walk && q.rules.size() != nodes) return ctx.fail(Status::bad_argument, "a plan needs one rule a node");
  if (!take(book, values, not_planned, plan.values) || !take(book, values, not_planned, plan.reference_values) ||
      !take(book, values * channels, not_planned, plan.signals) || !take(book, nodes, not_planned, plan.aux) ||
      !take(book, nodes, not_planned, plan.reference_aux) || !take(book, nodes, Fusion{}, plan.fused) || !take(book, nodes, false, plan.needed) || !take(book, nodes, false, plan.walked) ||
      !take(book, values, false, plan.wanted))
    return ctx.fail(Status::out_of_arena, "the plan's arrays do not fit");
  find_needed(q, plan);
  if (walk) {
    find_path(q, plan);
    VITRINE_TRY(check_rules(q, plan, ctx.failure));
  }

  const std::size_t working = book.mark();
  Buffer* const buffers = book.array<Buffer>(2 * (values + nodes) + values * channels);
  std::int32_t* const last_read = book.array<std::int32_t>(2 * values);
  if (buffers == nullptr || last_read == nullptr) return ctx.fail(Status::out_of_arena, "the plan's working memory does not fit");
  std::size_t count = 0;
  const auto n = static_cast<std::int32_t>(nodes);
  const auto batch = static_cast<std::size_t>(q.batch);
  const auto value_bytes = [&](Id v) { return aligned(batch * static_cast<std::size_t>(g.shape(v).size()) * sizeof(real)); };

  // Times: the reference run, the run, the walk, each node one tick.
  const std::int32_t forward0 = q.reference ? n : 0, walk0 = forward0 + n, end = walk0 + n;
  const auto forward_time = [&](std::int32_t node) { return forward0 + node; };
  const auto walk_time = [&](std::int32_t node) { return walk0 + n - 1 - node; };

  std::int32_t* const reference_last = last_read + values;
  std::fill(last_read, last_read + 2 * values, -1);
  for (std::int32_t i = 0; i < n; ++i) {
    const Node& node = g.nodes[static_cast<std::size_t>(i)];
    if (!plan.needed[static_cast<std::size_t>(i)]) continue;
    const bool walked = walk && plan.walked[static_cast<std::size_t>(i)];
    const Need need = walked ? q.rules[static_cast<std::size_t>(i)]->needs(*node.op) : Need{};
    const bool both = walked && q.rules[static_cast<std::size_t>(i)]->needs_reference();
    for (const Id v : node.in) {
      last_read[v] = std::max(last_read[v], need.in ? walk_time(i) : forward_time(i));
      reference_last[v] = std::max(reference_last[v], need.in && both ? walk_time(i) : i);
    }
    last_read[node.out] = std::max(last_read[node.out], need.out ? walk_time(i) : forward_time(i));
    reference_last[node.out] = std::max(reference_last[node.out], need.out && both ? walk_time(i) : i);
    if (node.aux_bytes > 0) {
      const std::size_t bytes = aligned(batch * node.aux_bytes);
      const auto k = static_cast<std::size_t>(i);
      buffers[count++] = {bytes, forward_time(i), need.aux ? walk_time(i) : forward_time(i), &plan.aux[k]};
      if (q.reference) buffers[count++] = {bytes, i, need.aux && both ? walk_time(i) : i, &plan.reference_aux[k]};
    }
  }
  find_fusions(q, plan, [&](Id v, std::int32_t reader) {
    return !is_kept(q, v) && last_read[v] == forward_time(reader) && (!q.reference || reference_last[v] == reader);
  });
  // The buffer of each value; a fused sum takes that of its residual where nothing reads that any more.
  Buffer** const own = book.array<Buffer*>(values);
  if (own == nullptr) return ctx.fail(Status::out_of_arena, "the plan's working memory does not fit");
  std::fill(own, own + values, nullptr);
  for (std::int32_t i = 0; i < n; ++i) {
    const Fusion& fused = plan.fused[static_cast<std::size_t>(i)];
    if (!plan.needed[static_cast<std::size_t>(i)] || fused.absorbed) continue;
    const Id v = fused.result != no_id ? fused.result : g.nodes[static_cast<std::size_t>(i)].out, r = fused.residual;
    const std::int32_t last = is_kept(q, v) ? end : last_read[v];
    if (r != no_id && own[r] != nullptr && !q.reference && !is_kept(q, r) && last_read[r] < walk0 && !read_from(g, plan, r, i)) {
      own[v] = own[r];
      own[v]->last = std::max(own[v]->last, last);
      continue;
    }
    own[v] = &buffers[count++];
    *own[v] = {value_bytes(v), forward_time(i), last, &plan.values[v]};
    if (q.reference) buffers[count++] = {value_bytes(v), i, is_kept(q, v) ? end : reference_last[v], &plan.reference_values[v]};
  }
  if (walk) {
    for (Id v = 0; v < values; ++v) {
      const bool seed = q.seeds.empty() ? v == g.output : contains(q.seeds, v);
      std::int32_t first = seed ? walk0 : -1, last = -1;
      for (std::int32_t i = n; i-- > 0;) {
        const auto k = static_cast<std::size_t>(i);
        if (!plan.walked[k]) continue;
        if (plan.wanted[v] && contains(g.nodes[k].in, v) && first < 0) first = walk_time(i);
        if (g.nodes[k].out == v) last = walk_time(i);
      }
      if (first < 0) continue;
      if (v == q.until || contains(q.keep_signals, v)) last = end;
      // A seed's signal is set between the forward run and the walk, when nothing of the walk lives yet.
      if (seed) first = walk0 - 1;
      for (std::size_t c = 0; c < channels; ++c) buffers[count++] = {value_bytes(v), first, std::max(first, last), &plan.signals[v * channels + c]};
    }
  }
  plan.planned_bytes = place({buffers, count});
  for (const Fusion& fused : plan.fused)
    if (fused.result != no_id && plan.values[fused.result] == not_planned) plan.values[fused.result] = plan.values[fused.residual];
  book.rewind(working);
  return measure_scratch(ctx, book, plan);
}

}  // namespace vitrine
