// LeNet-5 and small networks for digits and PartShapes.
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

// 5x5 convolutions keep 28x28 digits at 28 (padding 2 stands for LeCun's 32x32 frame) and leave larger frames to
// shrink.
std::int32_t first_padding(const GraphBuilder& g, Id x) { return g.shape(x).h() < 32 ? 2 : 0; }

}  // namespace

// LeNet-5 as it is trained today: ReLU and max pooling.
Id lenet5(Network& net, Id x) {
  GraphBuilder& g = net.g;
  Id h = relu(g, conv2d(g, x, {.out = 6, .kernel = 5, .padding = first_padding(g, x)}, "conv1"), "relu1");
  h = max_pool(g, h, {.kernel = 2}, "pool1");
  h = relu(g, conv2d(g, h, {.out = 16, .kernel = 5}, "conv2"), "relu2");
  h = max_pool(g, h, {.kernel = 2}, "pool2");
  h = relu(g, linear(g, flatten(g, h, "flatten"), 120, "fc1"), "relu3");
  h = relu(g, linear(g, h, 84, "fc2"), "relu4");
  return linear(g, h, net.classes, "fc3");
}

// LeNet-5 in the manner of 1998: tanh and average pooling [LeCun et al. 1998, fig. 2].
Id lenet5_tanh(Network& net, Id x) {
  GraphBuilder& g = net.g;
  Id h = tanh(g, conv2d(g, x, {.out = 6, .kernel = 5, .padding = first_padding(g, x)}, "conv1"), "tanh1");
  h = avg_pool(g, h, {.kernel = 2}, "pool1");
  h = tanh(g, conv2d(g, h, {.out = 16, .kernel = 5}, "conv2"), "tanh2");
  h = avg_pool(g, h, {.kernel = 2}, "pool2");
  h = tanh(g, linear(g, flatten(g, h, "flatten"), 120, "fc1"), "tanh3");
  h = tanh(g, linear(g, h, 84, "fc2"), "tanh4");
  return linear(g, h, net.classes, "fc3");
}

// Six convolutions in three stages, for small colour pictures: PartShapes, CIFAR-10.
Id cnn6(Network& net, Id x) {
  GraphBuilder& g = net.g;
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
  return linear(g, dropout(g, h, 0.25f, "dropout"), net.classes, "fc2");
}

// A small network in the manner of VGG [Simonyan & Zisserman 2015] with batch norm, for 64x64 pictures as
// PartShapes draws them.
Id vgg_mini(Network& net, Id x) {
  GraphBuilder& g = net.g;
  const auto conv = [&](Id in, std::int32_t out, const std::string& n) {
    return relu(
        g,
        batch_norm(g, conv2d(g, in, {.out = out, .kernel = 3, .padding = 1, .bias = false}, ("conv" + n).c_str()),
                   ("bn" + n).c_str()),
        ("relu" + n).c_str());
  };
  Id h = conv(conv(x, 24, "1"), 24, "2");
  h = max_pool(g, h, {.kernel = 2}, "pool1");
  h = conv(conv(h, 48, "3"), 48, "4");
  h = max_pool(g, h, {.kernel = 2}, "pool2");
  h = conv(conv(h, 64, "5"), 64, "6");
  h = max_pool(g, h, {.kernel = 2}, "pool3");
  h = dropout(g, flatten(g, h, "flatten"), 0.3f, "dropout");
  return linear(g, relu(g, linear(g, h, 128, "fc1"), "relu7"), net.classes, "fc2");
}

// A small residual network without batch norm: an exercise for rules at sums and global averages.
Id resnet_mini(Network& net, Id x) {
  GraphBuilder& g = net.g;
  const auto block = [&](Id in, std::int32_t out, std::int32_t stride, const std::string& name) {
    Id h = relu(g, conv2d(g, in, {.out = out, .kernel = 3, .stride = stride, .padding = 1}, (name + ".conv1").c_str()),
                (name + ".relu1").c_str());
    h = conv2d(g, h, {.out = out, .kernel = 3, .padding = 1}, (name + ".conv2").c_str());
    const Id skip =
        stride == 1 ? in : conv2d(g, in, {.out = out, .kernel = 1, .stride = stride}, (name + ".downsample").c_str());
    return relu(g, add(g, h, skip, (name + ".add").c_str()), (name + ".relu2").c_str());
  };
  Id h = relu(g, conv2d(g, x, {.out = 16, .kernel = 3, .padding = 1}, "conv1"), "relu");
  h = block(h, 16, 1, "layer1");
  h = block(h, 32, 2, "layer2");
  h = block(h, 64, 2, "layer3");
  return linear(g, flatten(g, global_avg_pool(g, h, "avgpool"), "flatten"), net.classes, "fc");
}

}  // namespace vitrine::families
