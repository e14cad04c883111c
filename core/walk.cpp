// The walk: from the last node to the first, each node's rule turns the signal at its output into signals at its
// inputs.
#include <algorithm>

#include "core/run.h"

namespace vitrine {

struct Run::WalkState {
  std::span<bool> written;  // per value: its signal, or parameter gradient, has been written
  Ledger* ledger;
};

// What one step reads and writes.
struct Run::Operands {
  NodeIO io, reference;
  std::span<TensorView> arriving;       // one per channel
  std::span<Sink> leaving, parameters;  // leaving: channel c, input k at c * inputs + k
  StepReport report;
};

Status Run::walk_back(const Context& outer, Ledger* ledger) noexcept {
  const PlanRequest& q = plan_.request;
  const Context ctx = with_scratch(outer);
  if (q.rules.empty()) return ctx.fail(Status::bad_argument, "the plan has no walk");
  const std::size_t values = plan_.values.size();
  bool* const flags = memory_.book.array<bool>(values);
  if (flags == nullptr) return ctx.fail(Status::out_of_arena, memory_too_small);
  std::fill(flags, flags + values, false);
  if (q.seeds.empty()) flags[q.graph->output] = true;
  for (const Id seed : q.seeds) flags[seed] = true;
  WalkState state{{flags, values}, ledger};
  walking_ = q.recompute;
  const Status s = walk_segments(ctx, state);
  walking_ = false;
  return s;
}

Status Run::walk_segments(const Context& ctx, WalkState& state) noexcept {
  Context recomputation = ctx;
  recomputation.recomputing = true;
  auto end = static_cast<Id>(plan_.nodes.size());
  for (std::size_t k = plan_.segments.size(); k-- > 0;) {
    const auto begin = static_cast<Id>(plan_.segments[k]);
    for (Id i = begin; i < end; ++i)
      if (plan_.nodes[i].recomputed) VITRINE_TRY(run_node(recomputation, false, i));
    for (Id i = end; i-- > begin;)
      if (plan_.nodes[i].walked) VITRINE_TRY(ctx.blame(plan_.request.graph->nodes[i].name, step(ctx, i, state)));
    end = begin;
  }
  return Status::ok;
}

namespace {

// The mask of a ReLU before a pool, which is positive exactly where the pool's output is. Nobody reads this signal
// after the step, so it is masked in place.
void apply_folded_relu(const Context& ctx, const TensorView& y, const TensorView& s) noexcept {
  ctx.ranges(s.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    ctx->map_backward(kernels::Map::relu, {}, y.data + begin, y.data + begin, s.data + begin, s.data + begin,
                      end - begin, false);
  });
}

}  // namespace

Status Run::step(const Context& ctx, Id i, WalkState& state) noexcept {
  const PlanRequest& q = plan_.request;
  const Node& node = q.graph->nodes[i];
  const NodePlan& plan = plan_.nodes[i];
  const ArenaScope scope(memory_.scratch), book_scope(memory_.book);
  Operands o;
  VITRINE_TRY(prepare(ctx, i, state, o));
  if (plan.folded_relu != no_id) apply_folded_relu(ctx, o.io.out, o.arriving[0]);
  if (plan.watched) VITRINE_TRY(q.observer->before_step(ctx, *q.graph, i, o.arriving));
  const Step step{o.io,         q.reference ? &o.reference : nullptr,         o.arriving, o.leaving,
                  o.parameters, state.ledger != nullptr ? &o.report : nullptr};
  if (ctx.report != nullptr) ctx.report->at(i, true);
  const double start = state.ledger != nullptr ? state.ledger->now() : 0;
  VITRINE_TRY(q.rules[i]->step(ctx, *node.op, step));
  if (q.updater != nullptr) VITRINE_TRY(update_parameters(ctx, i, o));
  if (state.ledger != nullptr && i < state.ledger->lines.size())
    note(ctx, i, o, state.ledger->now() - start, state.ledger->lines[i]);
  for (std::size_t k = 0; k < node.in.size(); ++k)
    if (const Id v = plan_.target(i, k); plan_.values[v].wanted) state.written[v] = true;
  for (const Id p : node.par) state.written[p] = true;
  return Status::ok;
}

Status Run::prepare(const Context& ctx, Id i, const WalkState& state, Operands& o) noexcept {
  const PlanRequest& q = plan_.request;
  const Node& node = q.graph->nodes[i];
  const auto channels = static_cast<std::size_t>(q.channels);
  const std::size_t inputs = node.in.size(), parameters = q.parameter_gradients ? node.par.size() : 0;
  o.io = io(i, false);
  if (q.reference) o.reference = io(i, true);
  TensorView* const arriving = memory_.book.array<TensorView>(channels);
  Sink* const leaving = memory_.book.array<Sink>(channels * inputs);
  Sink* const parameter_sinks = memory_.book.array<Sink>(node.par.size());
  if (o.io.in.empty() || arriving == nullptr || leaving == nullptr || parameter_sinks == nullptr)
    return ctx.fail(Status::out_of_arena, memory_too_small);
  o.arriving = {arriving, channels};
  o.leaving = {leaving, channels * inputs};
  o.parameters = {parameter_sinks, parameters};
  for (std::size_t c = 0; c < channels; ++c) {
    arriving[c] = signal(node.out, static_cast<std::int32_t>(c));
    for (std::size_t k = 0; k < inputs; ++k) {
      const Id v = plan_.target(i, k);
      bool add = state.written[v];
      for (std::size_t j = 0; j < k; ++j) add = add || plan_.target(i, j) == v;
      VITRINE_TRY(
          make_sink(ctx, v, static_cast<std::int32_t>(c), add, state.ledger != nullptr, leaving[c * inputs + k]));
    }
  }
  for (std::size_t k = 0; k < parameters; ++k)
    VITRINE_TRY(make_parameter_sink(ctx, node.par[k], state.written[node.par[k]], parameter_sinks[k]));
  return Status::ok;
}

// The first writer of a signal overwrites it and later ones add, so fan-out sums up and nothing is cleared first.
// `alone`: the ledger wants to see the share of this step, so a later writer gets a buffer of its own.
Status Run::make_sink(const Context& ctx, Id v, std::int32_t channel, bool add, bool alone, Sink& sink) noexcept {
  sink = {};
  if (!plan_.values[v].wanted) return Status::ok;
  sink = {signal(v, channel), add};
  if (!add || !alone) return Status::ok;
  sink.data = memory_.scratch.array<real>(static_cast<std::size_t>(sink.size()));
  sink.add = false;
  return sink ? Status::ok : ctx.fail(Status::out_of_arena, memory_too_small);
}

// A parameter's gradient: in the block of all gradients, or in scratch memory until the updater has taken it.
Status Run::make_parameter_sink(const Context& ctx, Id p, bool add, Sink& sink) noexcept {
  const Value& v = plan_.request.graph->values[p];
  if (plan_.request.updater == nullptr || !v.trainable) {
    sink = {parameter_gradient(p), add};
    return Status::ok;
  }
  sink = {{memory_.scratch.array<real>(static_cast<std::size_t>(v.shape.size())), v.shape}, false};
  return sink ? Status::ok : ctx.fail(Status::out_of_arena, memory_too_small);
}

Status Run::update_parameters(const Context& ctx, Id i, const Operands& o) noexcept {
  const PlanRequest& q = plan_.request;
  for (std::size_t k = 0; k < o.parameters.size(); ++k)
    if (o.parameters[k]) VITRINE_TRY(q.updater->update(ctx, *q.graph, q.graph->nodes[i].par[k], o.parameters[k]));
  return Status::ok;
}

// The ledger's line of a step; adds the shares that were written to buffers of their own.
void Run::note(const Context& ctx, Id i, const Operands& o, double seconds, LedgerLine& line) const noexcept {
  const Node& node = plan_.request.graph->nodes[i];
  line = {true, plan_.request.rules[i]->name(), {}, {}, o.report, seconds, 0};
  const auto add = [&](kernels::Stats& total, const TensorView& t) {
    const kernels::Stats s = ctx->stats(t.data, t.size());
    total.sum += s.sum;
    total.abs_sum += s.abs_sum;
    total.abs_max = std::max(total.abs_max, s.abs_max);
    total.non_finite += s.non_finite;
    line.bytes += static_cast<std::size_t>(t.size()) * sizeof(real);
  };
  for (const TensorView& t : o.arriving) add(line.out, t);
  for (std::size_t j = 0; j < o.leaving.size(); ++j) {
    const Sink& sink = o.leaving[j];
    if (!sink) continue;
    add(line.in, sink);
    const TensorView target = signal(node.in[j % node.in.size()], static_cast<std::int32_t>(j / node.in.size()));
    if (target.data != sink.data) ctx->scale(real{1}, sink.data, target.data, sink.size(), true);
  }
}

}  // namespace vitrine
