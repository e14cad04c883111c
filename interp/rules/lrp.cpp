#include "interp/rules/lrp.h"

#include <algorithm>

#include "interp/rules/repeat.h"

namespace vitrine {
namespace {

Substitute part_of(LrpInput input) noexcept {
  switch (input) {
    case LrpInput::positive:
      return positive_part;
    case LrpInput::negative:
      return negative_part;
    case LrpInput::ones:
      return ones;
    case LrpInput::all:
    case LrpInput::above_low:
    case LrpInput::above_high:
      break;
  }
  return raw_part;
}

/// Whether what the row adds to the denominators is the same for all images.
bool same_for_all_images(const LrpGroup& group, const LrpRow& row) noexcept {
  return row.input == LrpInput::ones || group.denominator == LrpDenominator::output_less_bounds;
}

/// Whether the group's denominators are the op's own output.
bool is_forward_output(const LrpGroup& group) noexcept {
  const LrpRow& row = group.rows[0];
  return group.row_count() == 1 && row.input == LrpInput::all && row.weight.raw() && row.bias.raw();
}

/// At ops that move or pass relevance: whether zeros receive none. They do where an output is 0 if its input is.
ZeroInputs where_moved(const Op& op) noexcept {
  const bool keeps_zeros = op.op_class() == OpClass::route || op.op_class() == OpClass::view ||
                           (op.op_class() == OpClass::pointwise && static_cast<const PointwiseOp&>(op).rectifier());
  return keeps_zeros ? ZeroInputs::follow_output : ZeroInputs::may_receive;
}

/// out = x - bound.
void subtract(const Context& ctx, const TensorView& x, const TensorView& bound, const TensorView& out) noexcept {
  for_each_repeat(ctx, x.size(), bound.size(), [&](std::int64_t i, std::int64_t k, std::int64_t n) noexcept {
    ctx->combine(real{1}, x.data + i, real{-1}, bound.data + k, out.data + i, n);
  });
}

/// A tensor of bounds, of the shape of `like`.
Status make_bound(const Context& ctx, const TensorView& like, std::span<const float> values, TensorView& out) noexcept {
  const auto channels = static_cast<std::size_t>(like.shape.c());
  if (values.size() != 1 && values.size() != channels)
    return ctx.fail(Status::bad_argument, "needs one value of low and high, or one per channel");
  VITRINE_TRY(ctx.temporary_like(like, out));
  const Shape each = folded(like);
  const std::int64_t pixels = each.pixels();
  for (std::int32_t n = 0; n < each.n(); ++n)
    for (std::size_t c = 0; c < channels; ++c)
      ctx->fill(values[values.size() == 1 ? 0 : c],
                out.data + (n * static_cast<std::int64_t>(channels) + static_cast<std::int64_t>(c)) * pixels, pixels);
  return Status::ok;
}

}  // namespace

struct LrpRule::AffineStep {
  const Context& ctx;
  const AffineOp& op;
  const Step& step;
  /// The bounds, one per input, each for one block of images: as many as are stored interleaved, else one. In a table
  /// without bounds, the first images of the input: rows of ones read the shape alone.
  std::span<TensorView> low{}, high{};
  std::span<bool> written{};  ///< per input: its relevance holds something already
  TensorView denominators[LrpTable::max_groups]{};

  const TensorView& bound(LrpInput input, std::size_t i) const noexcept {
    return input == LrpInput::above_high ? high[i] : low[i];
  }
};

LrpRule::LrpRule(const LrpTable& table, bool nonnegative) noexcept
    : table_(nonnegative ? table.for_nonnegative_inputs() : table) {
  if (table.bias != BiasMode::dropped) return;
  for (LrpGroup& group : table_.groups)
    for (LrpRow& row : group.rows) row.bias = nothing;
}

const char* LrpRule::refuses(const Op& op) const noexcept {
  if (op.op_class() == OpClass::custom && !static_cast<const CustomOp&>(op).passes())
    return "is no op that LRP passes: start at the logits before it";
  if (op.op_class() != OpClass::affine) return nullptr;
  for (const LrpGroup& group : table_.used_groups())
    for (const LrpRow& row : group.used_rows())
      if (!static_cast<const AffineOp&>(op).accepts(row.weight))
        return "has no weights to square or flatten: use norm or epsilon there";
  return nullptr;
}

float LrpRule::output_multiple(const AffineOp& op) const noexcept {
  return table_.bias == BiasMode::kept && op.mixes() ? table_.output_multiple : 0;
}

Need LrpRule::needs(const Op& op) const noexcept {
  if (op.op_class() == OpClass::route || op.op_class() == OpClass::view) return op.vjp_needs(false);
  if (op.op_class() != OpClass::affine) return {};
  bool out = output_multiple(static_cast<const AffineOp&>(op)) > 0;
  for (const LrpGroup& group : table_.used_groups())
    out = out || is_forward_output(group) || group.outputs != kernels::Sign::any ||
          group.denominator == LrpDenominator::output_less_bounds;
  return {true, out, false};
}

RuleTraits LrpRule::traits(const Op& op) const noexcept {
  RuleTraits t{.passes = is_activation(op) || op.op_class() == OpClass::custom,
               .any_layout = true,
               .zero_inputs = where_moved(op)};
  if (op.op_class() != OpClass::affine) return t;
  bool shares_by_input = table_.bias != BiasMode::shared;
  for (const LrpGroup& group : table_.used_groups())
    for (const LrpRow& row : group.used_rows()) shares_by_input = shares_by_input && row.input <= LrpInput::negative;
  if (shares_by_input) t.zero_inputs = ZeroInputs::receive_none;
  return t;
}

Status LrpRule::affine(const Context& ctx, const AffineOp& op, const Step& step) const noexcept {
  const ArenaScope scope(*ctx.scratch), book_scope(*ctx.book);
  AffineStep a{.ctx = ctx, .op = op, .step = step};
  VITRINE_TRY(open(a));
  for (std::size_t g = 0; g < table_.group_count(); ++g) VITRINE_TRY(send_group(a, g));
  for (std::size_t i = 0; i < step.io.in.size(); ++i)
    if (step.s_in[i] && !a.written[i]) ctx->fill(real{0}, step.s_in[i].data, step.s_in[i].size());
  return Status::ok;
}

/// Makes the bounds, and room for the denominators of each group.
Status LrpRule::open(AffineStep& a) const noexcept {
  const Context& ctx = a.ctx;
  const NodeIO& io = a.step.io;
  const std::size_t inputs = io.in.size();
  TensorView* const bounds = ctx.book->array<TensorView>(2 * inputs);
  bool* const written = ctx.book->array<bool>(inputs);
  if (bounds == nullptr || written == nullptr) return ctx.fail(Status::out_of_arena, memory_too_small);
  a.low = {bounds, inputs};
  a.high = {bounds + inputs, inputs};
  a.written = {written, inputs};
  std::int32_t block = io.out.block;
  for (const TensorView& x : io.in) block = std::max(block, x.block);
  for (std::size_t i = 0; i < inputs; ++i) {
    a.low[i] = a.high[i] = io.in[i].images(0, block);
    a.written[i] = a.step.s_in[i].add;
    if (table_.groups[0].denominator != LrpDenominator::output_less_bounds &&
        table_.groups[1].denominator != LrpDenominator::output_less_bounds)
      continue;
    const TensorView like = a.low[i];
    VITRINE_TRY(make_bound(ctx, like, table_.low, a.low[i]));
    VITRINE_TRY(make_bound(ctx, like, table_.high, a.high[i]));
  }
  for (std::size_t g = 0; g < table_.group_count(); ++g) {
    const LrpGroup& group = table_.groups[g];
    if (is_forward_output(group))
      a.denominators[g] = io.out;
    else if (g == 1 && group.row_count() == 1 && !is_forward_output(table_.groups[0]))
      a.denominators[g] = a.denominators[0];  // of several rows, each would read what the first group left
    else
      VITRINE_TRY(ctx.temporary_like(io.out, a.denominators[g]));
  }
  return Status::ok;
}

/// The denominators of a group: the sum of its rows. Rows that are the same for all images are summed for one block of
/// images alone. Those of the second group may be taken from the first's (LrpTable::output_multiple).
Status LrpRule::make_denominators(const AffineStep& a, std::size_t g) const noexcept {
  const Context& ctx = a.ctx;
  const NodeIO& io = a.step.io;
  const LrpGroup& group = table_.groups[g];
  const ArenaScope scope(*ctx.scratch);
  const TensorView& z = a.denominators[g];
  const float multiple = g == 1 ? output_multiple(a.op) : 0;
  const bool less_bounds = group.denominator == LrpDenominator::output_less_bounds;
  TensorView same{};
  bool add = false;
  for (const LrpRow& r : group.used_rows()) {
    Row row{part_of(r.input), r.weight, r.bias, group.exact, {}};
    if (!same_for_all_images(group, r)) {
      if (multiple > 0)
        row.known = {io.out.data, a.denominators[0].data, a.step.s_out[0].data, multiple, group.outputs};
      VITRINE_TRY(a.op.apply(ctx, io, io.in, row, {z, add}));
      add = true;
      continue;
    }
    NodeIO block = io;
    block.in = r.input == LrpInput::above_high ? a.high : a.low;
    const bool first = !same;
    if (first) VITRINE_TRY(ctx.temporary_like(io.out.images(0, block.in[0].shape.n()), same));
    block.out = same;
    if (less_bounds && first) row.bias = raw_part;  // as in the output that they are taken from
    VITRINE_TRY(a.op.apply(ctx, block, block.in, row, {same, !first}));
  }
  if (less_bounds)
    subtract(ctx, io.out, same, z);
  else if (same)
    for_each_repeat(ctx, z.size(), same.size(), [&](std::int64_t i, std::int64_t k, std::int64_t n) noexcept {
      ctx->scale(real{1}, same.data + k, z.data + i, n, add);
    });
  return Status::ok;
}

/// One group: denominators, quotients s, and what its rows send to the inputs.
Status LrpRule::send_group(const AffineStep& a, std::size_t g) const noexcept {
  const Context& ctx = a.ctx;
  const NodeIO& io = a.step.io;
  const LrpGroup& group = table_.groups[g];
  const TensorView &relevance = a.step.s_out[0], &z = a.denominators[g];
  const ArenaScope scope(*ctx.scratch);
  // Behind a ReLU nothing arrives where the sum was negative. But the second group may read the first's denominators.
  const bool idle = group.outputs != kernels::Sign::any &&
                    ctx->no_relevance(group.outputs, relevance.data, io.out.data, relevance.size());
  if (idle && (g == 1 || output_multiple(a.op) == 0)) return Status::ok;
  if (!is_forward_output(group)) VITRINE_TRY(make_denominators(a, g));
  if (idle) return Status::ok;
  TensorView s;
  VITRINE_TRY(ctx.temporary_like(io.out, s));
  ctx.ranges(s.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    const real* const out = io.out.data != nullptr ? io.out.data + begin : nullptr;
    ctx->relevance_quotient(table_.stabiliser, group.outputs, relevance.data + begin, z.data + begin, out,
                            s.data + begin, end - begin);
  });
  if (a.step.report != nullptr) VITRINE_TRY(report(a, g, s));
  for (const LrpRow& row : group.used_rows()) {
    VITRINE_TRY(send_row(a, group, row, s));
    if (table_.bias == BiasMode::shared && !row.bias.zero()) VITRINE_TRY(share_bias(a, group, row, s));
  }
  return Status::ok;
}

/// R_in += factor * x_k . A(w_k)^T s
Status LrpRule::send_row(const AffineStep& a, const LrpGroup& group, const LrpRow& row,
                         const TensorView& s) const noexcept {
  const Context& ctx = a.ctx;
  const NodeIO& io = a.step.io;
  for (std::size_t i = 0; i < io.in.size(); ++i) {
    const Sink& sink = a.step.s_in[i];
    if (!sink) continue;
    const ArenaScope scope(*ctx.scratch);
    TensorView x = io.in[i], c;
    if (row.input >= LrpInput::above_low) {
      VITRINE_TRY(ctx.temporary_like(io.in[i], x));
      subtract(ctx, io.in[i], a.bound(row.input, i), x);
    }
    VITRINE_TRY(ctx.temporary_like(sink, c));
    VITRINE_TRY(a.op.apply_t(ctx, io, row.weight, s, i, {c, false}));
    const bool add = a.written[i];
    ctx.ranges(sink.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
      ctx->relevance_product(group.factor, part_of(row.input), x.data + begin, c.data + begin, sink.data + begin,
                             end - begin, add);
    });
    a.written[i] = true;
  }
  return Status::ok;
}

/// R_i += factor * sum_j s_j b_j / (number of inputs of neuron j), over the inputs i of j that are inside the image.
Status LrpRule::share_bias(const AffineStep& a, const LrpGroup& group, const LrpRow& row,
                           const TensorView& s) const noexcept {
  if (!a.op.has_bias()) return Status::ok;
  const Context& ctx = a.ctx;
  const NodeIO& io = a.step.io;
  const ArenaScope scope(*ctx.scratch);
  TensorView bias, taps, t;
  VITRINE_TRY(ctx.temporary_like(io.out, bias));
  VITRINE_TRY(ctx.temporary_like(io.out, taps));
  VITRINE_TRY(ctx.temporary_like(io.out, t));
  VITRINE_TRY(a.op.apply(ctx, io, io.in, {nothing, raw_part, row.bias}, {bias, false}));
  VITRINE_TRY(a.op.apply(ctx, io, io.in, {ones, ones, nothing}, {taps, false}));
  ctx->safe_divide(bias.data, taps.data, t.data, t.size(), false);
  ctx->multiply(t.data, s.data, bias.data, t.size(), false);
  for (std::size_t i = 0; i < io.in.size(); ++i) {
    const Sink& sink = a.step.s_in[i];
    if (!sink) continue;
    TensorView c;
    VITRINE_TRY(ctx.temporary_like(sink, c));
    VITRINE_TRY(a.op.apply_t(ctx, io, ones, bias, i, {c, false}));
    ctx->scale(group.factor, c.data, sink.data, sink.size(), a.written[i]);
    a.written[i] = true;
  }
  return Status::ok;
}

/// What the bias and the stabiliser absorbed of the group's relevance, for the ledger.
Status LrpRule::report(const AffineStep& a, std::size_t g, const TensorView& s) const noexcept {
  const Context& ctx = a.ctx;
  const NodeIO& io = a.step.io;
  const LrpGroup& group = table_.groups[g];
  const TensorView& z = a.denominators[g];
  const ArenaScope scope(*ctx.scratch);
  TensorView t;
  VITRINE_TRY(ctx.temporary_like(io.out, t));
  bool bias = false;
  for (const LrpRow& row : group.used_rows()) {
    if (row.bias.zero() || !a.op.has_bias() || table_.bias == BiasMode::shared) continue;
    VITRINE_TRY(a.op.apply(ctx, io, io.in, {nothing, raw_part, row.bias}, {t, bias}));
    bias = true;
  }
  if (bias) a.step.report->absorbed_by_bias += group.factor * ctx->dot(s.data, t.data, t.size());
  // Without any guard the quotients would place all of R (where z is not 0): the rest went into the guard.
  ctx->relevance_quotient({0, kernels::Stabilise::offset}, group.outputs, a.step.s_out[0].data, z.data, io.out.data,
                          t.data, t.size());
  a.step.report->absorbed_by_stabiliser +=
      group.factor * (ctx->dot(t.data, z.data, t.size()) - ctx->dot(s.data, z.data, t.size()));
  return Status::ok;
}

Status LrpRule::product(const Context& ctx, const ProductOp& op, const Step& s) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView part = s.s_out[0];
  if (op.gate() < 0) {
    VITRINE_TRY(ctx.temporary(part.shape, part));
    ctx->scale(real{0.5}, s.s_out[0].data, part.data, part.size(), false);
  }
  for (std::size_t k = 0; k < 2; ++k) {
    const Sink& d = s.s_in[k];
    if (!d) continue;
    if (op.gate() != static_cast<int>(k))
      VITRINE_TRY(op.partial(ctx, s.io, part, {nullptr, s.io.in[1 - k].shape}, k, d));
    else if (!d.add)
      ctx->fill(real{0}, d.data, d.size());
  }
  return Status::ok;
}

RuleTraits PassRule::traits(const Op& op) const noexcept {
  return {.passes = op.op_class() != OpClass::route && op.op_class() != OpClass::view,
          .any_layout = true,
          .zero_inputs = where_moved(op)};
}

const char* PassRule::refuses(const Op& op) const noexcept {
  if (is_activation(op) || op.op_class() == OpClass::view || op.op_class() == OpClass::route) return nullptr;
  if (op.op_class() == OpClass::affine && static_cast<const AffineOp&>(op).weights() == Weights::diagonal)
    return nullptr;
  if (op.op_class() == OpClass::custom && static_cast<const CustomOp&>(op).passes()) return nullptr;
  return "mixes elements, so relevance cannot pass it unchanged";
}

}  // namespace vitrine
