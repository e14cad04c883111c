#include "layers/softmax.h"

namespace vitrine {

namespace {

Status infer_vector(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                    std::size_t& aux) noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (in[0].pixels() != 1) return ctx.fail(Status::bad_shape, "takes vectors (N,K,1,1)", in[0], in[0]);
  out = in[0];
  return Status::ok;
}

std::int64_t rows(const TensorView& t) noexcept { return t.size() / t.shape.w(); }

}  // namespace

Status Softmax::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                      std::size_t& aux) const noexcept {
  return infer_vector(ctx, in, par, out, aux);
}

Status LogSoftmax::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                         std::size_t& aux) const noexcept {
  return infer_vector(ctx, in, par, out, aux);
}

Status LogSoftmax::forward(const Context& ctx, const NodeIO& io) const noexcept {
  ctx->log_softmax_forward(io.in[0].data, io.out.shape.n(), io.out.shape.c(), io.out.data);
  return Status::ok;
}

Status LogSoftmax::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                       std::span<const Sink>) const noexcept {
  if (d_in[0])
    ctx->log_softmax_backward(io.out.data, d_out.data, io.out.shape.n(), io.out.shape.c(), d_in[0].data, d_in[0].add);
  return Status::ok;
}

Status Softmax::forward(const Context& ctx, const NodeIO& io) const noexcept {
  ctx->softmax_forward(io.in[0].data, io.out.shape.n(), io.out.shape.c(), io.out.data);
  return Status::ok;
}

Status Softmax::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                    std::span<const Sink>) const noexcept {
  if (d_in[0])
    ctx->softmax_backward(io.out.data, d_out.data, io.out.shape.n(), io.out.shape.c(), d_in[0].data, d_in[0].add);
  return Status::ok;
}

Status RowSoftmax::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                         std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  out = in[0];
  return Status::ok;
}

Status RowSoftmax::forward(const Context& ctx, const NodeIO& io) const noexcept {
  const auto run = logarithm ? ctx->log_softmax_forward : ctx->softmax_forward;
  run(io.in[0].data, rows(io.out), io.out.shape.w(), io.out.data);
  return Status::ok;
}

Status RowSoftmax::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                       std::span<const Sink>) const noexcept {
  const auto run = logarithm ? ctx->log_softmax_backward : ctx->softmax_backward;
  if (d_in[0]) run(io.out.data, d_out.data, rows(io.out), io.out.shape.w(), d_in[0].data, d_in[0].add);
  return Status::ok;
}

// With c the mean of both runs' logarithms of the denominator, e = exp(x - c) and S = sum of e, so S S0 = 1 and y =
// e/S. Delta y_i = (1/S + 1/S0)/2 Delta e_i - (e_i + e0_i)/2 Delta S, and Delta S is the sum of all Delta e_j. With q_j
// = Delta e_j / Delta x_j (Rescale) that is m_j = q_j ((S + 1/S)/2 m_j - sum_i m_i (e_i + e0_i)/2). The logarithm is
// x_i - log S: m_j - q_j sum_i m_i Delta log S / Delta S.
Status RowSoftmax::multipliers(const Context& ctx, const NodeIO& io, const NodeIO& ref, const TensorView& m,
                               std::span<const Sink> d_in) const noexcept {
  if (!d_in[0]) return Status::ok;
  const std::int64_t n = m.size(), width = m.shape.w(), all = rows(m);
  const TensorView &x = io.in[0], &x0 = ref.in[0];
  const ArenaScope scope(*ctx.scratch);
  TensorView l, l0, s, s0, e, e0, q, sums;
  for (TensorView* t : {&l, &l0, &s, &s0, &e, &e0, &q}) VITRINE_TRY(ctx.temporary(m.shape, *t));
  VITRINE_TRY(ctx.temporary({m.shape.n(), m.shape.c(), m.shape.h()}, sums));
  ctx->log_softmax_forward(x.data, all, width, l.data);
  ctx->log_softmax_forward(x0.data, all, width, l0.data);
  // S = exp(d), S0 = exp(-d), where 2d = (x - l) - (x0 - l0) is the same along a row.
  ctx->combine(real{0.5}, x.data, real{-0.5}, l.data, s.data, n);
  ctx->combine(real{0.5}, x0.data, real{-0.5}, l0.data, s0.data, n);
  ctx->combine(real{1}, s.data, real{-1}, s0.data, s.data, n);
  ctx->combine(real{1}, l.data, real{1}, s.data, e.data, n);
  ctx->combine(real{1}, l0.data, real{-1}, s.data, e0.data, n);
  ctx->scale(real{-1}, s.data, s0.data, n, false);
  if (logarithm) {
    // Delta log S / Delta S, by Rescale with the slope 1/S0 = S at the reference.
    ctx->combine(real{1}, s.data, real{0}, s.data, l.data, n);
    ctx->combine(real{1}, s0.data, real{0}, s0.data, l0.data, n);
  }
  for (TensorView* t : {&s, &s0, &e, &e0}) ctx->map_forward(kernels::Map::exp, {}, t->data, t->data, n);
  ctx->fill(real{1}, q.data, n);
  TensorView rescaled;
  VITRINE_TRY(ctx.temporary(m.shape, rescaled));
  ctx->rescale_multiplier(x.data, x0.data, e.data, e0.data, e0.data, q.data, rescaled.data, n, false);
  if (logarithm) {
    TensorView slope;
    VITRINE_TRY(ctx.temporary(m.shape, slope));
    ctx->rescale_multiplier(s.data, s0.data, l.data, l0.data, s.data, q.data, slope.data, n, false);
    ctx->multiply(rescaled.data, slope.data, q.data, n, false);
    ctx->channel_sum(m.data, 1, all, width, sums.data, false);
    ctx->scale(real{1}, m.data, d_in[0].data, n, d_in[0].add);
  } else {
    ctx->combine(real{0.5}, e.data, real{0.5}, e0.data, e.data, n);
    ctx->combine(real{0.5}, s.data, real{0.5}, s0.data, s.data, n);
    ctx->multiply(e.data, m.data, e0.data, n, false);
    ctx->channel_sum(e0.data, 1, all, width, sums.data, false);
    ctx->multiply(s.data, m.data, e.data, n, false);
    ctx->scale(real{1}, rescaled.data, q.data, n, false);
    ctx->multiply(e.data, q.data, d_in[0].data, n, d_in[0].add);
  }
  ctx->scale(real{-1}, q.data, q.data, n, false);
  kernels::ChannelAffineArgs<real> a;
  a.planes = a.channels = all;
  a.pixels = width;
  a.x = q.data;
  a.scale = sums.data;
  a.y = d_in[0].data;
  a.add = true;
  ctx->channel_affine(a);
  return Status::ok;
}

Id row_softmax(GraphBuilder& g, Id x, bool logarithm, const char* name) noexcept {
  RowSoftmax* op = g.make<RowSoftmax>();
  if (op != nullptr) op->logarithm = logarithm;
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id log_softmax(GraphBuilder& g, Id x, const char* name) noexcept {
  const Id in[] = {x};
  return g.add(g.make<LogSoftmax>(), in, {}, name);
}

Id softmax(GraphBuilder& g, Id x, const char* name) noexcept {
  const Id in[] = {x};
  return g.add(g.make<Softmax>(), in, {}, name);
}

}  // namespace vitrine
