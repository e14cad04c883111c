#include "layers/registry.h"

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/softmax.h"
#include "layers/view.h"

namespace vitrine {
namespace {

template <class T>
Op* make(GraphBuilder& g) noexcept {
  return g.make<T>();
}

constexpr OpEntry entries[] = {
    {"conv2d", "2-D convolution with stride, padding, dilation and groups", make<Conv2d>},
    {"linear", "fully connected layer", make<Linear>},
    {"relu", "max(x, 0)", make<Relu>},
    {"leaky_relu", "x, or slope*x where x is negative", make<LeakyRelu>},
    {"tanh", "hyperbolic tangent", make<Tanh>},
    {"sigmoid", "logistic function", make<Sigmoid>},
    {"max_pool", "maximum of each window, with recorded switches", make<MaxPool>},
    {"avg_pool", "average of each window", make<AvgPool>},
    {"adaptive_avg_pool", "average over windows that tile the input; 1x1 is global", make<AdaptiveAvgPool>},
    {"add", "sum of tensors of one shape (residual connection)", make<Add>},
    {"concat", "tensors joined along one axis", make<Concat>},
    {"flatten", "(N,C,H,W) to (N,CHW)", make<Flatten>},
    {"pad", "zeros around height and width; negative sizes crop", make<Pad>},
    {"dropout", "in training, drops elements at random", make<Dropout>},
    {"softmax", "probabilities from logits", make<Softmax>},
};

}  // namespace

std::span<const OpEntry> op_entries() noexcept { return entries; }

const OpEntry* find_op(const char* name) noexcept {
  for (const OpEntry& e : entries)
    if (matches(e.name, name)) return &e;
  return nullptr;
}

}  // namespace vitrine
