// Looks at what passes through a run, or edits it: captured values, changed activations, added gradients.
#pragma once

#include <algorithm>

#include "core/graph.h"

namespace vitrine {

/// Called at the nodes that it watches, on the thread that runs the graph. What methods ask of the engine, and where it
/// is found:
///   what a node made                  PlanRequest::keep_values
///   what signal arrived at it         PlanRequest::keep_signals
///   another result in its place       after_forward (ReplaceOutput)
///   a gradient added at it            before_step (models/inside/interpretable.h)
///   only the nodes after it           Run::forward's first_node
///   where its units look              core/geometry.h
/// Like an op, an observer touches data through kernels only, since the dry run that measures a plan calls it too.
class Observer {
 public:
  /// Whether it wants to be called at a node; asked once per node when a plan is made. At a watched node the plan
  /// changes nothing that can be seen: the node runs, writes its own output, is not fused or skipped, its operands and
  /// its signal are planar, and its signal has a buffer of its own. All other nodes are optimised as without an
  /// observer.
  virtual bool watches(Id /*node*/) const noexcept { return true; }
  /// After a watched node has run. `io.out` may be changed in place, and flows on changed. `reference`: the same node
  /// in the reference run; null during that run itself, and if there is none.
  virtual Status after_forward(const Context&, const Graph&, Id /*node*/, const NodeIO&,
                               const NodeIO* /*reference*/) noexcept {
    return Status::ok;
  }
  /// Before the backward step of a watched node. The signals at its output (one per channel) may be changed in place.
  virtual Status before_step(const Context&, const Graph&, Id /*node*/,
                             std::span<const TensorView> /*signals*/) noexcept {
    return Status::ok;
  }

 protected:
  ~Observer() = default;
};

/// Takes the gradient of a parameter as soon as the walk has it; its memory is reused after that. Like an op, an
/// updater touches data through kernels only.
class Updater {
 public:
  virtual Status update(const Context&, const Graph&, Id parameter, const TensorView& gradient) noexcept = 0;

 protected:
  ~Updater() = default;
};

/// Replaces a node's result by that of one image, for every image of the batch. With Run::forward from that node on,
/// only the nodes after it run again.
class ReplaceOutput final : public Observer {
 public:
  std::span<const Id> nodes{};  ///< all nodes that may be replaced while the plan is in use; empty: any node
  Id node = no_id;              ///< the node to replace in the next run, one of `nodes`; no_id: none
  TensorView replacement;       ///< of the shape of one image's result; stays the caller's

  bool watches(Id i) const noexcept override {
    return nodes.empty() || std::find(nodes.begin(), nodes.end(), i) != nodes.end();
  }
  Status after_forward(const Context& ctx, const Graph&, Id i, const NodeIO& io, const NodeIO*) noexcept override {
    if (i != node) return Status::ok;
    const std::int64_t each = io.out.shape.per_image();
    if (replacement.shape.per_image() != each)
      return ctx.fail(Status::bad_shape, "is to be replaced by values of another shape", replacement.shape,
                      io.out.shape);
    for (std::int32_t n = 0; n < io.out.shape.n(); ++n)
      ctx->scale(real{1}, replacement.data, io.out.data + n * each, each, false);
    return Status::ok;
  }
};

}  // namespace vitrine
