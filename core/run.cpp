#include "core/run.h"

#include <algorithm>

#include "kernels/silent.h"

namespace vitrine {
namespace {

std::byte* align(std::byte* p) noexcept {
  const auto a = reinterpret_cast<std::uintptr_t>(p);
  return p + ((a + Arena::alignment - 1) / Arena::alignment * Arena::alignment - a);
}

}  // namespace

Run::Run(const Plan& plan, std::byte* memory, real* parameters, real* parameter_gradients) noexcept
    : Run(plan, memory,
          align(memory) + plan.planned_bytes + plan.scratch_bytes + plan.prepared_bytes + 2 * Arena::alignment,
          parameters, parameter_gradients) {}

Run::Run(const Plan& plan, std::byte* memory, std::byte* book, real* parameters, real* parameter_gradients) noexcept
    : plan_(plan),
      memory_(align(memory)),
      parameters_(parameters),
      gradients_(parameter_gradients),
      scratch_(align(memory_ + plan.planned_bytes), plan.scratch_bytes),
      book_(align(book), plan.book_bytes + Arena::alignment) {
  std::byte* const entries = align(book + plan.book_bytes + 2 * Arena::alignment);
  prepared_ = {{reinterpret_cast<Prepared::Entry*>(entries), plan.prepared_count},
               Arena(align(memory_ + plan.planned_bytes + plan.scratch_bytes), plan.prepared_bytes)};
}

Run::Run(const Plan& plan, std::byte* memory, Arena scratch, Arena book, Prepared prepared) noexcept
    : plan_(plan),
      memory_(memory),
      parameters_(reinterpret_cast<real*>(memory)),
      gradients_(reinterpret_cast<real*>(memory)),
      scratch_(scratch),
      book_(book),
      prepared_(prepared) {}

TensorView Run::place(std::size_t offset, Id value, std::int32_t batch) const noexcept {
  real* const data = offset == not_planned ? nullptr : reinterpret_cast<real*>(memory_ + offset);
  return {data, plan_.request.graph->shape(value).with_batch(batch), plan_.lanes_of(value, batch)};
}

TensorView Run::value(Id v) const noexcept {
  const ValueKind kind = plan_.request.graph->values[v].kind;
  return kind == ValueKind::parameter ? parameter(v)
         : kind == ValueKind::input
             ? given(v, false)
             : place(again_ && plan_.again_values[v] != not_planned ? plan_.again_values[v] : plan_.values[v], v,
                     batch_);
}

TensorView Run::reference_value(Id v) const noexcept {
  const ValueKind kind = plan_.request.graph->values[v].kind;
  return kind == ValueKind::parameter ? parameter(v)
         : kind == ValueKind::input   ? given(v, true)
                                      : place(plan_.reference_values[v], v, plan_.request.one_reference ? 1 : batch_);
}

TensorView Run::signal(Id v, std::int32_t channel) const noexcept {
  const auto channels = static_cast<std::size_t>(plan_.request.channels);
  return place(plan_.signals[v * channels + static_cast<std::size_t>(channel)], v, batch_);
}

TensorView Run::parameter(Id p) const noexcept {
  const Value& v = plan_.request.graph->values[p];
  return {parameters_ + v.offset, v.shape};
}

TensorView Run::parameter_gradient(Id p) const noexcept {
  const Value& v = plan_.request.graph->values[p];
  return {gradients_ != nullptr && v.trainable ? gradients_ + v.offset : nullptr, v.shape};
}

Context Run::with_scratch(const Context& ctx) noexcept {
  Context own = ctx;
  scratch_.rewind(0);
  book_.rewind(0);
  own.scratch = &scratch_;
  own.book = &book_;
  own.prepared = plan_.request.constant_parameters ? &prepared_ : nullptr;
  return own;
}

NodeIO Run::io(Id i, bool reference) noexcept {
  const Node& node = plan_.request.graph->nodes[i];
  TensorView* views = book_.array<TensorView>(node.in.size() + node.par.size());
  if (views == nullptr) return {};
  for (std::size_t k = 0; k < node.in.size(); ++k)
    views[k] = reference ? reference_value(node.in[k]) : value(node.in[k]);
  for (std::size_t k = 0; k < node.par.size(); ++k) views[node.in.size() + k] = parameter(node.par[k]);
  const std::size_t aux = reference                                     ? plan_.reference_aux[i]
                          : again_ && plan_.again_aux[i] != not_planned ? plan_.again_aux[i]
                                                                        : plan_.aux[i];
  return {{views, node.in.size()},
          {views + node.in.size(), node.par.size()},
          reference ? reference_value(node.out) : value(plan_.shown[i]),
          aux == not_planned ? nullptr : memory_ + aux,
          i};
}

// The same with the work of the nodes that it stands for.
NodeIO Run::forward_io(Id i, bool reference) noexcept {
  NodeIO node = io(i, reference);
  const Fusion& fused = plan_.fused[i];
  node.out = reference ? reference_value(plan_.result(i)) : value(plan_.result(i));
  if (fused.residual != no_id)
    node.finish.residual = reference ? reference_value(fused.residual) : value(fused.residual);
  node.finish.relu = fused.relu;
  return node;
}

const TensorView& Run::given(Id input, bool reference) const noexcept {
  const Graph& g = *plan_.request.graph;
  return input != g.input ? given_[g.input_index(input)] : reference ? reference_input_ : input_;
}

Status Run::give(const Context& ctx, Id input, const TensorView& value) noexcept {
  const Graph& g = *plan_.request.graph;
  const std::size_t k = g.input_index(input);
  if (k == g.inputs.size() || input == g.input)
    return ctx.fail(Status::bad_argument, "only an input beside the main one can be given before a run");
  const auto refuse = [&](const char* what, const Shape& expected) {
    const Status s = ctx.fail(Status::bad_shape, what, value.shape, expected);
    if (ctx.failure != nullptr && ctx.failure->node[0] == '\0') ctx.failure->node = g.values[input].name;
    return s;
  };
  if (value.shape.n() < 1 || value.shape != g.shape(input).with_batch(value.shape.n()))
    return refuse("what is given does not fit the input", g.shape(input));
  if (value.shape.n() > plan_.request.batch)
    return refuse("the batch is larger than planned", g.shape(input).with_batch(plan_.request.batch));
  given_[k] = value;
  return Status::ok;
}

// Every other input that some node reads has been given, for as many images as the run has.
Status Run::check_given(const Context& ctx, std::int32_t batch) const noexcept {
  const Graph& g = *plan_.request.graph;
  for (std::size_t k = 0; k < g.inputs.size(); ++k) {
    const Id v = g.inputs[k];
    if (v == g.input || (given_[k] && given_[k].shape.n() == batch)) continue;
    bool read = false;
    for (std::size_t i = 0; i < g.nodes.size() && !read; ++i)
      for (const Id in : g.nodes[i].in) read = read || (in == v && plan_.needed[i]);
    if (!read) continue;
    const Status s = given_[k]
                         ? ctx.fail(Status::bad_shape, "was given for another number of images than the main input",
                                    given_[k].shape, g.shape(v).with_batch(batch))
                         : ctx.fail(Status::bad_argument, "is an input that was not given before the run");
    if (ctx.failure != nullptr && ctx.failure->node[0] == '\0') ctx.failure->node = g.values[v].name;
    return s;
  }
  return Status::ok;
}

Status Run::forward(const Context& ctx, const TensorView& input, Id first_node) noexcept {
  const Graph& g = *plan_.request.graph;
  const Shape expected = g.shape(g.input).with_batch(input.shape.n());
  if (input.shape != expected || input.shape.n() < 1)
    return ctx.fail(Status::bad_shape, "the input does not fit the network", input.shape, g.shape(g.input));
  if (input.shape.n() > plan_.request.batch)
    return ctx.fail(Status::bad_shape, "the batch is larger than planned", input.shape,
                    g.shape(g.input).with_batch(plan_.request.batch));
  VITRINE_TRY(check_given(ctx, input.shape.n()));
  input_ = input;
  batch_ = input.shape.n();
  return run_nodes(ctx, false, first_node);
}

Status Run::forward_reference(const Context& ctx, const TensorView& input) noexcept {
  const Graph& g = *plan_.request.graph;
  if (!plan_.request.reference) return ctx.fail(Status::bad_argument, "the plan has no reference run");
  if (input.shape != g.shape(g.input).with_batch(input.shape.n()) ||
      input.shape.n() > (plan_.request.one_reference ? 1 : plan_.request.batch))
    return ctx.fail(Status::bad_shape, "the reference does not fit the network", input.shape, g.shape(g.input));
  if (plan_.request.one_reference && g.inputs.size() > 1)
    return ctx.fail(Status::bad_argument, "a network with several inputs needs a reference for each image");
  VITRINE_TRY(check_given(ctx, input.shape.n()));
  reference_input_ = input;
  batch_ = input.shape.n();
  return run_nodes(ctx, true, 0);
}

Status Run::run_nodes(const Context& outer, bool reference, Id first_node) noexcept {
  const Graph& g = *plan_.request.graph;
  const Context ctx = with_scratch(outer);
  for (Id i = first_node; i < g.nodes.size(); ++i)
    if (plan_.runs(i)) VITRINE_TRY(run_node(ctx, reference, i));
  return Status::ok;
}

Status Run::run_node(const Context& ctx, bool reference, Id i) noexcept {
  const Graph& g = *plan_.request.graph;
  const ArenaScope scope(scratch_), book_scope(book_);
  const NodeIO node = forward_io(i, reference);
  if (ctx.report != nullptr) ctx.report->at(i, false);
  Status s = node.in.empty() ? ctx.fail(Status::out_of_arena, memory_too_small) : g.nodes[i].op->forward(ctx, node);
  if (Observer* const observer = plan_.request.observer; s == Status::ok && observer != nullptr) {
    const NodeIO twin = plan_.request.reference && !reference ? io(i, true) : NodeIO{};
    s = observer->after_forward(ctx, g, i, node, twin.in.empty() ? nullptr : &twin);
  }
  if (s != Status::ok && ctx.failure != nullptr && ctx.failure->node[0] == '\0') ctx.failure->node = g.nodes[i].name;
  return s;
}

Status Run::walk_back(const Context& outer, Ledger* ledger) noexcept {
  const PlanRequest& q = plan_.request;
  const Graph& g = *q.graph;
  const Context ctx = with_scratch(outer);
  if (q.rules.empty()) return ctx.fail(Status::bad_argument, "the plan has no walk");
  bool* flags = book_.array<bool>(g.values.size());
  if (flags == nullptr) return ctx.fail(Status::out_of_arena, memory_too_small);
  const std::span<bool> written{flags, g.values.size()};
  std::fill(written.begin(), written.end(), false);
  if (q.seeds.empty()) written[g.output] = true;
  for (const Id seed : q.seeds) written[seed] = true;
  again_ = q.recompute;
  const Status s = walk_segments(ctx, written, ledger);
  again_ = false;
  return s;
}

Status Run::walk_segments(const Context& ctx, std::span<bool> written, Ledger* ledger) noexcept {
  const Graph& g = *plan_.request.graph;
  Context again = ctx;
  again.again = true;
  Id end = static_cast<Id>(g.nodes.size());
  for (std::size_t k = plan_.segments.size(); k-- > 0;) {
    const auto begin = static_cast<Id>(plan_.segments[k]);
    for (Id i = begin; i < end; ++i)
      if (plan_.again[i]) VITRINE_TRY(run_node(again, false, i));
    for (Id i = end; i-- > begin;) {
      if (!plan_.walked[i]) continue;
      const ArenaScope scope(scratch_), book_scope(book_);
      if (const Status s = step(ctx, i, written, ledger); s != Status::ok) {
        if (ctx.failure != nullptr && ctx.failure->node[0] == '\0') ctx.failure->node = g.nodes[i].name;
        return s;
      }
    }
    end = begin;
  }
  return Status::ok;
}

Status Run::step(const Context& ctx, Id i, std::span<bool> written, Ledger* ledger) noexcept {
  const PlanRequest& q = plan_.request;
  const Node& node = q.graph->nodes[i];
  const auto channels = static_cast<std::size_t>(q.channels);
  const NodeIO run_io = io(i, false);
  const NodeIO reference_io = q.reference ? io(i, true) : NodeIO{};
  TensorView* arriving = book_.array<TensorView>(channels);
  Sink* leaving = book_.array<Sink>(channels * node.in.size());
  Sink* parameter_sinks = book_.array<Sink>(node.par.size());
  if (run_io.in.empty() || arriving == nullptr || leaving == nullptr || parameter_sinks == nullptr)
    return ctx.fail(Status::out_of_arena, memory_too_small);
  const std::span<const TensorView> signals{arriving, channels};
  for (std::size_t c = 0; c < channels; ++c) arriving[c] = signal(node.out, static_cast<std::int32_t>(c));

  // The first writer of a signal overwrites, later ones add: fan-out sums up without anyone clearing memory first. The
  // ledger wants to see this step's share alone, so there a later writer goes through a buffer of its own.
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t k = 0; k < node.in.size(); ++k) {
      const Id v = plan_.target(i, k);
      Sink& sink = *::new (&leaving[c * node.in.size() + k]) Sink{};
      if (!plan_.wanted[v]) continue;
      bool earlier = written[v];
      for (std::size_t j = 0; j < k; ++j) earlier = earlier || plan_.target(i, j) == v;
      static_cast<TensorView&>(sink) = signal(v, static_cast<std::int32_t>(c));
      sink.add = earlier;
      if (ledger != nullptr && earlier) {
        sink.data = scratch_.array<real>(static_cast<std::size_t>(sink.size()));
        if (sink.data == nullptr) return ctx.fail(Status::out_of_arena, memory_too_small);
        sink.add = false;
      }
    }
  for (std::size_t k = 0; k < node.par.size(); ++k) {
    Sink& sink = *::new (&parameter_sinks[k]) Sink{};
    if (!q.parameter_gradients) continue;
    const Value& v = q.graph->values[node.par[k]];
    if (q.updater != nullptr && v.trainable) {
      static_cast<TensorView&>(sink) = {scratch_.array<real>(static_cast<std::size_t>(v.shape.size())), v.shape};
      if (sink.data == nullptr) return ctx.fail(Status::out_of_arena, memory_too_small);
      continue;
    }
    static_cast<TensorView&>(sink) = parameter_gradient(node.par[k]);
    sink.add = written[node.par[k]];
  }

  if (plan_.rectifier[i] != no_id) {
    // Nobody reads this signal after the step.
    const TensorView& s = arriving[0];
    ctx.ranges(s.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
      const real* const y = run_io.out.data + begin;
      ctx->map_backward(kernels::Map::relu, {}, y, y, s.data + begin, s.data + begin, end - begin, false);
    });
  }
  if (q.observer != nullptr) VITRINE_TRY(q.observer->before_step(ctx, *q.graph, i, signals));
  StepReport report;
  const Step step{run_io,
                  q.reference ? &reference_io : nullptr,
                  signals,
                  {leaving, channels * node.in.size()},
                  {parameter_sinks, q.parameter_gradients ? node.par.size() : 0},
                  ledger != nullptr ? &report : nullptr};
  if (ctx.report != nullptr) ctx.report->at(i, true);
  const double start = ledger != nullptr && ledger->clock != nullptr ? ledger->clock() : 0;
  VITRINE_TRY(q.rules[i]->step(ctx, *node.op, step));
  for (std::size_t k = 0; k < node.par.size() && q.updater != nullptr; ++k)
    if (parameter_sinks[k]) VITRINE_TRY(q.updater->update(ctx, *q.graph, node.par[k], parameter_sinks[k]));

  if (ledger != nullptr && i < ledger->lines.size()) {
    LedgerLine& line = ledger->lines[i];
    line = {true, q.rules[i]->name(), {}, {}, report, ledger->clock != nullptr ? ledger->clock() - start : 0, 0};
    const auto add = [&](kernels::Stats& total, const TensorView& t) {
      const kernels::Stats s = ctx->stats(t.data, t.size());
      total.sum += s.sum;
      total.abs_sum += s.abs_sum;
      total.abs_max = std::max(total.abs_max, s.abs_max);
      total.non_finite += s.non_finite;
      line.bytes += static_cast<std::size_t>(t.size()) * sizeof(real);
    };
    for (const TensorView& t : signals) add(line.out, t);
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t k = 0; k < node.in.size(); ++k) {
        const Sink& sink = leaving[c * node.in.size() + k];
        if (!sink) continue;
        add(line.in, sink);
        const TensorView target = signal(node.in[k], static_cast<std::int32_t>(c));
        if (target.data != sink.data) ctx->scale(real{1}, sink.data, target.data, sink.size(), true);
      }
  }
  for (std::size_t k = 0; k < node.in.size(); ++k)
    written[plan_.target(i, k)] = written[plan_.target(i, k)] || plan_.wanted[plan_.target(i, k)];
  for (const Id p : node.par) written[p] = true;
  return Status::ok;
}

namespace {

// As many workers as the real threads, and no work.
class Idle final : public Parallel {
 public:
  explicit Idle(int workers) noexcept : workers_(workers) {}
  int workers() const noexcept override { return workers_; }
  void run(std::int64_t, TileBody) noexcept override {}

 private:
  int workers_;
};

}  // namespace

Status measure_scratch(const Context& outer, Arena& book, Plan& plan) noexcept {
  std::byte* const nowhere = reinterpret_cast<std::byte*>(std::uintptr_t{1} << (8 * sizeof(void*) - 16));
  const Kernels silent = kernels::silenced(*outer.kernels);
  Idle idle(outer.workers());
  Context ctx = outer;
  ctx.kernels = &silent;
  ctx.parallel = &idle;
  ctx.report = nullptr;  // these calls are not what the caller runs
  const PlanRequest& q = plan.request;
  // A node's weights are prepared at most forward and back, for two sets of rows each of an LRP table's groups.
  const std::size_t most = q.constant_parameters ? 12 * q.graph->nodes.size() : 0;
  const ArenaScope scope(book);
  auto* const entries = book.array<Prepared::Entry>(most);
  if (entries == nullptr) return ctx.fail(Status::out_of_arena, "the plan's working memory does not fit");
  Run dry(plan, nowhere, Arena(nowhere, ~std::size_t{0} / 4), book.rest(),
          {{entries, most}, Arena(nowhere, ~std::size_t{0} / 4)});
  // Smaller batches may be cut into other tiles and then need more: each size is measured, in large batches a sample,
  // of those that vectors divide and of others.
  const std::int32_t step = 1 + q.batch / 1024;
  const auto measure = [&](std::int32_t batch) noexcept {
    const TensorView input{reinterpret_cast<real*>(nowhere), q.graph->shape(q.graph->input).with_batch(batch)};
    const auto give = [&](std::int32_t images) noexcept {
      for (const Id v : q.graph->inputs)
        if (v != q.graph->input) VITRINE_TRY(dry.give(ctx, v, {input.data, q.graph->shape(v).with_batch(images)}));
      return Status::ok;
    };
    VITRINE_TRY(give(batch));
    if (q.reference) VITRINE_TRY(dry.forward_reference(ctx, q.one_reference ? input.images(0, 1) : input));
    VITRINE_TRY(dry.forward(ctx, input));
    Ledger ledger;
    return q.rules.empty() ? Status::ok : dry.walk_back(ctx, q.ledger ? &ledger : nullptr);
  };
  for (std::int32_t batch = q.batch; batch > 0; batch -= step) {
    VITRINE_TRY(measure(batch));
    const std::int32_t whole = batch - batch % ctx->lanes;
    if (step > 1 && whole > 0 && whole < batch) VITRINE_TRY(measure(whole));
  }
  plan.scratch_bytes = dry.scratch_.peak();
  plan.book_bytes = dry.book_.peak();
  plan.prepared_bytes = dry.prepared_.peak();
  plan.prepared_count = dry.prepared_.count();
  return Status::ok;
}

}  // namespace vitrine
