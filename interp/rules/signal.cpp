#include "interp/rules/signal.h"

namespace vitrine {
namespace {

bool rectifies(const Op& op) noexcept {
  return op.op_class() == OpClass::pointwise && static_cast<const PointwiseOp&>(op).rectifier();
}

}  // namespace

const char* RectifyRule::refuses(const Op& op) const noexcept {
  if (op.op_class() == OpClass::custom && !static_cast<const CustomOp&>(op).passes())
    return "is no op that a reversed network passes: start at the logits before it";
  if (op.op_class() == OpClass::pointwise && strict_ && !rectifies(op))
    return "is no rectifier, and this rule is defined on rectifiers (set other=gradient to pass it as the gradient "
           "does)";
  return nullptr;
}

Need RectifyRule::needs(const Op& op) const noexcept {
  // A rectifier's output is positive exactly where its input is.
  if (op.op_class() == OpClass::custom) return {};
  return rectifies(op) ? Need{false, kind_ == kernels::Rectify::guided, false} : op.vjp_needs(false);
}

Status RectifyRule::pointwise(const Context& ctx, const PointwiseOp& op, const Step& s) const noexcept {
  if (!op.rectifier()) return gradient(ctx, op, s);
  const Sink& d = s.s_in[0];
  if (!d) return Status::ok;
  const real* const signal = s.s_out[0].data;
  const real* const x = kind_ == kernels::Rectify::guided ? s.io.out.data : signal;  // deconvnet does not read x
  ctx.ranges(d.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    ctx->rectify_backward(kind_, x + begin, signal + begin, d.data + begin, end - begin, d.add);
  });
  return Status::ok;
}

}  // namespace vitrine
