// HiResCAM [Draelos & Carin 2020, eq. 8]: gradients are not averaged over places.
//
//   L = max(0, sum_k g_k A_k), place by place
#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

class HiResCam final : public ActivationMap {
 public:
  HiResCam(const AttributionCall& c, const Settings& s) : ActivationMap(c, s, Needs::gradients, true) {}

 private:
  std::vector<double> combine(const Query&, const Target&, const NodeMaps& m, const Job&) override {
    std::vector<double> sum(static_cast<std::size_t>(m.pixels), 0.0);
    for (std::int32_t k = 0; k < m.channels; ++k) {
      const std::span<const real> a = m.map(k), g = m.gradient(k);
      for (std::size_t p = 0; p < sum.size(); ++p) sum[p] += static_cast<double>(g[p]) * static_cast<double>(a[p]);
    }
    return sum;
  }
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<HiResCam>(c, s);
}

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
                                         .attribution = make};

}  // namespace vitrine::methods
