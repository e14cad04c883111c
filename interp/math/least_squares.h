// Weighted least squares with a ridge, for surrogates of few features.
#pragma once

#include <span>
#include <vector>

#include "interp/math/matrix.h"

namespace vitrine {

/// The b that minimises sum_i w_i (y_i - x_i . b)^2 + alpha |b|^2; of several the shortest. x: a row per observation.
std::vector<double> ridge(const Matrix& x, std::span<const double> y, std::span<const double> w, double alpha);

/// Likewise with an intercept, which has no penalty.
struct LinearFit {
  double intercept = 0, r2 = 0;  ///< r2: the weighted share of y's variance that the fit explains
  std::vector<double> coefficients;
};
LinearFit ridge_with_intercept(const Matrix& x, std::span<const double> y, std::span<const double> w, double alpha);

/// The columns that the lasso has chosen when `keep` are active: least-angle regression [Efron et al. 2004], with the
/// step back where a coefficient passes 0, on x and y less their weighted means and times the roots of the weights.
std::vector<int> lasso_path(const Matrix& x, std::span<const double> y, std::span<const double> w, std::size_t keep);

}  // namespace vitrine
