// Every op: its derivative along random directions against central differences (in the double build to nine digits), by
// the input and by the parameters; its linear maps against their adjoints under every substitution.
#include <string>

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/conv_transpose2d.h"
#include "layers/interpretable_filters.h"
#include "layers/linear.h"
#include "layers/local_response_norm.h"
#include "layers/loss.h"
#include "layers/pool.h"
#include "layers/product.h"
#include "layers/registry.h"
#include "layers/rule_embedded.h"
#include "layers/scale.h"
#include "layers/softmax.h"
#include "layers/upsample.h"
#include "layers/view.h"
#include "tests/support/net.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("layers");

namespace {

struct Case {
  const char* name;
  const char* op;
  Shape image;
  Id (*body)(GraphBuilder&, Id);
};

const Case cases[] = {
    {"conv",
     "conv2d",
     {1, 3, 7, 6},
     [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}); }},
    {"conv strided",
     "conv2d",
     {1, 3, 9, 8},
     [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 5, .kernel = 3, .stride = 2, .padding = 2}); }},
    {"conv dilated",
     "conv2d",
     {1, 2, 9, 9},
     [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 3, .kernel = 3, .padding = 1, .dilation = 2}); }},
    {"conv grouped",
     "conv2d",
     {1, 6, 5, 5},
     [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1, .groups = 2}); }},
    {"conv depthwise",
     "conv2d",
     {1, 5, 6, 6},
     [](GraphBuilder& g, Id x) {
       return conv2d(g, x, {.out = 5, .kernel = 3, .stride = 2, .padding = 1, .groups = 5});
     }},
    {"conv 1x1, no bias",
     "conv2d",
     {1, 5, 4, 3},
     [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 7, .kernel = 1, .bias = false}); }},
    {"conv 5x5", "conv2d", {1, 1, 12, 12}, [](GraphBuilder& g, Id x) { return conv2d(g, x, {.out = 6, .kernel = 5}); }},
    {"linear", "linear", {1, 13, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, x, 7); }},
    {"linear, no bias", "linear", {1, 5, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, x, 9, nullptr, false); }},
    {"relu", "relu", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return relu(g, x); }},
    {"leaky relu", "leaky_relu", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return leaky_relu(g, x, 0.2f); }},
    {"tanh", "tanh", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return tanh(g, x); }},
    {"sigmoid", "sigmoid", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return sigmoid(g, x); }},
    {"max pool", "max_pool", {1, 3, 6, 8}, [](GraphBuilder& g, Id x) { return max_pool(g, x, {.kernel = 2}); }},
    {"max pool, overlapping",
     "max_pool",
     {1, 2, 9, 7},
     [](GraphBuilder& g, Id x) { return max_pool(g, x, {.kernel = 3, .stride = 2, .padding = 1}); }},
    {"max pool, ceil",
     "max_pool",
     {1, 2, 6, 8},
     [](GraphBuilder& g, Id x) { return max_pool(g, x, {.kernel = 3, .stride = 2, .ceil_mode = true}); }},
    {"average pool", "avg_pool", {1, 3, 6, 8}, [](GraphBuilder& g, Id x) { return avg_pool(g, x, {.kernel = 2}); }},
    {"average pool, padded",
     "avg_pool",
     {1, 2, 7, 7},
     [](GraphBuilder& g, Id x) { return avg_pool(g, x, {.kernel = 3, .stride = 2, .padding = 1}); }},
    {"average pool, padding not counted",
     "avg_pool",
     {1, 2, 7, 7},
     [](GraphBuilder& g, Id x) {
       return avg_pool(g, x, {.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_padding = false});
     }},
    {"average pool, ceil",
     "avg_pool",
     {1, 2, 8, 8},
     [](GraphBuilder& g, Id x) { return avg_pool(g, x, {.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}); }},
    {"global average", "adaptive_avg_pool", {1, 3, 5, 4}, [](GraphBuilder& g, Id x) { return global_avg_pool(g, x); }},
    {"adaptive average",
     "adaptive_avg_pool",
     {1, 2, 7, 5},
     [](GraphBuilder& g, Id x) { return adaptive_avg_pool(g, x, 3, 2); }},
    {"add with itself and another",
     "add",
     {1, 3, 4, 4},
     [](GraphBuilder& g, Id x) {
       const Id t[] = {x, tanh(g, x), x};
       return add(g, t);
     }},
    {"concat channels",
     "concat",
     {1, 3, 4, 5},
     [](GraphBuilder& g, Id x) {
       const Id t[] = {x, tanh(g, x), x};
       return concat(g, t);
     }},
    {"concat rows",
     "concat",
     {1, 2, 4, 5},
     [](GraphBuilder& g, Id x) {
       const Id t[] = {tanh(g, x), x};
       return concat(g, t, nullptr, 2);
     }},
    {"flatten", "flatten", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return flatten(g, x); }},
    {"pad", "pad", {1, 2, 4, 5}, [](GraphBuilder& g, Id x) { return pad(g, x, 1, 2, 0, 3); }},
    {"crop", "pad", {1, 2, 6, 5}, [](GraphBuilder& g, Id x) { return pad(g, x, -1, 2, -2, -1); }},
    {"dropout", "dropout", {1, 2, 6, 5}, [](GraphBuilder& g, Id x) { return dropout(g, x, 0.4f); }},
    {"conv transposed",
     "conv_transpose2d",
     {1, 4, 4, 5},
     [](GraphBuilder& g, Id x) {
       return conv_transpose2d(g, x,
                               {.out = 6, .kernel = 3, .stride = 2, .padding = 1, .output_padding = 1, .groups = 2});
     }},
    {"conv transposed, dilated",
     "conv_transpose2d",
     {1, 2, 4, 3},
     [](GraphBuilder& g, Id x) {
       return conv_transpose2d(g, x, {.out = 3, .kernel = 3, .dilation = 2, .bias = false});
     }},
    {"clip", "clip", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return clip(g, x, -0.5f, 0.75f); }},
    {"elu", "elu", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return elu(g, x, 0.7f); }},
    {"gelu", "gelu", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return gelu(g, x); }},
    {"gelu by tanh", "gelu_tanh", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return gelu_tanh(g, x); }},
    {"silu", "silu", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return silu(g, x); }},
    {"hard sigmoid",
     "hard_sigmoid",
     {1, 3, 5, 5},
     [](GraphBuilder& g, Id x) { return hard_sigmoid(g, x, 0.6f, 0.4f); }},
    {"hard swish", "hard_swish", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return hard_swish(g, x); }},
    {"softplus", "softplus", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return softplus(g, x); }},
    {"softsign", "softsign", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return softsign(g, x); }},
    {"threshold", "threshold", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return threshold(g, x, 0.25f); }},
    {"absolute value", "abs", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return abs(g, x); }},
    {"exp", "exp", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return exp(g, x); }},
    {"log", "log", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return log(g, affine_map(g, sigmoid(g, x), 1, 0.5f)); }},
    {"square root",
     "power",
     {1, 3, 5, 5},
     [](GraphBuilder& g, Id x) { return power(g, affine_map(g, sigmoid(g, x), 1, 0.5f), 0.5f); }},
    {"reciprocal",
     "power",
     {1, 3, 5, 5},
     [](GraphBuilder& g, Id x) { return power(g, affine_map(g, sigmoid(g, x), 1, 0.5f), -1); }},
    {"cube", "power", {1, 3, 5, 5}, [](GraphBuilder& g, Id x) { return power(g, x, 3); }},
    {"prelu", "prelu", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return prelu(g, x); }},
    {"prelu of vectors", "prelu", {1, 6, 1, 1}, [](GraphBuilder& g, Id x) { return prelu(g, x); }},
    {"batch norm", "batch_norm", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return batch_norm(g, x); }},
    {"batch norm of vectors",
     "batch_norm",
     {1, 6, 1, 1},
     [](GraphBuilder& g, Id x) { return batch_norm(g, x, nullptr, 1e-2f); }},
    {"scale", "scale", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return scale(g, x); }},
    {"LRN",
     "local_response_norm",
     {1, 7, 3, 4},
     [](GraphBuilder& g, Id x) { return local_response_norm(g, x, 5, nullptr, 0.8f); }},
    {"LRN, even size",
     "local_response_norm",
     {1, 5, 2, 2},
     [](GraphBuilder& g, Id x) { return local_response_norm(g, x, 4, nullptr, 0.8f, 0.5f, 2); }},
    {"multiply", "multiply", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return multiply(g, x, tanh(g, x)); }},
    {"square", "multiply", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return multiply(g, x, x); }},
    {"multiply by a gate a channel",
     "multiply",
     {1, 3, 4, 5},
     [](GraphBuilder& g, Id x) { return multiply(g, x, sigmoid(g, global_avg_pool(g, x)), 1); }},
    {"multiply by a spatial mask",
     "multiply",
     {1, 3, 4, 5},
     [](GraphBuilder& g, Id x) { return multiply(g, x, conv2d(g, x, {.out = 1, .kernel = 1}), 1); }},
    {"upsample nearest", "upsample_nearest", {1, 2, 3, 4}, [](GraphBuilder& g, Id x) { return upsample(g, x, 6, 7); }},
    {"upsample bilinear", "upsample", {1, 2, 3, 4}, [](GraphBuilder& g, Id x) { return upsample(g, x, 7, 8, true); }},
    {"downsample bilinear", "upsample", {1, 2, 7, 5}, [](GraphBuilder& g, Id x) { return upsample(g, x, 3, 2, true); }},
    {"global max", "max_pool", {1, 3, 5, 4}, [](GraphBuilder& g, Id x) { return global_max_pool(g, x); }},
    {"reshape", "reshape", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return reshape(g, x, 5, 2, 6); }},
    {"transpose", "transpose", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return transpose(g, x, 2, 3, 1); }},
    {"slice rows backwards", "slice", {1, 3, 7, 5}, [](GraphBuilder& g, Id x) { return slice(g, x, 2, 6, 3, -3); }},
    {"slice channels", "slice", {1, 7, 2, 5}, [](GraphBuilder& g, Id x) { return slice(g, x, 1, 1, 3, 2); }},
    {"pad channels", "pad", {1, 2, 4, 5}, [](GraphBuilder& g, Id x) { return pad_channels(g, x, 1, 3); }},
    {"depth to space",
     "strided_view",
     {1, 8, 2, 3},
     [](GraphBuilder& g, Id x) {
       const std::int32_t size[] = {2, 2, 2, 3, 2}, stride[] = {24, 3, 12, 1, 6};
       return strided_view(g, x, size, stride, 0, {1, 2, 4, 6});
     }},
    {"six dimensions",
     "strided_view",
     {1, 4, 4, 6},
     [](GraphBuilder& g, Id x) {
       const std::int32_t size[] = {3, 2, 2, 2, 2, 2}, stride[] = {2, 48, 1, 6, 12, 24};
       return strided_view(g, x, size, stride, 0, {1, 4, 4, 6});
     }},
    {"repeated and reversed",
     "strided_view",
     {1, 2, 3, 4},
     [](GraphBuilder& g, Id x) {
       const std::int32_t size[] = {2, 2, 3, 2, 2}, stride[] = {0, 12, 4, 0, -2};
       return strided_view(g, x, size, stride, 3, {1, 4, 3, 4});
     }},
    {"softmax of rows", "row_softmax", {1, 2, 3, 5}, [](GraphBuilder& g, Id x) { return row_softmax(g, x); }},
    {"log softmax of rows",
     "row_softmax",
     {1, 2, 3, 5},
     [](GraphBuilder& g, Id x) { return row_softmax(g, x, true); }},
    {"log softmax", "log_softmax", {1, 6, 1, 1}, [](GraphBuilder& g, Id x) { return log_softmax(g, x); }},
    {"interpretable filters",
     "interpretable_filters",
     {1, 3, 6, 5},
     [](GraphBuilder& g, Id x) { return interpretable_filters(g, x, 2); }},
    {"interpretable filters by centroid",
     "interpretable_filters",
     {1, 2, 5, 6},
     [](GraphBuilder& g, Id x) { return interpretable_filters(g, x, 2, nullptr, true); }},
    {"affine map", "affine_map", {1, 3, 4, 5}, [](GraphBuilder& g, Id x) { return affine_map(g, x, -1.5f, 0.75f); }},
    {"local maximum", "local_maximum", {1, 2, 6, 7}, [](GraphBuilder& g, Id x) { return local_maximum(g, x, 1); }},
    {"shifted max",
     "max_pool",
     {1, 2, 6, 7},
     [](GraphBuilder& g, Id x) { return shifted_max(g, x, {-2, 1, 1, 4}, "exists"); }},
    {"shifted sum",
     "affine_map",
     {1, 2, 6, 7},
     [](GraphBuilder& g, Id x) { return shifted_sum(g, x, {0, 3, -5, -1}, "count"); }},
    {"softmax", "softmax", {1, 6, 1, 1}, [](GraphBuilder& g, Id x) { return softmax(g, x); }},
};

}  // namespace

TEST_CASE("derivatives equal central differences along random directions") {
  const GradientRule rule(true);
  for (const Case& c : cases)
    for (const bool training : {false, true}) {
      CAPTURE(std::string(c.name));
      Net net(c.image, c.body);
      const std::int32_t batch = 3;
      Walked walked(net, everywhere(net, rule), {.batch = batch, .parameter_gradients = true, .training = training});
      REQUIRE(walked.status == Status::ok);
      const std::int64_t n = net.image(batch).size();
      const Values x = random_values(n, 5), direction = random_values(n, 6),
                   seed = random_values(net.result(batch).size(), 7);
      const double h = sizeof(real) == 8 ? 1e-5 : 2e-3;
      const auto objective = [&](double t) {
        Values at = x;
        for (std::size_t i = 0; i < at.size(); ++i) at[i] += static_cast<real>(t * direction[i]);
        return dot(walked.forward(at, batch), seed);
      };
      // Kinks (a ReLU's 0, a pool's tie) would spoil a difference; random normals keep clear of them at this step.
      const double numeric = (objective(h) - objective(-h)) / (2 * h);
      walked.forward(x, batch);
      const Values gradient = walked.back(seed);
      const double scale = std::max(1.0, std::abs(numeric));
      CHECK(std::abs(dot(gradient, direction) - numeric) / scale < tolerance(1e-7, 2e-2));

      const Values parameters = net.parameters, gradients = walked.gradients;
      for (const Value& v : net.graph.values) {
        if (v.kind != ValueKind::parameter || !v.trainable) continue;
        CAPTURE(std::string(v.name));
        const Values p = random_values(v.shape.size(), 8);
        const auto moved = [&](double t) {
          for (std::int64_t i = 0; i < v.shape.size(); ++i)
            net.parameters[static_cast<std::size_t>(v.offset + i)] =
                parameters[static_cast<std::size_t>(v.offset + i)] +
                static_cast<real>(t) * p[static_cast<std::size_t>(i)];
          const double y = dot(walked.forward(x, batch), seed);
          net.parameters = parameters;
          return y;
        };
        double analytic = 0;
        for (std::int64_t i = 0; i < v.shape.size(); ++i)
          analytic +=
              static_cast<double>(gradients[static_cast<std::size_t>(v.offset + i)]) * p[static_cast<std::size_t>(i)];
        const double by_difference = (moved(h) - moved(-h)) / (2 * h);
        CHECK(std::abs(analytic - by_difference) / std::max(1.0, std::abs(by_difference)) < tolerance(1e-7, 2e-2));
      }
    }
}

TEST_CASE("every op of the registry has a derivative test") {
  for (const OpEntry& e : op_entries()) {
    bool found = false;
    for (const Case& c : cases) found = found || std::string(c.op) == e.name;
    CHECK_MESSAGE(found, e.name << " has no case above");
  }
}

TEST_CASE("adjoint: <apply(sub) x, s> = <x, apply_t(sub) s> for every affine op and substitution") {
  const Substitute substitutions[] = {raw_part,   positive_part, negative_part, squared, ones,
                                      {1.25f, 1}, {1, 1.25f},    {1, -1},       {-1, 0}};
  for (const Case& c : cases) {
    Net net(c.image, c.body);
    const Node& node = net.graph.nodes.back();
    if (node.op->op_class() != OpClass::affine) continue;
    CAPTURE(std::string(c.name));
    const auto& op = static_cast<const AffineOp&>(*node.op);
    const std::int32_t batch = 2;
    std::vector<std::byte> memory(1 << 22);
    Arena scratch(memory.data(), memory.size());
    Context ctx = net.context();
    ctx.scratch = &scratch;
    std::vector<Values> x;
    std::vector<TensorView> in, par;
    for (const Id v : node.in) {
      x.push_back(random_values(net.graph.shape(v).with_batch(batch).size(), 20 + x.size()));
      in.push_back({x.back().data(), net.graph.shape(v).with_batch(batch)});
    }
    for (const Id p : node.par) par.push_back({net.parameters.data() + net.graph.values[p].offset, net.graph.shape(p)});
    const Shape result = net.graph.shape(node.out).with_batch(batch);
    Values z(static_cast<std::size_t>(result.size())), s = random_values(result.size(), 30);
    const NodeIO io{in, par, {z.data(), result}, nullptr, 0};
    for (const Substitute w : substitutions) {
      if (!op.accepts(w)) continue;
      CAPTURE(int(w.kind));
      CAPTURE(w.p);
      CAPTURE(w.n);
      z.assign(z.size(), NAN);
      REQUIRE(op.apply(ctx, io, in, {raw_part, w, nothing}, {io.out, false}) == Status::ok);
      double right = 0, size = 0;
      for (std::size_t k = 0; k < in.size(); ++k) {
        Values back(x[k].size(), NAN);
        REQUIRE(op.apply_t(ctx, io, w, {s.data(), result}, k, {{back.data(), in[k].shape}, false}) == Status::ok);
        right += dot(x[k], back);
        for (std::size_t i = 0; i < back.size(); ++i) size += std::abs(static_cast<double>(x[k][i]) * back[i]);
        // Accumulating gives twice the signal.
        Values twice = back;
        REQUIRE(op.apply_t(ctx, io, w, {s.data(), result}, k, {{twice.data(), in[k].shape}, true}) == Status::ok);
        for (real& v : twice) v /= 2;
        CHECK(difference(twice, back) < tolerance(1e-14, 1e-6));
      }
      CHECK(std::abs(dot(z, s) - right) <= tolerance(1e-13, 1e-5) * size);
    }
  }
}

TEST_CASE("losses and their gradients") {
  Net net({1, 5, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, x, 4); });
  std::vector<std::byte> memory(1 << 16);
  Arena scratch(memory.data(), memory.size());
  Context ctx = net.context();
  ctx.scratch = &scratch;
  const Shape shape{3, 4};
  Values x = random_values(12, 1), target = {0, 1, 0, 0, 0.25, 0.25, 0.5, 0, 0, 0, 0, 1}, gradient(12, NAN);
  std::vector<double> rows(3);
  double loss = 0;
  const auto at = [&](Values v, bool square) {
    double l = 0;
    if (square)
      REQUIRE(mean_squared_error(ctx, {v.data(), shape}, {target.data(), shape}, {}, l) == Status::ok);
    else
      REQUIRE(cross_entropy(ctx, {v.data(), shape}, {target.data(), shape}, rows, {}, l) == Status::ok);
    return l;
  };
  for (const bool square : {false, true}) {
    if (square)
      REQUIRE(mean_squared_error(ctx, {x.data(), shape}, {target.data(), shape}, {gradient.data(), shape}, loss) ==
              Status::ok);
    else
      REQUIRE(cross_entropy(ctx, {x.data(), shape}, {target.data(), shape}, rows, {gradient.data(), shape}, loss) ==
              Status::ok);
    CHECK(loss == doctest::Approx(at(x, square)).epsilon(1e-6));
    for (std::size_t i = 0; i < 12; ++i) {
      const double h = sizeof(real) == 8 ? 1e-6 : 1e-2;
      Values up = x, down = x;
      up[i] += static_cast<real>(h);
      down[i] -= static_cast<real>(h);
      CHECK(std::abs(gradient[i] - (at(up, square) - at(down, square)) / (2 * h)) < tolerance(1e-8, 1e-3));
    }
  }
  // By hand: two classes with logits (0, log 3) have probabilities 1/4 and 3/4.
  Values two = {0, static_cast<real>(std::log(3.0))}, hard = {1, 0};
  REQUIRE(cross_entropy(ctx, {two.data(), {1, 2}}, {hard.data(), {1, 2}}, rows, {gradient.data(), {1, 2}}, loss) ==
          Status::ok);
  CHECK(loss == doctest::Approx(std::log(4.0)).epsilon(1e-6));
  CHECK(gradient[0] == doctest::Approx(-0.75).epsilon(1e-6));
  CHECK(gradient[1] == doctest::Approx(0.75).epsilon(1e-6));
  CHECK(cross_entropy(ctx, {two.data(), {1, 2}}, {hard.data(), {2, 1}}, rows, {}, loss) == Status::bad_shape);
}

TEST_SUITE_END();
