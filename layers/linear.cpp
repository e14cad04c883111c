#include "layers/linear.h"

namespace vitrine {

Status Linear::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& result, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1) return ctx.fail(Status::bad_graph, "takes one input");
  if (out < 1) return ctx.fail(Status::bad_argument, "needs at least one output");
  const Shape& x = in[0];
  if (x.pixels() != 1) return ctx.fail(Status::bad_shape, "takes vectors (N,C,1,1): flatten its input first", x, {x.n(), static_cast<std::int32_t>(x.per_image())});
  if (par.size() != (bias ? 2u : 1u)) return ctx.fail(Status::bad_graph, "takes a weight, and a bias if it says so");
  if (par[0] != Shape{out, x.c()}) return ctx.fail(Status::bad_shape, "has a weight of another shape", par[0], {out, x.c()});
  if (bias && par[1] != Shape{out, 1}) return ctx.fail(Status::bad_shape, "has a bias of another shape", par[1], {out, 1});
  result = {x.n(), out};
  return Status::ok;
}

Status Linear::apply(const Context& ctx, const NodeIO& io, std::span<const TensorView> x, const Row& row, const Sink& z) const noexcept {
  const std::int64_t n = io.out.shape.n(), c = io.in[0].shape.c();
  kernels::GemmArgs<real> a;
  a.m = n;
  a.n = out;
  a.k = c;
  a.a = x[0].data;
  a.lda = c;
  a.a_sub = row.x;
  a.b = io.par[0].data;
  a.ldb = c;
  a.b_transposed = true;
  a.b_sub = row.w;
  if (bias && !row.bias.zero()) {
    a.bias = io.par[1].data;
    a.bias_sub = row.bias;
  }
  a.c = z.data;
  a.ldc = out;
  a.add = z.add;
  return ctx.run(ctx->gemm, a);
}

Status Linear::apply_t(const Context& ctx, const NodeIO& io, Substitute w, const TensorView& s, std::size_t, const Sink& c) const noexcept {
  const std::int64_t features = io.in[0].shape.c();
  kernels::GemmArgs<real> a;
  a.m = s.shape.n();
  a.n = features;
  a.k = out;
  a.a = s.data;
  a.lda = out;
  a.b = io.par[0].data;
  a.ldb = features;
  a.b_sub = w;
  a.c = c.data;
  a.ldc = features;
  a.add = c.add;
  return ctx.run(ctx->gemm, a);
}

Status Linear::parameter_gradient(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_par) const noexcept {
  if (d_par.empty()) return Status::ok;
  const std::int64_t features = io.in[0].shape.c();
  if (d_par[0]) {
    kernels::GemmArgs<real> a;
    a.m = out;
    a.n = features;
    a.k = d_out.shape.n();
    a.a = d_out.data;
    a.lda = out;
    a.a_transposed = true;
    a.b = io.in[0].data;
    a.ldb = features;
    a.c = d_par[0].data;
    a.ldc = features;
    a.add = d_par[0].add;
    VITRINE_TRY(ctx.run(ctx->gemm, a));
  }
  if (bias && d_par[1]) ctx->channel_sum(d_out.data, d_out.shape.n(), out, 1, d_par[1].data, d_par[1].add);
  return Status::ok;
}

Id linear(GraphBuilder& g, Id x, std::int32_t out, const char* name, bool bias) noexcept {
  Linear* op = g.make<Linear>();
  if (op == nullptr) return no_id;
  op->out = out;
  op->bias = bias;
  const GraphBuilder::Parameter parameters[] = {{"weight", {out, g.shape(x).c()}, 2, Init::weight}, {"bias", {out, 1}, 1, Init::zero}};
  const Id in[] = {x};
  return g.add(op, in, {parameters, bias ? 2u : 1u}, name);
}

}  // namespace vitrine
