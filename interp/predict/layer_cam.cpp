// LayerCAM [Jiang et al. 2021, eq. 4 to 6]: each place is weighted by its own positive gradient.
//
//   L = max(0, sum_k max(0, g_k) A_k), place by place
#include <algorithm>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

class LayerCam final : public ActivationMap {
 public:
  LayerCam(const AttributionCall& c, const Settings& s) : ActivationMap(c, s, Needs::gradients, true) {}

 private:
  std::vector<double> combine(const Query&, const Target&, const NodeMaps& m, const Job&) override {
    std::vector<double> sum(static_cast<std::size_t>(m.pixels), 0.0);
    for (std::int32_t k = 0; k < m.channels; ++k) {
      const std::span<const real> a = m.map(k), g = m.gradient(k);
      for (std::size_t p = 0; p < sum.size(); ++p)
        sum[p] += std::max(0.0, static_cast<double>(g[p])) * static_cast<double>(a[p]);
    }
    return sum;
  }
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<LayerCam>(c, s);
}

}  // namespace

extern const MethodEntry layer_cam;
constinit const MethodEntry layer_cam = {
    .card = {.name = "layer-cam",
             .summary = "maps of a node times their positive gradients, place by place",
             .reference = "Jiang et al. 2021",
             .of = Of::representation,
             .promises = {.class_sensitivity = true},
             .faithfulness_metric = "pointing-game",
             .takes_rules = true,
             .settings = ActivationMap::usual_settings},
    .attribution = make};

}  // namespace vitrine::methods
