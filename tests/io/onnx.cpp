// ONNX files in and out: every operator in every form against onnxruntime (tests/golden/make_operators.py made the
// files), and that what is damaged, lies or is not supported is one sentence.
#ifdef VITRINE_HAVE_ONNX
#include "models/onnx/onnx.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/host/io/safetensors.h"
#include "interp/predict/explain.h"
#include "tests/support/files.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("io");

namespace {

const std::string golden = VITRINE_SOURCE_ROOT "/tests/golden/operators/";

// An input as the file takes it, as the network does.
Images images_of(const Model& model, const io::TensorEntry& t) {
  Images x{model.image_shape().with_batch(static_cast<std::int32_t>(t.shape[0])), {}};
  const std::vector<float> v = t.floats();
  x.data.assign(v.begin(), v.end());
  if (!model.preparation.nhwc) return x;
  const auto channels = static_cast<std::size_t>(x.shape.c()), pixels = static_cast<std::size_t>(x.shape.pixels());
  for (std::size_t i = 0; i < v.size(); ++i) {
    const std::size_t image = i / (channels * pixels), pixel = i / channels % pixels, channel = i % channels;
    x.data[(image * channels + channel) * pixels + pixel] = static_cast<real>(v[i]);
  }
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

TEST_CASE("operators of opsets 7 to 20 give what onnxruntime gives; exported, they come back the same") {
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
    for (const char* node : {"recurrent",   "mirror",         "slopes",      "error",        "inverse",
                             "cubic",       "over-maps",      "t8",          "branch",       "training",
                             "statistics",  "unequal",        "other-rank",  "along-height", "more-dimensions",
                             "column-bias", "ranks",          "mixes",       "reversed",     "no-value",
                             "two-bounds",  "dynamic-weight", "no-weight",   "no-input",     "batch-slice",
                             "long-split",  "no-step",        "over-batch",  "huge-kernel",  "spread",
                             "both-small",  "small",          "batch-alone", "cube"})
      CHECK_MESSAGE(said.find("node '" + std::string(node) + "' (") != std::string::npos, node << " in " << said);
    CHECK(said.find("(Relu)") == std::string::npos);  // what hangs on a problem is none of its own
  }
}

TEST_CASE("files that lie are one sentence each") {
  const std::pair<const char*, const char*> expected[] = {{"batch-norm-7", "spatial 0"},
                                                          {"cycle", "'flat' reads 'y', which no earlier node makes"},
                                                          {"deep", "no ONNX model"},
                                                          {"dims-huge", "impossible shape"},
                                                          {"dims-many", "9 dimensions"},
                                                          {"dims-negative", "impossible shape"},
                                                          {"dims-other", "192 bytes, expected 240"},
                                                          {"dims-overflow", "impossible shape"},
                                                          {"dynamic-size", "dimension 2 is dynamic"},
                                                          {"forward", "which no earlier node makes"},
                                                          {"gather-by-floats", "'picked' (Gather)"},
                                                          {"growing", "more constants"},
                                                          {"infinite", "'fc.weight' is not finite"},
                                                          {"large", "'fill' (ConstantOfShape) makes more constants"},
                                                          {"large-pads", "too large"},
                                                          {"large-scale", "size of 1073741824"},
                                                          {"large-windows", "'MaxPool_0' (MaxPool)"},
                                                          {"no-elements", "'empty' (Conv)"},
                                                          {"no-output", "has no output"},
                                                          {"no-outputs-of-node", "'fc' without an output"},
                                                          {"nul-name", "no text"},
                                                          {"opset-6", "opset 6"},
                                                          {"opset-absent", "opset 0"},
                                                          {"output-input", "output that is its input"},
                                                          {"output-maps", "(N,3,2,2), expected a vector"},
                                                          {"output-unmade", "'nowhere'"},
                                                          {"parts-unequal", "'rows' (Concat)"},
                                                          {"twice-made", "there already"},
                                                          {"twice-stored", "two initializers called 'w'"},
                                                          {"two-inputs", "several inputs ('x', 'x2')"},
                                                          {"type", "element type 8"}};
  for (const auto& [name, word] : expected) {
    const std::string file = golden + "refused/" + name + ".onnx";
    CAPTURE(file);
    refused([&] { (void)onnx::import_file(file); }, word);
  }
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
  for (const char* name : {"conv", "reshape-computed-15", "split-18", "weight-types", "gelu", "resize-10"}) {
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
