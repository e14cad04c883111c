// SGD and Adam over a flat block of parameters.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/graph.h"
#include "core/host/session.h"
#include "core/observer.h"

namespace vitrine {

enum class Optimizer : std::uint8_t { sgd, nesterov, adam, adamw };
/// By name; a usage Error lists the names.
Optimizer parse_optimizer(const std::string&);

/// Moves parameters by their gradients: each as soon as the walk has it (PlanRequest::updater), so that no block of all
/// gradients exists, or all of such a block at once. Both give the same bits.
class OptimizerStep final : public Updater {
 public:
  Optimizer optimizer = Optimizer::sgd;
  float momentum = 0, weight_decay = 0;
  real* parameters = nullptr;
  real *first = nullptr, *second = nullptr;  ///< the optimiser's own blocks; SGD without momentum has none, Adam both
  std::vector<std::pair<std::int64_t, std::int64_t>> moving;  ///< ranges of the block that move, in order
  float lr = 0;                                               ///< of this step
  std::int64_t step = 1;                                      ///< counted from 1

  /// Whether gradients can be taken within the walk: no parameter is read by two nodes, and no device records the walk,
  /// with its learning rate, to repeat it.
  static bool within_walk(const Engine&, const Graph&);

  Status update(const Context&, const Graph&, Id parameter, const TensorView& gradient) noexcept override;
  /// All of them, from a block of gradients.
  void update_all(const Context&, const real* gradients) const noexcept;

 private:
  /// Elements [begin, end) of the block; `gradients` belongs to `begin`.
  void move(const Context&, std::int64_t begin, std::int64_t end, const real* gradients) const noexcept;
};

}  // namespace vitrine
