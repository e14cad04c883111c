#include "interp/math/quadrature.h"

#include <Eigen/Eigenvalues>
#include <cmath>

#include "core/host/error.h"

namespace vitrine {

Quadrature make_quadrature(const std::string& rule, int n) {
  Quadrature q;
  if (rule == "gauss-legendre") {
    // Golub & Welsch 1969: nodes are the eigenvalues of the Legendre recurrence, weights come from the eigenvectors.
    Eigen::MatrixXd jacobi = Eigen::MatrixXd::Zero(n, n);
    for (int k = 1; k < n; ++k) jacobi(k, k - 1) = jacobi(k - 1, k) = k / std::sqrt(4.0 * k * k - 1);
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(jacobi);
    for (int k = 0; k < n; ++k) {
      q.at.push_back((1 + solver.eigenvalues()[k]) / 2);
      q.weight.push_back(solver.eigenvectors()(0, k) * solver.eigenvectors()(0, k));
    }
    return q;
  }
  if (rule == "trapezoid" && n < 2) throw Error("quadrature=trapezoid needs steps of at least 2", Error::usage);
  for (int k = 0; k < n; ++k) {
    const bool end = k == 0 || k == n - 1;
    q.at.push_back(rule == "left"       ? static_cast<double>(k) / n
                   : rule == "right"    ? (k + 1.0) / n
                   : rule == "midpoint" ? (k + 0.5) / n
                                        : static_cast<double>(k) / (n - 1));
    q.weight.push_back(rule == "trapezoid" ? (end ? 0.5 : 1.0) / (n - 1) : 1.0 / n);
  }
  return q;
}

}  // namespace vitrine
