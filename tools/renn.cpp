// vitrine renn: what the rules of a network do, over a data set and on single images.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "interp/model/rule_report.h"
#include "interp/predict/explain.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

struct Options {
  std::string file, data, input;
  EngineOptions engine;
  bool json = false;
};

void print(const ProofNode& p, int depth) {
  std::printf("%*s%.2f  %s  at (%.0f, %.0f)\n", 2 + 2 * depth, "", p.truth, p.text.c_str(), static_cast<double>(p.x),
              static_cast<double>(p.y));
  for (const ProofNode& part : p.parts) print(part, depth + 1);
}

nlohmann::ordered_json to_json(const ProofNode& p) {
  nlohmann::ordered_json parts = nlohmann::ordered_json::array();
  for (const ProofNode& part : p.parts) parts.push_back(to_json(part));
  return {{"text", p.text}, {"truth", p.truth}, {"x", p.x}, {"y", p.y}, {"parts", parts}};
}

using Json = nlohmann::ordered_json;

// What rules do over a data set: printed, or added to `json`.
void report(const Options& o, const Model& model, const RuleBase& rules, const Engine& engine, Json& json) {
  const auto data = data::open_for_evaluation(o.data);
  Subject subject(model, engine, data.get());
  const RuleReport r = report_rules(subject, rules, Job({}, [] { return stop_requested.load(); }));
  Json evidence = Json::array();
  for (const EvidenceReport& e : r.evidence)
    evidence.push_back({{"name", e.name},
                        {"activation", e.activation},
                        {"fired", e.fired},
                        {"accuracy_effect", e.effect},
                        {"score_effect", e.logit_effect},
                        {"relevance", e.relevance},
                        {"share", e.share}});
  Json detections = Json::array();
  for (std::size_t q = 0; q < r.detections.size(); ++q)
    detections.push_back(
        {{"pattern", rules.patterns[q]}, {"auc", r.detections[q].auc}, {"located", r.detections[q].located}});
  json["accuracy"] = r.accuracy;
  json["score"] = r.score;
  json["to_bias"] = r.to_bias;
  json["evidence"] = evidence;
  json["detections"] = detections;
  if (!o.json) {
    std::printf("accuracy %.4f  mean score %.3f = relevance %.3f + biases %.3f\n", r.accuracy, r.score,
                r.score - r.to_bias, r.to_bias);
    std::printf("%-28s %10s %6s %9s %7s %10s %6s\n", "evidence", "activation", "fired", "accuracy", "score",
                "relevance", "share");
    for (const EvidenceReport& e : r.evidence)
      std::printf("%-28s %10.3f %6.2f %+9.4f %+7.3f %+10.3f %6.3f\n", e.name.c_str(), e.activation, e.fired, e.effect,
                  e.logit_effect, e.relevance, e.share);
    for (std::size_t q = 0; q < r.detections.size(); ++q)
      std::printf("%-28s found in the right images: area %.4f; at the right place: %.3f\n", rules.patterns[q].c_str(),
                  r.detections[q].auc, r.detections[q].located);
  }
}

// Why rules spoke on single images: likewise.
void explain_images(const Options& o, const Model& model, const RuleBase& rules, const Engine& engine, Json& json) {
  const Inputs in = read_images(model, o.input);
  const std::vector<real> scores = predict(model, engine, in.images);
  const auto classes = static_cast<std::size_t>(model.classes());
  Json images = Json::array();
  for (std::int32_t n = 0; n < in.images.shape.n(); ++n) {
    const auto k = static_cast<std::size_t>(n);
    const auto row = scores.begin() + static_cast<std::ptrdiff_t>(k * classes);
    const int best = static_cast<int>(std::max_element(row, row + static_cast<std::ptrdiff_t>(classes)) - row);
    const TensorView one = in.images.view().images(n, 1);
    const auto proofs = prove(model, engine, rules, {one.shape, {one.data, one.data + one.size()}});
    Json list = Json::array();
    for (const ProofNode& p : proofs) list.push_back(to_json(p));
    images.push_back({{"image", in.names[k]}, {"class", model.class_name(best)}, {"rules", list}});
    if (o.json) continue;
    std::printf("%s: %s, score %.3f\n", in.names[k].c_str(), model.class_name(best).c_str(),
                static_cast<double>(row[best]));
    for (const ProofNode& p : proofs) print(p, 0);
  }
  json["images"] = images;
}

int run(const Options& o) {
  if (o.data.empty() && o.input.empty()) throw Error("name --data, --input or both", Error::usage);
  const Model model = Model::load(o.file);
  const RuleBase rules = rules_of(model);
  const Engine engine = o.engine.open();
  Json json = Json::object();
  if (!o.data.empty()) report(o, model, rules, engine, json);
  if (!o.input.empty()) explain_images(o, model, rules, engine, json);
  if (o.json) std::printf("%s\n", json.dump(2).c_str());
  return 0;
}

}  // namespace

void add_rules_report(CLI::App& app, int& status) {
  auto* const c = app.add_subcommand(
      "renn", "what the rules of a network do: activation, effect, relevance; why they spoke on an image");
  auto o = std::make_shared<Options>();
  c->add_option("FILE", o->file, "model file made by vitrine train renn")->required();
  c->add_option("--data", o->data, "report over the test part of a data set");
  c->add_option("--input", o->input, "pictures or .npy: each rule's proof on each image");
  o->engine.add_to(*c);
  c->add_flag("--json", o->json, "for programs");
  c->callback([o, &status] { status = run(*o); });
}

}  // namespace vitrine::tools
