// DeepLIFT: golden values of the specification (attribution.md 2.4, 5.6), completeness on every network, and the sums
// that peers get wrong (overlapping pools, residual sums, reused activations).
#include <array>

#include "core/host/thread_pool.h"
#include "tests/support/small_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("rules");

namespace {

// Contributions of every input element to one output, for a batch.
Values rescale(Net& net, const Values& x, const Values& x0, std::int32_t batch, std::size_t target,
               double* gap = nullptr) {
  const DeepLiftRescale rule;
  Walked w(net, everywhere(net, rule), {.batch = batch, .reference = true});
  REQUIRE_MESSAGE(w.status == Status::ok, w.failure.what);
  const Values y0 = w.forward_reference(x0, batch), y = w.forward(x, batch);
  Values r = w.back(seed_at(y, batch, target, false));
  for (std::size_t i = 0; i < r.size(); ++i) r[i] *= x[i] - x0[i];
  const std::size_t k = y.size() / static_cast<std::size_t>(batch);
  if (gap != nullptr) {
    double difference = 0;
    for (std::size_t n = 0; n < static_cast<std::size_t>(batch); ++n)
      difference += static_cast<double>(y[n * k + target]) - y0[n * k + target];
    *gap = sum(r) - difference;
  }
  return r;
}

Values reveal_cancel(Net& net, const Values& x, const Values& x0, std::int32_t batch, std::size_t target,
                     double* gap = nullptr, bool reveal = true) {
  std::vector<std::byte> memory(std::size_t{1} << 22);
  Arena arena(memory.data(), memory.size());
  DeepLiftParts parts;
  REQUIRE(make_deeplift_parts(net.graph, batch, arena, arena, parts) == Status::ok);
  std::array<bool, 64> flags{};
  for (std::size_t i = 0; i < net.graph.nodes.size(); ++i) flags[i] = reveal;
  DeepLiftRevealCancel rule(net.graph, parts, {flags.data(), net.graph.nodes.size()});
  Walked w(net, everywhere(net, rule), {.batch = batch, .channels = 2, .reference = true, .observer = &rule});
  REQUIRE_MESSAGE(w.status == Status::ok, w.failure.what);
  const Values y0 = w.forward_reference(x0, batch), y = w.forward(x, batch);
  w.back(seed_at(y, batch, target, false));
  Values r(x.size(), NAN);
  REQUIRE(rule.contribution(w.context(), *w.run, net.graph.input, {r.data(), net.image(batch)}) == Status::ok);
  const std::size_t k = y.size() / static_cast<std::size_t>(batch);
  if (gap != nullptr) {
    double difference = 0;
    for (std::size_t n = 0; n < static_cast<std::size_t>(batch); ++n)
      difference += static_cast<double>(y[n * k + target]) - y0[n * k + target];
    *gap = sum(r) - difference;
  }
  return r;
}

}  // namespace

TEST_CASE("golden: one hidden layer, where Rescale equals integrated gradients") {
  Net net({1, 2, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, relu(g, linear(g, x, 2, "a")), 1, "b"); });
  net.set_parameter("a.weight", {1, -1, 2, 1});
  net.set_parameter("a.bias", {0, -1});
  net.set_parameter("b.weight", {1, -1});
  net.set_parameter("b.bias", {real(0.25)});
  const Values r = rescale(net, {2, 1}, {0, 0}, 1, 0);
  CHECK(r[0] == doctest::Approx(-1.2).epsilon(1e-6));
  CHECK(r[1] == doctest::Approx(-1.8).epsilon(1e-6));
}

TEST_CASE("golden: the minimum of two inputs") {
  // o = i1 - relu(i1 - i2): RevealCancel shares min(i1, i2) evenly, Rescale gives it to one.
  Net net({1, 2, 1, 1}, [](GraphBuilder& g, Id x) {
    const Id direct = linear(g, x, 1, "direct", false);
    return add(g, direct, linear(g, relu(g, linear(g, x, 1, "difference", false)), 1, "minus", false));
  });
  net.set_parameter("direct.weight", {1, 0});
  net.set_parameter("difference.weight", {1, -1});
  net.set_parameter("minus.weight", {-1});
  const auto check = [&](const Values& x, double a, double b, double c, double d) {
    const Values reveal = reveal_cancel(net, x, {0, 0}, 1, 0), plain = rescale(net, x, {0, 0}, 1, 0);
    CHECK(reveal[0] == doctest::Approx(a).epsilon(1e-5));
    CHECK(reveal[1] == doctest::Approx(b).epsilon(1e-5));
    CHECK(std::abs(plain[0] - c) < 1e-5);
    CHECK(std::abs(plain[1] - d) < 1e-5);
  };
  check({3, 1}, 0.5, 0.5, 0, 1);
  check({1, 3}, 0.5, 0.5, 1, 0);
}

TEST_CASE("contributions sum to the difference of the outputs, overlapping pools and sums included") {
  for (const NamedNet& n : all_nets) {
    CAPTURE(std::string(n.name));
    Net net(n.image, n.body);
    const std::int32_t batch = 3;
    const Values x = random_values(net.image(batch).size(), 11), x0 = random_values(net.image(batch).size(), 12);
    double gap = 0;
    const Values r = rescale(net, x, x0, batch, 1, &gap);
    CHECK(std::abs(gap) < tolerance(1e-10, 2e-4) * std::max(1.0, max_abs(r)));
    const Values both = reveal_cancel(net, x, x0, batch, 1, &gap);
    CHECK(std::abs(gap) < tolerance(1e-6, 2e-3) * std::max(1.0, max_abs(both)));
    CHECK(difference(both, r) > 1e-4);
    // With RevealCancel nowhere, two channels give what one gives.
    CHECK(difference(reveal_cancel(net, x, x0, batch, 1, &gap, false), r) < tolerance(1e-9, 2e-3));
    CHECK(max_abs(rescale(net, x, x, batch, 1)) == 0);
  }
}

TEST_CASE("overlapping max pools alone, and behind a rectifier") {
  for (const bool rectified : {false, true})
    for (const std::int32_t stride : {1, 2, 3}) {
      CAPTURE(stride);
      Net net({1, 2, 8, 7}, [&](GraphBuilder& g, Id x) {
        const Id h = max_pool(g, rectified ? relu(g, x) : x, {.kernel = 3, .stride = stride, .padding = 1}, "pool");
        return linear(g, flatten(g, h), 2, "fc");
      });
      const Values x = random_values(112, 13), x0 = random_values(112, 14);
      double gap = 0;
      const Values r = rescale(net, x, x0, 1, 0, &gap);
      CHECK(std::abs(gap) < tolerance(1e-11, 1e-4));
      const Values v = reveal_cancel(net, x, x0, 1, 0, &gap);
      CHECK(std::abs(gap) < tolerance(1e-6, 1e-3));
      // Every multiplier of a window is a share of 1: contributions stay within the weights' reach.
      CHECK(max_abs(r) < 1e3);
      CHECK(max_abs(v) < 1e3);
    }
}

TEST_CASE("a batch equals its pairs one by one") {
  Net net({1, 3, 8, 8}, joined_net);
  const Values x = random_values(net.image(2).size(), 15), x0 = random_values(net.image(2).size(), 16);
  const std::size_t each = x.size() / 2;
  const Values all = rescale(net, x, x0, 2, 2), reveal = reveal_cancel(net, x, x0, 2, 2);
  for (std::size_t n = 0; n < 2; ++n) {
    const auto part = [&](const Values& v) {
      return Values(v.begin() + static_cast<std::ptrdiff_t>(n * each),
                    v.begin() + static_cast<std::ptrdiff_t>((n + 1) * each));
    };
    CHECK(difference(rescale(net, part(x), part(x0), 1, 2), part(all)) < tolerance(1e-12, 1e-4));
    CHECK(difference(reveal_cancel(net, part(x), part(x0), 1, 2), part(reveal)) < tolerance(1e-12, 2e-3));
  }
}

TEST_CASE("one reference for all images gives what a reference each gives, and lasts from run to run") {
  const auto check = [](const char* name, Net& net) {
    CAPTURE(std::string(name));
    const DeepLiftRescale rule;
    const std::int32_t batch = 3;
    ThreadPool pool(3);
    Walked one(net, everywhere(net, rule),
               {.batch = batch, .reference = true, .parallel = &pool, .one_reference = true});
    REQUIRE_MESSAGE(one.status == Status::ok, one.failure.what);
    const Values x0 = random_values(net.image(1).size(), 21);
    Values each;
    for (std::int32_t n = 0; n < batch; ++n) each.insert(each.end(), x0.begin(), x0.end());
    one.forward_reference(x0, 1);
    // The last batch is smaller.
    for (const std::int32_t images : {batch, batch, 2}) {
      const Values x = random_values(net.image(images).size(), 22 + static_cast<std::uint64_t>(images)),
                   from(each.begin(), each.begin() + static_cast<std::ptrdiff_t>(x.size()));
      const Values y = one.forward(x, images);
      Values r = one.back(seed_at(y, images, 1, false));
      for (std::size_t i = 0; i < r.size(); ++i) r[i] *= x[i] - from[i];
      CHECK(difference(r, rescale(net, x, from, images, 1)) < tolerance(1e-12, 1e-5) * std::max(1.0, max_abs(r)));
    }
  };
  for (const NamedNet& n : all_nets) {
    Net net(n.image, n.body);
    check(n.name, net);
  }
  // The reference image itself is read on the way back.
  Net pooled({1, 2, 8, 7}, [](GraphBuilder& g, Id x) {
    return linear(g, flatten(g, relu(g, max_pool(g, x, {.kernel = 3, .stride = 2, .padding = 1}, "pool"))), 2, "fc");
  });
  check("pool first", pooled);
  Net normed({1, 5, 3, 3}, [](GraphBuilder& g, Id x) {
    return linear(
        g,
        flatten(g, local_response_norm(g, conv2d(g, x, {.out = 6, .kernel = 3, .padding = 1}, "conv"), 3, "lrn", 0.8f)),
        2, "fc");
  });
  check("local response norm", normed);
  // Threads' shares begin within images.
  Net large({1, 1, 80, 80}, [](GraphBuilder& g, Id x) {
    return linear(g, flatten(g, relu(g, conv2d(g, x, {.out = 7, .kernel = 3, .padding = 1}, "conv"))), 2, "fc");
  });
  check("large", large);
}

TEST_CASE("one reference for all images: what it refuses") {
  Net net({1, 3, 8, 8}, joined_net);
  const DeepLiftRescale rule;
  CHECK(Walked(net, everywhere(net, rule), {.one_reference = true}).status == Status::bad_argument);
  ReplaceOutput watcher;
  CHECK(Walked(net, everywhere(net, rule), {.reference = true, .observer = &watcher, .one_reference = true}).status ==
        Status::bad_argument);
  Walked w(net, everywhere(net, rule), {.batch = 2, .reference = true, .one_reference = true});
  const Values two(net.image(2).size());
  CHECK(w.run->forward_reference(w.context(), {const_cast<real*>(two.data()), net.image(2)}) == Status::bad_shape);
}

TEST_CASE("RevealCancel where all contributions have one sign equals Rescale") {
  Net net({1, 4, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, relu(g, linear(g, x, 5, "a")), 2, "b"); });
  for (const Value& v : net.graph.values)
    if (v.kind == ValueKind::parameter)
      for (std::int64_t i = 0; i < v.shape.size(); ++i) {
        real& p = net.parameters[static_cast<std::size_t>(v.offset + i)];
        p = std::abs(p);
      }
  const Values x = {1, 2, real(0.5), 3}, x0 = {0, 1, real(0.25), 1};
  CHECK(difference(reveal_cancel(net, x, x0, 1, 0), rescale(net, x, x0, 1, 0)) < tolerance(1e-6, 1e-4));
}

TEST_CASE("where an activation's input does not differ, Rescale takes the derivative at the reference") {
  // z = x1 - x2 is 1 in both runs although both inputs differ: their contributions are 1 and -1, not 0.
  Net net({1, 2, 1, 1},
          [](GraphBuilder& g, Id x) { return linear(g, relu(g, linear(g, x, 1, "z", false)), 1, "y", false); });
  net.set_parameter("z.weight", {1, -1});
  net.set_parameter("y.weight", {1});
  const Values r = rescale(net, {2, 1}, {1, 0}, 1, 0), v = reveal_cancel(net, {2, 1}, {1, 0}, 1, 0, nullptr, false);
  CHECK(r == Values{1, -1});
  CHECK(v == Values{1, -1});
  CHECK(rescale(net, {1, 2}, {0, 1}, 1, 0) == Values{0, 0});
}

TEST_CASE("DeepLIFT refuses a softmax") {
  Net net({1, 4, 1, 1}, [](GraphBuilder& g, Id x) { return softmax(g, linear(g, x, 3, "fc"), "probabilities"); });
  const DeepLiftRescale rule;
  Walked w(net, everywhere(net, rule), {.reference = true});
  CHECK(w.status == Status::no_rule);
}

TEST_SUITE_END();
