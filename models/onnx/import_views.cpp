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

void Importer::concat_node(const Node& node) {
  if (node.in.size() == 1) return identity(node);
  std::vector<Id> parts;
  const std::size_t rank = tensor(node, 0).dims.size();
  for (std::size_t k = 0; k < node.in.size(); ++k) {
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
  if (runs.size() > 3)
    throw Unsupported("permutes " + text(x.dims) +
                      " (without the batch) in a way that three dimensions do not express");
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
  const Tensor x = tensor(node, 0);
  if (node.text("mode", "constant") != "constant")
    throw Unsupported("pads by '" + node.text("mode", "") + "'; constant 0 is supported");
  double value = static_cast<double>(node.number("value", 0));
  if (node.has(2)) {
    const Constant& c = constant(node, 2, "value");
    if (c.size() != 1) throw Unsupported("pads with other than a scalar");
    value = c.at(0);
  }
  if (value != 0) throw Unsupported("pads with " + std::to_string(value) + "; 0 is supported");
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
  std::int32_t p[6] = {};  // front, top, left, back, bottom, right
  for (std::size_t k = 1; k < rank; ++k) {
    p[k - 1] = narrow(pads[k], "padding");
    p[k + 2] = narrow(pads[rank + k], "padding");
  }
  // Zeros around height and width before a convolution are its padding: rules that look at its inputs (flat, z-box)
  // must see pixels alone.
  const Node* reader = only_reader(node.out[0]);
  const bool spatial = p[0] == 0 && p[3] == 0 && *std::min_element(p, p + 6) >= 0;
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
  const Id in[] = {x.id};
  set(node, builder_->add(op, in, {}, node.name.c_str()), x.dims.size());
}

void Importer::resize(const Node& node) {
  const Tensor x = tensor(node, 0);
  const bool old = node.op == "Upsample", simple = old || opset_ < 11;
  if (x.dims.size() != 3) throw Unsupported("resamples a tensor that has no height and width");
  const std::string mode = node.text("mode", "nearest"),
                    place = node.text("coordinate_transformation_mode", simple ? "asymmetric" : "half_pixel");
  const std::string nearest = node.text("nearest_mode", simple ? "floor" : "round_prefer_floor");
  Resampling to;
  to.bilinear = mode == "linear" || mode == "bilinear";
  if (!to.bilinear && mode != "nearest")
    throw Unsupported("resamples by '" + mode + "'; nearest and linear are supported");
  if (node.integer("antialias", 0) != 0) throw Unsupported("resamples with antialias, which is not supported");
  if (node.text("keep_aspect_ratio_policy", "stretch") != "stretch")
    throw Unsupported("keeps the aspect ratio, which is not supported");
  to.align_corners = place == "align_corners";
  to.half_pixel =
      place == "half_pixel" || place == "pytorch_half_pixel" || (place == "tf_half_pixel_for_nn" && !to.bilinear);
  if (!to.align_corners && !to.half_pixel && place != "asymmetric")
    throw Unsupported("has coordinates of kind '" + place + "'");

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
  }
  to.out_h = out[0];
  to.out_w = out[1];
  if (to.out_h < 1 || to.out_w < 1) throw Unsupported("resamples to nothing");

  const bool whole = to.out_h % x.dims[1] == 0 && to.out_w % x.dims[2] == 0,
             smaller = to.out_h < x.dims[1] || to.out_w < x.dims[2];
  if (to.bilinear) {
    // There PyTorch puts a single place first, not into the middle.
    if (place == "pytorch_half_pixel" && ((to.out_h == 1 && x.dims[1] > 1) || (to.out_w == 1 && x.dims[2] > 1)))
      throw Unsupported("resamples to a single place at coordinates of kind 'pytorch_half_pixel'");
  } else if (to.half_pixel && whole) {
    // Whole multiples never lie between two places: all ways to round are one.
    if (!nearest.starts_with("round_prefer_") && place != "tf_half_pixel_for_nn")
      throw Unsupported("rounds by '" + nearest + "' at coordinates of kind '" + place + "'");
  } else if (to.half_pixel ? nearest != "round_prefer_floor" || place == "tf_half_pixel_for_nn" : nearest != "floor") {
    throw Unsupported("rounds by '" + nearest + "' at coordinates of kind '" + place + "'");
  } else if (simple && smaller) {
    throw Unsupported("makes height or width smaller by 'nearest', which its opset does not define");
  }
  set(node, upsample(*builder_, x.id, to, node.name.c_str()), 3);
}

}  // namespace vitrine::onnx
