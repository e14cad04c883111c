// What moves elements: shapes, slices, padding, resampling.
#include <algorithm>
#include <cmath>

#include "layers/upsample.h"
#include "layers/view.h"
#include "models/onnx/importer.h"

namespace vitrine::onnx {

void Importer::shape(const Node& node) {
  Constant c;
  c.is_float = false;
  if (node.has(0) && is_constant(node.in[0])) {
    c.i = constant(node.in[0]).dims;
  } else {
    const Tensor& t = viewed(node, 0);
    c.i = {batch_marker};
    c.i.insert(c.i.end(), t.dims.begin(), t.dims.end());
  }
  const auto rank = static_cast<std::int64_t>(c.i.size());
  const std::int64_t start = node.integer("start", 0), end = node.integer("end", rank);
  const std::int64_t from = std::clamp<std::int64_t>(start < 0 ? start + rank : start, 0, rank),
                     to = std::clamp<std::int64_t>(end < 0 ? end + rank : end, from, rank);
  c.i = Dims(c.i.begin() + from, c.i.begin() + to);
  c.dims = {static_cast<std::int64_t>(c.i.size())};
  constants_[node.out[0]] = std::move(c);
}

void Importer::identity(const Node& node) {
  if (node.op == "Cast") {
    const std::int64_t to = node.integer("to", pb::TensorProto::FLOAT);
    if (to != pb::TensorProto::FLOAT && to != pb::TensorProto::FLOAT16 && to != pb::TensorProto::DOUBLE &&
        to != pb::TensorProto::BFLOAT16)
      throw Unsupported("casts to a type that is no float");
  }
  if (node.op == "Dropout" && node.has(2) && is_constant(node.in[2]) && constant(node.in[2]).size() == 1 &&
      constant(node.in[2]).at(0) != 0)
    throw Unsupported("is in training mode: export the model in evaluation mode");
  pass(node, Tensor(viewed(node, 0)));  // a copy: `viewed` refers into the map that is written
}

void Importer::concat_many(const Node& node) {
  // The dimensions before the axis and behind it are one each.
  Dims dims = viewed(node, 0).dims;
  std::int64_t axis = node.integer("axis", 1);
  if (axis < 0) axis += static_cast<std::int64_t>(dims.size()) + 1;
  if (axis < 1 || axis > static_cast<std::int64_t>(dims.size())) throw Unsupported("joins tensors along the batch");
  const auto at = static_cast<std::size_t>(axis - 1);
  const std::int64_t before = product(Dims(dims.begin(), dims.begin() + axis - 1)),
                     behind = product(Dims(dims.begin() + axis, dims.end()));
  dims[at] = 0;
  std::vector<Id> parts;
  for (std::size_t k = 0; k < node.in.size(); ++k) {
    const Tensor t = viewed(node, k);
    bool same = t.dims.size() == dims.size();
    for (std::size_t d = 0; same && d < dims.size(); ++d) same = d == at || t.dims[d] == dims[d];
    if (!same) throw Unsupported("joins tensors that differ off the axis");
    parts.push_back(shaped(t, {before, t.dims[at], behind}, node.name + "." + std::to_string(k)).id);
    dims[at] += t.dims[at];
  }
  const Id id = concat(*builder_, parts, node.name.c_str(), 2);
  result(node, shaped({id, {before, dims[at], behind}}, dims, node.name + ".shaped"));
}

void Importer::concat_node(const Node& node) {
  if (node.in.size() == 1) return identity(node);
  if (node.has(0) && tensors_.contains(node.in[0]) && viewed(node, 0).dims.size() > 3) return concat_many(node);
  std::vector<Id> parts;
  std::size_t network = 0;
  while (network < node.in.size() && !tensors_.contains(node.in[network]) && !as_nchw_.contains(node.in[network]))
    ++network;
  const std::size_t rank = tensor(node, network).dims.size();
  for (std::size_t k = 0; k < node.in.size(); ++k) {
    if (is_constant(node.in[k])) {
      const Constant& c = constant(node.in[k]);
      if (c.dims.size() != rank + 1 || c.dims[0] != 1 || !c.is_float || c.size() < 1)
        throw Unsupported("joins a constant of shape " + text(c.dims));
      const std::string name = node.name + "." + std::to_string(k);
      parts.push_back(constant_tensor(tensor(node, network), c, Dims(c.dims.begin() + 1, c.dims.end()), name).id);
      continue;
    }
    parts.push_back(tensor(node, k).id);
    if (tensor(node, k).dims.size() != rank) throw Unsupported("joins tensors of different numbers of dimensions");
  }
  std::int64_t axis = node.integer("axis", 1);
  if (axis < 0) axis += static_cast<std::int64_t>(rank) + 1;
  if (axis < 1 || axis > static_cast<std::int64_t>(rank)) throw Unsupported("joins tensors along the batch");
  set(node, concat(*builder_, parts, node.name.c_str(), static_cast<std::int32_t>(axis)), rank);
}

void Importer::reshape_node(const Node& node) {
  const Tensor x = viewed(node, 0);
  const std::int64_t each = product(x.dims);
  Dims to;
  if (node.op == "Flatten") {
    std::int64_t axis = node.integer("axis", 1);
    if (axis < 0) axis += static_cast<std::int64_t>(x.dims.size()) + 1;
    if (axis != 1)
      throw Unsupported("flattens from axis " + std::to_string(axis) + ", which is not the first behind the batch");
    to = {each};
  } else if (node.op == "Reshape") {
    to = reshaped(node, x, each);
  } else {
    Dims with_batch{batch_marker};
    with_batch.insert(with_batch.end(), x.dims.begin(), x.dims.end());
    const Dims axes = list(node, "axes", 1);
    to = node.op == "Unsqueeze" ? unsqueezed(with_batch, axes) : squeezed(with_batch, axes);
    if (to[0] != batch_marker) throw Unsupported("adds a dimension before the batch");
    to.erase(to.begin());
  }
  if (product(to) != each) throw Unsupported("reshapes " + text(x.dims) + " (without the batch) to " + text(to));
  // A view that changes nothing but the number of dimensions is none.
  if (to.empty() || to.size() > 3 || shape_of(to) == builder_->shape(x.id)) return pass(node, {x.id, to});
  const Shape shape = shape_of(to);
  if (to.size() == 1) return set(node, flatten(*builder_, x.id, node.name.c_str()), 1);
  set(node, reshape(*builder_, x.id, shape.c(), shape.h(), shape.w(), node.name.c_str()), to.size());
}

Dims Importer::reshaped(const Node& node, const Tensor& x, std::int64_t each) {
  Dims to = list(node, "shape", 1);
  if (to.empty() || (to.size() == 1 && each != 1))
    throw Unsupported("reshapes to " + text(to) + ", which mixes the batch");
  const bool zeros = node.integer("allowzero", 0) == 0;
  for (std::size_t k = 0; k < to.size(); ++k)
    if (to[k] == 0 && zeros) {
      if (k > x.dims.size()) throw Unsupported("copies a dimension that its input does not have");
      to[k] = k == 0 ? batch_marker : x.dims[k - 1];
    }
  std::int64_t known = 1, open = -1;
  for (std::size_t k = 1; k < to.size(); ++k) {
    if (to[k] == -1)
      open = static_cast<std::int64_t>(k);
    else if (to[k] < 1 || to[k] > (1 << 30) || (known *= to[k]) > (std::int64_t{1} << 31))
      throw Unsupported("reshapes to " + text(to));
  }
  // The batch stays the batch if it is named so, left open, or the one size that the file was made with.
  const std::int64_t batch = to[0];
  const bool kept = batch == batch_marker || (batch == -1 && open < 0 && known == each) ||
                    (batch == fixed_batch_ && batch > 0 && (open >= 0 || known == each));
  if (!kept) throw Unsupported("reshapes to " + text(to) + ", which mixes the batch");
  if (open >= 0) to[static_cast<std::size_t>(open)] = each % known == 0 ? each / known : 0;
  to.erase(to.begin());
  return to;
}

void Importer::transpose_node(const Node& node) {
  Dims perm = node.integers("perm");
  if (perm == Dims{0, 3, 1, 2} && node.has(0))
    if (const auto in = as_nchw_.find(node.in[0]); in != as_nchw_.end()) return pass(node, in->second);
  const Tensor x = viewed(node, 0);
  const std::size_t rank = x.dims.size() + 1;
  if (perm.size() != rank || perm[0] != 0) throw Unsupported("moves the batch dimension");
  if (rank > 4) return transpose_view(node, x, perm);
  if (nhwc_ && perm == Dims{0, 2, 3, 1} && extra_.contains(node.out[0]) && !readers_.contains(node.out[0])) {
    turned_.insert(node.out[0]);
    return pass(node, x);
  }
  std::int32_t d[3] = {1, 2, 3};
  for (std::size_t k = 1; k < rank; ++k)
    d[k - 1] = narrow(perm[k] < 0 ? perm[k] + static_cast<std::int64_t>(rank) : perm[k], "a dimension");
  set(node, transpose(*builder_, x.id, d[0], d[1], d[2], node.name.c_str()), x.dims.size());
}

void Importer::transpose_view(const Node& node, const Tensor& x, const Dims& perm) {
  Dims dims, order,
      back(x.dims.size(), -1);  // dimensions above 1 as the result has them, and their places in the input
  for (std::size_t k = 1; k < perm.size(); ++k) {
    if (perm[k] < 1 || perm[k] > static_cast<std::int64_t>(x.dims.size()) ||
        std::count(perm.begin(), perm.end(), perm[k]) != 1)
      throw Unsupported("has an impossible permutation");
    dims.push_back(x.dims[static_cast<std::size_t>(perm[k] - 1)]);
    if (dims.back() > 1) order.push_back(perm[k] - 1);
  }
  std::int64_t kept = 0;
  for (std::size_t k = 0; k < x.dims.size(); ++k)
    if (x.dims[k] > 1) back[k] = kept++;
  std::vector<std::pair<std::int64_t, std::int64_t>> runs;  // first dimension in the input, elements
  for (std::size_t k = 0; k < order.size(); ++k) {
    const auto at = [&](std::size_t j) { return back[static_cast<std::size_t>(order[j])]; };
    if (k > 0 && at(k) == at(k - 1) + 1)
      runs.back().second *= x.dims[static_cast<std::size_t>(order[k])];
    else
      runs.emplace_back(order[k], x.dims[static_cast<std::size_t>(order[k])]);
  }
  if (runs.size() < 2) return pass(node, {x.id, dims});
  if (runs.size() > 3) {
    Dims places;
    for (std::size_t k = 1; k < perm.size(); ++k) places.push_back(perm[k] - 1);
    return result(node, permuted(x, places, node.name));
  }
  auto sources = runs;
  std::sort(sources.begin(), sources.end());
  std::int32_t size[3] = {1, 1, 1}, d[3] = {1, 2, 3};
  for (std::size_t k = 0; k < runs.size(); ++k) {
    size[k] = narrow(sources[k].second, "a size");
    d[k] = static_cast<std::int32_t>(std::find(sources.begin(), sources.end(), runs[k]) - sources.begin()) + 1;
  }
  Id id = x.id;
  if (builder_->shape(id) != Shape{1, size[0], size[1], size[2]})
    id = reshape(*builder_, id, size[0], size[1], size[2], (node.name + ".merged").c_str());
  set(node, transpose(*builder_, id, d[0], d[1], d[2], node.name.c_str()), 3);
  tensors_[node.out[0]].dims = dims;
}

void Importer::slice_node(const Node& node) {
  const Tensor x = tensor(node, 0);
  const Dims starts = list(node, "starts", 1), ends = list(node, "ends", 2);
  Dims axes = list(node, "axes", 3), steps = node.has(4) ? list(node, "steps", 4) : Dims(starts.size(), 1);
  if (axes.empty())
    for (std::size_t k = 0; k < starts.size(); ++k) axes.push_back(static_cast<std::int64_t>(k));
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    throw Unsupported("slices with lists of unequal lengths");
  Id id = x.id;
  for (std::size_t k = 0; k < starts.size(); ++k) {
    const std::int64_t axis = axes[k] < 0 ? axes[k] + static_cast<std::int64_t>(x.dims.size()) + 1 : axes[k];
    if (axis == 0 && starts[k] == 0 && steps[k] == 1 && ends[k] >= (fixed_batch_ > 0 ? fixed_batch_ : 0x7fffffff))
      continue;  // all of the batch
    if (axis < 1 || axis > static_cast<std::int64_t>(x.dims.size())) throw Unsupported("slices the batch");
    const std::int64_t n = x.dims[static_cast<std::size_t>(axis - 1)];
    const Range r = slice_range(n, starts[k], ends[k], steps[k]);
    if (r.count < 1) throw Unsupported("slices everything away");
    if (r.start == 0 && r.step == 1 && r.count == n) continue;
    const std::string name = k + 1 < starts.size() ? node.name + "." + std::to_string(k) : node.name;
    id = slice(*builder_, id, static_cast<std::int32_t>(axis), narrow(r.start, "a start"), narrow(r.count, "a count"),
               narrow(r.step, "a step"), name.c_str());
  }
  if (id == x.id)
    pass(node, x);
  else
    set(node, id, x.dims.size());
}

void Importer::split(const Node& node) {
  const Tensor x = tensor(node, 0);
  std::int64_t axis = node.integer("axis", 0);
  if (axis < 0) axis += static_cast<std::int64_t>(x.dims.size()) + 1;
  if (axis < 1 || axis > static_cast<std::int64_t>(x.dims.size())) throw Unsupported("splits the batch");
  const std::int64_t n = x.dims[static_cast<std::size_t>(axis - 1)], parts = static_cast<std::int64_t>(node.out.size());
  Dims sizes = list(node, "split", 1);
  if (sizes.empty())
    for (std::int64_t k = 0, each = (n + parts - 1) / parts; k < parts; ++k)
      sizes.push_back(std::min(each, n - k * each));
  if (static_cast<std::int64_t>(sizes.size()) != parts) throw Unsupported("splits into other than its outputs");
  std::int64_t from = 0;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const std::string name = node.name + "." + std::to_string(k);
    if (sizes[k] < 1 || sizes[k] > n - from) throw Unsupported("splits past its input");
    const Id id = slice(*builder_, x.id, static_cast<std::int32_t>(axis), narrow(from, "a start"),
                        narrow(sizes[k], "a size"), 1, name.c_str());
    from += sizes[k];
    Node part;
    part.name = name;
    part.op = node.op;
    part.out = {node.out[k]};
    set(part, id, x.dims.size());
  }
}

void Importer::pad_node(const Node& node) {
  const Tensor x = viewed(node, 0);
  const std::string mode = node.text("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap")
    throw Unsupported("pads by '" + mode + "'");
  double value = static_cast<double>(node.number("value", 0));
  if (node.has(2)) {
    const Constant& c = constant(node, 2, "value");
    if (c.size() != 1) throw Unsupported("pads with other than a scalar");
    value = c.at(0);
  }
  if (!std::isfinite(value)) throw Unsupported("pads with " + std::to_string(value));
  const Dims given = list(node, "pads", 1), axes = node.has(3) ? list(node, "axes", 3) : Dims{};
  const std::size_t rank = x.dims.size() + 1;
  Dims pads = given;
  if (!axes.empty()) {
    if (given.size() != 2 * axes.size()) throw Unsupported("has pads for another number of axes");
    pads.assign(2 * rank, 0);
    for (std::size_t k = 0; k < axes.size(); ++k) {
      const std::int64_t a = axes[k] < 0 ? axes[k] + static_cast<std::int64_t>(rank) : axes[k];
      if (a < 0 || a >= static_cast<std::int64_t>(rank)) throw Unsupported("pads an axis that its input does not have");
      pads[static_cast<std::size_t>(a)] = given[k];
      pads[static_cast<std::size_t>(a) + rank] = given[k + axes.size()];
    }
  }
  if (pads.size() != 2 * rank || pads[0] != 0 || pads[rank] != 0)
    throw Unsupported("pads the batch, or another number of dimensions");
  if (mode != "constant") return pad_by_content(node, x, pads, mode);
  if (x.dims.size() > 3) return pad_one(node, x, pads, value);
  std::int32_t p[6] = {};  // front, top, left, back, bottom, right
  for (std::size_t k = 1; k < rank; ++k) {
    p[k - 1] = narrow(pads[k], "padding");
    p[k + 2] = narrow(pads[rank + k], "padding");
  }
  // Zeros around height and width before a convolution are its padding: rules that look at its inputs (flat, z-box)
  // must see pixels alone.
  const Node* reader = only_reader(node.out[0]);
  const bool spatial = value == 0 && p[0] == 0 && p[3] == 0 && *std::min_element(p, p + 6) >= 0;
  const std::string automatic = reader != nullptr ? reader->text("auto_pad", "NOTSET") : "";
  if (reader != nullptr && reader->op == "Conv" && reader->in[0] == node.out[0] && spatial &&
      (automatic == "NOTSET" || automatic == "VALID")) {
    pending_pads_[node.out[0]] = {p[1], p[2], p[4], p[5]};
    return pass(node, x);
  }
  Pad* op = builder_->make<Pad>();
  if (op != nullptr) {
    op->front = p[0];
    op->top = p[1];
    op->left = p[2];
    op->back = p[3];
    op->bottom = p[4];
    op->right = p[5];
  }
  // Another value than 0 around x: x less the value, with zeros around it, and the value again.
  Tensor inner = value == 0 ? x : mapped(x, 1, static_cast<float>(-value), node.name + ".less");
  const Id in[] = {inner.id};
  const Id id = builder_->add(op, in, {}, (value == 0 ? node.name : fresh(node.name + ".zeros")).c_str());
  set(node, id, x.dims.size());
  if (value != 0) result(node, mapped(tensors_.at(node.out[0]), 1, static_cast<float>(value), node.name));
}

namespace {

// Where output `o` of a Resize lies in the input, by ONNX's definition of the coordinate kinds; in float, as runtimes
// have it, for what lies on the border between two places follows the rounding.
float source_of(const std::string& kind, float o, float scale, float in, float out) {
  if (kind == "asymmetric") return o / scale;
  if (kind == "align_corners") return out > 1 ? o * (in - 1) / (out - 1) : 0;
  if (kind == "pytorch_half_pixel" && out <= 1) return 0;
  if (kind == "tf_half_pixel_for_nn") return (o + 0.5f) / scale;
  if (kind == "half_pixel_symmetric") {
    const float adjusted = out / (scale * in), centre = in / 2;
    return centre * (1 - adjusted) + (o + 0.5f) / scale - 0.5f;
  }
  return (o + 0.5f) / scale - 0.5f;
}

double rounded(double x, const std::string& way) {
  if (way == "floor") return std::floor(x);
  if (way == "ceil") return std::ceil(x);
  return way == "round_prefer_ceil" ? std::floor(x + 0.5) : std::ceil(x - 0.5);
}

// Weights of the places floor(x) + first ... of one output.
std::vector<double> taps(const std::string& mode, double fraction, double a) {
  if (mode == "linear" || mode == "bilinear") return {1 - fraction, fraction};
  const double t = fraction, u = 1 - t;
  const auto inner = [&](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto outer = [&](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  return {outer(t + 1), inner(t), inner(u), outer(u + 1)};
}

}  // namespace

void Importer::resize_by_matrix(const Node& node, const Tensor& x, const std::vector<float>& scales,
                                const Dims& sizes) {
  const std::string mode = node.text("mode", "nearest"),
                    kind = node.text("coordinate_transformation_mode", "half_pixel"),
                    way = node.text("nearest_mode", "round_prefer_floor");
  const double a = static_cast<double>(node.number("cubic_coeff_a", -0.75f));
  const bool exclude = node.integer("exclude_outside", 0) != 0;
  Tensor t = x;
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const std::int64_t in = t.dims[axis], out = sizes[axis];
    const float scale = scales[axis] > 0 ? scales[axis] : static_cast<float>(out) / static_cast<float>(in);
    if (out == in && scale == 1) continue;
    spend(in * out);
    std::vector<float> w(static_cast<std::size_t>(in * out), 0);
    for (std::int64_t o = 0; o < out; ++o) {
      const double at = static_cast<double>(
          source_of(kind, static_cast<float>(o), scale, static_cast<float>(in), static_cast<float>(out)));
      const auto put = [&](double place, double weight) {
        const auto p = static_cast<std::int64_t>(std::clamp(place, 0.0, static_cast<double>(in - 1)));
        w[static_cast<std::size_t>(o * in + p)] += static_cast<float>(weight);
      };
      if (mode == "nearest") {
        put(rounded(at, way), 1);
        continue;
      }
      const double whole = std::floor(at);
      const std::vector<double> part = taps(mode, at - whole, a);
      const double first = part.size() == 4 ? whole - 1 : whole;
      double sum = 0;
      const auto outside = [&](double place) { return exclude && (place < 0 || place > static_cast<double>(in - 1)); };
      for (std::size_t k = 0; k < part.size(); ++k)
        if (!outside(first + static_cast<double>(k))) sum += part[k];
      for (std::size_t k = 0; k < part.size(); ++k)
        if (!outside(first + static_cast<double>(k)))
          put(first + static_cast<double>(k), exclude && sum != 0 ? part[k] / sum : part[k]);
    }
    linear_over(node, t, axis, out, std::move(w), nullptr, node.name + "." + std::to_string(axis), false);
    t = tensors_.at(node.out[0]);
  }
  if (t.id == x.id) return pass(node, x);
  result(node, t);
}

void Importer::pad_one(const Node& node, const Tensor& x, const Dims& pads, double value) {
  // Of a tensor of many dimensions one may be padded: the ones before it and behind it are one each.
  const std::size_t rank = x.dims.size() + 1;
  std::vector<std::size_t> padded;
  for (std::size_t k = 1; k < rank; ++k)
    if (pads[k] != 0 || pads[rank + k] != 0) padded.push_back(k - 1);
  if (padded.size() > 1 || value != 0) throw Unsupported("pads several of more than three dimensions, or not with 0");
  if (padded.empty()) return pass(node, x);
  const auto at = x.dims.begin() + static_cast<std::ptrdiff_t>(padded[0]);
  const Dims three{product(Dims(x.dims.begin(), at)), *at, product(Dims(at + 1, x.dims.end()))};
  const Tensor rows = shaped(x, three, node.name + ".rows");
  const Id id = pad(*builder_, rows.id, narrow(pads[padded[0] + 1], "padding"), 0,
                    narrow(pads[rank + padded[0] + 1], "padding"), 0, node.name.c_str());
  Dims dims = x.dims;
  dims[padded[0]] = builder_->shape(id).h();
  result(node, shaped({id, {three[0], dims[padded[0]], three[2]}}, dims, node.name + ".shaped"));
}

void Importer::resize_row(const Node& node, const Tensor& x) {
  // One dimension of a signal (N,C,L).
  const bool simple = node.op == "Upsample" || opset_ < 11;
  const std::size_t at = simple ? 1 : 2;
  std::vector<float> scales;
  if (node.has(at)) scales = constant(node, at, "scales").f;
  const Dims sizes = scales.empty() && node.has(3) ? constant(node, 3, "sizes").i : Dims{};
  if (x.dims.size() != 2 || std::max(scales.size(), sizes.size()) != 3 || (!scales.empty() && scales[1] != 1) ||
      simple || node.integer("antialias", 0) != 0)
    throw Unsupported("resamples a tensor that has no height and width");
  const float scale = scales.empty() ? 0 : scales[2];
  if (!scales.empty() && !(scale > 0 && scale < 1e6)) throw Unsupported("has an impossible scale");
  const std::int64_t out =
      scales.empty() ? sizes[2] : static_cast<std::int64_t>(static_cast<float>(x.dims[1]) * scale + 1e-4f);
  if (out < 1 || out > (1 << 20)) throw Unsupported("resamples to nothing, or to more than 2^20");
  resize_by_matrix(node, x, {0, scale}, {x.dims[0], out});
}

void Importer::resize(const Node& node) {
  const Tensor x = tensor(node, 0);
  const bool old = node.op == "Upsample", simple = old || opset_ < 11;
  if (x.dims.size() != 3) return resize_row(node, x);
  const std::string mode = node.text("mode", "nearest"),
                    place = node.text("coordinate_transformation_mode", simple ? "asymmetric" : "half_pixel");
  const std::string nearest = node.text("nearest_mode", simple ? "floor" : "round_prefer_floor");
  Resampling to;
  to.bilinear = mode == "linear" || mode == "bilinear";
  if (!to.bilinear && mode != "nearest" && mode != "cubic") throw Unsupported("resamples by '" + mode + "'");
  if (node.integer("antialias", 0) != 0) throw Unsupported("resamples with antialias, which is not supported");
  bool by_matrix = mode == "cubic" || node.integer("exclude_outside", 0) != 0;
  if (node.text("keep_aspect_ratio_policy", "stretch") != "stretch")
    throw Unsupported("keeps the aspect ratio, which is not supported");
  to.align_corners = place == "align_corners";
  to.half_pixel =
      place == "half_pixel" || place == "pytorch_half_pixel" || (place == "tf_half_pixel_for_nn" && !to.bilinear);
  if (!to.align_corners && !to.half_pixel && place != "asymmetric") by_matrix = true;
  if (place == "tf_crop_and_resize") throw Unsupported("crops while it resamples (tf_crop_and_resize)");

  const std::size_t scales_at = simple ? 1 : 2;
  std::vector<float> scales;
  Dims sizes;
  if (const auto* listed = node.find("scales"); listed != nullptr)
    scales.assign(listed->floats().begin(), listed->floats().end());
  else if (node.has(scales_at))
    scales = constant(node, scales_at, "scales").f;
  if (scales.empty() && node.has(3)) sizes = constant(node, 3, "sizes").i;
  // One of them for each dimension, or for those that `axes` lists (opset 18).
  Dims axes = node.integers("axes", {0, 1, 2, 3});
  if (axes.size() != (scales.empty() ? sizes.size() : scales.size()))
    throw Unsupported("has neither scales nor sizes of height and width");
  std::int32_t out[] = {narrow(x.dims[1], "a size"), narrow(x.dims[2], "a size")};
  float scale[] = {0, 0};
  for (std::size_t k = 0; k < axes.size(); ++k) {
    const std::int64_t axis = axes[k] < 0 ? axes[k] + 4 : axes[k];
    if (axis < 0 || axis > 3) throw Unsupported("resamples an axis that its input does not have");
    if (axis < 2) {
      if (scales.empty() ? axis == 1 && sizes[k] != x.dims[0] : scales[k] != 1)
        throw Unsupported("resamples other than height and width");
      continue;
    }
    const auto d = static_cast<std::size_t>(axis - 2);
    if (scales.empty()) {
      out[d] = narrow(sizes[k], "a size");
      continue;
    }
    const float s = scales[k], size = s * static_cast<float>(out[d]);
    if (!(s > 0) || !(size < 1e6f)) throw Unsupported("has an impossible scale");
    out[d] = static_cast<std::int32_t>(std::floor(size + 1e-4f));
    (d == 0 ? to.step_h : to.step_w) = 1 / s;
    scale[d] = s;
  }
  to.out_h = out[0];
  to.out_w = out[1];
  if (to.out_h < 1 || to.out_w < 1) throw Unsupported("resamples to nothing");

  const bool whole = to.out_h % x.dims[1] == 0 && to.out_w % x.dims[2] == 0,
             smaller = to.out_h < x.dims[1] || to.out_w < x.dims[2];
  if (!to.bilinear && simple && smaller)
    throw Unsupported("makes height or width smaller by 'nearest', which its opset does not define");
  if (to.bilinear) {
    // There PyTorch puts a single place first, not into the middle.
    by_matrix = by_matrix || (place == "pytorch_half_pixel" &&
                              ((to.out_h == 1 && x.dims[1] > 1) || (to.out_w == 1 && x.dims[2] > 1)));
  } else if (to.half_pixel && whole) {
    // Whole multiples never lie between two places: all ways to round are one.
    by_matrix = by_matrix || (!nearest.starts_with("round_prefer_") && place != "tf_half_pixel_for_nn");
  } else {
    by_matrix = by_matrix || (to.half_pixel ? nearest != "round_prefer_floor" || place == "tf_half_pixel_for_nn"
                                            : nearest != "floor");
  }
  if (by_matrix) {
    return resize_by_matrix(node, x, {0, scale[0], scale[1]}, {x.dims[0], to.out_h, to.out_w});
  }
  set(node, upsample(*builder_, x.id, to, node.name.c_str()), 3);
}

}  // namespace vitrine::onnx
