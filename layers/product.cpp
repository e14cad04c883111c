#include "layers/product.h"

namespace vitrine {
namespace {

// Strides of a tensor that is broadcast over a larger one: 0 along the sizes that it does not have.
void broadcast_strides(const Shape& s, const Shape& over, std::int64_t (&out)[4]) noexcept {
  const std::int64_t dense[] = {s.per_image(), s.pixels(), s.w(), 1};
  for (std::size_t d = 0; d < 4; ++d) out[d] = s.d[d] == over.d[d] ? dense[d] : 0;
}

// to (+)= from, where the smaller of the two is broadcast over the larger, or sums it up.
void broadcast(const Context& ctx, const TensorView& from, const TensorView& to, const Shape& over, bool add) noexcept {
  kernels::CopyArgs<real> a;
  for (std::size_t d = 0; d < 4; ++d) a.size[d] = over.d[d];
  broadcast_strides(from.shape, over, a.src_stride);
  broadcast_strides(to.shape, over, a.dst_stride);
  a.src = from.data;
  a.dst = to.data;
  a.add = add;
  ctx->copy(a);
}

}  // namespace

Status Multiply::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                       std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 2 || !par.empty()) return ctx.fail(Status::bad_graph, "takes two inputs and no parameter");
  if (gate_input < -1 || gate_input > 1) return ctx.fail(Status::bad_argument, "needs a gate of 0, 1 or -1");
  for (std::size_t d = 0; d < 4; ++d)
    if (in[1].d[d] != in[0].d[d] && (d == 0 || in[1].d[d] != 1))
      return ctx.fail(Status::bad_shape, "has a second factor that cannot be broadcast over the first", in[1], in[0]);
  out = in[0];
  return Status::ok;
}

Status Multiply::forward(const Context& ctx, const NodeIO& io) const noexcept {
  const TensorView &a = io.in[0], &b = io.in[1];
  if (a.shape == b.shape) {
    ctx.ranges(a.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
      ctx->multiply(a.data + begin, b.data + begin, io.out.data + begin, end - begin, false);
    });
    return Status::ok;
  }
  const ArenaScope scope(*ctx.scratch);
  TensorView wide;
  VITRINE_TRY(ctx.temporary(a.shape, wide));
  broadcast(ctx, b, wide, a.shape, false);
  ctx->multiply(a.data, wide.data, io.out.data, a.size(), false);
  return Status::ok;
}

Status Multiply::partial(const Context& ctx, const NodeIO& io, const TensorView& s, const TensorView& other,
                         std::size_t k, const Sink& d) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  const bool same = io.in[0].shape == io.in[1].shape;
  TensorView product = s;
  if (other) {
    TensorView wide = other;
    if (!same && k == 0) {
      VITRINE_TRY(ctx.temporary(s.shape, wide));
      broadcast(ctx, other, wide, s.shape, false);
    }
    if (same || k == 0) {
      ctx->multiply(s.data, wide.data, d.data, d.size(), d.add);
      return Status::ok;
    }
    VITRINE_TRY(ctx.temporary(s.shape, product));
    ctx->multiply(s.data, wide.data, product.data, product.size(), false);
  }
  if (same || k == 0) {
    ctx->scale(real{1}, product.data, d.data, d.size(), d.add);
    return Status::ok;
  }
  // Summed over where the factor was broadcast. Rows of a plane are summed as one channel: exact order, any thread
  // count.
  if (io.in[1].shape.pixels() == 1 && io.in[1].shape.c() == s.shape.c()) {
    ctx->channel_sum(product.data, 1, std::int64_t{s.shape.n()} * s.shape.c(), s.shape.pixels(), d.data, d.add);
    return Status::ok;
  }
  if (!d.add) ctx->fill(real{0}, d.data, d.size());
  broadcast(ctx, product, d, s.shape, true);
  return Status::ok;
}

Id multiply(GraphBuilder& g, Id a, Id b, std::int32_t gate, const char* name) noexcept {
  Multiply* op = g.make<Multiply>();
  if (op != nullptr) op->gate_input = gate;
  const Id in[] = {a, b};
  return g.add(op, in, {}, name);
}

}  // namespace vitrine
