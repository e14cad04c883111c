// Class activation maps against their formulas, on a network whose gradients at the maps are the weights of its last
// layer; and on networks whose answer is planted.
#include <functional>

#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "tests/support/files.h"
#include "tests/support/methods.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("methods");

namespace {

constexpr int channels = 3, side = 4, pixels = side * side, classes = 2;

// The gradient of score t at place p of map k is w[t][k * pixels + p].
Model read_by_places() {
  Model m("places", {1, 2, side, side}, [](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = channels, .kernel = 3, .padding = 1}, "conv"), "maps");
    return linear(g, flatten(g, h, "flatten"), classes, "fc");
  });
  for (const Value& v : m.graph().values)
    for (std::int64_t i = 0; v.kind == ValueKind::parameter && i < v.shape.size(); ++i)
      m.parameters[static_cast<std::size_t>(v.offset + i)] =
          static_cast<real>(0.4 * std::sin(2.3 * static_cast<double>(i) + static_cast<double>(v.offset)));
  return m;
}

// Global average and a linear layer behind the maps.
Model read_by_means() {
  Model m("means", {1, 2, side, side}, [](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = channels, .kernel = 3, .padding = 1}, "conv"), "maps");
    return linear(g, flatten(g, global_avg_pool(g, h, "average"), "flatten"), classes, "fc");
  });
  m.parameters = read_by_places().parameters;
  m.parameters.resize(static_cast<std::size_t>(m.graph().parameter_size));
  return m;
}

std::vector<real> parameter(const Model& m, const std::string& name) {
  for (const Value& v : m.graph().values)
    if (v.kind == ValueKind::parameter && v.name == name)
      return {m.parameters.begin() + v.offset, m.parameters.begin() + v.offset + v.shape.size()};
  FAIL("no parameter " << name);
  return {};
}

std::vector<real> maps_of(const Model& m, const Images& x) {
  const Engine engine(1);
  Subject subject(m, engine);
  return Predictor(subject, m.graph().nodes[m.node("maps")].out).predict(x);
}

struct At {
  const std::vector<real>&a, &g;  // maps and gradients
  double map(int k, int p) const { return static_cast<double>(a[static_cast<std::size_t>(k * pixels + p)]); }
  double gradient(int k, int p) const { return static_cast<double>(g[static_cast<std::size_t>(k * pixels + p)]); }
  double total(int k) const {
    double sum = 0;
    for (int p = 0; p < pixels; ++p) sum += map(k, p);
    return sum;
  }
};

using Place = std::function<double(const At&, int place)>;

// sum_k weight(k) A_k
Place weighted(const std::function<double(const At&, int)>& weight) {
  return [weight](const At& at, int p) {
    double sum = 0;
    for (int k = 0; k < channels; ++k) sum += weight(at, k) * at.map(k, p);
    return sum;
  };
}

double over_places(const std::function<double(int)>& f) {
  double sum = 0;
  for (int p = 0; p < pixels; ++p) sum += f(p);
  return sum;
}

}  // namespace

TEST_CASE("activation maps are their formulas") {
  const Model m = read_by_places();
  const Images x = some_images({2, 2, side, side});
  const std::vector<real> a = maps_of(m, x), w = parameter(m, "fc.weight");
  const std::pair<const char*, Place> methods[] = {
      {"grad-cam",
       weighted([](const At& at, int k) { return over_places([&](int p) { return at.gradient(k, p); }) / pixels; })},
      {"grad-cam-plus-plus", weighted([](const At& at, int k) {
         return over_places([&](int p) {
           const double g = at.gradient(k, p), alpha = g * g / (2 * g * g + at.total(k) * g * g * g + 1e-6);
           return alpha * std::max(0.0, g);
         });
       })},
      {"xgrad-cam", weighted([](const At& at, int k) {
         return over_places([&](int p) { return at.gradient(k, p) * at.map(k, p); }) / (at.total(k) + 1e-7);
       })},
      {"hires-cam",
       [](const At& at, int p) {
         double sum = 0;
         for (int k = 0; k < channels; ++k) sum += at.gradient(k, p) * at.map(k, p);
         return sum;
       }},
      {"layer-cam",
       [](const At& at, int p) {
         double sum = 0;
         for (int k = 0; k < channels; ++k) sum += std::max(0.0, at.gradient(k, p)) * at.map(k, p);
         return sum;
       }},
  };
  for (const auto& entry : methods) {
    const std::string method = entry.first;
    const Place& formula = entry.second;
    CAPTURE(method);
    bool some = false;
    for (const int target : {0, 1}) {
      const Explanation e = explain_class(m, x, method, target, {{"node", "maps"}});
      const std::vector<real> g(w.begin() + target * channels * pixels, w.begin() + (target + 1) * channels * pixels);
      for (int n = 0; n < 2; ++n) {
        const std::vector<real> own(a.begin() + n * channels * pixels, a.begin() + (n + 1) * channels * pixels);
        for (int p = 0; p < pixels; ++p) {
          const double expected = std::max(0.0, formula(At{own, g}, p));
          some = some || expected > 0;
          for (int c = 0; c < 2; ++c)  // the same at every channel
            CHECK(e.relevance[static_cast<std::size_t>((n * 2 + c) * pixels + p)] ==
                  doctest::Approx(expected).epsilon(1e-4).scale(1e-2));
        }
      }
    }
    CHECK(some);
  }
}

TEST_CASE("CAM is Grad-CAM before its cut, and its mean is the score without the bias") {
  const Model m = read_by_means();
  const Images x = some_images({1, 2, side, side});
  const Explanation cam = explain_class(m, x, "cam", 1), grad = explain_class(m, x, "grad-cam", 1);
  double mean = 0;
  for (int p = 0; p < pixels; ++p) {
    const auto i = static_cast<std::size_t>(p);
    mean += static_cast<double>(cam.relevance[i]) / pixels;
    CHECK(std::max(0.0f, cam.relevance[i]) == doctest::Approx(pixels * grad.relevance[i]).epsilon(1e-4));
  }
  CHECK(mean == doctest::Approx(cam.score[0] - static_cast<double>(parameter(m, "fc.bias")[1])).epsilon(1e-4));
  CHECK(cam.note == "maps of maps");
  refused([&] { explain_class(read_by_places(), x, "cam", 0); }, "no global average and one linear layer");
}

TEST_CASE("Score-CAM and Ablation-CAM ask the network itself") {
  const Model m = read_by_places();
  const Images x = some_images({1, 2, side, side}, 0.4);
  const std::vector<real> a = maps_of(m, x), w = parameter(m, "fc.weight"), scores = predict(m, Engine(1), x);
  std::vector<double> masked(channels), lost(channels);
  for (int k = 0; k < channels; ++k) {
    const auto begin = a.begin() + k * pixels;
    const auto [low, high] = std::minmax_element(begin, begin + pixels);
    Images part = x;
    for (int i = 0; i < 2 * pixels; ++i)
      part.data[static_cast<std::size_t>(i)] *= (begin[i % pixels] - *low) / (*high - *low + 1e-8f);
    masked[static_cast<std::size_t>(k)] = std::exp(static_cast<double>(predict(m, Engine(1), part)[1]));
    // The score is linear in the maps.
    for (int p = 0; p < pixels; ++p)
      lost[static_cast<std::size_t>(k)] +=
          static_cast<double>(begin[p]) *
          static_cast<double>(w[static_cast<std::size_t>((channels + k) * pixels + p)]) /
          static_cast<double>(scores[1]);
  }
  const double total = masked[0] + masked[1] + masked[2];
  const Explanation score = explain_class(m, x, "score-cam", 1), ablation = explain_class(m, x, "ablation-cam", 1);
  for (int p = 0; p < pixels; ++p) {
    double by_score = 0, by_loss = 0;
    for (int k = 0; k < channels; ++k) {
      const auto map = static_cast<double>(a[static_cast<std::size_t>(k * pixels + p)]);
      by_score += masked[static_cast<std::size_t>(k)] / total * map;
      by_loss += lost[static_cast<std::size_t>(k)] * map;
    }
    const auto i = static_cast<std::size_t>(p);
    CHECK(score.relevance[i] == doctest::Approx(std::max(0.0, by_score)).epsilon(1e-4).scale(1e-2));
    CHECK(ablation.relevance[i] == doctest::Approx(std::max(0.0, by_loss)).epsilon(1e-3).scale(1e-2));
  }
}

TEST_CASE("Eigen-CAM finds the pattern that all maps share, whatever the target") {
  // Map k is (k + 1) times the image: one component.
  Model m("copies", {1, 1, side, side}, [](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = channels, .kernel = 1}, "conv"), "maps");
    return linear(g, flatten(g, h, "flatten"), classes, "fc");
  });
  set_parameter(m, "conv.weight", {1, 2, 3});
  for (std::size_t i = 0; i < m.parameters.size(); ++i)
    if (m.parameters[i] == 0) m.parameters[i] = static_cast<real>(0.01 * static_cast<double>(i % 7));
  set_parameter(m, "conv.bias", {0, 0, 0});
  Images x = some_images({1, 1, side, side});
  for (real& v : x.data) v = v + 1;
  const Explanation e = explain_class(m, x, "eigen-cam", 0);
  CHECK(e.relevance == explain_class(m, x, "eigen-cam", 1).relevance);
  double mean = 0;
  for (const real v : x.data) mean += static_cast<double>(v) / pixels;
  for (int p = 0; p < pixels; ++p) {
    const auto i = static_cast<std::size_t>(p);
    const double expected = std::sqrt(1.0 + 4 + 9) * (static_cast<double>(x.data[i]) - mean);
    CHECK(e.relevance[i] == doctest::Approx(std::max(0.0, expected)).epsilon(1e-4).scale(1e-2));
  }
}

TEST_CASE("an empty map says why, and so does a node without maps") {
  Model m = read_by_means();
  set_parameter(m, "fc.weight", {-1, -1, -1, 0, 0, 0});
  const Images x = some_images({1, 2, side, side});
  const Explanation against = explain_class(m, x, "grad-cam", 0), none = explain_class(m, x, "grad-cam", 1);
  REQUIRE(against.warnings.size() == 1);
  CHECK(against.warnings[0].find("speak against the target") != std::string::npos);
  REQUIRE(none.warnings.size() == 1);
  CHECK(none.warnings[0].find("0 everywhere") != std::string::npos);
  refused([&] { explain_class(m, x, "layer-cam", 0, {{"node", "conv9"}}); }, "conv9");
}

TEST_SUITE_END();
