#include "layers/convolution.h"

namespace vitrine {

Status convolve(const Context& ctx, const kernels::ConvShape& s, const TensorView& x, const TensorView& w,
                const TensorView* bias, const Row& row, const Sink& y, bool relu) noexcept {
  kernels::ConvArgs<real> a;
  a.s = s;
  a.x = x.data;
  a.x_sub = row.x;
  a.w = w.data;
  a.w_sub = row.w;
  if (bias != nullptr && !row.bias.zero()) a.bias = bias->data, a.bias_sub = row.bias;
  a.y_out = y.data;
  a.x_interleaved = x.block > 1;
  a.y_interleaved = y.block > 1;
  a.add = y.add;
  a.exact = row.exact;
  a.kept = ctx.prepared != nullptr;
  a.known = row.known;
  a.relu = relu;
  return ctx.run(ctx->conv_forward, a);
}

Status convolve_t(const Context& ctx, const kernels::ConvShape& s, const TensorView& y, const TensorView& w,
                  Substitute w_sub, const Sink& x) noexcept {
  kernels::ConvArgs<real> a;
  a.s = s;
  a.y = y.data;
  a.w = w.data;
  a.w_sub = w_sub;
  a.x_out = x.data;
  a.kept = ctx.prepared != nullptr;
  a.x_interleaved = x.block > 1;
  a.y_interleaved = y.block > 1;
  a.add = x.add;
  return ctx.run(ctx->conv_backward_data, a);
}

Status convolve_weights(const Context& ctx, const kernels::ConvShape& s, const TensorView& x, const TensorView& y,
                        const Sink& w) noexcept {
  kernels::ConvArgs<real> a;
  a.s = s;
  a.x = x.data;
  a.y = y.data;
  a.w_out = w.data;
  a.x_interleaved = x.block > 1;
  a.y_interleaved = y.block > 1;
  a.add = w.add;
  return ctx.run(ctx->conv_backward_weights, a);
}

void ConvolutionOp::attributes(AttributeVisitor& v) noexcept {
  v("out", out);
  v("kernel_h", kernel_h);
  v("kernel_w", kernel_w);
  v("stride_h", stride_h);
  v("stride_w", stride_w);
  v("pad_top", pad_top);
  v("pad_left", pad_left);
  v("pad_bottom", pad_bottom);
  v("pad_right", pad_right);
  v("dilation_h", dilation_h);
  v("dilation_w", dilation_w);
  v("groups", groups);
  v("bias", bias);
}

Status ConvolutionOp::check(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par,
                            const Shape& weight) const noexcept {
  if (in.size() != 1) return ctx.fail(Status::bad_graph, "takes one input");
  if (out < 1 || kernel_h < 1 || kernel_w < 1 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1 ||
      groups < 1)
    return ctx.fail(Status::bad_argument, "needs out, kernel, stride, dilation and groups of at least 1");
  if (pad_top < 0 || pad_left < 0 || pad_bottom < 0 || pad_right < 0)
    return ctx.fail(Status::bad_argument, "needs padding of at least 0");
  if (in[0].c() % groups != 0 || out % groups != 0)
    return ctx.fail(Status::bad_shape, "needs input and output channels that divide by its groups", in[0], in[0]);
  if (par.size() != (bias ? 2u : 1u)) return ctx.fail(Status::bad_graph, "takes a weight, and a bias if it says so");
  if (par[0] != weight) return ctx.fail(Status::bad_shape, "has a weight of another shape", par[0], weight);
  if (bias && par[1] != Shape{out, 1})
    return ctx.fail(Status::bad_shape, "has a bias of another shape", par[1], {out, 1});
  return Status::ok;
}

kernels::ConvShape ConvolutionOp::shape(const Shape& x, const Shape& y) const noexcept {
  return {x.n(), x.c(),    x.h(),    x.w(),   y.c(),    kernel_h,   kernel_w,   y.h(),
          y.w(), stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups};
}

Status ConvolutionOp::weight_gradient(const Context& ctx, const TensorView& large, const TensorView& small,
                                      const TensorView& d_out, std::span<const Sink> d_par) const noexcept {
  if (d_par.empty()) return Status::ok;
  if (d_par[0]) VITRINE_TRY(convolve_weights(ctx, shape(large.shape, small.shape), large, small, d_par[0]));
  const Shape each = folded(d_out);
  if (bias && d_par[1]) ctx->channel_sum(d_out.data, each.n(), each.c(), each.pixels(), d_par[1].data, d_par[1].add);
  return Status::ok;
}

}  // namespace vitrine
