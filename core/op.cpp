#include "core/op.h"

namespace vitrine {

const char* name(OpClass c) noexcept {
  switch (c) {
    case OpClass::affine:
      return "affine";
    case OpClass::pointwise:
      return "pointwise";
    case OpClass::gate:
      return "gate";
    case OpClass::route:
      return "route";
    case OpClass::view:
      return "view";
    case OpClass::product:
      return "product";
    case OpClass::custom:
      return "custom";
  }
  return "unknown";
}

Sink epilogue_start(const Context& ctx, const NodeIO& io) noexcept {
  // The plan gives the result the residual's memory where it can.
  const TensorView& residual = io.epilogue.residual;
  if (residual && residual.data != io.out.data)
    ctx.ranges(io.out.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
      ctx->scale(real{1}, residual.data + begin, io.out.data + begin, end - begin, false);
    });
  return {io.out, static_cast<bool>(residual)};
}

Status AffineOp::vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
                     std::span<const Sink> d_par) const noexcept {
  for (std::size_t k = 0; k < d_in.size(); ++k)
    if (d_in[k]) VITRINE_TRY(apply_t(ctx, io, raw_part, d_out, k, d_in[k]));
  return parameter_gradient(ctx, io, d_out, d_par);
}

}  // namespace vitrine
