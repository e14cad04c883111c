// Integrated gradients [Sundararajan et al. 2017, eq. 1]: the mean gradient on the straight line from a baseline b to
// the image x, times the difference.
//
//   R_i = (x_i - b_i) * integral over [0,1] of d s(b + t (x - b)) / d x_i dt
#include <algorithm>

#include "interp/math/quadrature.h"
#include "interp/rules/signal.h"
#include "interp/runs/one_walk.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    {Setting::integer, "steps", "50", "gradients along the path", "", 1, 100000},
    {Setting::choice, "quadrature", "gauss-legendre", "where on the path, and with which weights",
     "gauss-legendre|trapezoid|left|right|midpoint"},
};

class IntegratedGradients final : public Attribution {
 public:
  IntegratedGradients(const AttributionCall& c, const Settings& s)
      : quadrature_(make_quadrature(s.text("quadrature"), static_cast<int>(s.integer("steps")))),
        assignment_(c.rules.empty() ? c.subject.merged(c.objective.kept_nodes()) : c.subject.model()) {
    assignment_.fill_gradient();
    assignment_.override_with(c.rules);
    const Demand path{static_cast<std::int32_t>(quadrature_.at.size()), true};
    walk_ = std::make_unique<Walk>(c.subject, assignment_.model(), assignment_.rules, c.objective,
                                   Walk::Options{.demand = path, .shared_as = c.rules.empty() ? "gradient" : ""});
  }
  bool resolves_targets() const override { return true; }

  Answer attribute(const Query& q, const Job& job) override {
    Answer answer;
    answer.relevance.resize(static_cast<std::size_t>(q.x.size()));
    walk_->in_batches(q.x.shape.n(), job.quiet(), [&](std::int32_t first, std::int32_t count) {
      walk_->score(q.part(first, count), answer.scored);
    });
    const std::int64_t each = q.x.shape.per_image();
    for (std::int32_t n = 0; n < q.x.shape.n(); ++n) {
      const double images = q.x.shape.n();
      integrate(q.part(n, 1), answer.scored.target[static_cast<std::size_t>(n)], answer.relevance.data() + n * each,
                job.part(n / images, (n + 1) / images));
    }
    return answer;
  }

 private:
  // Of one image.
  void integrate(const Query& q, const Target& target, real* relevance, const Job& job) {
    const real *const image = q.x.data, *const baseline = q.baseline.data;
    const std::int64_t each = q.x.size();
    points_.resize(static_cast<std::size_t>(walk_->batch() * each));
    sum_.assign(static_cast<std::size_t>(each), 0.0);
    std::vector<Target> targets;
    const auto steps = static_cast<std::int32_t>(quadrature_.at.size());
    walk_->in_batches(steps, job, [&](std::int32_t first, std::int32_t count) {
      for (std::int32_t k = 0; k < count; ++k) {
        const double t = quadrature_.at[static_cast<std::size_t>(first + k)];
        real* const point = points_.data() + k * each;
        for (std::int64_t i = 0; i < each; ++i)
          point[i] = static_cast<real>(baseline[i] + t * (static_cast<double>(image[i]) - baseline[i]));
      }
      targets.assign(static_cast<std::size_t>(count), target);
      walk_->run(
          {.x = {points_.data(), q.x.shape.with_batch(count)}, .targets = targets, .first = q.first, .one_image = true},
          Walk::Seed::weights);
      const HostTensor g = walk_->signal();
      for (std::int32_t k = 0; k < count; ++k) {
        const double weight = quadrature_.weight[static_cast<std::size_t>(first + k)];
        const real* const gradient = g.data + k * each;
        for (std::int64_t i = 0; i < each; ++i) sum_[static_cast<std::size_t>(i)] += weight * gradient[i];
      }
    });
    for (std::int64_t i = 0; i < each; ++i)
      relevance[i] =
          static_cast<real>((static_cast<double>(image[i]) - baseline[i]) * sum_[static_cast<std::size_t>(i)]);
  }

  Quadrature quadrature_;
  Assignment assignment_;
  std::unique_ptr<Walk> walk_;
  std::vector<real> points_;
  std::vector<double> sum_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<IntegratedGradients>(c, s);
}

}  // namespace

extern const MethodEntry integrated_gradients;
constinit const MethodEntry integrated_gradients = {
    .card = {.name = "integrated-gradients",
             .summary = "mean gradient along the path from a baseline, times the difference",
             .reference = "Sundararajan et al. 2017",
             .promises = {.completeness = true,
                          .sensitivity = true,
                          .implementation_invariance = true,
                          .class_sensitivity = true},
             .forward_calls = "steps + 2",
             .backward_calls = "steps",
             .takes_baseline = true,
             .takes_rules = true,
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
