// Images with constant backgrounds: windows of a pool tie there, and rounding must not choose among them. A batch gives
// what its images give alone, copies of one image give one map, and threads change nothing.
#include <doctest/doctest.h>

#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "tests/support/methods.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("interp");

namespace {

using Pool = Id (*)(GraphBuilder&, Id);

Id by_2x2(GraphBuilder& g, Id x) { return max_pool(g, x, {.kernel = 2}, "pool"); }
Id overlapping(GraphBuilder& g, Id x) { return max_pool(g, x, {.kernel = 3, .stride = 2, .padding = 1}, "pool"); }
Id whole(GraphBuilder& g, Id x) { return global_max_pool(g, x, "pool"); }
Id large(GraphBuilder& g, Id x) { return max_pool(g, x, {.kernel = 7, .stride = 3}, "pool"); }

// Two convolutions, the second behind a pool, so that rounding of the first reaches the ties of the second.
Model pooled_net(Pool pool) {
  Model m("pooled", {1, 1, 20, 20}, [pool](GraphBuilder& g, Id x) {
    Id h = relu(g, conv2d(g, x, {.out = 16, .kernel = 5, .padding = 2}, "conv1"), "relu1");
    h = max_pool(g, h, {.kernel = 2}, "pool1");
    h = relu(g, conv2d(g, h, {.out = 16, .kernel = 3, .padding = 1}, "conv2"), "relu2");
    return linear(g, flatten(g, pool(g, h), "flatten"), 4, "fc");
  });
  for (const Value& v : m.graph().values)
    for (std::int64_t i = 0; v.kind == ValueKind::parameter && i < v.shape.size(); ++i)
      m.parameters[static_cast<std::size_t>(v.offset + i)] =
          static_cast<real>(0.3 * std::sin(1.3 * static_cast<double>(i) + static_cast<double>(v.offset)) + 0.02);
  return m;
}

// A stroke on a constant background that is not 0: its convolutions have roundoff.
Images strokes(std::int32_t n) {
  Images x{{n, 1, 20, 20}, std::vector<real>(static_cast<std::size_t>(n) * 400, real{0.37f})};
  for (std::int32_t i = 0; i < n; ++i)
    for (std::int32_t k = 4; k < 15; ++k)
      x.data[static_cast<std::size_t>(i * 400 + k * 20 + 6 + (k * (i % 5)) / 7)] = 1;
  return x;
}

// The largest difference of two images' maps, as a part of the largest value.
double apart(const std::vector<real>& a, const std::vector<real>& b) {
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  REQUIRE(largest > 0);
  return most / largest;
}

std::vector<real> map_of(const Explanation& e, std::int64_t image) {
  const auto begin = e.relevance.begin() + image * 400;
  return {begin, begin + 400};
}

}  // namespace

TEST_CASE("constant backgrounds: a batch equals its images, copies equal each other, threads change nothing") {
  for (const Pool pool : {&by_2x2, &overlapping, &whole, &large}) {
    const Model m = pooled_net(pool);
    const Images x = strokes(17);
    Images copies = x;
    for (std::size_t i = 400; i < copies.data.size(); ++i) copies.data[i] = copies.data[i - 400];
    for (const char* method : {"gradient", "lrp", "deeplift", "deconvnet", "guided-backprop", "grad-cam"}) {
      CAPTURE(std::string(method));
      const auto by = [&](const Images& images, int threads = 1) {
        ExplainRequest request;
        request.method = method;
        request.objective = Objective::of_class(2);
        return explain(m, Engine(threads), images, request);
      };
      const Explanation together = by(x), same = by(copies);
      CHECK(by(x, 3).relevance == together.relevance);
      for (std::int32_t n = 0; n < 17; ++n) {
        const Images one{{1, 1, 20, 20}, {x.data.begin() + n * 400, x.data.begin() + (n + 1) * 400}};
        CHECK(apart(by(one).relevance, map_of(together, n)) < 1e-5);
        CHECK(apart(map_of(same, n), map_of(same, 0)) < 1e-5);
      }
    }
  }
}

TEST_CASE("places that differ in one channel do not tie, however close another channel is") {
  ExplainRequest request;
  request.objective = Objective::of_class(1);
  Model m("pool", {1, 2, 2, 2}, [](GraphBuilder& g, Id x) {
    return linear(g, flatten(g, max_pool(g, x, {.kernel = 2}, "pool"), "flatten"), 1, "fc");
  });
  std::fill(m.parameters.begin(), m.parameters.end(), real{1});
  const auto of = [&](std::vector<real> values) {
    return explain(m, Engine(1), {{1, 2, 2, 2}, std::move(values)}, request).relevance;
  };
  // Both channels tie but for rounding: the first place wins in both.
  CHECK(of({1, 1.000001f, 0, 0, 0.5f, 0.500001f, 0, 0}) == std::vector<real>{1, 0, 0, 0, 1, 0, 0, 0});
  // Channel 1 differs: channel 0 takes its own maximum, close as it is.
  CHECK(of({1, 1.000001f, 0, 0, 0.5f, 0.25f, 0, 0}) == std::vector<real>{0, 1, 0, 0, 1, 0, 0, 0});
}

TEST_SUITE_END();
