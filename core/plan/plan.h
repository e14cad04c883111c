// The memory plan of a run. What a run does is known before it starts, so the place of every value and signal is chosen
// once, and an explanation's bytes are known beforehand.
//
// Planning (make_plan, core/planner.h) is a list of passes. Each pass has a file in this folder and fills in some
// fields of the records below: one record per node (NodePlan) and one per value (ValuePlan). The run (core/run.h) reads
// the records and decides nothing; print.h prints them.
//
//   pass        decides                                                   off if (freedom.cpp)
//   reach       which nodes run, and which the walk passes                -
//   outputs     which backward steps read a ReLU's output as their own    reference
//   elide       which backward steps are skipped                          reference, several channels, ledger
//   reads       who reads each value last                                 -
//   layout      which values are stored interleaved                       reference, several channels, a rule or
//   kernels that
//                                                                         take planar values only
//   reuse       which signals are written over those they are made of     reference, several channels, ledger
//   epilogue    which sums and ReLUs the node before them does            -
//   segments    which values are dropped and computed again in the walk   unless the request asks for it
//   lifetimes   when each buffer is in use                                -
//   place       where in memory each buffer is                            -
//
// Outputs, elide, layout, reuse and epilogue change nothing that an observer can see at the nodes that it watches
// (Observer::watches says what that is).
//
// This folder knows nothing of the run. Scratch memory is measured by a dry run (core/measure.h), which stands above
// both: plan <- run <- measure <- planner.
#pragma once

#include <span>

#include "core/graph.h"
#include "core/observer.h"
#include "core/plan/freedom.h"
#include "core/rule.h"

namespace vitrine {

/// What a run is for.
struct PlanRequest {
  const Graph* graph = nullptr;
  std::int32_t batch = 1;  ///< the largest batch that will run
  /// The batch sizes that will run, each of 1 to `batch`; the run refuses all others. Empty: every size up to `batch`.
  /// Scratch memory is measured once per size, so naming the sizes makes planning faster and never needs more memory.
  std::span<const std::int32_t> batches{};
  std::span<const Rule* const> rules{};  ///< one per node; empty: forward only
  std::int32_t channels = 1;             ///< signals per value (2 for DeepLIFT's positive and negative multipliers)
  bool reference = false;                ///< keep a second trace beside the first: that of the reference input
  /// One reference image serves every image of the batch, and its trace lasts from run to run. Not with an observer,
  /// nor in a network with several inputs.
  bool one_reference = false;
  bool parameter_gradients = false;
  /// With parameter_gradients: takes each gradient as soon as the walk has it, so that no block of all gradients is
  /// needed. No parameter may be read by two nodes.
  Updater* updater = nullptr;
  Id until = no_id;                   ///< the value whose signal is wanted; no_id: none (training)
  std::span<const Id> seeds{};        ///< values at which signals start; empty: the output
  std::span<const Id> keep_values{};  ///< values readable until the run ends; with seeds, name the output too
  std::span<const Id> keep_signals{};
  bool ledger = false;
  /// Activation checkpointing (Chen et al. 2016): the forward run keeps few values for the walk, and the walk computes
  /// the others again, one segment of the network at a time. Not with a reference or an observer.
  bool recompute = false;
  bool constant_parameters = false;  ///< weights are prepared for the kernels once, and kept
  Observer* observer = nullptr;      ///< called in every forward run and walk, at the nodes that it watches
};

inline constexpr std::size_t not_planned = ~std::size_t{0};

/// Bytes of the run's memory that belong to one tensor from time `first` to time `last`, both included. Each node takes
/// one tick of time in each phase: the reference run, the forward run, the walk (NodePlan's *_at).
struct Buffer {
  std::size_t offset = not_planned;  ///< from the start of the run's memory
  std::size_t bytes = 0;
  std::int32_t first = 0, last = 0;
  bool planned() const noexcept { return offset != not_planned; }
};

/// What happens at one node. The pass that fills in a field is named in brackets.
struct NodePlan {
  bool needed = false;   ///< [reach] some requested value depends on it; all other nodes are skipped
  bool watched = false;  ///< [reach] the observer watches it, so no pass changes what can be seen there
  bool walked = false;   ///< [reach, elide] its backward step runs
  /// [elide] Its backward step is skipped: its input receives the signal directly (ValuePlan::signal_goes_to).
  bool elided = false;
  Id folded_relu = no_id;  ///< [elide] the elided ReLU before it whose mask its backward step applies
  Id output_seen = no_id;  ///< [outputs] the value its backward step reads as `io.out`: its own, or a ReLU's behind it

  /// [epilogue] An earlier node does its work before storing; it does not run. Else no_id.
  Id fused_into = no_id;
  Id result = no_id;    ///< [epilogue] the value it writes: its own output, or that of the last node fused into it
  Id residual = no_id;  ///< [epilogue] the value it adds before storing
  bool relu = false;    ///< [epilogue] it applies a ReLU before storing

  bool recomputed = false;  ///< [segments] it runs again in the walk
  /// [lifetimes] When it runs forward, runs again (if recomputed) and is walked.
  std::int32_t forward_at = 0, recompute_at = 0, walk_at = 0;
  Buffer aux, reference_aux, recomputed_aux;  ///< [lifetimes, place] its private record (NodeIO::aux)

  bool runs() const noexcept { return needed && fused_into == no_id; }
};

/// What happens to one value and its signal.
struct ValuePlan {
  bool wanted = false;       ///< [reach] its signal is wanted, for itself or on the way to others
  bool interleaved = false;  ///< [layout] stored interleaved when the batch is a multiple of Plan::block
  /// [elide] The value that receives its signal: itself, or the input of the node that made it if that node is elided.
  Id signal_goes_to = no_id;
  /// [reuse] The value whose signal buffer holds this one's signal too; itself: it has a buffer of its own.
  Id signal_reuses = no_id;
  /// [lifetimes] The value whose buffer holds this one too: that of the residual added to it; itself: its own buffer.
  Id memory_of = no_id;
  /// [lifetimes, place] Where the forward run, the reference run and the recomputation write it.
  Buffer memory, reference, recomputed;
};

struct Plan {
  PlanRequest request{};
  Freedom freedom{};
  std::span<NodePlan> nodes;    ///< one per node of the graph
  std::span<ValuePlan> values;  ///< one per value of the graph
  /// One per value and channel: value * channels + channel. A reused signal has the offset of its owner
  /// (ValuePlan::signal_reuses), and no bytes or times of its own.
  std::span<Buffer> signals;
  /// [segments] The first node of each segment. Without recompute there is one; the last segment is never recomputed.
  std::span<std::int32_t> segments;
  std::int32_t block = 1;         ///< images per interleaved block
  std::int32_t end = 0;           ///< time at which the run is over
  std::size_t planned_bytes = 0;  ///< values, signals and private records
  std::size_t scratch_bytes = 0;  ///< the most that any step takes for kernels
  std::size_t book_bytes = 0;     ///< the most that any step takes for the small arrays of ops and rules
  std::size_t prepared_bytes = 0, prepared_count = 0;  ///< weights prepared for the kernels

  /// The value to which node i's step sends the signal of its k-th input.
  Id target(std::size_t i, std::size_t k) const noexcept {
    return values[request.graph->nodes[i].in[k]].signal_goes_to;
  }
  /// TensorView::block of a value in a batch.
  std::int32_t block_of(Id v, std::int32_t batch) const noexcept {
    return values[v].interleaved && batch % block == 0 ? block : 1;
  }
  const Buffer& signal(Id v, std::int32_t channel = 0) const noexcept {
    return signals[v * static_cast<std::size_t>(request.channels) + static_cast<std::size_t>(channel)];
  }
  /// Whether a batch of this size may run.
  bool takes(std::int32_t batch) const noexcept {
    if (batch < 1 || batch > request.batch) return false;
    bool named = request.batches.empty();
    for (const std::int32_t size : request.batches) named = named || size == batch;
    return named;
  }

  /// The memory of a run in bytes, without parameters.
  std::size_t bytes() const noexcept {
    return planned_bytes + scratch_bytes + book_bytes + prepared_bytes + prepared_count * sizeof(Prepared::Entry) +
           6 * Arena::alignment;  // each block of RunMemory begins aligned (core/run.cpp)
  }
  /// Of these, what the host itself writes (the book and the list of prepared weights).
  std::size_t host_bytes() const noexcept {
    return book_bytes + prepared_count * sizeof(Prepared::Entry) + 4 * Arena::alignment;
  }
};

}  // namespace vitrine
