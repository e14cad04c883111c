// HiResCAM [Draelos & Carin 2020, eq. 8]: gradients are not averaged over places.
//
//   L = max(0, sum_k g_k A_k), place by place
#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

double factor(double gradient) { return gradient; }

}  // namespace

extern const MethodEntry hires_cam;
constinit const MethodEntry hires_cam = {.card = {.name = "hires-cam",
                                                  .summary = "maps of a node times their gradients, place by place",
                                                  .reference = "Draelos & Carin 2020",
                                                  .of = Of::representation,
                                                  .promises = {.class_sensitivity = true},
                                                  .faithfulness_metric = "pointing-game",
                                                  .takes_rules = true,
                                                  .settings = ActivationMap::usual_settings},
                                         .attribution = make_maps_times_gradients<factor>};

}  // namespace vitrine::methods
