// Layer-wise relevance propagation [Bach et al. 2015]: one walk from the relevance of the objective (its value times
// its weights), with a composite of rules. interp/rules/README.md has the rules' formulas.
#include <cmath>
#include <cstdio>
#include <numeric>

#include "interp/runs/one_walk.h"

namespace vitrine::methods {
namespace {

class Lrp final : public OneWalk {
 public:
  Lrp(const AttributionCall& c, const Model& model, double stabiliser)
      : OneWalk(c, model, Walk::Seed::relevance, false), stabiliser_(stabiliser) {}

  Answer attribute(const Query& q, const Job& job) override {
    Answer answer = OneWalk::attribute(q, job);
    if (std::string outside = rules().outside_box(q.x); !outside.empty()) answer.warnings.push_back(std::move(outside));
    const std::int64_t each = q.x.shape.per_image();
    for (std::size_t n = 0; n < answer.scored.score.size(); ++n) {
      const real* const r = answer.relevance.data() + static_cast<std::int64_t>(n) * each;
      if (!is_absorbed(answer.scored.score[n], std::accumulate(r, r + each, 0.0))) continue;
      char text[200];
      std::snprintf(text, sizeof text,
                    "image %lld: the score %.3g is not much larger than the stabiliser %.3g, which takes most of its "
                    "relevance: give a smaller one (--set stabiliser=...)",
                    static_cast<long long>(q.first + static_cast<std::int64_t>(n)), answer.scored.score[n],
                    stabiliser_);
      answer.warnings.push_back(text);
      break;
    }
    return answer;
  }

 private:
  // A score near the stabiliser, of which less than half has arrived.
  bool is_absorbed(double score, double sum) const {
    return score != 0 && std::abs(score) < 100 * stabiliser_ && std::abs(sum) < std::abs(score) / 2;
  }

  double stabiliser_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  const bool merge = s.text("batch-norm") == "merge";
  auto m = std::make_unique<Lrp>(c, merge ? c.subject.merged(c.objective.kept_nodes()) : c.subject.model(),
                                 s.number("stabiliser"));
  Assignment& rules = m->rules();
  const CompositeFile* const file = c.composite.get();
  const CompositeOptions options = composite_options(rules.model(), s, rules, file);
  if (file != nullptr)
    rules.compose(options, *file);
  else
    rules.compose(options);
  rules.override_with(c.rules);
  m->start();
  return m;
}

}  // namespace

extern const MethodEntry lrp;
constinit const MethodEntry lrp = {.card = {.name = "lrp",
                                            .summary = "layer-wise relevance propagation by a composite of rules",
                                            .reference = "Bach et al. 2015",
                                            .promises = {.sensitivity = true, .class_sensitivity = true},
                                            .takes_rules = true,
                                            .takes_ledger = true,
                                            .settings = lrp_settings},
                                   .attribution = make};

}  // namespace vitrine::methods
