#include "interp/math/least_squares.h"

#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <limits>

namespace vitrine {
namespace {

using Rows = Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
using Column = Eigen::Map<const Eigen::VectorXd>;

Rows rows(const Matrix& m) { return {m.data.data(), m.rows, m.columns}; }
Column column(std::span<const double> v) { return {v.data(), static_cast<Eigen::Index>(v.size())}; }

Eigen::VectorXd solve(const Eigen::MatrixXd& x, const Eigen::VectorXd& y, const Eigen::VectorXd& w, double alpha) {
  Eigen::MatrixXd normal = x.transpose() * w.asDiagonal() * x;
  normal.diagonal().array() += alpha;
  const Eigen::VectorXd right = x.transpose() * (w.asDiagonal() * y);
  const Eigen::LDLT<Eigen::MatrixXd> factors(normal);
  const Eigen::VectorXd pivots = factors.vectorD().cwiseAbs();
  if (factors.info() == Eigen::Success && pivots.size() > 0 && pivots.minCoeff() > 1e-12 * pivots.maxCoeff())
    return factors.solve(right);
  return normal.completeOrthogonalDecomposition().solve(right);
}

std::vector<double> plain(const Eigen::VectorXd& v) { return {v.data(), v.data() + v.size()}; }

}  // namespace

std::vector<double> ridge(const Matrix& x, std::span<const double> y, std::span<const double> w, double alpha) {
  return plain(solve(rows(x), column(y), column(w), alpha));
}

LinearFit ridge_with_intercept(const Matrix& x, std::span<const double> y, std::span<const double> w, double alpha) {
  const Rows all = rows(x);
  const Column values = column(y), weights = column(w);
  const double total = weights.sum();
  const Eigen::RowVectorXd mean = weights.transpose() * all / total;
  const double level = weights.dot(values) / total;
  const Eigen::MatrixXd centred = all.rowwise() - mean;
  const Eigen::VectorXd y_centred = values.array() - level;
  const Eigen::VectorXd b = solve(centred, y_centred, weights, alpha);
  const Eigen::VectorXd left = y_centred - centred * b;
  const double spread = weights.dot(y_centred.cwiseAbs2());
  return {level - mean.dot(b), spread > 0 ? 1 - weights.dot(left.cwiseAbs2()) / spread : 1, plain(b)};
}

std::vector<int> lasso_path(const Matrix& x, std::span<const double> y, std::span<const double> w, std::size_t keep) {
  constexpr double nothing = 1e-12;
  const Rows all = rows(x);
  const Column values = column(y), weights = column(w);
  const double total = weights.sum();
  const Eigen::RowVectorXd mean = weights.transpose() * all / total;
  const Eigen::VectorXd root = weights.cwiseSqrt();
  const Eigen::MatrixXd a = root.asDiagonal() * (all.rowwise() - mean);
  const Eigen::VectorXd target = root.cwiseProduct((values.array() - weights.dot(values) / total).matrix());
  const Eigen::Index features = a.cols();
  Eigen::VectorXd b = Eigen::VectorXd::Zero(features);
  std::vector<int> active, chosen;
  int dropped = -1;  // passed 0 in the last step: not taken back at once
  for (Eigen::Index step = 0; step < 8 * features; ++step) {
    const Eigen::VectorXd correlation = a.transpose() * (target - a * b);
    double most = 0;
    for (Eigen::Index j = 0; j < features; ++j)
      if (j != dropped) most = std::max(most, std::abs(correlation[j]));
    if (most < nothing) break;
    for (int j = 0; j < features; ++j)
      if (j != dropped && std::abs(correlation[j]) > most * (1 - 1e-9) &&
          std::find(active.begin(), active.end(), j) == active.end())
        active.push_back(j);
    if (active.size() > keep) break;
    chosen = active;
    // The direction in which all active correlations fall alike.
    const auto n = static_cast<Eigen::Index>(active.size());
    Eigen::MatrixXd part(a.rows(), n);
    Eigen::VectorXd sign(n);
    for (Eigen::Index k = 0; k < n; ++k) {
      const int j = active[static_cast<std::size_t>(k)];
      part.col(k) = a.col(j);
      sign[k] = correlation[j] < 0 ? -1 : 1;
    }
    const Eigen::VectorXd direction =
        Eigen::MatrixXd(part.transpose() * part).completeOrthogonalDecomposition().solve(sign);
    const Eigen::VectorXd fall = a.transpose() * (part * direction);
    double length = most;
    for (int j = 0; j < features; ++j) {
      if (std::find(active.begin(), active.end(), j) != active.end()) continue;
      for (const double s : {1.0, -1.0}) {
        const double at = (most - s * correlation[j]) / (1 - s * fall[j]);
        if (at > nothing && at < length && j != dropped) length = at;
      }
    }
    dropped = -1;
    for (Eigen::Index k = 0; k < n; ++k) {
      const double at = -b[active[static_cast<std::size_t>(k)]] / direction[k];
      if (at > nothing && at < length) length = at, dropped = active[static_cast<std::size_t>(k)];
    }
    for (Eigen::Index k = 0; k < n; ++k) b[active[static_cast<std::size_t>(k)]] += length * direction[k];
    if (dropped >= 0) {
      b[dropped] = 0;
      std::erase(active, dropped);
    }
  }
  return chosen;
}

}  // namespace vitrine
