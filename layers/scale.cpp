#include "layers/scale.h"

namespace vitrine {

Status Scale::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                    std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || par.size() != 2) return ctx.fail(Status::bad_graph, "takes one input, a weight and a bias");
  const Shape each{in[0].c(), 1};
  for (const Shape& p : par)
    if (p != each) return ctx.fail(Status::bad_shape, "has a parameter of another shape", p, each);
  out = in[0];
  return Status::ok;
}

Status Scale::parameter_gradient(const Context& ctx, const NodeIO& io, const TensorView& d_out,
                                 std::span<const Sink> d_par) const noexcept {
  if (d_par.empty()) return Status::ok;
  const Shape& s = d_out.shape;
  if (d_par[0]) {
    const ArenaScope scope(*ctx.scratch);
    TensorView product;
    VITRINE_TRY(ctx.temporary(s, product));
    ctx->multiply(d_out.data, io.in[0].data, product.data, product.size(), false);
    ctx->channel_sum(product.data, s.n(), s.c(), s.pixels(), d_par[0].data, d_par[0].add);
  }
  if (d_par[1]) ctx->channel_sum(d_out.data, s.n(), s.c(), s.pixels(), d_par[1].data, d_par[1].add);
  return Status::ok;
}

void Scale::coefficients(const Context& ctx, const NodeIO& io, Substitute w, Substitute b, real* scale,
                         real* shift) const noexcept {
  if (scale != nullptr) ctx->substitute(w, io.par[0].data, scale, io.par[0].size(), false);
  if (shift != nullptr) ctx->substitute(b, io.par[1].data, shift, io.par[1].size(), false);
}

Id scale(GraphBuilder& g, Id x, const char* name) noexcept {
  const Shape each{g.shape(x).c(), 1};
  const GraphBuilder::Parameter parameters[] = {{"weight", each, 1, Init::one}, {"bias", each, 1, Init::zero}};
  const Id in[] = {x};
  return g.add(g.make<Scale>(), in, parameters, name);
}

}  // namespace vitrine
