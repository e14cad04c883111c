// The passes of planning, and what they share. core/planner.cpp calls them in order and says why in that order.
#pragma once

#include "core/plan/plan.h"

namespace vitrine::planning {

/// Who reads a value. Nodes are in the order of the forward run; the walk goes through them backward, so the first node
/// whose backward step reads a value is the last to read it in time. `none` (the number of nodes): no step reads it.
struct Reads {
  std::int32_t forward = -1;    ///< the last node whose forward run reads or writes it
  std::int32_t walk = 0;        ///< the first node whose backward step reads it
  std::int32_t reference = -1;  ///< the same two, of its twin in the reference run
  std::int32_t reference_walk = 0;
  std::int32_t watched = -1;  ///< the last watched node that reads or writes it: the observer may compare both runs
};

/// A plan in the making. Everything but `plan` is working memory, given back when planning ends.
struct Draft {
  const PlanRequest& request;
  const Graph& graph;
  const Context& ctx;
  Plan& plan;
  std::span<Need> needs{};   ///< per node: what its backward step reads of the forward run
  std::span<Reads> reads{};  ///< per value
  std::span<bool> flags{};   ///< per value: a pass's own marks

  std::int32_t nodes() const noexcept { return static_cast<std::int32_t>(graph.nodes.size()); }
  bool walk() const noexcept { return !request.rules.empty(); }
  /// Signals start here.
  bool seeded(Id v) const noexcept;
  /// The caller reads this value after the run.
  bool keeps(Id v) const noexcept;
  /// Someone outside the walk's steps reads or writes its signal: the caller, or the observer.
  bool signal_seen(Id v) const noexcept;
  /// The observer watches the node that makes this value.
  bool made_watched(Id v) const noexcept;
  /// How many needed nodes read the value, and the last of them.
  struct Readers {
    std::size_t count = 0, last = 0;
  };
  Readers readers(Id v) const noexcept;
};

bool contains(std::span<const Id>, Id) noexcept;

/// Bytes of a value for so many images, as buffers are sized.
std::size_t buffer_bytes(const Graph&, Id value, std::size_t images) noexcept;
constexpr std::size_t aligned(std::size_t bytes) noexcept {
  return (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
}

Status reach(Draft&) noexcept;
void see_relu_outputs(Draft&) noexcept;
void elide_steps(Draft&) noexcept;
void find_reads(Draft&) noexcept;
void choose_layout(Draft&) noexcept;
void reuse_signals(Draft&) noexcept;
void fuse_epilogues(Draft&) noexcept;
void cut_segments(Draft&) noexcept;
void set_lifetimes(Draft&) noexcept;
Status place_buffers(Draft&, Arena& book) noexcept;

}  // namespace vitrine::planning
