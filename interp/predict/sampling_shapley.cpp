// Shapley values by sampled permutations [Castro et al. 2009], each walked forward and backward (antithetic), so that
// early and late places cancel [Mitchell et al. 2022].
//
// Along a permutation features are added one after another; a feature's value is the mean of what it adds. Every
// permutation's values sum to the score minus v(no feature), and so do their means.
#include <algorithm>
#include <cmath>

#include "interp/runs/feature_method.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    FeatureMethod::features_setting,
    FeatureMethod::fill_setting,
    {Setting::integer, "samples", "50", "permutations, each walked in both directions", "", 1, 1000000},
    FeatureMethod::seed_setting,
};

class SamplingShapley final : public FeatureMethod {
 public:
  SamplingShapley(const AttributionCall& c, const Settings& s)
      : FeatureMethod(c, s, Features::parse(c.subject.model().image_shape(), s.text("features"))),
        samples_(static_cast<std::int32_t>(s.integer("samples"))) {}

 private:
  FeatureValues explain(const FeatureGame& g, std::uint64_t key, const Job& job) override {
    const auto m = static_cast<std::size_t>(g.features);
    std::vector<double> sum(m, 0.0), squares(m, 0.0);
    Draws draws(key);
    for (std::int32_t k = 0; k < samples_; ++k) {
      std::vector<std::int32_t> order = draws.permutation(g.features);
      std::vector<double> pair(m, 0.0);
      for (int direction = 0; direction < 2; ++direction) {
        const Job part = job.part((k + direction / 2.0) / samples_, (k + (direction + 1) / 2.0) / samples_);
        const std::vector<double> along = added(g, order, part);
        for (std::size_t i = 0; i < m; ++i) pair[i] += along[i] / 2;
        std::reverse(order.begin(), order.end());
      }
      for (std::size_t i = 0; i < m; ++i) sum[i] += pair[i], squares[i] += pair[i] * pair[i];
    }
    FeatureValues v;
    const double n = samples_;
    for (std::size_t i = 0; i < m; ++i) {
      v.value.push_back(sum[i] / n);
      const double variance = n > 1 ? std::max(0.0, squares[i] - sum[i] * sum[i] / n) / (n - 1) : NAN;
      v.standard_error.push_back(std::sqrt(variance / n));
    }
    return v;
  }

  // What each feature adds along one order.
  static std::vector<double> added(const FeatureGame& g, const std::vector<std::int32_t>& order, const Job& job) {
    const auto m = static_cast<std::size_t>(g.features);
    std::vector<bool> keep((m - 1) * m, false);
    for (std::size_t step = 1; step < m; ++step)
      for (std::size_t k = 0; k < step; ++k) keep[(step - 1) * m + static_cast<std::size_t>(order[k])] = true;
    const std::vector<double> between = g.values(keep, job);
    std::vector<double> out(m);
    for (std::size_t k = 0; k < m; ++k)
      out[static_cast<std::size_t>(order[k])] = (k + 1 < m ? between[k] : g.whole) - (k > 0 ? between[k - 1] : g.none);
    return out;
  }

  std::int32_t samples_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<SamplingShapley>(c, s);
}

}  // namespace

extern const MethodEntry sampling_shapley;
constinit const MethodEntry sampling_shapley = {
    .card = {.name = "sampling-shapley",
             .summary = "Shapley values by permutations, with standard errors",
             .reference = "Castro et al. 2009; Strumbelj & Kononenko 2014",
             .model_agnostic = true,
             .promises = {.completeness = true, .implementation_invariance = true, .class_sensitivity = true},
             .forward_calls = "2 + 2 samples (features - 1)",
             .backward_calls = "0",
             .takes_background = true,
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
