#include "interp/runs/walk.h"

#include <algorithm>
#include <chrono>

namespace vitrine {
namespace {

double seconds() noexcept {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void add_stats(kernels::Stats& total, const kernels::Stats& s) {
  total.sum += s.sum;
  total.abs_sum += s.abs_sum;
  total.abs_max = std::max(total.abs_max, s.abs_max);
  total.non_finite += s.non_finite;
}

std::string session_key(const Model& model, const PlanRequest& q, const std::string& rules, bool prepare) {
  std::string key = rules + "|" + std::to_string(reinterpret_cast<std::uintptr_t>(&model));
  for (const std::int64_t part : {std::int64_t{q.batch}, std::int64_t{q.until}, std::int64_t{q.channels},
                                  std::int64_t{q.ledger}, std::int64_t{prepare}})
    key += "|" + std::to_string(part);
  for (const Id v : q.seeds) key += ",s" + std::to_string(v);
  for (const Id v : q.keep_values) key += ",k" + std::to_string(v);
  return key;
}

}  // namespace

void add_ledger(std::vector<LedgerRow>& total, const std::vector<LedgerRow>& more) {
  for (std::size_t i = 0; i < more.size(); ++i) {
    const LedgerRow& row = more[i];
    const auto is_it = [&](const LedgerRow& r) { return r.node == row.node; };
    // Mostly both list the same nodes in the same order.
    const auto at = i < total.size() && is_it(total[i]) ? total.begin() + static_cast<std::ptrdiff_t>(i)
                                                        : std::find_if(total.begin(), total.end(), is_it);
    if (at == total.end()) {
      total.push_back(row);
      continue;
    }
    add_stats(at->out, row.out);
    add_stats(at->in, row.in);
    at->absorbed_by_bias += row.absorbed_by_bias;
    at->absorbed_by_stabiliser += row.absorbed_by_stabiliser;
    at->seconds += row.seconds;
    at->bytes += row.bytes;
  }
}

Query Query::part(std::int32_t begin, std::int32_t count) const {
  Query q = *this;
  q.x = x.images(begin, count);
  if (!targets.empty()) q.targets = targets.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
  if (baseline) q.baseline = baseline.images(begin, count);
  if (!one_image) q.first = first + begin;
  return q;
}

void give_others(const Subject& subject, Session& session, const Query& q) {
  if (subject.given().empty()) return;
  std::vector<std::int32_t> rows(static_cast<std::size_t>(q.x.shape.n()));
  for (std::size_t n = 0; n < rows.size(); ++n)
    rows[n] = static_cast<std::int32_t>(q.one_image ? q.first : q.first + static_cast<std::int64_t>(n));
  subject.given().give(session, rows);
}

Walk::Walk(Subject& subject, const Model& model, const std::vector<const Rule*>& rules, const Objective& objective,
           Options options)
    : subject_(subject), model_(model), options_(std::move(options)), from_(objective.value(model)), rules_(rules) {
  if (options_.until == no_id) options_.until = model.graph().input;
  options_.keep.push_back(from_);
  PlanRequest request;
  request.graph = &model.graph();
  request.rules = rules_;
  request.channels = options_.channels;
  request.reference = options_.reference;
  request.one_reference = options_.one_reference;
  request.until = options_.until;
  request.seeds = {&from_, 1};
  request.keep_values = options_.keep;
  request.ledger = options_.ledger;
  request.observer = options_.observer;
  const Fit f = fit_batch(subject.engine(), request, subject.memory_budget(), options_.demand);
  if (options_.batch == 0) options_.batch = f.batch;
  request.batch = options_.batch;
  const bool alone = options_.shared_as.empty() || options_.reference || options_.observer != nullptr;
  session_ = subject.session(alone ? "" : session_key(model, request, options_.shared_as, f.prepare), [&] {
    return std::make_shared<Session>(subject.engine(), request, model.parameters, f.prepare);
  });
  if (options_.ledger) lines_.resize(model.graph().nodes.size());
}

void Walk::run(const Query& q, Seed how, Scored* scored) {
  give_others(subject_, *session_, q);
  if (q.baseline) run_reference(q.baseline);
  session_->forward(q.x);
  const HostTensor out = session_->peek(session_->run().value(from_));
  const std::int64_t each = out.shape.per_image();
  seed_.assign(static_cast<std::size_t>(out.size()), real{0});
  const bool with_baseline = scored != nullptr && q.baseline;
  std::optional<HostTensor> at_baseline;
  if (with_baseline) at_baseline.emplace(session_->peek(session_->run().reference_value(from_)));
  for (std::int32_t n = 0; n < q.x.shape.n(); ++n) {
    const real* const value = out.data + n * each;
    const Target target = q.targets.empty()
                              ? q.objective->target(model_, q.first + n, {value, static_cast<std::size_t>(each)})
                              : q.targets[static_cast<std::size_t>(n)];
    target.seed(value, how == Seed::relevance, seed_.data() + n * each);
    if (scored == nullptr) continue;
    scored->target.push_back(target);
    scored->score.push_back(target.number(value));
    if (with_baseline)
      scored->baseline.push_back(target.number(at_baseline->data + (options_.one_reference ? 0 : n * each)));
  }
  for (int c = 0; c < options_.channels; ++c) session_->upload(session_->run().signal(from_, c), seed_);
  std::fill(lines_.begin(), lines_.end(), LedgerLine{});
  Ledger ledger{lines_, seconds};
  session_->walk_back(options_.ledger ? &ledger : nullptr);
  subject_.count(q.x.shape.n(), q.x.shape.n(), *session_);
}

void Walk::run_reference(const TensorView& images) {
  if (!options_.one_reference) {
    subject_.count(images.shape.n(), 0, *session_);
    return session_->forward_reference(images);
  }
  const TensorView one = images.images(0, 1);
  const std::span<const real> values{one.data, static_cast<std::size_t>(one.size())};
  if (std::equal(reference_.begin(), reference_.end(), values.begin(), values.end())) return;
  reference_.clear();                                   // an error must not leave a reference behind that was not run
  std::vector<real> own(values.begin(), values.end());  // later walks read it, when the caller's may be gone
  session_->forward_reference({own.data(), one.shape});
  reference_ = std::move(own);
}

void Walk::score(const Query& q, Scored& scored) {
  const std::size_t begin = scored.target.size();
  give_others(subject_, *session_, q);
  const auto forward = [&](const TensorView& images, auto&& body) {
    session_->forward(images);
    subject_.count(images.shape.n(), 0, *session_);
    const HostTensor out = session_->peek(session_->run().value(from_));
    const auto each = static_cast<std::size_t>(out.shape.per_image());
    for (std::size_t n = 0; n < static_cast<std::size_t>(images.shape.n()); ++n)
      body(n, std::span<const real>{out.data + n * each, each});
  };
  forward(q.x, [&](std::size_t n, std::span<const real> value) {
    scored.target.push_back(
        q.targets.empty() ? q.objective->target(model_, q.first + static_cast<std::int64_t>(n), value) : q.targets[n]);
    scored.score.push_back(scored.target.back().number(value.data()));
  });
  if (q.baseline)
    forward(q.baseline, [&](std::size_t n, std::span<const real> value) {
      scored.baseline.push_back(scored.target[begin + n].number(value.data()));
    });
}

void Walk::in_batches(std::int32_t n, const Job& job,
                      const std::function<void(std::int32_t, std::int32_t)>& body) const {
  const std::int32_t together = session_->batch_multiple();
  const std::int32_t whole = n < together ? 0 : n - n % together;
  const double share = n > 0 ? static_cast<double>(whole) / n : 0;
  vitrine::in_batches(whole, batch() < together ? batch() : batch() - batch() % together, job.part(0, share), body);
  vitrine::in_batches(n - whole, batch(), job.part(share, 1),
                      [&](std::int32_t begin, std::int32_t count) { body(whole + begin, count); });
}

void Walk::collect(std::vector<LedgerRow>& rows) const {
  std::vector<LedgerRow> own;
  const Graph& g = model_.graph();
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    const LedgerLine& line = lines_[i];
    if (!line.filled) continue;
    own.push_back({g.nodes[i].name, g.nodes[i].op->name(), line.rule, line.out, line.in, line.absorbed.absorbed_by_bias,
                   line.absorbed.absorbed_by_stabiliser, line.seconds, line.bytes});
  }
  add_ledger(rows, own);
}

void in_batches(std::int32_t n, std::int32_t batch, const Job& job,
                const std::function<void(std::int32_t, std::int32_t)>& body) {
  for (std::int32_t first = 0; first < n; first += batch) {
    job.check();
    const std::int32_t count = std::min(batch, n - first);
    body(first, count);
    job.progress(static_cast<double>(first + count) / n);
  }
}

}  // namespace vitrine
