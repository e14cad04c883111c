#include "interp/runs/feature_maps.h"

#include <algorithm>
#include <vector>

namespace vitrine {
namespace {

// The nodes between the main input and a value, that value's own node among them.
std::vector<bool> nodes_between(const Graph& g, Id to) {
  std::vector<bool> reached(g.values.size(), false), leads(g.values.size(), false), between(g.nodes.size(), false);
  reached[g.input] = true;
  leads[to] = true;
  for (const Node& node : g.nodes)
    for (const Id v : node.in)
      if (reached[v]) reached[node.out] = true;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const Node& node = g.nodes[i];
    if (!leads[node.out]) continue;
    between[i] = reached[node.out];
    for (const Id v : node.in) leads[v] = true;
  }
  return between;
}

// Whether a node only passes its one input's values on, or means of them.
bool passes_on(const Graph& g, const Node& node) {
  if (node.in.size() != 1 || g.values[node.in[0]].producer == no_id || g.shape(node.in[0]).pixels() <= 1) return false;
  const Op& op = *node.op;
  if (op.op_class() == OpClass::route || op.op_class() == OpClass::view || op.traits().random) return true;
  return op.op_class() == OpClass::affine && static_cast<const AffineOp&>(op).weights() == Weights::fixed;
}

}  // namespace

Id last_feature_maps(const Model& model, const Objective& objective, const std::string& method) {
  const Graph& g = model.graph();
  const Id to = objective.value(model);
  const std::vector<bool> between = nodes_between(g, to);
  // The last node that reads each value.
  std::vector<std::size_t> last_reader(g.values.size(), 0);
  for (std::size_t i = 0; i < g.nodes.size(); ++i)
    if (between[i])
      for (const Id v : g.nodes[i].in) last_reader[v] = i;
  Id alone = no_id, any = no_id;
  std::size_t furthest = last_reader[g.input];
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const Id out = g.nodes[i].out;
    if (!between[i] || out == to) continue;
    if (g.shape(out).pixels() > 1) {
      any = static_cast<Id>(i);
      if (furthest <= i) alone = any;
    }
    furthest = std::max(furthest, last_reader[out]);
  }
  Id node = alone != no_id ? alone : any;
  if (node == no_id) throw Error(method + ": no node of this network has maps of more than one pixel", Error::usage);
  while (passes_on(g, g.nodes[node])) node = g.values[g.nodes[node].in[0]].producer;
  return node;
}

}  // namespace vitrine
