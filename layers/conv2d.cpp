#include "layers/conv2d.h"

namespace vitrine {

Status Conv2d::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& result,
                     std::size_t& aux) const noexcept {
  aux = 0;
  const Shape& x = in[0];
  VITRINE_TRY(check(ctx, in, par, {out, groups > 0 ? x.c() / groups : 0, kernel_h, kernel_w}));
  const std::int64_t h = std::int64_t{x.h()} + pad_top + pad_bottom - std::int64_t{dilation_h} * (kernel_h - 1) - 1;
  const std::int64_t w = std::int64_t{x.w()} + pad_left + pad_right - std::int64_t{dilation_w} * (kernel_w - 1) - 1;
  if (h < 0 || w < 0) return ctx.fail(Status::bad_shape, "has a kernel larger than its padded input", x, x);
  if (h / stride_h >= 0x7fffffff || w / stride_w >= 0x7fffffff)
    return ctx.fail(Status::bad_shape, "gives too large a result", x, x);
  result = {x.n(), out, static_cast<std::int32_t>(h / stride_h + 1), static_cast<std::int32_t>(w / stride_w + 1)};
  return Status::ok;
}

Field Conv2d::field(const Shape&, const Shape&, std::size_t axis) const noexcept {
  return axis == 2 ? Field::window(kernel_h, dilation_h, stride_h, pad_top)
                   : Field::window(kernel_w, dilation_w, stride_w, pad_left);
}

Layouts Conv2d::layouts(const Context& ctx, const Shape& in, const Shape& result) const noexcept {
  return ctx->takes_interleaved(shape(in, result)) ? Layouts::both : Layouts::planar;
}

Status Conv2d::forward(const Context& ctx, const NodeIO& io) const noexcept {
  return convolve(ctx, shape(io.in[0].shape, io.out.shape), io.in[0], io.par[0], bias ? &io.par[1] : nullptr, {},
                  epilogue_start(ctx, io), io.epilogue.relu);
}

Status Conv2d::apply(const Context& ctx, const NodeIO& io, std::span<const TensorView> x, const Row& row,
                     const Sink& z) const noexcept {
  return convolve(ctx, shape(x[0].shape, z.shape), x[0], io.par[0], bias ? &io.par[1] : nullptr, row, z);
}

Status Conv2d::apply_t(const Context& ctx, const NodeIO& io, Substitute w, const TensorView& s, std::size_t,
                       const Sink& c) const noexcept {
  return convolve_t(ctx, shape(c.shape, s.shape), s, io.par[0], w, c);
}

Status Conv2d::parameter_gradient(const Context& ctx, const NodeIO& io, const TensorView& d_out,
                                  std::span<const Sink> d_par) const noexcept {
  return weight_gradient(ctx, io.in[0], d_out, d_out, d_par);
}

Id conv2d(GraphBuilder& g, Id x, const Conv2dOptions& o, const char* name) noexcept {
  Conv2d* op = g.make<Conv2d>();
  if (op == nullptr) return no_id;
  op->out = o.out;
  op->kernel_h = op->kernel_w = o.kernel;
  op->stride_h = op->stride_w = o.stride;
  op->pad_top = op->pad_left = op->pad_bottom = op->pad_right = o.padding;
  op->dilation_h = op->dilation_w = o.dilation;
  op->groups = o.groups;
  op->bias = o.bias;
  const Shape weight{o.out, o.groups > 0 ? g.shape(x).c() / o.groups : 0, o.kernel, o.kernel};
  const GraphBuilder::Parameter parameters[] = {{"weight", weight, 4, Init::weight},
                                                {"bias", {o.out, 1}, 1, Init::zero}};
  const Id in[] = {x};
  return g.add(op, in, {parameters, o.bias ? 2u : 1u}, name);
}

}  // namespace vitrine
