// A look at, or a hand on, what passes through a run: captured values, edited activations, added gradients.
#pragma once

#include "core/graph.h"

namespace vitrine {

/// Looks at, or edits, what passes. With the rest of a run this is all that methods need of the engine: what a node
/// made (PlanRequest::keep_values), what arrived at it (keep_signals), another result in its place (after_forward,
/// ReplaceOutput), a gradient added at it (before_step: models/inside/interpretable.h), the nodes after it alone
/// (Run::forward's first_node), and where its units look (core/geometry.h). Called on the thread that runs the graph.
/// Like an op, it touches data through kernels only, since the dry run that measures a plan calls it too.
class Observer {
 public:
  /// After a node has run; io.out may be changed in place and flows on changed. `reference`: the same node of the
  /// reference run; null during that run itself, and where there is none.
  virtual Status after_forward(const Context&, const Graph&, Id /*node*/, const NodeIO&,
                               const NodeIO* /*reference*/) noexcept {
    return Status::ok;
  }
  /// Before the step of node `i`; the signals (one a channel) may be changed in place.
  virtual Status before_step(const Context&, const Graph&, Id /*node*/,
                             std::span<const TensorView> /*signals*/) noexcept {
    return Status::ok;
  }

 protected:
  ~Observer() = default;
};

/// Takes the gradient of a parameter as soon as the walk has it; the memory is then the walk's again. Like an op, it
/// touches data through kernels only.
class Updater {
 public:
  virtual Status update(const Context&, const Graph&, Id parameter, const TensorView& gradient) noexcept = 0;

 protected:
  ~Updater() = default;
};

/// Puts other values in the place of a node's result: those of one image, for every image of the batch. With
/// Run::forward from that node on, only what comes after runs again.
class ReplaceOutput final : public Observer {
 public:
  Id node = no_id;         ///< no_id: nothing is replaced
  TensorView replacement;  ///< of the shape of one image's result; stays the caller's

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
