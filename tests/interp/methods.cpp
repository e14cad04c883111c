// Methods on networks whose answer is known by construction, the axioms they promise, and how they refuse.
#include <doctest/doctest.h>
#include <malloc.h>

#include <cmath>
#include <numeric>

#include "interp/math/quadrature.h"
#include "interp/predict/explain.h"
#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/softmax.h"
#include "layers/view.h"
#include "models/architectures.h"
#include "tests/support/files.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

void set(Model& m, const std::string& name, const std::vector<real>& values) {
  for (const Value& v : m.graph().values)
    if (v.name == name) {
      REQUIRE(static_cast<std::size_t>(v.shape.size()) == values.size());
      std::copy(values.begin(), values.end(), m.parameters.begin() + v.offset);
      return;
    }
  FAIL("no parameter " << name);
}

// f(x) = w2 relu(W1 x + b1) + b2, small enough to integrate by hand; the second output is its negative.
Model golden_net() {
  Model m("golden", {1, 2, 1, 1},
          [](GraphBuilder& g, Id x) { return linear(g, relu(g, linear(g, x, 2, "a"), "relu"), 2, "b"); });
  set(m, "a.weight", {1, -1, 2, 1});
  set(m, "a.bias", {0, -1});
  set(m, "b.weight", {1, -1, -1, 1});
  set(m, "b.bias", {0.25f, -0.25f});
  return m;
}

// One linear map of a 2 x 4 x 4 image to three scores; weight (k, i) is k + i/10.
Model linear_image_net() {
  Model m("linear", {1, 2, 4, 4}, [](GraphBuilder& g, Id x) { return linear(g, flatten(g, x, "flatten"), 3, "fc"); });
  std::vector<real> w(3 * 32);
  for (std::size_t k = 0; k < 3; ++k)
    for (std::size_t i = 0; i < 32; ++i) w[k * 32 + i] = static_cast<real>(k) + static_cast<real>(i) / 10;
  set(m, "fc.weight", w);
  set(m, "fc.bias", {1, 2, 3});
  return m;
}

Model conv_net() {
  Model m("conv", {1, 1, 8, 8}, [](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv"), "relu");
    return linear(g, flatten(g, global_avg_pool(g, h, "gap"), "flatten"), 3, "fc");
  });
  for (std::size_t i = 0; i < m.parameters.size(); ++i) m.parameters[i] = std::sin(static_cast<real>(7 * i + 1));
  return m;
}

Images images(Shape shape, double phase = 0) {
  Images x{shape, std::vector<real>(static_cast<std::size_t>(shape.size()))};
  for (std::size_t i = 0; i < x.data.size(); ++i)
    x.data[i] = static_cast<real>(std::sin(0.7 * static_cast<double>(i) + phase));
  return x;
}

Explanation by(const Model& m, const Images& x, const std::string& method,
               const std::map<std::string, std::string>& settings = {}, std::optional<int> target = 0) {
  ExplainRequest request;
  request.method = method;
  request.settings = settings;
  if (target) request.objective = Objective::of_class(*target);
  return explain(m, Engine(1), x, request);
}

double sum(const std::vector<real>& v) { return std::accumulate(v.begin(), v.end(), 0.0); }

}  // namespace

TEST_CASE("integrated gradients: golden values of every quadrature") {
  const Model m = golden_net();
  const Images x{{1, 2, 1, 1}, {2, 1}};
  const auto check = [&](const char* quadrature, int steps, double a, double b) {
    CAPTURE(std::string(quadrature));
    const Explanation e =
        by(m, x, "integrated-gradients", {{"quadrature", quadrature}, {"steps", std::to_string(steps)}});
    CHECK(e.relevance[0] == doctest::Approx(a).epsilon(2e-6));
    CHECK(e.relevance[1] == doctest::Approx(b).epsilon(2e-6));
    CHECK(e.score[0] == doctest::Approx(-2.75));
    CHECK(e.baseline_score[0] == doctest::Approx(0.25));
  };
  check("left", 10, -1.0, -1.6);
  check("right", 10, -1.2, -1.8);
  check("midpoint", 10, -1.2, -1.8);
  check("trapezoid", 10, -1.444444, -1.777778);
  check("gauss-legendre", 10, -1.129582, -1.782395);
  check("left", 50, -1.16, -1.76);
  check("gauss-legendre", 50, -1.165613, -1.791403);
  CHECK(by(m, x, "input-x-gradient").relevance == std::vector<real>{-2, -2});
  CHECK(by(m, x, "lrp", {{"composite", "uniform-zero"}}).relevance[0] == doctest::Approx(-2));
}

TEST_CASE("quadratures integrate constants exactly, Gauss-Legendre polynomials of degree 2n - 1") {
  for (const char* rule : {"left", "right", "midpoint", "trapezoid", "gauss-legendre"})
    for (const int n : {2, 5, 24}) {
      const Quadrature q = make_quadrature(rule, n);
      REQUIRE(q.at.size() == static_cast<std::size_t>(n));
      CHECK(std::accumulate(q.weight.begin(), q.weight.end(), 0.0) == doctest::Approx(1).epsilon(1e-12));
      for (const double a : q.at) CHECK((a >= 0 && a <= 1));
    }
  const Quadrature q = make_quadrature("gauss-legendre", 4);
  double seventh = 0;
  for (std::size_t k = 0; k < 4; ++k) seventh += q.weight[k] * std::pow(q.at[k], 7);
  CHECK(seventh == doctest::Approx(1.0 / 8).epsilon(1e-12));
}

TEST_CASE("a linear model: every method gives what theory says") {
  const Model m = linear_image_net();
  const Images x = images({2, 2, 4, 4});
  const auto w = [](std::size_t i) { return 2 + static_cast<double>(i % 32) / 10; };
  const auto check = [&](const Explanation& e, const std::function<double(std::size_t)>& expected,
                         double bound = 1e-4) {
    for (std::size_t i = 0; i < e.relevance.size(); ++i) CHECK(std::abs(e.relevance[i] - expected(i)) < bound);
  };
  check(by(m, x, "gradient", {}, 2), w);
  check(by(m, x, "guided-backprop", {}, 2), w);
  check(by(m, x, "input-x-gradient", {}, 2), [&](std::size_t i) { return w(i) * x.data[i]; });
  check(by(m, x, "integrated-gradients", {{"steps", "3"}}, 2), [&](std::size_t i) { return w(i) * x.data[i]; });
  check(by(m, x, "deeplift", {}, 2), [&](std::size_t i) { return w(i) * x.data[i]; });
  check(by(m, x, "smoothgrad", {{"samples", "7"}}, 2), w);
  check(by(m, x, "smoothgrad", {{"samples", "7"}, {"statistic", "square"}}, 2),
        [&](std::size_t i) { return w(i) * w(i); });
  check(by(m, x, "smoothgrad", {{"samples", "7"}, {"statistic", "variance"}}, 2), [](std::size_t) { return 0.0; });
  // Windows of one pixel: the fall is w (x - fill) summed over channels, at every channel.
  check(by(m, x, "occlusion", {{"window", "1"}, {"stride", "1"}, {"fill", "0.5;-1"}}, 2), [&](std::size_t i) {
    const std::size_t n = i / 32 * 32, p = i % 16;
    return w(p) * (x.data[n + p] - 0.5) + w(16 + p) * (x.data[n + 16 + p] + 1);
  });
  CHECK(by(m, x, "occlusion", {{"window", "2,3"}, {"stride", "1,2"}}, 1).relevance ==
        by(m, x, "occlusion", {{"window", "2x3"}, {"stride", "1x2"}}, 1).relevance);
  // A window over everything: the same fall everywhere.
  const Explanation whole = by(m, x, "occlusion", {{"window", "4"}, {"stride", "4"}}, 2);
  CHECK(whole.relevance[0] == doctest::Approx(whole.score[0] - 3).epsilon(1e-5));
  CHECK(whole.relevance[31] == doctest::Approx(whole.relevance[0]));
}

TEST_CASE(
    "targets and scores are the prediction's, however a method comes by them and however images are cut into batches") {
  const Model m = conv_net();
  Images x = images({7, 1, 8, 8});
  for (std::size_t i = 0; i < x.data.size(); ++i)
    x.data[i] += static_cast<real>(0.2 * static_cast<double>(i / 64) - 0.6);
  const Images dark{x.shape, std::vector<real>(x.data.size())};
  Images means = dark;
  for (auto image = means.data.begin(); image != means.data.end(); image += 64) {
    const auto from = x.data.begin() + (image - means.data.begin());
    std::fill(image, image + 64, std::accumulate(from, from + 64, real{0}) / 64);
  }
  const std::vector<real> at = predict(m, Engine(1), x), at_dark = predict(m, Engine(1), dark),
                          at_means = predict(m, Engine(1), means);
  bool differ = false;
  for (const std::string method : {"gradient", "lrp", "deeplift", "deeplift mean", "integrated-gradients",
                                   "integrated-gradients mean", "smoothgrad", "grad-cam", "occlusion"})
    for (const std::size_t budget : {std::size_t{1} << 14, std::size_t{512} << 20}) {
      CAPTURE(method);
      CAPTURE(budget);
      const bool mean = method.ends_with(" mean"),
                 has_baseline = mean || method == "deeplift" || method == "integrated-gradients";
      const std::vector<real>& at_baseline = mean ? at_means : at_dark;
      ExplainRequest request;
      request.method = method.substr(0, method.find(' '));
      if (mean) request.baseline.kind = "mean";
      const Explanation e = explain(m, Engine(1), x, request, {}, budget);
      REQUIRE(e.target.size() == 7);
      for (std::size_t n = 0; n < 7; ++n) {
        const auto row = at.begin() + static_cast<std::ptrdiff_t>(3 * n), best = std::max_element(row, row + 3);
        CHECK(e.target[n] == best - row);
        CHECK(e.score[n] == doctest::Approx(*best).epsilon(1e-5));
        differ = differ || e.target[n] != e.target[0];
        if (!e.baseline_score.empty())
          CHECK(e.baseline_score[n] ==
                doctest::Approx(at_baseline[3 * n + static_cast<std::size_t>(best - row)]).epsilon(1e-5));
      }
      CHECK(e.baseline_score.size() == (has_baseline ? 7 : 0));
    }
  CHECK(differ);
}

TEST_CASE("baselines: zero, each channel's mean, blur, and given images") {
  const Model m = linear_image_net();
  const Images x = images({1, 2, 4, 4});
  ExplainRequest request;
  request.method = "deeplift";
  request.objective = Objective::of_class(1);
  request.baseline.kind = "mean";
  const Explanation e = explain(m, Engine(1), x, request);
  double first = 0, second = 0;
  for (std::size_t p = 0; p < 16; ++p) first += x.data[p] / 16, second += x.data[16 + p] / 16;
  CHECK(e.relevance[3] == doctest::Approx((1 + 0.3) * (x.data[3] - first)).epsilon(1e-4));
  CHECK(e.relevance[20] == doctest::Approx((1 + 2.0) * (x.data[20] - second)).epsilon(1e-4));
  // Blurring a constant changes nothing: no relevance.
  Images flat{{1, 2, 4, 4}, std::vector<real>(32, 0.7f)};
  request.baseline.kind = "blur";
  for (const real r : explain(m, Engine(1), flat, request).relevance) CHECK(std::abs(r) < 1e-4);
  request.baseline.images = x;
  for (const real r : explain(m, Engine(1), x, request).relevance) CHECK(r == 0);
  request.baseline.images = Images{{1, 2, 3, 3}, std::vector<real>(18)};
  test::refused([&] { explain(m, Engine(1), x, request); }, "baseline");
  request.baseline.images.reset();
  request.baseline.kind = "grey";
  test::refused([&] { explain(m, Engine(1), x, request); }, "expected zero, mean, blur");
}

TEST_CASE("Grad-CAM on a network that ends in a global average is CAM") {
  const Model m = conv_net();
  const Images x = images({1, 1, 8, 8});
  // The node before the average has the image's extent, so nothing is interpolated.
  const Explanation e = by(m, x, "grad-cam", {{"node", "relu"}}, 1);
  // CAM by hand: sum_k w_k relu(conv_k), up to the factor 1/Z that Grad-CAM's mean gradient has.
  const Graph& g = m.graph();
  const auto parameter = [&](const char* name) {
    for (const Value& v : g.values)
      if (std::string(v.name) == name) return m.parameters.data() + v.offset;
    return static_cast<const real*>(nullptr);
  };
  const real *const w = parameter("conv.weight"), *const b = parameter("conv.bias"), *const fc = parameter("fc.weight");
  for (int y = 0; y < 8; ++y)
    for (int xx = 0; xx < 8; ++xx) {
      double cam = 0;
      for (int k = 0; k < 4; ++k) {
        double z = b[k];
        for (int i = 0; i < 3; ++i)
          for (int j = 0; j < 3; ++j)
            if (y + i - 1 >= 0 && y + i - 1 < 8 && xx + j - 1 >= 0 && xx + j - 1 < 8)
              z += w[k * 9 + i * 3 + j] * x.data[static_cast<std::size_t>((y + i - 1) * 8 + xx + j - 1)];
        cam += fc[4 + k] * std::max(z, 0.0) / 64;
      }
      CHECK(e.relevance[static_cast<std::size_t>(y * 8 + xx)] == doctest::Approx(std::max(cam, 0.0)).epsilon(1e-4));
    }
  CHECK(by(m, x, "grad-cam", {}, 1).relevance == e.relevance);  // the default node is the last activation
}

TEST_CASE("the predicted class is explained where no target is named, image by image") {
  const Model m = linear_image_net();
  Images x = images({2, 2, 4, 4});
  for (std::size_t i = 0; i < 32; ++i) x.data[i] = -std::abs(x.data[i]), x.data[32 + i] = std::abs(x.data[32 + i]);
  const Explanation e = by(m, x, "gradient", {}, std::nullopt);
  CHECK(e.target == std::vector<int>{0, 2});
  CHECK(e.relevance[0] == doctest::Approx(0));
  CHECK(e.relevance[32] == doctest::Approx(2));
}

TEST_CASE("a network that ends in a softmax is explained at its logits") {
  const auto body = [](bool probabilities) {
    return [probabilities](GraphBuilder& g, Id x) {
      const Id logits = linear(g, relu(g, linear(g, x, 5, "a"), "relu"), 3, "b");
      return probabilities ? softmax(g, logits, "softmax") : logits;
    };
  };
  Model plain("plain", {1, 4, 1, 1}, body(false)), with("softmax", {1, 4, 1, 1}, body(true));
  for (std::size_t i = 0; i < plain.parameters.size(); ++i)
    plain.parameters[i] = with.parameters[i] = std::sin(static_cast<real>(3 * i + 1));
  const Images x = images({2, 4, 1, 1});
  for (const char* method : {"gradient", "lrp", "deeplift", "guided-backprop", "integrated-gradients"}) {
    CAPTURE(std::string(method));
    CHECK(by(with, x, method, {}, 1).relevance == by(plain, x, method, {}, 1).relevance);
  }
  const std::vector<real> p = predict(with, Engine(1), x);
  CHECK(p[0] + p[1] + p[2] == doctest::Approx(1));
}

TEST_CASE("images explained together equal images explained alone, whatever the memory budget") {
  const Model m = conv_net();
  const Images x = images({5, 1, 8, 8});
  const std::vector<std::pair<std::string, std::map<std::string, std::string>>> cases = {
      {"lrp", {}},
      {"deeplift", {{"rule", "reveal-cancel"}}},
      {"integrated-gradients", {{"steps", "5"}}},
      {"smoothgrad", {{"samples", "3"}, {"of", "lrp"}, {"of.composite", "uniform-epsilon"}}},
      {"grad-cam", {}},
      {"occlusion", {}}};
  for (const auto& c : cases) {
    CAPTURE(c.first);
    ExplainRequest request;
    request.method = c.first;
    request.settings = c.second;
    const Explanation all = explain(m, Engine(2), x, request);
    const Explanation tight = explain(m, Engine(1), x, request, {}, 1);
    CHECK(tight.relevance.size() == all.relevance.size());
    for (std::size_t n = 0; n < 5; ++n) {
      const Images one{{1, 1, 8, 8},
                       {x.data.begin() + static_cast<std::ptrdiff_t>(64 * n),
                        x.data.begin() + static_cast<std::ptrdiff_t>(64 * (n + 1))}};
      const Explanation alone = explain(m, Engine(1), one, request, {}, 1);
      for (std::size_t i = 0; i < 64; ++i) {
        CHECK(std::abs(alone.relevance[i] - all.relevance[64 * n + i]) < 1e-5);
        CHECK(std::abs(tight.relevance[64 * n + i] - all.relevance[64 * n + i]) < 1e-5);
      }
    }
  }
}

TEST_CASE("weights are kept prepared where that fits and pays, and batches are no larger than is faster") {
  const auto choose = [](const char* name, std::size_t budget, Demand demand) {
    const Architecture& a = find_architecture(name);
    const Model m = make_model(name, a.usual, a.usual_classes, 1);
    const Id logits = m.logits();
    PlanRequest request;
    request.graph = &m.graph();
    request.keep_values = {&logits, 1};
    const Engine engine(1);
    const Fit f = fit_batch(engine, request, budget, demand);
    request.batch = f.batch;
    request.constant_parameters = f.prepare;
    std::size_t bytes = 0;
    Session::with_plan(engine, request, [&](const Plan& plan) { bytes = plan.bytes(); });
    CHECK((bytes <= budget || (f.batch == 1 && !f.prepare)));
    return f;
  };
  constexpr std::size_t plenty = std::size_t{4} << 30, some = std::size_t{24} << 20;
  const Fit unknown = choose("resnet18", plenty, {}), path = choose("resnet18", plenty, {50, true}),
            few = choose("resnet18", plenty, {3}), tight = choose("resnet18", some, {}),
            none = choose("resnet18", 1, {});
  const Fit call = choose("resnet18", plenty, {16}), single = choose("resnet18", plenty, {1});
  CHECK((unknown.prepare && unknown.batch >= 4 && unknown.batch <= 64));
  // The reference kernels prepare nothing, which always fits.
  const bool prepares = kernels::active() != kernels::Isa::reference;
  CHECK((path.prepare != prepares && path.batch >= 5 && path.batch <= 50));
  CHECK((call.prepare && 16 % call.batch == 0 && single.prepare && single.batch == 1));
  // One image's weights are few enough to keep; those that a batch's kernels prepare are not.
  const Fit deep = choose("resnet34", plenty, {16}), one = choose("resnet34", plenty, {1});
  CHECK((one.prepare && deep.prepare != prepares && deep.batch == 16));
  CHECK((few.prepare && few.batch == 3));
  CHECK((tight.prepare != prepares && tight.batch >= 1 && tight.batch <= 3));
  CHECK((!none.prepare && none.batch == 1));
  const Fit small = choose("lenet5", plenty, {50, true});
  CHECK((small.prepare && small.batch == 50));
}

TEST_CASE("the ledger accounts for every image's score") {
  const Model m = conv_net();
  const Images x = images({3, 1, 8, 8});
  ExplainRequest request;
  request.method = "lrp";
  request.settings = {{"composite", "uniform-epsilon"}};
  request.ledger = true;
  request.objective = Objective::of_class(2);
  const Explanation e = explain(m, Engine(1), x, request);
  REQUIRE(e.ledger.size() == 5);
  CHECK(e.ledger.front().node == "conv");
  CHECK(e.ledger.front().rule == "epsilon");
  double absorbed = 0;
  for (const LedgerRow& row : e.ledger) {
    CHECK(std::abs(row.unplaced()) < 1e-4 * std::max(1.0, row.out.abs_sum));
    absorbed += row.absorbed_by_bias + row.absorbed_by_stabiliser;
    CHECK(row.bytes > 0);
  }
  CHECK(e.ledger.back().out.sum == doctest::Approx(e.score[0] + e.score[1] + e.score[2]).epsilon(1e-5));
  CHECK(sum(e.relevance) + absorbed == doctest::Approx(e.score[0] + e.score[1] + e.score[2]).epsilon(1e-3));
  request.ledger = false;
  CHECK(explain(m, Engine(1), x, request).relevance == e.relevance);
  request.method = "occlusion";
  request.settings = {};
  request.ledger = true;
  test::refused([&] { explain(m, Engine(1), x, request); }, "no ledger");
}

TEST_CASE("explaining again does not grow memory") {
  const Model m = conv_net();
  const Images x = images({2, 1, 8, 8});
  const auto in_use = [] {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const auto once = [&] { by(m, x, "lrp"), by(m, x, "deeplift", {{"rule", "reveal-cancel"}}), by(m, x, "grad-cam"); };
  once();
  const std::size_t before = in_use();
  for (int i = 0; i < 20; ++i) once();
  CHECK(in_use() <= before);
}

TEST_CASE("what has no meaning is refused with a sentence, before anything runs") {
  const Model m = conv_net();
  const Images x = images({1, 1, 8, 8});
  test::refused([&] { by(m, x, "shap"); }, "unknown method 'shap'");
  test::refused([&] { by(m, x, "lrp", {{"epsilonn", "1"}}); }, "no setting 'epsilonn'");
  test::refused([&] { by(m, x, "lrp", {{"epsilon", "-1"}}); }, "epsilon=-1");
  test::refused([&] { by(m, x, "lrp", {{"epsilon", "nan"}}); }, "epsilon=nan");
  test::refused([&] { by(m, x, "lrp", {{"composite", "best"}}); }, "composite=best");
  test::refused(
      [&] {
        by(m, x, "lrp", {{"composite", "uniform-alpha-beta"}, {"alpha", "2"}, {"beta", "2"}});
      },
      "alpha - beta = 1");
  test::refused([&] { by(m, x, "lrp", {{"composite", "epsilon-gamma-box"}, {"low", "0;1"}}); }, "low=0;1");
  test::refused([&] { by(m, x, "integrated-gradients", {{"steps", "0"}}); }, "steps=0");
  test::refused([&] { by(m, x, "integrated-gradients", {{"steps", "2.5"}}); }, "steps=2.5");
  test::refused([&] { by(m, x, "integrated-gradients", {{"quadrature", "trapezoid"}, {"steps", "1"}}); }, "at least 2");
  test::refused([&] { by(m, x, "grad-cam", {{"node", "conv9"}}); }, "conv9");
  test::refused([&] { by(m, x, "occlusion", {{"window", "9"}}); }, "window=9");
  test::refused([&] { by(m, x, "occlusion", {{"window", "2x0"}}); }, "window=2x0");
  test::refused([&] { by(m, x, "smoothgrad", {{"of", "smoothgrad"}}); }, "of=smoothgrad");
  test::refused([&] { by(m, x, "gradient", {}, 3); }, "target 3");
  test::refused([&] { by(m, x, "gradient", {}, -1); }, "target -1");
  test::refused([&] { by(m, images({1, 1, 7, 8}), "gradient"); }, "shape");
  Images bad = x;
  bad.data[5] = NAN;
  test::refused([&] { by(m, bad, "gradient"); }, "not finite");
  test::refused([&] { parse_rule_choice("conv"); }, "NODE-PATTERN");
  test::refused([&] { parse_rule_choice("conv=magic"); }, "unknown rule 'magic'");
  test::refused([&] { parse_rule_choice("conv=epsilon:epsilon"); }, "key=value");
  ExplainRequest request;
  request.method = "lrp";
  const auto with_rule = [&](const char* text) {
    request.rules = {parse_rule_choice(text)};
    explain(m, Engine(1), x, request);
  };
  test::refused([&] { with_rule("nothing*=epsilon"); }, "matches no node");
  test::refused([&] { with_rule("conv=pass"); }, "conv");
  test::refused([&] { with_rule("gap=flat"); }, "gap");
  test::refused([&] { with_rule("relu=rescale"); }, "deeplift");
  test::refused([&] { with_rule("conv=gamma:gamma=-2"); }, "gamma=-2");
  Model smooth("smooth", {1, 4, 1, 1},
               [](GraphBuilder& g, Id in) { return linear(g, tanh(g, linear(g, in, 3, "a"), "tanh"), 2, "b"); });
  test::refused([&] { by(smooth, images({1, 4, 1, 1}), "guided-backprop"); }, "tanh");
  CHECK_NOTHROW(by(smooth, images({1, 4, 1, 1}), "guided-backprop", {{"other", "gradient"}}));
}

TEST_CASE("rules set for single nodes") {
  const Model m = conv_net();
  const Images x = images({1, 1, 8, 8});
  ExplainRequest request;
  request.method = "lrp";
  request.settings = {{"composite", "uniform-epsilon"}};
  request.objective = Objective::of_class(0);
  const Explanation uniform = explain(m, Engine(1), x, request);
  request.rules = {parse_rule_choice("conv=flat")};
  const Explanation flat = explain(m, Engine(1), x, request);
  CHECK(flat.relevance != uniform.relevance);
  request.rules.push_back(parse_rule_choice("c*=epsilon"));  // the later one wins
  CHECK(explain(m, Engine(1), x, request).relevance == uniform.relevance);
  request.rules = {parse_rule_choice("conv=z-box:low=-1,high=1")};
  CHECK(explain(m, Engine(1), x, request).relevance != uniform.relevance);
}

TEST_SUITE_END();
