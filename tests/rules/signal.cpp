// Reversed networks: by hand on a small network, and their defining identities.
#include <string>

#include "tests/support/small_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("rules");

namespace {

Values walked_by(Net& net, const Rule& rule, const Values& x, const Values& seed) {
  Walked w(net, everywhere(net, rule), {});
  REQUIRE_MESSAGE(w.status == Status::ok, w.failure.what);
  w.forward(x, 1);
  return w.back(seed);
}

}  // namespace

TEST_CASE("the three ways back through a rectifier, by hand") {
  Net net({1, 4, 1, 1}, [](GraphBuilder& g, Id x) { return relu(g, x); });
  const Values x = {1, -1, 2, -3}, s = {5, 6, -7, -8};
  const GradientRule gradient;
  const RectifyRule deconvnet(kernels::Rectify::deconvnet, true), guided(kernels::Rectify::guided, true);
  CHECK(walked_by(net, gradient, x, s) == Values{5, 0, -7, 0});
  CHECK(walked_by(net, deconvnet, x, s) == Values{5, 6, 0, 0});
  CHECK(walked_by(net, guided, x, s) == Values{5, 0, 0, 0});
}

TEST_CASE("where everything is positive all three agree") {
  Net net({1, 2, 9, 8}, plain_net);
  for (real& p : net.parameters) p = std::abs(p);
  Values x = random_values(net.image(1).size(), 1);
  for (real& v : x) v = std::abs(v) + real(0.1);
  const Values seed = {1, 0, 0, 2};
  const GradientRule gradient;
  const RectifyRule deconvnet(kernels::Rectify::deconvnet, true), guided(kernels::Rectify::guided, true);
  const Values expected = walked_by(net, gradient, x, seed);
  CHECK(max_abs(expected) > 0);
  CHECK(difference(walked_by(net, deconvnet, x, seed), expected) == 0);
  CHECK(difference(walked_by(net, guided, x, seed), expected) == 0);
}

TEST_CASE("activations that are no rectifiers are refused, or passed as the gradient does on request") {
  Net net({1, 2, 10, 10}, smooth_net);
  const RectifyRule strict(kernels::Rectify::guided, true), lenient(kernels::Rectify::guided, false);
  Walked refused(net, everywhere(net, strict), {});
  CHECK(refused.status == Status::no_rule);
  CHECK(std::string(refused.failure.node) == "tanh1");
  const Values x = random_values(net.image(1).size(), 2), seed = {0, 1, 0, 0};
  const GradientRule gradient;
  CHECK(difference(walked_by(net, lenient, x, seed), walked_by(net, gradient, x, seed)) == 0);
}

TEST_CASE("reversed signals pass local response normalisation unchanged") {
  Net net({1, 4, 1, 1}, [](GraphBuilder& g, Id x) { return local_response_norm(g, x, 3, "lrn", 1.0f); });
  const RectifyRule guided(kernels::Rectify::guided, true);
  Walked w(net, everywhere(net, guided), {});
  REQUIRE(w.status == Status::ok);
  w.forward(random_values(4, 1), 1);
  const Values signal = random_values(4, 2);
  CHECK(w.back(signal) == signal);
}

TEST_SUITE_END();
