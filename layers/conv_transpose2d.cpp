#include "layers/conv_transpose2d.h"

#include <algorithm>

#include "layers/diagonal.h"

namespace vitrine {

Status ConvTranspose2d::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& result,
                              std::size_t& aux) const noexcept {
  aux = 0;
  const Shape& x = in[0];
  VITRINE_TRY(check(ctx, in, par, {x.c(), groups > 0 ? out / groups : 0, kernel_h, kernel_w}));
  if (output_pad_h < 0 || output_pad_w < 0 || output_pad_h >= std::max(stride_h, dilation_h) ||
      output_pad_w >= std::max(stride_w, dilation_w))
    return ctx.fail(Status::bad_argument, "needs output padding of at least 0 and below its stride or dilation");
  const std::int64_t h = std::int64_t{x.h() - 1} * stride_h - pad_top - pad_bottom +
                         std::int64_t{dilation_h} * (kernel_h - 1) + 1 + output_pad_h;
  const std::int64_t w = std::int64_t{x.w() - 1} * stride_w - pad_left - pad_right +
                         std::int64_t{dilation_w} * (kernel_w - 1) + 1 + output_pad_w;
  if (h < 1 || w < 1 || h > 0x7fffffff || w > 0x7fffffff)
    return ctx.fail(Status::bad_shape, "gives an empty or too large result", x, x);
  result = {x.n(), out, static_cast<std::int32_t>(h), static_cast<std::int32_t>(w)};
  return Status::ok;
}

Field ConvTranspose2d::field(const Shape&, const Shape&, std::size_t axis) const noexcept {
  const auto stride = static_cast<float>(axis == 2 ? stride_h : stride_w),
             pad = static_cast<float>(axis == 2 ? pad_top : pad_left);
  const float reach =
      (axis == 2 ? Field::window(kernel_h, dilation_h, 1, 0) : Field::window(kernel_w, dilation_w, 1, 0)).size - 1;
  return {1 + reach / stride, 1 / stride, (reach - pad) / stride, false};
}

Status ConvTranspose2d::apply(const Context& ctx, const NodeIO& io, std::span<const TensorView> x, const Row& row,
                              const Sink& z) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView source = x[0];
  if (!row.x.raw()) {
    VITRINE_TRY(ctx.temporary(source.shape, source));
    ctx->substitute(row.x, x[0].data, source.data, source.size(), false);
  }
  VITRINE_TRY(convolve_t(ctx, shape(z.shape, source.shape), source, io.par[0], row.w, z));
  if (!bias || row.bias.zero()) return Status::ok;
  TensorView shift;
  VITRINE_TRY(ctx.temporary({1, out}, shift));
  ctx->substitute(row.bias, io.par[1].data, shift.data, shift.size(), false);
  run_channel_affine(ctx, {nullptr, z.shape}, raw_part, nullptr, shift.data, {z, true});
  return Status::ok;
}

Status ConvTranspose2d::apply_t(const Context& ctx, const NodeIO& io, Substitute w, const TensorView& s, std::size_t,
                                const Sink& c) const noexcept {
  return convolve(ctx, shape(s.shape, c.shape), s, io.par[0], nullptr, {raw_part, w, nothing}, c);
}

Status ConvTranspose2d::parameter_gradient(const Context& ctx, const NodeIO& io, const TensorView& d_out,
                                           std::span<const Sink> d_par) const noexcept {
  return weight_gradient(ctx, d_out, io.in[0], d_out, d_par);
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
  const GraphBuilder::Parameter parameters[] = {{"weight", weight, 4, Init::weight},
                                                {"bias", {o.out, 1}, 1, Init::zero}};
  const Id in[] = {x};
  return g.add(op, in, {parameters, o.bias ? 2u : 1u}, name);
}

}  // namespace vitrine
