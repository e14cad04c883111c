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

Id log_softmax(GraphBuilder& g, Id x, const char* name) noexcept {
  const Id in[] = {x};
  return g.add(g.make<LogSoftmax>(), in, {}, name);
}

Id softmax(GraphBuilder& g, Id x, const char* name) noexcept {
  const Id in[] = {x};
  return g.add(g.make<Softmax>(), in, {}, name);
}

}  // namespace vitrine
