// XGrad-CAM [Fu et al. 2020, eq. 8]: the weight of a map is the mean of its gradient, each place counted by its share
// of the map.
//
//   L = max(0, sum_k w_k A_k),  w_k = sum over (y,x) of g_k A_k / (sum(A_k) + 1e-7)
#include <numeric>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

double weight(std::span<const real> map, std::span<const real> gradient) {
  const double total = std::accumulate(map.begin(), map.end(), 0.0) + 1e-7;
  return std::inner_product(map.begin(), map.end(), gradient.begin(), 0.0) / total;
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
    .attribution = make_weighted_maps<weight>};

}  // namespace vitrine::methods
