#include "layers/upsample.h"

namespace vitrine {
namespace {

template <class Body>
void over_planes(const Context& ctx, const kernels::ResizeShape& s, Body&& body) noexcept {
  const std::int64_t in = std::int64_t{s.h} * s.w, out = std::int64_t{s.oh} * s.ow;
  ctx.ranges(s.planes, elementwise_grain / (in + out) + 1, [&](std::int64_t begin, std::int64_t end) noexcept {
    kernels::ResizeShape part = s;
    part.planes = end - begin;
    body(part, begin * in, begin * out);
  });
}

void resample(const Context& ctx, const kernels::ResizeShape& shape, const real* x, real* y) noexcept {
  over_planes(ctx, shape, [&](const kernels::ResizeShape& part, std::int64_t in, std::int64_t out) noexcept {
    ctx->resize_forward(part, x + in, y + out);
  });
}

void resample_back(const Context& ctx, const kernels::ResizeShape& shape, const real* s, const Sink& d) noexcept {
  over_planes(ctx, shape, [&](const kernels::ResizeShape& part, std::int64_t in, std::int64_t out) noexcept {
    ctx->resize_backward(part, s + out, d.data + in, d.add);
  });
}

}  // namespace

Status Resampling::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par,
                         Shape& out) const noexcept {
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (out_h < 1 || out_w < 1) return ctx.fail(Status::bad_argument, "needs an output of at least 1 x 1");
  if (!(step_h >= 0) || !(step_w >= 0)) return ctx.fail(Status::bad_argument, "needs steps of at least 0");
  out = {in[0].n(), in[0].c(), out_h, out_w};
  return Status::ok;
}

Field Resampling::field(const Shape& in, const Shape& out, std::size_t axis) const noexcept {
  const float given = axis == 2 ? step_h : step_w,
              ratio = static_cast<float>(in.d[axis]) / static_cast<float>(out.d[axis]);
  const bool aligned = align_corners && out.d[axis] > 1;
  const float step = aligned     ? static_cast<float>(in.d[axis] - 1) / static_cast<float>(out.d[axis] - 1)
                     : given > 0 ? given
                                 : ratio;
  // Output 0 is centred at input (half * step - half); bilinear reads a place to both sides of that.
  const float size = bilinear ? 2.0f : 1.0f, centre = !aligned && half_pixel ? 0.5f * step - 0.5f : 0.0f;
  return {size, step, (size - 1) / 2 - centre, false};
}

kernels::ResizeShape Resampling::shape(const Shape& in) const noexcept {
  return {
      std::int64_t{in.n()} * in.c(), in.h(), in.w(), out_h, out_w, bilinear, align_corners, half_pixel, step_h, step_w};
}

Status Upsample::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                       std::size_t& aux) const noexcept {
  aux = 0;
  return to.infer(ctx, in, par, out);
}

Status Upsample::apply(const Context& ctx, const NodeIO&, std::span<const TensorView> x, const Row& row,
                       const Sink& z) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView source = x[0], target = z;
  if (!row.x.raw()) {
    VITRINE_TRY(ctx.temporary(source.shape, source));
    ctx->substitute(row.x, x[0].data, source.data, source.size(), false);
  }
  const bool direct = !z.add && row.w.p == 1;
  if (!direct) VITRINE_TRY(ctx.temporary(z.shape, target));
  resample(ctx, to.shape(source.shape), source.data, target.data);
  if (!direct) ctx->scale(row.w.p, target.data, z.data, z.size(), z.add);
  return Status::ok;
}

Status Upsample::apply_t(const Context& ctx, const NodeIO&, Substitute w, const TensorView& s, std::size_t,
                         const Sink& c) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView source = s;
  if (w.p != 1) {
    VITRINE_TRY(ctx.temporary(s.shape, source));
    ctx->scale(w.p, s.data, source.data, source.size(), false);
  }
  resample_back(ctx, to.shape(c.shape), source.data, c);
  return Status::ok;
}

Status NearestUpsample::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                              std::size_t& aux) const noexcept {
  aux = 0;
  return to.infer(ctx, in, par, out);
}

Status NearestUpsample::forward(const Context& ctx, const NodeIO& io) const noexcept {
  resample(ctx, to.shape(io.in[0].shape), io.in[0].data, io.out.data);
  return Status::ok;
}

Status NearestUpsample::vjp(const Context& ctx, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
                            std::span<const Sink>) const noexcept {
  if (d_in[0]) resample_back(ctx, to.shape(d_in[0].shape), d_out.data, d_in[0]);
  return Status::ok;
}

namespace {

template <class T>
Op* make(GraphBuilder& g, const Resampling& to) noexcept {
  T* const op = g.make<T>();
  if (op != nullptr) op->to = to;
  return op;
}

}  // namespace

Id upsample(GraphBuilder& g, Id x, const Resampling& to, const char* name) noexcept {
  Op* const op = to.bilinear ? make<Upsample>(g, to) : make<NearestUpsample>(g, to);
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id upsample(GraphBuilder& g, Id x, std::int32_t out_h, std::int32_t out_w, bool bilinear, const char* name) noexcept {
  return upsample(g, x, {.out_h = out_h, .out_w = out_w, .bilinear = bilinear}, name);
}

}  // namespace vitrine
