// AlexNet in torchvision's form [Krizhevsky 2014] and VGG [Simonyan & Zisserman 2015].
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "models/architectures/families.h"

namespace vitrine::families {
namespace {

// Numbered members of an nn.Sequential: "features.0", "features.1", ... A name lasts until the next.
class Sequential {
 public:
  Sequential(std::string prefix) : prefix_(std::move(prefix)) {}
  const char* next() { return (name_ = prefix_ + "." + std::to_string(count_++)).c_str(); }

 private:
  std::string prefix_, name_;
  int count_ = 0;
};

}  // namespace

Id alexnet(Network& net, Id x) {
  GraphBuilder& g = net.g;
  Sequential f("features");
  Id h = conv2d(g, x, {.out = 64, .kernel = 11, .stride = 4, .padding = 2}, f.next());
  h = relu(g, h, f.next());
  h = max_pool(g, h, {.kernel = 3, .stride = 2}, f.next());
  h = conv2d(g, h, {.out = 192, .kernel = 5, .padding = 2}, f.next());
  h = relu(g, h, f.next());
  h = max_pool(g, h, {.kernel = 3, .stride = 2}, f.next());
  for (const std::int32_t out : {384, 256, 256}) {
    h = conv2d(g, h, {.out = out, .kernel = 3, .padding = 1}, f.next());
    h = relu(g, h, f.next());
  }
  h = max_pool(g, h, {.kernel = 3, .stride = 2}, f.next());
  h = flatten(g, adaptive_avg_pool(g, h, 6, 6, "avgpool"), "flatten");
  Sequential c("classifier");
  for (int k = 0; k < 2; ++k) {
    h = dropout(g, h, 0.5f, c.next());
    h = linear(g, h, 4096, c.next());
    h = relu(g, h, c.next());
  }
  return linear(g, h, net.classes, c.next());
}

Id vgg(Network& net, Id x, std::span<const std::int32_t> layout, bool batch_norm, bool cifar) {
  GraphBuilder& g = net.g;
  Sequential f("features");
  Id h = x;
  for (const std::int32_t out : layout) {
    if (out == 0) {
      h = max_pool(g, h, {.kernel = 2}, f.next());
      continue;
    }
    h = conv2d(g, h, {.out = out, .kernel = 3, .padding = 1}, f.next());
    if (batch_norm) h = vitrine::batch_norm(g, h, f.next());
    h = relu(g, h, f.next());
  }
  if (cifar) return linear(g, flatten(g, global_avg_pool(g, h, "avgpool"), "flatten"), net.classes, "classifier");
  h = flatten(g, adaptive_avg_pool(g, h, 7, 7, "avgpool"), "flatten");
  Sequential c("classifier");
  for (int k = 0; k < 2; ++k) {
    h = linear(g, h, 4096, c.next());
    h = relu(g, h, c.next());
    h = dropout(g, h, 0.5f, c.next());
  }
  return linear(g, h, net.classes, c.next());
}

}  // namespace vitrine::families
