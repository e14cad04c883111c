// A look at, or a hand on, what passes through a run: captured values, edited activations, added gradients.
#pragma once

#include "core/graph.h"

namespace vitrine {

/// Looks at, or edits, what passes: called on the thread that runs the graph. Like an op, it touches data through kernels
/// only, since the dry run that measures a plan calls it too.
class Observer {
 public:
  /// After a node has run; io.out may be changed in place and flows on changed. `reference`: the same node of the
  /// reference run; null during that run itself, and where there is none.
  virtual Status after_forward(const Context&, const Graph&, Id /*node*/, const NodeIO&, const NodeIO* /*reference*/) noexcept { return Status::ok; }
  /// Before the step of node `i`; the signals (one a channel) may be changed in place.
  virtual Status before_step(const Context&, const Graph&, Id /*node*/, std::span<const TensorView> /*signals*/) noexcept { return Status::ok; }

 protected:
  ~Observer() = default;
};

}  // namespace vitrine
