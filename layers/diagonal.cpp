#include "layers/diagonal.h"

namespace vitrine {

void run_channel_affine(const Context& ctx, const TensorView& x, Substitute x_sub, const real* scale, const real* shift,
                        const Sink& y) noexcept {
  const Shape shape = folded(x);
  kernels::ChannelAffineArgs<real> a;
  a.channels = shape.c();
  a.pixels = shape.pixels();
  a.x = x.data;
  a.x_sub = x_sub;
  a.scale = scale;
  a.shift = shift;
  a.y = y.data;
  a.add = y.add;
  ctx.ranges(std::int64_t{shape.n()} * a.channels, elementwise_grain / a.pixels + 1,
             [&](std::int64_t begin, std::int64_t end) noexcept {
               kernels::ChannelAffineArgs<real> part = a;
               part.first = begin;
               part.planes = end - begin;
               ctx->channel_affine(part);
             });
}

Status DiagonalOp::apply(const Context& ctx, const NodeIO& io, std::span<const TensorView> x, const Row& row,
                         const Sink& z) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView scale, shift;
  const Shape each{1, io.in[0].shape.c()};
  VITRINE_TRY(ctx.temporary(each, scale));
  VITRINE_TRY(ctx.temporary(each, shift));
  coefficients(ctx, io, row.w, row.bias, scale.data, shift.data);
  run_channel_affine(ctx, x[0], row.x, scale.data, shift.data, z);
  return Status::ok;
}

Status DiagonalOp::apply_t(const Context& ctx, const NodeIO& io, Substitute w, const TensorView& s, std::size_t,
                           const Sink& c) const noexcept {
  const ArenaScope scope(*ctx.scratch);
  TensorView scale;
  VITRINE_TRY(ctx.temporary({1, s.shape.c()}, scale));
  coefficients(ctx, io, w, nothing, scale.data, nullptr);
  run_channel_affine(ctx, s, raw_part, scale.data, nullptr, c);
  return Status::ok;
}

}  // namespace vitrine
