// Real networks with real weights and real data, which lie beside the project in ../shared and are no part of it.
// Without them the program ends with 77, which Meson counts as skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>

#include "core/host/io/image.h"
#include "core/host/io/npy.h"
#include "interp/predict/explain.h"
#include "models/data/inputs.h"
#include "models/prepare.h"
#include "models/state_dict.h"
#include "models/train/trainer.h"

using namespace vitrine;

namespace {

const std::string root = VITRINE_SOURCE_ROOT "/../shared";

std::vector<float> stored(const std::string& path) { return io::read_npy(root + path).floats(); }

// The first n test images of a data set, prepared.
Images first_images(const Model& model, const std::string& spec, std::int32_t n) {
  const auto data = data::open_for_evaluation(spec);
  Images x{model.image_shape().with_batch(n),
           std::vector<real>(static_cast<std::size_t>(n * model.image_shape().size()))};
  for (std::int32_t i = 0; i < n; ++i) {
    float* const image = x.data.data() + i * model.image_shape().size();
    data->image(i, image);
    prepare(model.preparation, model.image_shape(), image);
  }
  return x;
}

double largest_difference(const std::vector<real>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double d = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    d = std::max(d, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return d;
}

void set(Model& m, std::vector<float> mean, std::vector<float> std, float scale, bool bgr = false) {
  for (float& v : mean) v /= scale;
  for (float& v : std) v /= scale;
  m.preparation.mean = std::move(mean);
  m.preparation.std = std::move(std);
  m.preparation.bgr = bgr;
}

double accuracy(const Model& m, const std::string& spec) {
  return evaluate(m, Engine(),
                  *data::open_for_evaluation(
                      spec, {m.image_shape().h(), m.image_shape().w(), m.preparation.resize, m.image_shape().c()}))
      .accuracy;
}

const std::string cifar = "cifar10:" + root + "/data/cifar10";

}  // namespace

TEST_CASE("ResNet-20 with published weights: 91.98 % and the stored logits") {
  Model m = import_state_dict(root + "/models_data/resnet20_cifar10/resnet20.safetensors", {"resnet20", {}, {}});
  set(m, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}, 1);
  CHECK(largest_difference(predict(m, Engine(), first_images(m, cifar, 64)),
                           stored("/models_data/resnet20_cifar10/test_logits.npy")) < 1e-4);
  CHECK(accuracy(m, cifar) == doctest::Approx(4599.0 / 5000).epsilon(1e-9));
}

TEST_CASE("MLPerf Tiny ResNet-8: 87.36 % and the stored logits") {
  Model m =
      import_state_dict(root + "/models_data/mlperf_tiny_resnet8_cifar10/resnet8.safetensors", {"resnet8", {}, {}});
  set(m, {0, 0, 0}, {1, 1, 1}, 255);
  CHECK(largest_difference(predict(m, Engine(), first_images(m, cifar, 64)),
                           stored("/models_data/mlperf_tiny_resnet8_cifar10/test_logits.npy")) < 1e-3);
  CHECK(accuracy(m, cifar) == doctest::Approx(4368.0 / 5000).epsilon(1e-9));
}

TEST_CASE("SampLeNet as a state dict: 75.30 %") {
  Model m = import_state_dict(root + "/models_data/samplenet_cifar10/samplenet_rgb.safetensors",
                              {"lenet5", Shape{1, 3, 32, 32}, {}});
  set(m, {125.307f, 122.961f, 113.8575f}, {51.5865f, 50.847f, 51.255f}, 255);
  CHECK(largest_difference(predict(m, Engine(), first_images(m, cifar, 64)),
                           stored("/models_data/samplenet_cifar10/test_logits.npy")) < 1e-4);
  CHECK(accuracy(m, cifar) == doctest::Approx(3765.0 / 5000).epsilon(1e-9));
}

#ifdef VITRINE_HAVE_ONNX
TEST_CASE("SampLeNet from ONNX takes blue, green, red: 75.30 %") {
  Model m = Model::load(root + "/models_data/samplenet_cifar10/samplenet_bgr.onnx");
  set(m, {113.8575f, 122.961f, 125.307f}, {51.255f, 50.847f, 51.5865f}, 255, true);
  CHECK(largest_difference(predict(m, Engine(), first_images(m, cifar, 64)),
                           stored("/models_data/samplenet_cifar10/test_logits.npy")) < 1e-4);
  CHECK(accuracy(m, cifar) == doctest::Approx(3765.0 / 5000).epsilon(1e-9));
}

TEST_CASE("CNTK's MNIST network: 98.90 % and the stored logits") {
  Model m = Model::load(root + "/models_data/mnist_cnn_onnx/mnist.onnx");
  const io::NpyArray x = io::read_npy(root + "/models_data/mnist_cnn_onnx/test_input.npy");
  const std::vector<float> values = x.floats();
  CHECK(largest_difference(predict(m, Engine(), {{32, 1, 28, 28}, {values.begin(), values.end()}}),
                           stored("/models_data/mnist_cnn_onnx/test_logits.npy")) < 1e-4);
  set(m, {0}, {1}, 1);
  CHECK(accuracy(m, "mnist:" + root + "/data/mnist") == doctest::Approx(0.9890).epsilon(1e-9));
}

TEST_CASE("one logit, several outputs, a dense output, a length: what ONNX Runtime gives") {
  struct Case {
    const char *folder, *output;
  };
  for (const Case& c : {Case{"1_sigmoid_binary", ""}, Case{"3_several_outputs", "12"}, Case{"4_map_output", ""},
                        Case{"11_conv1d", ""}}) {
    CAPTURE(std::string(c.folder));
    const std::string folder = std::string("/cases/") + c.folder;
    if (!std::filesystem::is_directory(root + folder)) {
      MESSAGE("skipped: " << root + folder << " is not here");
      continue;
    }
    Model m = Model::load(root + folder + "/model.onnx");
    if (c.output[0] != '\0') m.select_output(c.output);
    const std::string x[] = {root + folder + "/x.npy"};
    CHECK(largest_difference(predict(m, Engine(), data::read_inputs(m, x).images),
                             stored(folder + "/right_output.npy")) < 1e-6);
  }
}

TEST_CASE("SqueezeNet 1.1 in half precision: the stored logits, and the shared pictures") {
  Model m = Model::load(root + "/models_data/squeezenet1_1_imagenet/SqueezeNet_fp16.onnx");
  set(m, {103.94f, 116.78f, 123.68f}, {1, 1, 1}, 255, true);
  m.preparation.resize = 256;
  const char* const names[] = {"n01580077_jay",          "n01796340_ptarmigan",  "n02088364_beagle",
                               "n02165105_tiger_beetle", "n03016953_chiffonier", "n03792782_mountain_bike",
                               "n04285008_sports_car",   "n07714990_broccoli"};
  Images x{m.image_shape().with_batch(8), std::vector<real>(8 * static_cast<std::size_t>(m.image_shape().size()))};
  for (std::size_t k = 0; k < 8; ++k)
    prepare(m.preparation,
            io::read_image(root + "/models_data/squeezenet1_1_imagenet/test_images/" + names[k] + ".png", 3),
            x.data.data() + k * static_cast<std::size_t>(m.image_shape().size()));
  // The logits are what the final softmax reads.
  const Id logits = m.logits();
  PlanRequest request;
  request.graph = &m.graph();
  request.batch = 8;
  request.keep_values = {&logits, 1};
  const Engine engine;
  Session session(engine, request, m.parameters);
  session.forward(x.view());
  const TensorView y = session.run().value(logits);
  CHECK(largest_difference({y.data, y.data + y.size()}, stored("/models_data/squeezenet1_1_imagenet/test_logits.npy")) <
        1e-3);
  // The figures are 60 of 76 and 14 of 16 with libjpeg's pixels; stb's differ by a level here and there.
  CHECK(std::abs(accuracy(m, "list:" + root + "/data/imagenet_samples/index.csv") - 60.0 / 76) < 1.5 / 76);
  CHECK(std::abs(accuracy(m, "list:" + root + "/data/imagenet_stubs/index.csv") - 14.0 / 16) < 1.5 / 16);
}
#endif

TEST_CASE("explanations of a trained ResNet-20 obey their laws") {
  Model m = import_state_dict(root + "/models_data/resnet20_cifar10/resnet20.safetensors", {"resnet20", {}, {}});
  set(m, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}, 1);
  const Images x = first_images(m, cifar, 8);
  ExplainRequest request;
  const auto gap = [&](const Explanation& e, std::size_t n) {
    double s = 0;
    const auto each = static_cast<std::size_t>(e.shape.per_image());
    for (std::size_t i = n * each; i < (n + 1) * each; ++i) s += static_cast<double>(e.relevance[i]);
    const double expected = e.score[n] - (e.baseline_score.empty() ? 0 : e.baseline_score[n]);
    return std::abs(s - expected) / std::abs(expected);
  };
  request.method = "deeplift";
  const Explanation lift = explain(m, Engine(), x, request);
  request.method = "lrp";
  request.settings = {{"composite", "epsilon-plus-flat"}, {"bias", "dropped"}};
  const Explanation lrp = explain(m, Engine(), x, request);
  for (std::size_t n = 0; n < 8; ++n) {
    CHECK(gap(lift, n) < 1e-3);
    CHECK(gap(lrp, n) < 1e-3);
  }
}

int main(int argc, char** argv) {
  if (!std::filesystem::is_directory(root)) {
    std::printf("skipped: %s is not here\n", root.c_str());
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
