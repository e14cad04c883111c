#include "interp/runs/ascend.h"

#include <algorithm>
#include <cmath>

namespace vitrine {
namespace {

// Moves x by one step; keeps Adam's moments.
class Stepper {
 public:
  Stepper(const AscendOptions& o, std::size_t size) : o_(o) {
    if (o.step == AscendOptions::Step::adam) first_.resize(size), second_.resize(size);
  }

  void move(int step, std::span<const real> gradient, real* x) {
    const double c1 = 1 - std::pow(0.9, step + 1), c2 = 1 - std::pow(0.999, step + 1);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const auto g = static_cast<double>(gradient[i]);
      double direction = g;
      if (o_.step == AscendOptions::Step::sign) direction = g > 0 ? 1 : g < 0 ? -1 : 0;
      if (o_.step == AscendOptions::Step::adam) {
        first_[i] += 0.1 * (g - first_[i]);
        second_[i] += 0.001 * (g * g - second_[i]);
        direction = first_[i] / c1 / (std::sqrt(second_[i] / c2) + 1e-8);
      }
      x[i] = static_cast<real>(static_cast<double>(x[i]) + o_.rate * direction);
    }
  }

 private:
  const AscendOptions& o_;
  std::vector<double> first_, second_;
};

}  // namespace

Ascent ascend(Subject& subject, const Objective& objective, const Images& start, const AscendOptions& o,
              const Job& job) {
  const Model& model = subject.merged(objective.kept_nodes());
  Assignment rules(model);
  rules.fill_gradient();
  Walk walk(subject, model, rules.rules, objective, {.demand = {start.shape.n(), false}, .shared_as = "gradient"});
  Ascent a{start, {}};
  Stepper stepper(o, a.x.data.size());
  std::vector<Target> targets;
  std::vector<real> gradient(a.x.data.size());
  for (int step = 0; step <= o.steps; ++step) {
    Scored scored;
    const Query all{.x = a.x.view(), .objective = &objective, .targets = targets};
    in_batches(start.shape.n(), walk.batch(), Job({}, [&] { return job.check(), false; }),
               [&](std::int32_t first, std::int32_t count) {
                 walk.run(all.part(first, count), Walk::Seed::weights, &scored);
                 const HostTensor s = walk.signal();
                 std::copy_n(s.data, s.size(), gradient.begin() + first * start.shape.per_image());
               });
    if (step == 0) targets = scored.target;
    for (const double v : scored.score)
      if (!std::isfinite(v)) throw Error("step " + std::to_string(step) + ": the objective is not finite");
    a.numbers.push_back(std::move(scored.score));
    if (step == o.steps) break;
    if (o.shape) o.shape(step, a.x.view(), gradient);
    for (const real g : gradient)
      if (!std::isfinite(g)) throw Error("step " + std::to_string(step) + ": the gradient is not finite");
    stepper.move(step, gradient, a.x.data.data());
    if (o.project) o.project(step, a.x.view());
    job.progress(static_cast<double>(step + 1) / o.steps);
  }
  return a;
}

}  // namespace vitrine
