#include "models/architectures.h"

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"

namespace vitrine {
namespace {

// 5x5 convolutions keep 28x28 digits at 28 (padding 2 stands for LeCun's 32x32 frame) and leave larger frames to shrink.
std::int32_t first_padding(const GraphBuilder& g, Id x) { return g.shape(x).h() < 32 ? 2 : 0; }

// LeNet-5 as it is trained today: ReLU and max pooling.
Id lenet5(GraphBuilder& g, Id x, int classes) {
  Id h = relu(g, conv2d(g, x, {.out = 6, .kernel = 5, .padding = first_padding(g, x)}, "conv1"), "relu1");
  h = max_pool(g, h, {.kernel = 2}, "pool1");
  h = relu(g, conv2d(g, h, {.out = 16, .kernel = 5}, "conv2"), "relu2");
  h = max_pool(g, h, {.kernel = 2}, "pool2");
  h = relu(g, linear(g, flatten(g, h, "flatten"), 120, "fc1"), "relu3");
  h = relu(g, linear(g, h, 84, "fc2"), "relu4");
  return linear(g, h, classes, "fc3");
}

// LeNet-5 in the manner of 1998: tanh and average pooling [LeCun et al. 1998, fig. 2].
Id lenet5_tanh(GraphBuilder& g, Id x, int classes) {
  Id h = tanh(g, conv2d(g, x, {.out = 6, .kernel = 5, .padding = first_padding(g, x)}, "conv1"), "tanh1");
  h = avg_pool(g, h, {.kernel = 2}, "pool1");
  h = tanh(g, conv2d(g, h, {.out = 16, .kernel = 5}, "conv2"), "tanh2");
  h = avg_pool(g, h, {.kernel = 2}, "pool2");
  h = tanh(g, linear(g, flatten(g, h, "flatten"), 120, "fc1"), "tanh3");
  h = tanh(g, linear(g, h, 84, "fc2"), "tanh4");
  return linear(g, h, classes, "fc3");
}

// Six convolutions in three stages, for small colour pictures: PartShapes, CIFAR-10.
Id cnn6(GraphBuilder& g, Id x, int classes) {
  const auto conv = [&](Id in, std::int32_t out, const char* name, const char* activation) {
    return relu(g, conv2d(g, in, {.out = out, .kernel = 3, .padding = 1}, name), activation);
  };
  Id h = conv(conv(x, 16, "conv1", "relu1"), 16, "conv2", "relu2");
  h = max_pool(g, h, {.kernel = 2}, "pool1");
  h = conv(conv(h, 32, "conv3", "relu3"), 32, "conv4", "relu4");
  h = max_pool(g, h, {.kernel = 2}, "pool2");
  h = conv(conv(h, 64, "conv5", "relu5"), 64, "conv6", "relu6");
  h = max_pool(g, h, {.kernel = 2}, "pool3");
  h = relu(g, linear(g, flatten(g, h, "flatten"), 64, "fc1"), "relu7");
  return linear(g, dropout(g, h, 0.25f, "dropout"), classes, "fc2");
}

// A small network in the manner of VGG [Simonyan & Zisserman 2015] with batch norm: the one of model specification C1.10.
Id vgg_mini(GraphBuilder& g, Id x, int classes) {
  const auto conv = [&](Id in, std::int32_t out, const std::string& n) {
    return relu(g, batch_norm(g, conv2d(g, in, {.out = out, .kernel = 3, .padding = 1, .bias = false}, ("conv" + n).c_str()), ("bn" + n).c_str()), ("relu" + n).c_str());
  };
  Id h = conv(conv(x, 24, "1"), 24, "2");
  h = max_pool(g, h, {.kernel = 2}, "pool1");
  h = conv(conv(h, 48, "3"), 48, "4");
  h = max_pool(g, h, {.kernel = 2}, "pool2");
  h = conv(conv(h, 64, "5"), 64, "6");
  h = max_pool(g, h, {.kernel = 2}, "pool3");
  h = dropout(g, flatten(g, h, "flatten"), 0.3f, "dropout");
  return linear(g, relu(g, linear(g, h, 128, "fc1"), "relu7"), classes, "fc2");
}

// A small residual network without batch norm: an exercise for rules at sums and global averages.
Id resnet_mini(GraphBuilder& g, Id x, int classes) {
  const auto block = [&](Id in, std::int32_t out, std::int32_t stride, const std::string& name) {
    Id h = relu(g, conv2d(g, in, {.out = out, .kernel = 3, .stride = stride, .padding = 1}, (name + ".conv1").c_str()), (name + ".relu1").c_str());
    h = conv2d(g, h, {.out = out, .kernel = 3, .padding = 1}, (name + ".conv2").c_str());
    const Id skip = stride == 1 ? in : conv2d(g, in, {.out = out, .kernel = 1, .stride = stride}, (name + ".downsample").c_str());
    return relu(g, add(g, h, skip, (name + ".add").c_str()), (name + ".relu2").c_str());
  };
  Id h = relu(g, conv2d(g, x, {.out = 16, .kernel = 3, .padding = 1}, "conv1"), "relu");
  h = block(h, 16, 1, "layer1");
  h = block(h, 32, 2, "layer2");
  h = block(h, 64, 2, "layer3");
  return linear(g, flatten(g, global_avg_pool(g, h, "avgpool"), "flatten"), classes, "fc");
}

constexpr Architecture list[] = {
    {"lenet5", "LeNet-5 with ReLU and max pooling", {1, 1, 28, 28}, Initialiser::lecun_uniform, lenet5},
    {"lenet5-tanh", "LeNet-5 with tanh and average pooling, as in 1998", {1, 1, 28, 28}, Initialiser::lecun_uniform, lenet5_tanh},
    {"cnn6", "six 3x3 convolutions, three pools, two linear layers", {1, 3, 64, 64}, Initialiser::kaiming_normal, cnn6},
    {"vgg-mini", "six 3x3 convolutions with batch norm, three pools, two linear layers", {1, 3, 64, 64}, Initialiser::kaiming_normal, vgg_mini},
    {"resnet-mini", "three residual blocks, no batch norm, global average", {1, 3, 32, 32}, Initialiser::kaiming_normal, resnet_mini},
};

}  // namespace

std::span<const Architecture> architectures() noexcept { return list; }

const Architecture& find_architecture(const std::string& name) {
  std::string known;
  for (const Architecture& a : list) {
    if (name == a.name) return a;
    known += (known.empty() ? "" : ", ") + std::string(a.name);
  }
  throw Error("unknown model '" + name + "': expected one of " + known, Error::usage);
}

Model make_model(const std::string& architecture, Shape image, int classes, std::uint64_t seed) {
  const Architecture& a = find_architecture(architecture);
  Model model(a.name, image, [&](GraphBuilder& g, Id x) { return a.body(g, x, classes); });
  initialise(model.graph(), a.initialiser, seed, model.parameters.data());
  return model;
}

}  // namespace vitrine
