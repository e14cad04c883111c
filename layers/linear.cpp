#include "layers/linear.h"

#include "layers/convolution.h"

namespace vitrine {

Status Linear::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& result,
                     std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1) return ctx.fail(Status::bad_graph, "takes one input");
  if (out < 1) return ctx.fail(Status::bad_argument, "needs at least one output");
  const Shape& x = in[0];
  if (x.pixels() != 1)
    return ctx.fail(Status::bad_shape, "takes vectors (N,C,1,1): flatten its input first", x,
                    {x.n(), static_cast<std::int32_t>(x.per_image())});
  if (par.size() != (bias ? 2u : 1u)) return ctx.fail(Status::bad_graph, "takes a weight, and a bias if it says so");
  if (par[0] != Shape{out, x.c()})
    return ctx.fail(Status::bad_shape, "has a weight of another shape", par[0], {out, x.c()});
  if (bias && par[1] != Shape{out, 1})
    return ctx.fail(Status::bad_shape, "has a bias of another shape", par[1], {out, 1});
  result = {x.n(), out};
  return Status::ok;
}

bool Linear::convolves(const Context& ctx, const Shape& x, const Shape& y) noexcept {
  // Matrices that no cache holds are read where they lie.
  constexpr std::int64_t most = std::int64_t{1} << 18;
  return ctx->takes_interleaved != nullptr && x.n() % ctx->lanes == 0 && std::int64_t{x.c()} * y.c() <= most &&
         ctx->takes_interleaved(shape(x, y));
}

Layouts Linear::layouts(const Context& ctx, const Shape& in, const Shape& result) const noexcept {
  return convolves(ctx, in.with_batch(ctx->lanes), result) ? Layouts::both : Layouts::planar;
}

Status Linear::forward(const Context& ctx, const NodeIO& io) const noexcept {
  return product(ctx, io, io.in[0], {}, epilogue_start(ctx, io), io.epilogue.relu);
}

Status Linear::apply(const Context& ctx, const NodeIO& io, std::span<const TensorView> x, const Row& row,
                     const Sink& z) const noexcept {
  return product(ctx, io, x[0], row, z, false);
}

Status Linear::product(const Context& ctx, const NodeIO& io, const TensorView& x, const Row& row, const Sink& z,
                       bool relu) const noexcept {
  if (convolves(ctx, x.shape, z.shape))
    return convolve(ctx, shape(x.shape, z.shape), x, io.par[0], bias ? &io.par[1] : nullptr, row, z, relu);
  kernels::GemmArgs<real> a;
  a.m = x.shape.n();
  a.n = out;
  a.k = x.shape.c();
  a.a = x.data;
  a.lda = a.k;
  a.a_sub = row.x;
  a.b = io.par[0].data;
  a.ldb = a.k;
  a.b_transposed = true;
  a.b_sub = row.w;
  if (bias && !row.bias.zero()) a.bias = io.par[1].data, a.bias_sub = row.bias;
  a.c = z.data;
  a.ldc = out;
  a.add = z.add;
  VITRINE_TRY(ctx.run(ctx->gemm, a));
  if (relu) ctx->map_forward(kernels::Map::relu, {}, z.data, z.data, z.size());
  return Status::ok;
}

Status Linear::apply_t(const Context& ctx, const NodeIO& io, Substitute w, const TensorView& s, std::size_t,
                       const Sink& c) const noexcept {
  if (convolves(ctx, c.shape, s.shape)) return convolve_t(ctx, shape(c.shape, s.shape), s, io.par[0], w, c);
  kernels::GemmArgs<real> a;
  a.m = s.shape.n();
  a.n = c.shape.c();
  a.k = out;
  a.a = s.data;
  a.lda = out;
  a.b = io.par[0].data;
  a.ldb = a.n;
  a.b_sub = w;
  a.c = c.data;
  a.ldc = a.n;
  a.add = c.add;
  return ctx.run(ctx->gemm, a);
}

Status Linear::parameter_gradient(const Context& ctx, const NodeIO& io, const TensorView& d_out,
                                  std::span<const Sink> d_par) const noexcept {
  if (d_par.empty()) return Status::ok;
  const TensorView& x = io.in[0];
  if (d_par[0] && convolves(ctx, x.shape, d_out.shape)) {
    VITRINE_TRY(convolve_weights(ctx, shape(x.shape, d_out.shape), x, d_out, d_par[0]));
  } else if (d_par[0]) {
    kernels::GemmArgs<real> a;
    a.m = out;
    a.n = x.shape.c();
    a.k = d_out.shape.n();
    a.a = d_out.data;
    a.lda = out;
    a.a_transposed = true;
    a.b = x.data;
    a.ldb = a.n;
    a.c = d_par[0].data;
    a.ldc = a.n;
    a.add = d_par[0].add;
    VITRINE_TRY(ctx.run(ctx->gemm, a));
  }
  const Shape each = folded(d_out);
  if (bias && d_par[1]) ctx->channel_sum(d_out.data, each.n(), each.c(), each.pixels(), d_par[1].data, d_par[1].add);
  return Status::ok;
}

Id linear(GraphBuilder& g, Id x, std::int32_t out, const char* name, bool bias) noexcept {
  Linear* op = g.make<Linear>();
  if (op == nullptr) return no_id;
  op->out = out;
  op->bias = bias;
  const GraphBuilder::Parameter parameters[] = {{"weight", {out, g.shape(x).c()}, 2, Init::weight},
                                                {"bias", {out, 1}, 1, Init::zero}};
  const Id in[] = {x};
  return g.add(op, in, {parameters, bias ? 2u : 1u}, name);
}

}  // namespace vitrine
