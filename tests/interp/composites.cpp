// Composites as files: what is printed gives the same bits when it is read again; entries, settings, and refusals.
#include <cmath>

#include "interp/predict/explain.h"
#include "layers/activation.h"
#include "layers/add.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/softmax.h"
#include "layers/view.h"
#include "tests/support/files.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

Model small_net(bool with_softmax = false) {
  return Model("small", {1, 2, 8, 8}, [=](GraphBuilder& g, Id x) {
    Id h = relu(g, batch_norm(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv1"), "bn1"), "relu1");
    h = relu(g, add(g, conv2d(g, h, {.out = 4, .kernel = 3, .padding = 1}, "conv2"), h, "add"), "relu2");
    h = avg_pool(g, max_pool(g, h, {.kernel = 2}, "pool1"), {.kernel = 2}, "pool2");
    h = linear(g, relu(g, linear(g, flatten(g, h, "flatten"), 6, "fc1"), "relu3"), 3, "fc2");
    return with_softmax ? softmax(g, h, "probabilities") : h;
  });
}

Images some_images() {
  Images x{{2, 2, 8, 8}, std::vector<real>(2 * 2 * 64)};
  for (std::size_t i = 0; i < x.data.size(); ++i) x.data[i] = static_cast<real>(std::sin(1.7 * static_cast<double>(i)));
  return x;
}

// Explains with composites from text, in a folder of their own.
struct Explained {
  test::Folder folder;
  Model model;
  Images x = some_images();

  explicit Explained(bool with_softmax = false) : model(small_net(with_softmax)) {
    for (std::size_t i = 0; i < model.parameters.size(); ++i)
      model.parameters[i] = static_cast<real>(0.4 * std::cos(2.3 * static_cast<double>(i)) + 0.05);
    for (const Value& v : model.graph().values)
      if (std::string(v.name) == "bn1.running_var" || std::string(v.name) == "bn1.weight")
        std::fill_n(model.parameters.begin() + v.offset, v.shape.size(), real(1.5));
  }
  Explanation by(const std::string& json, std::map<std::string, std::string> settings = {}) {
    const std::string path = folder / "c.json";
    test::write(path, json);
    ExplainRequest request;
    request.method = "lrp";
    request.settings = std::move(settings);
    request.composite = read_composite(path);
    request.ledger = true;
    return explain(model, Engine(1), x, request);
  }
  Explanation named(std::map<std::string, std::string> settings) {
    ExplainRequest request;
    request.method = "lrp";
    request.settings = std::move(settings);
    request.ledger = true;
    return explain(model, Engine(1), x, request);
  }
};

std::string with_entries(const std::string& entries) {
  return R"({"schema": "vitrine-composite/1", "name": "mine", "entries": [)" + entries +
         R"(], "otherwise": {"rule": "norm"}})";
}

std::string rule_at(const Explanation& e, const std::string& node) {
  for (const LedgerRow& row : e.ledger)
    if (row.node == node) return row.rule;
  return "no row";
}

}  // namespace

TEST_CASE("a built-in composite that is printed and read again gives the same bits") {
  Explained e;
  std::vector<std::string> names;
  for (const Composite* c : named_composites) names.push_back(c->name);
  for (const char* rule : lrp_names)
    if (std::string(rule) != "z-box") names.push_back(std::string("uniform-") + rule);
  for (const std::string& name : names)
    for (const char* batch_norm : {"merge", "keep"}) {
      CAPTURE(name);
      const Explanation a = e.named({{"composite", name}, {"batch-norm", batch_norm}, {"epsilon", "0.1"}}),
                        b = e.by(composite_json(name), {{"batch-norm", batch_norm}, {"epsilon", "0.1"}});
      CHECK(a.relevance == b.relevance);
      REQUIRE(a.ledger.size() == b.ledger.size());
      for (std::size_t i = 0; i < a.ledger.size(); ++i) CHECK(a.ledger[i].rule == b.ledger[i].rule);
    }
  CHECK(e.named({{"composite", "uniform-zero"}}).relevance == e.named({{"composite", "uniform-lrp-0"}}).relevance);
  test::refused([] { composite_json("best"); }, "expected one of epsilon-plus");
}

TEST_CASE("a file's entries: the first that a node meets; its settings before those of the method") {
  Explained e;
  const Explanation a = e.by(with_entries(R"({"nodes": "fc2", "rule": "epsilon", "settings": {"epsilon": 0.5}},
      {"first": true, "rule": "z-box", "settings": {"low": [-1, -2], "high": [2, 2]}},
      {"ops": "spatial", "rule": "gamma", "settings": {"stabiliser": 0.01, "stabilise": "clip", "bias": "dropped"}},
      {"ops": "linear", "rule": "epsilon"},
      {"nodes": "*", "ops": "pointwise|route|view", "rule": "pass"})"),
                             {{"epsilon", "0.25"}});
  CHECK(rule_at(a, "conv1") == "z-box");
  CHECK(rule_at(a, "conv2") == "gamma");
  CHECK(rule_at(a, "fc1") == "epsilon");
  CHECK(rule_at(a, "pool2") == "norm");
  CHECK(rule_at(a, "pool1") == "pass");
  // The same by --rule.
  ExplainRequest request;
  request.method = "lrp";
  request.settings = {{"epsilon", "0.25"}};
  request.ledger = true;
  for (const char* rule : {"conv1=z-box:low=-1;-2,high=2;2",
                           "conv2=gamma:stabilizer=0.01,stabiliser-form=clip,bias=dropped", "fc2=epsilon:epsilon=0.5"})
    request.rules.push_back(parse_rule_choice(rule));
  CHECK(explain(e.model, Engine(1), e.x, request).relevance == a.relevance);
}

TEST_CASE("alpha and beta of an entry come before those of the method") {
  Explained e;
  const auto entry = [&](const std::string& settings) {
    return with_entries(R"({"ops": "weighted", "rule": "alpha-beta")" + settings + "}");
  };
  const Explanation own = e.by(entry(R"(, "settings": {"alpha": 3, "beta": 2})"), {{"alpha", "1"}}),
                    method = e.by(entry(""), {{"alpha", "3"}}), other = e.by(entry(""), {{"alpha", "1"}});
  CHECK(own.relevance == method.relevance);
  CHECK(own.relevance != other.relevance);
}

TEST_CASE("a setting by its older name") {
  Explained e;
  const std::map<std::string, std::string> now = {{"stabiliser", "0.1"}, {"stabiliser-form", "clip"}},
                                           before = {{"stabilizer", "0.1"}, {"stabilise", "clip"}};
  CHECK(e.named(now).relevance == e.named(before).relevance);
  CHECK(e.named(now).relevance != e.named({}).relevance);
  test::refused([&] { e.named({{"stabilizer", "0.1"}, {"stabiliser", "0.1"}}); }, "'stabiliser' is set twice");
  test::refused([&] { e.named({{"stabilizer", "x"}}); }, "stabiliser=x");
}

TEST_CASE("composites that are refused, by file, entry and key") {
  Explained e;
  const auto refused = [&](const std::string& json, const std::string& word) {
    CAPTURE(json);
    test::refused([&] { e.by(json); }, word);
    test::refused([&] { e.by(json); }, "c.json");
  };
  refused("{", "is no JSON");
  refused("[]", "expected an object");
  refused(R"({"schema": "vitrine-composite/2"})", "expected \"vitrine-composite/1\"");
  refused(R"({"schema": "vitrine-composite/1", "name": "a", "otherwise": {"rule": "pass"}})", "'entries' is missing");
  refused(R"({"schema": "vitrine-composite/1", "name": "a", "entries": []})", "'otherwise' is missing");
  refused(R"({"schema": "vitrine-composite/1", "name": 3, "entries": [], "otherwise": {"rule": "norm"}})", "'name'");
  refused(with_entries(R"({"node": "conv1", "rule": "pass"})"), "entry 1: unknown key 'node'");
  refused(with_entries(R"({"ops": "dense", "rule": "epsilon"}, {"ops": "dense", "rule": "magic"})"),
          "entry 2: unknown rule 'magic'");
  refused(with_entries(R"({"ops": "dense", "rule": "rescale"})"), "entry 1: rule rescale carries multipliers");
  refused(with_entries(R"({"ops": "dense|convulsion", "rule": "epsilon"})"), "'convulsion'");
  refused(with_entries(R"({"rule": "epsilon"})"), "has no condition");
  refused(with_entries(R"({"ops": "dense"})"), "'rule' is missing");
  refused(with_entries(R"({"first": 1, "rule": "flat"})"), "'first' is a JSON number");
  refused(with_entries(R"({"ops": ["dense"], "rule": "flat"})"), "'ops' is a JSON array");
  refused(with_entries(R"({"ops": "dense", "rule": "gamma", "settings": {"epsilon": 1}})"),
          "entry 1: rule gamma has no setting 'epsilon'");
  refused(with_entries(R"({"ops": "dense", "rule": "gamma", "settings": {"gamma": -1}})"), "gamma=-1");
  refused(with_entries(R"({"ops": "dense", "rule": "gamma", "settings": {"gamma": true}})"), "setting 'gamma'");
  refused(with_entries(R"({"ops": "dense", "rule": "alpha-beta", "settings": {"alpha": 3, "beta": 1}})"),
          "entry 1: rule alpha-beta needs alpha - beta = 1");
  refused(with_entries(R"({"first": true, "rule": "z-box", "settings": {"low": 1, "high": 0}})"),
          "low of at most high");
  refused(with_entries(R"({"nodes": "conv7", "rule": "flat"})"), "entry 1: nodes 'conv7' matches no node");
  refused(with_entries(R"({"nodes": "bn1", "rule": "pass"})"), "part of node 'conv1'");
  refused(with_entries(R"({"nodes": "*2", "rule": "flat"})"), "entry 1: rule flat at pool2");
  test::refused([&] { e.by(composite_json("epsilon-plus"), {{"composite", "epsilon-plus"}}); }, "expected one of them");
  test::refused([] { read_composite("/nowhere/c.json"); }, "/nowhere/c.json");
  ExplainRequest request;
  request.composite = read_composite(e.folder / "c.json");
  test::refused([&] { explain(e.model, Engine(1), e.x, request); }, "takes no --composite");
}

TEST_CASE("what is behind the logits needs no rule") {
  Explained e(true);
  CHECK(e.by(composite_json("epsilon-plus")).relevance == e.named({}).relevance);
}

TEST_CASE("an assignment has room for every node's rule") {
  const Model deep("deep", {1, 1, 1, 1}, [](GraphBuilder& g, Id x) {
    for (int i = 0; i < 1024; ++i) x = relu(g, x);
    return x;
  });
  Assignment a(deep);
  CHECK(a.arena().capacity() >= (std::size_t{1} << 20) + 1024 * deep.graph().nodes.size());
}

TEST_SUITE_END();
