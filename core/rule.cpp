#include "core/rule.h"

namespace vitrine {

Status Rule::step(const Context& ctx, const Op& op, const Step& s) const noexcept {
  switch (op.op_class()) {
    case OpClass::affine:
      return affine(ctx, static_cast<const AffineOp&>(op), s);
    case OpClass::pointwise:
      return pointwise(ctx, static_cast<const PointwiseOp&>(op), s);
    case OpClass::gate:
      return gate(ctx, static_cast<const GateOp&>(op), s);
    case OpClass::route:
      return route(ctx, static_cast<const RouteOp&>(op), s);
    case OpClass::view:
      return view(ctx, static_cast<const ViewOp&>(op), s);
    case OpClass::product:
      return product(ctx, static_cast<const ProductOp&>(op), s);
    case OpClass::custom:
      return custom(ctx, static_cast<const CustomOp&>(op), s);
  }
  return ctx.fail(Status::no_rule, "is of no known class");
}

Status Rule::gradient(const Context& ctx, const Op& op, const Step& s) noexcept {
  for (std::size_t c = 0; c < s.s_out.size(); ++c) VITRINE_TRY(op.vjp(ctx, s.io, s.s_out[c], s.inputs(c), s.d_par));
  return Status::ok;
}

Status Rule::pass(const Context& ctx, const Step& s) noexcept {
  for (std::size_t c = 0; c < s.s_out.size(); ++c) {
    const Sink& d = s.inputs(c)[0];
    if (!d) continue;
    ctx.ranges(d.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
      ctx->scale(real{1}, s.s_out[c].data + begin, d.data + begin, end - begin, d.add);
    });
  }
  return Status::ok;
}

Status Rule::affine(const Context& ctx, const AffineOp& op, const Step& s) const noexcept {
  return gradient(ctx, op, s);
}
Status Rule::activation(const Context& ctx, const ActivationOp& op, const Step& s) const noexcept {
  return gradient(ctx, op, s);
}
Status Rule::pointwise(const Context& ctx, const PointwiseOp& op, const Step& s) const noexcept {
  return activation(ctx, op, s);
}
Status Rule::gate(const Context& ctx, const GateOp& op, const Step& s) const noexcept { return activation(ctx, op, s); }
Status Rule::route(const Context& ctx, const RouteOp& op, const Step& s) const noexcept { return gradient(ctx, op, s); }
Status Rule::view(const Context& ctx, const ViewOp& op, const Step& s) const noexcept { return gradient(ctx, op, s); }
Status Rule::product(const Context& ctx, const ProductOp& op, const Step& s) const noexcept {
  return gradient(ctx, op, s);
}
Status Rule::custom(const Context& ctx, const CustomOp& op, const Step& s) const noexcept {
  return gradient(ctx, op, s);
}

}  // namespace vitrine
