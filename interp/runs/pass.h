// One pass over a data set: every loop over images of a set goes through here.
#pragma once

#include <functional>
#include <vector>

#include "core/host/job.h"
#include "interp/runs/batch_size.h"
#include "interp/runs/objective.h"
#include "interp/runs/subject.h"
#include "models/data/loader.h"

namespace vitrine {

struct Pass {
  std::vector<Id> keep;                 ///< values of the model's graph that stay readable
  std::vector<const Rule*> rules = {};  ///< one per node, for bodies that walk back; empty: forward only
  std::vector<Id> seeds = {};           ///< where walks start; empty: the last of `keep`
  Id until = no_id;                     ///< where walks end
  std::vector<Id> keep_signals = {};
  Observer* observer = nullptr;
  bool only_kept = true;               ///< nodes that nothing kept depends on do not run
  std::int64_t first = 0, images = 0;  ///< the images [first, images) of the set; 0: to the end
};

struct PassBatch {
  const data::Batch& batch;  ///< images, labels and indices in the set
  Session& session;          ///< after its forward run
  TensorView input;
  std::int64_t done;  ///< images of the pass before this batch
};

/// How many images there are between Pass::first and the end of the pass.
std::int64_t pass_images(const Subject&, const Pass&);

/// Runs all images forward, in batches that fit the subject's memory budget, and calls `body` after each. Progress and
/// stop as the job says.
void pass(Subject&, const Pass&, const Job&, const std::function<void(const PassBatch&)>& body);

/// Walks a batch back from an objective, whose value (`from`) must be kept and be the pass's seed. The walk starts with
/// the objective's weights, or with weights times value. Returns the targets.
std::vector<Target> walk_from(const PassBatch&, const Model&, const Objective&, Id from, bool relevance = false);

}  // namespace vitrine
