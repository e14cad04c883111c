// Maps of Zennit, Captum and SHAP on four small networks (tests/golden/make.py made them), of the DeepLIFT authors'
// code on a fifth (make_deeplift.py), and of all peers on eight networks of real kinds that come as ONNX files
// (make_networks.py): every method that a peer has, wherever the peer is right.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/host/io/npy.h"
#include "interp/predict/explain.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

Images read_images(const std::string& path) {
  const io::NpyArray a = io::read_npy(path);
  REQUIRE(a.shape.size() == 4);
  const std::vector<float> v = a.floats();
  const auto d = [&](std::size_t k) { return static_cast<std::int32_t>(a.shape[k]); };
  return {{d(0), d(1), d(2), d(3)}, {v.begin(), v.end()}};
}

}  // namespace

namespace {

void compare_with_peers(const std::string& folder, const Model& model) {
  const Engine engine(1);
  const Images x = read_images(folder + "input.npy");
  const nlohmann::json index = nlohmann::json::parse(std::ifstream(folder + "index.json"));
  const std::vector<float> maps = io::read_npy(folder + "maps.npy").floats(),
                           logits = io::read_npy(folder + "logits.npy").floats();

  const std::vector<real> y = predict(model, engine, x);
  REQUIRE(y.size() == logits.size());
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::abs(y[i] - logits[i]) < 1e-4);

  const auto each = static_cast<std::size_t>(x.shape.per_image()), all = static_cast<std::size_t>(x.shape.size());
  std::size_t k = 0;
  for (const auto& entry : index.at("maps")) {
    ExplainRequest request;
    request.method = entry.at("method");
    for (const auto& [key, value] : entry.at("settings").items()) request.settings[key] = value;
    INFO(request.method << " " << entry.at("settings").dump());
    std::vector<float> found;
    // Targets differ from image to image.
    for (std::int32_t n = 0; n < x.shape.n(); ++n) {
      Images one{x.shape.with_batch(1), {}};
      one.data.assign(x.data.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(n) * each),
                      x.data.begin() + static_cast<std::ptrdiff_t>((static_cast<std::size_t>(n) + 1) * each));
      if (entry.contains("baseline")) {
        const Images other = read_images(folder + entry.at("baseline").get<std::string>());
        request.baseline.images =
            Images{one.shape,
                   {other.data.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(n) * each),
                    other.data.begin() + static_cast<std::ptrdiff_t>((static_cast<std::size_t>(n) + 1) * each)}};
      }
      request.objective = Objective::of_class(index.at("targets").at(static_cast<std::size_t>(n)).get<int>());
      const Explanation e = explain(model, engine, one, request);
      found.insert(found.end(), e.relevance.begin(), e.relevance.end());
    }
    double difference = 0, largest = 0;
    for (std::size_t i = 0; i < all; ++i) {
      difference = std::max(difference, std::abs(static_cast<double>(found[i]) - maps[k * all + i]));
      largest = std::max(largest, std::abs(static_cast<double>(maps[k * all + i])));
    }
    CHECK(largest > 0);
    CHECK(difference < 1e-3 * largest);
    ++k;
  }
  CHECK(k >= 6);
  CHECK(k * all == maps.size());
}

}  // namespace

TEST_CASE("maps equal those of Zennit, Captum, SHAP and DeepLIFT") {
  for (const char* name : {"lenet", "residual", "smooth", "overlapping", "reveal"}) {
    CAPTURE(std::string(name));
    const std::string folder = VITRINE_SOURCE_ROOT "/tests/golden/maps/" + std::string(name) + "/";
    compare_with_peers(folder, Model::load(folder + "model.safetensors"));
  }
}

#ifdef VITRINE_HAVE_ONNX
TEST_CASE("maps of networks from ONNX files equal those of the peers") {
  for (const char* name : {"vgg-bn", "resnet-basic", "resnet-bottleneck", "inception-like", "densenet-like", "mobile",
                           "alexnet-lrn", "nhwc"}) {
    CAPTURE(std::string(name));
    const std::string folder = VITRINE_SOURCE_ROOT "/tests/golden/networks/" + std::string(name) + "/";
    compare_with_peers(folder, Model::load(folder + "model.onnx"));
  }
}
#endif

TEST_SUITE_END();
