// Models with several inputs and outputs: files, choices, rewriting, what is given.
#include <nlohmann/json.hpp>

#include "interp/predict/explain.h"
#include "models/given.h"
#include "models/merge.h"
#include "models/train/trainer.h"
#include "tests/models/planted.h"
#include "tests/support/files.h"
#include "tests/support/several_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("models");

namespace {

Model make(void (*body)(GraphBuilder&)) {
  Model m("several", body);
  for (const Value& v : m.graph().values)
    if (v.kind == ValueKind::parameter) {
      const Values own = random_values(v.shape.size(), static_cast<std::uint64_t>(v.offset), 0.4);
      std::copy(own.begin(), own.end(), m.parameters.begin() + v.offset);
    }
  return m;
}

Images random_images(const Shape& image, std::int32_t n, std::uint64_t seed) {
  return {image.with_batch(n), random_values(image.with_batch(n).size(), seed)};
}

std::vector<real> outputs(const Model& m, const Images& x, const Given& given, Id value) {
  const Engine engine(1);
  PlanRequest request;
  request.graph = &m.graph();
  request.batch = x.shape.n();
  request.keep_values = {&value, 1};
  Session session(engine, request, m.parameters);
  given.check_images(m, x.shape.n());
  given.give(session, 0, x.shape.n());
  session.forward(x.view());
  const HostTensor y = session.peek(session.run().value(value));
  return {y.data, y.data + y.size()};
}

}  // namespace

TEST_CASE("model files keep all inputs and outputs, and which of them are the main ones") {
  const Folder folder;
  const std::string path = folder / "m.safetensors";
  for (const SeveralNet& named : several_nets) {
    CAPTURE(std::string(named.name));
    Model m = make(named.body);
    for (std::size_t in = 0; in < m.graph().inputs.size(); ++in)
      for (std::size_t out = 0; out < m.graph().outputs.size(); ++out) {
        m.select_input(m.graph().values[m.graph().inputs[in]].name);
        m.select_output(m.graph().values[m.graph().outputs[out]].name);
        m.save(path);
        const Model back = Model::load(path);
        CHECK(model_to_json(back) == model_to_json(m));
        CHECK(back.parameters == m.parameters);
        CHECK(back.graph().input_index(back.graph().input) == in);
        CHECK(back.graph().outputs[out] == back.graph().output);
        CHECK(back.image_shape() == m.image_shape());
      }
  }
  const Model unet = make(unet_net);
  CHECK(unet.dense());
  CHECK(unet.classes() == 3);
  CHECK(unet.array_shape(unet.graph().output, 2) == std::vector<std::int64_t>{2, 3, 8, 6});
  Model logit = make(one_logit_net);
  CHECK(logit.array_shape(logit.graph().output, 2) == std::vector<std::int64_t>{2, 1});
  logit.ranks["logit"] = 1;
  logit.save(path);
  CHECK(Model::load(path).array_shape(logit.graph().output, 2) == std::vector<std::int64_t>{2});
}

TEST_CASE("a model of one input and one output is written as it always was") {
  const auto json = nlohmann::ordered_json::parse(model_to_json(make(one_logit_net)));
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  CHECK(keys == std::vector<std::string>{"format", "input", "output", "nodes", "frozen", "architecture", "preparation",
                                         "classes", "notes"});
  CHECK(json["input"].dump() == "[2,6,6]");
  CHECK(json["output"] == "logit");
}

TEST_CASE("damaged descriptions of inputs and outputs are refused in one sentence") {
  const Model m = make(two_by_two_net);
  const auto shape_of = [&](const std::string& name, std::vector<std::int64_t>& shape) {
    for (const Value& v : m.graph().values)
      if (name == v.name) shape = file_shape(v);
    return !shape.empty();
  };
  const auto bad = [&](const std::function<void(nlohmann::json&)>& damage, const std::string& word) {
    auto json = nlohmann::json::parse(model_to_json(m));
    damage(json);
    refused([&] { model_from_json(json.dump(), "m.json", shape_of); }, word);
    refused([&] { model_from_json(json.dump(), "m.json", shape_of); }, "m.json: ");
  };
  using Json = nlohmann::json;
  bad([](Json& j) { j["inputs"] = 3; }, "'inputs' is no list");
  bad([](Json& j) { j["inputs"] = Json::array(); }, "no earlier node makes");
  bad([](Json& j) { j["inputs"][1]["name"] = "image"; }, "image: is the name of an input and another value");
  bad([](Json& j) { j["inputs"][1]["name"] = "conv1"; }, "conv1: is the name of an input and another value");
  bad([](Json& j) { j["inputs"][1]["name"] = 4; }, "malformed");
  bad([](Json& j) { j["inputs"][1]["shape"] = {3, 1}; }, "field 'inputs' has 2 sizes");
  bad([](Json& j) { j["inputs"][1]["shape"] = {3, 1, -1}; }, "field 'inputs' has a size of -1");
  bad([](Json& j) { j["inputs"][1].erase("shape"); }, "malformed");
  bad([](Json& j) { j["input"] = {3, 6, 5}; }, "the main input has (1,2,6,5)");
  bad([](Json& j) { j["main_input"] = "side"; }, "the main input has (1,3,1,1)");
  bad([](Json& j) { j["main_input"] = "conv1"; }, "no input is called 'conv1': the inputs are image, side");
  bad([](Json& j) { j["output"] = "gate"; }, "its output 'gate' is not among its outputs");
  bad([](Json& j) { j["outputs"].push_back("image"); }, "must be the result of a node");
  bad([](Json& j) { j["outputs"].push_back("conv1.weight"); }, "must be the result of a node");
  bad([](Json& j) { j["outputs"].push_back("nowhere"); }, "its output 'nowhere' is no node");
  bad([](Json& j) { j["outputs"].push_back("code"); }, "code: is an output twice");
  bad([](Json& j) { j["ranks"] = {{"scores", 1}}; }, "'scores' 1 dimensions, expected 2 to 4");
  bad([](Json& j) { j["ranks"] = {{"scores", 5}}; }, "expected 2 to 4");
  bad([](Json& j) { j["ranks"] = {{"conv1", 4}}; }, "'conv1', which is no input or output");
  bad([](Json& j) { j["ranks"] = 3; }, "malformed");
}

TEST_CASE("inputs and outputs are chosen by name; what fitted the old choice alone goes") {
  Model m = make(two_by_two_net);
  m.aliases.emplace_back("features", "code");
  m.class_names = {"a", "b", "c", "d"};
  m.preparation = {{1, 2}, {1, 1}};
  m.select_output("scores");
  m.select_input("image");
  CHECK(m.class_names.size() == 4);
  CHECK(m.preparation.mean.size() == 2);
  m.select_output("features");
  m.select_input("side");
  CHECK(std::string(m.graph().values[m.graph().output].name) == "code");
  CHECK(m.classes() == 5);
  CHECK(m.class_names.empty());
  CHECK(m.preparation.mean.empty());
  CHECK(m.image_shape() == Shape{1, 3});
  refused([&] { m.select_output("relu1"); }, "no output is called 'relu1': the outputs are scores, code (features)");
  refused([&] { m.select_input("code"); }, "no input is called 'code': the inputs are image, side");
}

TEST_CASE("given values follow their images: one for all, one for each, an image several times") {
  const Model m = make(two_by_two_net);
  const Graph& g = m.graph();
  const Images x = random_images(g.shape(g.inputs[0]), 3, 1), side = random_images(g.shape(g.inputs[1]), 3, 2);
  const std::vector<real> y = outputs(m, x, Given(m, {{1, side}}), g.output);
  // One by one.
  for (std::int32_t n = 0; n < 3; ++n) {
    const Images one{x.shape.with_batch(1), {x.data.begin() + n * 60, x.data.begin() + (n + 1) * 60}},
        its{side.shape.with_batch(1), {side.data.begin() + n * 3, side.data.begin() + (n + 1) * 3}};
    const std::vector<real> alone = outputs(m, one, Given(m, {{1, its}}), g.output);
    CHECK(difference(alone, {y.begin() + n * 4, y.begin() + (n + 1) * 4}) < 1e-5);
    // Given once, it holds for all.
    const std::vector<real> all = outputs(m, x, Given(m, {{1, its}}), g.output);
    CHECK(difference(alone, {all.begin() + n * 4, all.begin() + (n + 1) * 4}) < 1e-5);
  }
  // Rows in any order, from the side of the other input.
  Model turned = make(two_by_two_net);
  turned.select_input("side");
  const Engine engine(1);
  PlanRequest request;
  request.graph = &turned.graph();
  request.batch = 4;
  Session session(engine, request, turned.parameters);
  const Given given(turned, {{0, x}});
  const std::int32_t rows[] = {2, 0, 0, 1};
  given.give(session, rows);
  std::vector<real> moved;
  for (const std::int32_t row : rows)
    moved.insert(moved.end(), side.data.begin() + row * 3, side.data.begin() + (row + 1) * 3);
  session.forward({moved.data(), {4, 3}});
  const HostTensor out = session.peek(session.run().value(turned.graph().output));
  for (int k = 0; k < 4; ++k)
    CHECK(difference({out.data + k * 4, out.data + (k + 1) * 4},
                     {y.begin() + rows[k] * 4, y.begin() + rows[k] * 4 + 4}) < 1e-5);
}

TEST_CASE("what is given and does not fit is refused by the input's name") {
  const Model m = make(two_by_two_net);
  const Images side = random_images({1, 3}, 2, 2);
  refused([&] { Given(m, {}); }, "input 'side' is not given: the network takes 2 inputs");
  refused([&] { Given(m, {{1, side}, {1, side}}); }, "input 'side' is given twice");
  refused([&] { Given(m, {{0, random_images(m.image_shape(), 1, 1)}}); }, "input 'image' is the main one");
  refused([&] { Given(m, {{2, side}}); }, "input 2 is given, but the network has 2 inputs");
  refused(
      [&] {
        Given(m, {{1, random_images({1, 4}, 2, 1)}});
      },
      "input 'side' has shape (2,4,1,1), but the network takes (N,3,1,1)");
  Images bad = side;
  bad.data[4] = NAN;
  refused([&] { Given(m, {{1, bad}}); }, "input 'side' is not finite at element 4");
  refused([&] { Given(m, {{1, side}}).check_images(m, 3); }, "input 'side' has 2 values, expected 1 or 3");
  CHECK(Given().empty());
  Given(make(unet_net), {}).check_images(m, 3);
}

TEST_CASE("training and evaluation refuse networks that are no classifiers of one input") {
  const Engine engine(1);
  const data::TrainTest data = data::open_for_training("partshapes:kind3,train=2,test=2,size=32");
  const Job stop;
  Model two = make(two_by_two_net), unet = make(unet_net);
  refused([&] { (void)evaluate(two, engine, *data.test); }, "the network has 2 inputs: training and evaluation take");
  refused([&] { (void)evaluate(unet, engine, *data.test); },
          "output has shape (N,3,8,6): training and evaluation take");
  refused([&] { (void)train(two, engine, data, {}, {}, stop); }, "the network has 2 inputs");
}

TEST_CASE("merging batch norms keeps inputs, outputs and the choice among them") {
  Model m("normed", [](GraphBuilder& g) {
    const Id a = g.input({1, 2, 5, 5}, "a"), b = g.input({1, 2, 5, 5}, "b");
    const Id left = batch_norm(g, conv2d(g, a, {.out = 3, .kernel = 3}, "conv_a"), "norm_a");
    const Id right = conv2d(g, b, {.out = 3, .kernel = 3}, "conv_b");
    g.output(add(g, relu(g, left, "relu"), batch_norm(g, right, "norm_b"), "sum"));
    g.output(right);  // so its norm stays
    g.output(left);
  });
  m.parameters = random_values(static_cast<std::int64_t>(m.parameters.size()), 9, 0.4);
  for (const Value& v : m.graph().values)
    if (std::string(v.name).ends_with(".running_var"))
      for (std::int64_t k = 0; k < v.shape.size(); ++k) m.parameters[static_cast<std::size_t>(v.offset + k)] = 0.7f;
  m.select_input("b");
  m.select_output("norm_a");
  m.ranks["norm_a"] = 4;
  const Model merged = merge_batch_norms(m);
  CHECK(merged.graph().nodes.size() == m.graph().nodes.size() - 1);
  CHECK(std::string(merged.graph().values[merged.graph().input].name) == "b");
  CHECK(std::string(merged.graph().values[merged.graph().output].name) == "conv_a");
  CHECK(merged.ranks == std::map<std::string, int>{{"conv_a", 4}});
  const Images a = random_images({1, 2, 5, 5}, 2, 1), b = random_images({1, 2, 5, 5}, 2, 2);
  for (std::size_t k = 0; k < 3; ++k)
    CHECK(difference(outputs(merged, b, Given(merged, {{0, a}}), merged.graph().outputs[k]),
                     outputs(m, b, Given(m, {{0, a}}), m.graph().outputs[k])) < 1e-5);
}

TEST_SUITE_END();
