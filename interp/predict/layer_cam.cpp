// LayerCAM [Jiang et al. 2021, eq. 4 to 6]: each place is weighted by its own positive gradient.
//
//   L = max(0, sum_k max(0, g_k) A_k), place by place
#include <algorithm>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

double factor(double gradient) { return std::max(0.0, gradient); }

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
    .attribution = make_maps_times_gradients<factor>};

}  // namespace vitrine::methods
