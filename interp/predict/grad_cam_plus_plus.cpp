// Grad-CAM++ [Chattopadhay et al. 2018, eq. 10 and 19, for the logit; the paper's factor exp(s) cancels in shape]: each
// place's gradient has a weight of its own.
//
//   L = max(0, sum_k w_k A_k),  w_k = sum over (y,x) of alpha_k max(0, g_k),
//   alpha_k = g_k^2 / (2 g_k^2 + sum(A_k) g_k^3 + 1e-6), 0 where g_k is 0
#include <numeric>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

class GradCamPlusPlus final : public ActivationMap {
 public:
  GradCamPlusPlus(const AttributionCall& c, const Settings& s) : ActivationMap(c, s, Needs::gradients, true) {}

 private:
  std::vector<double> combine(const Query&, const Target&, const NodeMaps& m, const Job&) override {
    std::vector<double> weights;
    for (std::int32_t k = 0; k < m.channels; ++k) {
      const std::span<const real> a = m.map(k), g = m.gradient(k);
      const double total = std::accumulate(a.begin(), a.end(), 0.0);
      double weight = 0;
      for (const real value : g) {
        const auto d = static_cast<double>(value);
        if (d > 0) weight += d * d * d / (2 * d * d + total * d * d * d + 1e-6);
      }
      weights.push_back(weight);
    }
    return weighted(m, weights);
  }
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<GradCamPlusPlus>(c, s);
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
    .attribution = make};

}  // namespace vitrine::methods
