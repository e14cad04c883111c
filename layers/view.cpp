#include "layers/view.h"

#include <algorithm>

#include "kernels/philox.h"

namespace vitrine {
namespace {

std::int64_t apart(std::int32_t stride) noexcept { return stride < 0 ? -std::int64_t{stride} : stride; }

void copy_range(const Context& ctx, const real* from, real* to, std::int64_t n, bool add) noexcept {
  ctx.ranges(n, elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    ctx->scale(real{1}, from + begin, to + begin, end - begin, add);
  });
}

// Elements first[d], first[d] + step[d], ... along each dimension of a tensor.
struct Part {
  const TensorView& whole;
  std::int64_t first[4] = {}, step[4] = {1, 1, 1, 1};
};

// to (+)= from, `size` elements along each dimension, each tensor in its own layout. The copy kernel's four dimensions
// are channel, row, column and image of a block, or image, channel, row and column if both are planar.
void copy_part(const Context& ctx, const Part& from, const Part& to, const Shape& size, bool add) noexcept {
  const std::int64_t block = std::max(from.whole.block, to.whole.block), blocks = size.n() / block;
  const auto place = [&](const Part& part, std::int64_t(&stride)[4], std::int64_t& step) noexcept {
    const Shape& s = part.whole.shape;
    const std::int64_t own = part.whole.block,
                       dense[] = {s.pixels() * own, s.w() * own, own, own > 1 ? 1 : s.per_image()};
    step = s.per_image() * block;
    std::int64_t at = 0;
    for (std::size_t d = 0; d < 3; ++d) {
      at += part.first[d + 1] * dense[d];
      stride[d] = dense[d] * part.step[d + 1];
    }
    stride[3] = dense[3];
    return part.whole.data + at;
  };
  kernels::CopyArgs<real> a;
  std::int64_t src_step, dst_step;  // from block to block
  a.src = place(from, a.src_stride, src_step);
  a.dst = place(to, a.dst_stride, dst_step);
  for (std::size_t d = 0; d < 3; ++d) a.size[d] = size.d[d + 1];
  a.size[3] = block;
  a.add = add;
  if (block == 1) {
    std::rotate(a.size, a.size + 3, a.size + 4);
    std::rotate(a.src_stride, a.src_stride + 3, a.src_stride + 4);
    std::rotate(a.dst_stride, a.dst_stride + 3, a.dst_stride + 4);
  }
  ctx.ranges(blocks, elementwise_grain / (size.per_image() * block) + 1,
             [&](std::int64_t begin, std::int64_t end) noexcept {
               kernels::CopyArgs<real> part = a;
               part.src += begin * src_step;
               part.dst += begin * dst_step;
               if (block == 1) {
                 part.size[0] = end - begin;
                 ctx->copy(part);
                 return;
               }
               for (std::int64_t k = begin; k < end; ++k, part.src += src_step, part.dst += dst_step) ctx->copy(part);
             });
}

}  // namespace

Status Concat::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                     std::size_t& aux) const noexcept {
  aux = 0;
  if (in.empty() || !par.empty()) return ctx.fail(Status::bad_graph, "takes one or more inputs and no parameter");
  if (axis < 1 || axis > 3) return ctx.fail(Status::bad_argument, "needs an axis of 1, 2 or 3");
  out = in[0];
  const auto a = static_cast<std::size_t>(axis);
  for (std::size_t k = 1; k < in.size(); ++k) {
    Shape same = in[k];
    same.d[a] = in[0].d[a];
    if (same != in[0]) return ctx.fail(Status::bad_shape, "joins tensors that differ off the axis", in[k], in[0]);
    if (in[k].d[a] > 0x7fffffff - out.d[a])
      return ctx.fail(Status::bad_shape, "is longer than 2^31 - 1 along its axis", in[k], out);
    out.d[a] += in[k].d[a];
  }
  return Status::ok;
}

Status Concat::forward(const Context& ctx, const NodeIO& io) const noexcept {
  Part joint{io.out};
  for (const TensorView& x : io.in) {
    copy_part(ctx, {x}, joint, x.shape, false);
    joint.first[axis] += x.shape.d[static_cast<std::size_t>(axis)];
  }
  return Status::ok;
}

Status Concat::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                   std::span<const Sink>) const noexcept {
  Part joint{d_out};
  for (std::size_t k = 0; k < d_in.size(); ++k) {
    const Shape& s = io.in[k].shape;
    if (d_in[k]) copy_part(ctx, joint, {d_in[k]}, s, d_in[k].add);
    joint.first[axis] += s.d[static_cast<std::size_t>(axis)];
  }
  return Status::ok;
}

Status Flatten::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                      std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (in[0].per_image() > 0x7fffffff)
    return ctx.fail(Status::bad_shape, "has more than 2^31 - 1 features", in[0], in[0]);
  out = {in[0].n(), static_cast<std::int32_t>(in[0].per_image())};
  return Status::ok;
}

Status Reshape::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                      std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (c < 1 || h < 1 || w < 1) return ctx.fail(Status::bad_argument, "needs sizes of at least 1");
  out = {in[0].n(), c, h, w};
  if (out.pixels() > (std::int64_t{1} << 31) || out.per_image() != in[0].per_image())
    return ctx.fail(Status::bad_shape, "has another number of elements than its input", in[0], out);
  return Status::ok;
}

Status ReshapeOp::forward(const Context& ctx, const NodeIO& io) const noexcept {
  relayout(ctx, io.in[0], io.out, false);
  return Status::ok;
}

Status ReshapeOp::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
                      std::span<const Sink>) const noexcept {
  if (d_in[0]) relayout(ctx, d_out, d_in[0], d_in[0].add);
  return Status::ok;
}

Status Transpose::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                        std::size_t& aux) const noexcept {
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

void Transpose::copy(const Context& ctx, const TensorView& straight, const TensorView& moved, bool there,
                     bool add) const noexcept {
  const Shape& s = straight.shape;
  const std::int64_t dense[] = {s.per_image(), s.pixels(), s.w(), 1},
                     own[] = {s.per_image(), moved.shape.pixels(), moved.shape.w(), 1};
  const std::int32_t d[] = {0, d1, d2, d3};
  kernels::CopyArgs<real> a;
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

Status Transpose::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
                      std::span<const Sink>) const noexcept {
  if (d_in[0]) copy(ctx, d_in[0], d_out, false, d_in[0].add);
  return Status::ok;
}

Status Slice::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                    std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (axis < 1 || axis > 3) return ctx.fail(Status::bad_argument, "needs an axis of 1, 2 or 3");
  if (start < 0 || count < 1 || step == 0)
    return ctx.fail(Status::bad_argument, "needs start of at least 0, count of at least 1 and a step");
  const std::int64_t last = start + std::int64_t{count - 1} * step, size = in[0].d[static_cast<std::size_t>(axis)];
  if (start >= size || last < 0 || last >= size)
    return ctx.fail(Status::bad_shape, "reaches past its input", in[0], in[0]);
  out = in[0];
  out.d[static_cast<std::size_t>(axis)] = count;
  return Status::ok;
}

void Slice::copy(const Context& ctx, const TensorView& whole, const TensorView& part, bool out_of,
                 bool add) const noexcept {
  Part kept{whole};
  kept.first[axis] = start;
  kept.step[axis] = step;
  copy_part(ctx, out_of ? kept : Part{part}, out_of ? Part{part} : kept, part.shape, add);
}

Status Slice::forward(const Context& ctx, const NodeIO& io) const noexcept {
  copy(ctx, io.in[0], io.out, true, false);
  return Status::ok;
}

Status Slice::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
                  std::span<const Sink>) const noexcept {
  if (!d_in[0]) return Status::ok;
  if (!d_in[0].add) ctx->fill(real{0}, d_in[0].data, d_in[0].size());  // elements between the steps get no signal
  copy(ctx, d_in[0], d_out, false, true);
  return Status::ok;
}

Status Pad::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                  std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  out.d[0] = in[0].n();
  const std::int64_t size[] = {std::int64_t{in[0].c()} + front + back, std::int64_t{in[0].h()} + top + bottom,
                               std::int64_t{in[0].w()} + left + right};
  for (std::size_t k = 0; k < 3; ++k) {
    if (size[k] < 1 || size[k] > 0x7fffffff)
      return ctx.fail(Status::bad_shape, "crops its input away, or pads it beyond 2^31 - 1", in[0], in[0]);
    out.d[k + 1] = static_cast<std::int32_t>(size[k]);
  }
  return Status::ok;
}

void Pad::copy(const Context& ctx, const TensorView& inner, const TensorView& outer, bool outwards,
               bool add) const noexcept {
  // The part that both have: where the pad is negative, the inner tensor is cut instead of the outer one shifted.
  const std::int32_t before[] = {0, front, top, left}, after[] = {0, back, bottom, right};
  Part in{inner}, out{outer};
  Shape both = inner.shape;
  for (std::size_t d = 1; d < 4; ++d) {
    in.first[d] = std::max(-before[d], 0);
    out.first[d] = std::max(before[d], 0);
    both.d[d] -= std::max(-before[d], 0) + std::max(-after[d], 0);
    if (both.d[d] <= 0) return;
  }
  copy_part(ctx, outwards ? in : out, outwards ? out : in, both, add);
}

Status Pad::forward(const Context& ctx, const NodeIO& io) const noexcept {
  ctx->fill(real{0}, io.out.data, io.out.size());
  copy(ctx, io.in[0], io.out, true, false);
  return Status::ok;
}

Status Pad::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
                std::span<const Sink>) const noexcept {
  if (!d_in[0]) return Status::ok;
  if (!d_in[0].add) ctx->fill(real{0}, d_in[0].data, d_in[0].size());  // a crop leaves elements that get no signal
  copy(ctx, d_in[0], d_out, false, true);
  return Status::ok;
}

void StridedView::attributes(AttributeVisitor& v) noexcept {
  static constexpr const char* sizes[] = {"size_0", "size_1", "size_2", "size_3", "size_4", "size_5"};
  static constexpr const char* strides[] = {"stride_0", "stride_1", "stride_2", "stride_3", "stride_4", "stride_5"};
  v("c", c);
  v("h", h);
  v("w", w);
  v("start", start);
  for (std::size_t k = 0; k < dimensions; ++k) v(sizes[k], size[k]);
  for (std::size_t k = 0; k < dimensions; ++k) v(strides[k], stride[k]);
}

Status StridedView::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                          std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (c < 1 || h < 1 || w < 1) return ctx.fail(Status::bad_argument, "needs sizes of at least 1");
  constexpr std::int64_t limit = std::int64_t{1} << 31;
  out = {in[0].n(), c, h, w};
  if (std::int64_t{c} * h > limit || out.pixels() > limit || out.per_image() > limit)
    return ctx.fail(Status::bad_shape, "makes more than 2^31 elements", in[0], out);
  std::int64_t all = 1, least = start, most = start;
  for (std::size_t k = 0; k < dimensions; ++k) {
    if (size[k] < 1 || (all *= size[k]) > limit)
      return ctx.fail(Status::bad_argument, "needs sizes of at least 1 and at most 2^31 elements");
    (stride[k] < 0 ? least : most) += std::int64_t{size[k] - 1} * stride[k];
  }
  if (all != out.per_image())
    return ctx.fail(Status::bad_shape, "has another number of elements than its dimensions", in[0], out);
  if (least < 0 || most >= in[0].per_image())
    return ctx.fail(Status::bad_shape, "reads elements that its input does not have", in[0], out);
  // Strides of decreasing size, each beyond what the smaller ones reach, so that no element is met twice.
  bool used[dimensions] = {};
  for (std::int64_t reach = 0;;) {
    std::size_t next = dimensions;
    for (std::size_t k = 0; k < dimensions; ++k)
      if (!used[k] && size[k] > 1 && stride[k] != 0 && (next == dimensions || apart(stride[k]) < apart(stride[next])))
        next = k;
    if (next == dimensions) return Status::ok;
    if (apart(stride[next]) <= reach)
      return ctx.fail(Status::bad_argument, "meets an element twice along strides other than 0");
    used[next] = true;
    reach += (size[next] - 1) * apart(stride[next]);
  }
}

namespace {

// A dimension of a view: its steps in the whole tensor and in the view.
struct Dimension {
  std::int64_t size, whole, view;
};

// The copy kernel takes four dimensions; the others are loops.
void copy_dimensions(const Context& ctx, const Dimension* d, std::size_t count, const real* from, real* to, bool out_of,
                     bool add) noexcept {
  kernels::CopyArgs<real> a;
  a.add = add;
  const std::size_t loops = count > 4 ? count - 4 : 0;
  for (std::size_t k = loops; k < count; ++k) {
    const std::size_t at = k - loops + (count < 4 ? 4 - count : 0);
    a.size[at] = d[k].size;
    a.src_stride[at] = out_of ? d[k].whole : d[k].view;
    a.dst_stride[at] = out_of ? d[k].view : d[k].whole;
  }
  std::int64_t rounds = 1;
  for (std::size_t k = 0; k < loops; ++k) rounds *= d[k].size;
  for (std::int64_t r = 0; r < rounds; ++r) {
    std::int64_t rest = r, whole = 0, view = 0;
    for (std::size_t k = loops; k-- > 0; rest /= d[k].size) {
      whole += rest % d[k].size * d[k].whole;
      view += rest % d[k].size * d[k].view;
    }
    a.src = from + (out_of ? whole : view);
    a.dst = to + (out_of ? view : whole);
    ctx->copy(a);
  }
}

}  // namespace

void StridedView::copy(const Context& ctx, const TensorView& whole, const TensorView& view, bool out_of,
                       bool add) const noexcept {
  // Dimensions that can be walked as one are merged.
  Dimension d[dimensions + 1] = {{whole.shape.n(), whole.shape.per_image(), view.shape.per_image()}};
  std::size_t count = 1;
  std::int64_t dense = view.shape.per_image();
  for (std::size_t k = 0; k < dimensions; ++k) {
    dense /= size[k];
    if (size[k] == 1) continue;
    Dimension& last = d[count - 1];
    if (count > 1 && last.whole == std::int64_t{size[k]} * stride[k])
      last = {last.size * size[k], stride[k], dense};
    else
      d[count++] = {size[k], stride[k], dense};
  }
  ctx.ranges(whole.shape.n(), elementwise_grain / view.shape.per_image() + 1,
             [&](std::int64_t begin, std::int64_t end) noexcept {
               Dimension part[dimensions + 1];
               std::copy_n(d, count, part);
               part[0].size = end - begin;
               const real* const from = (out_of ? whole : view).data + begin * (out_of ? d[0].whole : d[0].view);
               real* const to = (out_of ? view : whole).data + begin * (out_of ? d[0].view : d[0].whole);
               copy_dimensions(ctx, part, count, from + (out_of ? start : 0), to + (out_of ? 0 : start), out_of, add);
             });
}

Status StridedView::forward(const Context& ctx, const NodeIO& io) const noexcept {
  copy(ctx, io.in[0], io.out, true, false);
  return Status::ok;
}

Status StridedView::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
                        std::span<const Sink>) const noexcept {
  if (!d_in[0]) return Status::ok;
  if (!d_in[0].add) ctx->fill(real{0}, d_in[0].data, d_in[0].size());  // elements that the view leaves out
  copy(ctx, d_in[0], d_out, false, true);
  return Status::ok;
}

Status Dropout::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                      std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (!(p >= 0 && p < 1)) return ctx.fail(Status::bad_argument, "needs a probability p with 0 <= p < 1");
  out = in[0];
  return Status::ok;
}

void Dropout::move(const Context& ctx, const NodeIO& io, const real* from, real* to, std::int64_t n,
                   bool add) const noexcept {
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

Status Dropout::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                    std::span<const Sink>) const noexcept {
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

Id slice(GraphBuilder& g, Id x, std::int32_t axis, std::int32_t start, std::int32_t count, std::int32_t step,
         const char* name) noexcept {
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

Id pad(GraphBuilder& g, Id x, std::int32_t top, std::int32_t left, std::int32_t bottom, std::int32_t right,
       const char* name) noexcept {
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

Id strided_view(GraphBuilder& g, Id x, std::span<const std::int32_t> size, std::span<const std::int32_t> stride,
                std::int32_t start, const Shape& result, const char* name) noexcept {
  StridedView* op = g.make<StridedView>();
  if (op != nullptr) {
    std::copy_n(size.begin(), std::min(size.size(), StridedView::dimensions), op->size);
    std::copy_n(stride.begin(), std::min(stride.size(), StridedView::dimensions), op->stride);
    op->start = start;
    op->c = result.c();
    op->h = result.h();
    op->w = result.w();
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
