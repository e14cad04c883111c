#include "interp/predict/explain.h"

#include <cmath>

namespace vitrine {
namespace {

// The first element that is not finite; -1 if all are.
std::int64_t first_not_finite(const std::vector<real>& v) {
  unsigned bad = 0;  // without branches: the compiler makes vectors of it
  for (const real x : v) bad |= static_cast<unsigned>(!(x * 0 == 0));
  for (std::size_t i = 0; bad != 0 && i < v.size(); ++i)
    if (!std::isfinite(v[i])) return static_cast<std::int64_t>(i);
  return -1;
}

void check_images(const Model& model, const Images& x) {
  const Shape expected = model.image_shape();
  if (x.shape.with_batch(1) != expected || x.shape.n() < 1)
    throw Error("the input has shape " + text(x.shape) + ", but the network takes (N," + text(expected).substr(3));
  if (const std::int64_t at = first_not_finite(x.data); at >= 0)
    throw Error("the input is not finite at element " + std::to_string(at) +
                ": relevance of NaN or infinity has no meaning");
}

}  // namespace

double Explanation::sum(std::size_t image) const {
  const auto each = static_cast<std::size_t>(shape.per_image());
  double s = 0;
  for (std::size_t i = image * each; i < (image + 1) * each; ++i) s += static_cast<double>(relevance[i]);
  return s;
}

Explainer::Explainer(Subject& subject, ExplainRequest request) : subject_(subject), request_(std::move(request)) {
  request_.objective.check(subject.model(), 0);
  if (request_.ledger && !find_method(request_.method).card.takes_ledger)
    throw Error("method " + request_.method + " does not walk once over the graph, so it has no ledger", Error::usage);
  method_ = make_attribution(request_.method, {.subject = subject,
                                               .objective = request_.objective,
                                               .settings = request_.settings,
                                               .composite = request_.composite,
                                               .rules = request_.rules,
                                               .baseline = request_.baseline,
                                               .ledger = request_.ledger,
                                               .demand = {request_.images, false}});
}

Explainer::~Explainer() = default;

Explanation Explainer::explain(const Images& x, const Job& job, std::int64_t first) {
  check_images(subject_.model(), x);
  Explanation e;
  e.shape = x.shape;
  Images baseline;
  Query q{.x = x.view(), .objective = &request_.objective, .first = first};
  if (method_->has_baseline()) {
    baseline = make_baseline(x.view(), request_.baseline, first);
    q.baseline = baseline.view();
  }
  Scored scored;
  if (!method_->resolves_targets()) {
    // One forward run beside a method's many is not worth weights prepared for it.
    if (!scorer_) scorer_ = std::make_unique<Scorer>(subject_, request_.objective, Scorer::Options{.prepare = false});
    scored = scorer_->resolve(q);
    q.targets = scored.target;
  }
  Answer answer = method_->attribute(q, job);
  if (method_->resolves_targets()) scored = std::move(answer.scored);
  for (const Target& t : scored.target) e.target.push_back(t.label);
  e.score = std::move(scored.score);
  e.baseline_score = std::move(scored.baseline);
  e.complete = method_->card().promises.completeness;
  e.relevance = std::move(answer.relevance);
  e.ledger = std::move(answer.ledger);
  e.features = std::move(answer.features);
  e.standard_errors = std::move(answer.standard_errors);
  e.warnings = std::move(answer.warnings);
  e.note = std::move(answer.note);
  for (std::size_t n = 0; n < e.score.size(); ++n)
    if (!std::isfinite(e.score[n]))
      throw Error("the score of image " + std::to_string(first + static_cast<std::int64_t>(n)) +
                  " is not finite, so there is nothing to explain");
  if (const std::int64_t at = first_not_finite(e.relevance); at >= 0)
    throw Error("method " + request_.method + ": the relevance of image " +
                std::to_string(first + at / x.shape.per_image()) + " is not finite");
  return e;
}

Predictor::Predictor(Subject& subject, Id value) : subject_(subject) {
  // An inner value has its id in this graph alone.
  const Model& model = subject.model();
  const bool last = value == no_id || value == model.logits() || value == model.graph().output;
  const Model& own = last ? subject.merged() : model;
  value_ = value == no_id || value == model.graph().output ? own.graph().output
           : value == model.logits()                       ? own.logits()
                                                           : value;
  PlanRequest request;
  request.graph = &own.graph();
  request.keep_values = {&value_, 1};
  if (!last) request.seeds = {&value_, 1};  // nothing after the value runs
  const Fit f = fit_batch(subject.engine(), request, subject.memory_budget());
  request.batch = f.batch;
  session_ = std::make_unique<Session>(subject.engine(), request, own.parameters, f.prepare);
}

std::vector<real> Predictor::predict(const Images& x, const Job& job) {
  check_images(subject_.model(), x);
  subject_.given().check_images(subject_.model(), x.shape.n());
  std::vector<real> out;
  in_batches(x.shape.n(), session_->plan().request.batch, job, [&](std::int32_t first, std::int32_t count) {
    subject_.given().give(*session_, first, count);
    session_->forward(x.view().images(first, count));
    subject_.count(count, 0, *session_);
    const HostTensor y = session_->peek(session_->run().value(value_));
    out.insert(out.end(), y.data, y.data + y.size());
  });
  const std::int64_t each = out.empty() ? 1 : static_cast<std::int64_t>(out.size()) / x.shape.n();
  if (const std::int64_t at = first_not_finite(out); at >= 0)
    throw Error("the output for image " + std::to_string(at / each) + " is not finite: its number " +
                std::to_string(at % each) + " is " + std::to_string(out[static_cast<std::size_t>(at)]));
  return out;
}

Explanation explain(const Model& model, const Engine& engine, const Images& x, const ExplainRequest& request,
                    const Job& job, std::size_t memory_budget) {
  Subject subject(model, engine, nullptr, memory_budget);
  ExplainRequest known = request;
  known.images = x.shape.n();
  request.objective.check(model, x.shape.n());
  return Explainer(subject, std::move(known)).explain(x, job);
}

std::vector<real> predict(const Model& model, const Engine& engine, const Images& x, std::size_t memory_budget) {
  Subject subject(model, engine, nullptr, memory_budget);
  return Predictor(subject).predict(x);
}

}  // namespace vitrine
