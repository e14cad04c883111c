// Plans: buffers that live at the same time never overlap, memory one byte too small is refused at every point, what is
// kept is kept, threads change nothing.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/host/thread_pool.h"
#include "core/plan/print.h"
#include "kernels/philox.h"
#include "tests/support/small_nets.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("core");

TEST_CASE("sharing memory changes no result: every value kept equals nothing kept") {
  // `Walked` fills its memory with NaN; a buffer overwritten too early, or read before it was written, would show.
  const GradientRule rule(true);
  for (const NamedNet& n : all_nets) {
    CAPTURE(std::string(n.name));
    Net net(n.image, n.body);
    const std::vector<Id> all = results(net);
    Walked tight(net, everywhere(net, rule), {.batch = 2, .parameter_gradients = true});
    Walked loose(net, everywhere(net, rule), {.batch = 2, .parameter_gradients = true, .keep = all});
    CHECK(tight.plan.planned_bytes < loose.plan.planned_bytes);
    const Values x = random_values(net.image(2).size(), 1), seed = random_values(net.result(2).size(), 2);
    // A residual that is added within a convolution is added first, not last; where there is none, no bit differs.
    const bool reordered = std::any_of(tight.plan.nodes.begin(), tight.plan.nodes.end(),
                                       [](const NodePlan& n) { return n.residual != no_id; });
    const double most = reordered ? tolerance(1e-13, 1e-6) : 0;
    CHECK(difference(tight.forward(x, 2), loose.forward(x, 2)) <= most);
    const Values a = tight.back(seed), b = loose.back(seed);
    CHECK(difference(a, b) <= most);
    for (const Value& v : net.graph.values)
      if (v.kind == ValueKind::parameter && v.trainable)
        for (std::int64_t i = v.offset; i < v.offset + v.shape.size(); ++i) {
          const auto k = static_cast<std::size_t>(i);
          CHECK(std::isfinite(tight.gradients[k]));
          CHECK(std::abs(tight.gradients[k] - loose.gradients[k]) <= (reordered ? tolerance(1e-11, 1e-5) : 0));
        }
  }
}

namespace {

// Two residual blocks, one with a convolution on its shortcut, and a map that two sums read.
Id residual_net(GraphBuilder& g, Id x) {
  const Id a = relu(g, conv2d(g, x, {.out = 5, .kernel = 3, .padding = 1}, "conv1"), "relu1");
  const Id inner = relu(g, conv2d(g, a, {.out = 5, .kernel = 3, .padding = 1, .bias = false}, "conv2"), "relu2");
  const Id b = relu(g, add(g, conv2d(g, inner, {.out = 5, .kernel = 3, .padding = 1}, "conv3"), a, "add1"), "relu3");
  const Id wide = conv2d(g, b, {.out = 7, .kernel = 3, .stride = 2, .padding = 1}, "conv4");
  const Id c = relu(g, add(g, wide, conv2d(g, b, {.out = 7, .kernel = 1, .stride = 2}, "shortcut"), "add2"), "relu4");
  const Id d = add(g, c, conv2d(g, c, {.out = 7, .kernel = 1}, "conv5"), "add3");
  const Id e = add(g, conv2d(g, d, {.out = 7, .kernel = 3, .padding = 1}, "conv6"), d, "add4");
  const Id f = add(g, conv2d(g, e, {.out = 7, .kernel = 3, .padding = 1}, "conv7"), d, "add5");
  return linear(g, flatten(g, f, "flatten"), 4, "fc");
}

}  // namespace

TEST_CASE("a convolution does the sum and the ReLU behind it where nobody else reads what lies between") {
  Net net({1, 2, 9, 8}, residual_net);
  const auto at = [&](const char* name) { return net.node(name); };
  const auto value = [&](const char* name) { return net.graph.nodes[net.node(name)].out; };
  const Values x = random_values(net.image(3).size(), 1);
  const std::vector<Id> all = results(net);

  Walked inference(net, {}, {.batch = 3}), kept(net, {}, {.batch = 3, .keep = all});
  for (Id i = 0; i < net.graph.nodes.size(); ++i)
    CHECK((kept.plan.nodes[i].result == net.graph.nodes[i].out && kept.plan.nodes[i].runs()));
  const auto& fused = inference.plan.nodes;
  CHECK(
      (fused[at("conv1")].relu && fused[at("conv1")].result == value("relu1") && fused[at("conv1")].residual == no_id));
  CHECK((fused[at("conv3")].relu && fused[at("conv3")].result == value("relu3") &&
         fused[at("conv3")].residual == value("relu1")));
  CHECK((fused[at("add1")].fused_into == at("conv3") && fused[at("relu3")].fused_into == at("conv3")));
  CHECK(fused[at("conv4")].result == value("conv4"));  // its partner is not there yet
  CHECK((fused[at("shortcut")].relu && fused[at("shortcut")].residual == value("conv4")));
  CHECK((!fused[at("conv6")].relu && fused[at("conv6")].residual == value("add3")));
  // A residual that nobody reads later gives its memory to the sum; conv5 reads its residual itself, add5 reads d once
  // more.
  CHECK(inference.plan.values[value("relu3")].memory.offset == inference.plan.values[value("relu1")].memory.offset);
  CHECK(inference.plan.values[value("add3")].memory.offset != inference.plan.values[value("relu4")].memory.offset);
  CHECK(inference.plan.values[value("add4")].memory.offset != inference.plan.values[value("add3")].memory.offset);
  CHECK(inference.plan.values[value("add5")].memory.offset == inference.plan.values[value("add3")].memory.offset);
  CHECK(inference.plan.planned_bytes < kept.plan.planned_bytes / 2);
  const Values want = kept.forward(x, 3);
  CHECK(difference(inference.forward(x, 3), want) < tolerance(1e-13, 1e-6));
  CHECK(max_abs(want) > 0.1);

  // A walk that reads the sum's operands keeps them; the gradient reads ReLU's results alone.
  const GradientRule rule;
  Walked gradient(net, everywhere(net, rule), {.batch = 3});
  CHECK((gradient.plan.nodes[at("conv3")].relu &&
         gradient.plan.values[value("relu3")].memory.offset != gradient.plan.values[value("relu1")].memory.offset));
  Composed lrp(net, {Composite::epsilon_plus, {}});
  Walked relevance(net, lrp.rules, {.batch = 3});
  CHECK(!relevance.plan.nodes[at("conv3")].relu);
  Walked twice(net, everywhere(net, rule), {.batch = 3, .reference = true});
  const Values other = random_values(net.image(3).size(), 2);
  CHECK(difference(twice.forward_reference(x, 3), want) < tolerance(1e-13, 1e-6));
  CHECK(difference(twice.forward(other, 3), kept.forward(other, 3)) < tolerance(1e-13, 1e-6));
}

namespace {

Id deep_net(GraphBuilder& g, Id x) {
  Id h = relu(g, conv2d(g, x, {.out = 6, .kernel = 3, .padding = 1}, "stem"), "relu");
  for (int i = 0; i < 8; ++i) {
    const Id inner =
        relu(g, batch_norm(g, conv2d(g, h, {.out = 6, .kernel = 3, .padding = 1, .bias = false}, nullptr), nullptr),
             nullptr);
    h = relu(
        g,
        add(g, dropout(g, conv2d(g, inner, {.out = 6, .kernel = 3, .padding = 1}, nullptr), 0.2f, nullptr), h, nullptr),
        nullptr);
    if (i == 3) h = max_pool(g, h, {.kernel = 2}, nullptr);
  }
  return linear(g, flatten(g, h, "flatten"), 4, "fc");
}

}  // namespace

TEST_CASE(
    "images innermost, sum and ReLU within a batch norm: nothing changes but the order of sums, in evaluation and in "
    "training") {
  const auto body = [](GraphBuilder& g, Id x) {
    Id h = relu(g, batch_norm(g, conv2d(g, x, {.out = 6, .kernel = 5, .padding = 2}, "conv1"), "bn1"), "relu1");
    h = max_pool(g, h, {.kernel = 2}, "pool1");
    const Id a = relu(g, conv2d(g, h, {.out = 9, .kernel = 3, .stride = 2, .padding = 1}, "conv2"), "relu2");
    h = batch_norm(g, conv2d(g, a, {.out = 9, .kernel = 3, .padding = 1, .bias = false}, "conv3"), "bn3");
    h = max_pool(g, relu(g, add(g, h, a, "add3"), "relu3"), {.kernel = 3, .stride = 1, .padding = 1}, "pool3");
    const Id whole = linear(g, flatten(g, h, "flatten"), 5, "fc");
    const Id mean =
        global_avg_pool(g, conv2d(g, h, {.out = 5, .kernel = 1}, "conv4"), "mean");  // takes images outermost alone
    // A sum whose other term has images outermost.
    const Id mixed = add(g, relu(g, conv2d(g, x, {.out = 2, .kernel = 3, .padding = 1}, "side"), "side_relu"),
                         avg_pool(g, x, {.kernel = 3, .stride = 1, .padding = 1}, "smooth"), "mixed");
    const Id side = linear(g, flatten(g, max_pool(g, mixed, {.kernel = 2}, "mixed_pool"), "mixed_flat"), 5, "mixed_fc");
    const Id terms[] = {whole, flatten(g, mean, "flat"), side};
    return add(g, terms, "sum");
  };
  Net net({1, 2, 14, 13}, body);
  const GradientRule rule(true);
  const auto value = [&](const char* name) { return net.graph.nodes[net.node(name)].out; };
  const std::vector<Id> all = results(net);
  for (const bool training : {false, true}) {
    CAPTURE(training);
    Walked tight(net, everywhere(net, rule), {.batch = 32, .parameter_gradients = true, .training = training});
    Walked loose(net, everywhere(net, rule),
                 {.batch = 32, .parameter_gradients = true, .keep = all, .training = training});
    for (const ValuePlan& v : loose.plan.values) CHECK(!v.interleaved);
    if (kernel_table().takes_interleaved != nullptr) {
      for (const char* name : {"conv1", "bn1", "relu1", "pool1", "conv2", "relu2", "conv3", "bn3", "add3", "relu3",
                               "pool3", "flatten", "mixed_flat"})
        CHECK_MESSAGE(tight.plan.values[value(name)].interleaved, name);
      for (const char* name :
           {"conv4", "mean", "flat", "fc", "sum", "side", "side_relu", "smooth", "mixed", "mixed_pool"})
        CHECK_MESSAGE(!tight.plan.values[value(name)].interleaved, name);
    }
    const NodePlan& fused = tight.plan.nodes[net.node("bn3")];
    CHECK((fused.result == value("relu3") && fused.residual == value("relu2") && fused.relu));
    for (const int batch : {32, 16, 20, 1}) {
      CAPTURE(batch);
      const Values x = random_values(net.image(batch).size(), 1), seed = random_values(net.result(batch).size(), 2);
      CHECK(difference(tight.forward(x, batch), loose.forward(x, batch)) <= tolerance(1e-12, 2e-6));
      CHECK(difference(tight.back(seed), loose.back(seed)) <= tolerance(1e-12, 2e-6));
      for (const Value& v : net.graph.values)
        if (v.kind == ValueKind::parameter && v.trainable)
          for (auto k = static_cast<std::size_t>(v.offset); k < static_cast<std::size_t>(v.offset + v.shape.size());
               ++k)
            CHECK(std::abs(tight.gradients[k] - loose.gradients[k]) <=
                  tolerance(1e-11, 2e-5) * (1 + std::abs(loose.gradients[k])));
    }
  }
}

TEST_CASE("images innermost pass through what moves elements, as far as they are taken") {
  const auto body = [](GraphBuilder& g, Id x) {
    const Id h = relu(g, conv2d(g, x, {.out = 6, .kernel = 5, .padding = 2}, "conv1"), "relu1");
    const Id rows = slice(g, h, 2, 1, 6, 2, "rows"), columns = slice(g, rows, 3, 11, 5, -2, "columns"),
             channels = slice(g, columns, 1, 1, 4, 1, "channels");
    const Id padded =
        pad(g, pad_channels(g, channels, 2, 1, "deep"), 1, -1, 2, 3, "padded");  // top and bottom wider, left cut
    const Id two[] = {conv2d(g, padded, {.out = 3, .kernel = 3, .padding = 1}, "conv2"), padded};
    const Id joint = concat(g, two, "joint");
    const Id wide[] = {joint, conv2d(g, joint, {.out = 10, .kernel = 1}, "conv3"), joint};
    const Id across = concat(g, wide, "across", 3), tall[] = {across, across};
    const Id both = concat(g, tall, "both", 2);
    // The average pool takes images outermost alone, and so does the sum.
    const Id sum = add(g, pad(g, rows, 4, 1, 4, -1, "turned"),
                       avg_pool(g, x, {.kernel = 3, .stride = 1, .padding = 1}, "smooth"), "sum");
    const Id terms[] = {linear(g, flatten(g, both, "flatten"), 4, "fc"), linear(g, flatten(g, sum, "flat"), 4, "fc2")};
    return add(g, terms, "total");
  };
  Net net({1, 6, 14, 13}, body);
  const GradientRule rule(true);
  const auto value = [&](const char* name) { return net.graph.nodes[net.node(name)].out; };
  const std::vector<Id> all = results(net);
  Walked tight(net, everywhere(net, rule), {.batch = 32, .parameter_gradients = true});
  Walked loose(net, everywhere(net, rule), {.batch = 32, .parameter_gradients = true, .keep = all});
  if (kernel_table().takes_interleaved != nullptr) {
    for (const char* name : {"relu1", "rows", "columns", "channels", "deep", "padded", "conv2", "joint", "conv3",
                             "across", "both", "flatten"})
      CHECK_MESSAGE(tight.plan.values[value(name)].interleaved, name);
    for (const char* name : {"turned", "smooth", "sum"})
      CHECK_MESSAGE(!tight.plan.values[value(name)].interleaved, name);
  }
  for (const int batch : {32, 16, 20, 1}) {
    CAPTURE(batch);
    const Values x = random_values(net.image(batch).size(), 1), seed = random_values(net.result(batch).size(), 2);
    CHECK(difference(tight.forward(x, batch), loose.forward(x, batch)) <= tolerance(1e-12, 2e-6));
    CHECK(difference(tight.back(seed), loose.back(seed)) <= tolerance(1e-12, 2e-6));
  }
}

TEST_CASE("an updater gets every parameter's gradient, once, with the bits of a block of all") {
  struct Copies final : Updater {
    Values* block = nullptr;
    std::vector<int> seen;
    Status update(const Context& ctx, const Graph& g, Id p, const TensorView& gradient) noexcept override {
      ++seen[p];
      ctx->scale(real{1}, gradient.data, block->data() + g.values[p].offset, gradient.size(), false);
      return Status::ok;
    }
  };
  Net net({1, 2, 9, 8}, deep_net);
  const GradientRule rule(true);
  for (const bool recompute : {false, true}) {
    CAPTURE(recompute);
    Copies copies;
    Values taken(net.parameters.size(), NAN);
    copies.block = &taken;
    copies.seen.resize(net.graph.values.size(), 0);
    Walked whole(net, everywhere(net, rule), {.batch = 3, .parameter_gradients = true, .training = true});
    Walked within(
        net, everywhere(net, rule),
        {.batch = 3, .parameter_gradients = true, .training = true, .recompute = recompute, .updater = &copies});
    REQUIRE(within.status == Status::ok);
    const Values x = random_values(net.image(3).size(), 1), seed = random_values(net.result(3).size(), 2);
    whole.forward(x, 3), within.forward(x, 3);
    std::fill(copies.seen.begin(), copies.seen.end(), 0);
    const Values want = whole.back(seed), found = within.back(seed);
    CHECK(found == want);
    for (Id p = 0; p < net.graph.values.size(); ++p) {
      const Value& v = net.graph.values[p];
      if (v.kind != ValueKind::parameter) continue;
      CHECK(copies.seen[p] == (v.trainable ? 1 : 0));
      for (auto k = static_cast<std::size_t>(v.offset);
           v.trainable && k < static_cast<std::size_t>(v.offset + v.shape.size()); ++k)
        CHECK(taken[k] == whole.gradients[k]);
    }
  }
  // Tied weights.
  Net tied({1, 2, 5, 5}, [](GraphBuilder& g, Id x) {
    const Id h = conv2d(g, x, {.out = 2, .kernel = 3, .padding = 1, .bias = false}, "first");
    const Node& first = g.nodes().back();
    Conv2d* op = g.make<Conv2d>();
    *op = static_cast<const Conv2d&>(*first.op);
    const Id in[] = {h};
    return linear(g, flatten(g, g.add_shared(op, in, first.par, "second"), "flat"), 2, "fc");
  });
  Copies unused;
  const Walked refused(tied, everywhere(tied, rule), {.batch = 1, .parameter_gradients = true, .updater = &unused});
  CHECK(refused.status == Status::bad_argument);
}

TEST_CASE("a pool takes along the derivative of the ReLU before it: the same bits, and the larger map is not kept") {
  const auto body = [](GraphBuilder& g, Id x) {
    Id h = max_pool(g, relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv1"), "relu1"),
                    {.kernel = 3, .stride = 2, .padding = 1}, "pool1");
    const Id both = relu(g, conv2d(g, h, {.out = 4, .kernel = 3, .padding = 1}, "conv2"), "relu2");  // read twice
    const Id first = conv2d(g, both, {.out = 4, .kernel = 1}, "first");
    h = add(g, first, max_pool(g, both, {.kernel = 3, .stride = 1, .padding = 1}, "pool2"), "sum");
    return linear(g, flatten(g, max_pool(g, relu(g, h, "relu3"), {.kernel = 2}, "pool3"), "flatten"), 3, "fc");
  };
  Net net({1, 2, 12, 12}, body);
  const GradientRule rule(true);
  const auto node = [&](const char* name) { return net.node(name); };
  // Whose signal is asked for, that ReLU is walked by itself.
  std::vector<Id> signals;
  for (const char* name : {"relu1", "relu2", "relu3"}) signals.push_back(net.graph.nodes[node(name)].out);
  Walked tight(net, everywhere(net, rule), {.batch = 3, .parameter_gradients = true}),
      loose(net, everywhere(net, rule), {.batch = 3, .parameter_gradients = true, .keep = signals});
  CHECK((tight.plan.nodes[node("pool1")].folded_relu == node("relu1") &&
         tight.plan.nodes[node("pool3")].folded_relu == node("relu3")));
  CHECK((tight.plan.nodes[node("pool2")].folded_relu == no_id && tight.plan.nodes[node("relu2")].walked));
  CHECK((!tight.plan.nodes[node("relu1")].walked && !tight.plan.nodes[node("relu3")].walked));
  for (const NodePlan& n : loose.plan.nodes) CHECK(n.folded_relu == no_id);
  const Values x = random_values(net.image(3).size(), 5), seed = random_values(net.result(3).size(), 6);
  CHECK(tight.forward(x, 3) == loose.forward(x, 3));
  CHECK(tight.back(seed) == loose.back(seed));
  CHECK(std::memcmp(tight.gradients.data(), loose.gradients.data(), tight.gradients.size() * sizeof(real)) == 0);
  // The ledger wants every node's line, and other rules have a meaning of their own at ReLUs.
  CHECK(Walked(net, everywhere(net, rule), {.batch = 3, .ledger = true}).plan.nodes[node("pool1")].folded_relu ==
        no_id);
  Composed lrp(net, {Composite::epsilon_plus, {}});
  CHECK(Walked(net, lrp.rules, {.batch = 3}).plan.nodes[node("pool1")].folded_relu == no_id);
  // Without the ReLU's result, the first pool's input need not outlive the forward run.
  Net plain({1, 2, 12, 12}, [](GraphBuilder& g, Id in) {
    const Id h = max_pool(g, relu(g, conv2d(g, in, {.out = 16, .kernel = 3, .padding = 1}, "conv"), "relu"),
                          {.kernel = 4}, "pool");
    return linear(
        g,
        flatten(g,
                max_pool(g, relu(g, conv2d(g, h, {.out = 512, .kernel = 1}, "wide"), "relu4"), {.kernel = 3}, "pool4"),
                "flatten"),
        3, "fc");
  });
  Walked less(plain, everywhere(plain, rule), {.batch = 4, .parameter_gradients = true}),
      more(plain, everywhere(plain, rule), {.batch = 4, .parameter_gradients = true, .ledger = true});
  CHECK(less.plan.planned_bytes < more.plan.planned_bytes);
}

TEST_CASE("gradients in the place of those they are made of: the same bits from less memory") {
  Net net({1, 2, 12, 12}, [](GraphBuilder& g, Id x) {
    const Id stem =
        relu(g, batch_norm(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv0"), "bn0"), "relu0");
    // The identity: read by the sum, and before it by a convolution.
    Id h = batch_norm(
        g,
        conv2d(g,
               relu(g, batch_norm(g, conv2d(g, stem, {.out = 4, .kernel = 3, .padding = 1}, "conv1"), "bn1"), "relu1"),
               {.out = 4, .kernel = 3, .padding = 1}, "conv2"),
        "bn2");
    const Id block = relu(g, add(g, h, stem, "sum1"), "relu2");
    // Two terms of their own.
    h = batch_norm(g, conv2d(g, block, {.out = 4, .kernel = 3, .padding = 1}, "conv3"), "bn3");
    const Id down = batch_norm(g, conv2d(g, block, {.out = 4, .kernel = 1}, "conv4"), "bn4");
    const Id two = relu(g, add(g, h, down, "sum2"), "relu3");
    // The term that is walked first masks its signal: it needs one of its own.
    const Id pooled = max_pool(g, relu(g, conv2d(g, two, {.out = 4, .kernel = 3, .padding = 1}, "conv5"), "relu4"),
                               {.kernel = 3, .stride = 1, .padding = 1}, "pool");
    const Id three = add(g, two, pooled, "sum3");
    // The identity is read again after the term was made; a sum of one value with itself.
    const Id late = tanh(g, three, "tanh"), read = conv2d(g, three, {.out = 4, .kernel = 1}, "conv6");
    const Id four = add(g, add(g, three, late, "sum4"), read, "sum5");
    const Id both = add(g, four, four, "sum6");
    return linear(g, flatten(g, both, "flatten"), 3, "fc");
  });
  const GradientRule rule(true);
  const auto value = [&](const char* name) { return net.graph.nodes[net.node(name)].out; };
  const std::vector<Id> all = results(net);
  const Values x = random_values(net.image(4).size(), 5), seed = random_values(net.result(4).size(), 6);
  for (const bool training : {false, true}) {
    Walked tight(net, everywhere(net, rule), {.batch = 4, .parameter_gradients = true, .training = training});
    // A ledger looks at what arrived after the step.
    Walked loose(net, everywhere(net, rule),
                 {.batch = 4, .parameter_gradients = true, .ledger = true, .training = training});
    const Walked kept(net, everywhere(net, rule),
                      {.batch = 4, .parameter_gradients = true, .keep = all, .training = training});
    const auto reuses = [&](const char* name) { return tight.plan.values[value(name)].signal_reuses; };
    for (const Id v : all) CHECK((loose.plan.values[v].signal_reuses == v && kept.plan.values[v].signal_reuses == v));
    CHECK(reuses("bn0") == reuses("relu0"));  // a chain
    CHECK(reuses("conv0") == reuses("relu0"));
    CHECK(reuses("relu0") == reuses("sum1"));  // the identity, to which conv1 adds later
    CHECK(reuses("bn2") == reuses("sum1"));    // and the term, whose norm therefore does not work in place
    CHECK(reuses("conv2") == value("conv2"));
    CHECK((reuses("bn3") == reuses("sum2") && reuses("bn4") == reuses("sum2")));
    CHECK((reuses("conv4") == value("conv4") && reuses("conv3") == reuses("sum2")));
    CHECK((reuses("pool") == value("pool") && reuses("relu3") == reuses("sum3")));
    CHECK(reuses("sum3") == value("sum3"));  // sum4 is not the last to read it
    CHECK(reuses("sum5") == value("sum5"));  // read twice by one node
    CHECK(tight.plan.planned_bytes < loose.plan.planned_bytes);
    CHECK(tight.forward(x, 4) == loose.forward(x, 4));
    CHECK(tight.back(seed) == loose.back(seed));
    CHECK(std::memcmp(tight.gradients.data(), loose.gradients.data(), tight.gradients.size() * sizeof(real)) == 0);
  }
}

TEST_CASE(
    "where relevance is a share of the value, a ReLU passes it without a step, and its result serves the layer before "
    "it") {
  Net net({1, 2, 12, 12}, [](GraphBuilder& g, Id x) {
    Id h = max_pool(g, relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv1"), "relu1"), {.kernel = 2},
                    "pool1");
    const Id inner = conv2d(g, relu(g, conv2d(g, h, {.out = 4, .kernel = 3, .padding = 1}, "conv2"), "relu2"),
                            {.out = 4, .kernel = 1}, "conv3");
    h = relu(g, add(g, inner, h, "sum"), "relu3");
    const Id twice = conv2d(g, h, {.out = 4, .kernel = 3}, "conv4");
    h = add(g, relu(g, twice, "relu4"), tanh(g, twice, "tanh"), "both");
    return linear(g, relu(g, linear(g, flatten(g, h, "flatten"), 6, "fc1"), "relu5"), 3, "fc2");
  });
  const auto node = [&](const char* name) { return net.node(name); };
  const std::vector<Id> all = results(net);
  const Values x = random_values(net.image(3).size(), 5), seed = random_values(net.result(3).size(), 6);
  const LrpRule epsilon({.kind = LrpKind::epsilon}, false), flat({.kind = LrpKind::flat}, false),
      z_plus({.kind = LrpKind::z_plus}, false), gamma({.kind = LrpKind::gamma}, false),
      spread({.kind = LrpKind::epsilon, .bias = BiasMode::shared}, false);
  const auto check = [&](const std::vector<const Rule*>& rules, std::initializer_list<const char*> served) {
    Walked tight(net, rules, {.batch = 3}), loose(net, rules, {.batch = 3, .keep = all}),
        told(net, rules, {.batch = 3, .ledger = true});
    tight.forward(x, 3), loose.forward(x, 3), told.forward(x, 3);
    const Values found = tight.back(seed);
    CHECK(difference(found, loose.back(seed)) <= tolerance(1e-12, 2e-6));
    CHECK(difference(found, told.back(seed)) <= tolerance(1e-12, 2e-6));
    for (const Node& n : net.graph.nodes) {
      const bool other =
          std::any_of(served.begin(), served.end(), [&](const char* name) { return std::strcmp(name, n.name) == 0; });
      CHECK_MESSAGE((tight.plan.nodes[node(n.name)].output_seen != n.out) == other, n.name);
      if (n.op->op_class() != OpClass::pointwise) continue;
      CHECK_MESSAGE((!tight.plan.nodes[node(n.name)].walked && loose.plan.nodes[node(n.name)].walked &&
                     told.plan.nodes[node(n.name)].walked),
                    n.name);
    }
    CHECK(tight.plan.planned_bytes < told.plan.planned_bytes);
  };
  // Not of `conv4`, which a tanh reads too.
  const std::initializer_list<const char*> usual = {"conv1", "conv2", "sum", "fc1"};
  for (const Rule* rule : std::initializer_list<const Rule*>{&epsilon, &z_plus, &gamma})
    check(everywhere(net, *rule), usual);
  // Relevance that comes without regard to the value also comes where the ReLU has cut.
  std::vector<const Rule*> rules = everywhere(net, epsilon);
  rules[node("conv3")] = &flat;
  check(rules, {"conv1", "sum", "fc1"});
  rules = everywhere(net, epsilon);
  rules[node("fc2")] = &spread;
  check(rules, {"conv1", "conv2", "sum"});
  // Nor does it pass the ReLU where it starts before it.
  const auto value = [&](const char* name) { return net.graph.nodes[node(name)].out; };
  const Walked started(net, everywhere(net, epsilon),
                       {.batch = 3, .keep = {net.graph.output}, .seeds = {net.graph.output, value("conv2")}});
  CHECK((started.plan.nodes[node("conv2")].output_seen == value("conv2") &&
         started.plan.nodes[node("conv1")].output_seen == value("relu1")));
}

TEST_CASE("values dropped and computed again: the same bits from less memory") {
  const GradientRule training(true), rule;
  const auto same = [](Net& net, Net& other, const Walked& a, const Walked& b) {
    for (const Value& v : net.graph.values)
      if (v.kind == ValueKind::parameter && v.trainable)
        CHECK(std::memcmp(a.gradients.data() + v.offset, b.gradients.data() + v.offset,
                          static_cast<std::size_t>(v.shape.size()) * sizeof(real)) == 0);
    CHECK(net.parameters == other.parameters);  // running statistics move once
  };
  for (const NamedNet& n :
       {all_nets[0], all_nets[1], all_nets[2], all_nets[4], all_nets[5],
        NamedNet{"deep", {1, 2, 16, 14}, deep_net, true}, NamedNet{"residual", {1, 2, 9, 8}, residual_net, true}}) {
    CAPTURE(std::string(n.name));
    Net net(n.image, n.body), again_net(n.image, n.body);
    const Values x = random_values(net.image(3).size(), 1), seed = random_values(net.result(3).size(), 2),
                 before = net.parameters;
    Walked whole(net, everywhere(net, training), {.batch = 3, .parameter_gradients = true, .training = true});
    Walked again(again_net, everywhere(again_net, training),
                 {.batch = 3, .parameter_gradients = true, .training = true, .recompute = true});
    REQUIRE(again.status == Status::ok);
    for (int step = 0; step < 2; ++step) {
      CHECK(whole.forward(x, 3) == again.forward(x, 3));
      CHECK(whole.back(seed) == again.back(seed));
      same(net, again_net, whole, again);
    }
    // A batch smaller than planned, and a walk by other rules.
    CHECK(whole.forward(random_values(net.image(2).size(), 3), 2) ==
          again.forward(random_values(net.image(2).size(), 3), 2));
    const Values small = random_values(net.result(2).size(), 4);
    CHECK(whole.back(small) == again.back(small));
    if (n.rectified) {
      Composed lrp(net, {Composite::epsilon_plus, {}});
      Walked relevance(net, lrp.rules, {.batch = 3}), less(net, lrp.rules, {.batch = 3, .recompute = true});
      CHECK(relevance.forward(x, 3) == less.forward(x, 3));
      CHECK(relevance.back(seed) == less.back(seed));
    }
    if (std::string(n.name) != "deep") continue;
    CHECK(net.parameters != before);
    CHECK(again.plan.planned_bytes < whole.plan.planned_bytes * 6 / 10);
    const auto recomputed = std::count_if(again.plan.nodes.begin(), again.plan.nodes.end(),
                                          [](const NodePlan& node) { return node.recomputed; });
    CHECK((recomputed > 10 && recomputed < static_cast<std::ptrdiff_t>(net.graph.nodes.size())));
  }
  // Without a walk, beside a reference run or under an observer there is nothing to drop.
  Net net({1, 2, 9, 8}, plain_net);
  CHECK(Walked(net, everywhere(net, rule), {.reference = true, .recompute = true}).status == Status::bad_argument);
  CHECK(Walked(net, {}, {.recompute = true}).status == Status::bad_argument);
}

namespace {

// Records and edits what passes at one node; watches it alone, or all nodes.
struct Editor final : Observer {
  Id at;
  bool alone;
  Values half, in, out, signal;  // `half`: what is added to the signal
  int calls_elsewhere = 0;

  Editor(Id node, bool only, std::size_t largest) : at(node), alone(only), half(largest, real{0.5}) {}

  static void copy(const Context& ctx, const TensorView& from, Values& to) noexcept {
    to.resize(static_cast<std::size_t>(from.size()));
    ctx->scale(real{1}, from.data, to.data(), from.size(), false);
  }
  bool watches(Id i) const noexcept override { return !alone || i == at; }
  Status after_forward(const Context& ctx, const Graph&, Id i, const NodeIO& io, const NodeIO*) noexcept override {
    if (i != at) return ++calls_elsewhere, Status::ok;
    CHECK((io.out.block == 1 && io.in[0].block == 1));
    copy(ctx, io.in[0], in), copy(ctx, io.out, out);
    ctx->scale(real{0.25}, out.data(), io.out.data, io.out.size(), true);
    return Status::ok;
  }
  Status before_step(const Context& ctx, const Graph&, Id i, std::span<const TensorView> s) noexcept override {
    if (i != at) return ++calls_elsewhere, Status::ok;
    CHECK(s[0].block == 1);
    copy(ctx, s[0], signal);
    ctx->scale(real{1}, half.data(), s[0].data, s[0].size(), true);
    return Status::ok;
  }
};

}  // namespace

TEST_CASE("an observer of one node sees and changes what an observer of all does; passes stay on elsewhere") {
  const std::int32_t batch = 16;
  Net net({1, 2, 14, 13}, [](GraphBuilder& g, Id x) {
    Id h = relu(g, batch_norm(g, conv2d(g, x, {.out = 6, .kernel = 5, .padding = 2}, "conv1"), "bn1"), "relu1");
    h = max_pool(g, h, {.kernel = 2}, "pool1");
    const Id a = relu(g, conv2d(g, h, {.out = 6, .kernel = 3, .padding = 1}, "conv2"), "relu2");
    h = relu(g, add(g, conv2d(g, a, {.out = 6, .kernel = 3, .padding = 1}, "conv3"), h, "sum"), "relu3");
    h = max_pool(g, relu(g, conv2d(g, h, {.out = 8, .kernel = 3, .padding = 1}, "conv4"), "relu4"), {.kernel = 2},
                 "pool4");
    return linear(g, relu(g, linear(g, flatten(g, h, "flatten"), 6, "fc1"), "relu5"), 3, "fc2");
  });
  const GradientRule gradient;
  Composed lrp(net, {Composite::epsilon_plus, {}});
  const Values x = random_values(net.image(batch).size(), 5), seed = random_values(net.result(batch).size(), 6);
  const std::size_t largest = 6 * 14 * 13 * batch;
  for (const std::vector<const Rule*>& rules : {everywhere(net, gradient), lrp.rules})
    for (Id at = 0; at + 1 < net.graph.nodes.size(); ++at) {
      CAPTURE(net.graph.nodes[at].name);
      Editor one(at, true, largest), all(at, false, largest);
      Walked tight(net, rules, {.batch = batch, .observer = &one}),
          loose(net, rules, {.batch = batch, .observer = &all});
      REQUIRE((tight.status == Status::ok && loose.status == Status::ok));
      const double most = tolerance(1e-11, 2e-5);
      CHECK(difference(tight.forward(x, batch), loose.forward(x, batch)) <= most);
      CHECK(difference(tight.back(seed), loose.back(seed)) <= most);
      CHECK(difference(one.in, all.in) <= most);
      CHECK(difference(one.out, all.out) <= most);
      CHECK(difference(one.signal, all.signal) <= most);
      CHECK(one.calls_elsewhere == 0);
      CHECK(all.calls_elsewhere > 0);

      const Id out = net.graph.nodes[at].out;
      const NodePlan& node = tight.plan.nodes[at];
      const ValuePlan& value = tight.plan.values[out];
      CHECK((node.watched && node.runs() && node.result == out && node.walked && node.folded_relu == no_id));
      CHECK(
          (node.output_seen == out && !value.interleaved && value.signal_reuses == out && value.signal_goes_to == out));
      std::size_t fused = 0, elided = 0, seen = 0, interleaved = 0;
      for (std::size_t i = 0; i < tight.plan.nodes.size(); ++i) {
        fused += tight.plan.nodes[i].fused_into != no_id;
        elided += tight.plan.nodes[i].elided;
        seen += tight.plan.nodes[i].output_seen != net.graph.nodes[i].out;
        interleaved += tight.plan.values[net.graph.nodes[i].out].interleaved;
        CHECK((loose.plan.nodes[i].runs() && !loose.plan.nodes[i].elided));
      }
      CHECK(elided > 0);
      if (rules[0] == &gradient)
        CHECK(fused > 0);
      else
        CHECK(seen > 0);
      if (kernel_table().takes_interleaved != nullptr) CHECK(interleaved > 0);
      CHECK(tight.plan.planned_bytes <= loose.plan.planned_bytes);
    }
}

TEST_CASE("named batch sizes: the same bits from no more memory, and no other size runs") {
  Net net({1, 2, 9, 8}, plain_net);
  const GradientRule rule;
  const std::vector<std::int32_t> sizes = {7, 3};
  Walked any(net, everywhere(net, rule), {.batch = 7}),
      named(net, everywhere(net, rule), {.batch = 7, .batches = sizes});
  REQUIRE(named.status == Status::ok);
  CHECK(named.plan.bytes() <= any.plan.bytes());
  for (const std::int32_t batch : sizes) {
    const Values x = random_values(net.image(batch).size(), 1), seed = random_values(net.result(batch).size(), 2);
    CHECK(any.forward(x, batch) == named.forward(x, batch));
    CHECK(any.back(seed) == named.back(seed));
  }
  Values x(2000, 0);
  CHECK(named.run->forward(net.context(), {x.data(), net.image(2)}) == Status::bad_shape);
  CHECK(any.run->forward(net.context(), {x.data(), net.image(2)}) == Status::ok);
  CHECK(Walked(net, {}, {.batch = 7, .batches = {8}}).status == Status::bad_argument);
  CHECK(Walked(net, {}, {.batch = 7, .batches = {0}}).status == Status::bad_argument);
}

namespace {

class StringSink final : public TextSink {
 public:
  void write(std::string_view s) noexcept override { text += s; }
  std::string text;
};

std::string printed(const Plan& plan) {
  StringSink sink;
  print_nodes(plan, sink);
  sink.write("\n");
  print_memory(plan, sink);
  return sink.text;
}

// Compares with tests/core/plans/NAME.txt; with VITRINE_UPDATE_GOLDEN set, writes the file instead.
[[maybe_unused]] void check_golden(const std::string& name, const std::string& text) {
  const std::string path = VITRINE_SOURCE_ROOT "/tests/core/plans/" + name + ".txt";
  if (std::getenv("VITRINE_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  CHECK(text == golden);
}

}  // namespace

TEST_CASE("a plan prints itself: two small networks") {
  const GradientRule gradient;
  // One batch size, one thread, the reference kernels: the same plan on every machine.
  const auto plan_of = [](const Net& net, const std::vector<const Rule*>& rules, bool recompute = false) {
    static std::vector<std::byte> memory(1 << 20);
    Arena book(memory.data(), memory.size());
    PlanRequest q;
    q.graph = &net.graph;
    q.batch = 2;
    q.rules = rules;
    q.until = rules.empty() ? no_id : net.graph.input;
    q.recompute = recompute;
    Context ctx;
    ctx.kernels = &kernels::table(kernels::Isa::reference);
    Plan plan;
    REQUIRE(make_plan(q, ctx, book, plan) == Status::ok);
    return printed(plan);
  };
  Net plain({1, 2, 9, 8}, plain_net);
  Net residual({1, 2, 8, 8}, [](GraphBuilder& g, Id x) {
    const Id a = max_pool(g, relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv1"), "relu1"),
                          {.kernel = 2}, "pool1");
    const Id b = relu(g, conv2d(g, a, {.out = 4, .kernel = 3, .padding = 1}, "conv2"), "relu2");
    const Id c = relu(g, add(g, conv2d(g, b, {.out = 4, .kernel = 3, .padding = 1}, "conv3"), a, "sum"), "relu3");
    return linear(g, flatten(g, c, "flatten"), 3, "fc");
  });
  if constexpr (sizeof(real) == sizeof(float)) {
    check_golden("plain-inference", plan_of(plain, {}));
    check_golden("plain-gradient", plan_of(plain, everywhere(plain, gradient)));
    check_golden("residual-gradient", plan_of(residual, everywhere(residual, gradient)));
    Composed lrp(residual, {Composite::epsilon_plus, {}});
    check_golden("residual-lrp", plan_of(residual, lrp.rules));
  }
  // No line of the memory's picture is wider than a terminal.
  std::istringstream lines(plan_of(residual, everywhere(residual, gradient), true));
  bool picture = false;
  for (std::string line; std::getline(lines, line);) {
    picture = picture || line.rfind("r: ", 0) == 0;
    if (picture) CHECK(line.size() <= 80);
  }
  CHECK(picture);
}

TEST_CASE("inference needs less memory than explanation, and both less than one buffer a value") {
  Net net({1, 2, 9, 8}, plain_net);
  std::vector<std::byte> memory(1 << 20);
  Arena book(memory.data(), memory.size());
  PlanRequest q;
  q.graph = &net.graph;
  q.batch = 4;
  Plan inference, explanation;
  REQUIRE(make_plan(q, net.context(), book, inference) == Status::ok);
  Composed c(net, {Composite::epsilon_plus, {}});
  q.rules = c.rules;
  q.until = net.graph.input;
  REQUIRE(make_plan(q, net.context(), book, explanation) == Status::ok);
  CHECK(inference.planned_bytes < explanation.planned_bytes);
  std::size_t sum = 0;
  for (const Value& v : net.graph.values)
    if (v.kind != ValueKind::parameter)
      sum += static_cast<std::size_t>(v.shape.size()) * 4 * sizeof(real) + Arena::alignment;
  CHECK(explanation.planned_bytes < 2 * sum);
}

TEST_CASE("a plan's book that is too small at any point is a status, never a crash") {
  Net net({1, 3, 8, 8}, joined_net);
  Composed c(net, {Composite::epsilon_alpha2_beta1_flat, {}});
  bool fitted = false;
  for (std::size_t bytes = 0; bytes < 40000 && !fitted; bytes += 61) {
    std::vector<std::byte> memory(bytes);
    Arena book(memory.data(), memory.size());
    PlanRequest q;
    q.graph = &net.graph;
    q.rules = c.rules;
    q.until = net.graph.input;
    Plan plan;
    Failure failure;
    const Status s = make_plan(q, net.context(&failure), book, plan);
    CHECK((s == Status::ok || s == Status::out_of_arena));
    fitted = s == Status::ok;
  }
  CHECK(fitted);
}

TEST_CASE("scratch one byte smaller than planned stops with out_of_arena at some step, and writes nothing outside") {
  Net net({1, 2, 9, 8}, plain_net);
  Composed c(net, {Composite::epsilon_alpha2_beta1_flat, {}});
  Walked w(net, c.rules, {.batch = 2});
  REQUIRE(w.status == Status::ok);
  const Values x = random_values(net.image(2).size(), 1);
  bool some_failed = false;
  for (std::size_t scratch = 0; scratch < w.plan.scratch_bytes; scratch += 191) {
    Plan small = w.plan;
    small.scratch_bytes = scratch;
    std::vector<std::byte> memory(small.bytes() + 64, std::byte{0x5a});
    Failure failure;
    Context ctx = net.context(&failure);
    Run run(small, memory.data(), net.parameters.data());
    Status s = run.forward(ctx, {const_cast<real*>(x.data()), net.image(2)});
    if (s == Status::ok) {
      const TensorView seed = run.signal(net.graph.output);
      std::fill(seed.data, seed.data + seed.size(), real{1});
      s = run.walk_back(ctx);
    }
    CHECK(s == Status::out_of_arena);
    CHECK(std::strlen(failure.node) > 0);
    some_failed = true;
    for (std::size_t i = small.bytes(); i < memory.size(); ++i) REQUIRE(memory[i] == std::byte{0x5a});
  }
  CHECK(some_failed);
}

TEST_CASE("wrong inputs are refused") {
  Net net({1, 2, 9, 8}, plain_net);
  const GradientRule rule;
  Walked w(net, everywhere(net, rule), {.batch = 2});
  Values x(2000, 0);
  Failure failure;
  CHECK(w.run->forward(net.context(&failure), {x.data(), {1, 3, 9, 8}}) == Status::bad_shape);
  CHECK(w.run->forward(net.context(), {x.data(), {3, 2, 9, 8}}) == Status::bad_shape);
  CHECK(w.run->forward_reference(net.context(), {x.data(), {1, 2, 9, 8}}) == Status::bad_argument);
}

TEST_CASE("the number of threads changes no bit") {
  ThreadPool pool(3);
  const GradientRule rule(true);
  for (const NamedNet& n : all_nets) {
    CAPTURE(std::string(n.name));
    Net net({1, n.image.c(), n.image.h() > 1 ? 34 : 1, n.image.h() > 1 ? 33 : 1}, n.body);
    const std::int32_t batch = 5;
    Walked one(net, everywhere(net, rule), {.batch = batch, .parameter_gradients = true});
    Walked three(net, everywhere(net, rule), {.batch = batch, .parameter_gradients = true, .parallel = &pool});
    const Values x = random_values(net.image(batch).size(), 1), seed = random_values(net.result(batch).size(), 2);
    CHECK(one.forward(x, batch) == three.forward(x, batch));
    CHECK(one.back(seed) == three.back(seed));
    for (const Value& v : net.graph.values)
      if (v.kind == ValueKind::parameter && v.trainable)
        CHECK(std::memcmp(one.gradients.data() + v.offset, three.gradients.data() + v.offset,
                          static_cast<std::size_t>(v.shape.size()) * sizeof(real)) == 0);
  }
}

TEST_CASE("a thread pool runs every tile once, also under contention") {
  for (const int workers : {1, 2, 5}) {
    ThreadPool pool(workers);
    CHECK(pool.workers() == workers);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<std::atomic<int>> hits(static_cast<std::size_t>(1 + repeat % 40));
      std::atomic<bool> bad{false};
      run_tiles(&pool, static_cast<std::int64_t>(hits.size()), [&](std::int64_t tile, int worker) noexcept {
        ++hits[static_cast<std::size_t>(tile)];
        if (worker < 0 || worker >= workers) bad = true;
      });
      for (const auto& h : hits) CHECK(h == 1);
      CHECK_FALSE(bad);
    }
  }
}

TEST_CASE("counter-based random numbers: Philox's known answers, and uniform means") {
  // Known-answer vectors of the Random123 distribution for philox4x32-10 (counter and key all zero, all ones in the
  // words that this interface has).
  CHECK(philox(0, 0) == std::array<std::uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  double mean = 0, square = 0;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const double u = philox_uniform(42, i), z = philox_normal(43, i);
    CHECK((u >= 0 && u < 1));
    mean += u / 20000;
    square += z * z / 20000;
  }
  CHECK(std::abs(mean - 0.5) < 0.01);
  CHECK(std::abs(square - 1) < 0.04);
  CHECK(derive_key(1, 0) != derive_key(1, 1));
}

TEST_SUITE_END();
