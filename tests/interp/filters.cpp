// Interpretable filters in a model: where the layer goes, training with the filter loss, and metrics on planted
// filters.
#include <doctest/doctest.h>

#include <cmath>

#include "interp/predict/explain.h"
#include "interp/space/filter_metrics.h"
#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "models/architectures.h"
#include "models/inside/interpretable.h"
#include "models/rewrite.h"
#include "tests/support/files.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

Images images(Shape shape) {
  Images x{shape, std::vector<real>(static_cast<std::size_t>(shape.size()))};
  for (std::size_t i = 0; i < x.data.size(); ++i) x.data[i] = static_cast<real>(std::sin(0.7 * static_cast<double>(i)));
  return x;
}

// Class 0 shows a red square, class 1 a green one, at any place; a blue square beside either is no part.
class Squares final : public data::Dataset {
 public:
  std::int64_t size() const override { return 60; }
  Shape image_shape() const override { return {1, 3, 32, 32}; }
  int classes() const override { return 2; }
  int label(std::int64_t i) const override { return static_cast<int>(i % 2); }
  std::vector<std::string> part_names() const override { return {"background", "red", "green"}; }
  std::vector<std::string> point_names() const override { return {"red", "green", "red.corner"}; }
  std::vector<data::PointLabel> points(std::int64_t i) const override {
    return {{label(i), static_cast<float>(x(i)) + 4, static_cast<float>(y(i)) + 4},
            {2, static_cast<float>(x(i)), static_cast<float>(y(i))}};
  }
  void image(std::int64_t i, float* chw) const override {
    for (int c = 0; c < 3; ++c)
      for (int p = 0; p < 1024; ++p)
        chw[c * 1024 + p] =
            (c == label(i) && inside(i, p)) || (c == 2 && p / 32 < 4 && p % 32 < (i % 7) * 4) ? 1.0f : 0.0f;
  }
  bool masks(std::int64_t i, std::uint8_t* object, std::uint8_t* parts) const override {
    for (int p = 0; p < 1024; ++p) {
      object[p] = inside(i, p);
      parts[p] = static_cast<std::uint8_t>(inside(i, p) ? 1 + label(i) : 0);
    }
    return true;
  }

 private:
  static int x(std::int64_t i) { return static_cast<int>(2 + 4 * (i * 5 % 6)); }
  static int y(std::int64_t i) { return static_cast<int>(10 + 4 * (i * 7 % 4)); }
  static bool inside(std::int64_t i, int p) {
    return p % 32 >= x(i) && p % 32 < x(i) + 8 && p / 32 >= y(i) && p / 32 < y(i) + 8;
  }
};

// Filters that see red, green, blue, and one that sees nothing, on an 8 x 8 grid.
Model colour_net() {
  Model m("colours", {1, 3, 32, 32}, [](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = 4, .kernel = 8, .stride = 4, .padding = 2}, "conv"), "relu");
    return linear(g, flatten(g, global_avg_pool(g, h, "gap"), "flatten"), 2, "fc");
  });
  for (const Value& v : m.graph().values)
    if (std::string(v.name) == "conv.weight")
      for (int f = 0; f < 3; ++f)
        for (int p = 0; p < 64; ++p)
          m.parameters[static_cast<std::size_t>(v.offset + (f * 3 + f) * 64 + p)] = real{1} / 64;
  return m;
}

class Parts final : public data::Dataset {  // the same images, of which nothing is told
 public:
  std::int64_t size() const override { return of_.size(); }
  Shape image_shape() const override { return of_.image_shape(); }
  int classes() const override { return 2; }
  int label(std::int64_t i) const override { return of_.label(i); }
  void image(std::int64_t i, float* chw) const override { of_.image(i, chw); }

 private:
  Squares of_;
};

}  // namespace

TEST_CASE("a layer is put between a node and all its readers, and nothing else changes" *
          doctest::test_suite("models")) {
  for (const char* name : {"lenet5", "cnn6", "resnet-mini"}) {
    const Shape image = std::string(name) == "lenet5" ? Shape{1, 1, 28, 28} : Shape{1, 3, 32, 32};
    const Model model = make_model(name, image, 4, 1);
    for (const Node& node : model.graph().nodes) {
      if (!matches("relu", node.op->name())) continue;
      CAPTURE(std::string(node.name));
      const Model same = insert_after(model, node.name, 5, [](GraphBuilder& g, Id x) { return relu(g, x, "again"); });
      CHECK(same.graph().nodes.size() == model.graph().nodes.size() + 1);
      CHECK(predict(same, Engine(1), images(image.with_batch(2))) ==
            predict(model, Engine(1), images(image.with_batch(2))));
      if (model.graph().shape(node.out).pixels() == 1) continue;
      InterpretableOptions o;
      o.nodes = {node.name};
      const Model gated = with_interpretable_filters(model, o, 1);
      CHECK(predict(gated, Engine(1), images(image.with_batch(2))) !=
            predict(model, Engine(1), images(image.with_batch(2))));
    }
    // At the output, and by names that are not there.
    const std::string last = model.graph().nodes.back().name;
    CHECK(insert_after(model, last, 1, [](GraphBuilder& g, Id x) { return relu(g, x, "end"); }).graph().nodes.size() ==
          model.graph().nodes.size() + 1);
    test::refused([&] { insert_after(model, "nowhere", 1, [](GraphBuilder&, Id x) { return x; }); }, "nowhere");
    InterpretableOptions vector;
    vector.nodes = {last};
    test::refused([&] { with_interpretable_filters(model, vector, 1); }, "expected a node with height and width");
  }
}

TEST_CASE("networks with interpretable filters train, resume, save and explain like any other" *
          doctest::test_suite("training")) {
  const test::Folder folder;
  const auto data = data::open_for_training("partshapes:kind3,size=32,train=30,test=12,samples=1");
  const auto make = [&](const InterpretableOptions& o) {
    return with_interpretable_filters(make_model("cnn6", data.train->image_shape(), 3, 1), o, 1);
  };
  for (const bool paper : {false, true}) {
    CAPTURE(paper);
    InterpretableOptions o;
    o.nodes = {"relu5", "relu6+conv"};
    o.loss.released = !paper;
    o.loss.learn_slopes = !paper;
    o.centroid = !paper;
    TrainOptions t;
    t.epochs = 2;
    t.batch = 8;
    t.out = folder / "whole.safetensors";
    const Job never;
    Model whole = make(o);
    const Model before = make(o);
    FilterTraining filters(Engine(1), whole, *data.train, o, t.batch);
    t.hook = &filters;
    train(whole, Engine(1), data, t, {}, never);

    // The state moved, and is in the file.
    const auto state = [](const Model& m, const char* name) {
      for (const Value& v : m.graph().values)
        if (std::string(v.name) == name)
          return std::vector<real>(m.parameters.begin() + v.offset, m.parameters.begin() + v.offset + v.shape.size());
      return std::vector<real>();
    };
    const Model loaded = Model::load(t.out);
    CHECK(loaded.parameters == whole.parameters);
    CHECK(state(whole, "relu5.interpretable.statistics") != state(before, "relu5.interpretable.statistics"));
    CHECK((state(whole, "relu5.interpretable.slope") != state(before, "relu5.interpretable.slope")) == !paper);
    for (const real c : state(whole, "relu6.interpretable.category")) CHECK((c == 0 || c == 1 || c == 2));
    const Images x = images(data.test->image_shape().with_batch(2));
    CHECK(predict(loaded, Engine(1), x) == predict(whole, Engine(1), x));

    // The filter loss did something: without it the weights are others.
    InterpretableOptions none = o;
    none.weight = 0;
    Model gates = make(none);
    FilterTraining still(Engine(1), gates, *data.train, none, t.batch);
    t.hook = &still;
    t.out = folder / "gates.safetensors";
    train(gates, Engine(1), data, t, {}, never);
    CHECK(state(gates, "conv5.weight") != state(whole, "conv5.weight"));

    Model part = make(o);
    FilterTraining first(Engine(1), part, *data.train, o, t.batch);
    t.hook = &first;
    t.out = folder / "part.safetensors";
    bool stop = false;
    int steps = 0;
    train(
        part, Engine(2), data, t, [&](const TrainProgress&) { stop = ++steps == 6; }, Job({}, [&] { return stop; }));
    Model again = make(o);
    FilterTraining second(Engine(1), again, *data.train, o, t.batch);
    t.hook = &second;
    t.resume = true;
    train(again, Engine(2), data, t, {}, never);
    CHECK(again.parameters == whole.parameters);
    // Another weight is another run.
    o.weight = 0.7;
    FilterTraining other(Engine(1), again, *data.train, o, t.batch);
    CHECK(other.describe() != second.describe());

    for (const char* method : {"gradient", "lrp", "deeplift", "guided-backprop", "integrated-gradients"}) {
      CAPTURE(std::string(method));
      ExplainRequest request;
      request.method = method;
      request.objective = Objective::of_class(1);
      const Explanation e = explain(whole, Engine(1), x, request);
      double total = 0, size = 0, expected = 0;
      for (const real r : e.relevance) total += static_cast<double>(r), size += std::abs(static_cast<double>(r));
      CHECK(size > 0);
      if (std::string(method) != "deeplift") continue;
      for (std::size_t n = 0; n < 2; ++n) expected += e.score[n] - e.baseline_score[n];
      CHECK(std::abs(total - expected) < 1e-4 * size);
    }
  }
}

TEST_CASE("filter training refuses networks and data that do not fit") {
  const auto data = data::open_for_training("partshapes:kind3,size=32,train=3,test=3,samples=1");
  const Model plain = make_model("cnn6", data.train->image_shape(), 3, 1);
  test::refused([&] { FilterTraining(Engine(1), plain, *data.train, {}, 4); }, "no layer of interpretable filters");
  InterpretableOptions o;
  o.nodes = {"relu6"};
  const Model wider = with_interpretable_filters(make_model("cnn6", data.train->image_shape(), 5, 1), o, 1);
  test::refused([&] { FilterTraining(Engine(1), wider, *data.train, o, 4); }, "knows 5 classes, but the data has 3");
  test::refused([&] { with_interpretable_filters(plain, {}, 1); }, "need a node");
}

TEST_CASE("metrics of filters: planted detectors, and one that sees nothing") {
  const Model model = colour_net();
  const Squares data;
  FilterMetricsOptions o;
  o.radius = 4.5;
  o.quantile = 0.984;  // one of the 64 places of a map
  const Engine engine(1);
  Subject subject(model, engine, &data);
  const FilterReport r = measure_filters(subject, "relu", o);
  REQUIRE(r.filters.size() == 4);
  for (int f = 0; f < 2; ++f) {
    const FilterMetrics& m = r.filters[static_cast<std::size_t>(f)];
    CHECK(m.category == f);
    CHECK(m.selectivity == 1);
    CHECK(m.part == (f == 0 ? "red" : "green"));
    CHECK(m.interpretability == 1);
    CHECK(m.instability == doctest::Approx(0).epsilon(1e-6));  // the peak's distance to the square is always the same
  }
  CHECK(r.filters[2].interpretability < 0.2);  // blue is no part
  CHECK(r.filters[2].instability > 0.1);
  CHECK(r.filters[3].category == -1);
  CHECK(r.dead == 1);
  CHECK(r.one_part == doctest::Approx(2.0 / 3));

  const auto regions = filter_regions(subject, "relu", 3, o);
  CHECK(regions[3].empty());
  REQUIRE(regions[0].size() == 3);
  for (const FilterRegion& region : regions[0]) {
    const auto point = data.points(region.image)[0];
    CHECK(std::hypot(region.x - point.x, region.y - point.y) < 0.01f);
    CHECK(region.peak == doctest::Approx(1));
  }
}

TEST_CASE("metrics refuse data without parts and nodes without places") {
  const Model model = colour_net();
  const Engine engine(1);
  const Parts parts;
  const Squares squares;
  Subject without(model, engine, &parts), with(model, engine, &squares);
  test::refused([&] { measure_filters(without, "relu"); }, "tells no parts");
  test::refused([&] { measure_filters(with, "fc"); }, "expected maps");
  test::refused([&] { measure_filters(with, "nowhere"); }, "nowhere");
  const Job stopped({}, [] { return true; });
  test::refused([&] { measure_filters(with, "relu", {}, stopped); }, "stopped");
}

TEST_SUITE_END();
