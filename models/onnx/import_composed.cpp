// Operators that are composed of the layers' ops: views of any kind, broadcasting, reductions, norms, softmax inside a
// network, products with constant matrices, resampling by any weights. Every rule passes what they are made of.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/conv2d.h"
#include "layers/pool.h"
#include "layers/product.h"
#include "layers/rule_embedded.h"
#include "layers/scale.h"
#include "layers/softmax.h"
#include "layers/view.h"
#include "models/onnx/importer.h"

namespace vitrine::onnx {
namespace {

// The shape in which a tensor of any number of dimensions is stored: those beyond the third are one with it.
Shape stored_shape(const Dims& d) {
  if (d.empty()) return {1, 1};
  if (d.size() <= 3) return shape_of(d);
  return shape_of({d[0], d[1], product(Dims(d.begin() + 2, d.end()))});
}

Dims dense_strides(const Dims& d) {
  Dims s(d.size(), 1);
  for (std::size_t k = d.size(); k-- > 1;) s[k - 1] = s[k] * d[k];
  return s;
}

// Dimensions of 1 are left out, and those that one stride walks are one.
void merge(Dims& size, Dims& stride) {
  std::size_t count = 0;
  for (std::size_t k = 0; k < size.size(); ++k) {
    if (size[k] == 1) continue;
    if (count > 0 && stride[count - 1] == size[k] * stride[k]) {
      size[count - 1] *= size[k];
      stride[count - 1] = stride[k];
    } else {
      size[count] = size[k];
      stride[count++] = stride[k];
    }
  }
  size.resize(count);
  stride.resize(count);
}

}  // namespace

Tensor Importer::shaped(const Tensor& t, const Dims& to, const std::string& name) {
  const Shape want = stored_shape(to);
  if (builder_->shape(t.id) == want) return {t.id, to};
  if (to.size() == 1) return {flatten(*builder_, t.id, fresh(name).c_str()), to};
  return {reshape(*builder_, t.id, want.c(), want.h(), want.w(), fresh(name).c_str()), to};
}

Tensor Importer::strided(const Tensor& t, Dims size, Dims stride, std::int64_t start, const Dims& to,
                         const std::string& name) {
  merge(size, stride);
  if (start == 0 && product(to) == product(t.dims) && (size.empty() || (size.size() == 1 && stride[0] == 1)))
    return shaped(t, to, name);
  if (size.size() > StridedView::dimensions)
    throw Unsupported("moves elements along more than six dimensions: " + text(size));
  std::vector<std::int32_t> sizes, strides;
  for (std::size_t k = 0; k < size.size(); ++k) {
    sizes.push_back(narrow(size[k], "a size"));
    strides.push_back(narrow(stride[k], "a stride"));
  }
  return {
      strided_view(*builder_, t.id, sizes, strides, narrow(start, "a start"), stored_shape(to), fresh(name).c_str()),
      to};
}

Tensor Importer::permuted(const Tensor& t, const Dims& order, const std::string& name) {
  const Dims dense = dense_strides(t.dims);
  Dims size, stride;
  for (const std::int64_t d : order) {
    size.push_back(t.dims[static_cast<std::size_t>(d)]);
    stride.push_back(dense[static_cast<std::size_t>(d)]);
  }
  const Dims to = size;
  return strided(t, std::move(size), std::move(stride), 0, to, name);
}

Dims Importer::broadcast_dims(const Dims& a, const Dims& b) {
  const std::size_t rank = std::max(a.size(), b.size());
  Dims out(rank, 1);
  for (std::size_t k = 0; k < rank; ++k) {
    const std::int64_t x = k + a.size() >= rank ? a[k + a.size() - rank] : 1,
                       y = k + b.size() >= rank ? b[k + b.size() - rank] : 1;
    if (x != y && x != 1 && y != 1)
      throw Unsupported("combines tensors of shapes " + text(a) + " and " + text(b) +
                        " (without the batch), which do not broadcast");
    out[k] = std::max(x, y);
  }
  return out;
}

Dims Importer::joint_dims(const Dims& a, const Dims& b) {
  if (a.size() != b.size())
    throw Unsupported("combines tensors of shapes " + text(a) + " and " + text(b) +
                      " (without the batch), of which one's batch would meet another dimension of the other");
  return broadcast_dims(a, b);
}

Dims Importer::without_batch(const Constant& c, std::size_t rank) {
  if (c.size() < 1 || c.dims.size() > rank + 1 || (c.dims.size() == rank + 1 && c.dims[0] != 1))
    throw Unsupported("combines a tensor of " + std::to_string(rank + 1) + " dimensions with a constant of shape " +
                      text(c.dims));
  return c.dims.size() == rank + 1 ? Dims(c.dims.begin() + 1, c.dims.end()) : c.dims;
}

Tensor Importer::expanded_to(const Tensor& t, const Dims& to, const std::string& name) {
  if (t.dims == to) return shaped(t, to, name);  // of many dimensions it may be stored in any shape
  const Dims dense = dense_strides(t.dims);
  Dims stride(to.size(), 0);
  for (std::size_t k = 0; k < t.dims.size(); ++k)
    if (t.dims[k] > 1) stride[to.size() - t.dims.size() + k] = dense[k];
  if (product(to) > (std::int64_t{1} << 31)) throw Unsupported("expands to " + text(to) + ", which is too large");
  return strided(t, to, std::move(stride), 0, to, name);
}

void Importer::result(const Node& node, const Tensor& t) {
  set(node, t.id, 3);
  tensors_[node.out[0]].dims = t.dims;
}

Tensor Importer::mapped(const Tensor& t, float factor, float shift, const std::string& name) {
  return {affine_map(*builder_, t.id, factor, shift, fresh(name).c_str()), t.dims};
}

Tensor Importer::constant_tensor(const Tensor& like, const Constant& c, const Dims& dims, const std::string& name) {
  // An affine function of the network's value with a factor of 0: no signal passes it.
  const Dims each{product(dims)};
  const Tensor any = strided(like, each, {0}, 0, each, name + ".place");
  const std::string own = fresh(name);
  const Id id = scale(*builder_, any.id, own.c_str());
  if (!builder_->ok()) fail(sentence(builder_->failure()));
  std::vector<float> values;
  for (std::int64_t k = 0; k < each[0]; ++k) values.push_back(static_cast<float>(c.at(static_cast<std::size_t>(k))));
  spend(2 * each[0]);
  weights_[own + ".weight"].assign(values.size(), 0);
  weights_[own + ".bias"] = std::move(values);
  for (const Id p : builder_->nodes().back().par) builder_->set_trainable(p, false);
  return shaped({id, each}, dims, name + ".shaped");
}

void Importer::with_constant(const Node& node, const Tensor& given, const Constant& c, const Dims& c_dims,
                             const std::function<std::pair<float, float>(float)>& coefficients) {
  const Dims dims = broadcast_dims(given.dims, c_dims);
  const Tensor x = expanded_to(given, dims, node.name + ".expanded");
  const std::size_t rank = dims.size(), missing = rank - c_dims.size();
  std::vector<std::size_t> varying;
  for (std::size_t k = 0; k < c_dims.size(); ++k)
    if (c_dims[k] > 1) varying.push_back(k + missing);
  std::vector<float> w, b;
  const auto push = [&](std::size_t k) {
    const auto [factor, shift] = coefficients(static_cast<float>(c.at(k)));
    w.push_back(factor);
    b.push_back(shift);
  };
  const auto scaled = [&](const Tensor& t) {
    spend(2 * static_cast<std::int64_t>(w.size()));
    scale_by(node, t, std::move(w), std::move(b));
    return tensors_.at(node.out[0]).id;
  };
  if (varying.size() == 1) {
    // One value for each place of one dimension: that dimension becomes the channels.
    const std::size_t a = varying[0];
    for (std::int64_t k = 0; k < dims[a]; ++k) push(static_cast<std::size_t>(k));
    const Dims three{product(Dims(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(a))), dims[a],
                     product(Dims(dims.begin() + static_cast<std::ptrdiff_t>(a) + 1, dims.end()))};
    const Tensor turned = permuted(shaped(x, three, node.name + ".rows"), {1, 0, 2}, node.name + ".moved");
    const Tensor back = permuted({scaled(turned), turned.dims}, {1, 0, 2}, node.name + ".back");
    return result(node, shaped(back, dims, node.name + ".shaped"));
  }
  // One value for each element, or for all.
  const Dims dense = dense_strides(c_dims), whole = dense_strides(dims);
  const std::int64_t elements = product(dims);
  spend(2 * elements);
  for (std::int64_t k = 0; k < elements; ++k) {
    std::int64_t at = 0;
    for (std::size_t d = 0; d < c_dims.size(); ++d)
      if (c_dims[d] > 1) at += k / whole[d + missing] % dims[d + missing] * dense[d];
    push(static_cast<std::size_t>(at));
  }
  const Tensor flat = shaped(x, {elements}, node.name + ".flat");
  result(node, shaped({scaled(flat), flat.dims}, dims, node.name + ".shaped"));
}

Tensor Importer::pooled(const Tensor& x, const Dims& axes, bool maximum, bool keep, const std::string& name) {
  Dims order, dims, kept, taken;
  for (std::size_t k = 0; k < x.dims.size(); ++k) {
    const bool in = std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(k) + 1) != axes.end();
    (in ? taken : kept).push_back(static_cast<std::int64_t>(k));
    if (!in || keep) dims.push_back(in ? 1 : x.dims[k]);
  }
  order = kept;
  order.insert(order.end(), taken.begin(), taken.end());
  std::int64_t rows = 1, count = 1;
  for (const std::int64_t k : kept) rows *= x.dims[static_cast<std::size_t>(k)];
  for (const std::int64_t k : taken) count *= x.dims[static_cast<std::size_t>(k)];
  const Tensor moved = shaped(permuted(x, order, name + ".moved"), {rows, count, 1}, name + ".rows");
  const std::string own = fresh(name);
  const Id id =
      maximum ? global_max_pool(*builder_, moved.id, own.c_str()) : global_avg_pool(*builder_, moved.id, own.c_str());
  return shaped({id, {rows, 1, 1}}, dims, name + ".kept");
}

Dims Importer::reduced_axes(const Node& node, std::size_t rank) {
  Dims axes = list(node, "axes", 1);
  if (axes.empty()) throw Unsupported("takes in the batch");
  for (std::int64_t& a : axes) a = a < 0 ? a + static_cast<std::int64_t>(rank) : a;
  std::sort(axes.begin(), axes.end());
  if (axes.front() < 1 || axes.back() >= static_cast<std::int64_t>(rank) ||
      std::adjacent_find(axes.begin(), axes.end()) != axes.end())
    throw Unsupported("takes in the batch, or a dimension that its input does not have");
  return axes;
}

void Importer::reduce_any(const Node& node) {
  const Tensor x = viewed(node, 0);
  const Dims axes = reduced_axes(node, x.dims.size() + 1);
  const bool keep = node.integer("keepdims", 1) != 0;
  GraphBuilder& g = *builder_;
  const std::string& op = node.op;
  std::int64_t count = 1;
  for (const std::int64_t a : axes) count *= x.dims[static_cast<std::size_t>(a - 1)];
  if (op == "ReduceProd") return reduce_product(node, x, axes, keep);
  Tensor t = x;
  const auto inner = [&](const char* suffix) { return fresh(node.name + suffix); };
  if (op == "ReduceL1") t.id = abs(g, x.id, inner(".size").c_str());
  if (op == "ReduceL2" || op == "ReduceSumSquare") t.id = multiply(g, x.id, x.id, -1, inner(".square").c_str());
  if (op == "ReduceMin") t = mapped(x, -1, 0, node.name + ".negated");
  Tensor shift;
  if (op == "ReduceLogSumExp") {
    // max + log sum exp(x - max), as no sum overflows then.
    shift = pooled(x, axes, true, true, node.name + ".largest");
    const Tensor wide = expanded_to(mapped(shift, -1, 0, node.name + ".negated"), x.dims, node.name + ".wide");
    t.id = exp(g, add(g, x.id, wide.id, inner(".shifted").c_str()), inner(".exp").c_str());
  }
  t = pooled(t, axes, op == "ReduceMax" || op == "ReduceMin", keep, node.name + ".pooled");
  const auto n = static_cast<float>(count);
  if (op == "ReduceMin") t = mapped(t, -1, 0, node.name);
  if (op == "ReduceSum" || op == "ReduceL1" || op == "ReduceSumSquare") t = mapped(t, n, 0, node.name);
  if (op == "ReduceL2") t.id = vitrine::power(g, mapped(t, n, 0, node.name + ".sum").id, 0.5f, node.name.c_str());
  if (op == "ReduceLogSum" || op == "ReduceLogSumExp")
    t.id = log(g, mapped(t, n, 0, node.name + ".sum").id, (op == "ReduceLogSum" ? node.name : inner(".log")).c_str());
  if (op == "ReduceLogSumExp") t.id = add(g, t.id, shaped(shift, t.dims, node.name + ".kept").id, node.name.c_str());
  if (t.dims.empty() && builder_->shape(t.id).per_image() != 1) throw Unsupported("leaves nothing but the batch");
  result(node, t);
}

void Importer::reduce_product(const Node& node, const Tensor& x, const Dims& axes, bool keep) {
  if (axes.size() != 1) throw Unsupported("multiplies along several dimensions; one is supported");
  const auto axis = static_cast<std::size_t>(axes[0] - 1);
  if (x.dims[axis] > 64) throw Unsupported("multiplies more than 64 elements");
  const Dims dense = dense_strides(x.dims);
  Dims dims = x.dims, size = x.dims;
  size[axis] = 1;
  if (keep)
    dims[axis] = 1;
  else
    dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis));
  Tensor all;
  for (std::int64_t k = 0; k < x.dims[axis]; ++k) {
    const std::string name = node.name + "." + std::to_string(k);
    const Tensor one = strided(x, size, dense, k * dense[axis], dims, name);
    const bool last = k + 1 == x.dims[axis];
    all = k == 0
              ? one
              : Tensor{multiply(*builder_, all.id, one.id, -1, (last ? node.name : fresh(name + ".product")).c_str()),
                       dims};
  }
  result(node, all);
}

void Importer::normalise(const Node& node, const Tensor& x, std::int64_t groups, float eps, const std::string& name) {
  GraphBuilder& g = *builder_;
  const std::int64_t each = product(x.dims) / std::max<std::int64_t>(groups, 1);
  if (groups < 1 || groups * each != product(x.dims))
    throw Unsupported("normalises " + text(x.dims) + " (without the batch) in " + std::to_string(groups) + " groups");
  const Dims rows{groups, each, 1};
  const Tensor flat = shaped(x, rows, node.name + ".rows");
  const Tensor mean = {global_avg_pool(g, flat.id, fresh(node.name + ".mean").c_str()), {groups, 1, 1}};
  const Tensor minus = expanded_to(mapped(mean, -1, 0, node.name + ".negated"), rows, node.name + ".wide");
  const Id centred = add(g, flat.id, minus.id, fresh(node.name + ".centred").c_str());
  const Id square = multiply(g, centred, centred, -1, fresh(node.name + ".square").c_str());
  const Tensor variance = {global_avg_pool(g, square, fresh(node.name + ".variance").c_str()), {groups, 1, 1}};
  const Id inverse = vitrine::power(g, mapped(variance, 1, eps, node.name + ".stable").id, -0.5f,
                                    fresh(node.name + ".inverse").c_str());
  result(node, shaped({multiply(g, centred, inverse, 1, fresh(name).c_str()), rows}, x.dims, name + ".shaped"));
}

void Importer::norm(const Node& node) {
  const Tensor x = viewed(node, 0);
  if (x.dims.empty()) throw Unsupported("reads a tensor of one dimension");
  const bool layer = node.op == "LayerNormalization", group = node.op == "GroupNormalization";
  const bool affine = node.op != "MeanVarianceNormalization";
  std::int64_t groups = x.dims[0], axis = 1;
  if (layer) {
    axis = node.integer("axis", -1);
    axis = axis < 0 ? axis + static_cast<std::int64_t>(x.dims.size()) + 1 : axis;
    if (axis < 1 || axis > static_cast<std::int64_t>(x.dims.size())) throw Unsupported("normalises over the batch");
    groups = product(Dims(x.dims.begin(), x.dims.begin() + axis - 1));
    for (std::size_t k = 1; k < node.out.size(); ++k)
      if (!node.out[k].empty() && readers_.contains(node.out[k])) throw Unsupported("hands out its mean or deviation");
  }
  if (group) groups = node.integer("num_groups", 1);
  const bool weighted = affine && node.has(1), biased = affine && node.has(2);
  normalise(node, x, groups, affine ? node.number("epsilon", 1e-5f) : 1e-9f,
            weighted ? node.name + ".normal" : node.name);
  if (!weighted) return;
  const Constant& w = constant(node, 1, "scale");
  Constant none;
  none.dims = w.dims;
  if (!biased) none.f.assign(static_cast<std::size_t>(w.size()), 0);
  const Constant& b = biased ? constant(node, 2, "bias") : none;
  if (!w.is_float || !b.is_float || w.dims != b.dims)
    throw Unsupported("has a scale of shape " + text(w.dims) + " and a bias of shape " + text(b.dims));
  Dims each = w.dims;
  const auto take = [&](std::size_t k) { return std::pair<float, float>{w.f[k], b.f[k]}; };
  Constant index;
  index.dims = each;
  for (std::int64_t k = 0; k < w.size(); ++k) index.f.push_back(static_cast<float>(k));
  Tensor normal = tensors_.at(node.out[0]);
  if (!layer) {
    const std::int64_t channels = group && w.size() == groups ? groups : x.dims[0];
    if (w.size() != channels) throw Unsupported("has a scale of shape " + text(w.dims));
    each = {channels};
    // Channels, or groups of them, first; the rest is one.
    normal = shaped(normal, {channels, product(x.dims) / channels}, node.name + ".channels");
    each.push_back(1);
  }
  if (each.size() > normal.dims.size()) throw Unsupported("has a scale of shape " + text(w.dims));
  with_constant(node, normal, index, each, [&](float k) { return take(static_cast<std::size_t>(k)); });
  result(node, shaped(tensors_.at(node.out[0]), x.dims, node.name + ".whole"));
}

void Importer::softmax_over(const Node& node, const Tensor& x, std::int64_t axis, bool tail) {
  const auto a = static_cast<std::size_t>(axis - 1);
  Dims order, rows;
  if (tail) {
    // Before opset 13 all dimensions from the axis on are one.
    rows = {1, product(Dims(x.dims.begin(), x.dims.begin() + static_cast<std::ptrdiff_t>(a))),
            product(Dims(x.dims.begin() + static_cast<std::ptrdiff_t>(a), x.dims.end()))};
    const Tensor flat = shaped(x, rows, node.name + ".rows");
    const Id id = row_softmax(*builder_, flat.id, node.op == "LogSoftmax", node.name.c_str());
    return result(node, shaped({id, rows}, x.dims, node.name + ".shaped"));
  }
  for (std::size_t k = 0; k < x.dims.size(); ++k)
    if (k != a) order.push_back(static_cast<std::int64_t>(k));
  order.push_back(static_cast<std::int64_t>(a));
  const Tensor turned = permuted(x, order, node.name + ".moved");
  rows = {1, product(turned.dims) / x.dims[a], x.dims[a]};
  const Tensor flat = shaped(turned, rows, node.name + ".rows");
  const Id id = row_softmax(*builder_, flat.id, node.op == "LogSoftmax", node.name.c_str());
  const Tensor back = shaped({id, rows}, turned.dims, node.name + ".shaped");
  Dims inverse(order.size());
  for (std::size_t k = 0; k < order.size(); ++k)
    inverse[static_cast<std::size_t>(order[k])] = static_cast<std::int64_t>(k);
  result(node, permuted(back, inverse, node.name + ".back"));
}

void Importer::linear_over(const Node& node, const Tensor& x, std::size_t axis, std::int64_t outputs,
                           std::vector<float> w, const Constant* bias, const std::string& name, bool trainable) {
  const std::int64_t inputs = x.dims[axis];
  Dims order{static_cast<std::int64_t>(axis)}, dims = x.dims, inverse(x.dims.size());
  for (std::size_t k = 0; k < x.dims.size(); ++k)
    if (k != axis) order.push_back(static_cast<std::int64_t>(k));
  for (std::size_t k = 0; k < order.size(); ++k)
    inverse[static_cast<std::size_t>(order[k])] = static_cast<std::int64_t>(k);
  const Tensor turned = permuted(x, order, name + ".moved");
  const Tensor flat = shaped(turned, {inputs, product(x.dims) / inputs, 1}, name + ".rows");
  Conv2d* op = builder_->make<Conv2d>();
  if (op == nullptr) return set(node, no_id, 1);
  op->out = narrow(outputs, "outputs");
  op->bias = bias != nullptr;
  Node part;
  part.name = fresh(name);
  part.op = node.op;
  part.out = {node.out[0]};
  append(part, op, flat, {op->out, narrow(inputs, "inputs"), 1, 1}, 4, std::move(w), bias, 3);
  if (!trainable)
    for (const Id p : builder_->nodes().back().par) builder_->set_trainable(p, false);
  Dims made = turned.dims;
  made[0] = outputs;
  const Tensor raw = tensors_.at(node.out[0]);
  result(part, permuted(shaped(raw, made, name + ".shaped"), inverse, name + ".back"));
  alias_output(part);
}

void Importer::extremum(const Node& node) {
  // The largest of several tensors is a max pool over them, one beside the other; the smallest that of their negatives.
  Dims dims = viewed(node, 0).dims;
  for (std::size_t k = 1; k < node.in.size(); ++k) dims = joint_dims(dims, viewed(node, k).dims);
  const std::int64_t each = product(dims), count = static_cast<std::int64_t>(node.in.size());
  std::vector<Id> parts;
  for (std::size_t k = 0; k < node.in.size(); ++k) {
    const std::string name = node.name + "." + std::to_string(k);
    Tensor t = expanded_to(viewed(node, k), dims, name + ".wide");
    if (node.op == "Min") t = mapped(t, -1, 0, name + ".negated");
    parts.push_back(shaped(t, {1, 1, each}, name + ".row").id);
  }
  const Id joined = concat(*builder_, parts, fresh(node.name + ".joined").c_str(), 2);
  MaxPool* op = builder_->make<MaxPool>();
  if (op == nullptr) return set(node, no_id, 1);
  op->window.kernel_h = narrow(count, "tensors");
  const Id in[] = {joined};
  const bool minimum = node.op == "Min";
  Tensor t{builder_->add(op, in, {}, (minimum ? fresh(node.name + ".largest") : node.name).c_str()), {1, 1, each}};
  if (minimum) t = mapped(t, -1, 0, node.name);
  result(node, shaped(t, dims, node.name + ".shaped"));
}

void Importer::depth_and_space(const Node& node) {
  const Tensor x = tensor(node, 0);
  const std::int64_t b = node.integer("blocksize", 1);
  if (x.dims.size() != 3 || b < 1 || b > 1024) throw Unsupported("has no blocks of height and width");
  const std::int64_t c = x.dims[0], h = x.dims[1], w = x.dims[2];
  if (node.op == "SpaceToDepth") {
    if (h % b != 0 || w % b != 0) throw Unsupported("cuts " + text(x.dims) + " into blocks of " + std::to_string(b));
    const Tensor t = permuted({x.id, {c, h / b, b, w / b, b}}, {2, 4, 0, 1, 3}, node.name);
    return result(node, shaped(t, {c * b * b, h / b, w / b}, node.name + ".shaped"));
  }
  if (c % (b * b) != 0) throw Unsupported("makes blocks of " + std::to_string(b) + " from " + text(x.dims));
  const bool columns_first = node.text("mode", "DCR") == "CRD";
  const std::int64_t out = c / (b * b);
  const Tensor t = columns_first ? permuted({x.id, {out, b, b, h, w}}, {0, 3, 1, 4, 2}, node.name)
                                 : permuted({x.id, {b, b, out, h, w}}, {2, 3, 0, 4, 1}, node.name);
  result(node, shaped(t, {out, h * b, w * b}, node.name + ".shaped"));
}

void Importer::tile(const Node& node) {
  const Tensor x = viewed(node, 0);
  const Constant& c = constant(node, 1, "repeats");
  if (c.is_float || c.i.size() != x.dims.size() + 1 || c.i[0] != 1)
    throw Unsupported("repeats the batch, or another number of dimensions");
  const Dims dense = dense_strides(x.dims);
  Dims size, stride, dims;
  for (std::size_t k = 0; k < x.dims.size(); ++k) {
    const std::int64_t times = c.i[k + 1];
    if (times < 1 || times > (1 << 20) || x.dims[k] * times > (1 << 28)) throw Unsupported("repeats " + text(c.i));
    size.insert(size.end(), {times, x.dims[k]});
    stride.insert(stride.end(), {0, dense[k]});
    dims.push_back(x.dims[k] * times);
  }
  if (std::all_of(c.i.begin(), c.i.end(), [](std::int64_t v) { return v == 1; })) return pass(node, x);
  result(node, strided(x, size, stride, 0, dims, node.name));
}

namespace {

// A list of places as sizes and strides of nested loops; false if they are none.
bool as_loops(const Dims& places, Dims& size, Dims& stride) {
  Dims list = places;
  while (list.size() > 1) {
    const std::int64_t step = list[1] - list[0];
    std::size_t run = 2;
    while (run < list.size() && list[run] - list[run - 1] == step) ++run;
    if (list.size() % run != 0) return false;
    Dims starts;
    for (std::size_t k = 0; k < list.size(); ++k) {
      if (k % run == 0)
        starts.push_back(list[k]);
      else if (list[k] - list[k - 1] != step)
        return false;
    }
    size.insert(size.begin(), static_cast<std::int64_t>(run));
    stride.insert(stride.begin(), step);
    list = std::move(starts);
  }
  return true;
}

}  // namespace

Tensor Importer::picked(const Node& node, const Tensor& x, std::size_t axis, const Dims& places,
                        const std::string& name) {
  const Dims dense = dense_strides(x.dims);
  Dims to = x.dims;
  to[axis] = static_cast<std::int64_t>(places.size());
  Dims size(x.dims.begin(), x.dims.begin() + static_cast<std::ptrdiff_t>(axis)),
      stride(dense.begin(), dense.begin() + static_cast<std::ptrdiff_t>(axis)), inner, steps;
  if (as_loops(places, inner, steps)) {
    for (std::size_t k = 0; k < inner.size(); ++k) {
      size.push_back(inner[k]);
      stride.push_back(steps[k] * dense[axis]);
    }
    size.insert(size.end(), x.dims.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.dims.end());
    stride.insert(stride.end(), dense.begin() + static_cast<std::ptrdiff_t>(axis) + 1, dense.end());
    Dims merged = size, strides = stride;
    merge(merged, strides);
    // Places that are met twice along strides of their own are picked by a matrix.
    bool twice = merged.size() > StridedView::dimensions;
    std::vector<std::pair<std::int64_t, std::int64_t>> order;
    for (std::size_t k = 0; k < merged.size(); ++k)
      if (strides[k] != 0) order.emplace_back(std::abs(strides[k]), merged[k]);
    std::sort(order.begin(), order.end());
    std::int64_t reach = 0;
    for (const auto& [apart, count] : order) twice = twice || apart <= reach, reach += (count - 1) * apart;
    if (!twice) return strided(x, size, stride, places[0] * dense[axis], to, name);
  }
  spend(static_cast<std::int64_t>(places.size()) * x.dims[axis]);
  std::vector<float> w(places.size() * static_cast<std::size_t>(x.dims[axis]), 0);
  for (std::size_t k = 0; k < places.size(); ++k)
    w[k * static_cast<std::size_t>(x.dims[axis]) + static_cast<std::size_t>(places[k])] = 1;
  linear_over(node, x, axis, to[axis], std::move(w), nullptr, name, false);
  return tensors_.at(node.out[0]);
}

void Importer::gather_node(const Node& node) {
  const Tensor x = viewed(node, 0);
  const Constant& c = constant(node, 1, "list of indices");
  std::int64_t axis = node.integer("axis", 0);
  if (axis < 0) axis += static_cast<std::int64_t>(x.dims.size()) + 1;
  if (axis < 1 || axis > static_cast<std::int64_t>(x.dims.size())) throw Unsupported("picks images of the batch");
  if (c.is_float || c.size() < 1) throw Unsupported("picks by indices that are no whole numbers");
  const auto a = static_cast<std::size_t>(axis - 1);
  Dims places = c.i;
  for (std::int64_t& p : places) {
    const std::int64_t given = p;
    p = p < 0 ? p + x.dims[a] : p;
    if (p < 0 || p >= x.dims[a])
      throw Unsupported("picks element " + std::to_string(given) + " of " + std::to_string(x.dims[a]));
  }
  Dims dims(x.dims.begin(), x.dims.begin() + static_cast<std::ptrdiff_t>(a));
  dims.insert(dims.end(), c.dims.begin(), c.dims.end());
  dims.insert(dims.end(), x.dims.begin() + static_cast<std::ptrdiff_t>(a) + 1, x.dims.end());
  if (dims.empty()) dims = {1};  // a vector's element: one score
  result(node, shaped(picked(node, x, a, places, node.name), dims, node.name + ".shaped"));
}

void Importer::pad_by_content(const Node& node, const Tensor& x, const Dims& pads, const std::string& mode) {
  Tensor t = x;
  const std::size_t rank = x.dims.size() + 1;
  for (std::size_t axis = 0; axis < x.dims.size(); ++axis) {
    const std::int64_t before = pads[axis + 1], after = pads[rank + axis + 1], n = x.dims[axis];
    if (before == 0 && after == 0) continue;
    if (std::abs(before) > (1 << 20) || std::abs(after) > (1 << 20)) throw Unsupported("has padding beyond 2^20");
    Dims places;
    for (std::int64_t k = -before; k < n + after; ++k) {
      std::int64_t p = k;
      if (mode == "edge")
        p = std::clamp<std::int64_t>(k, 0, n - 1);
      else if (mode == "wrap")
        p = (k % n + n) % n;
      else if (n == 1)
        p = 0;
      else
        p = std::abs((k % (2 * n - 2) + 2 * n - 2) % (2 * n - 2)), p = p < n ? p : 2 * n - 2 - p;
      places.push_back(p);
    }
    if (places.empty()) throw Unsupported("crops its input away");
    // Runs of places are views, one beside the other.
    std::vector<Id> parts;
    Dims dims = t.dims;
    const Dims dense = dense_strides(t.dims);
    for (std::size_t from = 0; from < places.size();) {
      std::size_t to = from + 1;
      const std::int64_t step = to < places.size() ? places[to] - places[from] : 1;
      while (to < places.size() && std::abs(step) <= 1 && places[to] - places[to - 1] == step) ++to;
      Dims size = t.dims, stride = dense;
      size[axis] = static_cast<std::int64_t>(to - from);
      stride[axis] = step * dense[axis];
      const std::string name = node.name + "." + std::to_string(axis) + "." + std::to_string(parts.size());
      parts.push_back(strided(t, size, stride, places[from] * dense[axis], size, name).id);
      from = to;
    }
    dims[axis] = static_cast<std::int64_t>(places.size());
    const std::string name = fresh(node.name + "." + std::to_string(axis));
    t = {parts.size() == 1 ? parts[0] : concat(*builder_, parts, name.c_str(), static_cast<std::int32_t>(axis) + 1),
         dims};
  }
  if (t.id == x.id) return pass(node, x);
  result(node, t);
}

}  // namespace vitrine::onnx
