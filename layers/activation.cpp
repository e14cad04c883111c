#include "layers/activation.h"

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

}  // namespace vitrine
