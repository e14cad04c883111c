// Why a rule spoke on one image: the truth of its conditions, each with its place.
#include <algorithm>
#include <cmath>
#include <map>

#include "interp/model/rule_report.h"

namespace vitrine {
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
    return maps_.try_emplace(v, session_.peek(session_.run().value(v))).first->second.data;
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
