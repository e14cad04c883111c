// LIME for images [Ribeiro et al. 2016], by the scheme of the authors' code: a linear model of which features are
// there, fitted to the scores of images in which a fair coin decides on each feature; samples count by how much of the
// image is left.
//
//   weight of a sample with k of M features = sqrt(exp(-d^2 / width^2)),  d = 1 - sqrt(k / M)
//
// The first sample is the image itself. The fit has an intercept and a ridge.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "interp/math/least_squares.h"
#include "interp/runs/feature_method.h"

namespace vitrine::methods {
namespace {

constexpr double weak_fit = 0.3;

constexpr Setting lime_fill = {Setting::text, "fill", "segment-mean",
                               "what stands in for an absent feature: zero, mean, blur, segment-mean, or a number"};
constexpr Setting settings[] = {
    FeatureMethod::features_setting,
    lime_fill,
    {Setting::integer, "samples", "1000", "images that are scored", "", 2, 100000000},
    {Setting::number, "kernel-width", "0.25", "of the weight of samples by distance", "", 1e-6, 1e6},
    {Setting::number, "alpha", "1", "ridge of the fit", "", 0, 1e12},
    {Setting::integer, "keep", "0", "features of the fit (0: all)", "", 0, 1000000},
    {Setting::choice, "selection", "all",
     "which are kept: all; forward (the best fit, one by one); highest (the largest coefficients of a fit of all); "
     "lasso "
     "(the first of its path)",
     "all|forward|highest|lasso"},
    FeatureMethod::seed_setting,
};

class Lime final : public FeatureMethod {
 public:
  Lime(const AttributionCall& c, const Settings& s)
      : FeatureMethod(c, s, Features::parse(c.subject.model().image_shape(), s.text("features"))),
        samples_(static_cast<std::int32_t>(s.integer("samples"))),
        width_(s.number("kernel-width")),
        alpha_(s.number("alpha")),
        keep_(static_cast<std::size_t>(s.integer("keep"))),
        selection_(s.text("selection")) {
    if (selection_ == "all" && keep_ > 0)
      s.refuse("keep", "0 with selection=all: forward, highest and lasso keep fewer");
    if (selection_ != "all" && keep_ == 0) s.refuse("keep", "how many features selection=" + selection_ + " keeps");
  }

 private:
  bool needs_none() const override { return false; }

  FeatureValues explain(const FeatureGame& g, std::uint64_t key, const Job& job) override {
    const auto m = static_cast<std::size_t>(g.features);
    Draws draws(key);
    std::vector<bool> keep(static_cast<std::size_t>(samples_) * m, true);
    for (std::size_t i = m; i < keep.size(); ++i) keep[i] = draws.coin();
    Matrix z(samples_, g.features);
    std::vector<double> weights;
    for (std::int32_t r = 0; r < samples_; ++r) {
      double there = 0;
      for (std::int32_t k = 0; k < g.features; ++k)
        there += z(r, k) = keep[static_cast<std::size_t>(r) * m + static_cast<std::size_t>(k)] ? 1 : 0;
      const double distance = 1 - std::sqrt(there / g.features);
      weights.push_back(std::sqrt(std::exp(-distance * distance / (width_ * width_))));
    }
    const std::vector<double> y = g.values(keep, job);
    const std::vector<int> kept = selected(z, y, weights);
    const LinearFit fit = ridge_with_intercept(columns(z, kept), y, weights, alpha_);
    FeatureValues v;
    v.value.assign(m, 0.0);
    double local = fit.intercept;
    for (std::size_t k = 0; k < kept.size(); ++k) {
      v.value[static_cast<std::size_t>(kept[k])] = fit.coefficients[k];
      local += fit.coefficients[k];
    }
    char text[160];
    std::snprintf(text, sizeof text, "R2 %.4f  intercept %.4g  local prediction %.4g", fit.r2, fit.intercept, local);
    v.note = text;
    if (fit.r2 < weak_fit) {
      std::snprintf(text, sizeof text,
                    "the linear model explains %.2g of the variance of the scores (R2): read it with care", fit.r2);
      v.warnings.push_back(text);
    }
    return v;
  }

  static Matrix columns(const Matrix& z, const std::vector<int>& kept) {
    Matrix part(z.rows, static_cast<std::int64_t>(kept.size()));
    for (std::int64_t r = 0; r < z.rows; ++r)
      for (std::size_t k = 0; k < kept.size(); ++k) part(r, static_cast<std::int64_t>(k)) = z(r, kept[k]);
    return part;
  }

  std::vector<int> selected(const Matrix& z, const std::vector<double>& y, const std::vector<double>& w) const {
    std::vector<int> all(static_cast<std::size_t>(z.columns));
    std::iota(all.begin(), all.end(), 0);
    if (selection_ == "all" || keep_ >= all.size()) return all;
    if (selection_ == "lasso") return lasso_path(z, y, w, keep_);
    if (selection_ == "highest") {
      constexpr double small_ridge = 0.01;
      const std::vector<double> b = ridge_with_intercept(z, y, w, small_ridge).coefficients;
      std::stable_sort(all.begin(), all.end(), [&](int i, int j) {
        return std::abs(b[static_cast<std::size_t>(i)]) > std::abs(b[static_cast<std::size_t>(j)]);
      });
      all.resize(keep_);
      return all;
    }
    std::vector<int> chosen;
    while (chosen.size() < keep_) {
      int best = -1;
      double r2 = 0;
      for (const int candidate : all) {
        if (std::find(chosen.begin(), chosen.end(), candidate) != chosen.end()) continue;
        std::vector<int> with = chosen;
        with.push_back(candidate);
        if (const double fit = ridge_with_intercept(columns(z, with), y, w, 0).r2; best < 0 || fit > r2)
          best = candidate, r2 = fit;
      }
      chosen.push_back(best);
    }
    return chosen;
  }

  std::int32_t samples_;
  double width_, alpha_;
  std::size_t keep_;
  std::string selection_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) { return std::make_unique<Lime>(c, s); }

}  // namespace

extern const MethodEntry lime;
constinit const MethodEntry lime = {.card = {.name = "lime",
                                             .summary = "a linear model of which features are there, around the image",
                                             .reference = "Ribeiro et al. 2016",
                                             .model_agnostic = true,
                                             .promises = {.implementation_invariance = true, .class_sensitivity = true},
                                             .forward_calls = "1 + samples",
                                             .backward_calls = "0",
                                             .takes_background = true,
                                             .settings = settings},
                                    .attribution = make};

}  // namespace vitrine::methods
