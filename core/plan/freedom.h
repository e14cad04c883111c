// Which optimisations a plan may use. All reasons in the request that switch one off are in one table (freedom.cpp);
// layout.cpp adds one that depends on the rules.
#pragma once

namespace vitrine {

struct Context;
struct PlanRequest;

/// An observer switches off recompute only; every other pass spares the nodes that it watches (Observer::watches).
struct Freedom {
  bool epilogues = false;     ///< later sums and ReLUs may be fused into the node before them
  bool relu_outputs = false;  ///< a backward step may read the output of the ReLU behind its node (output_seen)
  bool elision = false;       ///< backward steps may be skipped
  bool reuse = false;         ///< a signal may be written over the one it is made of
  bool layout = false;        ///< values may be stored interleaved
  bool recompute = false;     ///< values may be dropped and computed again in the walk
};

/// What the request and the kernels allow.
Freedom freedom_of(const PlanRequest&, const Context&) noexcept;

}  // namespace vitrine
