#include "layers/batch_norm.h"

namespace vitrine {
namespace {

enum Parameter : std::size_t { weight, bias, running_mean, running_var, count };

// Channels are independent.
template <class Kernel, class Choice>
void over_channels(const Context& ctx, const kernels::BatchNormArgs<real>& a, Kernel kernel, Choice choice) noexcept {
  kernels::BatchNormArgs<real> all = a;
  all.first = 0, all.last = a.channels;
  ctx.tell(choice, all);
  ctx.ranges(a.channels, elementwise_grain / (a.images * a.pixels) + 1,
             [&](std::int64_t begin, std::int64_t end) noexcept {
               kernels::BatchNormArgs<real> part = a;
               part.first = begin;
               part.last = end;
               kernel(part);
             });
}

}  // namespace

Status BatchNorm::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                        std::size_t& aux) const noexcept {
  if (in.size() != 1) return ctx.fail(Status::bad_graph, "takes one input");
  if (!(eps > 0) || !(momentum >= 0 && momentum <= 1))
    return ctx.fail(Status::bad_argument, "needs eps above 0 and momentum from 0 to 1");
  if (par.size() != count) return ctx.fail(Status::bad_graph, "takes weight, bias, running_mean and running_var");
  const Shape each{in[0].c(), 1};
  for (const Shape& p : par)
    if (p != each) return ctx.fail(Status::bad_shape, "has a parameter of another shape", p, each);
  out = in[0];
  aux = 2 * static_cast<std::size_t>(in[0].c()) * sizeof(real);
  return Status::ok;
}

kernels::BatchNormArgs<real> BatchNorm::arguments(const NodeIO& io) const noexcept {
  const Shape x = folded(io.in[0]);
  kernels::BatchNormArgs<real> a;
  a.images = x.n();
  a.channels = x.c();
  a.pixels = x.pixels();
  a.eps = eps;
  a.momentum = momentum;
  a.x = io.in[0].data;
  a.gamma = io.par[weight].data;
  a.beta = io.par[bias].data;
  a.mean = static_cast<real*>(io.aux);
  a.inv_std = a.mean + x.c();
  return a;
}

Status BatchNorm::forward(const Context& ctx, const NodeIO& io) const noexcept {
  if (!ctx.training) {
    VITRINE_TRY(apply(ctx, io, io.in, {}, epilogue_start(ctx, io)));
    if (io.epilogue.relu)
      ctx.ranges(io.out.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
        ctx->map_forward(kernels::Map::relu, {}, io.out.data + begin, io.out.data + begin, end - begin);
      });
    return Status::ok;
  }
  kernels::BatchNormArgs<real> a = arguments(io);
  a.running_mean = io.par[running_mean].data;
  a.running_var = io.par[running_var].data;
  if (ctx.recomputing) a.momentum = 0;  // this batch has been counted
  a.y = io.out.data;
  a.residual = io.epilogue.residual.data;
  a.relu = io.epilogue.relu;
  over_channels(ctx, a, ctx->batch_norm_forward, ctx->choices.batch_norm_forward);
  return Status::ok;
}

Status BatchNorm::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                      std::span<const Sink> d_par) const noexcept {
  const bool parameters = !d_par.empty() && (d_par[weight] || d_par[bias]);
  if (!ctx.training && !parameters) return d_in[0] ? apply_t(ctx, io, raw_part, d_out, 0, d_in[0]) : Status::ok;
  const ArenaScope scope(*ctx.scratch);
  kernels::BatchNormArgs<real> a = arguments(io);
  TensorView inv_std;
  if (!ctx.training) {
    // The running statistics in the batch's place: 1 * 1/sqrt(var + eps) is the factor of a norm with weight 1.
    TensorView ones;
    VITRINE_TRY(ctx.temporary({1, io.in[0].shape.c()}, ones));
    VITRINE_TRY(ctx.temporary({1, io.in[0].shape.c()}, inv_std));
    ctx->fill(real{1}, ones.data, ones.size());
    ctx->norm_coefficients(ones.data, a.beta, io.par[running_mean].data, io.par[running_var].data, eps, raw_part,
                           raw_part, inv_std.data, nullptr, a.channels);
    a.mean = io.par[running_mean].data;
    a.inv_std = inv_std.data;
    a.constant = true;
  }
  a.dy = d_out.data;
  if (d_in[0]) {
    a.dx = d_in[0].data;
    a.add_dx = d_in[0].add;
  }
  if (parameters) {
    a.dgamma = d_par[weight].data;
    a.add_dgamma = d_par[weight].add;
    a.dbeta = d_par[bias].data;
    a.add_dbeta = d_par[bias].add;
  }
  over_channels(ctx, a, ctx->batch_norm_backward, ctx->choices.batch_norm_backward);
  return Status::ok;
}

void BatchNorm::coefficients(const Context& ctx, const NodeIO& io, Substitute w, Substitute b, real* scale,
                             real* shift) const noexcept {
  ctx->norm_coefficients(io.par[weight].data, io.par[bias].data, io.par[running_mean].data, io.par[running_var].data,
                         eps, w, b, scale, shift, io.par[weight].size());
}

Id batch_norm(GraphBuilder& g, Id x, const char* name, float eps, float momentum) noexcept {
  BatchNorm* op = g.make<BatchNorm>();
  if (op == nullptr) return no_id;
  op->eps = eps;
  op->momentum = momentum;
  const Shape each{g.shape(x).c(), 1};
  const GraphBuilder::Parameter parameters[] = {{"weight", each, 1, Init::one},
                                                {"bias", each, 1, Init::zero},
                                                {"running_mean", each, 1, Init::zero, false},
                                                {"running_var", each, 1, Init::one, false}};
  const Id in[] = {x};
  return g.add(op, in, parameters, name);
}

}  // namespace vitrine
