// Networks with several inputs or outputs, a dense output or a single logit.
#pragma once

#include "tests/support/small_nets.h"

namespace vitrine::test {

/// Two inputs and two outputs: maps of "image" (N,2,6,5) gated and shifted by what is made of "side" (N,3), then
/// "scores" (N,4), the main output, and "code" (N,5).
inline void two_by_two_net(GraphBuilder& g) {
  const Id image = g.input({1, 2, 6, 5}, "image"), side = g.input({1, 3}, "side");
  Id h = relu(g, conv2d(g, image, {.out = 4, .kernel = 3, .padding = 1}, "conv1"), "relu1");
  const Id gate = sigmoid(g, linear(g, side, 4, "gate_fc"), "gate");
  h = relu(g, conv2d(g, multiply(g, h, gate, 1, "gated"), {.out = 4, .kernel = 3}, "conv2"), "relu2");
  const Id parts[] = {flatten(g, max_pool(g, h, {.kernel = 2, .stride = 1}, "pool"), "flatten"), side};
  const Id code = relu(g, linear(g, concat(g, parts, "joined"), 5, "code_fc"), "code");
  g.output(linear(g, code, 4, "scores"));
  g.output(code);
}

/// As U-Nets are: two scales, a skip connection, and 3 classes for each place, (N,3,8,6).
inline void unet_net(GraphBuilder& g) {
  const Id x = g.input({1, 2, 8, 6});
  const Id wide = relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "down1"), "relu1");
  Id h = max_pool(g, wide, {.kernel = 2}, "pool");
  h = relu(g, conv2d(g, h, {.out = 6, .kernel = 3, .padding = 1}, "down2"), "relu2");
  const Id parts[] = {upsample(g, h, 8, 6, false, "up"), wide};
  h = relu(g, conv2d(g, concat(g, parts, "skip"), {.out = 5, .kernel = 3, .padding = 1}, "up1"), "relu3");
  g.output(conv2d(g, h, {.out = 3, .kernel = 1}, "map"));
}

/// One logit, (N,1).
inline void one_logit_net(GraphBuilder& g) {
  const Id x = g.input({1, 2, 6, 6});
  const Id h = relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .stride = 2, .padding = 1}, "conv1"), "relu1");
  g.output(linear(g, flatten(g, h, "flatten"), 1, "logit"));
}

struct SeveralNet {
  const char* name;
  void (*body)(GraphBuilder&);
};
inline constexpr SeveralNet several_nets[] = {
    {"two by two", two_by_two_net}, {"unet", unet_net}, {"one logit", one_logit_net}};

}  // namespace vitrine::test
