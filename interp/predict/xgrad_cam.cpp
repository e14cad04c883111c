// XGrad-CAM [Fu et al. 2020, eq. 8]: the weight of a map is the mean of its gradient, each place counted by its share
// of the map.
//
//   L = max(0, sum_k w_k A_k),  w_k = sum over (y,x) of g_k A_k / (sum(A_k) + 1e-7)
#include <numeric>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

class XGradCam final : public ActivationMap {
 public:
  XGradCam(const AttributionCall& c, const Settings& s) : ActivationMap(c, s, Needs::gradients, true) {}

 private:
  std::vector<double> combine(const Query&, const Target&, const NodeMaps& m, const Job&) override {
    std::vector<double> weights;
    for (std::int32_t k = 0; k < m.channels; ++k) {
      const std::span<const real> a = m.map(k), g = m.gradient(k);
      const double total = std::accumulate(a.begin(), a.end(), 0.0) + 1e-7;
      double weight = 0;
      for (std::size_t p = 0; p < a.size(); ++p)
        weight += static_cast<double>(g[p]) * static_cast<double>(a[p]) / total;
      weights.push_back(weight);
    }
    return weighted(m, weights);
  }
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<XGradCam>(c, s);
}

}  // namespace

extern const MethodEntry xgrad_cam;
constinit const MethodEntry xgrad_cam = {
    .card = {.name = "xgrad-cam",
             .summary = "maps of a node weighted by their gradients where they are active",
             .reference = "Fu et al. 2020",
             .of = Of::representation,
             .promises = {.class_sensitivity = true},
             .faithfulness_metric = "pointing-game",
             .takes_rules = true,
             .settings = ActivationMap::usual_settings},
    .attribution = make};

}  // namespace vitrine::methods
