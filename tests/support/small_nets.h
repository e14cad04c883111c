// Networks that laws are held on: every op that LRP and DeepLIFT know, alone and together.
#pragma once

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/conv_transpose2d.h"
#include "layers/linear.h"
#include "layers/local_response_norm.h"
#include "layers/pool.h"
#include "layers/product.h"
#include "layers/scale.h"
#include "layers/softmax.h"
#include "layers/upsample.h"
#include "layers/view.h"
#include "tests/support/net.h"

namespace vitrine::test {

/// Convolutions with stride and padding, max pool.
inline Id plain_net(GraphBuilder& g, Id x) {
  Id h = relu(g, conv2d(g, x, {.out = 6, .kernel = 3, .padding = 1}, "conv1"), "relu1");
  h = max_pool(g, h, {.kernel = 2}, "pool1");
  h = relu(g, conv2d(g, h, {.out = 8, .kernel = 3, .stride = 2, .padding = 1}, "conv2"), "relu2");
  h = relu(g, linear(g, flatten(g, h, "flatten"), 10, "fc1"), "relu3");
  return linear(g, h, 4, "fc2");
}

/// Residual sum, overlapping pool, concat, padding, global average.
inline Id joined_net(GraphBuilder& g, Id x) {
  Id h = relu(g, conv2d(g, pad(g, x, 1, 0, 0, 1, "pad"), {.out = 5, .kernel = 3, .padding = 1}, "conv1"), "relu1");
  h = max_pool(g, h, {.kernel = 3, .stride = 2, .padding = 1}, "pool1");
  const Id branch = conv2d(g, h, {.out = 5, .kernel = 3, .padding = 1}, "conv2");
  h = relu(g, add(g, branch, h, "add"), "relu2");
  const Id wide = relu(g, conv2d(g, h, {.out = 4, .kernel = 1}, "conv3"), "relu3");
  const Id parts[] = {h, wide, avg_pool(g, h, {.kernel = 3, .stride = 1, .padding = 1}, "pool2")};
  h = concat(g, parts, "concat");
  return linear(g, flatten(g, global_avg_pool(g, h, "gap"), "flatten"), 4, "fc");
}

/// Smooth activations, average pools.
inline Id smooth_net(GraphBuilder& g, Id x) {
  Id h = tanh(g, conv2d(g, x, {.out = 5, .kernel = 3}, "conv1"), "tanh1");
  h = avg_pool(g, h, {.kernel = 2}, "pool1");
  h = leaky_relu(g, conv2d(g, h, {.out = 6, .kernel = 3, .padding = 1}, "conv2"), 0.1f, "leaky");
  h = sigmoid(g, linear(g, flatten(g, h, "flatten"), 9, "fc1"), "sigmoid");
  return linear(g, h, 4, "fc2");
}

/// Two linear layers on vectors.
inline Id vector_net(GraphBuilder& g, Id x) { return linear(g, relu(g, linear(g, x, 8, "fc1"), "relu"), 4, "fc2"); }

/// Batch norms behind convolutions and before them (factors of both signs), transposed convolution, upsampling, views.
inline Id normed_net(GraphBuilder& g, Id x) {
  Id h = relu(
      g,
      batch_norm(g, conv2d(g, x, {.out = 4, .kernel = 3, .stride = 2, .padding = 1, .bias = false}, "conv1"), "norm1"),
      "relu1");
  h = conv_transpose2d(g, relu(g, scale(g, h, "scale"), "relu2"), {.out = 4, .kernel = 2, .stride = 2, .groups = 2},
                       "conv2");
  const Id parts[] = {slice(g, h, 1, 3, 2, -2, "slice"), upsample(g, max_pool(g, h, {.kernel = 2}, "pool"),
                                                                  g.shape(h).h(), g.shape(h).w(), true, "upsample")};
  h = relu(g, batch_norm(g, concat(g, parts, "concat"), "norm2"), "relu3");
  h = conv2d(g, transpose(g, pad_channels(g, h, 1, 0, "pad"), 1, 3, 2, "transpose"), {.out = 4, .kernel = 3}, "conv3");
  h = reshape(g, relu(g, batch_norm(g, h, "norm3"), "relu4"), 2, 2 * g.shape(h).h(), g.shape(h).w(), "reshape");
  return linear(g, flatten(g, h, "flatten"), 4, "fc");
}

/// Gates, products of signals, normalised responses, activations that are no rectifiers.
inline Id gated_net(GraphBuilder& g, Id x) {
  Id h = local_response_norm(g, hard_swish(g, conv2d(g, x, {.out = 6, .kernel = 3, .padding = 1}, "conv1"), "swish"), 3,
                             "lrn", 2.0f, 0.75f, 1);
  const Id squeezed = relu(g, conv2d(g, global_avg_pool(g, h, "squeeze"), {.out = 3, .kernel = 1}, "reduce"), "relu1");
  h = multiply(g, h, sigmoid(g, conv2d(g, squeezed, {.out = 6, .kernel = 1}, "expand"), "gate"), 1, "excite");
  const Id a = silu(g, conv2d(g, h, {.out = 4, .kernel = 3}, "conv2"), "silu"),
           b = clip(g, conv2d(g, h, {.out = 4, .kernel = 3}, "conv3"), -1, 1, "clip");
  h = gelu(g, batch_norm(g, multiply(g, a, b, -1, "product"), "norm"), "gelu");
  return linear(g, flatten(g, avg_pool(g, h, {.kernel = 2}, "pool"), "flatten"), 4, "fc");
}

/// Slopes of their own, views by strides, softmax over places, functions that are no ReLU.
inline Id spread_net(GraphBuilder& g, Id x) {
  Id h = prelu(g, conv2d(g, x, {.out = 8, .kernel = 3, .padding = 1}, "conv1"), "prelu");
  const std::int32_t height = g.shape(x).h(), width = g.shape(x).w(), plane = height * width;
  const std::int32_t size[] = {2, height, 2, width, 2}, stride[] = {4 * plane, width, plane, 1, 2 * plane};
  h = strided_view(g, h, size, stride, 0, {1, 2, 2 * height, 2 * width}, "shuffle");
  h = softsign(g, conv2d(g, h, {.out = 4, .kernel = 4, .stride = 2}, "conv2"), "softsign");
  const std::int32_t rows = g.shape(h).h() * g.shape(h).w();
  const Id weights = row_softmax(g, reshape(g, conv2d(g, h, {.out = 1, .kernel = 1}, "conv3"), 1, 1, rows, "places"),
                                 false, "softmax");
  const std::int32_t repeat[] = {4, rows}, steps[] = {0, 1};
  const Id wide = strided_view(g, weights, repeat, steps, 0, g.shape(h), "wide");
  h = abs(g, conv2d(g, multiply(g, h, wide, 1, "attend"), {.out = 3, .kernel = 2}, "conv4"), "abs");
  return linear(g, flatten(g, threshold(g, h, 0.01f, "threshold"), "flatten"), 4, "fc");
}

struct NamedNet {
  const char* name;
  Shape image;
  Id (*body)(GraphBuilder&, Id);
  bool rectified;  ///< its only activations are rectifiers, its other ops linear or max pools
};
inline constexpr NamedNet all_nets[] = {
    {"plain", {1, 2, 9, 8}, plain_net, true},      {"joined", {1, 3, 8, 8}, joined_net, true},
    {"smooth", {1, 2, 10, 10}, smooth_net, false}, {"vector", {1, 6, 1, 1}, vector_net, true},
    {"normed", {1, 2, 8, 10}, normed_net, true},   {"gated", {1, 3, 7, 8}, gated_net, false},
    {"spread", {1, 2, 5, 6}, spread_net, false}};

/// One target's logit as the seed (LRP), or 1 (gradients), for each image of a batch.
inline Values seed_at(const Values& logits, std::int32_t batch, std::size_t target, bool value) {
  Values s(logits.size(), 0);
  const std::size_t k = logits.size() / static_cast<std::size_t>(batch);
  for (std::size_t n = 0; n < static_cast<std::size_t>(batch); ++n)
    s[n * k + target] = value ? logits[n * k + target] : 1;
  return s;
}

inline Values operator_product(const Values& a, const Values& b) {
  Values out(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) out[i] = a[i] * b[i];
  return out;
}

}  // namespace vitrine::test
