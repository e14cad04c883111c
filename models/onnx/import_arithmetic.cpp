// Sums, products and powers, of tensors and of constants.
#include <algorithm>
#include <cmath>

#include "layers/activation.h"
#include "layers/add.h"
#include "layers/product.h"
#include "layers/rule_embedded.h"
#include "layers/scale.h"
#include "models/onnx/importer.h"

namespace vitrine::onnx {

bool Importer::is_per_channel(const Constant& c, std::size_t rank, std::int64_t channels) {
  if (c.dims.size() > rank + 1) return false;
  if (c.size() == 1) return true;
  if (c.size() != channels) return false;
  const std::size_t back = rank;  // the channel dimension, counted from the end
  return c.dims.size() >= back && c.dims[c.dims.size() - back] == channels;
}

namespace {

// Before opset 7 the second operand is spread from a dimension of the first on that the node names.
void spread_old(const Node& node, std::int64_t opset, std::size_t rank, Constant& c) {
  const std::int64_t axis = node.integer("axis", -1);
  if (opset >= 7 || axis < 0 || node.integer("broadcast", 0) == 0) return;
  while (c.dims.size() + static_cast<std::size_t>(axis) < rank) c.dims.push_back(1);
}

// op(x, v) or op(v, x) as factor x + shift; a division by x is one of 1/x.
std::pair<float, float> as_affine(const std::string& op, bool first, float v) {
  if (op == "Add") return {1, v};
  if (op == "Sub") return first ? std::pair<float, float>{1, -v} : std::pair<float, float>{-1, v};
  return {op == "Mul" || !first ? v : 1 / v, 0};
}

}  // namespace

void Importer::arithmetic(const Node& node) {
  if (node.op == "Neg") {
    if (viewed(node, 0).dims.size() <= 3) return scale_by(node, elements(node, 0), -1.0f, 0.0f);
    return result(node, mapped(viewed(node, 0), -1, 0, node.name));
  }
  if (node.in.size() != 2) throw Unsupported("has other than two inputs");
  const bool first = tensors_.contains(node.in[0]), second = tensors_.contains(node.in[1]);
  if (first && second) return two_tensors(node);
  Tensor x = viewed(node, first ? 0 : 1);
  Constant c = constant(node, first ? 1 : 0, "operand");
  if (expanded_.contains(node.in[first ? 0 : 1])) throw Unsupported("multiplies an expanded tensor with a constant");
  spread_old(node, opset_, x.dims.size() + 1, c);
  const auto coefficients = [&](float v) { return as_affine(node.op, first, v); };
  if (node.op == "Div" && !first) x.id = vitrine::power(*builder_, x.id, -1, fresh(node.name + ".inverse").c_str());
  const std::int64_t channels = builder_->shape(x.id).c();
  if (x.dims.empty() || x.dims.size() > 3 || !is_per_channel(c, x.dims.size(), channels)) {
    return with_constant(node, x, c, without_batch(c, x.dims.size()), coefficients);
  }
  spend(2 * channels);
  std::vector<float> w, b;
  for (std::int64_t k = 0; k < channels; ++k) {
    const auto [factor, shift] =
        coefficients(static_cast<float>(c.at(c.size() == 1 ? 0 : static_cast<std::size_t>(k))));
    w.push_back(factor);
    b.push_back(shift);
  }
  scale_by(node, x, std::move(w), std::move(b));
}

void Importer::power(const Node& node) {
  const Tensor x = viewed(node, 0);
  const Constant& exponent = constant(node, 1, "exponent");
  if (exponent.size() != 1 || exponent.dims.size() > x.dims.size() + 1)
    throw Unsupported("raises to powers that differ from element to element");
  const auto a = static_cast<float>(exponent.at(0));
  if (a == 1) return pass(node, Tensor(x));
  const Id id = a == 2 ? multiply(*builder_, x.id, x.id, -1, node.name.c_str())
                       : vitrine::power(*builder_, x.id, a, node.name.c_str());
  result(node, {id, x.dims});
}

void Importer::where(const Node& node) {
  if (!node.has(2) || !is_constant(node.in[0]))
    throw Unsupported("chooses by a condition that is computed at run time");
  // A known mask: what it lets through of each side, and their sum.
  const Constant& mask = constant(node.in[0]);
  const Tensor like = viewed(node, tensors_.contains(node.in[1]) ? 1 : 2);
  const Dims m = without_batch(mask, like.dims.size());
  Tensor sides[2];
  Dims dims = broadcast_dims(like.dims, m);
  for (std::size_t k = 0; k < 2; ++k) {
    if (tensors_.contains(node.in[k + 1])) {
      sides[k] = viewed(node, k + 1);
      dims = joint_dims(dims, sides[k].dims);
      continue;
    }
    const Constant& c = constant(node.in[k + 1]);
    const Dims own = without_batch(c, like.dims.size());
    sides[k] = constant_tensor(like, c, own.empty() ? Dims{1} : own, node.name + "." + std::to_string(k));
    dims = broadcast_dims(dims, own);
  }
  for (std::size_t k = 0; k < 2; ++k) {
    Node part;
    part.op = "Mul";
    part.name = fresh(node.name + (k == 0 ? ".chosen" : ".other"));
    part.out = {node.out[0]};
    const Tensor wide = expanded_to(sides[k], dims, part.name + ".wide");
    with_constant(part, wide, mask, m, [&](float v) {
      return std::pair<float, float>{(v != 0) == (k == 0) ? 1 : 0, 0};
    });
    sides[k] = tensors_.at(node.out[0]);
  }
  result(node, {add(*builder_, sides[0].id, sides[1].id, node.name.c_str()), dims});
}

void Importer::quantise(const Node& node) {
  quantised_.insert(node.op);
  pass(node, Tensor(viewed(node, 0)));
}

void Importer::old_affine(const Node& node) {
  const Tensor x = tensor(node, 0);
  if (node.op == "Affine") return scale_by(node, x, node.number("alpha", 1), node.number("beta", 0));
  const auto channels = static_cast<std::size_t>(builder_->shape(x.id).c());
  std::vector<float> shift(channels, 0);
  if (const auto* bias = node.find("bias"); bias != nullptr) {
    if (static_cast<std::size_t>(bias->floats_size()) != channels)
      throw Unsupported("has " + std::to_string(bias->floats_size()) + " shifts for " + std::to_string(channels) +
                        " channels");
    shift.assign(bias->floats().begin(), bias->floats().end());
  }
  spend(2 * static_cast<std::int64_t>(channels));
  scale_by(node, x, std::vector<float>(channels, node.number("scale", 1)), std::move(shift));
}

void Importer::expand(const Node& node) {
  const Tensor x = viewed(node, 0);
  const Dims to = list(node, "shape", 1);
  Dims dims = x.dims;
  if (to.size() > x.dims.size() + 1) throw Unsupported("adds dimensions before the batch");
  for (std::size_t k = 0; k < to.size() && k < dims.size(); ++k) {
    std::int64_t& d = dims[dims.size() - 1 - k];
    const std::int64_t wanted = to[to.size() - 1 - k];
    if (d != 1 && wanted != 1 && d != wanted)
      throw Unsupported("expands " + text(x.dims) + " (without the batch) to " + text(to));
    if (d == 1) d = wanted;
  }
  if (dims == x.dims) return pass(node, x);
  const auto r = readers_.find(node.out[0]);
  const bool factor =
      r != readers_.end() && !extra_.contains(node.out[0]) &&
      std::all_of(r->second.begin(), r->second.end(), [&](std::size_t i) {
        const auto constant_side = [&](const std::string& in) { return is_constant(in); };
        return nodes_[i].op == "Mul" && std::none_of(nodes_[i].in.begin(), nodes_[i].in.end(), constant_side);
      });
  if (!factor || dims.size() > 3) return result(node, expanded_to(x, dims, node.name));
  pass(node, x);
  expanded_[node.out[0]] = dims;
}

void Importer::scale_by(const Node& node, const Tensor& x, float w, float b) {
  const auto channels = static_cast<std::size_t>(builder_->shape(x.id).c());
  spend(2 * static_cast<std::int64_t>(channels));
  scale_by(node, x, std::vector<float>(channels, w), std::vector<float>(channels, b));
}

void Importer::scale_by(const Node& node, const Tensor& x, std::vector<float> w, std::vector<float> b) {
  const Id id = scale(*builder_, x.id, node.name.c_str());
  weight(node, "weight", std::move(w));
  weight(node, "bias", std::move(b));
  set(node, id, x.dims.size());
}

void Importer::two_tensors(const Node& node) {
  Tensor a = viewed(node, 0), b = viewed(node, 1);
  GraphBuilder& g = *builder_;
  if (node.op == "Add" || node.op == "Sub") {
    const Dims dims = joint_dims(a.dims, b.dims);
    a = expanded_to(a, dims, node.name + ".wide");
    if (node.op == "Sub" && (a.dims != b.dims || dims.size() > 3)) {
      b = mapped(b, -1, 0, node.name + ".negated");
    } else if (node.op == "Sub") {
      const std::string name = node.name + ".negated";
      b.id = scale(g, b.id, name.c_str());
      const auto channels = static_cast<std::size_t>(g.shape(b.id).c());
      spend(2 * static_cast<std::int64_t>(channels));
      weights_[name + ".weight"].assign(channels, -1);
      weights_[name + ".bias"].assign(channels, 0);
    }
    b = expanded_to(b, dims, node.name + ".wide");
    return result(node, {add(g, a.id, b.id, node.name.c_str()), dims});
  }
  std::int32_t gate = -1;
  if (node.op == "Div") {
    // What a tensor is divided by scales it and gets no relevance, as in norms.
    b.id = vitrine::power(g, b.id, -1, fresh(node.name + ".inverse").c_str());
    gate = 1;
  }
  const auto fits = [&](const Tensor& large, const Tensor& small) {
    bool all = large.dims.size() == small.dims.size() && large.dims.size() <= 3;
    for (std::size_t k = 0; all && k < large.dims.size(); ++k)
      all = small.dims[k] == large.dims[k] || small.dims[k] == 1;
    return all;
  };
  const bool expanded = expanded_.contains(node.in[0]) || expanded_.contains(node.in[1]);
  if (!expanded && !fits(a, b) && !(gate < 0 && fits(b, a))) {
    const Dims dims = joint_dims(a.dims, b.dims);
    a = expanded_to(a, dims, node.name + ".wide");
    b = expanded_to(b, dims, node.name + ".wide");
  }
  const Shape sa = g.shape(a.id), sb = g.shape(b.id);
  if (gate < 0 && sa.per_image() < sb.per_image()) std::swap(a, b);
  for (const std::string& in : node.in)
    if (const auto e = expanded_.find(in); e != expanded_.end() && e->second != a.dims)
      throw Unsupported("multiplies a tensor expanded to " + text(e->second) + " with a smaller one");
  if (sa != sb || opens(b.id))
    gate = 1;
  else if (gate < 0 && opens(a.id))
    gate = 0;
  result(node, {multiply(g, a.id, b.id, gate, node.name.c_str()), a.dims});
}

bool Importer::opens(Id id) const {
  const Id p = builder_->values()[id].producer;
  if (p == no_id) return false;
  const char* const op = builder_->nodes()[p].op->name();
  return matches("sigmoid", op) || matches("hard_sigmoid", op) || matches("softmax", op);
}

void Importer::sum(const Node& node) {
  if (node.in.size() == 1) return identity(node);
  Dims dims = viewed(node, 0).dims;
  for (std::size_t k = 1; k < node.in.size(); ++k) dims = joint_dims(dims, viewed(node, k).dims);
  std::vector<Id> terms;
  for (std::size_t k = 0; k < node.in.size(); ++k)
    terms.push_back(expanded_to(viewed(node, k), dims, node.name + "." + std::to_string(k)).id);
  result(node, {add(*builder_, terms, node.name.c_str()), dims});
}

}  // namespace vitrine::onnx
