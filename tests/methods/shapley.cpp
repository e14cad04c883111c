// Shapley values and LIME on games whose answer is known: linear scores, the exact values, planted features.
#include <functional>

#include "interp/math/least_squares.h"
#include "interp/perturb/baseline.h"
#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/product.h"
#include "layers/view.h"
#include "tests/support/files.h"
#include "tests/support/methods.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("methods");

namespace {

// 4 x 4 pixels in 8 features of 1 x 2.
const std::map<std::string, std::string> eight = {{"features", "grid:1,2"}};

std::map<std::string, std::string> with(std::map<std::string, std::string> more) {
  more.insert(eight.begin(), eight.end());
  return more;
}

Model linear_net() {
  Model m("linear", {1, 1, 4, 4}, [](GraphBuilder& g, Id x) { return linear(g, flatten(g, x, "flatten"), 2, "fc"); });
  for (std::size_t i = 0; i < m.parameters.size(); ++i)
    m.parameters[i] = static_cast<real>(std::sin(1.1 * static_cast<double>(i)) + 0.2);
  return m;
}

Model curved_net() {
  Model m("curved", {1, 1, 4, 4}, [](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = 5, .kernel = 3, .padding = 1}, "conv"), "relu");
    return linear(g, flatten(g, h, "flatten"), 2, "fc");
  });
  for (std::size_t i = 0; i < m.parameters.size(); ++i)
    m.parameters[i] = static_cast<real>(0.5 * std::sin(1.9 * static_cast<double>(i)));
  return m;
}

Explanation by(const Model& m, const Images& x, const std::string& method, std::map<std::string, std::string> settings,
               const BaselineChoice& background = {}, Score score = Score::logit) {
  ExplainRequest request;
  request.method = method;
  request.settings = std::move(settings);
  request.objective = Objective::of_class(1).with_score(score);
  request.baseline = background;
  return explain(m, Engine(1), x, request);
}

std::vector<double> sums_of_features(const Explanation& e) {
  std::vector<double> v(8, 0.0);
  for (std::size_t p = 0; p < 16; ++p) v[p / 2] += static_cast<double>(e.relevance[p]);
  return v;
}

}  // namespace

TEST_CASE("a linear score: a feature's value is its own part, by every method") {
  const Model m = linear_net();
  const Images x = some_images({1, 1, 4, 4}, 0.2);
  std::vector<double> own(8, 0.0);
  for (std::size_t p = 0; p < 16; ++p)
    own[p / 2] += static_cast<double>(x.data[p]) * static_cast<double>(m.parameters[16 + p]);
  const std::pair<const char*, std::map<std::string, std::string>> calls[] = {
      {"shapley", eight},
      {"kernel-shap", eight},
      {"kernel-shap", with({{"samples", "40"}})},
      {"sampling-shapley", with({{"samples", "2"}})},
      {"feature-ablation", eight},
      {"lime", with({{"fill", "zero"}, {"alpha", "0"}, {"samples", "100"}})},
      {"lime", with({{"fill", "zero"}, {"alpha", "0"}, {"samples", "100"}, {"selection", "lasso"}, {"keep", "8"}})},
  };
  for (const auto& call : calls) {
    const std::string method = call.first;
    CAPTURE(method);
    const Explanation e = by(m, x, method, call.second);
    REQUIRE(e.features.size() == 1);
    const std::vector<double> spread = sums_of_features(e);
    for (std::size_t k = 0; k < 8; ++k) {
      CHECK(e.features[0][k] == doctest::Approx(own[k]).epsilon(1e-4).scale(1e-2));
      CHECK(spread[k] == doctest::Approx(own[k]).epsilon(1e-4).scale(1e-2));
    }
  }
  CHECK(by(m, x, "lime", with({{"fill", "zero"}, {"alpha", "0"}})).note.starts_with("R2 1.0000"));
}

TEST_CASE("KernelSHAP with all subsets is exact, sampling comes within its standard errors, sums are kept") {
  const Model m = curved_net();
  const Images x = some_images({2, 1, 4, 4}, 0.7);
  const Explanation exact = by(m, x, "shapley", eight), all = by(m, x, "kernel-shap", eight),
                    some = by(m, x, "kernel-shap", with({{"samples", "60"}})),
                    sampled = by(m, x, "sampling-shapley", with({{"samples", "200"}}));
  double size = 0;
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t k = 0; k < 8; ++k) {
      size = std::max(size, std::abs(exact.features[n][k]));
      CHECK(all.features[n][k] == doctest::Approx(exact.features[n][k]).epsilon(1e-4).scale(1e-2));
      CHECK(std::abs(some.features[n][k] - exact.features[n][k]) < 0.2 * (0.1 + size));
      const double error = sampled.standard_errors[n][k];
      CHECK(error > 0);
      CHECK(std::abs(sampled.features[n][k] - exact.features[n][k]) < 4 * error);
    }
  CHECK(size > 0.1);
  for (const Explanation* const e : {&exact, &all, &some, &sampled})
    for (std::size_t n = 0; n < 2; ++n)
      CHECK(e->sum(n) == doctest::Approx(e->score[n] - e->baseline_score[n]).epsilon(1e-4).scale(0.1));
  // The same seed gives the same values, another one others.
  CHECK(by(m, x, "kernel-shap", with({{"samples", "60"}})).relevance == some.relevance);
  CHECK(by(m, x, "kernel-shap", with({{"samples", "60"}, {"seed", "1"}})).relevance != some.relevance);
}

TEST_CASE("a permutation walked in both directions is exact where features act in pairs") {
  // The product of two linear functions has no interaction of three features.
  Model m("pairs", {1, 1, 4, 4}, [](GraphBuilder& g, Id x) {
    const Id flat = flatten(g, x, "flatten"), a = linear(g, flat, 2, "a"), b = linear(g, flat, 2, "b");
    return multiply(g, a, b, -1, "product");
  });
  for (std::size_t i = 0; i < m.parameters.size(); ++i)
    m.parameters[i] = static_cast<real>(0.4 * std::sin(1.7 * static_cast<double>(i)) + 0.1);
  const Images x = some_images({1, 1, 4, 4}, 0.9);
  const Explanation exact = by(m, x, "shapley", eight),
                    one = by(m, x, "sampling-shapley", with({{"samples", "1"}, {"seed", "3"}}));
  for (std::size_t k = 0; k < 8; ++k)
    CHECK(one.features[0][k] == doctest::Approx(exact.features[0][k]).epsilon(1e-4).scale(1e-2));
}

TEST_CASE("a background set: values are the mean over its rows; features that never change get nothing") {
  const Model m = curved_net();
  const Images x = some_images({1, 1, 4, 4}, 0.7);
  Images rows = some_images({3, 1, 4, 4}, 2.5);
  for (std::size_t n = 0; n < 3; ++n)
    std::copy_n(x.data.begin(), 2, rows.data.begin() + static_cast<std::ptrdiff_t>(16 * n));
  const Explanation together = by(m, x, "shapley", eight, {.images = rows});
  std::vector<double> mean(8, 0.0);
  for (std::ptrdiff_t n = 0; n < 3; ++n) {
    const Images one{{1, 1, 4, 4}, {rows.data.begin() + 16 * n, rows.data.begin() + 16 * (n + 1)}};
    const Explanation e = by(m, x, "shapley", eight, {.images = one});
    for (std::size_t k = 0; k < 8; ++k) mean[k] += e.features[0][k] / 3;
  }
  const Explanation kernel = by(m, x, "kernel-shap", eight, {.images = rows});
  for (std::size_t k = 0; k < 8; ++k) {
    CHECK(together.features[0][k] == doctest::Approx(mean[k]).epsilon(1e-4).scale(1e-2));
    CHECK(kernel.features[0][k] == doctest::Approx(mean[k]).epsilon(1e-4).scale(1e-2));
  }
  CHECK(together.features[0][0] == doctest::Approx(0).epsilon(1e-6).scale(1));
  refused([&] { by(m, x, "shapley", eight, {.images = Images{{1, 1, 3, 3}, std::vector<real>(9)}}); }, "background");
  refused([&] { by(m, x, "shapley", with({{"fill", "1"}}), {.images = rows}); }, "no fill beside a background");
}

TEST_CASE("DeepSHAP is the mean of DeepLIFT over the background, expected gradients come within their standard error") {
  const Model m = curved_net(), line = linear_net();
  const Images x = some_images({2, 1, 4, 4}, 0.7), rows = some_images({3, 1, 4, 4}, 2.5);
  const Explanation deep = by(m, x, "deep-shap", {}, {.images = rows});
  std::vector<double> mean(32, 0.0), paths(32, 0.0), exact(32, 0.0);
  for (std::ptrdiff_t n = 0; n < 3; ++n) {
    const Images one{{1, 1, 4, 4}, {rows.data.begin() + 16 * n, rows.data.begin() + 16 * (n + 1)}};
    const Explanation d = by(m, x, "deeplift", {}, {.images = one}),
                      i = by(m, x, "integrated-gradients", {{"steps", "200"}}, {.images = one});
    for (std::size_t k = 0; k < 32; ++k) {
      mean[k] += static_cast<double>(d.relevance[k]) / 3;
      paths[k] += static_cast<double>(i.relevance[k]) / 3;
      exact[k] += static_cast<double>(line.parameters[16 + k % 16]) *
                  (static_cast<double>(x.data[k]) - static_cast<double>(one.data[k % 16])) / 3;
    }
  }
  const Explanation expected = by(m, x, "gradient-shap", {{"samples", "2000"}}, {.images = rows}),
                    linear_deep = by(line, x, "deep-shap", {}, {.images = rows});
  for (std::size_t k = 0; k < 32; ++k) {
    CHECK(deep.relevance[k] == doctest::Approx(mean[k]).epsilon(1e-4).scale(1e-2));
    CHECK(linear_deep.relevance[k] == doctest::Approx(exact[k]).epsilon(1e-4).scale(1e-2));
    CHECK(std::abs(static_cast<double>(expected.relevance[k]) - paths[k]) < 4 * expected.standard_errors[k / 16][0]);
  }
  for (std::size_t n = 0; n < 2; ++n)
    CHECK(deep.sum(n) == doctest::Approx(deep.score[n] - deep.baseline_score[n]).epsilon(1e-4).scale(0.1));
  CHECK(by(m, x, "gradient-shap", {{"noise", "0.1"}}, {.images = rows}).relevance !=
        by(m, x, "gradient-shap", {}, {.images = rows}).relevance);
  for (const char* method : {"deep-shap", "gradient-shap"})
    refused(
        [&] {
          by(m, x, method, {}, {.images = Images{{1, 1, 3, 3}, std::vector<real>(9)}});
        },
        "background has shape");
}

TEST_CASE("scores of probabilities, fills, and settings that are refused") {
  const Model m = curved_net();
  const Images x = some_images({1, 1, 4, 4}, 0.7);
  const std::vector<real> y = predict(m, Engine(1), x);
  const double p = 1 / (1 + std::exp(static_cast<double>(y[0]) - static_cast<double>(y[1])));
  const Explanation e = by(m, x, "shapley", eight, {}, Score::probability);
  CHECK(e.score[0] == doctest::Approx(p).epsilon(1e-5));
  CHECK(e.sum(0) == doctest::Approx(p - e.baseline_score[0]).epsilon(1e-4));
  // With the logit link the values are of the log-odds, which two classes' logits are linear in.
  const Explanation linked = by(linear_net(), x, "kernel-shap", with({{"link", "logit"}}), {}, Score::probability),
                    odds = by(linear_net(), x, "shapley", eight, {}, Score::log_odds);
  for (std::size_t k = 0; k < 8; ++k)
    CHECK(linked.features[0][k] == doctest::Approx(odds.features[0][k]).epsilon(1e-3).scale(1e-2));
  // A linear score: a feature's value is what its pixels lose against what stands in for them.
  const Model line = linear_net();
  const Images blur = blurred(x.view(), 1);  // sigma: a side of 4 / 8, at least 1
  double mean = 0;
  for (const real v : x.data) mean += static_cast<double>(v) / 16;
  const std::pair<const char*, std::function<double(std::size_t)>> fills[] = {
      {"mean", [&](std::size_t) { return mean; }},
      {"blur", [&](std::size_t p) { return static_cast<double>(blur.data[p]); }},
      {"segment-mean",
       [&](std::size_t p) {
         return (static_cast<double>(x.data[p - p % 2]) + static_cast<double>(x.data[p - p % 2 + 1])) / 2;
       }},
      {"0.5", [](std::size_t) { return 0.5; }},
  };
  for (const auto& fill : fills) {
    std::vector<double> lost(8, 0.0);
    for (std::size_t i = 0; i < 16; ++i)
      lost[i / 2] += static_cast<double>(line.parameters[16 + i]) * (static_cast<double>(x.data[i]) - fill.second(i));
    const Explanation filled = by(line, x, "shapley", with({{"fill", fill.first}}));
    for (std::size_t k = 0; k < 8; ++k)
      CHECK(filled.features[0][k] == doctest::Approx(lost[k]).epsilon(1e-4).scale(1e-2));
  }

  refused([&] { by(m, x, "shapley", {{"features", "pixels"}, {"fill", "grey"}}); }, "segment-mean");
  refused([&] { by(m, x, "kernel-shap", {{"features", "grid:9,1"}}); }, "at most the image's 4,4");
  refused([&] { by(m, x, "kernel-shap", {{"features", "grid:4,4"}}); }, "one segment alone");
  refused([&] { by(m, x, "kernel-shap", {{"features", "voronoi"}}); }, "expected pixels, grid");
  refused([&] { by(m, x, "kernel-shap", with({{"link", "logit"}})); }, "identity");
  refused([&] { by(m, x, "lime", with({{"keep", "3"}})); }, "selection");
  Model larger("larger", {1, 1, 5, 5},
               [](GraphBuilder& g, Id h) { return linear(g, flatten(g, h, "flatten"), 2, "fc"); });
  refused([&] { by(larger, some_images({1, 1, 5, 5}), "shapley", {{"features", "pixels"}}); }, "there are 25 features");
}

TEST_CASE("LIME keeps the planted features by each way of choosing, and says when the fit is weak") {
  Model m("planted", {1, 1, 4, 4}, [](GraphBuilder& g, Id x) { return linear(g, flatten(g, x, "flatten"), 2, "fc"); });
  std::vector<real> w(32, 0.01f);
  w[16 + 5] = 2, w[16 + 12] = -3;  // in features 2 and 6
  set_parameter(m, "fc.weight", w);
  const Images x{{1, 1, 4, 4}, std::vector<real>(16, 1)};
  for (const char* selection : {"forward", "highest", "lasso"}) {
    CAPTURE(std::string(selection));
    const Explanation e = by(m, x, "lime", with({{"fill", "zero"}, {"selection", selection}, {"keep", "2"}}));
    for (std::size_t k = 0; k < 8; ++k) CHECK((e.features[0][k] != 0) == (k == 2 || k == 6));
    CHECK(e.features[0][2] == doctest::Approx(2).epsilon(0.1));
  }
  // The product of two pixels' signs is no sum.
  const Model curved = curved_net();
  const Explanation far =
      by(curved, some_images({1, 1, 4, 4}), "lime", with({{"fill", "zero"}, {"samples", "9"}, {"alpha", "1000"}}));
  REQUIRE(far.warnings.size() == 1);
  CHECK(far.warnings[0].find("(R2)") != std::string::npos);
}

TEST_CASE("least squares with weights, a ridge and an intercept") {
  Matrix x(4, 2);
  x.data = {1, 0, 0, 1, 1, 1, 2, 1};
  const std::vector<double> y = {1 + 2, 1 - 1, 1 + 1, 1 + 3}, w = {1, 2, 3, 0.5};  // 1 + 2 a - b
  const LinearFit exact = ridge_with_intercept(x, y, w, 0);
  CHECK(exact.intercept == doctest::Approx(1));
  CHECK(exact.coefficients[0] == doctest::Approx(2));
  CHECK(exact.coefficients[1] == doctest::Approx(-1));
  CHECK(exact.r2 == doctest::Approx(1));
  // One column, no intercept: b = sum w x y / (sum w x^2 + alpha).
  Matrix one(3, 1);
  one.data = {1, 2, 3};
  const std::vector<double> z = {2, 3, 5}, u = {1, 1, 2};
  CHECK(ridge(one, z, u, 4)[0] == doctest::Approx((2 + 6 + 30) / (1 + 4 + 18 + 4.0)));
  // Equal columns share.
  Matrix twice(3, 2);
  twice.data = {1, 1, 2, 2, 3, 3};
  const std::vector<double> shared = ridge(twice, z, u, 0);
  CHECK(shared[0] == doctest::Approx(shared[1]));
}

TEST_SUITE_END();
