// Exact Shapley values [Shapley 1953; Lundberg & Lee 2017, eq. 4], by the scores of all subsets of features.
//
//   phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (v(S + i) - v(S))
//
// They sum to the score minus v(no feature).
#include <cmath>

#include "interp/runs/feature_method.h"

namespace vitrine::methods {
namespace {

constexpr std::int32_t most_features = 16;
constexpr Setting settings[] = {FeatureMethod::features_setting, FeatureMethod::fill_setting};

class Shapley final : public FeatureMethod {
 public:
  Shapley(const AttributionCall& c, const Settings& s)
      : FeatureMethod(c, s, Features::parse(c.subject.model().image_shape(), s.text("features"))) {}

 private:
  FeatureValues explain(const FeatureGame& g, std::uint64_t, const Job& job) override {
    const std::int32_t m = g.features;
    if (m > most_features)
      throw Error("shapley: there are " + std::to_string(m) + " features, at most " + std::to_string(most_features) +
                      " have exact values: kernel-shap and sampling-shapley take more",
                  Error::usage);
    const std::uint32_t subsets = std::uint32_t{1} << m;
    std::vector<bool> keep;
    for (std::uint32_t set = 0; set < subsets; ++set)
      for (std::int32_t i = 0; i < m; ++i) keep.push_back((set >> i & 1) != 0);
    const std::vector<double> v = g.values(keep, job);
    std::vector<double> weight;  // by the size of S
    for (std::int32_t s = 0; s < m; ++s)
      weight.push_back(std::exp(std::lgamma(s + 1.0) + std::lgamma(m - s) - std::lgamma(m + 1.0)));
    FeatureValues out;
    for (std::int32_t i = 0; i < m; ++i) {
      const std::uint32_t bit = std::uint32_t{1} << i;
      double phi = 0;
      for (std::uint32_t set = 0; set < subsets; ++set)
        if ((set & bit) == 0)
          phi += weight[static_cast<std::size_t>(__builtin_popcount(set))] * (v[set | bit] - v[set]);
      out.value.push_back(phi);
    }
    return out;
  }
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<Shapley>(c, s);
}

}  // namespace

extern const MethodEntry shapley;
constinit const MethodEntry shapley = {
    .card = {.name = "shapley",
             .summary = "exact Shapley values of up to 16 features",
             .reference = "Shapley 1953; Lundberg & Lee 2017",
             .model_agnostic = true,
             .promises = {.completeness = true, .implementation_invariance = true, .class_sensitivity = true},
             .forward_calls = "2^features",
             .backward_calls = "0",
             .takes_background = true,
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
