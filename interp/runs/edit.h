// Edits of values in flight: what a network would do if a unit were silent, a map were another one, or a direction were
// added.
#pragma once

#include <vector>

#include "core/host/tensor.h"
#include "core/observer.h"

namespace vitrine {

/// Changes the results of nodes as they are made; what comes after them sees the changed values. An observer of the
/// nodes that it edits and of no others, so that the planner's optimisations stay on elsewhere. All numbers are where
/// the engine's kernels work (Storage).
class Edit final : public Observer {
 public:
  /// The nodes that may be edited: a plan is made for them.
  explicit Edit(std::vector<Id> nodes) : watched_(std::move(nodes)) {}

  /// Nothing is edited.
  void clear() noexcept { changes_.clear(); }
  /// Channels [first, first + count) of the node's result become 0.
  void ablate(Id node, std::int32_t first, std::int32_t count) {
    changes_.push_back({Kind::ablate, node, {}, first, count, 0});
  }
  /// Likewise in one image of the run alone.
  void ablate_in(std::int32_t image, Id node, std::int32_t first, std::int32_t count) {
    changes_.push_back({Kind::ablate, node, {}, first, count, 0, image});
  }
  /// The result becomes `with`, one image's, for every image.
  void replace(Id node, const TensorView& with) { changes_.push_back({Kind::replace, node, with, 0, 0, 0}); }
  /// The result becomes result + factor * what, with one image's `what` for every image.
  void add(Id node, const TensorView& what, real factor) { changes_.push_back({Kind::add, node, what, 0, 0, factor}); }

  bool watches(Id node) const noexcept override;
  Status after_forward(const Context&, const Graph&, Id node, const NodeIO&, const NodeIO*) noexcept override;

 private:
  enum class Kind : std::uint8_t { ablate, replace, add };
  struct Change {
    Kind kind;
    Id node;
    TensorView what;
    std::int32_t first, count;
    real factor;
    std::int32_t image = -1;  // of the run; -1: all
  };
  std::vector<Id> watched_;
  std::vector<Change> changes_;
};

}  // namespace vitrine
