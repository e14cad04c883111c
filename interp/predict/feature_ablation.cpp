// Feature ablation [Zeiler & Fergus 2014, with any features for windows; Kokhlikyan et al. 2020]: how much the score
// falls when the pixels of one feature are replaced.
//
//   R_i = (s(x) - s(x with feature f(i) replaced)) / elements of f(i)
//
// A feature is a segment of pixels in all channels, so the map sums to the features' falls. Features that act together
// are seen one at a time: the falls need not sum to the score.
#include <algorithm>

#include "interp/runs/feature_method.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    FeatureMethod::features_setting,
    {Setting::text, "cells", "", "H,W of a grid's cells in pixels: features=grid:H,W"},
    FeatureMethod::fill_setting,
};

Features features_of(const AttributionCall& c, const Settings& s) {
  const Shape image = c.subject.model().image_shape();
  if (!s.given("cells")) return Features::parse(image, s.text("features"));
  if (s.given("features")) s.refuse("cells", "no cells beside features");
  return Features::parse(image, "grid:" + s.text("cells"));
}

class FeatureAblation final : public FeatureMethod {
 public:
  FeatureAblation(const AttributionCall& c, const Settings& s) : FeatureMethod(c, s, features_of(c, s)) {}

 private:
  bool needs_none() const override { return false; }

  // Masks are made for some features at a time: all of them are features squared.
  FeatureValues explain(const FeatureGame& g, std::uint64_t, const Job& job) override {
    constexpr std::int32_t some = 256;
    const auto width = static_cast<std::size_t>(g.features);
    FeatureValues v;
    for (std::int32_t first = 0; first < g.features; first += some) {
      const std::int32_t masks = std::min(some, g.features - first);
      std::vector<bool> keep(static_cast<std::size_t>(masks) * width, true);
      for (std::int32_t m = 0; m < masks; ++m)
        keep[static_cast<std::size_t>(m) * width + static_cast<std::size_t>(first + m)] = false;
      const double all = g.features;
      for (const double without : g.values(keep, job.part(first / all, (first + masks) / all)))
        v.value.push_back(g.whole - without);
    }
    return v;
  }
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<FeatureAblation>(c, s);
}

}  // namespace

extern const MethodEntry feature_ablation;
constinit const MethodEntry feature_ablation = {
    .card = {.name = "feature-ablation",
             .summary = "fall of the score when a feature, a segment of pixels, is replaced",
             .reference = "Zeiler & Fergus 2014; Kokhlikyan et al. 2020",
             .model_agnostic = true,
             .promises = {.implementation_invariance = true, .class_sensitivity = true},
             .forward_calls = "1 + features",
             .backward_calls = "0",
             .takes_background = true,
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
