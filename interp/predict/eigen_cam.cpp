// Eigen-CAM [Muhammad & Yeasin 2020]: the maps' first principal component, the same for every target.
//
// Rows of X are places, columns are maps, each less its mean; with v the eigenvector of X^T X of the largest
// eigenvalue,
//
//   L = max(0, X v)
//
// v is only known up to its sign: it is taken so that it agrees with the mean map.
#include <Eigen/SVD>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

class EigenCam final : public ActivationMap {
 public:
  EigenCam(const AttributionCall& c, const Settings& s) : ActivationMap(c, s, Needs::maps, Sign::cut) {}

 private:
  std::vector<double> combine(const Query&, const Target&, const NodeMaps& m, const Job&) override {
    Eigen::MatrixXd x(m.pixels, m.channels);
    for (std::int32_t k = 0; k < m.channels; ++k) {
      const std::span<const real> map = m.map(k);
      for (std::int64_t p = 0; p < m.pixels; ++p) x(p, k) = static_cast<double>(map[static_cast<std::size_t>(p)]);
    }
    x.rowwise() -= x.colwise().mean().eval();
    const Eigen::BDCSVD<Eigen::MatrixXd> svd(x, Eigen::ComputeThinU);
    Eigen::VectorXd projection = svd.matrixU().col(0) * svd.singularValues()[0];  // X v
    if (projection.dot(x.rowwise().sum()) < 0) projection = -projection;
    return {projection.data(), projection.data() + projection.size()};
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
             .backward_calls = "0",
             .faithfulness_metric = "pointing-game",
             .settings = ActivationMap::usual_settings},
    .attribution = make};

}  // namespace vitrine::methods
