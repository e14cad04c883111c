#include "interp/model/rule_report.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "interp/math/statistics.h"
#include "interp/result/registry.h"
#include "interp/runs/edit.h"
#include "interp/runs/pass.h"

namespace vitrine {
namespace {

int argmax(const real* x, std::int64_t n) { return static_cast<int>(std::max_element(x, x + n) - x); }

// The pass that both halves of the report make: all values are kept, so that it can run again from any node on.
class Reporter {
 public:
  Reporter(Subject& subject, std::int64_t images)
      : subject_(subject), model_(subject.model()), g_(model_.graph()), assignment_(model_), logits_(model_.logits()) {
    const Id join = model_.node("evidence");
    values_.assign(g_.nodes[join].in.begin(), g_.nodes[join].in.end());
    std::stable_partition(values_.begin(), values_.end(), [&](Id v) { return matches("rule.*", g_.values[v].name); });
    map_ = g_.shape(values_[0]);
    std::vector<Id> nodes;
    for (const Id v : values_) nodes.push_back(g_.values[v].producer);
    edit_.emplace(nodes);

    CompositeOptions composite{Composite::uniform};
    composite.rule.kind = LrpKind::epsilon;
    assignment_.compose(composite);
    pass_.rules = assignment_.rules;
    pass_.until = g_.nodes[model_.node("detections")].out;
    pass_.seeds = {logits_};
    pass_.keep = {logits_};
    for (const Node& node : g_.nodes) pass_.keep.push_back(node.out);
    pass_.keep_signals = values_;
    pass_.observer = &*edit_;
    pass_.images = images;
    images_ = static_cast<double>(pass_images(subject, pass_));
    for (const Id v : values_) report.evidence.emplace_back().name = g_.nodes[g_.values[v].producer].name;
    mean_.assign(values_.size(), std::vector<real>(static_cast<std::size_t>(map_.per_image()), 0));
  }

  RuleReport report;

  // Activation and relevance of each piece of evidence, and its mean map.
  void measure(const Job& job) {
    double total = 0;
    pass(subject_, pass_, job, [&](const PassBatch& b) {
      const HostTensor out = b.session.peek(b.session.run().value(logits_));
      const std::int64_t classes = out.shape.per_image();
      for (int n = 0; n < b.batch.count; ++n) {
        const int best = argmax(out.data + n * classes, classes), label = b.batch.labels[static_cast<std::size_t>(n)];
        report.accuracy += (best == label) / images_;
        report.score += static_cast<double>(out.data[n * classes + best]) / images_;
        true_score_ += static_cast<double>(out.data[n * classes + label]) / images_;
      }
      walk_from(b, model_, Objective(), logits_, true);
      subject_.count(0, b.batch.count, b.session);
      for (std::size_t k = 0; k < values_.size(); ++k) total += add_evidence(b, k);
    });
    report.to_bias = report.score;
    for (EvidenceReport& e : report.evidence) {
      report.to_bias -= e.relevance;
      e.share = total > 0 ? e.share / total : 0;
    }
  }

  // What is lost with each map replaced by its mean, everything after it run again.
  void replace(const Job& job) {
    std::vector<Storage> replacements;
    for (const std::vector<real>& m : mean_) replacements.emplace_back(subject_.engine(), m);
    pass(subject_, pass_, job, [&](const PassBatch& b) {
      for (std::size_t k = 0; k < values_.size(); ++k) {
        const Id node = g_.values[values_[k]].producer;
        edit_->replace(node, {replacements[k].data(), map_});
        b.session.forward(b.input, node);
        subject_.count(b.batch.count, 0, b.session);
        const HostTensor out = b.session.peek(b.session.run().value(logits_));
        const std::int64_t classes = out.shape.per_image();
        for (int n = 0; n < b.batch.count; ++n) {
          const int label = b.batch.labels[static_cast<std::size_t>(n)];
          report.evidence[k].effect -= (argmax(out.data + n * classes, classes) == label) / images_;
          report.evidence[k].logit_effect -= static_cast<double>(out.data[n * classes + label]) / images_;
        }
        // The map as it was, for the next one.
        edit_->clear();
        b.session.forward(b.input, node);
      }
    });
    for (EvidenceReport& e : report.evidence) {
      e.effect += report.accuracy;
      e.logit_effect += true_score_;
    }
  }

 private:
  // Adds a batch to evidence k; returns the sum of |relevance| over its images.
  double add_evidence(const PassBatch& b, std::size_t k) {
    const HostTensor v = b.session.peek(b.session.run().value(values_[k])),
                     r = b.session.peek(b.session.run().signal(values_[k]));
    EvidenceReport& e = report.evidence[k];
    double total = 0;
    for (int n = 0; n < b.batch.count; ++n) {
      const real *const m = v.data + n * map_.per_image(), *const relevance = r.data + n * map_.per_image();
      const double top = static_cast<double>(*std::max_element(m, m + map_.per_image()));
      e.activation += top / images_;
      e.fired += (top > 0.5) / images_;
      double sum = 0;
      for (std::int64_t p = 0; p < map_.per_image(); ++p) {
        sum += static_cast<double>(relevance[p]);
        mean_[k][static_cast<std::size_t>(p)] += static_cast<real>(static_cast<double>(m[p]) / images_);
      }
      e.relevance += sum / images_;
      e.share += std::abs(sum);
      total += std::abs(sum);
    }
    return total;
  }

  Subject& subject_;
  const Model& model_;
  const Graph& g_;
  Assignment assignment_;
  Id logits_;
  std::vector<Id> values_;  // rules first
  Shape map_;
  std::optional<Edit> edit_;
  Pass pass_;
  double images_ = 0, true_score_ = 0;
  std::vector<std::vector<real>> mean_;
};

}  // namespace

RuleReport report_rules(Subject& subject, const RuleBase& rules, const Job& job, std::int64_t images) {
  Reporter reporter(subject, images);
  reporter.measure(job.part(0, 0.4));
  reporter.replace(job.part(0.4, 0.9));
  if (!subject.data().point_names().empty())
    reporter.report.detections = measure_detections(subject, rules, job.part(0.9, 1));
  return std::move(reporter.report);
}

std::vector<DetectionQuality> measure_detections(Subject& subject, const RuleBase& rules, const Job& job) {
  const data::Dataset& data = subject.data();
  const Id value = subject.value("detections");
  const Shape maps = subject.model().graph().shape(value);
  const Geometry geometry = geometry_of(subject.model().graph(), value);
  const std::vector<int> names = pattern_names(data, rules);
  const std::size_t patterns = rules.patterns.size();
  std::vector<std::vector<double>> shown(patterns), absent(patterns);
  std::vector<DetectionQuality> out(patterns);
  pass(subject, {.keep = {value}}, job, [&](const PassBatch& b) {
    const HostTensor p = b.session.peek(b.session.run().value(value));
    for (int n = 0; n < b.batch.count; ++n) {
      const auto points = data.points(b.batch.indices[static_cast<std::size_t>(n)]);
      for (std::size_t q = 0; q < patterns; ++q) {
        const real* const map = p.data + n * maps.per_image() + static_cast<std::int64_t>(q) * maps.pixels();
        const auto best = static_cast<std::int32_t>(std::max_element(map, map + maps.pixels()) - map);
        const float y = geometry.h.centre(best / maps.w()), x = geometry.w.centre(best % maps.w());
        bool here = false, near = false;
        for (const data::PointLabel& point : points) {
          if (point.name != names[q]) continue;
          here = true;
          near = near ||
                 std::max(std::abs(point.x - x) / geometry.w.jump, std::abs(point.y - y) / geometry.h.jump) <= 1.5f;
        }
        (here ? shown : absent)[q].push_back(static_cast<double>(map[best]));
        out[q].located += here && near;
      }
    }
  });
  for (std::size_t q = 0; q < patterns; ++q) {
    out[q].auc = roc_area(shown[q], absent[q]);
    out[q].located /= std::max(1.0, static_cast<double>(shown[q].size()));
  }
  return out;
}

namespace methods {
namespace {

Result study(const StudyCall& c, const Settings&, const Job& job) {
  Subject& subject = c.subject();
  const RuleBase rules = rules_of(subject.model());
  const RuleReport report = report_rules(subject, rules, job, c.images);
  const std::int64_t n = pass_images(subject, {.keep = {}, .images = c.images});
  Result r;
  const auto right = static_cast<std::int64_t>(std::llround(report.accuracy * static_cast<double>(n)));
  const Interval interval = wilson_interval(right, n);
  r.number("accuracy", {report.accuracy, n, interval.low, interval.high});
  r.number("score", {report.score, n});
  r.number("to_bias", {report.to_bias, n});
  Table& evidence =
      r.table("evidence", {"name", "activation", "fired", "accuracy_effect", "score_effect", "relevance", "share"});
  evidence.note =
      "activation: mean of the map's maximum; fired: share of images where that is above 1/2; accuracy_effect and "
      "score_effect: what is lost when the map is replaced by its mean; relevance: mean over images, for the predicted "
      "class; share: of the absolute relevance of all evidence.";
  for (const EvidenceReport& e : report.evidence)
    evidence.add({e.name, e.activation, e.fired, e.effect, e.logit_effect, e.relevance, e.share});
  Table& detections = r.table("detections", {"pattern", "auc", "located"});
  detections.note =
      "auc: area under the ROC curve of an image's largest detection; located: share of images whose largest detection "
      "is within 1.5 places of the pattern. Empty where the data tells no places.";
  for (std::size_t q = 0; q < report.detections.size(); ++q)
    detections.add({rules.patterns[q], report.detections[q].auc, report.detections[q].located});
  return r;
}

}  // namespace

extern const MethodEntry rule_report;
constinit const MethodEntry rule_report = {
    .card = {.name = "rule-report",
             .summary = "what the rules of a network do: activation, effect on accuracy, share of relevance",
             .reference = "Wang 2018 (ReNN)",
             .aspect = Aspect::data_rules,
             .stage = Stage::in,
             .lipton = "transparency: decomposability",
             .scope = Scope::global,
             .needs_training = true,
             .needs_labels = Labels::classes,
             .forward_calls = "2 + 2 * pieces of evidence",
             .output = "tables of evidence and detections",
             .faithfulness_metric = "accuracy_effect"},
    .study = study};

}  // namespace methods
}  // namespace vitrine
