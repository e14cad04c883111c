// Networks made from others, node by node: something put in, something left out.
#pragma once

#include <functional>
#include <string>

#include "models/model.h"

namespace vitrine {

/// The new network in the making: which of its values stand for the old network's.
class Rewriter {
 public:
  /// Declares the same inputs in the new network.
  Rewriter(const Model& from, GraphBuilder& g);
  /// A network of one input, for which `input` stands.
  Rewriter(const Model& from, GraphBuilder& g, Id input);
  GraphBuilder& builder() noexcept { return g_; }
  /// The value that stands for an old one.
  Id now(Id old) const noexcept { return now_[old]; }
  void stands_for(Id old, Id made) noexcept { now_[old] = made; }
  /// Copies an old node behind what stands for its inputs. `with_bias`: a conv or linear op has a bias in the copy,
  /// even if it had none.
  void copy(Id node, bool with_bias = false);

 private:
  const Graph& from_;
  GraphBuilder& g_;
  std::vector<Id> now_;
};

/// Calls `step` for every old node in order, which copies it or has something else stand for its result, and gives the
/// new network the old one's parameters (by name; new ones are 0) and all that travels with it. Inputs and outputs stay
/// in their order. Names of nodes that are gone become aliases of those that stand for them.
Model rewrite(const Model&, const std::function<void(Rewriter&, Id node)>& step);

/// The network with what `body` builds on the result of `node` put between that node and all its readers. Parameters of
/// new nodes are initialised from the seed (weights: He et al. 2015). Throws a usage Error if there is no such node.
Model insert_after(const Model&, const std::string& node, std::uint64_t seed,
                   const std::function<Id(GraphBuilder&, Id)>& body);

}  // namespace vitrine
