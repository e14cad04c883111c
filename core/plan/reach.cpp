// Which nodes run, which nodes a signal passes, and whether their rules accept them.
//
//   request: keep_values = {b}, until = x, seeds = {b}
//
//     x -> [conv] -> a -> [relu] -> b          conv, relu: needed, walked
//                    a -> [fc]   -> c          fc: nothing requested depends on it, so it is skipped
//
// Preconditions: none; this is the first pass. All other passes read `needed`, `watched`, `walked` and `wanted`.
#include <algorithm>

#include "core/plan/passes.h"

namespace vitrine::planning {

bool contains(std::span<const Id> ids, Id v) noexcept { return std::find(ids.begin(), ids.end(), v) != ids.end(); }

bool Draft::seeded(Id v) const noexcept {
  return request.seeds.empty() ? v == graph.output : contains(request.seeds, v);
}

bool Draft::keeps(Id v) const noexcept { return v == graph.output || contains(request.keep_values, v); }

bool Draft::signal_seen(Id v) const noexcept {
  return v == request.until || contains(request.seeds, v) || contains(request.keep_signals, v) || made_watched(v);
}

bool Draft::made_watched(Id v) const noexcept {
  const Id producer = graph.values[v].producer;
  return producer != no_id && plan.nodes[producer].watched;
}

Draft::Readers Draft::readers(Id v) const noexcept {
  Readers r;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    if (plan.nodes[i].needed && contains(graph.nodes[i].in, v)) ++r.count, r.last = i;
  return r;
}

namespace {

// What is requested or watched, and from there back everything that it is made of.
void find_needed(Draft& d) noexcept {
  const PlanRequest& q = d.request;
  const Graph& g = d.graph;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const Id out = g.nodes[i].out;
    NodePlan& node = d.plan.nodes[i];
    node.watched = q.observer != nullptr && q.observer->watches(static_cast<Id>(i));
    if (node.watched || (q.seeds.empty() && out == g.output) || out == q.until || contains(q.seeds, out) ||
        contains(q.keep_values, out) || contains(q.keep_signals, out))
      node.needed = true;
    if (!node.needed) continue;
    for (const Id v : g.nodes[i].in)
      if (g.values[v].producer != no_id) d.plan.nodes[g.values[v].producer].needed = true;
  }
}

// A signal is wanted at `until`, at trainable parameters, and at everything computed from them.
void find_wanted(Draft& d) noexcept {
  const PlanRequest& q = d.request;
  std::span<ValuePlan> values = d.plan.values;
  if (q.until != no_id) values[q.until].wanted = true;
  for (const Node& node : d.graph.nodes) {
    bool want = values[node.out].wanted;
    for (const Id v : node.in) want = want || values[v].wanted;
    if (q.parameter_gradients)
      for (const Id p : node.par) want = want || d.graph.values[p].trainable;
    values[node.out].wanted = want;
  }
}

// A node is walked if a signal arrives at its output (from a seed, or from a walked node that reads it), and is wanted
// there and beyond. The walk ends at `until`: the node that made it is not walked.
void find_walked(Draft& d) noexcept {
  const PlanRequest& q = d.request;
  const Graph& g = d.graph;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const Id out = g.nodes[i].out;
    bool arrives = d.seeded(out);
    for (std::size_t j = i + 1; j < g.nodes.size() && !arrives; ++j)
      arrives = d.plan.nodes[j].walked && contains(g.nodes[j].in, out);
    bool beyond = q.parameter_gradients;
    for (const Id v : g.nodes[i].in) beyond = beyond || d.plan.values[v].wanted;
    d.plan.nodes[i].walked = arrives && d.plan.values[out].wanted && beyond && out != q.until;
  }
}

// A rule that is missing, or refuses its op, is known before anything runs.
Status check_rules(const Draft& d) noexcept {
  for (std::size_t i = 0; i < d.graph.nodes.size(); ++i) {
    if (!d.plan.nodes[i].walked) continue;
    const Node& node = d.graph.nodes[i];
    const Rule* const rule = d.request.rules[i];
    const char* const why = rule == nullptr ? "has no rule" : rule->refuses(*node.op);
    if (why == nullptr) continue;
    if (d.ctx.failure != nullptr) *d.ctx.failure = {Status::no_rule, node.name, why, {}, {}, 0};
    return Status::no_rule;
  }
  return Status::ok;
}

}  // namespace

Status reach(Draft& d) noexcept {
  find_needed(d);
  if (!d.walk()) return Status::ok;
  find_wanted(d);
  find_walked(d);
  return check_rules(d);
}

}  // namespace vitrine::planning
