// Networks with several inputs and outputs: what is given beside the main input, and which output is meant.
#include <string>

#include "core/geometry.h"

#include "tests/support/several_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("core");

namespace {

constexpr std::int32_t batch = 3;

// Gives every input but the main one random values.
void give_others(const Net& net, Walked& w) {
  for (const Id v : net.graph.inputs)
    if (v != net.graph.input) w.give(v, random_values(net.graph.shape(v).with_batch(batch).size(), 31 + v), batch);
}

std::string failure_of(const std::function<void(GraphBuilder&)>& body) {
  std::vector<std::byte> memory(std::size_t{1} << 20);
  Arena arena(memory.data(), memory.size());
  GraphBuilder g(arena, 128, 256);
  body(g);
  Graph graph;
  return g.build(graph) == Status::ok ? "" : std::string(g.failure().node) + " " + g.failure().what;
}

}  // namespace

TEST_CASE("a graph keeps its inputs and outputs in order, the first of each is the main one") {
  Net net(two_by_two_net);
  const Graph& g = net.graph;
  REQUIRE(g.inputs.size() == 2);
  REQUIRE(g.outputs.size() == 2);
  CHECK(g.input == g.inputs[0]);
  CHECK(g.output == g.outputs[0]);
  CHECK(g.find_input("side") == g.inputs[1]);
  CHECK(g.find_input("scores") == no_id);
  CHECK(std::string(g.values[g.outputs[1]].name) == "code");
  CHECK(g.is_output(g.outputs[1]));
  CHECK(g.only_reader(g.outputs[1]) == no_id);  // `scores` reads it, and so does the caller
  CHECK(g.input_index(g.output) == 2);

  Net unnamed([](GraphBuilder& b) {
    const Id x = b.input({1, 2}), y = b.input({1, 2});
    b.output(add(b, x, y));
  });
  CHECK(std::string(unnamed.graph.values[unnamed.graph.inputs[0]].name) == "input");
  CHECK(std::string(unnamed.graph.values[unnamed.graph.inputs[1]].name) == "input_2");
}

TEST_CASE("names of inputs are unique among values, and outputs are given once") {
  const Shape s{1, 2, 4, 4};
  CHECK(failure_of([&](GraphBuilder& g) { g.input(s, "x"), g.input(s, "x"); }) ==
        "x is the name of an input and another value");
  CHECK(failure_of([&](GraphBuilder& g) { g.output(relu(g, g.input(s, "x"), "x")); }) ==
        "x is the name of an input and another value");
  CHECK(failure_of([&](GraphBuilder& g) {
          const Id x = g.input(s, "c.weight");
          g.output(conv2d(g, x, {.out = 1, .kernel = 1}, "c"));
        }) == "c.weight is the name of an input and another value");
  CHECK(failure_of([&](GraphBuilder& g) {
          relu(g, g.input(s, "x"), "late");
          g.input(s, "late");
        }) == "late is the name of an input and another value");
  CHECK(failure_of([&](GraphBuilder& g) {
          const Id y = relu(g, g.input(s), "y");
          g.output(y), g.output(y);
        }) == "y is an output twice");
  CHECK(failure_of([&](GraphBuilder& g) { g.output(g.input(s)); }) == "output the output must be the result of a node");
  CHECK(failure_of([&](GraphBuilder& g) {
          for (int k = 0; k < 17; ++k) g.input(s);
        }) == "input_17 is one input too many: a graph has at most 16");
  CHECK(failure_of([&](GraphBuilder& g) {
          Id y = g.input(s);
          for (int k = 0; k < 65; ++k) g.output(y = relu(g, y));
        }) == "relu_65 is one output too many: a graph has at most 64");
  CHECK(failure_of([&](GraphBuilder& g) {
          g.input({1, 0}, "x");
        }) == "x every dimension of the input must be at least 1");
  CHECK(failure_of([](GraphBuilder&) {}) == "input the graph has no input");
}

TEST_CASE("inputs beside the main one are given: each image of a batch has its own") {
  Net net([](GraphBuilder& g) {
    const Id parts[] = {g.input({1, 2}, "a"), g.input({1, 3}, "b")};
    g.output(linear(g, concat(g, parts), 2, "fc"));
  });
  net.set_parameter("fc.weight", {1, 2, 3, 4, 5, -1, -2, -3, -4, -5});
  net.set_parameter("fc.bias", {0.5f, 0});
  Walked w(net, {}, {.batch = 2});
  w.give(net.graph.inputs[1], {1, 1, 1, 0, 0, 2}, 2);
  CHECK(w.forward({1, 0, 0, 1}, 2) == Values{13.5f, -13, 12.5f, -12});
  // The same input from the other side.
  net.graph.input = net.graph.inputs[1];
  Walked other(net, {}, {.batch = 2});
  other.give(net.graph.inputs[0], {1, 0, 0, 1}, 2);
  CHECK(other.forward({1, 1, 1, 0, 0, 2}, 2) == Values{13.5f, -13, 12.5f, -12});
}

TEST_CASE("a run says which input was not given, or does not fit") {
  Net net(two_by_two_net);
  const Graph& g = net.graph;
  const GradientRule rule;
  Walked w(net, everywhere(net, rule), {.batch = 2, .reference = true});
  REQUIRE(w.status == Status::ok);
  Values x = random_values(net.image(2).size(), 5), side(7);
  const TensorView image{x.data(), net.image(2)};
  const auto refused = [&](Status expected, Status s, const char* node, const char* what) {
    CHECK(s == expected);
    CHECK(std::string(w.failure.node) == node);
    CHECK(std::string(w.failure.what) == what);
    w.failure = {};
  };
  refused(Status::bad_argument, w.run->forward(w.context(), image), "side",
          "is an input that was not given before the run");
  refused(Status::bad_argument, w.run->forward_reference(w.context(), image), "side",
          "is an input that was not given before the run");
  refused(Status::bad_shape, w.run->give(w.context(), g.inputs[1], {side.data(), {1, 4}}), "side",
          "what is given does not fit the input");
  refused(Status::bad_shape, w.run->give(w.context(), g.inputs[1], {side.data(), {3, 3}}), "side",
          "the batch is larger than planned");
  refused(Status::bad_argument, w.run->give(w.context(), g.input, image), "",
          "only an input beside the main one can be given before a run");
  refused(Status::bad_argument, w.run->give(w.context(), g.output, {side.data(), {1, 4}}), "",
          "only an input beside the main one can be given before a run");
  REQUIRE(w.run->give(w.context(), g.inputs[1], {side.data(), {1, 3}}) == Status::ok);
  refused(Status::bad_shape, w.run->forward(w.context(), image), "side",
          "was given for another number of images than the main input");
  REQUIRE(w.run->give(w.context(), g.inputs[1], {side.data(), {2, 3}}) == Status::ok);
  CHECK(w.run->forward_reference(w.context(), image) == Status::ok);
  CHECK(w.run->forward(w.context(), image) == Status::ok);

  Walked one(net, everywhere(net, rule), {.batch = 2, .reference = true, .one_reference = true});
  CHECK(one.status == Status::bad_argument);
  CHECK(std::string(one.failure.what) == "a network with several inputs needs a reference for each image");
}

TEST_CASE("an input that no node of the plan reads need not be given") {
  Net net([](GraphBuilder& g) {
    const Id a = g.input({1, 2}, "a"), b = g.input({1, 3}, "b");
    g.output(linear(g, a, 2, "of_a"));
    g.output(linear(g, b, 2, "of_b"));
  });
  Walked w(net, {}, {});
  CHECK(w.run->forward(w.context(), {Values{1, 2}.data(), {1, 2}}) == Status::ok);
  Walked both(net, {}, {.keep = {net.graph.output, net.graph.outputs[1]}});
  CHECK(both.run->forward(both.context(), {Values{1, 2}.data(), {1, 2}}) == Status::bad_argument);
}

TEST_CASE("every output's gradient by every input equals central differences, dense outputs and single logits too") {
  if (sizeof(real) != 8) return;  // steps that are large enough for float pass kinks
  for (const SeveralNet& named : several_nets) {
    Net net(named.body);
    for (const Id in : net.graph.inputs)
      for (const Id out : net.graph.outputs) {
        CAPTURE(std::string(named.name));
        CAPTURE(std::string(net.graph.values[in].name));
        CAPTURE(std::string(net.graph.values[out].name));
        net.graph.input = in;
        net.graph.output = out;
        const GradientRule rule;
        Walked w(net, everywhere(net, rule), {.batch = batch, .keep = {out}, .seeds = {out}});
        REQUIRE(w.status == Status::ok);
        give_others(net, w);
        const Values x = random_values(net.image(batch).size(), 3), seed = random_values(net.result(batch).size(), 4),
                     direction = random_values(net.image(batch).size(), 5);
        w.forward(x, batch);
        const double along = dot(w.back(seed), direction), h = 1e-5;
        const auto at = [&](double t) {
          Values moved = x;
          for (std::size_t i = 0; i < x.size(); ++i) moved[i] += static_cast<real>(t * direction[i]);
          return dot(w.forward(moved, batch), seed);
        };
        const double measured = (at(h) - at(-h)) / (2 * h);
        CHECK(along != 0);
        CHECK(std::abs(along - measured) < 1e-8 * std::abs(along));
      }
  }
}

TEST_CASE("places and first layers are those of the main input") {
  Net net(two_by_two_net);
  Graph& g = net.graph;
  std::vector<std::byte> memory(1 << 16);
  const auto geometry = [&](const char* node, Geometry& out) {
    Arena book(memory.data(), memory.size());
    return find_geometry(net.context(), g, g.nodes[net.node(node)].out, book, out);
  };
  const auto first_layers = [&] {
    bool flags[64] = {};
    find_first_layers(g, {flags, g.nodes.size()});
    std::string names;
    for (std::size_t i = 0; i < g.nodes.size(); ++i)
      if (flags[i]) names += std::string(names.empty() ? "" : " ") + g.nodes[i].name;
    return names;
  };
  Geometry of;
  REQUIRE(geometry("relu2", of) == Status::ok);
  CHECK(of.h.size == 5);
  CHECK_FALSE(of.h.whole);
  CHECK(geometry("gate", of) == Status::bad_argument);
  CHECK(first_layers() == "conv1");
  g.input = g.find_input("side");
  CHECK(geometry("relu1", of) == Status::bad_argument);
  REQUIRE(geometry("gate", of) == Status::ok);
  CHECK(first_layers() == "gate_fc code_fc");
}

TEST_CASE("relevance of a place of a dense output, and of a single logit, is conserved without biases") {
  for (const SeveralNet& named : {several_nets[1], several_nets[2]}) {
    CAPTURE(std::string(named.name));
    Net net(named.body);
    net.drop_biases();
    CompositeOptions options;
    options.composite = Composite::uniform;
    options.rule.kind = LrpKind::zero;
    options.rule.epsilon = options.rule.stabiliser.eps = 1e-12f;
    const Composed composed(net, options);
    Walked w(net, composed.rules, {.batch = batch});
    REQUIRE(w.status == Status::ok);
    const Values y = w.forward(random_values(net.image(batch).size(), 6), batch);
    Values seed(y.size(), 0);
    const std::size_t each = y.size() / batch, at = each / 2;  // of the map: a place in its middle
    double expected = 0;
    for (std::size_t n = 0; n < batch; ++n) expected += seed[n * each + at] = y[n * each + at];
    CHECK(sum(w.back(seed)) == doctest::Approx(expected).epsilon(tolerance(1e-9, 1e-3)));
  }
}

TEST_CASE("DeepLIFT explains the main input alone: the others are their own reference") {
  for (const SeveralNet& named : several_nets) {
    Net net(named.body);
    for (const Id in : net.graph.inputs) {
      CAPTURE(std::string(named.name));
      CAPTURE(std::string(net.graph.values[in].name));
      net.graph.input = in;
      const DeepLiftRescale rule;
      Walked w(net, everywhere(net, rule), {.batch = batch, .reference = true});
      REQUIRE(w.status == Status::ok);
      give_others(net, w);
      const Values x = random_values(net.image(batch).size(), 6), x0(x.size(), 0);
      const Values y0 = w.forward_reference(x0, batch), y = w.forward(x, batch);
      Values seed(y.size(), 0);
      const std::size_t each = y.size() / batch;
      for (std::size_t n = 0; n < batch; ++n) seed[n * each] = 1;
      const Values multipliers = w.back(seed);
      const double total = dot(multipliers, x);
      double expected = 0;
      for (std::size_t n = 0; n < batch; ++n) expected += y[n * each] - y0[n * each];
      CHECK(total == doctest::Approx(expected).epsilon(tolerance(1e-9, 1e-4)));
    }
  }
}

TEST_SUITE_END();
