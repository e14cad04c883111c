// Expected gradients, also called GradientSHAP [Erion et al. 2021, eq. 4]: integrated gradients, the expectation over a
// background set, by samples.
//
//   R = mean over samples of d s(u x' + (1 - u) b) / d x * (x' - b),   u uniform in [0, 1], b a row of the background,
//   x' = x + noise
#include <algorithm>
#include <cmath>

#include "interp/perturb/background.h"
#include "interp/runs/draws.h"
#include "interp/runs/normals.h"
#include "interp/runs/one_walk.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    {Setting::integer, "samples", "200", "gradients", "", 1, 10000000},
    {Setting::number, "noise", "0", "standard deviation of the noise on the image", "", 0, 1e30},
    {Setting::integer, "seed", "0", "of what is drawn", "", 0, 2147483647},
};

class GradientShap final : public Attribution {
 public:
  GradientShap(const AttributionCall& c, const Settings& s)
      : background_(background_set(c.baseline, c.subject.model().image_shape(), "gradient-shap")),
        samples_(static_cast<std::int32_t>(s.integer("samples"))),
        noise_(s.number("noise")),
        seed_(static_cast<std::uint64_t>(s.integer("seed"))),
        assignment_(c.rules.empty() ? c.subject.merged(c.objective.kept_nodes()) : c.subject.model()) {
    assignment_.fill_gradient();
    assignment_.override_with(c.rules);
    walk_ = std::make_unique<Walk>(
        c.subject, assignment_.model(), assignment_.rules, c.objective,
        Walk::Options{.demand = {samples_, true}, .shared_as = c.rules.empty() ? "gradient" : ""});
  }
  bool resolves_targets() const override { return true; }

  Answer attribute(const Query& q, const Job& job) override {
    Answer answer;
    walk_->in_batches(q.x.shape.n(), job.quiet(), [&](std::int32_t first, std::int32_t count) {
      walk_->score(q.part(first, count), answer.scored);
    });
    const double images = q.x.shape.n();
    for (std::int32_t n = 0; n < q.x.shape.n(); ++n)
      sample(q.part(n, 1), answer.scored.target[static_cast<std::size_t>(n)], answer,
             job.part(n / images, (n + 1) / images));
    return answer;
  }

 private:
  // Appends one image's map, and the largest standard error of an element.
  void sample(const Query& q, const Target& target, Answer& answer, const Job& job) {
    const auto each = static_cast<std::size_t>(q.x.size());
    const std::uint64_t key = derive_key(seed_, static_cast<std::uint64_t>(q.first));
    Draws draws(key);
    Normals normals(derive_key(key, 1));
    std::vector<double> sum(each, 0.0), squares(each, 0.0), difference;
    std::vector<real> points;
    walk_->in_batches(samples_, job, [&](std::int32_t first, std::int32_t count) {
      points.clear();
      difference.clear();
      for (std::int32_t k = 0; k < count; ++k) {
        const auto row = static_cast<std::size_t>(draws.below(background_.shape.n()));
        const double u = draws.uniform();
        const double* const e =
            noise_ > 0 ? normals.sample(static_cast<std::uint64_t>(first + k), q.x.size()) : nullptr;
        for (std::size_t i = 0; i < each; ++i) {
          const auto b = static_cast<double>(background_.data[row * each + i]);
          const double d = static_cast<double>(q.x.data[i]) + (e != nullptr ? noise_ * e[i] : 0) - b;
          difference.push_back(d);
          points.push_back(static_cast<real>(b + u * d));
        }
      }
      const std::vector<Target> targets(static_cast<std::size_t>(count), target);
      walk_->run(
          {.x = {points.data(), q.x.shape.with_batch(count)}, .targets = targets, .first = q.first, .one_image = true},
          Walk::Seed::weights);
      const HostTensor g = walk_->signal();
      for (std::size_t at = 0; at < difference.size(); ++at) {
        const double value = static_cast<double>(g.data[at]) * difference[at];
        sum[at % each] += value;
        squares[at % each] += value * value;
      }
    });
    const double n = samples_;
    double error = 0;
    for (std::size_t i = 0; i < each; ++i) {
      answer.relevance.push_back(static_cast<real>(sum[i] / n));
      if (n > 1) error = std::max(error, std::sqrt(std::max(0.0, squares[i] - sum[i] * sum[i] / n) / (n - 1) / n));
    }
    answer.standard_errors.push_back({error});
  }

  Images background_;
  std::int32_t samples_;
  double noise_;
  std::uint64_t seed_;
  Assignment assignment_;
  std::unique_ptr<Walk> walk_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<GradientShap>(c, s);
}

}  // namespace

extern const MethodEntry gradient_shap;
constinit const MethodEntry gradient_shap = {
    .card = {.name = "gradient-shap",
             .summary = "expected gradients between the image and a background set, by samples",
             .reference = "Erion et al. 2021; Lundberg & Lee 2017",
             .promises = {.sensitivity = true, .implementation_invariance = true, .class_sensitivity = true},
             .forward_calls = "1 + samples",
             .backward_calls = "samples",
             .takes_background = true,
             .takes_rules = true,
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
