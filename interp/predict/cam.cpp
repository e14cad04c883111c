// Class activation mapping [Zhou et al. 2016, eq. 2], for networks that end in the maps' global average and a linear
// layer: each map by its weight in the target's row.
//
//   L = sum_k w_k A_k;  its mean is the target's score without the bias
//
// The weights are the gradients summed over a map, which are the same at all its places.
#include <numeric>

#include "interp/runs/activation_map.h"

namespace vitrine::methods {
namespace {

double weight(std::span<const real>, std::span<const real> gradient) {
  return std::accumulate(gradient.begin(), gradient.end(), 0.0);
}

class Cam final : public WeightedMaps {
 public:
  Cam(const AttributionCall& c, const Settings& s) : WeightedMaps(c, s, weight, Sign::kept) {
    require_average(c.objective);
  }

 private:
  // Whether the score is a linear function of the maps' means alone.
  void require_average(const Objective& objective) const {
    const Graph& g = model().graph();
    Id v = g.nodes[node()].out;
    const Id to = objective.value(model());
    bool averaged = false, linear = false;
    for (const Node& n : g.nodes) {
      if (n.in.size() != 1 || n.in[0] != v) continue;
      const bool affine = n.op->op_class() == OpClass::affine;
      const Weights weights = affine ? static_cast<const AffineOp&>(*n.op).weights() : Weights::spatial;
      if (affine && weights == Weights::fixed && g.shape(n.out).pixels() == 1 && g.shape(n.out).c() == g.shape(v).c())
        averaged = true;
      else if (averaged && !linear && affine && (weights == Weights::dense || g.shape(v).pixels() == 1))
        linear = true;
      else if (n.op->op_class() != OpClass::view && !n.op->traits().random)
        break;
      v = n.out;
      if (v == to) break;
    }
    if (v != to || !averaged || !linear)
      throw Error("cam: what follows node " + std::string(g.nodes[node()].name) +
                      " is no global average and one linear layer: grad-cam takes any network",
                  Error::usage);
  }
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) { return std::make_unique<Cam>(c, s); }

}  // namespace

extern const MethodEntry cam;
constinit const MethodEntry cam = {
    .card = {.name = "cam",
             .summary = "maps of a node weighted by the linear layer behind their global average",
             .reference = "Zhou et al. 2016",
             .of = Of::representation,
             .promises = {.class_sensitivity = true},
             .faithfulness_metric = "pointing-game",
             .takes_rules = true,
             .settings = ActivationMap::usual_settings},
    .attribution = make};

}  // namespace vitrine::methods
