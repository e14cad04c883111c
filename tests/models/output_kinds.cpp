// What an output is: recognised, said otherwise, stored; targets and scores of one logit, of sigmoids and of classes.
#include <doctest/doctest.h>

#include "interp/runs/feature_maps.h"
#include "layers/activation.h"
#include "layers/add.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/product.h"
#include "layers/softmax.h"
#include "layers/view.h"
#include "models/architectures.h"
#include "models/train/trainer.h"
#include "tests/support/files.h"
#include "tests/support/methods.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("models");

namespace {

using Last = Id (*)(GraphBuilder&, Id);

Id as_it_is(GraphBuilder&, Id x) { return x; }
Id by_sigmoid(GraphBuilder& g, Id x) { return sigmoid(g, x, "p"); }
Id by_softmax(GraphBuilder& g, Id x) { return softmax(g, x, "p"); }
Id by_relu(GraphBuilder& g, Id x) { return relu(g, x, "last"); }

void fill(Model& m) {
  for (const Value& v : m.graph().values)
    for (std::int64_t i = 0; v.kind == ValueKind::parameter && i < v.shape.size(); ++i)
      m.parameters[static_cast<std::size_t>(v.offset + i)] =
          static_cast<real>(0.5 * std::sin(1.7 * static_cast<double>(i) + static_cast<double>(v.offset)));
}

// Without biases, so that LRP conserves.
Model scored(int numbers, Last last) {
  Model m("scored", {1, 2, 4, 4}, [=](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = 5, .kernel = 3, .bias = false}, "conv"), "relu");
    return last(g, linear(g, flatten(g, h, "flatten"), numbers, "fc"));
  });
  fill(m);
  for (const Value& v : m.graph().values)
    if (std::string(v.name) == "fc.bias") std::fill_n(m.parameters.begin() + v.offset, v.shape.size(), real{0});
  return m;
}

Explanation by(const Model& m, const Images& x, const char* method, const Objective& o) {
  ExplainRequest request;
  request.method = method;
  request.objective = o;
  return explain(m, Engine(1), x, request);
}

}  // namespace

TEST_CASE("an output's kind is recognised from its shape and its last op") {
  CHECK(scored(3, &as_it_is).output_kind() == OutputKind::classes);
  CHECK(scored(3, &by_softmax).output_kind() == OutputKind::classes);
  CHECK(scored(1, &as_it_is).output_kind() == OutputKind::logit);
  CHECK(scored(1, &by_sigmoid).output_kind() == OutputKind::logit);
  CHECK(scored(3, &by_sigmoid).output_kind() == OutputKind::sigmoids);
  CHECK(scored(3, &by_relu).output_kind() == OutputKind::regression);
  Model rows("rows", {1, 2, 4, 4}, [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 3, .kernel = 1}, "conv"); });
  CHECK(rows.output_kind() == OutputKind::dense);
  CHECK(scored(3, &as_it_is).output_description() == "3 classes");
  CHECK(scored(1, &by_sigmoid).output_description() == "one logit of two classes");
  // The score before the last activation is what is explained.
  const Model m = scored(1, &by_sigmoid);
  CHECK(std::string(m.graph().values[m.logits()].name) == "fc");
  CHECK(m.final_activation() == "sigmoid");
  CHECK(scored(1, &as_it_is).final_activation().empty());
}

TEST_CASE("another kind can be said where the shape allows it, and is stored") {
  const Folder folder;
  Model m = scored(1, &by_sigmoid);
  m.choose_output_kind(OutputKind::regression);
  CHECK(m.logits() == m.graph().output);  // the number itself is explained
  CHECK(m.class_count() == 0);
  m.save(folder / "m.safetensors");
  CHECK(Model::load(folder / "m.safetensors").output_kind() == OutputKind::regression);
  refused([&] { m.choose_output_kind(OutputKind::dense); }, "cannot be of kind dense");
  Model three = scored(3, &as_it_is);
  refused([&] { three.choose_output_kind(OutputKind::logit); }, "needs one number per image");
  three.choose_output_kind(OutputKind::sigmoids);
  CHECK(three.output_kind() == OutputKind::sigmoids);
}

TEST_CASE("one logit tells two classes apart: both are targets, one the negative of the other") {
  for (const Last last : {&as_it_is, &by_sigmoid}) {
    Model m = scored(1, last);
    CHECK(m.class_count() == 2);
    CHECK(m.class_name(0) == "negative");
    const Images x = some_images({3, 2, 4, 4});
    const Explanation usual = by(m, x, "lrp", {}), positive = by(m, x, "lrp", Objective::parse_target(m, "positive")),
                      negative = by(m, x, "lrp", Objective::parse_target(m, "negative")),
                      zero = by(m, x, "lrp", Objective::parse_target(m, "0"));
    CHECK(usual.relevance == positive.relevance);
    CHECK(zero.relevance == positive.relevance);
    bool signs[2] = {};
    for (std::size_t n = 0; n < 3; ++n) {
      signs[usual.score[n] < 0] = true;
      CHECK(negative.score[n] == -usual.score[n]);
      CHECK(usual.sum(n) == doctest::Approx(usual.score[n]).epsilon(1e-3));
    }
    CHECK((signs[0] && signs[1]));  // on both sides of 1/2
    for (std::size_t i = 0; i < usual.relevance.size(); ++i) CHECK(negative.relevance[i] == -usual.relevance[i]);
    // The predicted class is the one that the logit speaks for.
    const Explanation predicted = by(m, x, "gradient", Objective::parse_target(m, "predicted"));
    for (std::size_t n = 0; n < 3; ++n) CHECK(predicted.target[n] == (usual.score[n] < 0 ? 0 : 1));
    m.class_names = {"cat", "dog"};
    CHECK(by(m, x, "lrp", Objective::parse_target(m, "cat")).relevance == negative.relevance);
    CHECK(by(m, x, "lrp", Objective::parse_target(m, "0")).relevance == negative.relevance);
    refused([&] { by(m, x, "lrp", Objective::parse_target(m, "2")); }, "expected 0 to 1");
    // Guided backprop has nothing against an output activation.
    CHECK(by(m, x, "guided-backprop", {}).relevance.size() == x.data.size());
  }
}

TEST_CASE("the gradient of a probability is that of the score, by the chain rule and by differences") {
  const Images x = some_images({1, 2, 4, 4}, 0.3);
  struct Case {
    int numbers;
    Last last;
    int target;
  };
  for (const Case c :
       {Case{3, &as_it_is, 1}, Case{3, &by_softmax, 2}, Case{3, &by_sigmoid, 1}, Case{1, &by_sigmoid, 0}})
    for (const Score score : {Score::probability, Score::log_odds}) {
      CAPTURE(c.numbers);
      const Model m = scored(c.numbers, c.last);
      const Objective o = Objective::of_class(c.target).with_score(score);
      const auto value = [&](const Images& at) { return by(m, at, "gradient", o).score[0]; };
      const Explanation e = by(m, x, "gradient", o);
      const std::vector<real> y = predict(m, Engine(1), x);
      if (score == Score::probability && c.last != &as_it_is) {
        const double p =
            c.numbers == 1 ? 1 - static_cast<double>(y[0]) : static_cast<double>(y[static_cast<std::size_t>(c.target)]);
        CHECK(e.score[0] == doctest::Approx(p).epsilon(1e-5));
      }
      for (const std::size_t i : {std::size_t{3}, std::size_t{10}, std::size_t{21}}) {
        Images above = x, below = x;
        above.data[i] += 1e-2f;
        below.data[i] -= 1e-2f;
        CHECK(static_cast<double>(e.relevance[i]) ==
              doctest::Approx((value(above) - value(below)) / 2e-2).epsilon(2e-2).scale(1e-2));
      }
      refused([&] { by(m, x, "lrp", o); }, "explain logits alone");
      refused([&] { by(m, x, "deeplift", o); }, "explain logits alone");
    }
  const Model numbers = scored(3, &by_relu);
  refused([&] { by(numbers, x, "gradient", Objective::of_class(0).with_score(Score::probability)); },
          "there is no probability");
}

TEST_CASE("evaluation counts the two classes of one logit, and refuses numbers that are no scores") {
  Model m = scored(1, &by_sigmoid);
  const Images x = some_images({6, 2, 4, 4});
  const std::vector<real> p = predict(m, Engine(1), x);
  std::vector<int> labels;
  double loss = 0;
  for (const real v : p) {
    labels.push_back(v < real{0.5f} ? 0 : 1);
    loss -= std::log(std::max(static_cast<double>(v), 1 - static_cast<double>(v))) / 6;
  }
  const EvalResult all = evaluate(m, Engine(1), DataInMemory(x, labels, 2));
  CHECK(all.accuracy == 1);
  CHECK(all.loss == doctest::Approx(loss).epsilon(1e-4));
  CHECK(all.count.size() == 2);
  labels[0] = 1 - labels[0];
  CHECK(evaluate(m, Engine(1), DataInMemory(x, labels, 2)).accuracy == doctest::Approx(5.0 / 6));
  m.choose_output_kind(OutputKind::regression);
  refused([&] { evaluate(m, Engine(1), DataInMemory(x, labels, 2)); }, "need classes");
}

TEST_CASE("the last feature maps are neither a gate nor a branch") {
  const auto node_of = [](const std::function<Id(GraphBuilder&, Id)>& body) {
    const Model m("maps", {1, 3, 8, 8}, body);
    return std::string(m.graph().nodes[last_feature_maps(m, {}, "cam")].name);
  };
  const auto head = [](GraphBuilder& g, Id h) {
    return linear(g, flatten(g, global_avg_pool(g, h, "gap"), "flatten"), 2, "fc");
  };
  CHECK(node_of([&](GraphBuilder& g, Id x) {
          const Id h = relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv"), "relu");
          const Id gate = sigmoid(g, conv2d(g, h, {.out = 1, .kernel = 1}, "attention"), "gate");
          return head(g, multiply(g, h, gate, 1, "gated"));
        }) == "gated");
  CHECK(node_of([&](GraphBuilder& g, Id x) {
          const Id a = relu(g, conv2d(g, x, {.out = 4, .kernel = 1}, "a"), "relu_a"),
                   b = relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "b"), "relu_b");
          const Id both[] = {a, b};
          return head(g, concat(g, both, "both"));
        }) == "both");
  // Pools behind the last convolution pass its maps on.
  CHECK(node_of([&](GraphBuilder& g, Id x) {
          Id h = relu(g, conv2d(g, x, {.out = 4, .kernel = 3}, "conv"), "relu");
          h = max_pool(g, h, {.kernel = 2}, "pool");
          return linear(g, flatten(g, h, "flatten"), 2, "fc");
        }) == "relu");
  refused([&] { node_of([](GraphBuilder& g, Id x) { return linear(g, flatten(g, x, "flatten"), 2, "fc"); }); },
          "no node of this network has maps");
}

TEST_CASE("LRP says that inputs are outside the box, and that a score is lost in the stabiliser") {
  Model m = scored(3, &as_it_is);
  Images x = some_images({2, 2, 4, 4});
  for (real& v : x.data) v = (v + 1) / 2;
  ExplainRequest request;
  request.method = "lrp";
  request.settings = {{"composite", "epsilon-gamma-box"}};
  CHECK(explain(m, Engine(1), x, request).warnings.empty());
  x.data[40] = 200;
  const Explanation outside = explain(m, Engine(1), x, request);
  REQUIRE(outside.warnings.size() == 1);
  CHECK(outside.warnings[0].find("outside the box of rule z-box, 0 to 1") != std::string::npos);
  request.settings["high"] = "255";
  CHECK(explain(m, Engine(1), x, request).warnings.empty());
  for (real& v : x.data) v *= 1e-9f;
  request.settings = {{"composite", "uniform-epsilon"}};
  const Explanation tiny = explain(m, Engine(1), x, request);
  REQUIRE(!tiny.warnings.empty());
  CHECK(tiny.warnings[0].find("stabiliser") != std::string::npos);
}

TEST_SUITE_END();
