// DenseNet-BC [Huang et al. 2017], names as in torchvision.
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "models/architectures/families.h"

namespace vitrine::families {
namespace {

Id norm_relu(GraphBuilder& g, Id x, const std::string& norm, const std::string& activation) {
  return relu(g, batch_norm(g, x, norm.c_str()), activation.c_str());
}

// Every layer reads all results before it.
Id dense_block(GraphBuilder& g, Id x, int layers, std::int32_t growth, const std::string& block) {
  std::vector<Id> made = {x};
  for (int l = 1; l <= layers; ++l) {
    const std::string name = block + ".denselayer" + std::to_string(l);
    const Id all = made.size() == 1 ? x : concat(g, made, (name + ".concat").c_str());
    Id h = norm_relu(g, all, name + ".norm1", name + ".relu1");
    h = conv2d(g, h, {.out = 4 * growth, .kernel = 1, .bias = false}, (name + ".conv1").c_str());
    h = norm_relu(g, h, name + ".norm2", name + ".relu2");
    made.push_back(conv2d(g, h, {.out = growth, .kernel = 3, .padding = 1, .bias = false}, (name + ".conv2").c_str()));
  }
  return concat(g, made, (block + ".concat").c_str());
}

}  // namespace

Id densenet(Network& net, Id x, std::span<const int> blocks, std::int32_t growth, std::int32_t first, bool cifar) {
  GraphBuilder& g = net.g;
  Id h = no_id;
  if (cifar) {
    h = conv2d(g, x, {.out = first, .kernel = 3, .padding = 1, .bias = false}, "features.conv0");
  } else {
    h = conv2d(g, x, {.out = first, .kernel = 7, .stride = 2, .padding = 3, .bias = false}, "features.conv0");
    h = max_pool(g, norm_relu(g, h, "features.norm0", "features.relu0"), {.kernel = 3, .stride = 2, .padding = 1},
                 "features.pool0");
  }
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const std::string number = std::to_string(b + 1);
    h = dense_block(g, h, blocks[b], growth, "features.denseblock" + number);
    if (b + 1 == blocks.size()) break;
    const std::string name = "features.transition" + number;
    h = norm_relu(g, h, name + ".norm", name + ".relu");
    h = conv2d(g, h, {.out = g.shape(h).c() / 2, .kernel = 1, .bias = false}, (name + ".conv").c_str());
    h = avg_pool(g, h, {.kernel = 2}, (name + ".pool").c_str());
  }
  h = norm_relu(g, h, cifar ? "features.norm_final" : "features.norm5", "relu");
  return linear(g, flatten(g, global_avg_pool(g, h, "avgpool"), "flatten"), net.classes, "classifier");
}

}  // namespace vitrine::families
