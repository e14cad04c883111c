// Score-CAM [Wang et al. 2020, eq. 8]: no gradients. Each map, enlarged and brought to [0, 1], masks the image; its
// weight is the softmax, over all maps, of the scores of the masked images.
//
//   L = max(0, sum_k w_k A_k),  w = softmax_k(s(x * (A_k - min A_k) / (max A_k - min A_k + 1e-8)))
#include <algorithm>
#include <cmath>

#include "interp/runs/activation_map.h"
#include "interp/runs/scorer.h"

namespace vitrine::methods {
namespace {

class ScoreCam final : public ActivationMap {
 public:
  ScoreCam(const AttributionCall& c, const Settings& s)
      : ActivationMap(c, s, Needs::maps, Sign::cut), scorer_(c.subject, c.objective, {}) {}

 private:
  std::vector<double> combine(const Query& q, const Target& target, const NodeMaps& m, const Job& job) override {
    const std::int64_t each = q.x.shape.per_image(), pixels = q.x.shape.pixels();
    std::vector<double> weights(static_cast<std::size_t>(m.channels));
    scorer_.run(
        q.first, target, m.channels, job,
        [&](std::int32_t first, const TensorView& x) {
          for (std::int32_t n = 0; n < x.shape.n(); ++n) {
            const std::vector<double> mask = mask_of(m.map(first + n));
            for (std::int64_t i = 0; i < each; ++i)
              x.data[n * each + i] =
                  static_cast<real>(static_cast<double>(q.x.data[i]) * mask[static_cast<std::size_t>(i % pixels)]);
          }
        },
        [&](std::int32_t first, std::span<const double> scores) {
          std::copy(scores.begin(), scores.end(), weights.begin() + first);
        });
    const double top = *std::max_element(weights.begin(), weights.end());
    double total = 0;
    for (double& w : weights) total += w = std::exp(w - top);
    for (double& w : weights) w /= total;
    return weighted_sum(m, weights);
  }

  std::vector<double> mask_of(std::span<const real> map) const {
    std::vector<double> mask = enlarged({map.begin(), map.end()});
    const auto [least, most] = std::minmax_element(mask.begin(), mask.end());
    const double low = *least, range = *most - *least + 1e-8;
    for (double& v : mask) v = (v - low) / range;
    return mask;
  }

  Scorer scorer_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<ScoreCam>(c, s);
}

}  // namespace

extern const MethodEntry score_cam;
constinit const MethodEntry score_cam = {
    .card = {.name = "score-cam",
             .summary = "maps of a node weighted by the scores of the image that they mask",
             .reference = "Wang et al. 2020",
             .of = Of::representation,
             .promises = {.class_sensitivity = true},
             .forward_calls = "1 + channels of the node",
             .backward_calls = "0",
             .faithfulness_metric = "pointing-game",
             .settings = ActivationMap::usual_settings},
    .attribution = make};

}  // namespace vitrine::methods
