#include "layers/registry.h"

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/conv_transpose2d.h"
#include "layers/interpretable_filters.h"
#include "layers/linear.h"
#include "layers/local_response_norm.h"
#include "layers/pool.h"
#include "layers/product.h"
#include "layers/rule_embedded.h"
#include "layers/scale.h"
#include "layers/softmax.h"
#include "layers/upsample.h"
#include "layers/view.h"

namespace vitrine {
namespace {

template <class T>
Op* make(GraphBuilder& g) noexcept {
  return g.make<T>();
}

constexpr OpEntry entries[] = {
    {"conv2d", "2-D convolution with stride, padding, dilation and groups", make<Conv2d>},
    {"conv_transpose2d", "transposed 2-D convolution", make<ConvTranspose2d>},
    {"linear", "fully connected layer", make<Linear>},
    {"relu", "max(x, 0)", make<Relu>},
    {"leaky_relu", "x, or slope*x where x is negative", make<LeakyRelu>},
    {"tanh", "hyperbolic tangent", make<Tanh>},
    {"sigmoid", "logistic function", make<Sigmoid>},
    {"clip", "min(max(x, low), high); 0 and 6 is ReLU6", make<Clip>},
    {"elu", "x, or alpha*(e^x - 1) where x is negative", make<Elu>},
    {"gelu", "x times the normal distribution function", make<Gelu>},
    {"gelu_tanh", "GELU approximated by tanh", make<GeluTanh>},
    {"silu", "x*sigmoid(x)", make<Silu>},
    {"hard_sigmoid", "clip(alpha*x + beta, 0, 1)", make<HardSigmoid>},
    {"hard_swish", "x*clip(x/6 + 1/2, 0, 1)", make<HardSwish>},
    {"softplus", "log(1 + e^x)", make<Softplus>},
    {"softsign", "x/(1 + |x|)", make<Softsign>},
    {"threshold", "x, or 0 where x <= theta", make<Threshold>},
    {"abs", "|x|", make<Abs>},
    {"exp", "e^x", make<Exp>},
    {"log", "natural logarithm", make<Log>},
    {"power", "x to a given power", make<Power>},
    {"prelu", "x, or a slope a channel times x where x is negative", make<PRelu>},
    {"batch_norm", "batch normalisation, a channel each", make<BatchNorm>},
    {"scale", "a factor and a shift a channel", make<Scale>},
    {"affine_map", "factor*x + shift with given numbers", make<AffineMap>},
    {"local_response_norm", "each element over its channel neighbours' magnitude", make<LocalResponseNorm>},
    {"interpretable_filters", "maps gated by a template around their own peak", make<InterpretableFilters>},
    {"local_maximum", "places that are the largest around them, others 0", make<LocalMaximum>},
    {"max_pool", "maximum of each window, with recorded switches", make<MaxPool>},
    {"avg_pool", "average of each window", make<AvgPool>},
    {"adaptive_avg_pool", "average over windows that tile the input; 1x1 is global", make<AdaptiveAvgPool>},
    {"add", "sum of tensors of one shape (residual connection)", make<Add>},
    {"multiply", "elementwise product of two tensors: gates, masks", make<Multiply>},
    {"upsample", "bilinear resampling of height and width", make<Upsample>},
    {"upsample_nearest", "nearest resampling of height and width: repeats elements", make<NearestUpsample>},
    {"concat", "tensors joined along one axis", make<Concat>},
    {"flatten", "(N,C,H,W) to (N,CHW)", make<Flatten>},
    {"reshape", "the same elements as (c,h,w)", make<Reshape>},
    {"transpose", "channels, height and width in another order", make<Transpose>},
    {"slice", "some elements of one axis, at equal steps", make<Slice>},
    {"pad", "zeros around channels, height and width; negative sizes crop", make<Pad>},
    {"strided_view", "elements at strides: permuted, repeated, reversed", make<StridedView>},
    {"dropout", "in training, drops elements at random", make<Dropout>},
    {"softmax", "probabilities from logits", make<Softmax>},
    {"row_softmax", "softmax over the last dimension, or its logarithm", make<RowSoftmax>},
    {"log_softmax", "their logarithms", make<LogSoftmax>},
};

}  // namespace

std::span<const OpEntry> op_entries() noexcept { return entries; }

const OpEntry* find_op(const char* name) noexcept {
  for (const OpEntry& e : entries)
    if (matches(e.name, name)) return &e;
  return nullptr;
}

}  // namespace vitrine
