// Sums, products and powers, of tensors and of constants.
#include <algorithm>
#include <cmath>

#include "layers/add.h"
#include "layers/product.h"
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

void Importer::arithmetic(const Node& node) {
  if (node.op == "Neg") return scale_by(node, tensor(node, 0), -1.0f, 0.0f);
  if (node.in.size() != 2) throw Unsupported("has other than two inputs");
  const bool first = tensors_.contains(node.in[0]), second = tensors_.contains(node.in[1]);
  if (first && second) return two_tensors(node);
  const Tensor x = tensor(node, first ? 0 : 1);
  const Constant& c = constant(node, first ? 1 : 0, "operand");
  if (expanded_.contains(node.in[first ? 0 : 1])) throw Unsupported("multiplies an expanded tensor with a constant");
  const std::int64_t channels = builder_->shape(x.id).c();
  if (!is_per_channel(c, x.dims.size(), channels))
    throw Unsupported("combines a tensor with a constant of shape " + text(c.dims) +
                      "; one value a channel is supported");
  spend(2 * channels);
  std::vector<float> w(static_cast<std::size_t>(channels), 1), b(w.size(), 0);
  for (std::size_t k = 0; k < w.size(); ++k) {
    const auto v = static_cast<float>(c.at(c.size() == 1 ? 0 : k));
    if (node.op == "Add")
      b[k] = v;
    else if (node.op == "Sub")
      b[k] = first ? -v : v, w[k] = first ? 1.0f : -1.0f;
    else if (node.op == "Mul")
      w[k] = v;
    else if (first)
      w[k] = 1 / v;
    else
      throw Unsupported("divides by a tensor of the network");
  }
  scale_by(node, x, std::move(w), std::move(b));
}

void Importer::power(const Node& node) {
  const Tensor x = tensor(node, 0);
  const Constant& exponent = constant(node, 1, "exponent");
  if (exponent.size() != 1 || exponent.dims.size() > x.dims.size() + 1 || exponent.at(0) != 2)
    throw Unsupported("raises to another power than 2");
  set(node, multiply(*builder_, x.id, x.id, -1, node.name.c_str()), x.dims.size());
}

void Importer::expand(const Node& node) {
  const Tensor x = tensor(node, 0);
  const Dims to = list(node, "shape", 1);
  if (to.size() > x.dims.size() + 1) throw Unsupported("adds dimensions");
  Dims dims = x.dims;
  for (std::size_t k = 0; k < to.size() && k < dims.size(); ++k) {
    std::int64_t& d = dims[dims.size() - 1 - k];
    const std::int64_t wanted = to[to.size() - 1 - k];
    if (d != 1 && wanted != 1 && d != wanted)
      throw Unsupported("expands " + text(x.dims) + " (without the batch) to " + text(to));
    if (d == 1) d = wanted;
  }
  pass(node, x);
  if (dims == x.dims) return;
  const auto r = readers_.find(node.out[0]);
  if (r == readers_.end() || extra_.contains(node.out[0]) ||
      std::any_of(r->second.begin(), r->second.end(), [&](std::size_t i) { return nodes_[i].op != "Mul"; }))
    throw Unsupported("repeats elements of other than a product's factor");
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
  Tensor a = tensor(node, 0), b = tensor(node, 1);
  GraphBuilder& g = *builder_;
  if (node.op == "Add" || node.op == "Sub") {
    if (a.dims != b.dims)
      throw Unsupported("adds tensors of shapes " + text(a.dims) + " and " + text(b.dims) +
                        "; equal ones are supported");
    if (node.op == "Sub") {
      const std::string name = node.name + ".negated";
      b.id = scale(g, b.id, name.c_str());
      const auto channels = static_cast<std::size_t>(g.shape(b.id).c());
      spend(2 * static_cast<std::int64_t>(channels));
      weights_[name + ".weight"].assign(channels, -1);
      weights_[name + ".bias"].assign(channels, 0);
    }
    return set(node, add(g, a.id, b.id, node.name.c_str()), a.dims.size());
  }
  if (node.op != "Mul") throw Unsupported("divides by a tensor of the network");
  if (a.dims.size() != b.dims.size())
    throw Unsupported("multiplies tensors of shapes " + text(a.dims) + " and " + text(b.dims) +
                      "; equal numbers of dimensions are supported");
  const Shape sa = g.shape(a.id), sb = g.shape(b.id);
  if (sa.per_image() < sb.per_image()) std::swap(a, b);
  for (const std::string& in : node.in)
    if (const auto e = expanded_.find(in); e != expanded_.end() && e->second != a.dims)
      throw Unsupported("multiplies a tensor expanded to " + text(e->second) + " with a smaller one");
  std::int32_t gate = -1;
  if (sa != sb || opens(b.id))
    gate = 1;
  else if (opens(a.id))
    gate = 0;
  set(node, multiply(g, a.id, b.id, gate, node.name.c_str()), a.dims.size());
}

bool Importer::opens(Id id) const {
  const Id p = builder_->values()[id].producer;
  if (p == no_id) return false;
  const char* const op = builder_->nodes()[p].op->name();
  return matches("sigmoid", op) || matches("hard_sigmoid", op) || matches("softmax", op);
}

void Importer::sum(const Node& node) {
  std::vector<Id> terms;
  const Dims dims = tensor(node, 0).dims;
  if (node.in.size() == 1) return identity(node);
  for (std::size_t k = 0; k < node.in.size(); ++k) {
    terms.push_back(tensor(node, k).id);
    if (tensor(node, k).dims != dims) throw Unsupported("adds tensors of different shapes");
  }
  set(node, add(*builder_, terms, node.name.c_str()), dims.size());
}

}  // namespace vitrine::onnx
