// ONNX files in and out: every operator in every form against onnxruntime (tests/golden/make_operators.py made the
// files), and that what is damaged, lies or is not supported is one sentence.
#ifdef VITRINE_HAVE_ONNX
#include "models/onnx/onnx.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/host/io/safetensors.h"
#include "interp/predict/explain.h"
#include "models/data/inputs.h"
#include "tests/support/files.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("io");

namespace {

const std::string golden = VITRINE_SOURCE_ROOT "/tests/golden/operators/",
                  several = VITRINE_SOURCE_ROOT "/tests/golden/several/";

// An input as the file takes it, as the network does.
Images images_of(const Model& model, const io::TensorEntry& t) {
  Images x{model.image_shape().with_batch(static_cast<std::int32_t>(t.shape[0])), {}};
  const std::vector<float> v = t.floats();
  x.data.assign(v.begin(), v.end());
  if (model.preparation.nhwc) x.data = data::moved(x.data, x.shape.n(), x.shape, true);
  return x;
}

void equal(const std::vector<real>& found, const std::vector<float>& expected, double tolerance) {
  REQUIRE(found.size() == expected.size());
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    difference = std::max(difference, std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i])));
  }
  CHECK(largest > 0);
  CHECK(difference <= tolerance * largest);
}

Model import_string(const std::string& bytes) {
  return onnx::import_bytes(std::as_bytes(std::span(bytes)), "bytes.onnx", "");
}

}  // namespace

TEST_CASE("operators of opsets 7 to 21 give what onnxruntime gives; exported, they come back the same") {
  const Folder folder;
  const Engine engine(1);
  const io::Safetensors cases(golden + "cases.safetensors");
  int count = 0;
  for (const io::TensorEntry& input : cases.tensors()) {
    if (!input.name.ends_with(".input")) continue;
    const std::string name = input.name.substr(0, input.name.size() - 6);
    CAPTURE(name);
    const Model model = onnx::import_file(golden + name + ".onnx");
    const Images x = images_of(model, input);
    const std::vector<real> y = predict(model, engine, x);
    equal(y, cases.tensor(name + ".output").floats(), 1e-5);

    onnx::export_file(model, folder / "out.onnx");
    const Model again = onnx::import_file(folder / "out.onnx");
    CHECK(again.preparation.nhwc == model.preparation.nhwc);
    equal(predict(again, engine, x), {y.begin(), y.end()}, 1e-6);
    model.save(folder / "out.safetensors");
    CHECK(predict(Model::load(folder / "out.safetensors"), engine, x) == y);
    ++count;
  }
  CHECK(count > 80);
}

TEST_CASE("everything that a file has and Vitrine has not is said at once, with names") {
  try {
    (void)onnx::import_file(golden + "refused/several.onnx");
    FAIL("was accepted");
  } catch (const Error& e) {
    const std::string said = e.what();
    for (const char* node :
         {"recurrent",     "error",      "t3",         "branch",          "training",    "statistics",
          "unequal",       "other-rank", "ranks",      "more-dimensions", "column-bias", "mixes",
          "reversed",      "no-value",   "two-bounds", "dynamic-weight",  "no-weight",   "no-input",
          "batch-slice",   "long-split", "no-step",    "over-batch",      "huge-kernel", "both-small",
          "hidden",        "attention",  "volume",     "outside",         "choice",      "blocks",
          "batch-repeated"})
      CHECK_MESSAGE(said.find("node '" + std::string(node) + "' (") != std::string::npos, node << " in " << said);
    CHECK(said.find("(Relu)") == std::string::npos);  // what hangs on a problem is none of its own
    // But operators that are not supported are named wherever they are, Einsum behind GRU, too.
    CHECK(said.find("not supported: Einsum, Erf, GRU, If, LSTM, NonZero") != std::string::npos);
    CHECK(said.find("'attention' (MatMul) multiplies two tensors of the network, as attention") != std::string::npos);
    CHECK(said.find("'volume' (Conv) is a 3-D convolution") != std::string::npos);
  }
}

TEST_CASE("files that lie are one sentence each") {
  const std::pair<const char*, const char*> expected[] = {{"batch-norm-7", "spatial 0"},
                                                          {"cycle", "the nodes form a cycle"},
                                                          {"deep", "no ONNX model"},
                                                          {"dims-huge", "impossible shape"},
                                                          {"dims-many", "9 dimensions"},
                                                          {"dims-negative", "impossible shape"},
                                                          {"dims-other", "192 bytes, expected 240"},
                                                          {"dims-overflow", "impossible shape"},
                                                          {"dynamic-size", "dimension 2 is dynamic"},
                                                          {"gather-by-floats", "'picked' (Gather)"},
                                                          {"growing", "more constants"},
                                                          {"infinite", "'fc.weight' is not finite"},
                                                          {"large", "'fill' (ConstantOfShape) makes more constants"},
                                                          {"large-pads", "2^40 elements"},
                                                          {"large-scale", "size of 1073741824"},
                                                          {"large-windows", "'MaxPool_0' (MaxPool)"},
                                                          {"no-elements", "'empty' (Conv)"},
                                                          {"no-output", "has no output"},
                                                          {"no-outputs-of-node", "'fc' without an output"},
                                                          {"nul-name", "no text"},
                                                          {"opset-5", "opset 5"},
                                                          {"opset-absent", "opset 0"},
                                                          {"output-input", "output 'x' that is its input"},
                                                          {"output-unmade", "'nowhere'"},
                                                          {"parts-unequal", "'rows' (Concat)"},
                                                          {"twice-made", "there already"},
                                                          {"twice-stored", "two initializers called 'w'"},
                                                          {"type", "element type 8"}};
  for (const auto& [name, word] : expected) {
    const std::string file = golden + "refused/" + name + ".onnx";
    CAPTURE(file);
    refused([&] { (void)onnx::import_file(file); }, word);
  }
}

namespace {

// What a session makes of every output, as the file has them: by name "NAME/out/OUTPUT".
void outputs_equal(const Model& model, const io::Safetensors& cases, const std::string& name) {
  const Engine engine(1);
  const Graph& g = model.graph();
  PlanRequest request;
  request.graph = &g;
  request.batch = 3;
  request.keep_values = g.outputs;
  Session session(engine, request, model.parameters);
  Images main;
  std::vector<GivenInput> given;
  for (std::size_t k = 0; k < g.inputs.size(); ++k) {
    const io::TensorEntry& t = cases.tensor(name + "/in/" + (g.inputs.size() > 1 ? g.values[g.inputs[k]].name : "x"));
    if (g.inputs[k] == g.input) {
      main = images_of(model, t);
      continue;
    }
    const std::vector<float> v = t.floats();
    const Shape& s = g.shape(g.inputs[k]);
    given.push_back({k, {s.with_batch(3), model.preparation.nhwc ? data::moved(v, 3, s, true) : v}});
  }
  Given(model, given).give(session, 0, 3);
  session.forward(main.view());
  int count = 0;
  for (const io::TensorEntry& t : cases.tensors()) {
    if (!t.name.starts_with(name + "/out/")) continue;
    const std::string output = t.name.substr(name.size() + 5);
    if (name == "two_by_two" && output == "copy") continue;
    CAPTURE(output);
    const Id v = model.output(output);
    const HostTensor y = session.peek(session.run().value(v));
    const std::vector<std::int64_t> shape = model.array_shape(v, 3);
    std::vector<real> values(y.data, y.data + y.size());
    if (model.preparation.nhwc) values = data::moved(values, 3, g.shape(v), false);
    CHECK(shape == t.shape);
    equal(values, t.floats(), 1e-5);
    ++count;
  }
  CHECK(count == static_cast<int>(g.outputs.size()));
}

}  // namespace

TEST_CASE(
    "several inputs and outputs, dense outputs, single logits give what onnxruntime gives, and come back the same") {
  const Folder folder;
  const io::Safetensors cases(several + "cases.safetensors");
  for (const char* name : {"two_by_two", "unet", "one_logit", "sequence", "channels_last", "two_channels_last"}) {
    CAPTURE(std::string(name));
    const Model model = onnx::import_file(several + name + ".onnx");
    outputs_equal(model, cases, name);
    model.save(folder / "out.safetensors");
    CHECK(model_to_json(Model::load(folder / "out.safetensors")) == model_to_json(model));
    onnx::export_file(model, folder / "out.onnx");
    const Model again = onnx::import_file(folder / "out.onnx");
    CHECK(again.graph().inputs.size() == model.graph().inputs.size());
    REQUIRE(again.graph().outputs.size() == model.graph().outputs.size());
    CHECK(again.preparation.nhwc == model.preparation.nhwc);
    for (std::size_t k = 0; k < model.graph().outputs.size(); ++k) {
      const Id a = model.graph().outputs[k], b = again.graph().outputs[k];
      CHECK(again.array_shape(b, 2) == model.array_shape(a, 2));
    }
  }
}

TEST_CASE("which inputs and outputs a file's network has: the first are the main ones unless others are named") {
  const std::string file = several + "two_by_two.onnx";
  const Model model = onnx::import_file(file);
  const Graph& g = model.graph();
  REQUIRE(g.inputs.size() == 2);
  CHECK(std::string(g.values[g.input].name) == "image");
  CHECK(std::string(g.values[g.inputs[1]].name) == "side.values");
  CHECK(g.output == model.output("scores"));
  CHECK(model.classes() == 4);
  REQUIRE(model.notes.size() == 1);
  CHECK(model.notes[0].first == "left out");
  CHECK(model.notes[0].second ==
        "input 'extra' (no node reads it); output 'label' (holds no floats); output 'copy' (the same as 'scores')");
  for (const Node& node : g.nodes) CHECK(std::string(node.name).find("ArgMax") == std::string::npos);

  onnx::ImportOptions options;
  options.input = "side.values", options.output = "code";
  const Model other = onnx::import_file(file, options);
  CHECK(std::string(other.graph().values[other.graph().input].name) == "side.values");
  CHECK(other.graph().output == other.output("code"));
  CHECK(other.classes() == 5);
  CHECK(other.graph().outputs.size() == 2);
  options.output = "copy";
  CHECK(onnx::import_file(file, options).classes() == 4);
  options.output = "label";
  refused([&] { onnx::import_file(file, options); }, "output 'label' of whole numbers");
  options.output = "h1";
  refused([&] { onnx::import_file(file, options); },
          "has no output 'h1': its outputs are 'scores', 'code', 'copy', 'label'");
  options = {};
  options.input = "extra";
  refused([&] { onnx::import_file(file, options); }, "has no input 'extra': its inputs are 'image', 'side.values'");

  const Model dense = onnx::import_file(several + "channels_last.onnx");
  CHECK(dense.preparation.nhwc);
  CHECK(dense.dense());
  CHECK(dense.classes() == 3);
  CHECK(dense.graph().shape(dense.output("mask")) == Shape{1, 2, 4, 5});
}

TEST_CASE("inputs and outputs that no network can have are one sentence each") {
  const std::pair<const char*, const char*> expected[] = {
      {"labels", "has an output 'label' of whole numbers or truth values"},
      {"batches", "has an input 'y' with a batch of 2, but another with one of 1"},
      {"dynamic", "has an input 'y' whose dimension 1 is dynamic: give its size (vitrine import --input y=C,H,W)"},
      {"twice", "has two inputs called 'x'"},
      {"five", "has an output 'z' that has 5 dimensions, expected 1 to 4"}};
  for (const auto& [name, word] : expected) {
    const std::string file = several + "refused-" + name + ".onnx";
    CAPTURE(file);
    refused([&] { (void)onnx::import_file(file); }, word);
  }
  onnx::ImportOptions options;
  options.images["y"] = {1, 2, 1, 1};
  CHECK(onnx::import_file(several + "refused-dynamic.onnx", options).graph().inputs.size() == 2);
  options.images["y"] = {1, 3, 1, 1};
  refused([&] { onnx::import_file(several + "refused-dynamic.onnx", options); }, "'Add_0'");
}

TEST_CASE("external data comes from beside the file and from nowhere else") {
  const Folder folder;
  const auto copy = [&](const std::string& name) {
    write(folder / "model/" + name, read(golden + "refused/" + name + ".onnx"));
    return folder / "model/" + name;
  };
  std::filesystem::create_directory(folder / "model");
  std::string data;
  for (int k = 0; k < 64; ++k) {
    const auto v = static_cast<float>(k);
    data.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  write(folder / "model/weights.bin", data);
  write(folder / "weights.bin", data);
  std::filesystem::create_symlink("../weights.bin", folder / "model/link.bin");

  const auto parameter = [](const Model& m, std::size_t k) { return m.parameters[k]; };
  CHECK(parameter(onnx::import_file(copy("external")), 1) == 4);  // element (0,1) of a (12,4) matrix, transposed
  CHECK(parameter(onnx::import_file(copy("external-offset")), 1) == 16 + 4);
  const std::pair<const char*, const char*> expected[] = {
      {"external-absolute", "expected a file beside the model"},
      {"external-parent", "leaves the model's folder"},
      {"external-inside-parent", "leaves the model's folder"},
      {"external-link", "leaves the model's folder"},
      {"external-missing", "cannot be found"},
      {"external-folder", "folder"},
      {"external-late", "has 256 bytes, expected 192 from 9999999999999 on"},
      {"external-length", "191 bytes, expected 192"},
      {"external-text", "offset of 'a'"}};
  for (const auto& [name, word] : expected) {
    const std::string file = copy(name);
    CAPTURE(file);
    refused([&] { (void)onnx::import_file(file); }, word);
  }
  std::filesystem::resize_file(folder / "model/weights.bin", 191);
  refused([&] { (void)onnx::import_file(copy("external")); }, "has 191 bytes, expected 192");
  refused([&] { (void)import_string(read(golden + "refused/external.onnx")); }, "no folder to look for it in");
}

TEST_CASE("files cut short or with flipped bits are a network or a sentence") {
  for (const char* name : {"conv", "reshape-computed-15", "split-18", "weight-types", "gelu", "resize-10",
                           "../several/two_by_two", "../several/one_logit", "../several/channels_last"}) {
    CAPTURE(std::string(name));
    const std::string whole = read(golden + name + ".onnx");
    REQUIRE(!whole.empty());
    (void)import_string(whole);
    const auto survive = [](const std::string& bytes) {
      try {
        (void)model_to_json(import_string(bytes));
      } catch (const Error&) {
      }
    };
    for (std::size_t n = 0; n < whole.size(); n += 3) survive(whole.substr(0, n));
    for (std::size_t n = 0; n < whole.size(); ++n) {
      std::string damaged = whole;
      damaged[n] = static_cast<char>(damaged[n] ^ (1 << (n * 7 % 8)));
      survive(damaged);
    }
  }
}

TEST_SUITE_END();
#endif
