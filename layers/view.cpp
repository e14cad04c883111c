#include "layers/view.h"

#include "kernels/philox.h"

namespace vitrine {
namespace {

void copy_range(const Context& ctx, const real* from, real* to, std::int64_t n, bool add) noexcept {
  ctx.ranges(n, elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    ctx->scale(real{1}, from + begin, to + begin, end - begin, add);
  });
}

void strides(const Shape& s, std::int64_t (&out)[4]) noexcept {
  out[3] = 1;
  out[2] = s.w();
  out[1] = s.pixels();
  out[0] = s.per_image();
}

// Between a tensor with images innermost and the same elements with images outermost; `there`: into the first.
void relay(const Context& ctx, const TensorView& innermost, real* outermost, bool there, bool add) noexcept {
  const std::int64_t lanes = innermost.lanes, size = innermost.shape.per_image();
  ctx.ranges(innermost.shape.n() / lanes, elementwise_grain / (size * lanes) + 1, [&](std::int64_t begin, std::int64_t end) noexcept {
    const std::int64_t first = begin * size * lanes;
    kernels::CopyArgs<real> a;
    a.size[0] = end - begin;
    a.size[2] = there ? size : lanes;
    a.size[3] = there ? lanes : size;
    a.src = (there ? outermost : innermost.data) + first;
    a.dst = (there ? innermost.data : outermost) + first;
    a.src_stride[0] = a.dst_stride[0] = size * lanes;
    a.src_stride[2] = a.dst_stride[3] = 1;
    a.src_stride[3] = there ? size : lanes;
    a.dst_stride[2] = there ? lanes : size;
    a.add = add;
    ctx->copy(a);
  });
}

}  // namespace

Status Concat::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.empty() || !par.empty()) return ctx.fail(Status::bad_graph, "takes one or more inputs and no parameter");
  if (axis < 1 || axis > 3) return ctx.fail(Status::bad_argument, "needs an axis of 1, 2 or 3");
  out = in[0];
  const auto a = static_cast<std::size_t>(axis);
  for (std::size_t k = 1; k < in.size(); ++k) {
    Shape same = in[k];
    same.d[a] = in[0].d[a];
    if (same != in[0]) return ctx.fail(Status::bad_shape, "joins tensors that differ off the axis", in[k], in[0]);
    out.d[a] += in[k].d[a];
  }
  return Status::ok;
}

Status Concat::forward(const Context& ctx, const NodeIO& io) const noexcept {
  std::int64_t at = 0;
  for (const TensorView& x : io.in) {
    kernels::CopyArgs<real> a;
    for (std::size_t d = 0; d < 4; ++d) a.size[d] = x.shape.d[d];
    strides(x.shape, a.src_stride);
    strides(io.out.shape, a.dst_stride);
    a.src = x.data;
    a.dst = io.out.data + at * a.dst_stride[axis];
    ctx->copy(a);
    at += x.shape.d[static_cast<std::size_t>(axis)];
  }
  return Status::ok;
}

Status Concat::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink>) const noexcept {
  std::int64_t at = 0;
  for (std::size_t k = 0; k < d_in.size(); ++k) {
    const Shape& s = io.in[k].shape;
    if (d_in[k]) {
      kernels::CopyArgs<real> a;
      for (std::size_t d = 0; d < 4; ++d) a.size[d] = s.d[d];
      strides(d_out.shape, a.src_stride);
      strides(s, a.dst_stride);
      a.src = d_out.data + at * a.src_stride[axis];
      a.dst = d_in[k].data;
      a.add = d_in[k].add;
      ctx->copy(a);
    }
    at += s.d[static_cast<std::size_t>(axis)];
  }
  return Status::ok;
}

Status Flatten::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (in[0].per_image() > 0x7fffffff) return ctx.fail(Status::bad_shape, "has more than 2^31 - 1 features", in[0], in[0]);
  out = {in[0].n(), static_cast<std::int32_t>(in[0].per_image())};
  return Status::ok;
}

Status Reshape::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (c < 1 || h < 1 || w < 1) return ctx.fail(Status::bad_argument, "needs sizes of at least 1");
  out = {in[0].n(), c, h, w};
  if (out.pixels() > (std::int64_t{1} << 31) || out.per_image() != in[0].per_image()) return ctx.fail(Status::bad_shape, "has another number of elements than its input", in[0], out);
  return Status::ok;
}

namespace {

// Elements keep their order within an image, so where both lie alike it is a plain copy.
void reshape(const Context& ctx, const TensorView& from, const TensorView& to, bool add) noexcept {
  if (from.lanes == to.lanes) {
    copy_range(ctx, from.data, to.data, to.size(), add);
  } else if (to.lanes > 1) {
    relay(ctx, to, from.data, true, add);
  } else {
    relay(ctx, from, to.data, false, add);
  }
}

}  // namespace

Status ReshapeOp::forward(const Context& ctx, const NodeIO& io) const noexcept {
  reshape(ctx, io.in[0], io.out, false);
  return Status::ok;
}

Status ReshapeOp::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink>) const noexcept {
  if (d_in[0]) reshape(ctx, d_out, d_in[0], d_in[0].add);
  return Status::ok;
}

Status Transpose::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  const std::int32_t d[] = {d1, d2, d3};
  unsigned seen = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    if (d[k] < 1 || d[k] > 3) return ctx.fail(Status::bad_argument, "needs dimensions of 1, 2 and 3");
    seen |= 1u << d[k];
    out.d[k + 1] = in[0].d[static_cast<std::size_t>(d[k])];
  }
  out.d[0] = in[0].n();
  return seen == 14 ? Status::ok : ctx.fail(Status::bad_argument, "needs each of the dimensions 1, 2 and 3 once");
}

void Transpose::copy(const Context& ctx, const TensorView& straight, const TensorView& moved, bool there, bool add) const noexcept {
  kernels::CopyArgs<real> a;
  std::int64_t dense[4], own[4];
  strides(straight.shape, dense);
  strides(moved.shape, own);
  const std::int32_t d[] = {0, d1, d2, d3};
  for (std::size_t k = 0; k < 4; ++k) {
    a.size[k] = moved.shape.d[k];
    a.src_stride[k] = there ? dense[d[k]] : own[k];
    a.dst_stride[k] = there ? own[k] : dense[d[k]];
  }
  a.src = there ? straight.data : moved.data;
  a.dst = there ? moved.data : straight.data;
  a.add = add;
  ctx->copy(a);
}

Status Transpose::forward(const Context& ctx, const NodeIO& io) const noexcept {
  copy(ctx, io.in[0], io.out, true, false);
  return Status::ok;
}

Status Transpose::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink>) const noexcept {
  if (d_in[0]) copy(ctx, d_in[0], d_out, false, d_in[0].add);
  return Status::ok;
}

Status Slice::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (axis < 1 || axis > 3) return ctx.fail(Status::bad_argument, "needs an axis of 1, 2 or 3");
  if (start < 0 || count < 1 || step == 0) return ctx.fail(Status::bad_argument, "needs start of at least 0, count of at least 1 and a step");
  const std::int64_t last = start + std::int64_t{count - 1} * step, size = in[0].d[static_cast<std::size_t>(axis)];
  if (start >= size || last < 0 || last >= size) return ctx.fail(Status::bad_shape, "reaches past its input", in[0], in[0]);
  out = in[0];
  out.d[static_cast<std::size_t>(axis)] = count;
  return Status::ok;
}

void Slice::copy(const Context& ctx, const TensorView& whole, const TensorView& part, bool out_of, bool add) const noexcept {
  kernels::CopyArgs<real> a;
  std::int64_t far[4], near[4];
  strides(whole.shape, far);
  strides(part.shape, near);
  real* const first = whole.data + start * far[axis];
  far[axis] *= step;
  for (std::size_t k = 0; k < 4; ++k) {
    a.size[k] = part.shape.d[k];
    a.src_stride[k] = out_of ? far[k] : near[k];
    a.dst_stride[k] = out_of ? near[k] : far[k];
  }
  a.src = out_of ? first : part.data;
  a.dst = out_of ? part.data : first;
  a.add = add;
  ctx->copy(a);
}

Status Slice::forward(const Context& ctx, const NodeIO& io) const noexcept {
  copy(ctx, io.in[0], io.out, true, false);
  return Status::ok;
}

Status Slice::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink>) const noexcept {
  if (!d_in[0]) return Status::ok;
  if (!d_in[0].add) ctx->fill(real{0}, d_in[0].data, d_in[0].size());  // elements between the steps get no signal
  copy(ctx, d_in[0], d_out, false, true);
  return Status::ok;
}

Status Pad::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  out.d[0] = in[0].n();
  const std::int64_t size[] = {std::int64_t{in[0].c()} + front + back, std::int64_t{in[0].h()} + top + bottom, std::int64_t{in[0].w()} + left + right};
  for (std::size_t k = 0; k < 3; ++k) {
    if (size[k] < 1 || size[k] > 0x7fffffff) return ctx.fail(Status::bad_shape, "crops its input away, or pads it beyond 2^31 - 1", in[0], in[0]);
    out.d[k + 1] = static_cast<std::int32_t>(size[k]);
  }
  return Status::ok;
}

void Pad::copy(const Context& ctx, const TensorView& inner, const TensorView& outer, bool outwards, bool add) const noexcept {
  // The part that both have: where the pad is negative, the inner tensor is cut instead of the outer one shifted.
  const auto positive = [](std::int32_t v) noexcept { return std::int64_t{v > 0 ? v : 0}; };
  kernels::CopyArgs<real> a;
  a.size[0] = inner.shape.n();
  a.size[1] = inner.shape.c() - positive(-front) - positive(-back);
  a.size[2] = inner.shape.h() - positive(-top) - positive(-bottom);
  a.size[3] = inner.shape.w() - positive(-left) - positive(-right);
  if (a.size[1] <= 0 || a.size[2] <= 0 || a.size[3] <= 0) return;
  std::int64_t inner_stride[4], outer_stride[4];
  strides(inner.shape, inner_stride);
  strides(outer.shape, outer_stride);
  real* const in = inner.data + positive(-front) * inner_stride[1] + positive(-top) * inner_stride[2] + positive(-left);
  real* const out = outer.data + positive(front) * outer_stride[1] + positive(top) * outer_stride[2] + positive(left);
  for (int d = 0; d < 4; ++d) {
    a.src_stride[d] = outwards ? inner_stride[d] : outer_stride[d];
    a.dst_stride[d] = outwards ? outer_stride[d] : inner_stride[d];
  }
  a.src = outwards ? in : out;
  a.dst = outwards ? out : in;
  a.add = add;
  ctx->copy(a);
}

Status Pad::forward(const Context& ctx, const NodeIO& io) const noexcept {
  ctx->fill(real{0}, io.out.data, io.out.size());
  copy(ctx, io.in[0], io.out, true, false);
  return Status::ok;
}

Status Pad::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink>) const noexcept {
  if (!d_in[0]) return Status::ok;
  if (!d_in[0].add) ctx->fill(real{0}, d_in[0].data, d_in[0].size());  // a crop leaves elements that get no signal
  copy(ctx, d_in[0], d_out, false, true);
  return Status::ok;
}

Status Dropout::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (!(p >= 0 && p < 1)) return ctx.fail(Status::bad_argument, "needs a probability p with 0 <= p < 1");
  out = in[0];
  return Status::ok;
}

void Dropout::move(const Context& ctx, const NodeIO& io, const real* from, real* to, std::int64_t n, bool add) const noexcept {
  if (!ctx.training || p == 0) return copy_range(ctx, from, to, n, add);
  const std::uint64_t key = derive_key(ctx.random_key, io.node);
  ctx.ranges(n, elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    ctx->dropout(p, key, static_cast<std::uint64_t>(begin), from + begin, to + begin, end - begin, add);
  });
}

Status Dropout::forward(const Context& ctx, const NodeIO& io) const noexcept {
  move(ctx, io, io.in[0].data, io.out.data, io.out.size(), false);
  return Status::ok;
}

Status Dropout::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink>) const noexcept {
  if (d_in[0]) move(ctx, io, d_out.data, d_in[0].data, d_in[0].size(), d_in[0].add);
  return Status::ok;
}

Id concat(GraphBuilder& g, std::span<const Id> parts, const char* name, std::int32_t axis) noexcept {
  Concat* op = g.make<Concat>();
  if (op != nullptr) op->axis = axis;
  return g.add(op, parts, {}, name);
}

Id flatten(GraphBuilder& g, Id x, const char* name) noexcept {
  const Id in[] = {x};
  return g.add(g.make<Flatten>(), in, {}, name);
}

Id reshape(GraphBuilder& g, Id x, std::int32_t c, std::int32_t h, std::int32_t w, const char* name) noexcept {
  Reshape* op = g.make<Reshape>();
  if (op != nullptr) {
    op->c = c;
    op->h = h;
    op->w = w;
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id transpose(GraphBuilder& g, Id x, std::int32_t d1, std::int32_t d2, std::int32_t d3, const char* name) noexcept {
  Transpose* op = g.make<Transpose>();
  if (op != nullptr) {
    op->d1 = d1;
    op->d2 = d2;
    op->d3 = d3;
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id slice(GraphBuilder& g, Id x, std::int32_t axis, std::int32_t start, std::int32_t count, std::int32_t step, const char* name) noexcept {
  Slice* op = g.make<Slice>();
  if (op != nullptr) {
    op->axis = axis;
    op->start = start;
    op->count = count;
    op->step = step;
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id pad_channels(GraphBuilder& g, Id x, std::int32_t front, std::int32_t back, const char* name) noexcept {
  Pad* op = g.make<Pad>();
  if (op != nullptr) {
    op->front = front;
    op->back = back;
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id pad(GraphBuilder& g, Id x, std::int32_t top, std::int32_t left, std::int32_t bottom, std::int32_t right, const char* name) noexcept {
  Pad* op = g.make<Pad>();
  if (op != nullptr) {
    op->top = top;
    op->left = left;
    op->bottom = bottom;
    op->right = right;
  }
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id dropout(GraphBuilder& g, Id x, float p, const char* name) noexcept {
  Dropout* op = g.make<Dropout>();
  if (op != nullptr) op->p = p;
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

}  // namespace vitrine
