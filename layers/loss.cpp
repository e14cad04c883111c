#include "layers/loss.h"

namespace vitrine {

Status cross_entropy(const Context& ctx, const TensorView& logits, const TensorView& target,
                     std::span<double> row_losses, const TensorView& d_logits, double& mean, real weight) noexcept {
  const std::int64_t n = logits.shape.n(), k = logits.shape.per_image();
  if (target.shape != logits.shape)
    return ctx.fail(Status::bad_shape, "the target does not fit the output", target.shape, logits.shape);
  if (row_losses.size() < static_cast<std::size_t>(n))
    return ctx.fail(Status::bad_argument, "needs room for one loss an image");
  ctx->cross_entropy(logits.data, target.data, n, k, weight / static_cast<real>(n), row_losses.data(), d_logits.data);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += row_losses[static_cast<std::size_t>(i)];
  mean = sum / static_cast<double>(n);
  return Status::ok;
}

Status mean_squared_error(const Context& ctx, const TensorView& output, const TensorView& target,
                          const TensorView& d_output, double& mean) noexcept {
  if (target.shape != output.shape)
    return ctx.fail(Status::bad_shape, "the target does not fit the output", target.shape, output.shape);
  const std::int64_t n = output.size();
  const ArenaScope scope(*ctx.scratch);
  TensorView difference;
  VITRINE_TRY(ctx.temporary(output.shape, difference));
  ctx->combine(real{1}, output.data, real{-1}, target.data, difference.data, n);
  mean = ctx->dot(difference.data, difference.data, n) / static_cast<double>(n);
  if (d_output) ctx->scale(real{2} / static_cast<real>(n), difference.data, d_output.data, n, false);
  return Status::ok;
}

}  // namespace vitrine
