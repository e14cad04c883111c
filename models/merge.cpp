#include "models/merge.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "layers/conv_transpose2d.h"
#include "layers/diagonal.h"

namespace vitrine {
namespace {

bool is_diagonal(const Op& op) noexcept {
  return op.klass() == OpClass::affine && static_cast<const AffineOp&>(op).weights() == Weights::diagonal;
}

// How often each parameter is read: a shared weight cannot take a factor that one reader alone has.
std::vector<int> parameter_readers(const Graph& g) {
  std::vector<int> readers(g.values.size(), 0);
  for (const Node& node : g.nodes)
    for (const Id p : node.par) ++readers[p];
  return readers;
}

// The layer that node i can be merged into, directly or behind norms that are merged themselves; no_id if there is none.
Id target(const Graph& g, const std::vector<int>& readers, const std::vector<Id>& merged_into, Id i) {
  const Node& node = g.nodes[i];
  const Id z = node.in[0], producer = g.values[z].producer;
  if (!is_diagonal(*node.op) || producer == no_id || g.only_reader(z) != i || z == g.output) return no_id;
  if (merged_into[producer] != no_id) return merged_into[producer];
  const Op& op = *g.nodes[producer].op;
  if (op.klass() != OpClass::affine || !static_cast<const AffineOp&>(op).mixes()) return no_id;
  for (const Id p : g.nodes[producer].par)
    if (readers[p] != 1) return no_id;
  return producer;
}

std::vector<Id> find_targets(const Graph& g) {
  const std::vector<int> readers = parameter_readers(g);
  std::vector<Id> into(g.nodes.size(), no_id);
  for (Id i = 0; i < g.nodes.size(); ++i) into[i] = target(g, readers, into, i);
  return into;
}

// The output channel of element k of a layer's weight.
std::size_t output_channel(const Op& op, const Shape& weight, std::int64_t k) {
  const std::int64_t taps = weight.pixels();
  if (!matches("conv_transpose2d", op.name())) return static_cast<std::size_t>(k / (weight.c() * taps));
  // (in, out/groups, kh, kw): the group comes from the input channel.
  const auto groups = static_cast<const ConvTranspose2d&>(op).groups;
  const std::int64_t in = k / (weight.c() * taps), within = k / taps % weight.c(), per_group = weight.n() / groups;
  return static_cast<std::size_t>(in / per_group * weight.c() + within);
}

}  // namespace

bool has_mergeable_batch_norm(const Model& model) {
  const std::vector<Id> into = find_targets(model.graph());
  return std::any_of(into.begin(), into.end(), [](Id i) { return i != no_id; });
}

Model merge_batch_norms(const Model& model) {
  const Graph& g = model.graph();
  const std::vector<Id> into = find_targets(g);

  // Weights and biases of the layers, with the norms' factors and shifts taken in, in the order of the graph.
  std::map<std::string, std::vector<real>> tensors;
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const Value& v : g.values) {
    if (v.kind != ValueKind::parameter) continue;
    const auto first = model.parameters.begin() + v.offset;
    tensors[v.name].assign(first, first + v.shape.size());
    for (std::uint8_t d = 0; d < v.rank; ++d) shapes[v.name].push_back(v.shape.d[d]);
  }
  Context ctx;
  ctx.kernels = &kernels::table(kernels::active());
  for (Id i = 0; i < g.nodes.size(); ++i) {
    if (into[i] == no_id) continue;
    const Node &norm = g.nodes[i], &layer = g.nodes[into[i]];
    std::vector<TensorView> parameters;
    for (const Id p : norm.par) parameters.push_back({const_cast<real*>(model.parameters.data()) + g.values[p].offset, g.shape(p)});
    const auto channels = static_cast<std::size_t>(g.shape(norm.out).c());
    std::vector<real> scale(channels), shift(channels);
    NodeIO io{};
    io.par = parameters;
    static_cast<const DiagonalOp&>(*norm.op).coefficients(ctx, io, raw_part, raw_part, scale.data(), shift.data());
    std::vector<real>& weight = tensors.at(std::string(layer.name) + ".weight");
    std::vector<real>& bias = tensors[std::string(layer.name) + ".bias"];
    bias.resize(channels, real{0});
    shapes[std::string(layer.name) + ".bias"] = {static_cast<std::int64_t>(channels)};
    for (std::size_t k = 0; k < weight.size(); ++k) weight[k] *= scale[output_channel(*layer.op, g.shape(layer.par[0]), static_cast<std::int64_t>(k))];
    for (std::size_t c = 0; c < channels; ++c) bias[c] = scale[c] * bias[c] + shift[c];
  }

  // The graph without the norms, through its own description.
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(model_to_json(model)), kept = nlohmann::ordered_json::array();
  std::map<std::string, std::string> renamed;
  const auto name_now = [&](const std::string& name) {
    const auto r = renamed.find(name);
    return r != renamed.end() ? r->second : name;
  };
  std::vector<char> gains_bias(g.nodes.size(), 0);
  for (Id i = 0; i < g.nodes.size(); ++i)
    if (into[i] != no_id) gains_bias[into[i]] = 1;
  for (Id i = 0; i < g.nodes.size(); ++i) {
    if (into[i] != no_id) {
      renamed[g.nodes[i].name] = g.nodes[into[i]].name;
      continue;
    }
    nlohmann::ordered_json node = json.at("nodes").at(i);
    for (auto& in : node["in"]) in = name_now(in.get<std::string>());
    if (gains_bias[i] != 0) {
      node["attributes"]["bias"] = true;
      node["parameters"] = {std::string(g.nodes[i].name) + ".weight", std::string(g.nodes[i].name) + ".bias"};
    }
    kept.push_back(std::move(node));
  }
  json["nodes"] = std::move(kept);
  json["output"] = name_now(json.at("output").get<std::string>());
  if (json.contains("aliases"))
    for (auto& [alias, node] : json["aliases"].items()) node = name_now(node.get<std::string>());
  if (json.contains("auxiliary"))
    for (auto& head : json["auxiliary"]) head["node"] = name_now(head["node"].get<std::string>());
  // The norms' own names lead to the layers that they are part of.
  for (const auto& [norm, layer] : renamed) json["aliases"][norm] = layer;

  Model merged = model_from_json(json.dump(), "merged " + model.architecture, [&](const std::string& name, std::vector<std::int64_t>& shape) {
    const auto s = shapes.find(name);
    if (s != shapes.end()) shape = s->second;
    return s != shapes.end();
  });
  for (const Value& v : merged.graph().values)
    if (v.kind == ValueKind::parameter) std::copy_n(tensors.at(v.name).begin(), v.shape.size(), merged.parameters.begin() + v.offset);
  return merged;
}

}  // namespace vitrine
