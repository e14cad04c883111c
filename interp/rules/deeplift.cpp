#include "interp/rules/deeplift.h"

#include "interp/rules/repeat.h"

namespace vitrine {
namespace {

const char* refusal(const Op& op) noexcept {
  switch (op.op_class()) {
    case OpClass::affine:
    case OpClass::pointwise:
    case OpClass::gate:
    case OpClass::route:
    case OpClass::view:
    case OpClass::product:
      return nullptr;
    case OpClass::custom:
      if (static_cast<const CustomOp&>(op).has_multipliers()) return nullptr;
      break;
  }
  return "is no op that DeepLIFT passes: start at the logits before it";
}

// The images of a part that this run's batch has.
TensorView of_batch(const TensorView& part, const TensorView& like) noexcept { return {part.data, like.shape}; }

// Rescale at an activation: m_x = m_y dy/dx, or by the derivative at the reference where dx is too small to
// divide by.
Status rescale(const Context& ctx, const ActivationOp& op, const Step& s, const TensorView& m, const Sink& d) noexcept {
  const ArenaScope scope(*ctx.scratch);
  const NodeIO &io = s.io, &ref = *s.reference;
  TensorView one, slope;
  VITRINE_TRY(ctx.temporary(ref.out.shape, one));
  VITRINE_TRY(ctx.temporary(ref.out.shape, slope));
  ctx->fill(real{1}, one.data, one.size());
  VITRINE_TRY(op.slope(ctx, ref, ref.in[0], ref.out, one, {slope, false}));
  for_each_repeat(ctx, d.size(), ref.out.size(), [&](std::int64_t b, std::int64_t r, std::int64_t count) noexcept {
    ctx->rescale_multiplier(io.in[0].data + b, ref.in[0].data + r, io.out.data + b, ref.out.data + r, slope.data + r,
                            m.data + b, d.data + b, count, d.add);
  });
  return Status::ok;
}

// A max pool's way back: with M = max(y, y0), the share m (M - y0) goes to the actual run's winner and m (y - M) to the
// reference run's. Where a share arrives, |dx| is at least that of the share's difference, so dividing by dx is safe
// and the sum exact (README.md, section 3.1).
Status cross_max(const Context& ctx, const RouteOp& op, const Step& s, const TensorView& m, const Sink& d) noexcept {
  const ArenaScope scope(*ctx.scratch);
  const NodeIO &io = s.io, &ref = *s.reference;
  TensorView to_actual, to_reference, mass, dx;
  VITRINE_TRY(ctx.temporary(m.shape, to_actual));
  VITRINE_TRY(ctx.temporary(m.shape, to_reference));
  VITRINE_TRY(ctx.temporary(d.shape, mass));
  VITRINE_TRY(ctx.temporary(d.shape, dx));
  for_each_repeat(ctx, m.size(), ref.out.size(), [&](std::int64_t b, std::int64_t r, std::int64_t count) noexcept {
    ctx->cross_max(io.out.data + b, ref.out.data + r, m.data + b, to_actual.data + b, to_reference.data + b, count);
  });
  VITRINE_TRY(op.scatter(ctx, io, to_actual, {mass, false}));
  const std::int32_t together = ref.out.shape.n();  // images that have a reference each
  for (std::int32_t n = 0; n < m.shape.n(); n += together)
    VITRINE_TRY(op.scatter(ctx, ref, to_reference.images(n, together), {mass.images(n, together), true}));
  for_each_repeat(ctx, dx.size(), ref.in[0].size(), [&](std::int64_t b, std::int64_t r, std::int64_t count) noexcept {
    ctx->combine(real{1}, io.in[0].data + b, real{-1}, ref.in[0].data + r, dx.data + b, count);
  });
  ctx->safe_divide(mass.data, dx.data, d.data, d.size(), d.add);
  return Status::ok;
}

// A product's way back: the difference of u v is m (v0 + dv/2) du + m (u0 + du/2) dv.
Status half_split(const Context& ctx, const ProductOp& op, const Step& s, const TensorView& m,
                  std::span<const Sink> d) noexcept {
  for (std::size_t k = 0; k < 2; ++k) {
    if (!d[k]) continue;
    const ArenaScope scope(*ctx.scratch);
    const TensorView &other = s.io.in[1 - k], &other0 = s.reference->in[1 - k];
    TensorView mean;
    VITRINE_TRY(ctx.temporary(other.shape, mean));
    for_each_repeat(ctx, mean.size(), other0.size(), [&](std::int64_t b, std::int64_t r, std::int64_t count) noexcept {
      ctx->combine(real{0.5}, other.data + b, real{0.5}, other0.data + r, mean.data + b, count);
    });
    VITRINE_TRY(op.partial(ctx, s.io, m, mean, k, d[k]));
  }
  return Status::ok;
}

}  // namespace

const char* DeepLiftRescale::refuses(const Op& op) const noexcept { return refusal(op); }

Need DeepLiftRescale::needs(const Op& op) const noexcept {
  switch (op.op_class()) {
    case OpClass::pointwise:
    case OpClass::gate:
      return {true, true, false};
    case OpClass::route:
      return {true, true, true};
    case OpClass::custom:
      return {true, true, true};
    default:
      return op.vjp_needs(false);
  }
}

Status DeepLiftRescale::product(const Context& ctx, const ProductOp& op, const Step& s) const noexcept {
  return half_split(ctx, op, s, s.s_out[0], s.s_in);
}

Status DeepLiftRescale::custom(const Context& ctx, const CustomOp& op, const Step& s) const noexcept {
  const NodeIO& io = s.io;
  if (s.reference->out.shape.n() == io.out.shape.n()) return op.multipliers(ctx, io, *s.reference, s.s_out[0], s.s_in);
  // One reference for all images: one after another.
  if (io.aux != nullptr) return ctx.fail(Status::bad_argument, "needs a reference for each image");
  const ArenaScope book_scope(*ctx.book);
  const std::size_t inputs = io.in.size();
  TensorView* const in = ctx.book->array<TensorView>(inputs);
  Sink* const sinks = ctx.book->array<Sink>(inputs);
  if (in == nullptr || sinks == nullptr) return ctx.fail(Status::out_of_arena, memory_too_small);
  for (std::int32_t n = 0; n < io.out.shape.n(); ++n) {
    for (std::size_t k = 0; k < inputs; ++k) {
      in[k] = io.in[k].images(n, 1);
      sinks[k] = s.s_in[k];
      if (sinks[k]) static_cast<TensorView&>(sinks[k]) = s.s_in[k].images(n, 1);
    }
    NodeIO one = io;
    one.in = {in, inputs};
    one.out = io.out.images(n, 1);
    VITRINE_TRY(op.multipliers(ctx, one, *s.reference, s.s_out[0].images(n, 1), {sinks, inputs}));
  }
  return Status::ok;
}

Status DeepLiftRescale::activation(const Context& ctx, const ActivationOp& op, const Step& s) const noexcept {
  return s.s_in[0] ? rescale(ctx, op, s, s.s_out[0], s.s_in[0]) : Status::ok;
}

Status DeepLiftRescale::route(const Context& ctx, const RouteOp& op, const Step& s) const noexcept {
  return s.s_in[0] ? cross_max(ctx, op, s, s.s_out[0], s.s_in[0]) : Status::ok;
}

Status make_deeplift_parts(const Graph& g, std::int32_t batch, Arena& book, Arena& data,
                           DeepLiftParts& parts) noexcept {
  TensorView* const views = book.array<TensorView>(2 * g.values.size());
  if (views == nullptr) return Status::out_of_arena;
  parts = {{views, g.values.size()}, {views + g.values.size(), g.values.size()}};
  for (std::size_t v = 0; v < g.values.size(); ++v) {
    parts.positive[v] = parts.negative[v] = {};
    if (g.values[v].kind == ValueKind::parameter) continue;
    const Shape shape = g.values[v].shape.with_batch(batch);
    parts.positive[v] = {data.array<real>(static_cast<std::size_t>(shape.size())), shape};
    parts.negative[v] = {data.array<real>(static_cast<std::size_t>(shape.size())), shape};
    if (!parts.positive[v] || !parts.negative[v]) return Status::out_of_arena;
  }
  return Status::ok;
}

const char* DeepLiftRevealCancel::refuses(const Op& op) const noexcept { return refusal(op); }

Need DeepLiftRevealCancel::needs(const Op& op) const noexcept {
  switch (op.op_class()) {
    case OpClass::pointwise:
    case OpClass::gate:
      return {true, true, false};
    case OpClass::route:
      return {true, true, true};
    case OpClass::affine:
      return {static_cast<const AffineOp&>(op).mixes(), false, false};
    case OpClass::product:
    case OpClass::custom:
      return {true, true, true};
    default:
      return op.vjp_needs(false);
  }
}

Status DeepLiftRevealCancel::input_parts(const Context& ctx, Id input, const TensorView& x,
                                         const TensorView& x0) noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView d;
  VITRINE_TRY(ctx.temporary(x.shape, d));
  ctx->combine(real{1}, x.data, real{-1}, x0.data, d.data, d.size());
  ctx->substitute(positive_part, d.data, parts_.positive[input].data, d.size(), false);
  ctx->substitute(negative_part, d.data, parts_.negative[input].data, d.size(), false);
  return Status::ok;
}

// The average over the two orders of adding the positive and the negative part [Shrikumar et al. 2017, section 3.5.2].
Status DeepLiftRevealCancel::reveal_parts(const Context& ctx, const ActivationOp& op, const NodeIO& ref, Id in,
                                          Id out) noexcept {
  const ArenaScope scope(*ctx.scratch);
  const TensorView& r = ref.in[0];
  const std::int64_t n = r.size();
  const TensorView p = of_batch(parts_.positive[in], r), q = of_batch(parts_.negative[in], r);
  TensorView at, plus, minus, both, pseudo;
  for (TensorView* t : {&at, &plus, &minus, &both, &pseudo}) VITRINE_TRY(ctx.temporary(r.shape, *t));
  ctx->pseudo_count(p.data, pseudo.data, n);
  ctx->combine(real{1}, r.data, real{1}, pseudo.data, at.data, n);  // r + p
  VITRINE_TRY(op.evaluate(ctx, ref, at, plus));
  ctx->pseudo_count(q.data, pseudo.data, n);
  ctx->scale(real{1}, pseudo.data, at.data, n, true);  // r + p + q
  VITRINE_TRY(op.evaluate(ctx, ref, at, both));
  ctx->combine(real{1}, r.data, real{1}, pseudo.data, at.data, n);  // r + q
  VITRINE_TRY(op.evaluate(ctx, ref, at, minus));
  // dy+ = ((f(r+p) - f(r)) + (f(r+p+q) - f(r+q))) / 2 and dy- with the roles swapped.
  real* const dp = parts_.positive[out].data;
  real* const dq = parts_.negative[out].data;
  ctx->combine(real{0.5}, plus.data, real{-0.5}, ref.out.data, dp, n);
  ctx->combine(real{0.5}, both.data, real{-0.5}, minus.data, at.data, n);
  ctx->scale(real{1}, at.data, dp, n, true);
  ctx->combine(real{0.5}, minus.data, real{-0.5}, ref.out.data, dq, n);
  ctx->combine(real{0.5}, both.data, real{-0.5}, plus.data, at.data, n);
  ctx->scale(real{1}, at.data, dq, n, true);
  return Status::ok;
}

// Where no neuron sums parts of different inputs with different signs the parts go through, and change places where a
// batch norm's factor is negative.
Status DeepLiftRevealCancel::separate_parts(const Context& ctx, const AffineOp& op, const NodeIO& io, const Node& node,
                                            std::span<TensorView> views) const noexcept {
  const TensorView positive = of_batch(parts_.positive[node.out], io.out),
                   negative = of_batch(parts_.negative[node.out], io.out);
  const std::span<const TensorView> part = views;
  const bool any_sign = op.weights() == Weights::diagonal;
  for (std::size_t k = 0; k < node.in.size(); ++k) views[k] = of_batch(parts_.positive[node.in[k]], io.in[k]);
  VITRINE_TRY(op.apply(ctx, io, part, {raw_part, positive_part, nothing}, {positive, false}));
  if (any_sign) VITRINE_TRY(op.apply(ctx, io, part, {raw_part, negative_part, nothing}, {negative, false}));
  for (std::size_t k = 0; k < node.in.size(); ++k) views[k] = of_batch(parts_.negative[node.in[k]], io.in[k]);
  if (any_sign) VITRINE_TRY(op.apply(ctx, io, part, {raw_part, negative_part, nothing}, {positive, true}));
  return op.apply(ctx, io, part, {raw_part, positive_part, nothing}, {negative, any_sign});
}

// The linear rule: contributions by the signs of the inputs' differences and of the weights.
Status DeepLiftRevealCancel::mixed_parts(const Context& ctx, const AffineOp& op, const NodeIO& io, const NodeIO& ref,
                                         const Node& node, std::span<TensorView> views) const noexcept {
  const TensorView positive = of_batch(parts_.positive[node.out], io.out),
                   negative = of_batch(parts_.negative[node.out], io.out);
  for (std::size_t k = 0; k < node.in.size(); ++k) {
    VITRINE_TRY(ctx.temporary(io.in[k].shape, views[k]));
    ctx->combine(real{1}, io.in[k].data, real{-1}, ref.in[k].data, views[k].data, views[k].size());
  }
  const std::span<const TensorView> d = views;
  VITRINE_TRY(op.apply(ctx, io, d, {positive_part, positive_part, nothing}, {positive, false}));
  VITRINE_TRY(op.apply(ctx, io, d, {negative_part, negative_part, nothing}, {positive, true}));
  VITRINE_TRY(op.apply(ctx, io, d, {positive_part, negative_part, nothing}, {negative, false}));
  return op.apply(ctx, io, d, {negative_part, positive_part, nothing}, {negative, true});
}

// Rescale: both parts grow by the same factor dy/dx.
Status DeepLiftRevealCancel::rescaled_parts(const Context& ctx, const ActivationOp& op, const NodeIO& io,
                                            const NodeIO& ref, const Node& node) const noexcept {
  const Id in = node.in[0];
  TensorView slope, one;
  VITRINE_TRY(ctx.temporary(io.out.shape, one));
  VITRINE_TRY(ctx.temporary(io.out.shape, slope));
  ctx->fill(real{1}, one.data, one.size());
  VITRINE_TRY(op.slope(ctx, ref, ref.in[0], ref.out, one, {slope, false}));
  const auto part = [&](std::span<const TensorView> parts) noexcept {
    ctx->rescale_multiplier(io.in[0].data, ref.in[0].data, io.out.data, ref.out.data, slope.data, parts[in].data,
                            parts[node.out].data, io.out.size(), false);
  };
  part(parts_.positive);
  part(parts_.negative);
  return Status::ok;
}

// A view moves elements alike in every run, so it can be run on the parts.
Status DeepLiftRevealCancel::moved_parts(const Context& ctx, const NodeIO& io, const Node& node,
                                         std::span<TensorView> views) const noexcept {
  const auto part = [&](std::span<const TensorView> parts) noexcept {
    NodeIO moved = io;
    moved.in = views;
    for (std::size_t k = 0; k < node.in.size(); ++k) views[k] = of_batch(parts[node.in[k]], io.in[k]);
    moved.out = of_batch(parts[node.out], io.out);
    return node.op->forward(ctx, moved);
  };
  VITRINE_TRY(part(parts_.positive));
  return part(parts_.negative);
}

Status DeepLiftRevealCancel::after_forward(const Context& ctx, const Graph& g, Id i, const NodeIO& io,
                                           const NodeIO* ref) noexcept {
  if (ref == nullptr) return Status::ok;  // the reference run itself
  const Node& node = g.nodes[i];
  const ArenaScope scope(*ctx.scratch), book_scope(*ctx.book);
  for (std::size_t k = 0; k < node.in.size(); ++k)
    if (g.values[node.in[k]].kind == ValueKind::input) VITRINE_TRY(input_parts(ctx, node.in[k], io.in[k], ref->in[k]));
  TensorView* const memory = ctx.book->array<TensorView>(node.in.size());
  if (memory == nullptr) return ctx.fail(Status::out_of_arena, memory_too_small);
  const std::span<TensorView> views{memory, node.in.size()};
  switch (node.op->op_class()) {
    case OpClass::affine: {
      const auto& op = static_cast<const AffineOp&>(*node.op);
      return op.mixes() ? mixed_parts(ctx, op, io, *ref, node, views) : separate_parts(ctx, op, io, node, views);
    }
    case OpClass::pointwise:
    case OpClass::gate: {
      const auto& op = static_cast<const ActivationOp&>(*node.op);
      return reveal_[i] ? reveal_parts(ctx, op, *ref, node.in[0], node.out) : rescaled_parts(ctx, op, io, *ref, node);
    }
    case OpClass::view:
      return moved_parts(ctx, io, node, views);
    case OpClass::route:
    case OpClass::product:
    case OpClass::custom:
      break;
  }
  // Elsewhere the parts of the result are the signs of its difference.
  TensorView d;
  VITRINE_TRY(ctx.temporary(io.out.shape, d));
  ctx->combine(real{1}, io.out.data, real{-1}, ref->out.data, d.data, d.size());
  ctx->substitute(positive_part, d.data, parts_.positive[node.out].data, d.size(), false);
  ctx->substitute(negative_part, d.data, parts_.negative[node.out].data, d.size(), false);
  return Status::ok;
}

Status DeepLiftRevealCancel::affine(const Context& ctx, const AffineOp& op, const Step& s) const noexcept {
  if (op.weights() == Weights::fixed) return gradient(ctx, op, s);
  if (op.weights() == Weights::diagonal) {
    for (std::size_t c = 0; c < 2; ++c) {
      const Sink& d = s.inputs(c)[0];
      if (!d) continue;
      VITRINE_TRY(op.apply_t(ctx, s.io, positive_part, s.s_out[c], 0, d));
      Sink more = d;
      more.add = true;
      VITRINE_TRY(op.apply_t(ctx, s.io, negative_part, s.s_out[1 - c], 0, more));
    }
    return Status::ok;
  }
  const ArenaScope scope(*ctx.scratch);
  for (std::size_t k = 0; k < s.io.in.size(); ++k) {
    const Sink &positive = s.inputs(0)[k], &negative = s.inputs(1)[k];
    if (!positive) continue;
    TensorView same, crossed, d;
    for (TensorView* t : {&same, &crossed, &d}) VITRINE_TRY(ctx.temporary(positive.shape, *t));
    VITRINE_TRY(op.apply_t(ctx, s.io, positive_part, s.s_out[0], k, {same, false}));
    VITRINE_TRY(op.apply_t(ctx, s.io, negative_part, s.s_out[1], k, {same, true}));
    VITRINE_TRY(op.apply_t(ctx, s.io, negative_part, s.s_out[0], k, {crossed, false}));
    VITRINE_TRY(op.apply_t(ctx, s.io, positive_part, s.s_out[1], k, {crossed, true}));
    ctx->combine(real{1}, s.io.in[k].data, real{-1}, s.reference->in[k].data, d.data, d.size());
    ctx->select_by_sign(d.data, same.data, crossed.data, positive.data, d.size(), positive.add);
    ctx->select_by_sign(d.data, same.data, crossed.data, negative.data, d.size(), negative.add);
  }
  return Status::ok;
}

Status DeepLiftRevealCancel::activation(const Context& ctx, const ActivationOp& op, const Step& s) const noexcept {
  if (!s.s_in[0]) return Status::ok;
  if (!reveal_[s.io.node]) {
    VITRINE_TRY(rescale(ctx, op, s, s.s_out[0], s.inputs(0)[0]));
    return rescale(ctx, op, s, s.s_out[1], s.inputs(1)[0]);
  }
  const Node& node = graph_.nodes[s.io.node];
  const ArenaScope scope(*ctx.scratch);
  TensorView dx, ratio;
  VITRINE_TRY(ctx.temporary(s.s_in[0].shape, dx));
  VITRINE_TRY(ctx.temporary(s.s_in[0].shape, ratio));
  const auto part = [&](const TensorView& x, const TensorView& y, const TensorView& m, const Sink& d) noexcept {
    ctx->pseudo_count(x.data, dx.data, d.size());
    ctx->safe_divide(y.data, dx.data, ratio.data, d.size(), false);
    ctx->multiply(ratio.data, m.data, d.data, d.size(), d.add);
  };
  part(parts_.positive[node.in[0]], parts_.positive[node.out], s.s_out[0], s.inputs(0)[0]);
  part(parts_.negative[node.in[0]], parts_.negative[node.out], s.s_out[1], s.inputs(1)[0]);
  return Status::ok;
}

Status DeepLiftRevealCancel::route(const Context& ctx, const RouteOp& op, const Step& s) const noexcept {
  if (!s.s_in[0]) return Status::ok;
  const ArenaScope scope(*ctx.scratch);
  TensorView m;
  VITRINE_TRY(of_total(ctx, s, m));
  VITRINE_TRY(cross_max(ctx, op, s, m, s.inputs(0)[0]));
  return cross_max(ctx, op, s, m, s.inputs(1)[0]);
}

// The parts of such a result are the signs of its difference, so the multiplier is the one of that sign. What goes back
// is one multiplier of the input's total difference, which both channels carry.
Status DeepLiftRevealCancel::of_total(const Context& ctx, const Step& s, TensorView& m) const noexcept {
  TensorView d;
  VITRINE_TRY(ctx.temporary(s.io.out.shape, d));
  VITRINE_TRY(ctx.temporary(s.io.out.shape, m));
  ctx->combine(real{1}, s.io.out.data, real{-1}, s.reference->out.data, d.data, d.size());
  ctx->select_by_sign(d.data, s.s_out[0].data, s.s_out[1].data, m.data, m.size(), false);
  return Status::ok;
}

Status DeepLiftRevealCancel::product(const Context& ctx, const ProductOp& op, const Step& s) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView m;
  VITRINE_TRY(of_total(ctx, s, m));
  VITRINE_TRY(half_split(ctx, op, s, m, s.inputs(0)));
  return half_split(ctx, op, s, m, s.inputs(1));
}

Status DeepLiftRevealCancel::custom(const Context& ctx, const CustomOp& op, const Step& s) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView m;
  VITRINE_TRY(of_total(ctx, s, m));
  VITRINE_TRY(op.multipliers(ctx, s.io, *s.reference, m, s.inputs(0)));
  return op.multipliers(ctx, s.io, *s.reference, m, s.inputs(1));
}

Status DeepLiftRevealCancel::contribution(const Context& ctx, const Run& run, Id value,
                                          const TensorView& out) const noexcept {
  ctx->multiply(run.signal(value, 0).data, parts_.positive[value].data, out.data, out.size(), false);
  ctx->multiply(run.signal(value, 1).data, parts_.negative[value].data, out.data, out.size(), true);
  return Status::ok;
}

}  // namespace vitrine
