// SmoothGrad [Smilkov et al. 2017, eq. 1], its square [Hooker et al. 2019] and VarGrad [Adebayo et al. 2018]: any
// method under noise.
//
//   R = mean over k of M(x + e_k),  e_k ~ N(0, sigma^2 (max x - min x)^2)
#include <algorithm>

#include "interp/result/registry.h"
#include "interp/runs/normals.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    {Setting::integer, "samples", "25", "noisy copies of each image", "", 1, 1000000},
    {Setting::number, "sigma", "0.15", "noise's standard deviation as a share of each image's range (max - min)", "", 0,
     1e6},
    {Setting::integer, "seed", "0", "of the noise", "", 0, 9007199254740992.0},
    {Setting::text, "of", "gradient", "the method that is averaged; its settings follow as of.KEY=value"},
    {Setting::choice, "statistic", "mean", "mean (SmoothGrad), square (SmoothGrad^2) or variance (VarGrad)",
     "mean|square|variance"},
};

constexpr std::int32_t copies_at_once = 16;

class SmoothGrad final : public Attribution {
 public:
  SmoothGrad(const Settings& s, std::unique_ptr<Attribution> of)
      : samples_(static_cast<int>(s.integer("samples"))),
        sigma_(s.number("sigma")),
        normals_(static_cast<std::uint64_t>(s.integer("seed"))),
        statistic_(s.text("statistic")),
        of_(std::move(of)) {}
  bool has_baseline() const override { return of_->has_baseline(); }

  Answer attribute(const Query& q, const Job& job) override {
    Answer answer;
    answer.relevance.resize(static_cast<std::size_t>(q.x.size()));
    const std::int64_t each = q.x.shape.per_image();
    const double images = q.x.shape.n();
    for (std::int32_t n = 0; n < q.x.shape.n(); ++n)
      average(q.part(n, 1), answer.relevance.data() + n * each, job.part(n / images, (n + 1) / images));
    return answer;
  }

 private:
  // Mean and sum of squared differences of the maps of one image.
  void average(const Query& q, real* relevance, const Job& job) {
    const std::int64_t each = q.x.size();
    const auto [low, high] = std::minmax_element(q.x.data, q.x.data + each);
    const double deviation = sigma_ * (static_cast<double>(*high) - *low);
    mean_.assign(static_cast<std::size_t>(each), 0.0);
    squares_.assign(static_cast<std::size_t>(each), 0.0);
    in_batches(samples_, copies_at_once, job, [&](std::int32_t first, std::int32_t count) {
      const Images noisy = noisy_copies(q.x, deviation, first, count), baseline = copies(q.baseline, count);
      const std::vector<Target> targets(static_cast<std::size_t>(count), q.targets[0]);
      const Answer a = of_->attribute({.x = noisy.view(),
                                       .objective = q.objective,
                                       .targets = targets,
                                       .baseline = q.baseline ? baseline.view() : TensorView{},
                                       .first = q.first,
                                       .one_image = true},
                                      job.quiet());
      // Welford's update: no difference of large numbers.
      for (std::int32_t k = 0; k < count; ++k) {
        const real* const map = a.relevance.data() + k * each;
        double *const m = mean_.data(), *const s = squares_.data();
        const double share = 1.0 / (first + k + 1);
        for (std::int64_t i = 0; i < each; ++i) {
          const double delta = map[i] - m[i];
          m[i] += delta * share;
          s[i] += delta * (map[i] - m[i]);
        }
      }
    });
    for (std::int64_t i = 0; i < each; ++i) {
      const auto j = static_cast<std::size_t>(i);
      const double variance = squares_[j] / samples_;
      relevance[i] = static_cast<real>(statistic_ == "mean"       ? mean_[j]
                                       : statistic_ == "variance" ? variance
                                                                  : variance + mean_[j] * mean_[j]);
    }
  }

  Images noisy_copies(const TensorView& x, double deviation, std::int32_t first, std::int32_t count) {
    Images noisy{x.shape.with_batch(count), {}};
    noisy.data.resize(static_cast<std::size_t>(noisy.shape.size()));
    for (std::int32_t k = 0; k < count; ++k) {
      // Every image gets the same noise, so that its map does not depend on its place in the call.
      const double* const e = normals_.sample(static_cast<std::uint64_t>(first + k), x.size());
      real* const to = noisy.data.data() + k * x.size();
      for (std::int64_t i = 0; i < x.size(); ++i) to[i] = static_cast<real>(x.data[i] + deviation * e[i]);
    }
    return noisy;
  }

  static Images copies(const TensorView& x, std::int32_t count) {
    Images out{x.shape.with_batch(count), {}};
    for (std::int32_t k = 0; k < count && x; ++k) out.data.insert(out.data.end(), x.data, x.data + x.size());
    return out;
  }

  int samples_;
  double sigma_;
  Normals normals_;
  std::string statistic_;
  std::unique_ptr<Attribution> of_;
  std::vector<double> mean_, squares_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  if (s.text("of") == "smoothgrad") s.refuse("of", "another method than smoothgrad");
  AttributionCall noisy = c;
  noisy.settings = c.wrapped_settings();
  noisy.demand = {std::min(static_cast<std::int32_t>(s.integer("samples")), copies_at_once), true};
  return std::make_unique<SmoothGrad>(s, make_attribution(s.text("of"), noisy));
}

}  // namespace

extern const MethodEntry smoothgrad;
constinit const MethodEntry smoothgrad = {.card = {.name = "smoothgrad",
                                                   .summary = "any method, averaged over noisy copies of the input",
                                                   .reference = "Smilkov et al. 2017",
                                                   .promises = {.class_sensitivity = true},
                                                   .forward_calls = "samples * those of `of`",
                                                   .backward_calls = "samples * those of `of`",
                                                   .takes_baseline = true,
                                                   .takes_rules = true,
                                                   .wraps_a_method = true,
                                                   .settings = settings},
                                          .attribution = make};

}  // namespace vitrine::methods
