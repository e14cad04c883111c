#include "models/merge.h"

#include <algorithm>

#include "layers/diagonal.h"
#include "models/rewrite.h"

namespace vitrine {
namespace {

bool is_diagonal(const Op& op) noexcept {
  return op.op_class() == OpClass::affine && static_cast<const AffineOp&>(op).weights() == Weights::diagonal;
}

// How often each parameter is read: a shared weight cannot take a factor that one reader alone has.
std::vector<int> parameter_readers(const Graph& g) {
  std::vector<int> readers(g.values.size(), 0);
  for (const Node& node : g.nodes)
    for (const Id p : node.par) ++readers[p];
  return readers;
}

// The layer that node i can be merged into, directly or behind norms that are merged themselves; no_id if there is
// none.
Id target(const Graph& g, const std::vector<int>& readers, const std::vector<bool>& kept,
          const std::vector<Id>& merged_into, Id i) {
  const Node& node = g.nodes[i];
  const Id z = node.in[0], producer = g.values[z].producer;
  if (!is_diagonal(*node.op) || producer == no_id || g.only_reader(z) != i) return no_id;
  if (kept[producer]) return no_id;
  if (merged_into[producer] != no_id) return merged_into[producer];
  const Op& op = *g.nodes[producer].op;
  if (op.op_class() != OpClass::affine || !static_cast<const AffineOp&>(op).mixes()) return no_id;
  for (const Id p : g.nodes[producer].par)
    if (readers[p] != 1) return no_id;
  return producer;
}

// Per node: the layer that it is merged into.
std::vector<Id> find_targets(const Model& model, const std::vector<std::string>& keep) {
  const Graph& g = model.graph();
  const std::vector<int> readers = parameter_readers(g);
  std::vector<bool> kept(g.nodes.size(), false);
  for (const std::string& name : keep) kept[model.node(name)] = true;
  std::vector<Id> into(g.nodes.size(), no_id);
  for (Id i = 0; i < g.nodes.size(); ++i) into[i] = target(g, readers, kept, into, i);
  return into;
}

}  // namespace

bool has_mergeable_batch_norm(const Model& model, const std::vector<std::string>& keep) {
  const std::vector<Id> into = find_targets(model, keep);
  return std::any_of(into.begin(), into.end(), [](Id i) { return i != no_id; });
}

bool merging_changes(const Model& model, const std::string& name) {
  const Graph& g = model.graph();
  const std::vector<Id> into = find_targets(model, {});
  const Id reader = g.only_reader(g.nodes[model.node(name)].out);
  return reader != no_id && into[reader] != no_id;
}

Model merge_batch_norms(const Model& model, const std::vector<std::string>& keep) {
  const Graph& g = model.graph();
  const std::vector<Id> into = find_targets(model, keep);
  std::vector<bool> takes_norm(g.nodes.size(), false);
  for (const Id layer : into)
    if (layer != no_id) takes_norm[layer] = true;
  Model merged = rewrite(model, [&](Rewriter& r, Id i) {
    if (into[i] == no_id)
      r.copy(i, takes_norm[i]);
    else
      r.stands_for(g.nodes[i].out, r.now(g.nodes[i].in[0]));
  });

  // The norms' factors and shifts, in the order in which they came.
  Context ctx;
  ctx.kernels = &kernels::table(kernels::active());
  for (Id i = 0; i < g.nodes.size(); ++i) {
    if (into[i] == no_id) continue;
    const Node& norm = g.nodes[i];
    const Node& layer = merged.graph().nodes[merged.node(g.nodes[into[i]].name)];
    std::vector<TensorView> parameters;
    for (const Id p : norm.par)
      parameters.push_back({const_cast<real*>(model.parameters.data()) + g.values[p].offset, g.shape(p)});
    const auto channels = static_cast<std::size_t>(g.shape(norm.out).c());
    std::vector<real> scale(channels), shift(channels);
    const TensorView in[] = {{nullptr, g.shape(norm.in[0])}};
    NodeIO io{};
    io.in = in;
    io.par = parameters;
    static_cast<const DiagonalOp&>(*norm.op).coefficients(ctx, io, raw_part, raw_part, scale.data(), shift.data());
    const Value &w = merged.graph().values[layer.par[0]], &b = merged.graph().values[layer.par[1]];
    real *const weight = merged.parameters.data() + w.offset, *const bias = merged.parameters.data() + b.offset;
    const auto& op = static_cast<const AffineOp&>(*layer.op);
    for (std::int64_t k = 0; k < w.shape.size(); ++k)
      weight[k] *= scale[static_cast<std::size_t>(op.output_channel(w.shape, k))];
    for (std::size_t c = 0; c < channels; ++c) bias[c] = scale[c] * bias[c] + shift[c];
  }
  return merged;
}

}  // namespace vitrine
