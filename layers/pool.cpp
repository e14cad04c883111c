#include "layers/pool.h"

namespace vitrine {
namespace {

// Planes are independent: cut them so that a tile is worth a thread.
template <class Body>
void planes(const Context& ctx, const kernels::PoolShape& p, Body&& body) noexcept {
  const std::int64_t grain = elementwise_grain / (std::int64_t{p.h} * p.w * p.block) + 1;
  ctx.ranges(p.planes, grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    kernels::PoolShape part = p;
    part.planes = end - begin;
    body(part, begin * p.h * p.w * p.block, begin * p.oh * p.ow * p.block);
  });
}

// The same pool of tensors in blocks of interleaved images.
kernels::PoolShape interleaved(kernels::PoolShape p, std::int32_t block) noexcept {
  p.planes /= block;
  p.block = block;
  return p;
}

Status extent(const Context& ctx, const Shape& in, std::int64_t size, std::int64_t front, std::int64_t back,
              std::int64_t kernel, std::int64_t dilation, std::int64_t stride, bool ceil_mode,
              std::int32_t& out) noexcept {
  const std::int64_t span = size + front + back - dilation * (kernel - 1) - 1;
  if (span < 0) return ctx.fail(Status::bad_shape, "has a window larger than its padded input", in, in);
  std::int64_t n = (span + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (n - 1) * stride >= size + front) --n;  // the last window would lie in the padding alone
  if (n > 0x7fffffff) return ctx.fail(Status::bad_shape, "gives too large a result", in, in);
  out = static_cast<std::int32_t>(n);
  return Status::ok;
}

}  // namespace

void Window::attributes(AttributeVisitor& v) noexcept {
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
  v("ceil_mode", ceil_mode);
}

Status Window::infer(const Context& ctx, const Shape& in, Shape& out) const noexcept {
  if (kernel_h < 1 || kernel_w < 1 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1)
    return ctx.fail(Status::bad_argument, "needs kernel, stride and dilation of at least 1");
  if (std::int64_t{kernel_h} * kernel_w > 65535)
    return ctx.fail(Status::bad_argument, "has a window of more than 65535 places");
  // A window that can lie in the padding alone would have no maximum.
  const std::int64_t reach_h = std::int64_t{dilation_h} * (kernel_h - 1) + 1,
                     reach_w = std::int64_t{dilation_w} * (kernel_w - 1) + 1;
  if (pad_top < 0 || pad_left < 0 || pad_bottom < 0 || pad_right < 0 || pad_top >= reach_h || pad_bottom >= reach_h ||
      pad_left >= reach_w || pad_right >= reach_w)
    return ctx.fail(Status::bad_argument, "needs padding of at least 0 and less than the window");
  out = in;
  VITRINE_TRY(extent(ctx, in, in.h(), pad_top, pad_bottom, kernel_h, dilation_h, stride_h, ceil_mode, out.d[2]));
  return extent(ctx, in, in.w(), pad_left, pad_right, kernel_w, dilation_w, stride_w, ceil_mode, out.d[3]);
}

kernels::PoolShape Window::shape(const Shape& in, const Shape& out) const noexcept {
  kernels::PoolShape p;
  p.planes = std::int64_t{in.n()} * in.c();
  p.h = in.h();
  p.w = in.w();
  p.oh = out.h();
  p.ow = out.w();
  p.kh = kernel_h;
  p.kw = kernel_w;
  p.stride_h = stride_h;
  p.stride_w = stride_w;
  p.pad_top = pad_top;
  p.pad_left = pad_left;
  p.pad_bottom = pad_bottom;
  p.pad_right = pad_right;
  p.dilation_h = dilation_h;
  p.dilation_w = dilation_w;
  return p;
}

Field Window::field(std::size_t axis) const noexcept {
  return axis == 2 ? Field::window(kernel_h, dilation_h, stride_h, pad_top)
                   : Field::window(kernel_w, dilation_w, stride_w, pad_left);
}

Status MaxPool::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                      std::size_t& aux) const noexcept {
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  VITRINE_TRY(window.infer(ctx, in[0], out));
  aux = static_cast<std::size_t>(out.per_image()) * sizeof(kernels::Switch);
  return Status::ok;
}

Status MaxPool::forward(const Context& ctx, const NodeIO& io) const noexcept {
  auto* const switches = static_cast<kernels::Switch*>(io.aux);
  const kernels::PoolShape all = interleaved(window.shape(io.in[0].shape, io.out.shape), io.out.block);
  ctx.tell(ctx->choices.max_pool_forward, all, true);
  planes(ctx, all, [&](const kernels::PoolShape& p, std::int64_t in, std::int64_t out) noexcept {
    ctx->max_pool_forward(p, io.in[0].data + in, io.out.data + out, switches + out);
  });
  // A step of training need not give what its images give alone.
  if (switches == nullptr || ctx.training) return Status::ok;

  const ArenaScope scope(*ctx.scratch);
  TensorView largest;
  VITRINE_TRY(ctx.temporary({io.out.shape.n(), 1, 1, 1}, largest));
  const std::int64_t channels = all.planes / (io.out.shape.n() / all.block);
  ctx.ranges(io.out.shape.n() / all.block, 1, [&](std::int64_t begin, std::int64_t end) noexcept {
    kernels::PoolShape p = all;
    p.planes = (end - begin) * channels;
    const std::int64_t in = begin * channels * p.h * p.w * p.block, out = begin * channels * p.oh * p.ow * p.block;
    ctx->max_pool_ties(p, static_cast<std::int32_t>(channels), io.in[0].data + in, io.out.data + out,
                       largest.data + begin * p.block, switches + out);
  });
  return Status::ok;
}

Status MaxPool::gather(const Context& ctx, const NodeIO& io, const TensorView& x, const TensorView& y) const noexcept {
  const auto* const switches = static_cast<const kernels::Switch*>(io.aux);
  planes(ctx, window.shape(x.shape, y.shape),
         [&](const kernels::PoolShape& p, std::int64_t in, std::int64_t out) noexcept {
           ctx->max_pool_gather(p, x.data + in, switches + out, y.data + out);
         });
  return Status::ok;
}

Status MaxPool::scatter(const Context& ctx, const NodeIO& io, const TensorView& s, const Sink& d) const noexcept {
  const auto* const switches = static_cast<const kernels::Switch*>(io.aux);
  const kernels::PoolShape all = interleaved(window.shape(d.shape, s.shape), s.block);
  ctx.tell(ctx->choices.max_pool_scatter, all);
  planes(ctx, all, [&](const kernels::PoolShape& p, std::int64_t in, std::int64_t out) noexcept {
    ctx->max_pool_scatter(p, s.data + out, switches + out, d.data + in, d.add);
  });
  return Status::ok;
}

Status AveragePool::apply(const Context& ctx, const NodeIO& io, std::span<const TensorView> x, const Row& row,
                          const Sink& z) const noexcept {
  // z (+)= p * pool(sub(x)): the substituted input and, for z that adds or p != 1, the result pass through scratch.
  const ArenaScope scope(*ctx.scratch);
  const real weight = row.w.p;
  const TensorView& in = x[0];
  const real* source = in.data;
  if (!row.x.raw()) {
    TensorView copy;
    VITRINE_TRY(ctx.temporary(in.shape, copy));
    ctx.ranges(in.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
      ctx->substitute(row.x, in.data + begin, copy.data + begin, end - begin, false);
    });
    source = copy.data;
  }
  const bool direct = !z.add && weight == 1;
  TensorView target = z;
  if (!direct) VITRINE_TRY(ctx.temporary(z.shape, target));
  const kernels::PoolShape all = shape(in.shape, io.out.shape);
  ctx.tell(ctx->choices.avg_pool_forward, all);
  planes(ctx, all, [&](const kernels::PoolShape& p, std::int64_t from, std::int64_t to) noexcept {
    ctx->avg_pool_forward(p, source + from, target.data + to);
  });
  if (!direct) ctx->scale(weight, target.data, z.data, z.size(), z.add);
  return Status::ok;
}

Status AveragePool::apply_t(const Context& ctx, const NodeIO& io, Substitute w, const TensorView& s, std::size_t,
                            const Sink& c) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  const real* source = s.data;
  if (w.p != 1) {
    TensorView scaled;
    VITRINE_TRY(ctx.temporary(s.shape, scaled));
    ctx->scale(w.p, s.data, scaled.data, s.size(), false);
    source = scaled.data;
  }
  const kernels::PoolShape all = shape(c.shape, io.out.shape);
  ctx.tell(ctx->choices.avg_pool_backward, all);
  planes(ctx, all, [&](const kernels::PoolShape& p, std::int64_t to, std::int64_t from) noexcept {
    ctx->avg_pool_backward(p, source + from, c.data + to, c.add);
  });
  return Status::ok;
}

Status AvgPool::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                      std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (window.dilation_h != 1 || window.dilation_w != 1) return ctx.fail(Status::bad_argument, "knows no dilation");
  return window.infer(ctx, in[0], out);
}

kernels::PoolShape AvgPool::shape(const Shape& in, const Shape& out) const noexcept {
  kernels::PoolShape p = window.shape(in, out);
  p.count_padding = count_padding;
  return p;
}

Status AdaptiveAvgPool::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                              std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (out_h < 1 || out_w < 1) return ctx.fail(Status::bad_argument, "needs an output of at least 1 x 1");
  out = {in[0].n(), in[0].c(), out_h, out_w};
  return Status::ok;
}

Field AdaptiveAvgPool::field(const Shape& in, const Shape& out, std::size_t axis) const noexcept {
  if (out.d[axis] == 1) return {1, 1, 0, true};
  const float step = static_cast<float>(in.d[axis]) / static_cast<float>(out.d[axis]);
  return {step, step, 0, false};
}

kernels::PoolShape AdaptiveAvgPool::shape(const Shape& in, const Shape& out) const noexcept {
  kernels::PoolShape p;
  p.planes = std::int64_t{in.n()} * in.c();
  p.h = in.h();
  p.w = in.w();
  p.oh = out.h();
  p.ow = out.w();
  p.adaptive = true;
  return p;
}

namespace {

Window window(const PoolOptions& o) noexcept {
  Window w;
  w.kernel_h = w.kernel_w = o.kernel;
  w.stride_h = w.stride_w = o.stride != 0 ? o.stride : o.kernel;
  w.pad_top = w.pad_left = w.pad_bottom = w.pad_right = o.padding;
  w.ceil_mode = o.ceil_mode;
  return w;
}

}  // namespace

Id max_pool(GraphBuilder& g, Id x, const PoolOptions& o, const char* name) noexcept {
  MaxPool* op = g.make<MaxPool>();
  if (op != nullptr) op->window = window(o);
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id avg_pool(GraphBuilder& g, Id x, const PoolOptions& o, const char* name) noexcept {
  AvgPool* op = g.make<AvgPool>();
  if (op != nullptr) {
    op->window = window(o);
    op->count_padding = o.count_padding;
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id adaptive_avg_pool(GraphBuilder& g, Id x, std::int32_t out_h, std::int32_t out_w, const char* name) noexcept {
  AdaptiveAvgPool* op = g.make<AdaptiveAvgPool>();
  if (op != nullptr) {
    op->out_h = out_h;
    op->out_w = out_w;
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id global_max_pool(GraphBuilder& g, Id x, const char* name) noexcept {
  MaxPool* op = g.make<MaxPool>();
  if (op != nullptr) {
    op->window.kernel_h = g.shape(x).h();
    op->window.kernel_w = g.shape(x).w();
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id global_avg_pool(GraphBuilder& g, Id x, const char* name) noexcept { return adaptive_avg_pool(g, x, 1, 1, name); }

}  // namespace vitrine
