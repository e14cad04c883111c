#include "layers/conv_transpose2d.h"

#include <algorithm>

#include "layers/diagonal.h"

namespace vitrine {

void ConvTranspose2d::attributes(AttributeVisitor& v) noexcept {
  v("out", out);
  v("kernel_h", kernel_h);
  v("kernel_w", kernel_w);
  v("stride_h", stride_h);
  v("stride_w", stride_w);
  v("pad_top", pad_top);
  v("pad_left", pad_left);
  v("pad_bottom", pad_bottom);
  v("pad_right", pad_right);
  v("output_pad_h", output_pad_h);
  v("output_pad_w", output_pad_w);
  v("dilation_h", dilation_h);
  v("dilation_w", dilation_w);
  v("groups", groups);
  v("bias", bias);
}

Status ConvTranspose2d::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& result, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1) return ctx.fail(Status::bad_graph, "takes one input");
  if (out < 1 || kernel_h < 1 || kernel_w < 1 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1 || groups < 1)
    return ctx.fail(Status::bad_argument, "needs out, kernel, stride, dilation and groups of at least 1");
  if (pad_top < 0 || pad_left < 0 || pad_bottom < 0 || pad_right < 0 || output_pad_h < 0 || output_pad_w < 0)
    return ctx.fail(Status::bad_argument, "needs padding of at least 0");
  if (output_pad_h >= std::max(stride_h, dilation_h) || output_pad_w >= std::max(stride_w, dilation_w))
    return ctx.fail(Status::bad_argument, "needs output padding below its stride or dilation");
  const Shape& x = in[0];
  if (x.c() % groups != 0 || out % groups != 0) return ctx.fail(Status::bad_shape, "needs input and output channels that divide by its groups", x, x);
  const std::int64_t h = std::int64_t{x.h() - 1} * stride_h - pad_top - pad_bottom + std::int64_t{dilation_h} * (kernel_h - 1) + 1 + output_pad_h;
  const std::int64_t w = std::int64_t{x.w() - 1} * stride_w - pad_left - pad_right + std::int64_t{dilation_w} * (kernel_w - 1) + 1 + output_pad_w;
  if (h < 1 || w < 1 || h > 0x7fffffff || w > 0x7fffffff) return ctx.fail(Status::bad_shape, "gives an empty or too large result", x, x);
  result = {x.n(), out, static_cast<std::int32_t>(h), static_cast<std::int32_t>(w)};
  const Shape weight{x.c(), out / groups, kernel_h, kernel_w};
  if (par.size() != (bias ? 2u : 1u)) return ctx.fail(Status::bad_graph, "takes a weight, and a bias if it says so");
  if (par[0] != weight) return ctx.fail(Status::bad_shape, "has a weight of another shape", par[0], weight);
  if (bias && par[1] != Shape{out, 1}) return ctx.fail(Status::bad_shape, "has a bias of another shape", par[1], {out, 1});
  return Status::ok;
}

// The convolution whose adjoint this is: from the output's shape to the input's.
// Input i feeds outputs i*stride - pad ... + reach - 1, so output o reads (o + pad - reach + 1)/stride ... (o + pad)/stride.
Field ConvTranspose2d::field(const Shape&, const Shape&, std::size_t axis) const noexcept {
  const auto stride = static_cast<float>(axis == 2 ? stride_h : stride_w), pad = static_cast<float>(axis == 2 ? pad_top : pad_left);
  const auto reach = static_cast<float>(axis == 2 ? dilation_h * (kernel_h - 1) : dilation_w * (kernel_w - 1));
  return {1 + reach / stride, 1 / stride, (reach - pad) / stride, false};
}

kernels::ConvArgs<real> ConvTranspose2d::arguments(const NodeIO& io) const noexcept {
  const Shape &x = io.in[0].shape, &y = io.out.shape;
  kernels::ConvArgs<real> a;
  a.s = {x.n(), y.c(), y.h(), y.w(), x.c(), kernel_h, kernel_w, x.h(), x.w(), stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups};
  a.w = io.par[0].data;
  return a;
}

Status ConvTranspose2d::apply(const Context& ctx, const NodeIO& io, std::span<const TensorView> x, const Row& row, const Sink& z) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView source = x[0];
  if (!row.x.raw()) {
    VITRINE_TRY(ctx.temporary(source.shape, source));
    ctx->substitute(row.x, x[0].data, source.data, source.size(), false);
  }
  kernels::ConvArgs<real> a = arguments(io);
  a.w_sub = row.w;
  a.y = source.data;
  a.x_out = z.data;
  a.add = z.add;
  VITRINE_TRY(ctx.run(ctx->conv_backward_data, a));
  if (!bias || row.bias.zero()) return Status::ok;
  TensorView shift;
  VITRINE_TRY(ctx.temporary({1, out}, shift));
  ctx->substitute(row.bias, io.par[1].data, shift.data, shift.size(), false);
  run_channel_affine(ctx, {nullptr, z.shape}, raw_part, nullptr, shift.data, {z, true});
  return Status::ok;
}

Status ConvTranspose2d::apply_t(const Context& ctx, const NodeIO& io, Substitute w, const TensorView& s, std::size_t, const Sink& c) const noexcept {
  kernels::ConvArgs<real> a = arguments(io);
  a.x = s.data;
  a.w_sub = w;
  a.y_out = c.data;
  a.add = c.add;
  return ctx.run(ctx->conv_forward, a);
}

Status ConvTranspose2d::parameter_gradient(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_par) const noexcept {
  if (d_par.empty()) return Status::ok;
  if (d_par[0]) {
    kernels::ConvArgs<real> a = arguments(io);
    a.x = d_out.data;
    a.y = io.in[0].data;
    a.w_out = d_par[0].data;
    a.add = d_par[0].add;
    VITRINE_TRY(ctx.run(ctx->conv_backward_weights, a));
  }
  if (bias && d_par[1]) ctx->channel_sum(d_out.data, d_out.shape.n(), d_out.shape.c(), d_out.shape.pixels(), d_par[1].data, d_par[1].add);
  return Status::ok;
}

Id conv_transpose2d(GraphBuilder& g, Id x, const ConvTranspose2dOptions& o, const char* name) noexcept {
  ConvTranspose2d* op = g.make<ConvTranspose2d>();
  if (op == nullptr) return no_id;
  op->out = o.out;
  op->kernel_h = op->kernel_w = o.kernel;
  op->stride_h = op->stride_w = o.stride;
  op->pad_top = op->pad_left = op->pad_bottom = op->pad_right = o.padding;
  op->output_pad_h = op->output_pad_w = o.output_padding;
  op->dilation_h = op->dilation_w = o.dilation;
  op->groups = o.groups;
  op->bias = o.bias;
  const Shape weight{g.shape(x).c(), o.groups > 0 ? o.out / o.groups : 0, o.kernel, o.kernel};
  const GraphBuilder::Parameter parameters[] = {{"weight", weight, 4, Init::weight}, {"bias", {o.out, 1}, 1, Init::zero}};
  const Id in[] = {x};
  return g.add(op, in, {parameters, o.bias ? 2u : 1u}, name);
}

}  // namespace vitrine
