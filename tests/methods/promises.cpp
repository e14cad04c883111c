// What every method's card promises, for every method of the list that promises it.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "core/host/text.h"
#include "interp/predict/explain.h"
#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "tests/support/files.h"
#include "tests/support/small_nets.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

// Maps of 6x6 pixels through a 1x1 convolution, so that a pixel is seen by its own unit alone. `detour`: an identity
// layer behind the ReLU, which changes the network and not its function. `means`: the last layer reads the maps' means,
// as CAM needs.
Model network(bool detour, bool means = false) {
  Model m("promises", [&](GraphBuilder& g) {
    const Id x = g.input({1, 2, 6, 6});
    Id h = relu(g, conv2d(g, x, {.out = 4, .kernel = 1}, "conv"), "relu");
    if (detour) h = relu(g, conv2d(g, h, {.out = 4, .kernel = 1}, "identity"), "relu2");
    if (means) h = global_avg_pool(g, h, "means");
    g.output(linear(g, flatten(g, h, "flatten"), 3, "fc"));
  });
  for (const Value& v : m.graph().values) {
    if (v.kind != ValueKind::parameter) continue;
    real* const p = m.parameters.data() + v.offset;
    const std::string name = v.name;
    // Numbers by name, so that both networks have the same ones.
    const test::Values own = test::random_values(v.shape.size(), name.size() + static_cast<std::size_t>(name[0]), 0.5);
    std::copy(own.begin(), own.end(), p);
    if (name == "identity.weight")
      for (std::int64_t k = 0; k < 16; ++k) p[k] = k % 5 == 0 ? 1 : 0;
    if (name == "identity.bias") std::fill_n(p, 4, real{0});
    // The right half of the picture counts for nothing.
    if (name == "fc.weight")
      for (std::int64_t i = 0; i < v.shape.size(); ++i)
        if (i % 6 >= 3) p[i] = 0;
  }
  return m;
}

Images input() {
  const Shape s{2, 2, 6, 6};
  return {s, test::random_values(s.size(), 3)};
}

std::map<std::string, std::string> settings_for(const std::string& method) {
  if (method == "occlusion") return {{"window", "1"}, {"stride", "1"}};
  if (method == "lime") return {{"fill", "zero"}};  // a pixel is its own mean
  if (method == "shapley") return {{"features", "grid:3,2"}};
  if (method == "integrated-gradients") return {{"steps", "200"}};
  return {};
}

Explanation ask(const Model& m, const Card& card, int target) {
  ExplainRequest r;
  r.method = card.name;
  r.settings = settings_for(card.name);
  r.objective = Objective::of_class(target);
  return explain(m, Engine(1), input(), r);
}

double largest(const std::vector<real>& v) {
  double top = 0;
  for (const real x : v) top = std::max(top, std::abs(static_cast<double>(x)));
  return top;
}

double difference(const std::vector<real>& a, const std::vector<real>& b) {
  double d = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    d = std::max(d, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return d;
}

}  // namespace

TEST_CASE("cards: names are plain and unique, everything is filled in, one maker each") {
  std::set<std::string> names;
  for (const MethodEntry* const e : method_entries()) {
    const Card& c = e->card;
    CAPTURE(std::string(c.name));
    CHECK(names.insert(c.name).second);
    CHECK(plain_name(c.name) == c.name);
    CHECK((e->attribution != nullptr) != (e->study != nullptr));
    for (const char* text :
         {c.summary, c.reference, c.lipton, c.forward_calls, c.backward_calls, c.output, c.faithfulness_metric})
      CHECK(text[0] != '\0');
    CHECK(&find_method(c.name, e->study != nullptr) == e);
    // The defaults that the card states are accepted.
    std::map<std::string, std::string> defaults;
    for (const Setting& s : c.settings)
      if (s.initial[0] != '\0') defaults[s.name] = s.initial;
    CHECK_NOTHROW(Settings(c.name, c.settings, defaults));
  }
  CHECK(&find_method("Grad_CAM") == &find_method("grad-cam"));
  test::refused([] { find_method("ocllusion"); }, "did you mean occlusion?");
  test::refused([] { find_method("filter-metrics"); }, "unknown method");
}

TEST_CASE("what cards promise") {
  const Model of_places = network(false), same = network(true), of_means = network(false, true);
  int held = 0;
  for (const MethodEntry* const e : method_entries()) {
    if (e->attribution == nullptr) continue;
    const Card& c = e->card;
    CAPTURE(std::string(c.name));
    const Model& m = std::string(c.name) == "cam" ? of_means : of_places;
    const Explanation first = ask(m, c, 0);
    const double size = largest(first.relevance);
    REQUIRE(size > 1e-4);
    if (c.promises.completeness) {
      for (std::size_t n = 0; n < 2; ++n) {
        const double baseline = first.baseline_score.empty() ? 0 : first.baseline_score[n];
        CHECK(std::abs(first.sum(n) - (first.score[n] - baseline)) < 2e-3 * (1 + std::abs(first.score[n])));
      }
      ++held;
    }
    if (c.promises.sensitivity) {
      for (std::size_t i = 0; i < first.relevance.size(); ++i)
        if (i % 6 >= 3) CHECK(std::abs(static_cast<double>(first.relevance[i])) < 1e-5 * size);
      ++held;
    }
    if (c.promises.implementation_invariance) {
      CHECK(difference(first.relevance, ask(same, c, 0).relevance) < 1e-4 * size);
      ++held;
    }
    if (c.promises.class_sensitivity) {
      CHECK(difference(first.relevance, ask(m, c, 1).relevance) > 0.05 * size);
      ++held;
    }
  }
  CHECK(held >= 20);
}

TEST_SUITE_END();
