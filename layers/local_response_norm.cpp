#include "layers/local_response_norm.h"

namespace vitrine {
namespace {

kernels::LrnArgs<real> arguments(const LocalResponseNorm& op, const Shape& s) noexcept {
  kernels::LrnArgs<real> a;
  a.channels = s.c();
  a.pixels = s.pixels();
  a.size = op.size;
  a.alpha = op.alpha;
  a.beta = op.beta;
  a.bias = op.bias;
  return a;
}

}  // namespace

Status LocalResponseNorm::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                                std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (size < 1) return ctx.fail(Status::bad_argument, "needs a size of at least 1");
  if (!(alpha >= 0) || !(bias > 0) || !(beta == beta))
    return ctx.fail(Status::bad_argument, "needs alpha of at least 0 and bias above 0");
  out = in[0];
  return Status::ok;
}

Status LocalResponseNorm::forward(const Context& ctx, const NodeIO& io) const noexcept {
  const TensorView &x = io.in[0], &y = io.out;
  ctx.ranges(x.shape.n(), 1, [&](std::int64_t begin, std::int64_t end) noexcept {
    kernels::LrnArgs<real> a = arguments(*this, x.shape);
    a.images = end - begin;
    a.x = x.data + begin * x.shape.per_image();
    a.y = y.data + begin * x.shape.per_image();
    ctx->lrn_forward(a);
  });
  return Status::ok;
}

Status LocalResponseNorm::back(const Context& ctx, const TensorView& x, const TensorView& x0, const TensorView& s,
                               const Sink& d) const noexcept {
  if (!d) return Status::ok;
  const ArenaScope scope(*ctx.scratch);
  TensorView scratch;
  VITRINE_TRY(ctx.temporary({x.shape.n(), x.shape.c()}, scratch));
  ctx.ranges(x.shape.n(), 1, [&](std::int64_t begin, std::int64_t end) noexcept {
    const std::int64_t from = begin * x.shape.per_image();
    kernels::LrnArgs<real> a = arguments(*this, x.shape);
    a.images = end - begin;
    a.x = x.data + from;
    a.x0 = x0.data + from;
    a.s = s.data + from;
    a.d = d.data + from;
    a.add = d.add;
    a.scratch = scratch.data + begin * x.shape.c();
    ctx->lrn_backward(a);
  });
  return Status::ok;
}

Status LocalResponseNorm::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                              std::span<const Sink>) const noexcept {
  return back(ctx, io.in[0], io.in[0], d_out, d_in[0]);
}

Status LocalResponseNorm::multipliers(const Context& ctx, const NodeIO& io, const NodeIO& reference,
                                      const TensorView& m, std::span<const Sink> d_in) const noexcept {
  return back(ctx, io.in[0], reference.in[0], m, d_in[0]);
}

Id local_response_norm(GraphBuilder& g, Id x, std::int32_t size, const char* name, float alpha, float beta,
                       float bias) noexcept {
  LocalResponseNorm* op = g.make<LocalResponseNorm>();
  if (op != nullptr) {
    op->size = size;
    op->alpha = alpha;
    op->beta = beta;
    op->bias = bias;
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

}  // namespace vitrine
