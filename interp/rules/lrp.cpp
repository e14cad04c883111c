#include "interp/rules/lrp.h"

#include <algorithm>

namespace vitrine {
namespace {

constexpr Substitute favour_positive(float gamma) noexcept { return {1 + gamma, 1}; }
constexpr Substitute favour_negative(float gamma) noexcept { return {1, 1 + gamma}; }

/// body(place in `all`, place in `same`, how many): `same` stands beside every piece of its size.
template <class Body>
void beside(const Context& ctx, const TensorView& all, const TensorView& same, Body body) noexcept {
  for (std::int64_t at = 0; at < all.size(); at += same.size())
    ctx.ranges(same.size(), elementwise_grain,
               [&](std::int64_t begin, std::int64_t end) noexcept { body(at + begin, begin, end - begin); });
}

}  // namespace

void LrpRule::add(Substitute x, Substitute w, Substitute bias, float share, std::uint8_t group,
                  Source source) noexcept {
  if (options_.bias == BiasMode::dropped) bias = nothing;
  rows_[row_count_++] = {{x, w, bias}, source, share, group};
}

LrpRule::LrpRule(const LrpOptions& o, bool nonnegative) noexcept : options_(o) {
  const Substitute p = positive_part, n = negative_part;
  stabilise_ = {o.stabilizer, o.stabilise};
  // Rows that read x- are left out where there is no negative input.
  const bool both = !nonnegative;
  switch (o.kind) {
    case LrpKind::zero:
    case LrpKind::epsilon:
    case LrpKind::norm:
      stabilise_.eps = o.kind == LrpKind::zero ? 0 : o.kind == LrpKind::epsilon ? o.epsilon : o.stabilizer;
      add(raw_part, raw_part, raw_part, 1, 0);
      break;
    case LrpKind::z_plus:
      add(p, p, p, 1, 0);
      if (both) add(n, n, nothing, 1, 0);
      break;
    case LrpKind::alpha_beta:
      add(p, p, p, o.alpha, 0);
      if (both) add(n, n, nothing, o.alpha, 0);
      if (o.beta == 0) break;
      group_count_ = 2;
      // What arrives is never much larger than the denominators of the other rows: it grew out of the same sums. Not so
      // here.
      add(p, n, n, -o.beta, 1);
      if (both) add(n, p, nothing, -o.beta, 1);
      for (std::uint8_t k = 0; k < row_count_; ++k) rows_[k].row.exact = rows_[k].group == 1;
      break;
    case LrpKind::gamma: {
      const Substitute up = favour_positive(o.gamma), down = favour_negative(o.gamma);
      group_count_ = 2;
      where_[0] = kernels::Where::positive;
      where_[1] = kernels::Where::negative;
      add(p, up, up, 1, 0);
      if (both) add(n, down, nothing, 1, 0);
      add(p, down, down, 1, 1);
      if (both) add(n, up, nothing, 1, 1);
      break;
    }
    case LrpKind::z_box:
      // xW - low W+ - high W-; the bias cancels: b - b+ - b-.
      add(raw_part, p, nothing, 1, 0, Source::above_low);
      add(raw_part, n, nothing, 1, 0, Source::above_high);
      break;
    case LrpKind::w_square:
      add(ones, squared, squared, 1, 0);
      break;
    case LrpKind::flat:
      add(ones, ones, nothing, 1, 0);
      break;
  }
}

const char* LrpRule::check(const LrpOptions& o) noexcept {
  // Written so that NaN fails too.
  if (!(o.epsilon >= 0)) return "needs epsilon of at least 0";
  if (!(o.gamma >= 0)) return "needs gamma of at least 0";
  if (!(o.stabilizer > 0)) return "needs a stabilizer above 0";
  if (o.kind == LrpKind::alpha_beta) {
    const float difference = o.alpha - o.beta - 1;
    if (!(o.alpha >= 1 && o.beta >= 0 && difference < 1e-5f && difference > -1e-5f))
      return "needs alpha - beta = 1 with alpha of at least 1 and beta of at least 0";
  }
  if (o.kind == LrpKind::z_box) {
    if (o.low.empty() || o.high.empty()) return "needs low and high";
    if (o.low.size() != o.high.size()) return "needs as many values of low as of high";
    for (std::size_t c = 0; c < o.low.size(); ++c)
      if (!(o.low[c] <= o.high[c])) return "needs low of at most high";
  }
  return nullptr;
}

const char* LrpRule::name() const noexcept {
  switch (options_.kind) {
    case LrpKind::zero:
      return "lrp-0";
    case LrpKind::epsilon:
      return "epsilon";
    case LrpKind::gamma:
      return "gamma";
    case LrpKind::alpha_beta:
      return "alpha-beta";
    case LrpKind::z_plus:
      return "z-plus";
    case LrpKind::z_box:
      return "z-box";
    case LrpKind::w_square:
      return "w-square";
    case LrpKind::flat:
      return "flat";
    case LrpKind::norm:
      return "norm";
  }
  return "lrp";
}

const char* LrpRule::refuses(const Op& op) const noexcept {
  if (op.klass() == OpClass::custom && !static_cast<const CustomOp&>(op).passes())
    return "is no op that LRP passes: start at the logits before it";
  if (op.klass() != OpClass::affine) return nullptr;
  const auto& affine = static_cast<const AffineOp&>(op);
  for (std::uint8_t k = 0; k < row_count_; ++k)
    if (!affine.accepts(rows_[k].row.w)) return "has no weights to square or flatten: use norm or epsilon there";
  return nullptr;
}

int LrpRule::rows_of(std::uint8_t group) const noexcept {
  int rows = 0;
  for (std::uint8_t k = 0; k < row_count_; ++k) rows += rows_[k].group == group;
  return rows;
}

bool LrpRule::reads_forward_output(std::uint8_t group) const noexcept {
  bool raw = rows_of(group) == 1;
  for (std::uint8_t k = 0; k < row_count_; ++k)
    raw = raw && (rows_[k].group != group || (rows_[k].source == Source::input && rows_[k].row.x.raw() &&
                                              rows_[k].row.w.raw() && rows_[k].row.bias.raw()));
  return raw;
}

float LrpRule::denominators_over_output(const AffineOp& op) const noexcept {
  if (group_count_ != 2 || options_.bias != BiasMode::kept || !op.mixes()) return 0;
  return options_.kind == LrpKind::gamma ? 2 + options_.gamma : 1;
}

Need LrpRule::needs(const Op& op) const noexcept {
  if (op.klass() == OpClass::route || op.klass() == OpClass::view) return op.vjp_needs(false);
  if (op.klass() != OpClass::affine) return {};
  bool out = options_.kind == LrpKind::z_box || denominators_over_output(static_cast<const AffineOp&>(op)) > 0;
  for (std::uint8_t g = 0; g < group_count_; ++g)
    out = out || reads_forward_output(g) || where_[g] != kernels::Where::always;
  return {true, out, false};
}

bool LrpRule::vanishes(const Op& op, bool out) const noexcept {
  if (op.klass() != OpClass::affine) return out && keeps_zeros(op);
  bool shares = options_.bias != BiasMode::shared;
  for (std::uint8_t k = 0; k < row_count_; ++k)
    shares = shares && rows_[k].source == Source::input && !(rows_[k].row.x == ones);
  return shares;
}

Status LrpRule::bounds(const Context& ctx, const TensorView& like, std::span<const float> values,
                       TensorView& out) const noexcept {
  const auto channels = static_cast<std::size_t>(like.shape.c());
  if (values.size() != 1 && values.size() != channels)
    return ctx.fail(Status::bad_argument, "needs one value of low and high, or one a channel");
  VITRINE_TRY(ctx.temporary_like(like, out));
  const Shape each = like.folded();
  const std::int64_t pixels = each.pixels();
  for (std::int32_t n = 0; n < each.n(); ++n)
    for (std::size_t c = 0; c < channels; ++c)
      ctx->fill(values[values.size() == 1 ? 0 : c],
                out.data + (n * static_cast<std::int64_t>(channels) + static_cast<std::int64_t>(c)) * pixels, pixels);
  return Status::ok;
}

void LrpRule::above(const Context& ctx, const TensorView& x, const TensorView& bound, const TensorView& out) noexcept {
  beside(ctx, x, bound, [&](std::int64_t i, std::int64_t k, std::int64_t n) noexcept {
    ctx->combine(real{1}, x.data + i, real{-1}, bound.data + k, out.data + i, n);
  });
}

Status LrpRule::denominator(const Context& ctx, const AffineOp& op, const Step& step,
                            std::span<const TensorView> sources, std::uint8_t group, const TensorView& first,
                            const TensorView& z) const noexcept {
  const NodeIO& io = step.io;
  const std::size_t inputs = io.in.size();
  const ArenaScope scope(*ctx.scratch);
  const float both = group == 1 ? denominators_over_output(op) : 0;
  const bool box = options_.kind == LrpKind::z_box;
  TensorView same{};  // what is the same for all images
  bool add = false;
  for (std::uint8_t k = 0; k < row_count_; ++k) {
    const TableRow& r = rows_[k];
    if (r.group != group) continue;
    Row row = r.row;
    if (box || row.x == ones) {
      NodeIO some = io;
      some.in = sources.subspan(r.source == Source::above_high ? 2 * inputs : inputs, inputs);
      if (!add) VITRINE_TRY(ctx.temporary_like(io.out.images(0, some.in[0].shape.n()), same));
      some.out = same;
      if (box && !add) row.bias = raw_part;  // it is in the forward output
      VITRINE_TRY(op.apply(ctx, some, some.in, row, {same, add}));
    } else {
      if (both > 0) row.rest = {io.out.data, first.data, step.s_out[0].data, both, where_[group]};
      VITRINE_TRY(op.apply(ctx, io, sources.first(inputs), row, {z, add}));
    }
    add = true;
  }
  if (box)
    above(ctx, io.out, same, z);
  else if (same)
    beside(ctx, z, same, [&](std::int64_t i, std::int64_t k, std::int64_t n) noexcept {
      ctx->scale(real{1}, same.data + k, z.data + i, n, false);
    });
  return Status::ok;
}

Status LrpRule::affine(const Context& ctx, const AffineOp& op, const Step& step) const noexcept {
  const NodeIO& io = step.io;
  const std::size_t inputs = io.in.size();
  const TensorView& relevance = step.s_out[0];
  const ArenaScope scope(*ctx.scratch), book_scope(*ctx.book);
  // What rows read: the inputs themselves; then, for rows that are the same for all images, as many of those as lie
  // together.
  const bool box = options_.kind == LrpKind::z_box;
  std::int32_t together = io.out.lanes;
  for (const TensorView& x : io.in) together = std::max(together, x.lanes);
  TensorView* const sources = ctx.book->array<TensorView>(3 * inputs);
  bool* const written = ctx.book->array<bool>(inputs);
  if (sources == nullptr || written == nullptr) return ctx.fail(Status::out_of_arena, memory_too_small);
  for (std::size_t k = 0; k < inputs; ++k) {
    const TensorView some = io.in[k].images(0, together);
    sources[k] = io.in[k];
    sources[inputs + k] = sources[2 * inputs + k] = some;
    written[k] = step.s_in[k].add;
    if (!box) continue;
    VITRINE_TRY(bounds(ctx, some, options_.low, sources[inputs + k]));
    VITRINE_TRY(bounds(ctx, some, options_.high, sources[2 * inputs + k]));
  }

  TensorView denominators[2];
  for (std::uint8_t g = 0; g < group_count_; ++g) {
    if (reads_forward_output(g))
      denominators[g] = io.out;
    else if (g == 1 && rows_of(g) == 1)
      denominators[g] = denominators[0];  // several rows would each read what the first group left
    else
      VITRINE_TRY(ctx.temporary_like(io.out, denominators[g]));
  }
  for (std::uint8_t g = 0; g < group_count_; ++g) {
    const ArenaScope group_scope(*ctx.scratch);
    // Behind a ReLU nothing arrives where the sum was negative. But the second group may read the first's denominators.
    const bool idle = where_[g] != kernels::Where::always &&
                      ctx->no_relevance(where_[g], relevance.data, io.out.data, relevance.size());
    if (idle && (g == 1 || denominators_over_output(op) == 0)) continue;
    const TensorView& z = denominators[g];
    TensorView s;
    if (!reads_forward_output(g)) VITRINE_TRY(denominator(ctx, op, step, {sources, 3 * inputs}, g, denominators[0], z));
    if (idle) continue;
    VITRINE_TRY(ctx.temporary_like(io.out, s));
    ctx.ranges(s.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
      const real* const out = io.out.data != nullptr ? io.out.data + begin : nullptr;
      ctx->relevance_quotient(stabilise_, where_[g], relevance.data + begin, z.data + begin, out, s.data + begin,
                              end - begin);
    });
    if (step.report != nullptr) VITRINE_TRY(report(ctx, op, step, g, z, s));
    for (std::uint8_t k = 0; k < row_count_; ++k) {
      const TableRow& r = rows_[k];
      if (r.group != g) continue;
      for (std::size_t i = 0; i < inputs; ++i) {
        const Sink& sink = step.s_in[i];
        if (!sink) continue;
        const ArenaScope row_scope(*ctx.scratch);
        TensorView x = io.in[i], c;
        if (r.source != Source::input) {
          VITRINE_TRY(ctx.temporary_like(io.in[i], x));
          above(ctx, io.in[i], sources[static_cast<std::size_t>(r.source) * inputs + i], x);
        }
        VITRINE_TRY(ctx.temporary_like(sink, c));
        VITRINE_TRY(op.apply_t(ctx, io, r.row.w, s, i, {c, false}));
        const bool add = written[i];
        ctx.ranges(sink.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
          ctx->relevance_product(r.share, r.row.x, x.data + begin, c.data + begin, sink.data + begin, end - begin, add);
        });
        written[i] = true;
      }
      if (options_.bias == BiasMode::shared && !r.row.bias.zero())
        VITRINE_TRY(share_bias(ctx, op, step, r, s, {written, inputs}));
    }
  }
  for (std::size_t i = 0; i < inputs; ++i)
    if (step.s_in[i] && !written[i]) ctx->fill(real{0}, step.s_in[i].data, step.s_in[i].size());
  return Status::ok;
}

// R_i += share * sum_j s_j b_j / (number of inputs of neuron j), over the inputs i of j that lie inside the image.
Status LrpRule::share_bias(const Context& ctx, const AffineOp& op, const Step& step, const TableRow& r,
                           const TensorView& s, std::span<bool> written) const noexcept {
  if (!op.has_bias()) return Status::ok;
  const NodeIO& io = step.io;
  const ArenaScope scope(*ctx.scratch);
  TensorView bias, taps, t;
  VITRINE_TRY(ctx.temporary_like(io.out, bias));
  VITRINE_TRY(ctx.temporary_like(io.out, taps));
  VITRINE_TRY(ctx.temporary_like(io.out, t));
  VITRINE_TRY(op.apply(ctx, io, io.in, {nothing, raw_part, r.row.bias}, {bias, false}));
  VITRINE_TRY(op.apply(ctx, io, io.in, {ones, ones, nothing}, {taps, false}));
  ctx->safe_divide(bias.data, taps.data, t.data, t.size(), false);
  ctx->multiply(t.data, s.data, bias.data, t.size(), false);
  for (std::size_t i = 0; i < io.in.size(); ++i) {
    const Sink& sink = step.s_in[i];
    if (!sink) continue;
    TensorView c;
    VITRINE_TRY(ctx.temporary_like(sink, c));
    VITRINE_TRY(op.apply_t(ctx, io, ones, bias, i, {c, false}));
    ctx->scale(r.share, c.data, sink.data, sink.size(), written[i]);
    written[i] = true;
  }
  return Status::ok;
}

Status LrpRule::report(const Context& ctx, const AffineOp& op, const Step& step, std::uint8_t group,
                       const TensorView& z, const TensorView& s) const noexcept {
  const NodeIO& io = step.io;
  const ArenaScope scope(*ctx.scratch);
  TensorView t;
  VITRINE_TRY(ctx.temporary_like(io.out, t));
  float share = 1;
  bool bias = false;
  for (std::uint8_t k = 0; k < row_count_; ++k) {
    const TableRow& r = rows_[k];
    if (r.group != group) continue;
    share = r.share;
    if (r.row.bias.zero() || !op.has_bias() || options_.bias == BiasMode::shared) continue;
    VITRINE_TRY(op.apply(ctx, io, io.in, {nothing, raw_part, r.row.bias}, {t, bias}));
    bias = true;
  }
  if (bias) step.report->absorbed_by_bias += share * ctx->dot(s.data, t.data, t.size());
  // Without any guard the quotients would place all of R (where z is not 0): the rest went into the guard.
  ctx->relevance_quotient({0, kernels::Stabilise::offset}, where_[group], step.s_out[0].data, z.data, io.out.data,
                          t.data, t.size());
  step.report->absorbed_by_stabiliser +=
      share * (ctx->dot(t.data, z.data, t.size()) - ctx->dot(s.data, z.data, t.size()));
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

bool keeps_zeros(const Op& op) noexcept {
  return op.klass() == OpClass::route || op.klass() == OpClass::view ||
         (op.klass() == OpClass::pointwise && static_cast<const PointwiseOp&>(op).rectifier());
}

const char* PassRule::refuses(const Op& op) const noexcept {
  if (op.klass() == OpClass::pointwise || op.klass() == OpClass::view || op.klass() == OpClass::route) return nullptr;
  if (op.klass() == OpClass::affine && static_cast<const AffineOp&>(op).weights() == Weights::diagonal) return nullptr;
  if (op.klass() == OpClass::custom && static_cast<const CustomOp&>(op).passes()) return nullptr;
  return "mixes elements, so relevance cannot pass it unchanged";
}

}  // namespace vitrine
