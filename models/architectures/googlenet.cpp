// GoogLeNet [Szegedy et al. 2015] as torchvision builds it: batch norms, ceil-mode pools, 3x3 in the place of 5x5.
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "models/architectures/families.h"

namespace vitrine::families {
namespace {

Id basic(GraphBuilder& g, Id x, const Conv2dOptions& o, const std::string& name) {
  Conv2dOptions options = o;
  options.bias = false;
  const Id h = batch_norm(g, conv2d(g, x, options, (name + ".conv").c_str()), (name + ".bn").c_str(), 1e-3f);
  return relu(g, h, (name + ".relu").c_str());
}

struct Widths {
  const char* name;
  std::int32_t one, reduce3, three, reduce5, five, pool;
};

Id inception(GraphBuilder& g, Id x, const Widths& w) {
  const std::string name = w.name;
  const Id pooled =
      max_pool(g, x, {.kernel = 3, .stride = 1, .padding = 1, .ceil_mode = true}, (name + ".branch4.0").c_str());
  const Id parts[] = {
      basic(g, x, {.out = w.one, .kernel = 1}, name + ".branch1"),
      basic(g, basic(g, x, {.out = w.reduce3, .kernel = 1}, name + ".branch2.0"),
            {.out = w.three, .kernel = 3, .padding = 1}, name + ".branch2.1"),
      basic(g, basic(g, x, {.out = w.reduce5, .kernel = 1}, name + ".branch3.0"),
            {.out = w.five, .kernel = 3, .padding = 1}, name + ".branch3.1"),
      basic(g, pooled, {.out = w.pool, .kernel = 1}, name + ".branch4.1"),
  };
  return concat(g, parts, (name + ".concat").c_str());
}

void auxiliary(Network& net, Id x, const std::string& name) {
  if (!net.with_auxiliary) return;
  GraphBuilder& g = net.g;
  Id h =
      basic(g, adaptive_avg_pool(g, x, 4, 4, (name + ".avgpool").c_str()), {.out = 128, .kernel = 1}, name + ".conv");
  h = relu(g, linear(g, flatten(g, h, (name + ".flatten").c_str()), 1024, (name + ".fc1").c_str()),
           (name + ".relu").c_str());
  linear(g, dropout(g, h, 0.7f, (name + ".dropout").c_str()), net.classes, (name + ".fc2").c_str());
  net.auxiliary.push_back({name + ".fc2", 0.3f});
}

}  // namespace

Id googlenet(Network& net, Id x) {
  GraphBuilder& g = net.g;
  const auto pool = [&](Id in, std::int32_t kernel, const char* name) {
    return max_pool(g, in, {.kernel = kernel, .stride = 2, .ceil_mode = true}, name);
  };
  Id h = basic(g, x, {.out = 64, .kernel = 7, .stride = 2, .padding = 3}, "conv1");
  h = basic(g, pool(h, 3, "maxpool1"), {.out = 64, .kernel = 1}, "conv2");
  h = pool(basic(g, h, {.out = 192, .kernel = 3, .padding = 1}, "conv3"), 3, "maxpool2");
  h = inception(g, h, {"inception3a", 64, 96, 128, 16, 32, 32});
  h = pool(inception(g, h, {"inception3b", 128, 128, 192, 32, 96, 64}), 3, "maxpool3");
  h = inception(g, h, {"inception4a", 192, 96, 208, 16, 48, 64});
  auxiliary(net, h, "aux1");
  h = inception(g, h, {"inception4b", 160, 112, 224, 24, 64, 64});
  h = inception(g, h, {"inception4c", 128, 128, 256, 24, 64, 64});
  h = inception(g, h, {"inception4d", 112, 144, 288, 32, 64, 64});
  auxiliary(net, h, "aux2");
  h = pool(inception(g, h, {"inception4e", 256, 160, 320, 32, 128, 128}), 2, "maxpool4");
  h = inception(g, h, {"inception5a", 256, 160, 320, 32, 128, 128});
  h = inception(g, h, {"inception5b", 384, 192, 384, 48, 128, 128});
  h = flatten(g, global_avg_pool(g, h, "avgpool"), "flatten");
  return linear(g, dropout(g, h, 0.2f, "dropout"), net.classes, "fc");
}

}  // namespace vitrine::families
