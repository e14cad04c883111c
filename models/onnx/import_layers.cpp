// Convolutions, linear layers, norms, activations and pools.
#include <algorithm>

#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/conv_transpose2d.h"
#include "layers/linear.h"
#include "layers/local_response_norm.h"
#include "layers/pool.h"
#include "layers/product.h"
#include "layers/rule_embedded.h"
#include "layers/softmax.h"
#include "layers/view.h"
#include "models/onnx/importer.h"

namespace vitrine::onnx {
namespace {

template <class Op, class Spatial>
void set_window(Op& op, const Spatial& s) {
  op.kernel_h = s.kernel[0];
  op.kernel_w = s.kernel[1];
  op.stride_h = s.stride[0];
  op.stride_w = s.stride[1];
  op.dilation_h = s.dilation[0];
  op.dilation_w = s.dilation[1];
  op.pad_top = s.begin[0];
  op.pad_left = s.begin[1];
  op.pad_bottom = s.end[0];
  op.pad_right = s.end[1];
}

}  // namespace

Importer::Spatial Importer::spatial(const Node& node, const Tensor& x, Dims kernel) {
  const std::size_t n = x.dims.size() - 1;
  if (x.dims.size() < 2) throw Unsupported("reads a tensor without height and width");
  if (n > 2) throw Unsupported("works on " + std::to_string(n) + "-D data, which is not supported: 1-D and 2-D are");
  if (kernel.empty()) kernel = node.integers("kernel_shape");
  const Dims strides = node.integers("strides", Dims(n, 1)), dilations = node.integers("dilations", Dims(n, 1)),
             pads = node.integers("pads", Dims(2 * n, 0));
  if (kernel.size() != n || strides.size() != n || dilations.size() != n || pads.size() != 2 * n)
    throw Unsupported("has attributes for another number of dimensions than its input's");
  const std::string automatic = node.text("auto_pad", "NOTSET");
  Spatial s;
  for (std::size_t k = 0; k < n; ++k) {
    s.kernel[k] = narrow(kernel[k], "a kernel");
    s.stride[k] = narrow(strides[k], "a stride");
    s.dilation[k] = narrow(dilations[k], "a dilation");
    s.begin[k] = narrow(pads[k], "padding");
    s.end[k] = narrow(pads[n + k], "padding");
    if (s.kernel[k] < 1 || s.stride[k] < 1 || s.dilation[k] < 1)
      throw Unsupported("has a kernel, stride or dilation below 1");
    if (automatic == "VALID") s.begin[k] = s.end[k] = 0;
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      const std::int64_t in = x.dims[k + 1], out = (in + s.stride[k] - 1) / s.stride[k];
      const std::int64_t all =
          std::max<std::int64_t>(0, (out - 1) * s.stride[k] + std::int64_t{s.dilation[k]} * (s.kernel[k] - 1) + 1 - in);
      const std::int64_t less = all / 2, more = all - less;
      s.begin[k] = narrow(automatic == "SAME_UPPER" ? less : more, "padding");
      s.end[k] = narrow(automatic == "SAME_UPPER" ? more : less, "padding");
    } else if (automatic != "NOTSET" && automatic != "VALID" && !automatic.empty()) {
      throw Unsupported("has auto_pad '" + automatic + "'");
    }
  }
  return s;
}

const Constant* Importer::take_bias(const Node& node, std::int64_t channels, std::size_t rank) {
  const Node* add = only_reader(node.out[0]);
  if (add == nullptr || add->op != "Add" || add->in.size() != 2) return nullptr;
  const std::string& other = add->in[0] == node.out[0] ? add->in[1] : add->in[0];
  if (!is_constant(other)) return nullptr;
  const Constant& c = constant(other);
  if (!c.is_float || !is_per_channel(c, rank, channels) || c.size() != channels) return nullptr;
  const auto at = static_cast<std::size_t>(add - nodes_.data());
  skipped_.insert(at);
  return &c;
}

void Importer::alias_output(const Node& node) {
  const Node* add = only_reader(node.out[0]);
  if (add == nullptr || !skipped_.contains(static_cast<std::size_t>(add - nodes_.data()))) return;
  tensors_[add->out[0]] = tensors_.at(node.out[0]);
  aliases_[add->out[0]] = node.name;
  aliases_.emplace(add->name, node.name);
}

void Importer::conv(const Node& node) {
  if (viewed(node, 0).dims.size() > 3)
    throw Unsupported("is a 3-D convolution, which is not supported: 1-D and 2-D are");
  const Tensor x = tensor(node, 0);
  const Constant& w = constant(node, 1, "weight");
  if (w.dims.size() != x.dims.size() + 1 || !w.is_float) throw Unsupported("has a weight of shape " + text(w.dims));
  const Spatial s = spatial(node, x, Dims(w.dims.begin() + 2, w.dims.end()));
  Conv2d* op = builder_->make<Conv2d>();
  if (op == nullptr) return set(node, no_id, 1);
  set_window(*op, s);
  if (const auto p = pending_pads_.find(node.in[0]); p != pending_pads_.end()) {
    op->pad_top += p->second[0];
    op->pad_left += p->second[1];
    op->pad_bottom += p->second[2];
    op->pad_right += p->second[3];
  }
  op->out = narrow(w.dims[0], "channels");
  op->groups = narrow(node.integer("group", 1), "groups");
  const Constant* bias = node.has(2) ? &constant(node, 2, "bias") : take_bias(node, op->out, x.dims.size());
  op->bias = bias != nullptr;
  const Shape ws{op->out, narrow(w.dims[1], "channels"), op->kernel_h, op->kernel_w};
  append(node, op, x, ws, 4, w.f, bias, x.dims.size());
}

void Importer::append(const Node& node, Op* op, const Tensor& x, const Shape& weight_shape, std::uint8_t rank,
                      std::vector<float> w, const Constant* bias, std::size_t out_rank) {
  if (bias != nullptr && (!bias->is_float || bias->size() < 1))
    throw Unsupported("has a bias that is no list of floats");
  const GraphBuilder::Parameter parameters[] = {
      {"weight", weight_shape, rank, Init::weight},
      {"bias", {bias != nullptr ? narrow(bias->size(), "biases") : 1, 1}, 1, Init::zero}};
  const Id in[] = {x.id};
  const Id id = builder_->add(op, in, {parameters, bias != nullptr ? 2u : 1u}, node.name.c_str());
  weight(node, "weight", std::move(w));
  if (bias != nullptr) weight(node, "bias", bias->f);
  set(node, id, out_rank);
  alias_output(node);
}

void Importer::conv_transpose(const Node& node) {
  const Tensor x = tensor(node, 0);
  const Constant& w = constant(node, 1, "weight");
  if (w.dims.size() != x.dims.size() + 1 || !w.is_float) throw Unsupported("has a weight of shape " + text(w.dims));
  Spatial s = spatial(node, x, Dims(w.dims.begin() + 2, w.dims.end()));
  const Dims size = node.integers("output_shape");
  Dims extra = node.integers("output_padding", Dims(x.dims.size() - 1, 0));
  const std::string automatic = node.text("auto_pad", "NOTSET");
  if (extra.size() != x.dims.size() - 1 || (!size.empty() && size.size() != extra.size()))
    throw Unsupported("has attributes for another number of dimensions than its input's");
  if (!size.empty() || automatic.starts_with("SAME"))
    for (std::size_t k = 0; k < extra.size(); ++k) {
      const std::int64_t out = size.empty() ? x.dims[k + 1] * s.stride[k] : narrow(size[k], "a size");
      const std::int64_t all = (x.dims[k + 1] - 1) * s.stride[k] + narrow(extra[k], "output padding") +
                               std::int64_t{s.dilation[k]} * (s.kernel[k] - 1) + 1 - out;
      // What is too much is cut off on both sides; what is missing is added behind.
      const std::int64_t cut = std::max<std::int64_t>(all, 0), less = cut / 2;
      s.begin[k] = narrow(automatic == "SAME_UPPER" ? less : cut - less, "padding");
      s.end[k] = narrow(cut - s.begin[k], "padding");
      extra[k] += cut - all;
    }
  ConvTranspose2d* op = builder_->make<ConvTranspose2d>();
  if (op == nullptr) return set(node, no_id, 1);
  set_window(*op, s);
  op->groups = narrow(node.integer("group", 1), "groups");
  op->out = narrow(w.dims[1] * op->groups, "channels");
  op->output_pad_h = narrow(extra[0], "output padding");
  if (extra.size() > 1) op->output_pad_w = narrow(extra[1], "output padding");
  const Constant* bias = node.has(2) ? &constant(node, 2, "bias") : take_bias(node, op->out, x.dims.size());
  op->bias = bias != nullptr;
  const Shape ws{narrow(w.dims[0], "channels"), narrow(w.dims[1], "channels"), op->kernel_h, op->kernel_w};
  append(node, op, x, ws, 4, w.f, bias, x.dims.size());
}

std::vector<float> Importer::transposed(const Constant& c) {
  const auto rows = static_cast<std::size_t>(c.dims[0]), columns = static_cast<std::size_t>(c.dims[1]);
  std::vector<float> out(c.f.size());
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) out[j * rows + i] = c.f[i * columns + j];
  return out;
}

void Importer::linear_layer(const Node& node, const Tensor& x, std::int64_t outputs, std::int64_t inputs,
                            std::vector<float> w, const Constant* bias) {
  if (x.dims.size() != 1)
    throw Unsupported("multiplies a tensor of " + std::to_string(x.dims.size() + 1) + " dimensions, expected (N,K)");
  Linear* op = builder_->make<Linear>();
  if (op == nullptr) return set(node, no_id, 1);
  op->out = narrow(outputs, "outputs");
  op->bias = bias != nullptr;
  append(node, op, x, {op->out, narrow(inputs, "inputs")}, 2, std::move(w), bias, 1);
}

void Importer::gemm(const Node& node) {
  const Tensor x = tensor(node, 0);
  const Constant& b = constant(node, 1, "matrix");
  if (node.integer("transA", 0) != 0) throw Unsupported("transposes its input, which would mix the batch");
  if (b.dims.size() != 2 || !b.is_float || b.size() < 1) throw Unsupported("has a matrix of shape " + text(b.dims));
  const bool rows = node.integer("transB", 0) != 0;
  std::vector<float> w = rows ? b.f : transposed(b);
  const float alpha = node.number("alpha", 1), beta = node.number("beta", 1);
  for (float& v : w) v *= alpha;
  const std::int64_t outputs = b.dims[rows ? 0 : 1], inputs = b.dims[rows ? 1 : 0];
  Constant scaled;
  const Constant* bias = nullptr;
  if (node.has(2)) {
    const Constant& c = constant(node, 2, "bias");
    if (!c.is_float || c.dims.size() > 2 || !is_per_channel(c, 1, outputs))
      throw Unsupported("has a bias of shape " + text(c.dims));
    for (std::int64_t k = 0; k < outputs; ++k)
      scaled.f.push_back(beta * c.f[static_cast<std::size_t>(c.size() == 1 ? 0 : k)]);
    bias = &scaled;
  } else {
    bias = take_bias(node, outputs, 1);
  }
  linear_layer(node, x, outputs, inputs, std::move(w), bias);
}

void Importer::matmul(const Node& node) {
  if (!node.has(1)) throw Unsupported("lacks its matrix");
  if (tensors_.contains(node.in[0]) && tensors_.contains(node.in[1]))
    throw Unsupported("multiplies two tensors of the network, as attention does, which is not supported");
  const bool left = is_constant(node.in[0]);
  const Tensor x = viewed(node, left ? 1 : 0);
  const Constant& b = constant(node, left ? 0 : 1, "matrix");
  if (b.dims.size() != 2 || !b.is_float || b.size() < 1) throw Unsupported("has a matrix of shape " + text(b.dims));
  if (left || x.dims.size() != 1) {
    const std::size_t axis = x.dims.size() - (left ? 2 : 1);
    if (x.dims.size() < (left ? 2u : 1u)) throw Unsupported("multiplies along the batch");
    if (x.dims[axis] != b.dims[left ? 1 : 0])
      throw Unsupported("multiplies " + text(x.dims) + " (without the batch) with a matrix of shape " + text(b.dims));
    const std::int64_t outputs = b.dims[left ? 0 : 1];
    return linear_over(node, x, axis, outputs, left ? b.f : transposed(b), left ? nullptr : take_bias(node, outputs, 1),
                       node.name);
  }
  linear_layer(node, x, b.dims[1], b.dims[0], transposed(b), take_bias(node, b.dims[1], 1));
}

void Importer::batch_normalization(const Node& node) {
  const Tensor x = tensor(node, 0);
  if (node.integer("spatial", 1) != 1)
    throw Unsupported("normalises each place by itself (spatial 0); one mean a channel is supported");
  const auto made = std::count_if(node.out.begin(), node.out.end(), [](const std::string& o) { return !o.empty(); });
  if (node.integer("training_mode", 0) != 0 || (opset_ < 14 && made > 1))
    throw Unsupported("is in training mode: export the model in evaluation mode");
  BatchNorm* op = builder_->make<BatchNorm>();
  if (op == nullptr) return set(node, no_id, 1);
  op->eps = node.number("epsilon", 1e-5f);
  op->momentum = std::clamp(1 - node.number("momentum", 0.9f), 0.0f, 1.0f);  // ONNX counts what stays
  const Shape each{builder_->shape(x.id).c(), 1};
  const char* const names[] = {"weight", "bias", "running_mean", "running_var"};
  GraphBuilder::Parameter parameters[4];
  for (std::size_t k = 0; k < 4; ++k) {
    const Constant& c = constant(node, k + 1, names[k]);
    if (!c.is_float || c.size() != each.n())
      throw Unsupported(std::string("has a ") + names[k] + " of shape " + text(c.dims));
    if (k == 3 && std::any_of(c.f.begin(), c.f.end(), [](float v) { return !(v >= 0); }))
      throw Unsupported("has a negative variance");
    parameters[k] = {names[k], each, 1, k == 0 || k == 3 ? Init::one : Init::zero, k < 2};
    weight(node, names[k], c.f);
  }
  const Id in[] = {x.id};
  set(node, builder_->add(op, in, parameters, node.name.c_str()), x.dims.size());
}

void Importer::lrn(const Node& node) {
  const Tensor x = tensor(node, 0);
  set(node,
      local_response_norm(*builder_, x.id, narrow(node.integer("size", 1), "a size"), node.name.c_str(),
                          node.number("alpha", 1e-4f), node.number("beta", 0.75f), node.number("bias", 1)),
      x.dims.size());
}

Id Importer::activation_of(const Node& node, Id x) {
  GraphBuilder& g = *builder_;
  const char* const name = node.name.c_str();
  const std::string& op = node.op;
  const auto part = [&](const char* suffix) { return fresh(node.name + suffix); };
  // outer f(inner x), where a factor of 1 is left out
  const auto scaled = [&](float inner, float outer, const auto& f) {
    const Id in = inner == 1 ? x : affine_map(g, x, inner, 0, part(".in").c_str());
    return outer == 1 ? f(in, name) : affine_map(g, f(in, part(".out").c_str()), outer, 0, name);
  };
  if (op == "Relu") return relu(g, x, name);
  if (op == "LeakyRelu") return leaky_relu(g, x, node.number("alpha", 0.01f), name);
  if (op == "Elu") return elu(g, x, node.number("alpha", 1), name);
  if (op == "Sigmoid") return sigmoid(g, x, name);
  if (op == "Tanh") return tanh(g, x, name);
  if (op == "HardSigmoid") return hard_sigmoid(g, x, node.number("alpha", 0.2f), node.number("beta", 0.5f), name);
  if (op == "HardSwish" || op == "vitrine.hard_swish") return hard_swish(g, x, name);
  if (op == "Softplus") return softplus(g, x, name);
  if (op == "Softsign") return softsign(g, x, name);
  if (op == "Exp") return exp(g, x, name);
  if (op == "Log") return log(g, x, name);
  if (op == "Abs") return abs(g, x, name);
  if (op == "Sqrt") return vitrine::power(g, x, 0.5f, name);
  if (op == "Reciprocal") return vitrine::power(g, x, -1, name);
  if (op == "ThresholdedRelu") return threshold(g, x, node.number("alpha", 1), name);
  if (op == "Celu") {
    const float alpha = node.number("alpha", 1);
    if (!(alpha > 0)) throw Unsupported("has an alpha of " + std::to_string(alpha) + ", expected one above 0");
    return scaled(1 / alpha, alpha, [&](Id in, const std::string& n) { return elu(g, in, 1, n.c_str()); });
  }
  if (op == "Selu") {
    const float alpha = node.number("alpha", 1.67326319217681884765625f),
                gamma = node.number("gamma", 1.05070102214813232421875f);
    return scaled(1, gamma, [&](Id in, const std::string& n) { return elu(g, in, alpha, n.c_str()); });
  }
  if (op == "ParametricSoftplus")
    return scaled(node.number("beta", 1), node.number("alpha", 1),
                  [&](Id in, const std::string& n) { return softplus(g, in, n.c_str()); });
  if (op == "ScaledTanh")
    return scaled(node.number("beta", 1), node.number("alpha", 1),
                  [&](Id in, const std::string& n) { return tanh(g, in, n.c_str()); });
  if (op == "vitrine.softplus") {
    const float beta = node.a;
    return scaled(beta, 1 / beta, [&](Id in, const std::string& n) { return softplus(g, in, n.c_str()); });
  }
  if (op == "Swish" && node.number("alpha", 1) != 1)
    return multiply(
        g, x, sigmoid(g, affine_map(g, x, node.number("alpha", 1), 0, part(".in").c_str()), part(".gate").c_str()), 1,
        name);
  if (op == "Mish")
    return multiply(g, x, tanh(g, softplus(g, x, (node.name + ".softplus").c_str()), (node.name + ".tanh").c_str()), -1,
                    name);
  if (op == "Gelu") return node.text("approximate", "none") == "tanh" ? gelu_tanh(g, x, name) : gelu(g, x, name);
  if (op == "vitrine.gelu") return gelu(g, x, name);
  if (op == "vitrine.gelu_tanh") return gelu_tanh(g, x, name);
  if (op == "vitrine.silu" || op == "Swish") return silu(g, x, name);
  if (op == "vitrine.hard_sigmoid") return hard_sigmoid(g, x, 1.0f / 6, 0.5f, name);
  throw Unsupported("is of an operator that is not supported");
}

void Importer::activation(const Node& node) {
  const Tensor x = viewed(node, 0);
  result(node, {activation_of(node, x.id), x.dims});
}

void Importer::prelu(const Node& node) {
  const Tensor x = viewed(node, 0);
  const Constant& slope = constant(node, 1, "slope");
  if (!slope.is_float || slope.size() < 1) throw Unsupported("has a slope of shape " + text(slope.dims));
  if (std::all_of(slope.f.begin(), slope.f.end(), [&](float v) { return v == slope.f[0]; }))
    return result(node, {leaky_relu(*builder_, x.id, slope.f[0], node.name.c_str()), x.dims});
  // Slopes are counted from the last dimension on; before opset 7 a list of one each is one a channel.
  Dims dims = slope.dims;
  if (opset_ < 7 && dims.size() == 1) dims.resize(x.dims.size(), 1);
  if (dims.size() == x.dims.size() + 1 && dims[0] == 1) dims.erase(dims.begin());
  if (dims.size() > x.dims.size() || broadcast_dims(x.dims, dims) != x.dims)
    throw Unsupported("has a slope of shape " + text(slope.dims));
  const bool a_channel = dims.size() == x.dims.size() && slope.size() == dims[0] && x.dims.size() <= 3;
  Tensor flat = x;
  std::vector<float> slopes = slope.f;
  if (!a_channel) {
    // Any other slopes: one for each element, which become channels.
    const std::int64_t all = product(x.dims);
    flat = shaped(x, {all}, node.name + ".flat");
    spend(all);
    slopes.clear();
    Dims stride(x.dims.size(), 0);
    std::int64_t step = 1;
    for (std::size_t k = dims.size(); k-- > 0; step *= dims[k])
      if (dims[k] > 1) stride[x.dims.size() - dims.size() + k] = step;
    for (std::int64_t e = 0; e < all; ++e) {
      std::int64_t rest = e, at = 0;
      for (std::size_t k = x.dims.size(); k-- > 0; rest /= x.dims[k]) at += rest % x.dims[k] * stride[k];
      slopes.push_back(slope.f[static_cast<std::size_t>(at)]);
    }
  }
  const Id id = vitrine::prelu(*builder_, flat.id, node.name.c_str());
  weight(node, "weight", std::move(slopes));
  result(node, shaped({id, flat.dims}, x.dims, node.name + ".shaped"));
}

void Importer::clip_node(const Node& node) {
  if (node.op != "Clip") {
    if (node.in.size() == 1) return identity(node);
    const auto scalar = [&](const std::string& in) { return is_constant(in) && constant(in).size() == 1; };
    if (node.in.size() != 2 || (!scalar(node.in[0]) && !scalar(node.in[1]))) return extremum(node);
  }
  const Tensor x = tensor(node, node.op == "Clip" || tensors_.contains(node.in[0]) ? 0 : 1);
  constexpr float largest = 3.402823466e38f;  // JSON knows no infinity
  float low = -largest, high = largest;
  const auto bound = [&](std::size_t k) {
    const Constant& c = constant(node, k, "bound");
    if (c.size() != 1 || c.dims.size() > x.dims.size() + 1) throw Unsupported("has a bound that is no scalar");
    return std::clamp(static_cast<float>(c.at(0)), -largest, largest);
  };
  if (node.op == "Clip") {
    low = node.has(1) ? bound(1) : std::clamp(node.number("min", low), -largest, largest);
    high = node.has(2) ? bound(2) : std::clamp(node.number("max", high), -largest, largest);
  } else {
    if (node.in.size() != 2) throw Unsupported("compares other than a tensor with a scalar");
    (node.op == "Max" ? low : high) = bound(tensors_.contains(node.in[0]) ? 1 : 0);
  }
  if (low == -largest && high == largest)
    pass(node, x);
  else if (low == 0 && high == largest)
    set(node, relu(*builder_, x.id, node.name.c_str()), x.dims.size());
  else
    set(node, clip(*builder_, x.id, low, high, node.name.c_str()), x.dims.size());
}

void Importer::softmax_node(const Node& node) {
  const Tensor x = viewed(node, 0);
  const auto rank = static_cast<std::int64_t>(x.dims.size()) + 1;
  std::int64_t axis = node.integer("axis", opset_ >= 13 ? -1 : 1);
  if (axis < 0) axis += rank;
  // Before opset 13 all dimensions from the axis on are one; where only channels are more than 1, that is the same. A
  // vector's softmax that ends the network is its classes'; another one is inside the network.
  if (axis < 1 || axis >= rank) throw Unsupported("normalises over the batch");
  const bool ends = extra_.contains(node.out[0]) || !readers_.contains(node.out[0]);
  if (builder_->shape(x.id).pixels() != 1 || axis != 1 || !ends) return softmax_over(node, x, axis, opset_ < 13);
  const char* const name = node.name.c_str();
  set(node, node.op == "Softmax" ? softmax(*builder_, x.id, name) : log_softmax(*builder_, x.id, name), x.dims.size());
}

void Importer::pool_channels(const Node& node, const Tensor& x) {
  // Three-dimensional pools that work along one dimension alone, as local response normalisation is exported.
  const Dims kernel = node.integers("kernel_shape"), strides = node.integers("strides", {1, 1, 1}),
             pads = node.integers("pads", Dims(6, 0)), dilations = node.integers("dilations", {1, 1, 1});
  if (x.dims.size() != 4 || kernel.size() != 3 || strides != Dims{1, 1, 1} || pads.size() != 6 || kernel[1] != 1 ||
      kernel[2] != 1 || pads[1] + pads[2] + pads[4] + pads[5] != 0 || dilations != Dims{1, 1, 1} || x.dims[0] != 1)
    throw Unsupported("is a 3-D pool, which is not supported");
  const Tensor flat = shaped(x, {1, x.dims[1], x.dims[2] * x.dims[3]}, node.name + ".rows");
  AvgPool* op = builder_->make<AvgPool>();
  if (op == nullptr) return set(node, no_id, 1);
  op->window.kernel_h = narrow(kernel[0], "a kernel");
  op->window.pad_top = narrow(pads[0], "padding");
  op->window.pad_bottom = narrow(pads[3], "padding");
  op->count_padding = node.integer("count_include_pad", 0) != 0;
  const Id in[] = {flat.id};
  const Id id = builder_->add(op, in, {}, node.name.c_str());
  Dims dims = x.dims;
  dims[1] = builder_->shape(id).h();
  result(node, shaped({id, {1, dims[1], dims[2] * dims[3]}}, dims, node.name + ".shaped"));
}

void Importer::pool(const Node& node) {
  if (viewed(node, 0).dims.size() > 3 && node.op == "AveragePool") return pool_channels(node, viewed(node, 0));
  const Tensor x = tensor(node, 0);
  if (node.out.size() > 1 && !node.out[1].empty() && readers_.contains(node.out[1]))
    throw Unsupported("hands out its indices, which are not supported");
  const Spatial s = spatial(node, x, {});
  const auto fill = [&](Window& w) {
    set_window(w, s);
    w.ceil_mode = node.integer("ceil_mode", 0) != 0;
  };
  const Id in[] = {x.id};
  if (node.op == "MaxPool") {
    MaxPool* op = builder_->make<MaxPool>();
    if (op != nullptr) fill(op->window);
    return set(node, builder_->add(op, in, {}, node.name.c_str()), x.dims.size());
  }
  AvgPool* op = builder_->make<AvgPool>();
  if (op != nullptr) {
    fill(op->window);
    op->count_padding = node.integer("count_include_pad", 0) != 0;
  }
  set(node, builder_->add(op, in, {}, node.name.c_str()), x.dims.size());
}

void Importer::global_pool(const Node& node) {
  const Tensor x = tensor(node, 0);
  if (x.dims.size() < 2) throw Unsupported("reads a tensor without height and width");
  set(node,
      node.op == "GlobalMaxPool" ? global_max_pool(*builder_, x.id, node.name.c_str())
                                 : global_avg_pool(*builder_, x.id, node.name.c_str()),
      x.dims.size());
}

void Importer::reduce(const Node& node) {
  if (viewed(node, 0).dims.size() > 3) return reduce_any(node);
  const Tensor x = tensor(node, 0);
  Dims axes = list(node, "axes", 1);
  const auto rank = static_cast<std::int64_t>(x.dims.size()) + 1;
  for (std::int64_t& a : axes) a = a < 0 ? a + rank : a;
  std::sort(axes.begin(), axes.end());
  if (axes.empty() || axes.back() >= rank)
    throw Unsupported("takes in the batch, or a dimension that its input does not have");
  GraphBuilder& g = *builder_;
  Id id = x.id;
  // Pools work on the last two dimensions. The first two of (H,W,C), or channels, are brought there first.
  if (axes == Dims{1, 2})
    id = transpose(g, id, 3, 1, 2, (node.name + ".moved").c_str());
  else if (axes == Dims{1})
    id = transpose(g, id, 2, 1, 3, (node.name + ".moved").c_str());
  else if (axes != Dims{2, 3} && axes != Dims{2} && axes != Dims{3})
    return reduce_any(node);
  if (axes.size() == 2 || rank < 4) {
    id = node.op == "ReduceMax" ? global_max_pool(g, id, node.name.c_str()) : global_avg_pool(g, id, node.name.c_str());
  } else {
    Window window;
    (axes[0] == 3 ? window.kernel_w : window.kernel_h) =
        narrow(x.dims[static_cast<std::size_t>(axes[0] - 1)], "a size");
    const Id in[] = {id};
    if (node.op == "ReduceMax") {
      MaxPool* op = g.make<MaxPool>();
      if (op != nullptr) op->window = window;
      id = g.add(op, in, {}, node.name.c_str());
    } else {
      AvgPool* op = g.make<AvgPool>();
      if (op != nullptr) op->window = window;
      id = g.add(op, in, {}, node.name.c_str());
    }
  }
  set(node, id, 3);
  const bool keep = node.integer("keepdims", 1) != 0;
  Dims dims;
  std::int64_t count = 1;
  for (std::int64_t k = 1; k < rank; ++k) {
    const bool taken = std::find(axes.begin(), axes.end(), k) != axes.end();
    const std::int64_t size = x.dims[static_cast<std::size_t>(k - 1)];
    if (taken) count *= size;
    if (!taken || keep) dims.push_back(taken ? 1 : size);
  }
  if (dims.empty()) return reduce_any(node);
  if (node.op == "ReduceSum") {
    Node part;
    part.name = node.name + ".sum";
    part.op = node.op;
    part.out = node.out;
    scale_by(part, {id, {}}, static_cast<float>(count), 0);
    id = tensors_.at(node.out[0]).id;
  }
  // A pool keeps channels in front and dimensions in their places; what the file says may be another shape.
  const Shape shape = shape_of(dims);
  if (shape != g.shape(id))
    set(node, reshape(g, id, shape.c(), shape.h(), shape.w(), (node.name + ".kept").c_str()), 3);
  tensors_[node.out[0]].dims = dims;
}

}  // namespace vitrine::onnx
