// What rules are made of: shifted maxima and sums against their definition, one place a detection, and the laws of the
// walk through a whole rule.
#include "layers/rule_embedded.h"

#include <string>

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/product.h"
#include "layers/view.h"
#include "tests/support/net.h"
#include "tests/support/small_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("layers");

namespace {

// A rule as the language compiles it: a detection, and at an offset another that stands alone, or three of them.
Id rule_net(GraphBuilder& g, Id x) {
  const Id p = sigmoid(g, conv2d(g, x, {.out = 2, .kernel = 3, .padding = 1}, "local"), "detections");
  const Id a = slice(g, p, 1, 0, 1, 1, "a"), b = slice(g, p, 1, 1, 1, 1, "b");
  const Id near = shifted_max(g, b, {-1, 1, -1, 1}, "near"),
           right = shifted_max(g, multiply(g, b, near, -1, "bound"), {-7, 7, 1, 7}, "right");
  const Id three = sigmoid(
      g, affine_map(g, shifted_sum(g, local_maximum(g, b, 1, "peaks"), {-7, 7, -7, 7}, "sum"), 10, -25, "margin"),
      "three");
  const Id both = affine_map(g, multiply(g, right, three, -1, "both"), -1, 0, "less");
  const Id terms[] = {right, three, both};
  const Id rule = multiply(g, a, affine_map(g, add(g, terms, "either"), -1, 1, "not"), -1, "rule");
  const Id evidence[] = {a, b, rule};
  return linear(g, flatten(g, global_max_pool(g, concat(g, evidence, "evidence"), "pool"), "flatten"), 4, "fc");
}

}  // namespace

TEST_CASE("shifted maxima and sums are what they say") {
  const OffsetBox boxes[] = {{-1, 2, -3, 0}, {1, 3, 2, 4}, {-4, -2, 0, 0}, {0, 0, 1, 1}, {-6, 6, -5, 5}};
  for (const OffsetBox& b : boxes)
    for (const bool largest : {true, false}) {
      Net net({1, 2, 7, 6},
              [&](GraphBuilder& g, Id x) { return largest ? shifted_max(g, x, b, "m") : shifted_sum(g, x, b, "s"); });
      REQUIRE(net.result(1) == net.image(1));
      const GradientRule rule;
      Walked walked(net, everywhere(net, rule), {.batch = 2});
      Values x = random_values(net.image(2).size(), 3);
      for (real& v : x) v = std::abs(v);
      const Values y = walked.forward(x, 2);
      for (int plane = 0; plane < 4; ++plane)
        for (int i = 0; i < 7; ++i)
          for (int j = 0; j < 6; ++j) {
            double expected = 0;
            for (int u = i + b.top; u <= i + b.bottom; ++u)
              for (int v = j + b.left; v <= j + b.right; ++v) {
                if (u < 0 || u >= 7 || v < 0 || v >= 6) continue;
                const double there = static_cast<double>(x[static_cast<std::size_t>(plane * 42 + u * 6 + v)]);
                expected = largest ? std::max(expected, there) : expected + there;
              }
            CHECK(y[static_cast<std::size_t>(plane * 42 + i * 6 + j)] ==
                  doctest::Approx(expected).epsilon(tolerance(1e-12, 1e-5)));
          }
    }
}

TEST_CASE("one place a detection, the first of equals") {
  Net net({1, 1, 3, 5}, [](GraphBuilder& g, Id x) { return local_maximum(g, x, 1); });
  const GradientRule rule;
  Walked walked(net, everywhere(net, rule), {});
  const Values x = {1, 1, 0, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 4};
  CHECK(walked.forward(x, 1) == Values({1, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}));
  CHECK(walked.back(Values(15, 1)) == Values({1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
}

TEST_CASE("a radius beyond the map means all of it") {
  Net net({1, 1, 3, 5}, [](GraphBuilder& g, Id x) { return local_maximum(g, x, 0x7fffffff); });
  const GradientRule rule;
  Walked walked(net, everywhere(net, rule), {});
  CHECK(walked.forward({1, 1, 0, 3, 2, 1, 4, 0, 0, 0, 0, 0, 0, 0, 4}, 1) ==
        Values({0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST_CASE("a soft rule: its gradient by differences") {
  Net net({1, 2, 8, 8}, rule_net);
  const GradientRule rule;
  Walked walked(net, everywhere(net, rule), {});
  const Values x = random_values(net.image(1).size(), 5), direction = random_values(net.image(1).size(), 6),
               seed = random_values(4, 7);
  const double h = sizeof(real) == 8 ? 1e-6 : 1e-3;
  const auto objective = [&](double t) {
    Values at = x;
    for (std::size_t i = 0; i < at.size(); ++i) at[i] += static_cast<real>(t * direction[i]);
    return dot(walked.forward(at, 1), seed);
  };
  const double numeric = (objective(h) - objective(-h)) / (2 * h);
  walked.forward(x, 1);
  CHECK(dot(walked.back(seed), direction) == doctest::Approx(numeric).epsilon(tolerance(1e-6, 3e-2)));
}

TEST_CASE("DeepLIFT is complete through a rule; relevance of rules and detections sums to the score") {
  Net net({1, 2, 8, 8}, rule_net);
  const Values x = random_values(net.image(2).size(), 8), x0 = random_values(net.image(2).size(), 9);
  const DeepLiftRescale rescale;
  Walked deep(net, everywhere(net, rescale), {.batch = 2, .reference = true});
  const Values y0 = deep.forward_reference(x0, 2), y = deep.forward(x, 2), one = seed_at(y, 2, 1, false),
               m = deep.back(one);
  double total = 0, expected = 0;
  for (std::size_t i = 0; i < x.size(); ++i) total += static_cast<double>(m[i]) * (x[i] - x0[i]);
  for (std::size_t i = 0; i < y.size(); ++i) expected += static_cast<double>(one[i]) * (y[i] - y0[i]);
  CHECK(total == doctest::Approx(expected).epsilon(tolerance(1e-6, 5e-3)));

  net.drop_biases();
  CompositeOptions o{Composite::uniform};
  o.rule.kind = LrpKind::epsilon;
  o.rule.epsilon = 1e-12f;
  Composed rules(net, o);
  std::vector<Id> evidence(net.graph.nodes[net.node("evidence")].in.begin(),
                           net.graph.nodes[net.node("evidence")].in.end());
  Walked lrp(net, rules.rules, {.batch = 2, .keep = evidence});
  const Values scores = lrp.forward(x, 2), seed = seed_at(scores, 2, 2, true);
  lrp.back(seed);
  // Signals of a and b hold what came through the rule, too; at the joint they have not met yet. The rule's is its own.
  const double of_rule = sum(Walked::copy(lrp.run->signal(evidence[2])));
  CHECK(of_rule != 0);
  Ledger ledger;
  std::vector<LedgerLine> lines(net.graph.nodes.size());
  ledger.lines = lines;
  Walked booked(net, rules.rules, {.batch = 2, .ledger = true, .keep = evidence});
  booked.forward(x, 2);
  booked.back(seed, &ledger);
  CHECK(lines[net.node("evidence")].in.sum == doctest::Approx(sum(seed)).epsilon(tolerance(1e-9, 1e-3)));
  // Through the rule's "and": what it passes on is what it got.
  CHECK(lines[net.node("rule")].in.sum == doctest::Approx(of_rule).epsilon(tolerance(1e-9, 1e-3)));
  // Through its "not" (1 - x), the constant takes its share, and nothing is lost.
  const LedgerLine& negation = lines[net.node("not")];
  CHECK(negation.in.sum + negation.absorbed.absorbed_by_bias + negation.absorbed.absorbed_by_stabiliser ==
        doctest::Approx(negation.out.sum).epsilon(tolerance(1e-6, 1e-3)));
}

TEST_CASE("rule ops refuse what they cannot mean") {
  const auto refused = [](Id (*body)(GraphBuilder&, Id), const char* word) {
    std::vector<std::byte> memory(1 << 20);
    Arena arena(memory.data(), memory.size());
    GraphBuilder g(arena, 8, 32);
    g.output(body(g, g.input({1, 1, 4, 4})));
    Graph graph;
    CHECK(g.build(graph) == Status::bad_argument);
    CHECK(std::string(g.failure().what).find(word) != std::string::npos);
  };
  refused([](GraphBuilder& g, Id x) { return local_maximum(g, x, 0); }, "radius");
  refused([](GraphBuilder& g, Id x) { return affine_map(g, x, INFINITY, 0); }, "finite");
}

TEST_SUITE_END();
