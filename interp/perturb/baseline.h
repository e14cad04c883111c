// What stands for "nothing to see": baselines of paths and differences.
#pragma once

#include <optional>
#include <string>

#include "core/host/tensor.h"

namespace vitrine {

struct BaselineChoice {
  std::string kind = "zero";     ///< zero, mean (each image's channel means), blur (Gaussian, sigma = side / 8)
  std::optional<Images> images;  ///< instead: one image, or one for each input of the call

  bool is_default() const noexcept { return !images && kind == "zero"; }
  /// Whether all inputs have the same baseline.
  bool one_for_all() const noexcept { return images ? images->shape.n() == 1 : kind == "zero"; }
};

/// A baseline for each of `x`, whose first image is number `first` of the call. An Error if images were given that do
/// not fit, a usage Error if the kind is not known.
Images make_baseline(const TensorView& x, const BaselineChoice&, std::int64_t first = 0);

/// Each plane of x smoothed by a Gaussian of `sigma` pixels, cut at 3 sigma; pixels at the border are repeated.
Images blurred(const TensorView& x, double sigma);

}  // namespace vitrine
