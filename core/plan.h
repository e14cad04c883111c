// Memory by plan: what a run will do is known before it runs, so where every value and signal lives is decided once.
// A value is kept until its last reader: a later op, or a rule that declares that it needs it (Rule::needs). Buffers
// whose lifetimes do not overlap share memory (greedy by size into one block).
#pragma once

#include <span>

#include "core/graph.h"
#include "core/observer.h"
#include "core/rule.h"

namespace vitrine {

/// What a run is for.
struct PlanRequest {
  const Graph* graph = nullptr;
  std::int32_t batch = 1;                ///< the largest batch
  std::span<const Rule* const> rules{};  ///< one a node; empty: forward only
  std::int32_t channels = 1;             ///< signals a value carries (2 for DeepLIFT's positive and negative)
  bool reference = false;                ///< a second trace, of the reference input, is kept beside the first
  bool one_reference = false;  ///< that of one image, for all of a batch; it lasts from run to run. Not with an
                               ///< observer, nor in a network with several inputs.
  bool parameter_gradients = false;
  /// With parameter_gradients: takes each, in the place of a block of all of them. No parameter may be read by two
  /// nodes.
  Updater* updater = nullptr;
  Id until = no_id;                   ///< the value whose signal is wanted; no_id: none (training)
  std::span<const Id> seeds{};        ///< where signals start; empty: at the output
  std::span<const Id> keep_values{};  ///< stay readable to the end of the run; with seeds, the output needs to be named
  std::span<const Id> keep_signals{};
  bool ledger = false;
  /// Activation checkpointing (Chen et al. 2016): few values are kept from the forward run for the walk, and the walk
  /// computes the others again, a segment of the network at a time. Not with a reference or an observer.
  bool recompute = false;
  bool constant_parameters = false;  ///< weights are prepared for the kernels once, and kept
  Observer* observer = nullptr;      ///< called in every forward run and walk of the plan
};

inline constexpr std::size_t not_planned = ~std::size_t{0};

/// A node whose forward run does the work of nodes after it: residual sum and ReLU where nobody else reads what lies
/// between.
struct Fusion {
  Id result = no_id;    ///< the value that it writes: that of the last node it stands for; no_id: its own
  Id residual = no_id;  ///< the value that it adds
  bool relu = false;
  bool absorbed = false;  ///< the node itself is done by an earlier one, and does not run
};

/// Offsets in bytes from the start of the run's memory; not_planned where there is none.
struct Plan {
  PlanRequest request{};
  std::span<std::size_t> values, reference_values;  ///< a value
  std::span<std::size_t> signals;                   ///< value * channels + channel
  std::span<std::size_t> aux, reference_aux;        ///< a node
  std::span<Fusion> fused;                          ///< a node
  std::span<Id> rectifier;  ///< a node: the ReLU before it whose step of the walk it does too; no_id: none
  std::span<Id>
      carried;  ///< a value: where its signal goes: itself, or what lies before a node without a step of its own
  std::span<Id>
      shares;           ///< a value: the one whose signal's place its own takes, when that is read no more; else itself
  std::span<Id> shown;  ///< a node: the value that its step of the walk reads as its result
  std::span<bool> innermost;  ///< a value: in batches that `lanes` divides, its images lie innermost
  std::int32_t lanes = 1;
  std::span<std::int32_t>
      segments;  ///< the first node of each segment: with recompute several, the last of which is not run again
  std::span<bool> again;                           ///< a node: it runs again in the walk
  std::span<std::size_t> again_values, again_aux;  ///< where what it writes then lies
  std::span<bool> needed;         ///< a node: something that is asked for hangs on it; others do not run
  std::span<bool> walked;         ///< a node: a signal passes it
  std::span<bool> wanted;         ///< a value: its signal is wanted, itself or on the way
  std::size_t planned_bytes = 0;  ///< values and signals
  std::size_t scratch_bytes = 0;  ///< the most that any step takes for kernels
  std::size_t book_bytes = 0;     ///< likewise for the small arrays of ops and rules
  std::size_t prepared_bytes = 0, prepared_count = 0;  ///< weights prepared for the kernels
  /// Whether node i runs by itself, and the value that it then writes.
  bool runs(std::size_t i) const noexcept { return needed[i] && !fused[i].absorbed; }
  /// The value to which node i's step of the walk sends the signal of its k-th input.
  Id target(std::size_t i, std::size_t k) const noexcept { return carried[request.graph->nodes[i].in[k]]; }
  /// TensorView::lanes of a value in a batch.
  std::int32_t lanes_of(Id v, std::int32_t batch) const noexcept {
    return innermost[v] && batch % lanes == 0 ? lanes : 1;
  }
  Id result(std::size_t i) const noexcept {
    return fused[i].result != no_id ? fused[i].result : request.graph->nodes[i].out;
  }
  std::size_t bytes() const noexcept {
    return planned_bytes + scratch_bytes + book_bytes + prepared_bytes + prepared_count * sizeof(Prepared::Entry) +
           6 * Arena::alignment;
  }
  /// Of these, what the host itself writes (Run's `book`).
  std::size_t host_bytes() const noexcept {
    return book_bytes + prepared_count * sizeof(Prepared::Entry) + 4 * Arena::alignment;
  }
};

/// Why a step of this plan could not run, before anything runs: a rule refuses its op, or is missing.
Status check_rules(const PlanRequest&, const Plan&, Failure*) noexcept;

/// Lays out a run. Nodes that no seed, kept value or signal and (without seeds) not the output hangs on are left out,
/// unless an observer wants to see them all. `book` holds the plan's arrays (and some working memory, given back).
/// `ctx` gives the number of workers and the kernels that scratch sizes depend on; nothing is computed.
Status make_plan(const PlanRequest&, const Context& ctx, Arena& book, Plan&) noexcept;

}  // namespace vitrine
