#include "interp/model/rule_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "models/data/loader.h"

namespace vitrine {
namespace {

int argmax(const real* x, std::int64_t n) { return static_cast<int>(std::max_element(x, x + n) - x); }

}  // namespace

RuleReport report_rules(const Model& model, const Engine& engine, const data::Dataset& data, const RuleBase& rules,
                        const std::function<bool()>& stop) {
  if (data.image_shape() != model.image_shape())
    throw Error("the data has images of " + text(data.image_shape()) + ", but the network takes " +
                text(model.image_shape()));
  const Graph& g = model.graph();
  const Id join = model.node("evidence"), logits = model.logits(), detections = g.nodes[model.node("detections")].out;
  std::vector<Id> values(g.nodes[join].in.begin(), g.nodes[join].in.end());
  std::stable_partition(values.begin(), values.end(), [&](Id v) { return matches("rule.*", g.values[v].name); });
  RuleReport report;
  for (const Id v : values) report.evidence.emplace_back().name = g.nodes[g.values[v].producer].name;

  Assignment assignment(model);
  CompositeOptions composite{Composite::uniform};
  composite.rule.kind = LrpKind::epsilon;
  assignment.compose(composite);
  ReplaceOutput edit;
  PlanRequest request;
  request.graph = &g;
  request.batch = 32;
  request.rules = assignment.rules;
  request.until = detections;
  const Id seeds[] = {logits};
  request.seeds = seeds;
  // Reruns start behind the detections, so what later nodes read has to stay.
  std::vector<Id> keep{logits};
  for (const Node& node : g.nodes) keep.push_back(node.out);
  request.keep_values = keep;
  request.keep_signals = values;
  request.observer = &edit;
  Session session(engine, request, model.parameters);

  const Shape map = g.shape(values[0]);
  std::vector<std::vector<real>> mean(values.size(), std::vector<real>(static_cast<std::size_t>(map.per_image()), 0));
  const auto images = static_cast<double>(data.size());
  const auto over_batches = [&](const std::function<void(const data::Batch&, const TensorView&)>& body) {
    data::over_batches(data, model.preparation, request.batch, [&](data::Batch& batch) {
      if (stop && stop()) throw Error("stopped");
      const TensorView input{batch.images.data(), model.image_shape().with_batch(batch.count)};
      session.forward(input);
      body(batch, input);
      return true;
    });
  };
  double true_score = 0, total = 0;
  over_batches([&](const data::Batch& batch, const TensorView&) {
    const HostTensor out = session.download(session.run().value(logits));
    const std::int64_t classes = out.shape.per_image();
    std::vector<real> seed(static_cast<std::size_t>(out.size()), 0);
    for (int n = 0; n < batch.count; ++n) {
      const int best = argmax(out.data + n * classes, classes), label = batch.labels[static_cast<std::size_t>(n)];
      report.accuracy += (best == label) / images;
      report.score += static_cast<double>(out.data[n * classes + best]) / images;
      true_score += static_cast<double>(out.data[n * classes + label]) / images;
      seed[static_cast<std::size_t>(n * classes + best)] = out.data[n * classes + best];
    }
    session.upload(session.run().signal(logits), seed);
    session.walk_back();
    for (std::size_t k = 0; k < values.size(); ++k) {
      const HostTensor v = session.download(session.run().value(values[k])),
                       r = session.download(session.run().signal(values[k]));
      EvidenceReport& e = report.evidence[k];
      for (int n = 0; n < batch.count; ++n) {
        const real *const m = v.data + n * map.per_image(), *const relevance = r.data + n * map.per_image();
        const double top = static_cast<double>(*std::max_element(m, m + map.per_image()));
        e.activation += top / images;
        e.fired += (top > 0.5) / images;
        double sum = 0;
        for (std::int64_t p = 0; p < map.per_image(); ++p) {
          sum += static_cast<double>(relevance[p]);
          mean[k][static_cast<std::size_t>(p)] += static_cast<real>(static_cast<double>(m[p]) / images);
        }
        e.relevance += sum / images;
        e.share += std::abs(sum);
        total += std::abs(sum);
      }
    }
  });
  report.to_bias = report.score;
  for (EvidenceReport& e : report.evidence) {
    report.to_bias -= e.relevance;
    e.share = total > 0 ? e.share / total : 0;
  }
  // Each map by its mean, everything after it run again.
  std::vector<Storage> replacements;
  for (const std::vector<real>& m : mean) replacements.emplace_back(engine, m);
  over_batches([&](const data::Batch& batch, const TensorView& input) {
    for (std::size_t k = 0; k < values.size(); ++k) {
      edit.node = g.values[values[k]].producer;
      edit.replacement = {replacements[k].data(), map};
      session.forward(input, edit.node);
      const HostTensor out = session.download(session.run().value(logits));
      const std::int64_t classes = out.shape.per_image();
      for (int n = 0; n < batch.count; ++n) {
        const int label = batch.labels[static_cast<std::size_t>(n)];
        report.evidence[k].effect -= (argmax(out.data + n * classes, classes) == label) / images;
        report.evidence[k].logit_effect -= static_cast<double>(out.data[n * classes + label]) / images;
      }
      // The map as it was, for the next one.
      const Id node = edit.node;
      edit.node = no_id;
      session.forward(input, node);
    }
  });
  for (EvidenceReport& e : report.evidence) {
    e.effect += report.accuracy;
    e.logit_effect += true_score;
  }
  if (!data.point_names().empty()) report.detections = measure_detections(model, engine, data, rules);
  return report;
}

namespace {

class Prover {
 public:
  Prover(const Model& model, Session& session, const RuleBase& rules) : model_(model), session_(session) {
    for (const std::string& p : rules.patterns) detection_.push_back("detection." + p);
    const Id v = model.graph().nodes[model.node("detections")].out;
    geometry_ = geometry_of(model.graph(), v);
    map_ = model.graph().shape(v).with_batch(1);
  }

  ProofNode rule(const NamedRule& r) {
    const real* const m = map(rule_node(r));
    const auto at = static_cast<std::int32_t>(std::max_element(m, m + map_.pixels()) - m);
    ProofNode p = node(r.name, m, at);
    for (const RuleCondition& c : r.condition) p.parts.push_back(condition(c, rule_node(r, "1"), at));
    return p;
  }

 private:
  // A node's map; they stay, so that pointers to several may be held.
  const real* map(const std::string& name) {
    const Id v = model_.graph().nodes[model_.node(name)].out;
    return maps_.try_emplace(v, session_.download(session_.run().value(v))).first->second.data;
  }

  ProofNode node(const std::string& text, const real* m, std::int32_t at) const {
    return {text, static_cast<double>(m[at]), geometry_.w.centre(at % map_.w()), geometry_.h.centre(at / map_.w()), {}};
  }

  ProofNode condition(const RuleCondition& c, const std::string& name, std::int32_t at) {
    ProofNode p = node(c.text, map(name), at);
    if (c.kind == RuleCondition::exists) {
      // The witness: the best place among those asked for, found as the graph found it, by its value.
      const real* const source =
          map(c.parts.empty() ? detection_[static_cast<std::size_t>(c.detection)] : name + ".bound");
      std::int32_t best = at;
      double nearest = 1e300;
      for (std::int32_t q = 0; q < map_.pixels(); ++q) {
        const double dx = static_cast<double>((q % map_.w() - at % map_.w()) * geometry_.w.jump),
                     dy = static_cast<double>((q / map_.w() - at / map_.w()) * geometry_.h.jump);
        const bool inside = dx >= c.place.left - 1e-6 && dx <= c.place.right + 1e-6 && dy >= c.place.top - 1e-6 &&
                            dy <= c.place.bottom + 1e-6;
        if (inside && static_cast<double>(source[q]) == p.truth && dx * dx + dy * dy < nearest) {
          nearest = dx * dx + dy * dy;
          best = q;
        }
      }
      p.x = geometry_.w.centre(best % map_.w());
      p.y = geometry_.h.centre(best / map_.w());
      for (std::size_t k = 0; k < c.parts.size(); ++k)
        p.parts.push_back(condition(c.parts[k], name + "." + std::to_string(k + 1), best));
    } else {
      for (std::size_t k = 0; k < c.parts.size(); ++k)
        p.parts.push_back(condition(c.parts[k], name + "." + std::to_string(k + 1), at));
    }
    return p;
  }

  std::vector<std::string> detection_;
  const Model& model_;
  Session& session_;
  Geometry geometry_;
  Shape map_;
  std::map<Id, HostTensor> maps_;
};

}  // namespace

std::vector<ProofNode> prove(const Model& model, const Engine& engine, const RuleBase& rules, const Images& image) {
  if (image.shape != model.image_shape())
    throw Error("a proof is of one image of " + text(model.image_shape()) + ": found " + text(image.shape));
  PlanRequest request;
  request.graph = &model.graph();
  std::vector<Id> keep;
  for (const Node& node : model.graph().nodes) keep.push_back(node.out);
  request.keep_values = keep;
  Session session(engine, request, model.parameters);
  session.forward(image.view());
  Prover prover(model, session, rules);
  std::vector<ProofNode> out;
  for (const NamedRule& r : rules.rules) out.push_back(prover.rule(r));
  return out;
}

}  // namespace vitrine
