// Learning rates over time. A schedule is a pure function of the step, so a resumed run continues exactly.
#pragma once

#include <cstdint>
#include <string>

namespace vitrine {

struct Schedule {
  enum Kind { constant, step, cosine, one_cycle } kind = constant;
  std::int64_t warmup = 0;  ///< steps of linear warm-up from lr/warmup (not for one_cycle, which has its own)
  double gamma = 0.1;       ///< step: factor at each milestone
  std::int64_t every = 0;   ///< step: steps between milestones
  double floor = 0;         ///< cosine: final rate as a share of lr
  double warm_share = 0.3;  ///< one_cycle: share of the steps that rise
  double start_factor = 25, final_factor = 1e4;  ///< one_cycle: lr/start_factor at first, that / final_factor at last

  /// The factor on lr at step t of total (0 <= t < total).
  double factor(std::int64_t t, std::int64_t total) const noexcept;

  /// "constant", "step[:EPOCHS[,GAMMA]]", "cosine", "one-cycle", each with "+warmup[:EPOCHS]"; a usage Error otherwise.
  /// `per_epoch`: steps an epoch.
  static Schedule parse(const std::string& text, std::int64_t per_epoch, std::int64_t epochs);
};

}  // namespace vitrine
