#include "core/run.h"

namespace vitrine {
namespace {

std::byte* align(std::byte* p) noexcept {
  const auto a = reinterpret_cast<std::uintptr_t>(p);
  return p + ((a + Arena::alignment - 1) / Arena::alignment * Arena::alignment - a);
}

Status refuse_batch(const Context& ctx, const Plan& plan, const Shape& found, const Shape& image) noexcept {
  const bool larger = found.n() > plan.request.batch;
  return ctx.fail(Status::bad_shape, larger ? "the batch is larger than planned" : "no batch of this size is planned",
                  found, image.with_batch(plan.request.batch));
}

}  // namespace

// Values and signals, scratch, prepared weights, book, list of prepared weights; Plan::bytes() has room to align each.
RunMemory RunMemory::of(const Plan& plan, std::byte* memory) noexcept {
  return of(plan, memory,
            align(memory) + plan.planned_bytes + plan.scratch_bytes + plan.prepared_bytes + 2 * Arena::alignment);
}

RunMemory RunMemory::of(const Plan& plan, std::byte* memory, std::byte* book) noexcept {
  std::byte* const planned = align(memory);
  std::byte* const entries = align(book + plan.book_bytes + 2 * Arena::alignment);
  return {planned,
          {align(planned + plan.planned_bytes), plan.scratch_bytes},
          {align(book), plan.book_bytes + Arena::alignment},
          {{reinterpret_cast<Prepared::Entry*>(entries), plan.prepared_count},
           {align(planned + plan.planned_bytes + plan.scratch_bytes), plan.prepared_bytes}}};
}

TensorView Run::view(const Buffer& buffer, Id value, std::int32_t batch) const noexcept {
  real* const data = buffer.planned() ? reinterpret_cast<real*>(memory_.planned + buffer.offset) : nullptr;
  return {data, plan_.request.graph->shape(value).with_batch(batch), plan_.block_of(value, batch)};
}

TensorView Run::value(Id v) const noexcept {
  const ValueKind kind = plan_.request.graph->values[v].kind;
  if (kind == ValueKind::parameter) return parameter(v);
  if (kind == ValueKind::input) return given(v, false);
  const ValuePlan& value = plan_.values[v];
  return view(walking_ && value.recomputed.planned() ? value.recomputed : value.memory, v, batch_);
}

TensorView Run::reference_value(Id v) const noexcept {
  const ValueKind kind = plan_.request.graph->values[v].kind;
  if (kind == ValueKind::parameter) return parameter(v);
  if (kind == ValueKind::input) return given(v, true);
  return view(plan_.values[v].reference, v, plan_.request.one_reference ? 1 : batch_);
}

TensorView Run::signal(Id v, std::int32_t channel) const noexcept { return view(plan_.signal(v, channel), v, batch_); }

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
  memory_.scratch.rewind(0);
  memory_.book.rewind(0);
  own.scratch = &memory_.scratch;
  own.book = &memory_.book;
  own.prepared = plan_.request.constant_parameters ? &memory_.prepared : nullptr;
  return own;
}

// A node's operands as its backward step reads them. Without `in`: the book is full.
NodeIO Run::io(Id i, bool reference) noexcept {
  const Node& node = plan_.request.graph->nodes[i];
  const NodePlan& plan = plan_.nodes[i];
  TensorView* const views = memory_.book.array<TensorView>(node.in.size() + node.par.size());
  if (views == nullptr) return {};
  for (std::size_t k = 0; k < node.in.size(); ++k)
    views[k] = reference ? reference_value(node.in[k]) : value(node.in[k]);
  for (std::size_t k = 0; k < node.par.size(); ++k) views[node.in.size() + k] = parameter(node.par[k]);
  const Buffer& aux = reference                                   ? plan.reference_aux
                      : walking_ && plan.recomputed_aux.planned() ? plan.recomputed_aux
                                                                  : plan.aux;
  return {{views, node.in.size()},
          {views + node.in.size(), node.par.size()},
          reference ? reference_value(node.out) : value(plan.output_seen),
          aux.planned() ? memory_.planned + aux.offset : nullptr,
          i};
}

// A node's operands as its forward run reads and writes them, with the work of the nodes fused into it.
NodeIO Run::forward_io(Id i, bool reference) noexcept {
  const auto view_of = [&](Id v) { return reference ? reference_value(v) : value(v); };
  const NodePlan& plan = plan_.nodes[i];
  NodeIO node = io(i, reference);
  node.out = view_of(plan.result);
  if (plan.residual != no_id) node.epilogue.residual = view_of(plan.residual);
  node.epilogue.relu = plan.relu;
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
  const std::int32_t batch = value.shape.n();
  const Shape each = g.shape(input);
  Status s = Status::ok;
  if (batch < 1 || value.shape != each.with_batch(batch))
    s = ctx.fail(Status::bad_shape, "what is given does not fit the input", value.shape, each);
  else if (!plan_.takes(batch))
    s = refuse_batch(ctx, plan_, value.shape, each);
  else
    given_[k] = value;
  return ctx.blame(g.values[input].name, s);
}

// Every other input that some node reads has been given, for as many images as the run has.
Status Run::check_given(const Context& ctx, std::int32_t batch) const noexcept {
  const Graph& g = *plan_.request.graph;
  for (std::size_t k = 0; k < g.inputs.size(); ++k) {
    const Id v = g.inputs[k];
    if (v == g.input || (given_[k] && given_[k].shape.n() == batch)) continue;
    bool read = false;
    for (std::size_t i = 0; i < g.nodes.size() && !read; ++i)
      for (const Id in : g.nodes[i].in) read = read || (in == v && plan_.nodes[i].needed);
    if (!read) continue;
    const Status s = given_[k]
                         ? ctx.fail(Status::bad_shape, "was given for another number of images than the main input",
                                    given_[k].shape, g.shape(v).with_batch(batch))
                         : ctx.fail(Status::bad_argument, "is an input that was not given before the run");
    return ctx.blame(g.values[v].name, s);
  }
  return Status::ok;
}

Status Run::forward(const Context& ctx, const TensorView& input, Id first_node) noexcept {
  const Graph& g = *plan_.request.graph;
  const std::int32_t batch = input.shape.n();
  if (input.shape != g.shape(g.input).with_batch(batch) || batch < 1)
    return ctx.fail(Status::bad_shape, "the input does not fit the network", input.shape, g.shape(g.input));
  if (!plan_.takes(batch)) return refuse_batch(ctx, plan_, input.shape, g.shape(g.input));
  VITRINE_TRY(check_given(ctx, batch));
  input_ = input;
  batch_ = batch;
  return run_nodes(ctx, false, first_node);
}

Status Run::forward_reference(const Context& ctx, const TensorView& input) noexcept {
  const Graph& g = *plan_.request.graph;
  if (!plan_.request.reference) return ctx.fail(Status::bad_argument, "the plan has no reference run");
  if (input.shape != g.shape(g.input).with_batch(input.shape.n()) ||
      input.shape.n() > (plan_.request.one_reference ? 1 : plan_.request.batch))
    return ctx.fail(Status::bad_shape, "the reference does not fit the network", input.shape, g.shape(g.input));
  VITRINE_TRY(check_given(ctx, input.shape.n()));
  reference_input_ = input;
  batch_ = input.shape.n();
  return run_nodes(ctx, true, 0);
}

Status Run::run_nodes(const Context& outer, bool reference, Id first_node) noexcept {
  const Context ctx = with_scratch(outer);
  for (Id i = first_node; i < plan_.nodes.size(); ++i)
    if (plan_.nodes[i].runs()) VITRINE_TRY(run_node(ctx, reference, i));
  return Status::ok;
}

Status Run::run_node(const Context& ctx, bool reference, Id i) noexcept {
  const Graph& g = *plan_.request.graph;
  const ArenaScope scope(memory_.scratch), book_scope(memory_.book);
  const NodeIO node = forward_io(i, reference);
  if (ctx.report != nullptr) ctx.report->at(i, false);
  Status s = node.in.empty() ? ctx.fail(Status::out_of_arena, memory_too_small) : g.nodes[i].op->forward(ctx, node);
  if (s == Status::ok && plan_.nodes[i].watched) {
    const NodeIO twin = plan_.request.reference && !reference ? io(i, true) : NodeIO{};
    s = plan_.request.observer->after_forward(ctx, g, i, node, twin.in.empty() ? nullptr : &twin);
  }
  return ctx.blame(g.nodes[i].name, s);
}

}  // namespace vitrine
