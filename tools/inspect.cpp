#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/host/io/file.h"
#include "core/host/plan_text.h"
#include "interp/rules/deeplift.h"
#include "interp/rules/signal.h"
#include "layers/registry.h"
#include "models/architectures.h"
#include "models/merge.h"
#include "models/train/optimizer.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

void print_plan(const Model& model, const Engine& engine, std::int32_t batch) {
  const Graph& g = model.graph();
  // Inference and explanations run over the network with its batch norms merged.
  const Model merged = merge_batch_norms(model);
  const Graph& small = merged.graph();
  const Id merged_logits = merged.logits(), logits = model.logits();
  PlanRequest request;
  request.graph = &small;
  request.batch = batch;
  request.seeds = {&merged_logits, 1};
  request.constant_parameters = true;
  const auto line = [&](const char* what) {
    Session::with_plan(engine, request, [&](const Plan& p) {
      std::printf("  %-34s %12s  (values and signals %s, scratch %s, prepared weights %s)\n", what,
                  text_of_bytes(p.bytes()).c_str(), text_of_bytes(p.planned_bytes).c_str(),
                  text_of_bytes(p.scratch_bytes).c_str(), text_of_bytes(p.prepared_bytes).c_str());
    });
  };
  std::printf("memory of a run, batch %d, beside %s of parameters:\n", batch,
              text_of_bytes(model.parameters.size() * sizeof(real)).c_str());
  line("inference");
  const GradientRule gradient, training(true);
  std::vector<const Rule*> rules(small.nodes.size(), &gradient);
  request.rules = rules;
  request.until = small.input;
  line("explanation: gradient");
  Assignment assignment(merged);
  assignment.compose({Composite::epsilon_plus, {}});
  request.rules = assignment.rules;
  line("explanation: lrp epsilon-plus");
  rules.assign(g.nodes.size(), &training);
  request.graph = &g;
  request.seeds = {&logits, 1};
  request.rules = rules;
  request.until = no_id;
  request.parameter_gradients = true;
  request.constant_parameters = false;
  OptimizerStep step;
  if (OptimizerStep::within_walk(engine, g)) request.updater = &step;
  line(request.updater != nullptr ? "training step, gradients included" : "training step, without gradients");
  request.recompute = true;
  line("training step with --recompute");
  std::vector<Id> order;
  for (Id v = 0; v < g.values.size(); ++v)
    if (g.values[v].kind == ValueKind::result) order.push_back(v);
  std::stable_sort(order.begin(), order.end(), [&](Id a, Id b) { return g.shape(a).size() > g.shape(b).size(); });
  std::printf("largest values:\n");
  for (std::size_t k = 0; k < std::min<std::size_t>(5, order.size()); ++k)
    std::printf("  %-34s %12s  %s\n", g.values[order[k]].name,
                text_of_bytes(static_cast<std::size_t>(g.shape(order[k]).size() * batch) * sizeof(real)).c_str(),
                text(g.shape(order[k])).c_str());
}

// "(N,3,6,5)": what an array of an input or output looks like.
std::string array_text(const Model& model, Id v) {
  std::string s = "(N";
  const std::vector<std::int64_t> shape = model.array_shape(v, 1);
  for (std::size_t k = 1; k < shape.size(); ++k) s += "," + std::to_string(shape[k]);
  return s + ")";
}

// Inputs and outputs where there is more to say than the first line does.
void print_ends(const Model& model) {
  const Graph& g = model.graph();
  const auto print = [&](const char* what, std::span<const Id> ends, Id main) {
    for (const Id v : ends) {
      std::string name = g.values[v].name;
      for (const auto& [alias, node] : model.aliases)
        if (node == g.values[v].name) name += " = " + alias;
      std::printf("  %s %s %s%s\n", what, name.c_str(), array_text(model, v).c_str(),
                  v == main && ends.size() > 1 ? ", the main one" : "");
    }
  };
  if (g.inputs.size() > 1) print("input", g.inputs, g.input);
  if (g.outputs.size() > 1 || model.dense() || model.ranks.contains(g.values[g.output].name))
    print("output", g.outputs, g.output);
}

// What `inspect --nodes` plans: inference, a walk of one of the methods, or a training step.
class PlannedWalk {
 public:
  static constexpr const char* names[] = {"inference", "gradient", "deconvnet", "guided-backprop",
                                          "lrp",       "deeplift", "training"};

  PlannedWalk(const Model& model, const std::string& name, std::int32_t batch)
      : training_(name == "training"),
        merged_(merge_batch_norms(model)),
        model_(training_ ? model : merged_),
        logits_(model_.logits()),
        assignment_(model_) {
    request.graph = &model_.graph();
    request.batch = batch;
    request.seeds = {&logits_, 1};
    request.constant_parameters = !training_;
    request.reference = name == "deeplift";
    request.parameter_gradients = training_;
    if (name == "inference") return;
    set_rules(name);
    request.rules = assignment_.rules;
    request.until = training_ ? no_id : model_.graph().input;
  }

  PlannedWalk(const PlannedWalk&) = delete;

  PlanRequest request;  ///< points into this object

 private:
  void set_rules(const std::string& name) {
    RuleSet rules(assignment_.arena());
    if (name == "lrp")
      assignment_.compose({Composite::epsilon_plus, {}});
    else if (name == "deeplift")
      assignment_.fill(rules.make<DeepLiftRescale>());
    else if (name == "deconvnet" || name == "guided-backprop")
      assignment_.fill(
          rules.make<RectifyRule>(name == "deconvnet" ? kernels::Rectify::deconvnet : kernels::Rectify::guided, true));
    else
      assignment_.fill(rules.make<GradientRule>(training_));
  }

  bool training_;
  Model merged_;
  const Model& model_;
  Id logits_;
  Assignment assignment_;
};

void print_nodes(const Model& model, const Engine& engine, const std::string& walk, std::int32_t batch,
                 const std::string& chart) {
  const PlannedWalk planned(model, walk, batch);
  Session::with_plan(engine, planned.request, [&](const Plan& plan) {
    std::printf("plan of %s, batch %d: %s\n%s\n%s", walk.c_str(), batch, text_of_bytes(plan.bytes()).c_str(),
                node_table(plan, ways_of(engine, plan)).c_str(), memory_picture(plan).c_str());
    if (chart.empty()) return;
    const std::string svg = memory_chart(plan);
    io::AtomicFile file(chart);
    file.write(svg.data(), svg.size());
    file.commit();
  });
}

void print_graph(const Model& model) {
  const Graph& g = model.graph();
  std::printf("%s: %zu ops, %lld parameters, input %s, %s\n", model.architecture.c_str(), g.nodes.size(),
              static_cast<long long>(model.parameter_count()), text(model.image_shape()).c_str(),
              model.output_description().c_str());
  const std::string last = model.final_activation();
  std::printf("  output kind: %s%s\n", name(model.output_kind()),
              last.empty() ? "" : (", after " + last + "; its logits are " + g.values[model.logits()].name).c_str());
  print_ends(model);
  for (const auto& [key, value] : model.notes) std::printf("  %s: %s\n", key.c_str(), value.c_str());
  std::printf("%-20s %-18s %-10s %-20s %12s  %s\n", "node", "op", "class", "output", "parameters", "reads");
  for (const Node& node : g.nodes) {
    std::int64_t parameters = 0;
    for (const Id p : node.par) parameters += g.shape(p).size();
    std::string reads;
    for (const Id v : node.in) reads += (reads.empty() ? "" : ", ") + std::string(g.values[v].name);
    std::printf("%-20s %-18s %-10s %-20s %12lld  %s\n", node.name, node.op->name(), name(node.op->op_class()),
                text(g.shape(node.out)).c_str(), static_cast<long long>(parameters), reads.c_str());
  }
}

nlohmann::json settings_json(std::span<const Setting> settings) {
  constexpr const char* kinds[] = {"integer", "number", "numbers", "choice", "text"};
  nlohmann::json list = nlohmann::json::array();
  for (const Setting& s : settings) {
    nlohmann::json j = {{"name", s.name}, {"kind", kinds[s.kind]}, {"default", s.initial}, {"meaning", s.meaning}};
    if (s.choices[0] != '\0') j["choices"] = s.choices;
    list.push_back(j);
  }
  return list;
}

void print_settings(std::span<const Setting> settings) {
  for (const Setting& s : settings) {
    std::printf("    %-15s %s", s.name, s.meaning);
    if (s.choices[0] != '\0') std::printf(": %s", s.choices);
    if (s.initial[0] != '\0') std::printf(" [%s]", s.initial);
    std::printf("\n");
  }
}

template <class Print, class Json>
void add_list(CLI::App& app, int& status, const char* name, const char* about, Print print, Json json) {
  auto* const c = app.add_subcommand(name, about);
  auto as_json = std::make_shared<bool>(false);
  c->add_flag("--json", *as_json, "for programs");
  c->callback([as_json, &status, print, json] {
    if (*as_json)
      std::printf("%s\n", json().dump(1).c_str());
    else
      print();
    status = 0;
  });
}

void print_card(const Card& c) {
  std::printf("%-22s %s [%s]%s%s%s\n", c.name, c.summary, c.reference, c.takes_baseline ? " --baseline" : "",
              c.takes_rules ? " --rule" : "", c.takes_ledger ? " --ledger" : "");
  std::printf("    forward runs: %s; walks: %s\n", c.forward_calls, c.backward_calls);
  print_settings(c.settings);
}

nlohmann::json card_json(const Card& c) {
  return {{"name", c.name},
          {"method", c.name},
          {"summary", c.summary},
          {"reference", c.reference},
          {"source", c.reference},
          {"survey_aspect", name(c.aspect)},
          {"stage", name(c.stage)},
          {"lipton", c.lipton},
          {"gilpin", name(c.of)},
          {"scope", name(c.scope)},
          {"model_agnostic", c.model_agnostic},
          {"needs_training", c.needs_training},
          {"needs_labels", name(c.needs_labels)},
          {"axioms",
           {{"completeness", c.promises.completeness},
            {"sensitivity", c.promises.sensitivity},
            {"implementation_invariance", c.promises.implementation_invariance},
            {"class_sensitivity", c.promises.class_sensitivity}}},
          {"forward_calls", c.forward_calls},
          {"backward_calls", c.backward_calls},
          {"output_type", c.output},
          {"faithfulness_metric", c.faithfulness_metric},
          {"baseline", c.takes_baseline},
          {"rules", c.takes_rules},
          {"ledger", c.takes_ledger},
          {"settings", settings_json(c.settings)}};
}

nlohmann::json cards_json(bool studies) {
  nlohmann::json list = nlohmann::json::array();
  for (const MethodEntry* const e : method_entries())
    if ((e->study != nullptr) == studies) list.push_back(card_json(e->card));
  return list;
}

void print_rules() {
  for (const RuleEntry& e : rule_entries()) {
    std::printf("%-22s %s [%s]\n", e.name, e.summary, e.source);
    print_settings(e.settings);
  }
  std::printf(
      "\ncomposites of method lrp (--set composite=NAME; --composite NAME prints one as a file to start from):\n");
  for (const Composite* c : named_composites) std::printf("%-26s %s [%s]\n", c->name, c->summary, c->source);
  std::printf("%-26s %s [%s]\n", "uniform-RULE", Composite::uniform.summary, Composite::uniform.source);
  std::printf("\nclasses of ops in composites, beside the names of `vitrine layers`:\n");
  for (const OpWord& w : op_words()) std::printf("%-22s %s\n", w.name, w.meaning);
}

nlohmann::json rules_json() {
  nlohmann::json list = nlohmann::json::array();
  for (const RuleEntry& e : rule_entries())
    list.push_back(
        {{"name", e.name}, {"summary", e.summary}, {"source", e.source}, {"settings", settings_json(e.settings)}});
  return list;
}

void add_rules(CLI::App& app, int& status) {
  struct RulesOptions {
    bool json = false;
    std::string composite;
  };
  auto* const c = app.add_subcommand("rules", "rules for single nodes (--rule), composites, and their settings");
  auto o = std::make_shared<RulesOptions>();
  c->add_flag("--json", o->json, "for programs");
  c->add_option("--composite", o->composite, "print this composite as JSON, as explain --composite takes it");
  c->callback([o, &status] {
    if (!o->composite.empty())
      std::printf("%s", composite_json(o->composite).c_str());
    else if (o->json)
      std::printf("%s\n", rules_json().dump(1).c_str());
    else
      print_rules();
    status = 0;
  });
}

}  // namespace

void add_inspect(CLI::App& app, int& status) {
  struct InspectOptions {
    std::string file;
    bool plan = false;
    int batch = 1;
    bool nodes = false;
    std::string walk = "inference", chart;
    EngineOptions engine;
  };
  auto* const c = app.add_subcommand("inspect", "a model's ops, shapes and parameters");
  auto o = std::make_shared<InspectOptions>();
  c->add_option("FILE", o->file, "model file")->required();
  c->add_flag("--plan", o->plan, "memory for inference, explanation and training, and the largest values");
  c->add_option("--batch", o->batch, "batch size of the plan")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  auto* const nodes = c->add_flag("--nodes", o->nodes, "the plan node by node, and memory against time");
  c->add_option("--walk", o->walk, "what --nodes plans: inference, a method's walk or a training step")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(PlannedWalk::names), std::end(PlannedWalk::names))))
      ->needs(nodes);
  c->add_option("--chart", o->chart, "memory against time as an SVG file")->needs(nodes);
  o->engine.add_to(*c);
  c->callback([o, &status] {
    const Model model = Model::load(o->file);
    print_graph(model);
    if (o->plan) print_plan(model, o->engine.open(), o->batch);
    if (o->nodes) print_nodes(model, o->engine.open(), o->walk, o->batch, o->chart);
    status = 0;
  });
}

void add_lists(CLI::App& app, int& status) {
  add_list(
      app, status, "methods", "explanation methods and their settings",
      [] {
        for (const MethodEntry* const e : method_entries())
          if (e->attribution != nullptr) print_card(e->card);
      },
      [] { return cards_json(false); });
  add_list(
      app, status, "studies", "studies of networks and data, and their settings",
      [] {
        for (const MethodEntry* const e : method_entries())
          if (e->study != nullptr) print_card(e->card);
      },
      [] { return cards_json(true); });
  add_rules(app, status);
  add_list(
      app, status, "models", "architectures that `train` knows",
      [] {
        for (const Architecture& a : architectures())
          std::printf("%-16s %12lld  %s; usually %s, %d classes\n", a.name, static_cast<long long>(a.parameters),
                      a.summary, text(a.usual).c_str(), a.usual_classes);
      },
      [] {
        nlohmann::json list = nlohmann::json::array();
        for (const Architecture& a : architectures())
          list.push_back({{"name", a.name},
                          {"summary", a.summary},
                          {"input", {a.usual.c(), a.usual.h(), a.usual.w()}},
                          {"classes", a.usual_classes},
                          {"parameters", a.parameters}});
        return list;
      });
  add_list(
      app, status, "layers", "ops that networks are made of",
      [] {
        for (const OpEntry& e : op_entries()) std::printf("%-22s %s\n", e.name, e.summary);
      },
      [] {
        nlohmann::json list = nlohmann::json::array();
        for (const OpEntry& e : op_entries()) list.push_back({{"name", e.name}, {"summary", e.summary}});
        return list;
      });
}

}  // namespace vitrine::tools
