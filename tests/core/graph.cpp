// Builders keep their first mistake; names, patterns and shared memory.
#include <string>

#include "tests/support/small_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("core");

namespace {

struct Attempt {
  Status status;
  std::string node, what;
};

Attempt build(Shape image, const std::function<Id(GraphBuilder&, Id)>& body, std::size_t bytes = std::size_t{1} << 20,
              std::size_t nodes = 64, std::size_t values = 256) {
  std::vector<std::byte> memory(bytes);
  Arena arena(memory.data(), memory.size());
  GraphBuilder g(arena, nodes, values);
  const Id x = g.input(image);
  g.output(body(g, x));
  Graph graph;
  const Status s = g.build(graph);
  return {s, g.failure().node, g.failure().what};
}

}  // namespace

TEST_CASE("a builder keeps its first mistake and reports it at build") {
  const auto wrong = [](const std::function<Id(GraphBuilder&, Id)>& body) { return build({1, 3, 8, 8}, body); };
  CHECK(wrong([](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 4, .kernel = 11}, "big"); }).node == "big");
  CHECK(wrong([](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 4, .kernel = 3, .stride = 0}, "s"); }).status ==
        Status::bad_argument);
  CHECK(wrong([](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 4, .kernel = 3, .groups = 2}, "g"); }).status ==
        Status::bad_shape);
  CHECK(wrong([](GraphBuilder& g, Id x) { return linear(g, x, 5, "fc"); }).status == Status::bad_shape);
  CHECK(wrong([](GraphBuilder& g, Id x) {
          return add(g, x, conv2d(g, x, {.out = 4, .kernel = 1}, "c"), "sum");
        }).node == "sum");
  CHECK(wrong([](GraphBuilder& g, Id x) { return max_pool(g, x, {.kernel = 2, .padding = 2}, "p"); }).status ==
        Status::bad_argument);
  CHECK(wrong([](GraphBuilder& g, Id x) { return dropout(g, x, 1.0f, "d"); }).status == Status::bad_argument);
  CHECK(wrong([](GraphBuilder& g, Id x) { return relu(g, relu(g, x, "same"), "same"); }).node == "same");
  CHECK(wrong([](GraphBuilder& g, Id) { return relu(g, 17, "late"); }).status == Status::bad_graph);
  CHECK(wrong([](GraphBuilder&, Id x) { return x; }).status == Status::bad_graph);
  CHECK(wrong([](GraphBuilder&, Id) { return no_id; }).status == Status::bad_graph);
  // The first mistake is the one that is reported.
  CHECK(wrong([](GraphBuilder& g, Id x) {
          return linear(g, conv2d(g, x, {.out = 0, .kernel = 3}, "first"), 5, "second");
        }).node == "first");
  CHECK(build({1, 0, 8, 8}, [](GraphBuilder& g, Id x) { return relu(g, x); }).status == Status::bad_shape);
}

TEST_CASE("sizes whose product overflows are refused, whoever makes the value") {
  constexpr std::int32_t large = 1 << 16;
  const auto what = [](Shape image, const std::function<Id(GraphBuilder&, Id)>& body) {
    const Attempt a = build(image, body, std::size_t{1} << 20, 2048, 2048);
    return a.status == Status::ok ? std::string() : a.node + " " + a.what;
  };
  const auto same = [](GraphBuilder& g, Id x) { return relu(g, x, "r"); };
  CHECK(what({1, large, large, large}, same) == "input has more than 2^40 elements");
  CHECK(what({1, 1 << 30, 1 << 30, 1 << 4}, same) == "input has more than 2^40 elements");  // 2^64 elements are 0
  CHECK(what({1, 1 << 10, 1 << 15, 1 << 15}, same).empty());
  CHECK(what({1, 3, 8, 8}, [](GraphBuilder& g, Id x) { return upsample(g, x, 1 << 30, 1 << 30, false, "up"); }) ==
        "up has more than 2^40 elements");
  CHECK(what({1, 3, 8, 8}, [](GraphBuilder& g, Id x) { return adaptive_avg_pool(g, x, 1 << 30, 1 << 30, "pool"); }) ==
        "pool has more than 2^40 elements");
  CHECK(what({1, large, 1, 1}, [](GraphBuilder& g, Id x) {
          return conv2d(g, x, {.out = 1 << 30, .kernel = 1}, "conv");
        }) == "conv has more than 2^40 elements");
  CHECK(what({1, 1, 1, 1 << 30}, [](GraphBuilder& g, Id x) {
          const Id parts[] = {x, x};
          return concat(g, parts, "joined", 3);
        }) == "joined is longer than 2^31 - 1 along its axis");
  CHECK(what({1, 1, 2, 2}, [](GraphBuilder& g, Id x) {
          const std::vector<Id> terms(50000, x);
          return add(g, terms, "sum");
        }) == "sum has more than 1024 inputs");
}

TEST_CASE("a graph's arena that is too small at any point is a status, never a crash") {
  std::size_t fits = 0;
  for (std::size_t bytes = 0; bytes < 60000; bytes += 97) {
    const Attempt a = build({1, 2, 9, 8}, plain_net, bytes);
    CHECK((a.status == Status::ok || a.status == Status::out_of_arena));
    fits += a.status == Status::ok;
  }
  CHECK(fits > 0);
  for (std::size_t nodes = 0; nodes < 9; ++nodes)
    CHECK(build({1, 2, 9, 8}, plain_net, 1 << 20, nodes).status == Status::out_of_arena);
  for (std::size_t values = 0; values < 18; ++values)
    CHECK(build({1, 2, 9, 8}, plain_net, 1 << 20, 64, values).status == Status::out_of_arena);
}

TEST_CASE("name patterns") {
  CHECK(matches("conv1", "conv1"));
  CHECK(matches("conv*", "conv1"));
  CHECK(matches("*", ""));
  CHECK(matches("layer?.*.conv2", "layer1.0.conv2"));
  CHECK(matches("*1", "layer1.0.conv1"));
  CHECK_FALSE(matches("conv1", "conv12"));
  CHECK_FALSE(matches("conv?", "conv"));
  CHECK_FALSE(matches("a*b", "abc"));
  CHECK(matches("fc|conv*", "conv1"));
  CHECK(matches("fc*|conv1", "fc2"));
  CHECK_FALSE(matches("fc|conv1", "conv12"));
  CHECK_FALSE(matches("fc|", "conv1"));
  CHECK_FALSE(matches("a|b", "a|b"));
}

TEST_CASE("parameters are named NODE.suffix and lie apart in one block") {
  Net net({1, 2, 9, 8}, plain_net);
  std::int64_t end = 0;
  std::vector<std::string> names;
  for (const Value& v : net.graph.values) {
    if (v.kind != ValueKind::parameter) continue;
    names.push_back(v.name);
    CHECK(v.offset >= end);
    CHECK(v.offset % 16 == 0);
    end = v.offset + v.shape.size();
  }
  CHECK(end <= net.graph.parameter_size);
  CHECK(names == std::vector<std::string>{"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight",
                                          "fc1.bias", "fc2.weight", "fc2.bias"});
  CHECK(net.graph.only_reader(net.graph.nodes[0].out) == 1);
  CHECK(net.graph.only_reader(net.graph.output) == no_id);
}

TEST_SUITE_END();
