// Interpretable filters: templates, the mutual-information loss against its definition, what the loss does to maps, and
// the laws of the walk through gates.
#include "layers/interpretable_filters.h"

#include <algorithm>
#include <string>

#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "tests/support/net.h"
#include "tests/support/small_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("layers");

namespace {

// A layer of filters with its state, called without a graph.
struct Layer {
  Layer(Shape s, std::int32_t classes)
      : shape(s),
        category(size(s.c()), 0),
        statistics(size(classes * s.c()), 0),
        slope(size(s.c()), 1),
        memory(std::size_t{8} << 20),
        scratch(memory.data(), memory.size()) {
    op.classes = classes;
  }
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
  Context context() {
    Context ctx;
    ctx.kernels = &kernel_table();
    ctx.scratch = &scratch;
    ctx.failure = &failure;
    return ctx;
  }
  // Calls f with the node's operands for these maps.
  template <class F>
  auto with(const Values& x, F&& f) {
    const TensorView in[] = {{const_cast<real*>(x.data()), shape}};
    const TensorView par[] = {{category.data(), {shape.c(), 1}},
                              {statistics.data(), {op.classes, shape.c()}},
                              {slope.data(), {shape.c(), 1}}};
    return f(context(), NodeIO{in, par, {}, nullptr, 0});
  }
  Values forward(const Values& x) {
    Values y(x.size(), NAN);
    with(x, [&](const Context& ctx, const NodeIO& io) {
      REQUIRE(op.gate(ctx, io, io.in[0], io.in[0], {{y.data(), shape}, false}) == Status::ok);
    });
    return y;
  }
  Values backward(const Values& x, const Values& s) {
    Values d(x.size(), NAN);
    with(x, [&](const Context& ctx, const NodeIO& io) {
      REQUIRE(op.gate(ctx, io, io.in[0], {const_cast<real*>(s.data()), shape}, {{d.data(), shape}, false}) ==
              Status::ok);
    });
    return d;
  }
  struct Loss {
    Values loss, gradient;
  };
  Loss loss(const Values& x, const std::vector<std::int32_t>& labels, const FilterLossOptions& o) {
    Loss l{Values(size(shape.c()), NAN), Values(x.size(), NAN)};
    const std::vector<double> share(size(op.classes), 1.0 / op.classes);
    with(x, [&](const Context& ctx, const NodeIO& io) {
      REQUIRE(filter_loss(ctx, op, io, labels, share, o, {l.loss.data(), {shape.c(), 1}}, {l.gradient.data(), shape}) ==
              Status::ok);
    });
    return l;
  }

  InterpretableFilters op;
  Shape shape;
  Values category, statistics, slope;
  std::vector<std::byte> memory;
  Arena scratch;
  Failure failure;
};

// T of the paper, straight from its definition: t = n*n is the negative template.
double template_value(int n, int t, int p, double beta) {
  const double tau = 0.5 / (n * n);
  if (t == n * n) return -tau;
  return tau * std::max(1 - beta * (std::abs(p / n - t / n) + std::abs(p % n - t % n)) / n, -1.0);
}

double score(const Values& x, int n, int image, int t, double beta = 4) {
  double s = 0;
  for (int p = 0; p < n * n; ++p)
    s += static_cast<double>(x[static_cast<std::size_t>(image * n * n + p)]) * template_value(n, t, p, beta);
  return s;
}

// -MI of one filter's maps with the Z of other maps (the paper's, or frozen).
double minus_information(const Values& x, const Values& maps_of_z, int n, int images) {
  const int templates = n * n + 1;
  std::vector<double> z(static_cast<std::size_t>(templates), 0);
  for (int t = 0; t < templates; ++t)
    for (int i = 0; i < images; ++i) z[static_cast<std::size_t>(t)] += std::exp(score(maps_of_z, n, i, t));
  double information = 0;
  for (int i = 0; i < images; ++i) {
    double p = 0;
    for (int t = 0; t < templates; ++t) p += std::exp(score(x, n, i, t)) / z[static_cast<std::size_t>(t)] / templates;
    for (int t = 0; t < templates; ++t) {
      const double q = std::exp(score(x, n, i, t)) / z[static_cast<std::size_t>(t)];
      information += q / templates * std::log(q / p);
    }
  }
  return -information;
}

Values positive_values(std::int64_t n, std::uint64_t seed, double scale = 1) {
  Values v = random_values(n, seed, scale);
  for (real& x : v) x = std::abs(x);
  return v;
}

}  // namespace

TEST_CASE("templates: the table of the 3 x 3 example, at every position") {
  // One peak of 1 in a map of 1e-6: the gate is what the map is multiplied by.
  for (int mu = 0; mu < 9; ++mu) {
    Layer layer({1, 1, 3, 3}, 1);
    Values x(9, real{1e-6});
    x[static_cast<std::size_t>(mu)] = 1;
    const Values ones(9, 1), gate = layer.backward(x, ones);
    for (int p = 0; p < 9; ++p) {
      const int distance = std::abs(p / 3 - mu / 3) + std::abs(p % 3 - mu % 3);
      // M is 1, -1/3, -1 at distance 0, 1, 2: the gate is its positive part.
      CHECK(gate[static_cast<std::size_t>(p)] == real(distance == 0));
      CHECK(template_value(3, mu, p, 4) == doctest::Approx(0.5 / 9 *
                                                           (distance == 0   ? 1
                                                            : distance == 1 ? -1.0 / 3
                                                                            : -1)));
    }
  }
}

TEST_CASE("gates: between 0 and the map, peak unchanged, nothing moves when gated again") {
  Layer layer({3, 4, 7, 6}, 2);
  const Values x = positive_values(layer.shape.size(), 3);
  const Values y = layer.forward(x), again = layer.forward(y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(y[i] >= 0);
    CHECK(y[i] <= x[i]);
  }
  for (std::size_t plane = 0; plane < 12; ++plane) {
    const auto peak = [&](const Values& v) {
      return std::max_element(v.begin() + static_cast<long>(plane * 42),
                              v.begin() + static_cast<long>(plane * 42 + 42)) -
             v.begin();
    };
    CHECK(peak(x) == peak(y));
    CHECK(peak(again) == peak(y));
    CHECK(y[static_cast<std::size_t>(peak(x))] == x[static_cast<std::size_t>(peak(x))]);
  }
  // Ties: the first place. A dead map stays dead.
  Layer small({1, 2, 2, 2}, 1);
  CHECK(small.forward({1, 1, 1, 1, 0, 0, 0, 0}) == Values({1, 0, 0, 0, 0, 0, 0, 0}));
  // Almost flat templates open the gate everywhere: the identity, both ways.
  layer.op.beta = 1e-12f;
  CHECK(difference(layer.forward(x), x) < 1e-10);
  const Values s = random_values(layer.shape.size(), 4);
  CHECK(difference(layer.backward(x, s), s) < 1e-10);
}

TEST_CASE("a centre of mass as the peak") {
  Layer layer({1, 1, 5, 5}, 1);
  layer.op.centroid = true;
  // Two equal peaks in one row: the template stands between them, where the paper's stands on the first.
  Values x(25, 0);
  x[10] = x[14] = 1;
  const Values gate = layer.backward(x, Values(25, 1));
  CHECK(std::max_element(gate.begin(), gate.end()) - gate.begin() == 12);
  layer.op.centroid = false;
  const Values first = layer.backward(x, Values(25, 1));
  CHECK(std::max_element(first.begin(), first.end()) - first.begin() == 10);
}

TEST_CASE("the paper's loss is -MI and its gradient that of -MI with Z frozen") {
  const int n = 8, images = 6;
  Layer layer({images, 1, n, n}, 2);
  const Values x = positive_values(layer.shape.size(), 11, 3);
  const std::vector<std::int32_t> labels = {0, 1, 0, 1, 1, 0};
  const auto l = layer.loss(x, labels, {.released = false, .all_templates = true});
  CHECK(l.loss[0] == doctest::Approx(minus_information(x, x, n, images)).epsilon(tolerance(1e-9, 1e-3)));
  CHECK(l.loss[0] <= 0);
  const Values direction = random_values(layer.shape.size(), 12);
  const auto moved = [&](double t) {
    Values at = x;
    for (std::size_t i = 0; i < at.size(); ++i) at[i] += static_cast<real>(t * direction[i]);
    return minus_information(at, x, n, images);
  };
  const double h = sizeof(real) == 8 ? 1e-4 : 1e-2, numeric = (moved(h) - moved(-h)) / (2 * h);
  CHECK(dot(l.gradient, direction) == doctest::Approx(numeric).epsilon(tolerance(1e-6, 2e-2)));
  // The part that the authors keep: the target template's term of the same sum.
  const auto target = layer.loss(x, labels, {.released = false});
  for (int i = 0; i < images; ++i) {
    const Values own(x.begin() + i * n * n, x.begin() + (i + 1) * n * n);
    const int mu = static_cast<int>(std::max_element(own.begin(), own.end()) - own.begin()),
              t = labels[static_cast<std::size_t>(i)] == 0 ? mu : n * n;
    double z = 0, p = 0;
    for (int k = 0; k < images; ++k) z += std::exp(score(x, n, k, t));
    for (int u = 0; u <= n * n; ++u) {
      double zu = 0;
      for (int k = 0; k < images; ++k) zu += std::exp(score(x, n, k, u));
      p += std::exp(score(x, n, i, u)) / zu / (n * n + 1);
    }
    const double q = std::exp(score(x, n, i, t)) / z, weight = -q / (n * n + 1) * std::log(q / p);
    double worst = 0, size = 0;
    for (int c = 0; c < n * n; ++c) {
      worst = std::max(worst, std::abs(static_cast<double>(target.gradient[static_cast<std::size_t>(i * n * n + c)]) -
                                       weight * template_value(n, t, c, 4)));
      size = std::max(size, std::abs(weight * template_value(n, t, c, 4)));
    }
    CHECK(worst <= tolerance(1e-9, 1e-3) * size + 1e-12);
  }
}

TEST_CASE("mutual information: not negative, blind to the order of images, 0 for constant maps") {
  const int n = 5, images = 5;
  Layer layer({images, 1, n, n}, 1);
  const std::vector<std::int32_t> labels(images, 0);
  Values x = positive_values(layer.shape.size(), 21, 4);
  const double before = layer.loss(x, labels, {.released = false}).loss[0];
  CHECK(before < 0);
  std::rotate(x.begin(), x.begin() + 2 * n * n, x.end());
  CHECK(layer.loss(x, labels, {.released = false}).loss[0] == doctest::Approx(before).epsilon(tolerance(1e-9, 1e-4)));
  CHECK(std::abs(layer.loss(Values(x.size(), real{2}), labels, {.released = false}).loss[0]) < 1e-7);
}

TEST_CASE("free maps: the released weights leave one peak and put out other categories") {
  const int n = 8, each = 60;
  Layer layer({2 * each, 1, n, n}, 2);
  Values x(static_cast<std::size_t>(layer.shape.size()));
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 2 * each; ++i) {
    labels.push_back(i < each ? 0 : 1);
    const auto draw = [&](std::uint64_t k) {
      return static_cast<double>(philox_uniform(900 + static_cast<std::uint64_t>(i), k));
    };
    const int a = static_cast<int>(draw(0) * n), b = static_cast<int>(draw(1) * n), c = (a + 4) % n, d = (b + 4) % n;
    for (int p = 0; p < n * n; ++p) {
      const auto bump = [&](int u, int v, double height) {
        return height * std::exp(-0.5 * ((p / n - u) * (p / n - u) + (p % n - v) * (p % n - v)));
      };
      x[static_cast<std::size_t>(i * n * n + p)] =
          static_cast<real>(i < each ? bump(a, b, 8) + bump(c, d, 6.4) : 2.4 * draw(static_cast<std::uint64_t>(2 + p)));
    }
  }
  // Second over first peak, where the second lies at least four rows and columns away.
  const auto ratio = [&] {
    double sum = 0;
    for (int i = 0; i < each; ++i) {
      const auto map = x.begin() + i * n * n;
      const int mu = static_cast<int>(std::max_element(map, map + n * n) - map);
      double second = 0;
      for (int p = 0; p < n * n; ++p)
        if (std::abs(p / n - mu / n) + std::abs(p % n - mu % n) >= 4)
          second = std::max(second, static_cast<double>(map[p]));
      sum += second / static_cast<double>(map[mu]) / each;
    }
    return sum;
  };
  const auto negatives = [&] { return sum(Values(x.begin() + each * n * n, x.end())) / (each * n * n); };
  const double ratio_before = ratio(), negatives_before = negatives();
  CHECK(ratio_before == doctest::Approx(0.8).epsilon(0.05));
  for (int step = 0; step < 300; ++step) {
    const auto l = layer.loss(x, labels, {});
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::max(real{0}, x[i] - real{0.02} * l.gradient[i]);
  }
  CHECK(ratio() < 0.15);
  CHECK(negatives() < 0.5 * negatives_before);
}

TEST_CASE("categories follow the class that excites a filter; slopes follow the spread of its maps") {
  const int n = 6, images = 8;
  Layer layer({images, 2, n, n}, 3);
  Values x(static_cast<std::size_t>(layer.shape.size()), 0);
  std::vector<std::int32_t> labels;
  for (int i = 0; i < images; ++i) {
    labels.push_back(i % 3);
    // Filter 0 fires for class 2 at one place, filter 1 for class 1 at a place and its neighbours.
    if (i % 3 == 2) x[static_cast<std::size_t>((2 * i) * n * n + 14)] = 5;
    if (i % 3 == 1)
      for (const int p : {14, 8, 20, 13, 15}) x[static_cast<std::size_t>((2 * i + 1) * n * n + p)] = p == 14 ? 3 : 2;
  }
  for (int step = 0; step < 200; ++step)
    layer.with(x, [&](const Context& ctx, const NodeIO& io) {
      REQUIRE(update_filters(ctx, layer.op, io, labels, {.learn_slopes = true}) == Status::ok);
    });
  CHECK(layer.category == Values({2, 1}));
  CHECK(layer.statistics[2 * 2 + 0] == doctest::Approx(5).epsilon(1e-4));
  CHECK(layer.statistics[1 * 2 + 1] == doctest::Approx(3).epsilon(1e-4));
  // A single place has no spread and tells nothing. The other's is sqrt(8/11), so w = 3, its upper bound, and beta
  // = 7.2.
  CHECK(layer.slope[0] == 1);
  CHECK(layer.slope[1] == doctest::Approx(1 + 0.8 * (1 - std::pow(1 - 0.016, 200))).epsilon(1e-3));
}

TEST_CASE("gates refuse what they cannot mean") {
  std::vector<std::byte> memory(1 << 20);
  Arena arena(memory.data(), memory.size());
  GraphBuilder g(arena, 8, 32);
  g.output(interpretable_filters(g, g.input({1, 3, 4, 4}), 0));
  Graph graph;
  CHECK(g.build(graph) == Status::bad_argument);
  CHECK(std::string(g.failure().what).find("at least one class") != std::string::npos);
  Layer layer({2, 1, 3, 3}, 2);
  const Values x(18, 1);
  const std::vector<std::int32_t> one = {0}, both = {0, 1};
  const std::vector<double> share = {1};
  layer.with(x, [&](const Context& ctx, const NodeIO& io) {
    CHECK(update_filters(ctx, layer.op, io, one, {}) == Status::bad_argument);
    CHECK(filter_loss(ctx, layer.op, io, both, share, {}, {}, {}) == Status::bad_argument);
  });
}

namespace {

Id filtered_net(GraphBuilder& g, Id x) {
  Id h = relu(g, conv2d(g, x, {.out = 5, .kernel = 3, .padding = 1}, "conv1"), "relu1");
  h = interpretable_filters(g, h, 4, "filters1");
  h = relu(g, conv2d(g, max_pool(g, h, {.kernel = 2}, "pool"), {.out = 6, .kernel = 3, .padding = 1}, "conv2"),
           "relu2");
  h = interpretable_filters(g, h, 4, "filters2", true);
  return linear(g, flatten(g, h, "flatten"), 4, "fc");
}

}  // namespace

TEST_CASE("relevance passes gates whole, and sums to the score without biases") {
  Net net({1, 2, 8, 8}, filtered_net);
  net.drop_biases();
  for (const auto& [kind, stabilizer] : {std::pair{LrpKind::zero, 0.0f}, {LrpKind::epsilon, 1e-9f}}) {
    CompositeOptions o{Composite::uniform};
    o.rule.kind = kind;
    o.rule.epsilon = stabilizer;
    Composed rules(net, o);
    Walked walked(
        net, rules.rules,
        {.batch = 2, .keep = {net.graph.nodes[net.node("filters1")].out, net.graph.nodes[net.node("relu1")].out}});
    const Values y = walked.forward(random_values(net.image(2).size(), 5), 2);
    const Values seed = seed_at(y, 2, 1, true), r = walked.back(seed);
    CHECK(sum(r) == doctest::Approx(sum(seed)).epsilon(tolerance(1e-6, 1e-2)));
    const Values above = Walked::copy(walked.run->signal(net.graph.nodes[net.node("filters1")].out)),
                 below = Walked::copy(walked.run->signal(net.graph.nodes[net.node("relu1")].out));
    CHECK(above == below);
  }
}

TEST_CASE("a gated network is piecewise linear: LRP-0 is gradient times input") {
  Net net({1, 2, 8, 8}, filtered_net);
  net.drop_biases();
  CompositeOptions o{Composite::uniform};
  o.rule.kind = LrpKind::zero;
  Composed rules(net, o);
  const GradientRule gradient;
  const Values x = random_values(net.image(1).size(), 6);
  Walked lrp(net, rules.rules, {}), plain(net, everywhere(net, gradient), {});
  const Values y = lrp.forward(x, 1);
  plain.forward(x, 1);
  CHECK(difference(lrp.back(seed_at(y, 1, 2, true)), operator_product(plain.back(seed_at(y, 1, 2, false)), x)) <
        tolerance(1e-7, 2e-2));
}

TEST_CASE("DeepLIFT is complete through gates, by both rules") {
  Net net({1, 2, 8, 8}, filtered_net);
  const Values x = random_values(net.image(2).size(), 7), x0 = random_values(net.image(2).size(), 8);
  const auto check = [&](Walked& walked, auto&& contribution) {
    const Values y0 = walked.forward_reference(x0, 2), y = walked.forward(x, 2);
    const Values seed = seed_at(y, 2, 3, false);
    walked.back(seed);
    double expected = 0;
    for (std::size_t i = 0; i < y.size(); ++i) expected += static_cast<double>(seed[i]) * (y[i] - y0[i]);
    CHECK(contribution() == doctest::Approx(expected).epsilon(tolerance(1e-6, 2e-3)));
  };
  const DeepLiftRescale rescale;
  Walked one(net, everywhere(net, rescale), {.batch = 2, .reference = true});
  check(one, [&] {
    double total = 0;
    const TensorView m = one.run->signal(net.graph.input);
    for (std::size_t i = 0; i < x.size(); ++i) total += static_cast<double>(m.data[i]) * (x[i] - x0[i]);
    return total;
  });
  std::vector<std::byte> memory(std::size_t{4} << 20);
  Arena arena(memory.data(), memory.size());
  DeepLiftParts parts;
  REQUIRE(make_deeplift_parts(net.graph, 2, arena, arena, parts) == Status::ok);
  const std::unique_ptr<bool[]> reveal(new bool[net.graph.nodes.size()]);
  std::fill_n(reveal.get(), net.graph.nodes.size(), true);
  DeepLiftRevealCancel cancel(net.graph, parts, {reveal.get(), net.graph.nodes.size()});
  Walked two(net, everywhere(net, cancel), {.batch = 2, .channels = 2, .reference = true, .observer = &cancel});
  check(two, [&] {
    Values r(x.size());
    REQUIRE(cancel.contribution(two.context(), *two.run, net.graph.input, {r.data(), net.image(2)}) == Status::ok);
    return sum(r);
  });
}

TEST_SUITE_END();
