// Quadrature on [0,1].
#pragma once

#include <string>
#include <vector>

namespace vitrine {

/// Nodes and weights; the weights sum to 1.
struct Quadrature {
  std::vector<double> at, weight;
};

/// gauss-legendre [Golub & Welsch 1969], trapezoid, left, right or midpoint with n nodes. A usage Error if the
/// trapezoid rule has less than two.
Quadrature make_quadrature(const std::string& rule, int n);

}  // namespace vitrine
