// Small networks of layers that real files have, as both of PyTorch's exporters write them
// (tests/golden/make_layers.py): predictions are onnxruntime's, gradients PyTorch's in double precision, LRP's
// relevance is accounted for at every node, and DeepLIFT's is complete.
#ifdef VITRINE_HAVE_ONNX
#include <doctest/doctest.h>

#include <cmath>

#include "core/host/io/safetensors.h"
#include "interp/predict/explain.h"
#include "models/onnx/onnx.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

const std::string golden = VITRINE_SOURCE_ROOT "/tests/golden/layers/";

double difference(const std::vector<real>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  CHECK(largest > 0);
  return worst / largest;
}

Explanation explained(const Model& model, const Images& x, const char* method, const char* composite = nullptr) {
  ExplainRequest request;
  request.method = method;
  request.objective = Objective::of_class(1);
  request.ledger = composite != nullptr;
  if (composite != nullptr) request.settings["composite"] = composite;
  return explain(model, Engine(1), x, request);
}

}  // namespace

TEST_CASE("networks of layers that real files have: predictions, gradients, LRP's ledger, DeepLIFT's sum") {
  const io::Safetensors cases(golden + "cases.safetensors");
  int count = 0;
  for (const io::TensorEntry& input : cases.tensors()) {
    if (!input.name.ends_with(".input")) continue;
    const std::string name = input.name.substr(0, input.name.size() - 6);
    CAPTURE(name);
    const Model model = onnx::import_file(golden + name + ".onnx");
    const std::vector<float> values = input.floats();
    const Images x{model.image_shape().with_batch(static_cast<std::int32_t>(input.shape[0])),
                   {values.begin(), values.end()}};
    CHECK(difference(predict(model, Engine(1), x), cases.tensor(name + ".output").floats()) < 1e-5);
    CHECK(difference(explained(model, x, "gradient").relevance, cases.tensor(name + ".gradient").floats()) < 1e-5);

    // What arrives at a node leaves it, or went to its bias or the stabiliser: sums in float of a few hundred elements.
    const Explanation lrp = explained(model, x, "lrp", "uniform-epsilon");
    for (const LedgerRow& row : lrp.ledger) {
      CAPTURE(row.node);
      CHECK(row.in.non_finite == 0);
      CHECK(std::abs(row.unplaced()) <= 1e-4 * std::max({row.out.abs_sum, row.in.abs_sum, 1e-3}));
    }

    const Explanation lift = explained(model, x, "deeplift");
    REQUIRE(lift.complete);
    for (std::size_t n = 0; n < lift.score.size(); ++n) {
      double size = std::abs(lift.score[n]) + std::abs(lift.baseline_score[n]);
      for (std::size_t k = 0, each = lift.relevance.size() / lift.score.size(); k < each; ++k)
        size += std::abs(static_cast<double>(lift.relevance[n * each + k]));
      CHECK(std::abs(lift.sum(n) - (lift.score[n] - lift.baseline_score[n])) < 1e-5 * size);
    }
    ++count;
  }
  CHECK(count >= 120);
}

TEST_SUITE_END();
#endif
