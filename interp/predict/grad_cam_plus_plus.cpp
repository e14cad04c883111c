// Grad-CAM++ [Chattopadhay et al. 2018, eq. 10 and 19, for the logit; the paper's factor exp(s) cancels in shape]: each
// place's gradient has a weight of its own.
//
//   L = max(0, sum_k w_k A_k),  w_k = sum over (y,x) of alpha_k max(0, g_k),
//   alpha_k = g_k^2 / (2 g_k^2 + sum(A_k) g_k^3 + 1e-6), 0 where g_k is 0
#include <numeric>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

double weight(std::span<const real> map, std::span<const real> gradient) {
  const double total = std::accumulate(map.begin(), map.end(), 0.0);
  double sum = 0;
  for (const real value : gradient)
    if (const auto g = static_cast<double>(value); g > 0) sum += g * g * g / (2 * g * g + total * g * g * g + 1e-6);
  return sum;
}

}  // namespace

extern const MethodEntry grad_cam_plus_plus;
constinit const MethodEntry grad_cam_plus_plus = {
    .card = {.name = "grad-cam-plus-plus",
             .summary = "maps of a node weighted by their positive gradients, each place by its own share",
             .reference = "Chattopadhay et al. 2018",
             .of = Of::representation,
             .promises = {.class_sensitivity = true},
             .faithfulness_metric = "pointing-game",
             .takes_rules = true,
             .settings = ActivationMap::usual_settings},
    .attribution = make_weighted_maps<weight>};

}  // namespace vitrine::methods
