// Losses: from outputs and targets to a number and the signal that starts training's walk.
#pragma once

#include <span>

#include "core/context.h"

namespace vitrine {

/// Softmax cross-entropy, mean over the batch: -sum_k t_k log softmax(x)_k for a target distribution t (N,K), hard or
/// soft. `d_logits` (may be empty) gets weight * d(mean loss)/d(logits); `row_losses` N values in double, in host
/// memory.
Status cross_entropy(const Context&, const TensorView& logits, const TensorView& target, std::span<double> row_losses,
                     const TensorView& d_logits, double& mean, real weight = 1) noexcept;

/// Mean squared error over all elements of the batch; `d_output` (may be empty) gets its gradient.
Status mean_squared_error(const Context&, const TensorView& output, const TensorView& target,
                          const TensorView& d_output, double& mean) noexcept;

}  // namespace vitrine
