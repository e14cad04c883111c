#include "interp/runs/one_walk.h"

namespace vitrine {

void require_logit(const AttributionCall& c) {
  if (c.objective.score() != Score::logit)
    throw Error(
        "relevance and multipliers explain logits alone: leave --score out, or take a gradient or a "
        "perturbation method",
        Error::usage);
}

OneWalk::OneWalk(const AttributionCall& c, const Model& model, Walk::Seed seed, bool times_input)
    : subject_(c.subject),
      objective_(c.objective),
      model_(model),
      assignment_(model),
      seed_(seed),
      times_input_(times_input),
      ledger_(c.ledger),
      demand_(c.demand) {
  if (seed == Walk::Seed::relevance) require_logit(c);
}

void OneWalk::start(Walk::Options options) {
  options.ledger = ledger_;
  options.demand = demand_;
  walk_ = std::make_unique<Walk>(subject_, model_, assignment_.rules, objective_, std::move(options));
}

Answer OneWalk::attribute(const Query& q, const Job& job) {
  Answer answer;
  answer.relevance.resize(static_cast<std::size_t>(q.x.size()));
  walk_->in_batches(q.x.shape.n(), job, [&](std::int32_t first, std::int32_t count) {
    const Query part = q.part(first, count);
    walk_->run(part, seed_, &answer.scored);
    walk_->collect(answer.ledger);
    finish(part, answer.relevance.data() + first * q.x.shape.per_image());
  });
  return answer;
}

void OneWalk::finish(const Query& q, real* out) {
  const HostTensor s = walk_->signal();
  for (std::int64_t i = 0; i < q.x.size(); ++i) {
    const real factor = !times_input_ ? 1 : q.baseline ? q.x.data[i] - q.baseline.data[i] : q.x.data[i];
    out[i] = s.data[i] * factor;
  }
}

}  // namespace vitrine
