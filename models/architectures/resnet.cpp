// Residual networks [He et al. 2016].
#include "layers/activation.h"
#include "layers/add.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "models/architectures/families.h"

namespace vitrine::families {
namespace {

// A convolution without bias and its batch norm.
Id conv_bn(GraphBuilder& g, Id x, const Conv2dOptions& o, const std::string& conv, const std::string& norm) {
  Conv2dOptions options = o;
  options.bias = false;
  return batch_norm(g, conv2d(g, x, options, conv.c_str()), norm.c_str());
}

Id basic_block(GraphBuilder& g, Id x, std::int32_t planes, std::int32_t stride, const std::string& name) {
  Id h = conv_bn(g, x, {.out = planes, .kernel = 3, .stride = stride, .padding = 1}, name + ".conv1", name + ".bn1");
  h = relu(g, h, (name + ".relu1").c_str());
  return conv_bn(g, h, {.out = planes, .kernel = 3, .padding = 1}, name + ".conv2", name + ".bn2");
}

Id bottleneck_block(GraphBuilder& g, Id x, std::int32_t planes, std::int32_t stride, const std::string& name) {
  Id h = conv_bn(g, x, {.out = planes, .kernel = 1}, name + ".conv1", name + ".bn1");
  h = relu(g, h, (name + ".relu1").c_str());
  h = conv_bn(g, h, {.out = planes, .kernel = 3, .stride = stride, .padding = 1}, name + ".conv2", name + ".bn2");
  h = relu(g, h, (name + ".relu2").c_str());
  return conv_bn(g, h, {.out = 4 * planes, .kernel = 1}, name + ".conv3", name + ".bn3");
}

}  // namespace

Id resnet(Network& net, Id x, const std::array<int, 4>& blocks, bool bottleneck) {
  GraphBuilder& g = net.g;
  Id h = relu(g, conv_bn(g, x, {.out = 64, .kernel = 7, .stride = 2, .padding = 3}, "conv1", "bn1"), "relu");
  h = max_pool(g, h, {.kernel = 3, .stride = 2, .padding = 1}, "maxpool");
  for (std::size_t stage = 0; stage < 4; ++stage)
    for (int b = 0; b < blocks[stage]; ++b) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(b);
      const std::int32_t planes = 64 << stage, out = bottleneck ? 4 * planes : planes,
                         stride = stage > 0 && b == 0 ? 2 : 1;
      const Id branch =
          bottleneck ? bottleneck_block(g, h, planes, stride, name) : basic_block(g, h, planes, stride, name);
      const bool fits = stride == 1 && g.shape(h).c() == out;
      const Id skip = fits ? h
                           : conv_bn(g, h, {.out = out, .kernel = 1, .stride = stride}, name + ".downsample.0",
                                     name + ".downsample.1");
      h = relu(g, add(g, branch, skip, (name + ".add").c_str()), (name + ".relu").c_str());
    }
  return linear(g, flatten(g, global_avg_pool(g, h, "avgpool"), "flatten"), net.classes, "fc");
}

Id resnet_cifar(Network& net, Id x, int n) {
  GraphBuilder& g = net.g;
  Id h = relu(g, conv_bn(g, x, {.out = 16, .kernel = 3, .padding = 1}, "conv1", "bn1"), "relu");
  for (int stage = 0; stage < 3; ++stage)
    for (int b = 0; b < n; ++b) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(b);
      const std::int32_t planes = 16 << stage, stride = stage > 0 && b == 0 ? 2 : 1;
      const Id branch = basic_block(g, h, planes, stride, name);
      Id skip = h;
      if (stride == 2) {
        // Option A: every second pixel, and zeros for the new channels.
        const Shape s = g.shape(h);
        skip = slice(g, skip, 2, 0, (s.h() + 1) / 2, 2, (name + ".shortcut.rows").c_str());
        skip = slice(g, skip, 3, 0, (s.w() + 1) / 2, 2, (name + ".shortcut.columns").c_str());
        skip = pad_channels(g, skip, planes / 4, planes / 4, (name + ".shortcut.pad").c_str());
      }
      h = relu(g, add(g, branch, skip, (name + ".add").c_str()), (name + ".relu").c_str());
    }
  return linear(g, flatten(g, global_avg_pool(g, h, "avgpool"), "flatten"), net.classes, "linear");
}

Id resnet8(Network& net, Id x) {
  GraphBuilder& g = net.g;
  int convolutions = 0, norms = 0, activations = 0;
  const auto numbered = [](const char* base, int k) {
    return k == 0 ? std::string(base) : std::string(base) + "_" + std::to_string(k);
  };
  const auto conv = [&](Id in, std::int32_t out, std::int32_t kernel, std::int32_t stride) {
    // TensorFlow's "same": what is missing of an even size lies at the bottom and right.
    const Shape s = g.shape(in);
    Conv2d* const op = g.make<Conv2d>();
    if (op == nullptr) return no_id;
    const auto missing = [&](std::int32_t size) {
      return std::max(0, ((size + stride - 1) / stride - 1) * stride + kernel - size);
    };
    op->out = out;
    op->kernel_h = op->kernel_w = kernel;
    op->stride_h = op->stride_w = stride;
    op->pad_top = missing(s.h()) / 2;
    op->pad_bottom = missing(s.h()) - op->pad_top;
    op->pad_left = missing(s.w()) / 2;
    op->pad_right = missing(s.w()) - op->pad_left;
    const GraphBuilder::Parameter parameters[] = {{"weight", {out, s.c(), kernel, kernel}, 4, Init::weight},
                                                  {"bias", {out, 1}, 1, Init::zero}};
    const Id inputs[] = {in};
    return g.add(op, inputs, parameters, numbered("conv2d", convolutions++).c_str());
  };
  const auto norm = [&](Id in) {
    return batch_norm(g, in, numbered("batch_normalization", norms++).c_str(), 1e-3f, 0.01f);
  };
  const auto active = [&](Id in) { return relu(g, in, numbered("activation", activations++).c_str()); };
  Id h = active(norm(conv(x, 16, 3, 1)));
  int sums = 0;
  for (const std::int32_t planes : {16, 32, 64}) {
    const std::int32_t stride = planes == 16 ? 1 : 2;
    Id branch = active(norm(conv(h, planes, 3, stride)));
    branch = norm(conv(branch, planes, 3, 1));
    const Id skip = stride == 1 ? h : conv(h, planes, 1, stride);
    h = active(add(g, skip, branch, numbered("add", sums++).c_str()));
  }
  return linear(g, flatten(g, global_avg_pool(g, h, "average_pooling2d"), "flatten"), net.classes, "dense");
}

}  // namespace vitrine::families
