// Where units look: known tables, and the support of a unit's gradient.
#include "core/geometry.h"

#include <string>

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/conv2d.h"
#include "layers/conv_transpose2d.h"
#include "layers/pool.h"
#include "layers/upsample.h"
#include "layers/view.h"
#include "tests/support/net.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("core");

namespace {

Status find(const Net& net, Id value, Geometry& out, Failure* failure = nullptr) {
  std::vector<std::byte> memory(1 << 16);
  Arena book(memory.data(), memory.size());
  return find_geometry(net.context(failure), net.graph, value, book, out);
}

}  // namespace

TEST_CASE("geometry of AlexNet and LeNet") {
  struct Row {
    const char* node;
    float size, jump;
  };
  Net alex({1, 3, 227, 227}, [](GraphBuilder& g, Id x) {
    Id h = conv2d(g, x, {.out = 1, .kernel = 11, .stride = 4}, "conv1");
    h = max_pool(g, relu(g, h, "relu1"), {.kernel = 3, .stride = 2}, "pool1");
    h = max_pool(g, conv2d(g, h, {.out = 1, .kernel = 5, .padding = 2}, "conv2"), {.kernel = 3, .stride = 2}, "pool2");
    h = conv2d(g, h, {.out = 1, .kernel = 3, .padding = 1}, "conv3");
    h = conv2d(g, h, {.out = 1, .kernel = 3, .padding = 1}, "conv4");
    h = conv2d(g, h, {.out = 1, .kernel = 3, .padding = 1}, "conv5");
    h = max_pool(g, h, {.kernel = 3, .stride = 2}, "pool5");
    return flatten(g, h, "flatten");
  });
  for (const Row& row : {Row{"conv1", 11, 4},
                         {"relu1", 11, 4},
                         {"pool1", 19, 8},
                         {"conv2", 51, 8},
                         {"pool2", 67, 16},
                         {"conv3", 99, 16},
                         {"conv4", 131, 16},
                         {"conv5", 163, 16},
                         {"pool5", 195, 32}}) {
    CAPTURE(std::string(row.node));
    Geometry geometry;
    REQUIRE(find(alex, alex.graph.nodes[alex.node(row.node)].out, geometry) == Status::ok);
    CHECK(geometry.w.size == row.size);
    CHECK(geometry.h.jump == row.jump);
    CHECK(!geometry.h.whole);
  }
  Geometry geometry;
  REQUIRE(find(alex, alex.graph.output, geometry) == Status::ok);
  CHECK(geometry.h.whole);
  Net lenet({1, 1, 28, 28}, [](GraphBuilder& g, Id x) {
    const Id h = max_pool(g, conv2d(g, x, {.out = 1, .kernel = 5}, "conv1"), {.kernel = 2}, "pool1");
    return max_pool(g, conv2d(g, h, {.out = 1, .kernel = 5}, "conv2"), {.kernel = 2}, "pool2");
  });
  for (const Row& row : {Row{"conv1", 5, 1}, {"pool1", 6, 2}, {"conv2", 14, 2}, {"pool2", 16, 4}}) {
    REQUIRE(find(lenet, lenet.graph.nodes[lenet.node(row.node)].out, geometry) == Status::ok);
    CHECK(geometry.h.size == row.size);
    CHECK(geometry.h.jump == row.jump);
    CHECK(geometry.h.start == row.size / 2);  // no padding: place 0 is centred in its field
  }
}

TEST_CASE("geometry is the support of a unit's gradient") {
  struct Case {
    const char* name;
    Id (*body)(GraphBuilder&, Id);
  };
  const Case cases[] = {
      {"convolutions and pools",
       [](GraphBuilder& g, Id x) {
         return avg_pool(
             g,
             conv2d(g, avg_pool(g, conv2d(g, x, {.out = 1, .kernel = 3, .stride = 2, .padding = 1}), {.kernel = 2}),
                    {.out = 1, .kernel = 3, .padding = 2, .dilation = 2}),
             {.kernel = 3, .stride = 1, .padding = 1});
       }},
      {"pad, crop, slice",
       [](GraphBuilder& g, Id x) {
         return slice(g, conv2d(g, pad(g, x, 2, -1, 3, -2), {.out = 1, .kernel = 3}), 2, 1, 16, 2);
       }},
      {"residual sum",
       [](GraphBuilder& g, Id x) {
         const Id h = conv2d(g, x, {.out = 1, .kernel = 3, .padding = 1});
         return add(g, conv2d(g, h, {.out = 1, .kernel = 5, .padding = 2}), h);
       }},
      {"up again",
       [](GraphBuilder& g, Id x) {
         return conv_transpose2d(g, avg_pool(g, x, {.kernel = 2}), {.out = 1, .kernel = 2, .stride = 2});
       }},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.name));
    Net net({1, 1, 48, 48}, c.body);
    for (real& p : net.parameters) p = std::abs(p) + real{0.1};  // nothing cancels
    Geometry geometry;
    REQUIRE(find(net, net.graph.output, geometry) == Status::ok);
    const GradientRule rule;
    Walked walked(net, everywhere(net, rule), {});
    const Values y = walked.forward(random_values(net.image(1).size(), 1), 1);
    const Shape s = net.result(1);
    const std::int32_t i = s.h() / 2, j = s.w() / 2;
    Values seed(y.size(), 0);
    seed[static_cast<std::size_t>(i * s.w() + j)] = 1;
    const Values d = walked.back(seed);
    int top = 48, bottom = -1, left = 48, right = -1;
    for (int p = 0; p < 48 * 48; ++p)
      if (d[static_cast<std::size_t>(p)] != 0)
        top = std::min(top, p / 48), bottom = std::max(bottom, p / 48), left = std::min(left, p % 48),
        right = std::max(right, p % 48);
    // Enlarging ops see as much on average: the outermost place may fall in between.
    const float slack = std::string(c.name) == "up again" ? 1.0f : 0.0f;
    CHECK(std::abs(static_cast<float>(top) - (geometry.h.centre(i) - geometry.h.size / 2)) <= slack);
    CHECK(std::abs(static_cast<float>(bottom) + 1 - (geometry.h.centre(i) + geometry.h.size / 2)) <= slack);
    CHECK(std::abs(static_cast<float>(left) - (geometry.w.centre(j) - geometry.w.size / 2)) <= slack);
    CHECK(std::abs(static_cast<float>(right) + 1 - (geometry.w.centre(j) + geometry.w.size / 2)) <= slack);
  }
}

TEST_CASE("geometry refuses maps of different strides in one place") {
  Net net({1, 1, 8, 8}, [](GraphBuilder& g, Id x) {
    return add(g, max_pool(g, x, {.kernel = 2}, "halved"), pad(g, x, 0, 0, -4, -4, "cropped"), "sum");
  });
  Geometry geometry;
  Failure failure;
  CHECK(find(net, net.graph.output, geometry, &failure) == Status::bad_argument);
  CHECK(std::string(failure.node) == "sum");
}

TEST_SUITE_END();
