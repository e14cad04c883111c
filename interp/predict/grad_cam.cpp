// Grad-CAM and guided Grad-CAM [Selvaraju et al. 2017, eq. 1 and 2]: maps A_k of a node, each weighted by the mean of
// its gradient.
//
//   L(y,x) = max(0, sum_k w_k A_k(y,x)),  w_k = mean over (y,x) of d s / d A_k(y,x)
//
// enlarged to the image's extent, the same at every channel; guided: times guided backprop.
#include <numeric>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

constexpr Setting guided_settings[] = {
    ActivationMap::node_setting,
    ActivationMap::upsample_setting,
    {Setting::choice, "other", "refuse", "guided backprop at activations that are no rectifiers", "refuse|gradient"},
};

double weight(std::span<const real>, std::span<const real> gradient) {
  return std::accumulate(gradient.begin(), gradient.end(), 0.0) / static_cast<double>(gradient.size());
}

class GuidedGradCam final : public WeightedMaps {
 public:
  GuidedGradCam(const AttributionCall& c, const Settings& s, std::unique_ptr<Attribution> guided)
      : WeightedMaps(c, s, weight), guided_(std::move(guided)) {}

  Answer attribute(const Query& q, const Job& job) override {
    const std::vector<real> guided = guided_->attribute(q, job.part(0, 0.5)).relevance;
    Answer answer = WeightedMaps::attribute(q, job.part(0.5, 1));
    for (std::size_t i = 0; i < guided.size(); ++i)
      answer.relevance[i] =
          static_cast<real>(static_cast<double>(guided[i]) * static_cast<double>(answer.relevance[i]));
    return answer;
  }

 private:
  std::unique_ptr<Attribution> guided_;
};

std::unique_ptr<Attribution> make_guided(const AttributionCall& c, const Settings& s) {
  AttributionCall guided = c;
  guided.settings = {{"other", s.text("other")}};
  return std::make_unique<GuidedGradCam>(c, s, make_attribution("guided-backprop", guided));
}

}  // namespace

extern const MethodEntry grad_cam;
constinit const MethodEntry grad_cam = {.card = {.name = "grad-cam",
                                                 .summary = "maps of a node weighted by their mean gradients",
                                                 .reference = "Selvaraju et al. 2017",
                                                 .of = Of::representation,
                                                 .promises = {.class_sensitivity = true},
                                                 .faithfulness_metric = "pointing-game",
                                                 .takes_rules = true,
                                                 .settings = ActivationMap::usual_settings},
                                        .attribution = make_weighted_maps<weight>};

extern const MethodEntry guided_grad_cam;
constinit const MethodEntry guided_grad_cam = {.card = {.name = "guided-grad-cam",
                                                        .summary = "Grad-CAM times guided backprop",
                                                        .reference = "Selvaraju et al. 2017",
                                                        .promises = {.class_sensitivity = true},
                                                        .forward_calls = "2",
                                                        .backward_calls = "2",
                                                        .faithfulness_metric = "pointing-game",
                                                        .settings = guided_settings},
                                               .attribution = make_guided};

}  // namespace vitrine::methods
