#include "core/host/io/npy.h"
#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/view.h"
#include "tests/support/files.h"
#include "tests/support/methods.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

constexpr const char* method = "feature-ablation";

// A linear network of images of 2 channels and 2x3 pixels. Class 0 weighs element i with i + 1, class 1 sees the first
// pixel of channel 0 alone.
Model linear_network() {
  Model m("linear", {1, 2, 2, 3}, [](GraphBuilder& g, Id x) { return linear(g, flatten(g, x, "flatten"), 2, "fc"); });
  std::vector<real> weights(24);
  for (std::size_t i = 0; i < 12; ++i) weights[i] = static_cast<real>(i + 1);
  weights[12] = 5;
  test::set_parameter(m, "fc.weight", weights);
  return m;
}

std::string segments_file(const test::Folder& folder, const std::vector<std::int64_t>& shape,
                          const std::vector<std::int64_t>& labels) {
  const std::string path = folder / "segments.npy";
  io::write_npy(path, shape, labels.data());
  return path;
}

// What the method must give for class 0: the sum over the feature of weight * (x - off), in equal parts.
std::vector<double> truth(const Images& x, const std::vector<int>& label, const std::vector<double>& off) {
  std::vector<double> map;
  for (std::size_t n = 0; n < static_cast<std::size_t>(x.shape.n()); ++n)
    for (std::size_t i = 0; i < 12; ++i) {
      double fall = 0, elements = 0;
      for (std::size_t k = 0; k < 12; ++k)
        if (label[k % 6] == label[i % 6]) {
          fall += static_cast<double>(k + 1) * (static_cast<double>(x.data[12 * n + k]) - off[2 * n + k / 6]);
          ++elements;
        }
      map.push_back(fall / elements);
    }
  return map;
}

void same(const std::vector<real>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-4));
}

}  // namespace

TEST_CASE("feature-ablation: of a linear network, weight times what is taken away, whatever the fill") {
  const test::Folder folder;
  const Model m = linear_network();
  const Images x = test::some_images({3, 2, 2, 3});
  // Numbers need not begin at 0, nor follow each other, and a feature may be in pieces.
  const std::string file = segments_file(folder, {2, 3}, {7, -2, 7, 30, 30, -2});
  const std::vector<int> label{7, -2, 7, 30, 30, -2};
  std::vector<double> means(6);
  for (std::size_t i = 0; i < 36; ++i) means[i / 6] += static_cast<double>(x.data[i]) / 6;

  const Explanation e = test::explain_class(m, x, method, 0, {{"features", file}});
  same(e.relevance, truth(x, label, std::vector<double>(6, 0)));
  same(test::explain_class(m, x, method, 0, {{"features", file}, {"fill", "0.5"}}).relevance,
       truth(x, label, std::vector<double>(6, 0.5)));
  same(test::explain_class(m, x, method, 0, {{"features", file}, {"fill", "mean"}}).relevance, truth(x, label, means));
  CHECK(e.target == std::vector<int>{0, 0, 0});
  // The network is linear and has no bias: the falls make up the whole score here.
  for (std::size_t n = 0; n < 3; ++n) CHECK(e.sum(n) == doctest::Approx(e.score[n]).epsilon(1e-4));
  CHECK(!e.complete);
}

TEST_CASE("feature-ablation: features that the score does not depend on get 0, a feature shares its fall") {
  const test::Folder folder;
  const Model m = linear_network();
  const Images x = test::some_images({1, 2, 2, 3}, 1);
  const std::string file = segments_file(folder, {2, 3}, {0, 0, 1, 1, 1, 1});
  const Explanation e = test::explain_class(m, x, method, 1, {{"features", file}});
  for (std::size_t i = 0; i < 12; ++i)
    CHECK(e.relevance[i] == doctest::Approx(i % 6 < 2 ? 5 * static_cast<double>(x.data[0]) / 4 : 0));
}

TEST_CASE("feature-ablation: cells of a grid, and images together as images alone") {
  const Model m = linear_network();
  const Images x = test::some_images({3, 2, 2, 3});
  const std::vector<double> off(6, 0);
  same(test::explain_class(m, x, method, 0).relevance, truth(x, {0, 1, 2, 3, 4, 5}, off));  // one pixel each
  const Explanation e = test::explain_class(m, x, method, 0, {{"cells", "1,2"}});
  same(e.relevance, truth(x, {0, 0, 1, 2, 2, 3}, off));
  same(test::explain_class(m, x, method, 0, {{"cells", "2"}}).relevance, truth(x, {0, 0, 1, 0, 0, 1}, off));
  for (std::size_t n = 0; n < 3; ++n) {
    const auto at = x.data.begin() + static_cast<std::ptrdiff_t>(12 * n);
    const Explanation alone =
        test::explain_class(m, {x.shape.with_batch(1), std::vector<real>(at, at + 12)}, method, 0, {{"cells", "1,2"}});
    CHECK(std::equal(alone.relevance.begin(), alone.relevance.end(),
                     e.relevance.begin() + static_cast<std::ptrdiff_t>(12 * n)));
  }
}

TEST_CASE("feature-ablation: more features than masks are made at once, at the cost that the card states") {
  Model m("wide", {1, 1, 40, 40}, [](GraphBuilder& g, Id x) { return linear(g, flatten(g, x, "flatten"), 2, "fc"); });
  std::vector<real> weights(3200);
  for (std::size_t i = 0; i < 1600; ++i) weights[i] = static_cast<real>(std::cos(static_cast<double>(i)));
  test::set_parameter(m, "fc.weight", weights);
  const Images x = test::some_images({2, 1, 40, 40});
  const Engine engine(1);
  Subject subject(m, engine);
  ExplainRequest request;
  request.method = method;
  request.settings = {{"cells", "1"}};
  request.objective = Objective::of_class(0);
  double last = 0;
  const auto watch = [&](double share) {
    CHECK(share >= last);
    last = share;
  };
  const Job job(watch, {});
  const Explanation e = Explainer(subject, request).explain(x, job);
  for (std::size_t i = 0; i < e.relevance.size(); ++i)
    CHECK(std::abs(static_cast<double>(e.relevance[i]) - static_cast<double>(weights[i % 1600] * x.data[i])) < 1e-4);
  CHECK(last == doctest::Approx(1));
  CHECK(subject.runs().forward == 2 * (1 + 1600));
  CHECK(subject.runs().backward == 0);
}

TEST_CASE("feature-ablation: of an inner unit, the pixel that it sees") {
  Model m("inner", {1, 2, 2, 3}, [](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = 2, .kernel = 1}, "conv"), "relu");
    return linear(g, flatten(g, h, "flatten"), 2, "fc");
  });
  test::set_parameter(m, "conv.weight", {2, 3, -1, 1});
  test::set_parameter(m, "conv.bias", {0.25f, 0});
  const Images x{{1, 2, 2, 3}, {1, 2, 3, 4, 5, 6, 0.5f, 1, 1.5f, 2, 2.5f, 3}};
  ExplainRequest request;
  request.method = method;
  request.settings = {{"cells", "1,1"}};
  request.objective = Objective::unit(m, "relu", 0, 1, 2);  // 2 * 6 + 3 * 3 + 0.25
  const Explanation e = explain(m, Engine(1), x, request);
  CHECK(e.score[0] == doctest::Approx(21.25));
  CHECK(e.target == std::vector<int>{-1});
  for (std::size_t i = 0; i < 12; ++i) CHECK(e.relevance[i] == doctest::Approx(i % 6 == 5 ? 10.5 : 0));
  request.objective = Objective::unit(m, "conv", 1);  // the sum of channel 1 over all positions
  const Explanation map = explain(m, Engine(1), x, request);
  for (std::size_t i = 0; i < 12; ++i)
    CHECK(map.relevance[i] == doctest::Approx(static_cast<double>(x.data[i % 6 + 6] - x.data[i % 6]) / 2));
}

TEST_CASE("feature-ablation: what it refuses") {
  const test::Folder folder;
  const Model m = linear_network();
  const Images x = test::some_images({1, 2, 2, 3});
  const auto refused = [&](const std::map<std::string, std::string>& settings, const std::string& word) {
    test::refused([&] { test::explain_class(m, x, method, 0, settings); }, word);
  };
  refused({{"features", segments_file(folder, {3, 2}, {0, 1, 2, 3, 4, 5})}}, "(3,2)");
  refused({{"features", segments_file(folder, {1, 1, 2, 3}, {0, 1, 2, 3, 4, 5})}}, "(1,1,2,3)");
  refused({{"features", segments_file(folder, {2, 3}, {4, 4, 4, 4, 4, 4})}}, "one segment");
  refused({{"features", folder / "nowhere.npy"}}, "nowhere.npy");
  refused({{"features", segments_file(folder, {2, 3}, {0, 1, 0, 1, 0, 1})}, {"cells", "1"}}, "beside features");
  for (const char* fill : {"median", "", "1x", "nan", "1e300"}) refused({{"fill", fill}}, std::string("fill=") + fill);
  for (const char* cells : {"0", "1.5", "-1,1", "3,1", "1,4", "1,1,1", "2,3"})
    refused({{"cells", cells}}, std::string("features grid:") + cells);
}

TEST_CASE("feature-ablation: segments of each image's own") {
  const test::Folder folder;
  const Model m = linear_network();
  const Images x = test::some_images({2, 2, 2, 3});
  const std::string file = segments_file(folder, {2, 2, 3}, {0, 0, 0, 1, 1, 1, 0, 1, 2, 0, 1, 2});
  const Explanation both = test::explain_class(m, x, method, 0, {{"features", file}});
  CHECK(both.features[0].size() == 2);
  CHECK(both.features[1].size() == 3);
  const Images second{{1, 2, 2, 3}, {x.data.begin() + 12, x.data.end()}};
  const std::string own = segments_file(folder, {2, 3}, {0, 1, 2, 0, 1, 2});
  CHECK(test::explain_class(m, second, method, 0, {{"features", own}}).features[0] == both.features[1]);
  const Images three = test::some_images({3, 2, 2, 3});
  test::refused(
      [&] {
        test::explain_class(m, three, method, 0,
                            {{"features", segments_file(folder, {2, 2, 3}, {0, 0, 0, 1, 1, 1, 0, 1, 2, 0, 1, 2})}});
      },
      "segments for 2 images, but image 2");
}

TEST_SUITE_END();
