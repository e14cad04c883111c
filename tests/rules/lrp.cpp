// LRP: golden vectors, made with Zennit's rules in double, and the laws of interp/rules/README.md.
#include <limits>
#include <string>

#include "tests/support/small_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("rules");

namespace {

LrpOptions with(LrpKind kind, BiasMode bias = BiasMode::kept) {
  LrpOptions o;
  o.kind = kind;
  o.bias = bias;
  return o;
}

Values relevance_of(Net& net, const LrpOptions& o, const Values& x, const Values& r, bool nonnegative = false,
                    Ledger* ledger = nullptr) {
  const LrpRule rule(o, nonnegative);
  Walked walked(net, everywhere(net, rule), {.ledger = ledger != nullptr});
  REQUIRE_MESSAGE(walked.status == Status::ok, walked.failure.what);
  walked.forward(x, 1);
  return walked.back(r, ledger);
}

void check_equal(const Values& found, const std::vector<double>& expected, double bound = 2e-6) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(std::abs(found[i] - expected[i]) < bound * std::max(1.0, std::abs(expected[i])));
}

Net linear_net() {
  Net net({1, 3, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, x, 2, "fc"); });
  net.set_parameter("fc.weight", {1, 2, -1, -1, real(0.5), 2});
  net.set_parameter("fc.bias", {real(0.5), -1});
  return net;
}

}  // namespace

TEST_CASE("nearest upsampling passes relevance whole, also where the activation is 0") {
  Net net({1, 1, 2, 2}, [](GraphBuilder& g, Id x) { return upsample(g, x, 4, 6); });
  const Values x = {1, 0, 0, -2};
  Values r(24);
  for (std::size_t i = 0; i < r.size(); ++i) r[i] = static_cast<real>(i + 1);
  // Each input is repeated in 2 rows of 3 columns: the sums over these blocks.
  const std::vector<double> blocks = {30, 48, 102, 120};
  for (const LrpKind kind : {LrpKind::zero, LrpKind::epsilon, LrpKind::gamma, LrpKind::alpha_beta, LrpKind::z_plus})
    check_equal(relevance_of(net, with(kind), x, r), blocks);
  check_equal(relevance_of(net, with(LrpKind::epsilon), {0, 0, 0, 0}, r), blocks);

  // Within a network, behind a ReLU that gives zeros: what leaves is what arrives.
  Net deep({1, 1, 3, 3}, [](GraphBuilder& g, Id in) {
    const Id h = relu(g, in, "relu");
    return linear(g, flatten(g, upsample(g, h, 6, 6, false, "up"), "flatten"), 3, "fc");
  });
  deep.drop_biases();
  const LrpRule rule(with(LrpKind::epsilon), false);
  const Id before = deep.graph.nodes[deep.node("relu")].out, after = deep.graph.nodes[deep.node("up")].out;
  Walked walked(deep, everywhere(deep, rule), {.keep = {before, after}});
  REQUIRE(walked.status == Status::ok);
  walked.forward({1, -1, 2, -2, 3, -3, 4, -4, 5}, 1);
  walked.back({1, 2, 3});
  CHECK(sum(Walked::copy(walked.run->signal(before))) ==
        doctest::Approx(sum(Walked::copy(walked.run->signal(after)))).epsilon(1e-5));
}

TEST_CASE("in either layout every rule gives the same relevance") {
  Net net({1, 2, 12, 11}, [](GraphBuilder& g, Id x) {
    Id h = relu(g, batch_norm(g, conv2d(g, x, {.out = 6, .kernel = 5, .padding = 2}, "conv1"), "bn1"), "relu1");
    h = max_pool(g, h, {.kernel = 2}, "pool1");
    const Id a = relu(g, conv2d(g, h, {.out = 9, .kernel = 3, .stride = 2, .padding = 1}, "conv2"), "relu2");
    h = relu(g, add(g, conv2d(g, a, {.out = 9, .kernel = 3, .padding = 1, .bias = false}, "conv3"), a, "add3"),
             "relu3");
    return linear(g, relu(g, linear(g, flatten(g, h, "flatten"), 20, "fc1"), "relu4"), 5, "fc2");
  });
  const std::vector<Id> all = results(net);
  const float low[] = {-3, -2}, high[] = {3, 4};
  const Composite composites[] = {
      Composite::uniform,           Composite::epsilon_plus,         Composite::epsilon_plus_flat,
      Composite::epsilon_gamma_box, Composite::epsilon_alpha2_beta1, Composite::excitation_backprop};
  // Where kernels know of no vectors there is little to compare: a few images, and a few less.
  const bool vectors = kernel_table().takes_interleaved != nullptr;
  const std::int32_t whole = vectors ? 32 : 4, part = vectors ? 20 : 3;
  const auto compare = [&](const std::vector<const Rule*>& rules) {
    Walked tight(net, rules, {.batch = whole}), loose(net, rules, {.batch = whole, .keep = all}),
        reported(net, rules, {.batch = whole, .ledger = true});
    REQUIRE(tight.status == Status::ok);
    if (vectors)
      for (const char* name :
           {"conv1", "bn1", "relu1", "pool1", "conv2", "relu2", "conv3", "add3", "relu3", "flatten", "fc1", "relu4"})
        CHECK_MESSAGE(tight.plan.values[net.graph.nodes[net.node(name)].out].interleaved, name);
    for (const std::int32_t batch : {whole, part}) {
      const Values x = random_values(net.image(batch).size(), 1), seed = random_values(net.result(batch).size(), 2);
      CHECK(difference(tight.forward(x, batch), loose.forward(x, batch)) <= tolerance(1e-12, 2e-6));
      reported.forward(x, batch);
      const Values want = loose.back(seed), found = tight.back(seed);
      const double size = std::abs(
          *std::max_element(want.begin(), want.end(), [](real p, real q) { return std::abs(p) < std::abs(q); }));
      CHECK(difference(found, want) <= tolerance(1e-10, 2e-5) * size);
      std::vector<LedgerLine> lines(net.graph.nodes.size());
      Ledger ledger{lines, nullptr};
      CHECK(difference(reported.back(seed, &ledger), want) <= tolerance(1e-10, 2e-5) * size);
      // A single image is not interleaved: its sums are direct ones, where those of a batch err by
      // some roundoffs of the largest nearby (winograd_batch.h), which small activations, divided by, show enlarged.
      const std::size_t pixels = want.size() / static_cast<std::size_t>(batch),
                        classes = seed.size() / static_cast<std::size_t>(batch);
      Walked alone(net, rules, {.batch = 1});
      alone.forward(Values(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(pixels)), 1);
      CHECK(difference(alone.back(Values(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(classes))),
                       Values(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(pixels))) <=
            tolerance(1e-10, 5e-5) * size);
      CHECK(lines[net.node("conv2")].filled);
    }
  };
  for (const Composite composite : composites)
    for (const BiasMode bias : {BiasMode::kept, BiasMode::shared}) {
      CAPTURE(std::string(composite.name));
      CAPTURE(static_cast<int>(bias));
      CompositeOptions o{composite, with(LrpKind::epsilon, bias)};
      o.rule.epsilon = 0.1f, o.rule.stabiliser.eps = 0.1f;
      o.rule.low = low, o.rule.high = high;
      compare(Composed(net, o).rules);
    }
  // The box rule in the middle, where its bounds are interleaved tensors too.
  LrpOptions box = with(LrpKind::z_box);
  const float zero[] = {0}, ten[] = {10};
  box.stabiliser.eps = 0.1f, box.low = zero, box.high = ten;
  const LrpRule boxed(box, false);
  Composed mixed(net, {Composite::epsilon_plus, {}});
  mixed.rules[net.node("conv2")] = &boxed;
  compare(mixed.rules);
  const RectifyRule guided(kernels::Rectify::guided, true);
  compare(everywhere(net, guided));
}

TEST_CASE("golden vectors of a linear layer") {
  Net net = linear_net();
  const float low[] = {-3}, high[] = {3}, zero[] = {0}, four[] = {4};
  const auto golden = [&](LrpOptions o, const std::vector<double>& expected, const Values& x = {1, -2, 3}) {
    check_equal(relevance_of(net, o, x, {1, 2}), expected);
  };
  LrpOptions o = with(LrpKind::epsilon);
  golden(o, {-0.848485, 0.060606, 4.545453});
  o.epsilon = 0.25f;
  golden(o, {-0.789298, 0.080268, 4.214047});
  golden(with(LrpKind::epsilon, BiasMode::dropped), {-0.666667, 0.166667, 3.499999});
  golden(with(LrpKind::gamma), {-0.582375, 0.245211, 3.850574});
  golden(with(LrpKind::gamma, BiasMode::dropped), {-0.492669, 0.281525, 3.211143});
  o = with(LrpKind::gamma);
  o.gamma = 1e6f;
  golden(o, {0, 0.571428, 2.428573});
  golden(with(LrpKind::z_plus), {0.666666, 0, 2.0});
  golden(with(LrpKind::z_plus, BiasMode::dropped), {0.999999, 0, 2.0});
  golden(with(LrpKind::alpha_beta), {0.666666, -1.238095, 3.571428});
  golden(with(LrpKind::alpha_beta, BiasMode::dropped), {0.999999, -1.571428, 3.571428});
  golden(with(LrpKind::w_square), {0.48, 0.72, 1.44});
  golden(with(LrpKind::w_square, BiasMode::dropped), {0.547619, 0.761905, 1.690476});
  golden(with(LrpKind::flat), {1, 1, 1});
  o = with(LrpKind::z_box);
  o.low = low;
  o.high = high;
  golden(o, {0.942529, 0.402299, 1.655172});

  const Values positive = {1, 2, 3};
  golden(with(LrpKind::epsilon), {0, 1.999999, 1.2}, positive);
  golden(with(LrpKind::gamma), {0.026284, 1.660693, 1.448029}, positive);
  golden(with(LrpKind::z_plus), {0.181818, 1.012987, 1.714285}, positive);
  golden(with(LrpKind::alpha_beta), {-0.636363, 2.025974, 2.428571}, positive);
  o = with(LrpKind::z_box);
  o.low = zero;
  o.high = four;
  golden(o, {0.766667, 0.866667, 1.366667}, positive);
  // Rules that are told that inputs are not negative leave rows out, and nothing changes.
  for (const LrpKind kind : {LrpKind::gamma, LrpKind::z_plus, LrpKind::alpha_beta})
    CHECK(difference(relevance_of(net, with(kind), positive, {1, 2}, true),
                     relevance_of(net, with(kind), positive, {1, 2}, false)) < 1e-7);
}

TEST_CASE("golden vectors of a padded convolution") {
  Net net({1, 1, 2, 2},
          [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 1, .kernel = 2, .padding = 1}, "conv"); });
  net.set_parameter("conv.weight", {1, -1, real(0.5), 2});
  net.set_parameter("conv.bias", {real(0.1)});
  const Values x = {1, 2, -1, 3}, r(9, 1);
  check_equal(relevance_of(net, with(LrpKind::epsilon), x, r), {1.623295, 1.899428, 1.746460, 3.457986}, 5e-6);
  check_equal(relevance_of(net, with(LrpKind::gamma), x, r), {1.599620, 2.020485, 1.770692, 3.326185}, 5e-6);
  check_equal(relevance_of(net, with(LrpKind::z_plus), x, r), {1.201921, 2.334211, 0.909090, 2.229478}, 5e-6);
  check_equal(relevance_of(net, with(LrpKind::alpha_beta), x, r), {2.070509, 3.868421, 0.701514, 3.708957}, 5e-6);
  check_equal(relevance_of(net, with(LrpKind::flat), x, r), {2.25, 2.25, 2.25, 2.25}, 5e-6);
  check_equal(relevance_of(net, with(LrpKind::w_square), x, r), {1.415537, 2.853896, 2.325949, 2.325}, 5e-6);
  const float low[] = {-1}, high[] = {3};
  LrpOptions box = with(LrpKind::z_box);
  box.low = low;
  box.high = high;
  // One output's denominator is 0 by cancellation, which float misses by a rounding error: double only.
  if (sizeof(real) == 8) check_equal(relevance_of(net, box, x, r), {2.324675, 2.548051, 1.0, 2.127272}, 5e-6);
}

TEST_CASE("golden vectors of an average pool and a sum") {
  Net pool({1, 1, 2, 2}, [](GraphBuilder& g, Id x) { return avg_pool(g, x, {.kernel = 2}); });
  check_equal(relevance_of(pool, with(LrpKind::norm), {1, 2, -1, 3}, {1}), {0.2, 0.4, -0.2, 0.6});
  // Sum of x and a pooled copy of it: the split is by contribution, fan-out adds up.
  Net sum({1, 2, 1, 1}, [](GraphBuilder& g, Id x) {
    const Id parts[] = {linear(g, x, 1, "a", false), linear(g, x, 1, "b", false)};
    return add(g, parts);
  });
  sum.set_parameter("a.weight", {1, 0});
  sum.set_parameter("b.weight", {0, 1});
  check_equal(relevance_of(sum, with(LrpKind::epsilon), {2, -1}, {1}), {2, -1});
  check_equal(relevance_of(sum, with(LrpKind::epsilon), {3, 0}, {1}), {1, 0});
}

TEST_CASE("LRP-0 equals input times gradient on ReLU networks with biases") {
  for (const NamedNet& n : all_nets) {
    if (!n.rectified) continue;  // LRP passes tanh unchanged, the gradient does not
    CAPTURE(std::string(n.name));
    Net net(n.image, n.body);
    const GradientRule gradient;
    Composed zero(net, {Composite::uniform, with(LrpKind::zero)});
    Walked a(net, everywhere(net, gradient), {.batch = 2}), b(net, zero.rules, {.batch = 2});
    // The norm rule at sums and average pools guards with 1e-6; here it has to be LRP-0 too.
    const LrpRule exact(with(LrpKind::zero), false);
    std::vector<const Rule*> rules = everywhere(net, exact);
    Walked c(net, rules, {.batch = 2});
    const Values x = random_values(net.image(2).size(), 3);
    const Values logits = a.forward(x, 2);
    const Values expected = operator_product(x, a.back(seed_at(logits, 2, 1, false)));
    c.forward(x, 2);
    CHECK(difference(c.back(seed_at(logits, 2, 1, true)), expected) < tolerance(1e-9, 1e-3));
    b.forward(x, 2);
    CHECK(difference(b.back(seed_at(logits, 2, 1, true)), expected) < 1e-3);
  }
}

TEST_CASE("equal rules: gamma 0 and epsilon, alpha 1 beta 0 and z+, an empty box and LRP-0") {
  Net net({1, 2, 9, 8}, plain_net);
  const Values x = random_values(net.image(1).size(), 4);
  const auto uniform = [&](LrpOptions o) {
    Composed c(net, {Composite::uniform, o});
    Walked w(net, c.rules, {});
    const Values logits = w.forward(x, 1);
    return w.back(seed_at(logits, 1, 2, true));
  };
  LrpOptions gamma = with(LrpKind::gamma), alpha = with(LrpKind::alpha_beta);
  gamma.gamma = 0;
  alpha.alpha = 1;
  alpha.beta = 0;
  CHECK(difference(uniform(gamma), uniform(with(LrpKind::epsilon))) < tolerance(1e-9, 1e-3));
  CHECK(difference(uniform(alpha), uniform(with(LrpKind::z_plus))) == 0);
  const float zero[] = {0};
  Net one({1, 6, 1, 1}, [](GraphBuilder& g, Id in) { return linear(g, in, 5, "fc"); });
  one.drop_biases();
  LrpOptions box = with(LrpKind::z_box);
  box.low = zero;
  box.high = zero;
  const Values v = random_values(6, 5), r = random_values(5, 6);
  CHECK(difference(relevance_of(one, box, v, r), relevance_of(one, with(LrpKind::zero), v, r)) < tolerance(1e-5, 1e-4));
}

TEST_CASE("without biases every conserving rule keeps the sum, at every node") {
  for (const NamedNet& n : all_nets) {
    CAPTURE(std::string(n.name));
    Net net(n.image, n.body);
    net.drop_biases();
    // Inputs within the box of the box rule.
    Values x = random_values(net.image(1).size(), 7);
    for (real& v : x) v = std::tanh(v);
    const float low[] = {-1}, high[] = {1};
    for (const LrpKind kind : {LrpKind::zero, LrpKind::epsilon, LrpKind::gamma, LrpKind::z_plus, LrpKind::w_square,
                               LrpKind::flat, LrpKind::z_box}) {
      CAPTURE(int(kind));
      LrpOptions o = with(kind);
      o.low = low;
      o.high = high;
      o.epsilon = o.stabiliser.eps = 1e-12f;
      Composed c(net, {Composite::uniform, o});
      Walked w(net, c.rules, {.ledger = true});
      std::vector<LedgerLine> lines(net.graph.nodes.size());
      Ledger ledger{lines, nullptr};
      const Values logits = w.forward(x, 1);
      w.back(seed_at(logits, 1, 0, true), &ledger);
      for (std::size_t i = 0; i < lines.size(); ++i) {
        if (!lines[i].filled) continue;
        CAPTURE(std::string(net.graph.nodes[i].name));
        const double scale = std::max(lines[i].out.abs_sum, lines[i].in.abs_sum);
        const double left = lines[i].out.sum - lines[i].in.sum - lines[i].absorbed.absorbed_by_bias -
                            lines[i].absorbed.absorbed_by_stabiliser;
        // A neuron whose denominator is 0 has nowhere to send its relevance (z+ where nothing is positive, w^2 and flat
        // send relevance to dead units above, z-box outside): those sums are not promised. All others are.
        if (kind == LrpKind::zero || kind == LrpKind::epsilon) CHECK(std::abs(left) <= tolerance(1e-7, 1e-3) * scale);
        // Flat and w^2 send relevance to every input, dead ones included: at weighted nodes all of it arrives.
        const Op& op = *net.graph.nodes[i].op;
        const bool weighted = op.op_class() == OpClass::affine && static_cast<const AffineOp&>(op).mixes();
        if (weighted && (kind == LrpKind::flat || kind == LrpKind::w_square))
          CHECK(std::abs(left) <= tolerance(1e-9, 1e-4) * scale);
        if (weighted && kind == LrpKind::gamma) CHECK(std::abs(left) <= tolerance(1e-7, 1e-3) * scale);
        CHECK(lines[i].in.non_finite == 0);
      }
    }
  }
}

TEST_CASE("the sum of a convolution of non-negative inputs may be negative, and its reader knows") {
  Net net({1, 2, 6, 6}, [](GraphBuilder& g, Id x) {
    Id h = relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv1"), "relu1");
    h = conv2d(g, h, {.out = 4, .kernel = 3, .padding = 1}, "conv2");
    h = conv2d(g, h, {.out = 4, .kernel = 3, .padding = 1}, "conv3");
    return linear(g, flatten(g, h, "flatten"), 3, "fc");
  });
  const Values x = random_values(net.image(1).size(), 11);
  for (const LrpKind kind : {LrpKind::z_plus, LrpKind::alpha_beta, LrpKind::gamma}) {
    const LrpRule careful(with(kind), false);
    Composed c(net, {Composite::uniform, with(kind)});
    std::vector<const Rule*> same = c.rules;
    same[net.node("conv3")] = same[net.node("fc")] = &careful;
    Walked a(net, c.rules, {}), b(net, same, {});
    const Values logits = a.forward(x, 1);
    b.forward(x, 1);
    CHECK(difference(a.back(seed_at(logits, 1, 1, true)), b.back(seed_at(logits, 1, 1, true))) < tolerance());
  }
}

TEST_CASE("with biases, what is missing is what the ledger says was absorbed") {
  for (const NamedNet& n : all_nets) {
    CAPTURE(std::string(n.name));
    Net net(n.image, n.body);
    const Values x = random_values(net.image(2).size(), 8);
    for (const LrpKind kind : {LrpKind::epsilon, LrpKind::gamma}) {
      CAPTURE(int(kind));
      LrpOptions o = with(kind);
      o.epsilon = 0.1f;
      Composed c(net, {Composite::uniform, o});
      Walked w(net, c.rules, {.batch = 2, .ledger = true});
      std::vector<LedgerLine> lines(net.graph.nodes.size());
      Ledger ledger{lines, nullptr};
      const Values logits = w.forward(x, 2);
      const Values seed = seed_at(logits, 2, 3, true);
      const Values r = w.back(seed, &ledger);
      double absorbed = 0, scale = 0;
      for (const LedgerLine& line : lines) {
        const double each = line.absorbed.absorbed_by_bias + line.absorbed.absorbed_by_stabiliser;
        scale = std::max({scale, line.in.abs_sum, line.out.abs_sum});
        absorbed += each;
        CHECK(std::abs(line.out.sum - line.in.sum - each) <
              tolerance(1e-9, 1e-4) * std::max({line.out.abs_sum, line.in.abs_sum, 1e-12}));
      }
      CHECK(std::abs(absorbed) > 1e-6);
      CHECK(std::abs(sum(seed) - sum(r) - absorbed) < tolerance(1e-9, 1e-3) * scale);
    }
  }
}

TEST_CASE("a shared bias is spread over the inputs and the sum is kept") {
  Net net = linear_net();
  const Values r = {1, 2};
  // By hand: R_i = sum_j (x_i w_ij + b_j/3) / z_j R_j with z = (-5.5, 3).
  check_equal(relevance_of(net, with(LrpKind::zero, BiasMode::shared), {1, -2, 3}, r),
              {(1 + 0.5 / 3) / -5.5 + (-1 - 1.0 / 3) / 3 * 2, (-4 + 0.5 / 3) / -5.5 + (-1 - 1.0 / 3) / 3 * 2,
               (-3 + 0.5 / 3) / -5.5 + (6 - 1.0 / 3) / 3 * 2});
  Net conv({1, 2, 5, 5},
           [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 3, .kernel = 3, .padding = 1}, "conv"); });
  const Values x = random_values(50, 1), seed = random_values(75, 2);
  CHECK(sum(relevance_of(conv, with(LrpKind::zero, BiasMode::shared), x, seed)) ==
        doctest::Approx(sum(seed)).epsilon(1e-3));
  CHECK(sum(relevance_of(conv, with(LrpKind::w_square, BiasMode::shared), x, seed)) ==
        doctest::Approx(sum(seed)).epsilon(1e-3));
}

TEST_CASE("alpha-beta where a neuron has no negative part: the neuron sends alpha times its relevance") {
  Net net({1, 2, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, x, 1, "fc", false); });
  net.set_parameter("fc.weight", {1, 2});
  check_equal(relevance_of(net, with(LrpKind::alpha_beta), {1, 1}, {3}), {2, 4});
  net.set_parameter("fc.weight", {1, -1});
  check_equal(relevance_of(net, with(LrpKind::alpha_beta), {1, 2}, {3}), {6, -3});
}

TEST_CASE("a batch equals its images one by one, and a repeated walk its first") {
  for (const NamedNet& n : all_nets) {
    CAPTURE(std::string(n.name));
    Net net(n.image, n.body);
    Composed c(net, {Composite::epsilon_alpha2_beta1_flat, {}});
    const std::int32_t batch = 3;
    const std::int64_t each = net.image(1).size(), classes = net.result(1).size();
    const Values x = random_values(net.image(batch).size(), 9);
    Walked all(net, c.rules, {.batch = batch});
    const Values logits = all.forward(x, batch), r = all.back(seed_at(logits, batch, 0, true));
    all.forward(x, batch);
    CHECK(difference(all.back(seed_at(logits, batch, 0, true)), r) == 0);
    for (std::int32_t i = 0; i < batch; ++i) {
      // A smaller batch in the same plan, too.
      const Values one(x.begin() + i * each, x.begin() + (i + 1) * each), y = all.forward(one, 1);
      CHECK(difference(y, Values(logits.begin() + i * classes, logits.begin() + (i + 1) * classes)) <
            tolerance(1e-13, 2e-6));
      CHECK(difference(all.back(seed_at(y, 1, 0, true)), Values(r.begin() + i * each, r.begin() + (i + 1) * each)) <
            tolerance(1e-12, 1e-4));
    }
  }
}

TEST_CASE("products: a gate gets nothing, two signals half each; LRN and diagonal ops") {
  // y = x * sigmoid(global average of x): all relevance goes to x.
  Net gated({1, 2, 2, 2}, [](GraphBuilder& g, Id x) {
    return multiply(g, x, sigmoid(g, global_avg_pool(g, x, "pool"), "gate"), 1, "product");
  });
  const Values x = random_values(8, 1), r = random_values(8, 2);
  check_equal(relevance_of(gated, with(LrpKind::epsilon), x, r), {r.begin(), r.end()});
  // y = a(x) * b(x) with linear a and b: half of the relevance through each.
  Net pair({1, 2, 1, 1}, [](GraphBuilder& g, Id in) {
    return multiply(g, linear(g, in, 1, "a", false), linear(g, in, 1, "b", false), -1, "product");
  });
  pair.set_parameter("a.weight", {1, 2});
  pair.set_parameter("b.weight", {3, 1});
  check_equal(relevance_of(pair, with(LrpKind::epsilon), {1, 1}, {12}),
              {6 * 1.0 / 3 + 6 * 3.0 / 4, 6 * 2.0 / 3 + 6 * 1.0 / 4});
  // A factor that is spread over a map collects the halves of all its places.
  Net spread({1, 1, 2, 2},
             [](GraphBuilder& g, Id in) { return multiply(g, in, global_avg_pool(g, in, "pool"), -1, "product"); });
  check_equal(relevance_of(spread, with(LrpKind::epsilon), {1, 2, 3, 4}, {1, 1, 1, 1}),
              {0.5 + 0.2, 0.5 + 0.4, 0.5 + 0.6, 0.5 + 0.8});

  Net lrn({1, 4, 1, 1}, [](GraphBuilder& g, Id in) { return local_response_norm(g, in, 3, "lrn", 1.0f); });
  const Values four = random_values(4, 3), signal = random_values(4, 4);
  check_equal(relevance_of(lrn, with(LrpKind::z_plus), four, signal), {signal.begin(), signal.end()});

  // y = -2 x + 1 at x = 1: the contribution -2 of -1 takes 2 R, the shift takes -R; pass ignores both.
  Net diagonal({1, 1, 1, 1}, [](GraphBuilder& g, Id in) { return scale(g, in, "scale"); });
  diagonal.set_parameter("scale.weight", {-2});
  diagonal.set_parameter("scale.bias", {1});
  check_equal(relevance_of(diagonal, with(LrpKind::epsilon), {1}, {3}), {6});
  check_equal(relevance_of(diagonal, with(LrpKind::epsilon, BiasMode::dropped), {1}, {3}), {3});
  const PassRule pass;
  CHECK(pass.refuses(*diagonal.graph.nodes[0].op) == nullptr);
  CHECK(pass.refuses(*lrn.graph.nodes[0].op) == nullptr);
}

TEST_CASE("a node's result used twice equals two copies of the node") {
  const auto body = [](bool copies) {
    return [copies](GraphBuilder& g, Id x) {
      const Id a = relu(g, conv2d(g, x, {.out = 3, .kernel = 3, .padding = 1}, "conv"), "relu");
      Id b = a;
      if (copies) {
        const Id in[] = {x};
        const Id par[] = {g.nodes()[0].par[0], g.nodes()[0].par[1]};
        auto* op = g.make<Conv2d>();
        op->out = 3;
        op->kernel_h = op->kernel_w = 3;
        op->pad_top = op->pad_left = op->pad_bottom = op->pad_right = 1;
        b = relu(g, g.add_shared(op, in, par, "conv_copy"), "relu_copy");
      }
      const Id parts[] = {max_pool(g, a, {.kernel = 2}, "max"), avg_pool(g, b, {.kernel = 2}, "avg")};
      return linear(g, flatten(g, concat(g, parts)), 3, "fc");
    };
  };
  Net once({1, 2, 6, 6}, body(false)), twice({1, 2, 6, 6}, body(true));
  twice.parameters = once.parameters;
  for (const Composite composite : {Composite::epsilon_plus, Composite::epsilon_alpha2_beta1_flat}) {
    Composed c1(once, {composite, {}}), c2(twice, {composite, {}});
    Walked a(once, c1.rules, {}), b(twice, c2.rules, {});
    const Values x = random_values(72, 10);
    const Values y = a.forward(x, 1);
    CHECK(difference(b.forward(x, 1), y) == 0);
    CHECK(difference(b.back(seed_at(y, 1, 1, true)), a.back(seed_at(y, 1, 1, true))) < tolerance(1e-9, 1e-3));
  }
}

TEST_CASE("composites give each node its rule, and options out of range are refused") {
  Net net({1, 2, 9, 8}, plain_net);
  const float low[] = {0, 0}, high[] = {1, 1};
  LrpOptions o;
  o.low = low;
  o.high = high;
  const auto rule_of = [&](Composite composite, const char* node) {
    Composed c(net, {composite, o});
    return std::string(c.rules[net.node(node)]->name());
  };
  CHECK(rule_of(Composite::epsilon_plus, "conv1") == "z-plus");
  CHECK(rule_of(Composite::epsilon_plus_flat, "conv1") == "flat");
  CHECK(rule_of(Composite::epsilon_plus_flat, "conv2") == "z-plus");
  CHECK(rule_of(Composite::epsilon_gamma_box, "conv1") == "z-box");
  CHECK(rule_of(Composite::epsilon_gamma_box, "conv2") == "gamma");
  CHECK(rule_of(Composite::epsilon_gamma_box, "fc1") == "epsilon");
  CHECK(rule_of(Composite::epsilon_alpha2_beta1, "conv2") == "alpha-beta");
  CHECK(rule_of(Composite::epsilon_alpha2_beta1, "relu2") == "pass");
  CHECK(rule_of(Composite::excitation_backprop, "fc2") == "z-plus");
  CHECK(rule_of(Composite::excitation_backprop, "relu2") == "gradient");

  Net first_dense({1, 6, 1, 1}, vector_net);
  Composed c(first_dense, {Composite::epsilon_gamma_box, o});
  CHECK(std::string(c.rules[first_dense.node("fc1")]->name()) == "epsilon");

  LrpOptions bad = with(LrpKind::alpha_beta);
  bad.alpha = 3;
  CHECK(check(bad) != nullptr);
  bad = with(LrpKind::z_box);
  CHECK(check(bad) != nullptr);
  bad = with(LrpKind::gamma);
  bad.gamma = -1;
  CHECK(check(bad) != nullptr);
}

TEST_CASE("a rule defined as data: tables run like the built-in ones, and nonsense is refused") {
  Net net = linear_net();
  const Values x = {1, -2, 3}, r = {1, 2};
  const auto by = [&](const LrpTable& table, bool nonnegative = false, const Values& in = {1, -2, 3}) {
    REQUIRE(check(table) == nullptr);
    const LrpRule rule(table, nonnegative);
    Walked walked(net, everywhere(net, rule), {});
    REQUIRE_MESSAGE(walked.status == Status::ok, walked.failure.what);
    walked.forward(in, 1);
    const Values first = walked.back(r);
    CHECK(walked.back(r) == first);  // a walk changes nothing that the forward run left
    return first;
  };
  const LrpRow positive{LrpInput::positive, positive_part, positive_part}, negative{LrpInput::negative, negative_part};
  LrpTable plus;
  plus.groups[0].rows[0] = positive;
  plus.groups[0].rows[1] = negative;
  CHECK(difference(by(plus), relevance_of(net, with(LrpKind::z_plus), x, r)) == 0);

  // Twice epsilon minus flat: the first group's denominators are the output itself, which the second must not change.
  LrpTable mixed;
  mixed.groups[0] = {.rows = {{LrpInput::all, raw_part, raw_part}}, .factor = 2};
  mixed.groups[1] = {.rows = {{LrpInput::ones, ones}}, .factor = -1};
  const Values epsilon = relevance_of(net, with(LrpKind::epsilon), x, r),
               flat = relevance_of(net, with(LrpKind::flat), x, r);
  const Values found = by(mixed);
  for (std::size_t i = 0; i < 3; ++i) CHECK(std::abs(found[i] - (2 * epsilon[i] - flat[i])) < 1e-5);

  // Rows that read the image and rows that do not, in one group: D = sum of w x + 3, shares w x + 1.
  LrpTable both;
  both.groups[0].rows[0] = {LrpInput::ones, ones};
  both.groups[0].rows[1] = {LrpInput::all, raw_part};
  const double d0 = -6 + 3, d1 = 4 + 3;  // w x is (1, -4, -3) and (-1, -1, 6)
  check_equal(by(both), {2 / d0 + 2 * 0 / d1, -3 / d0 + 2 * 0 / d1, -2 / d0 + 2 * 7 / d1}, 1e-5);

  // A group that reads negative inputs alone says nothing where there are none.
  LrpTable apart;
  apart.groups[0] = {.rows = {negative}};
  apart.groups[1] = {.rows = {positive}};
  CHECK(difference(by(apart, true, {1, 2, 3}), by(apart, false, {1, 2, 3})) < 1e-7);
  LrpTable gone = lrp_table(with(LrpKind::alpha_beta));
  gone.groups[0].rows[0] = {LrpInput::negative, raw_part, nothing};
  gone.groups[0].rows[1] = {};
  gone.output_multiple = 0;
  CHECK(gone.for_nonnegative_inputs().group_count() == 1);

  const auto refused = [](LrpTable table, auto change, const char* word) {
    change(table);
    const char* const why = check(table);
    REQUIRE_MESSAGE(why != nullptr, word);
    CHECK_MESSAGE(std::string(why).find(word) != std::string::npos, why);
  };
  const float low[] = {0, 1}, high[] = {1, 0.5f}, one[] = {1};
  refused(
      LrpTable{}, [](LrpTable&) {}, "at least one row");
  refused(
      plus, [&](LrpTable& t) { t.groups[0].rows[3] = positive; }, "gap");
  refused(
      plus, [](LrpTable& t) { t.groups[0].factor = 0; }, "factors of groups");
  refused(
      plus, [](LrpTable& t) { t.groups[0].rows[0].weight.p = std::numeric_limits<float>::infinity(); }, "finite");
  refused(
      plus, [](LrpTable& t) { t.stabiliser.eps = -1; }, "stabiliser");
  refused(
      plus, [](LrpTable& t) { t.output_multiple = 1; }, "output_multiple");
  refused(
      lrp_table(with(LrpKind::gamma)), [](LrpTable& t) { t.output_multiple = 2; }, "output_multiple");
  refused(
      plus, [](LrpTable& t) { t.groups[0].rows[0].input = LrpInput::above_low; }, "output_less_bounds");
  refused(
      plus, [](LrpTable& t) { t.groups[0].denominator = LrpDenominator::output_less_bounds; }, "above a bound");
  LrpOptions o = with(LrpKind::z_box);
  o.low = low, o.high = low;
  const LrpTable box = lrp_table(o);
  CHECK(check(box) == nullptr);
  refused(
      box, [&](LrpTable& t) { t.high = high; }, "low of at most high");
  refused(
      box, [&](LrpTable& t) { t.high = one; }, "as many values");
  refused(
      box, [](LrpTable& t) { t.groups[0].rows[1].weight = positive_part; }, "sum to the weights");
  refused(
      box, [](LrpTable& t) { t.groups[0].rows[1].bias = raw_part; }, "without a bias");
}

TEST_CASE("entries of a composite: the first that a node meets, by name, op and place; settings of their own") {
  Net net({1, 2, 9, 8}, plain_net);
  LrpOptions strong;
  strong.gamma = 3;
  const CompositeEntry entries[] = {
      {.nodes = "conv2|fc2", .rule = {LrpKind::gamma, &strong, LrpGiven::gamma}},
      {.ops = "weighted", .first = true, .rule = LrpKind::w_square},
      {.nodes = "fc*", .ops = "spatial", .rule = LrpKind::flat},  // no node is both
      {.ops = "conv2d|linear", .rule = LrpKind::z_plus},
      {.ops = "dense", .rule = LrpKind::zero},  // too late
      {.ops = "*pool*|flat*|pointwise", .rule = RuleKind::pass},
  };
  const Composite composite{"mine", "", "", entries, LrpKind::norm};
  Composed c(net, {composite, {}});
  const auto rule_at = [&](const char* node) { return std::string(c.rules[net.node(node)]->name()); };
  CHECK(rule_at("conv1") == "w-square");
  CHECK(rule_at("conv2") == "gamma");
  CHECK(rule_at("fc1") == "z-plus");
  CHECK(rule_at("fc2") == "gamma");
  CHECK(rule_at("relu2") == "pass");
  // The entry's gamma is not that of the options.
  const LrpRule gamma(
      [] {
        LrpOptions o;
        o.kind = LrpKind::gamma;
        o.gamma = 3;
        return o;
      }(),
      true);
  std::vector<const Rule*> same = c.rules;
  same[net.node("conv2")] = same[net.node("fc2")] = &gamma;
  Walked a(net, c.rules, {}), b(net, same, {});
  const Values x = random_values(net.image(1).size(), 4), logits = a.forward(x, 1);
  b.forward(x, 1);
  CHECK(difference(a.back(seed_at(logits, 1, 2, true)), b.back(seed_at(logits, 1, 2, true))) == 0);
  // Every op is of one of the classes that have a word.
  for (const Node& node : net.graph.nodes) {
    int held = 0;
    for (const OpWord& word : op_words()) held += word.holds(net.graph, node);
    CHECK(held > 0);
  }
}

TEST_CASE("a rule without meaning at a node is refused before the walk, by the node's name") {
  Net net({1, 6, 1, 1}, [](GraphBuilder& g, Id x) { return softmax(g, linear(g, x, 3, "fc"), "probabilities"); });
  const LrpRule rule(with(LrpKind::epsilon), false);
  Walked w(net, everywhere(net, rule), {});
  CHECK(w.status == Status::no_rule);
  CHECK(std::string(w.failure.node) == "probabilities");

  Net pool({1, 1, 4, 4}, [](GraphBuilder& g, Id x) { return avg_pool(g, x, {.kernel = 2}, "pool"); });
  const LrpRule flat(with(LrpKind::flat), false);
  Walked v(pool, everywhere(pool, flat), {});
  CHECK(v.status == Status::no_rule);
  CHECK(std::string(v.failure.node) == "pool");
  const PassRule pass;
  Net fc({1, 4, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, x, 4, "fc"); });
  Walked u(fc, everywhere(fc, pass), {});
  CHECK(u.status == Status::no_rule);
}

TEST_SUITE_END();
