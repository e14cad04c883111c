#include "layers/activation.h"

#include "layers/diagonal.h"

namespace vitrine {

Status Activation::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                         std::size_t& aux) const noexcept {
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  return PointwiseOp::infer(ctx, in, par, out, aux);
}

Status Activation::evaluate(const Context& ctx, const NodeIO&, const TensorView& x,
                            const TensorView& y) const noexcept {
  ctx.ranges(y.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    ctx->map_forward(map_, parameters, x.data + begin, y.data + begin, end - begin);
  });
  return Status::ok;
}

Status Activation::slope(const Context& ctx, const NodeIO&, const TensorView& x, const TensorView& y,
                         const TensorView& s, const Sink& d) const noexcept {
  // Only what vjp_needs names has been kept; the other's memory may hold something else by now, so it is not handed on.
  const real* const px = need_.in ? x.data : y.data;
  const real* const py = need_.out ? y.data : x.data;
  ctx.ranges(d.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    ctx->map_backward(map_, parameters, px + begin, py + begin, s.data + begin, d.data + begin, end - begin, d.add);
  });
  return Status::ok;
}

Status Clip::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                   std::size_t& aux) const noexcept {
  if (!(parameters.a < parameters.b)) return ctx.fail(Status::bad_argument, "needs low below high");
  return Activation::infer(ctx, in, par, out, aux);
}

Status PRelu::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                    std::size_t& aux) const noexcept {
  if (in.size() != 1 || par.size() != 1) return ctx.fail(Status::bad_graph, "takes one input and its slopes");
  const Shape each{in[0].c(), 1};
  if (par[0] != each) return ctx.fail(Status::bad_shape, "has slopes of another shape", par[0], each);
  return PointwiseOp::infer(ctx, in, par, out, aux);
}

Status PRelu::evaluate(const Context& ctx, const NodeIO& io, const TensorView& x, const TensorView& y) const noexcept {
  ctx->substitute(positive_part, x.data, y.data, y.size(), false);
  run_channel_affine(ctx, x, negative_part, io.par[0].data, nullptr, {y, true});
  return Status::ok;
}

Status PRelu::slope(const Context& ctx, const NodeIO& io, const TensorView& x, const TensorView&, const TensorView& s,
                    const Sink& d) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView positive, negative;
  VITRINE_TRY(ctx.temporary(s.shape, positive));
  VITRINE_TRY(ctx.temporary(s.shape, negative));
  ctx->map_backward(kernels::Map::relu, {}, x.data, x.data, s.data, positive.data, s.size(), false);
  ctx->combine(real{1}, s.data, real{-1}, positive.data, negative.data, s.size());
  ctx->scale(real{1}, positive.data, d.data, d.size(), d.add);
  run_channel_affine(ctx, negative, raw_part, io.par[0].data, nullptr, {d, true});
  return Status::ok;
}

Status PRelu::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                  std::span<const Sink> d_par) const noexcept {
  if (!d_par.empty() && d_par[0]) {
    const Shape& s = d_out.shape;
    const ArenaScope scope(*ctx.scratch);
    TensorView product;
    VITRINE_TRY(ctx.temporary(s, product));
    ctx->substitute(negative_part, io.in[0].data, product.data, product.size(), false);
    ctx->multiply(product.data, d_out.data, product.data, product.size(), false);
    ctx->channel_sum(product.data, s.n(), s.c(), s.pixels(), d_par[0].data, d_par[0].add);
  }
  return ActivationOp::vjp(ctx, io, d_out, d_in, d_par);
}

namespace {

template <class T>
Id append(GraphBuilder& g, Id x, const char* name, T* op) noexcept {
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

}  // namespace

Id relu(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Relu>()); }
Id tanh(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Tanh>()); }
Id sigmoid(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Sigmoid>()); }
Id leaky_relu(GraphBuilder& g, Id x, float slope, const char* name) noexcept {
  LeakyRelu* op = g.make<LeakyRelu>();
  if (op != nullptr) op->parameters.a = slope;
  return append(g, x, name, op);
}
Id clip(GraphBuilder& g, Id x, float low, float high, const char* name) noexcept {
  Clip* op = g.make<Clip>();
  if (op != nullptr) op->parameters = {low, high};
  return append(g, x, name, op);
}
Id elu(GraphBuilder& g, Id x, float alpha, const char* name) noexcept {
  Elu* op = g.make<Elu>();
  if (op != nullptr) op->parameters.a = alpha;
  return append(g, x, name, op);
}
Id gelu(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Gelu>()); }
Id gelu_tanh(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<GeluTanh>()); }
Id silu(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Silu>()); }
Id hard_sigmoid(GraphBuilder& g, Id x, float alpha, float beta, const char* name) noexcept {
  HardSigmoid* op = g.make<HardSigmoid>();
  if (op != nullptr) op->parameters = {alpha, beta};
  return append(g, x, name, op);
}
Id hard_swish(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<HardSwish>()); }
Id softplus(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Softplus>()); }
Id softsign(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Softsign>()); }
Id abs(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Abs>()); }
Id exp(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Exp>()); }
Id log(GraphBuilder& g, Id x, const char* name) noexcept { return append(g, x, name, g.make<Log>()); }
Id threshold(GraphBuilder& g, Id x, float theta, const char* name) noexcept {
  Threshold* op = g.make<Threshold>();
  if (op != nullptr) op->parameters.a = theta;
  return append(g, x, name, op);
}
Id power(GraphBuilder& g, Id x, float exponent, const char* name) noexcept {
  Power* op = g.make<Power>();
  if (op != nullptr) op->parameters.a = exponent;
  return append(g, x, name, op);
}
Id prelu(GraphBuilder& g, Id x, const char* name) noexcept {
  const GraphBuilder::Parameter slopes[] = {{"weight", {g.shape(x).c(), 1}, 1, Init::weight}};
  const Id in[] = {x};
  return g.add(g.make<PRelu>(), in, slopes, name);
}

}  // namespace vitrine
