// Eigen-CAM [Muhammad & Yeasin 2020]: the maps' first principal component, the same for every target.
//
// Rows of X are places, columns are maps, each less its mean; with v the eigenvector of X^T X of the largest
// eigenvalue,
//
//   L = max(0, X v)
//
// v is only known up to its sign: it is taken so that it agrees with the mean map.
#include <cmath>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

class EigenCam final : public ActivationMap {
 public:
  EigenCam(const AttributionCall& c, const Settings& s) : ActivationMap(c, s, Needs::maps, true) {}

 private:
  // By power iteration on the places' side, X X^T u, which needs no matrix: the projection X v is u times its length.
  std::vector<double> combine(const Query&, const Target&, const NodeMaps& m, const Job&) override {
    constexpr int most = 1000;
    constexpr double settled = 1e-10;
    const auto pixels = static_cast<std::size_t>(m.pixels);
    std::vector<std::vector<double>> x;
    std::vector<double> u(pixels, 0.0), mean(pixels, 0.0);
    for (std::int32_t k = 0; k < m.channels; ++k) {
      const std::span<const real> map = m.map(k);
      double average = 0;
      for (const real v : map) average += static_cast<double>(v) / static_cast<double>(pixels);
      std::vector<double>& column = x.emplace_back();
      for (const real v : map) column.push_back(static_cast<double>(v) - average);
      for (std::size_t p = 0; p < pixels; ++p) mean[p] += column[p];
    }
    // Starts from the map with the largest variance, which no component of weight is orthogonal to.
    double largest = 0;
    for (const std::vector<double>& column : x)
      if (const double size = dot(column, column); size > largest) largest = size, u = column;
    if (largest == 0) return u;
    double length = 0;
    for (int step = 0; step < most; ++step) {
      scale(u, 1 / std::sqrt(dot(u, u)));
      std::vector<double> next(pixels, 0.0);
      for (const std::vector<double>& column : x) add(next, dot(column, u), column);
      const double now = std::sqrt(dot(next, next));  // the eigenvalue
      double change = 0;
      for (std::size_t p = 0; p < pixels; ++p) change = std::max(change, std::abs(next[p] / now - u[p]));
      u = std::move(next);
      length = std::sqrt(now);
      if (change < settled) break;
    }
    scale(u, length / std::sqrt(dot(u, u)) * (dot(u, mean) < 0 ? -1 : 1));
    return u;
  }

  static double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }
  static void scale(std::vector<double>& a, double factor) {
    for (double& v : a) v *= factor;
  }
  static void add(std::vector<double>& a, double factor, const std::vector<double>& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] += factor * b[i];
  }
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<EigenCam>(c, s);
}

}  // namespace

extern const MethodEntry eigen_cam;
constinit const MethodEntry eigen_cam = {
    .card = {.name = "eigen-cam",
             .summary = "first principal component of a node's maps, whatever the target",
             .reference = "Muhammad & Yeasin 2020",
             .of = Of::representation,
             .faithfulness_metric = "pointing-game",
             .settings = ActivationMap::usual_settings},
    .attribution = make};

}  // namespace vitrine::methods
