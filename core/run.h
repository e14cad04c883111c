// One planned execution of a graph: the forward run leaves a trace, and the walk goes back over it with one rule per
// node. All decisions are the plan's (core/plan/plan.h); run.cpp and walk.cpp carry them out.
#pragma once

#include "core/plan/plan.h"

namespace vitrine {

/// One line of the ledger: what a step did to the signal. A conserved sum proves little (a map can be wrong while its
/// sum is perfect, and magnitudes can grow by 10^9 while the sum holds), so the absolute sums that show amplification
/// are noted too.
struct LedgerLine {
  bool filled = false;
  const char* rule = "";
  kernels::Stats out{}, in{};  ///< of the signal that arrived, and of what the step sent to all its inputs together
  StepReport absorbed{};
  double seconds = 0;
  std::size_t bytes = 0;  ///< of the signals read and written
};

struct Ledger {
  std::span<LedgerLine> lines{};         ///< one per node
  double (*clock)() noexcept = nullptr;  ///< seconds; null: times stay 0
  double now() const noexcept { return clock != nullptr ? clock() : 0; }
};

/// A run's memory, cut into its parts.
struct RunMemory {
  std::byte* planned = nullptr;  ///< values and signals, at the plan's offsets
  Arena scratch;                 ///< for kernels; starts empty in every run and walk
  Arena book;                    ///< for the small arrays of ops and rules; likewise
  Prepared prepared;             ///< weights prepared for the kernels; lasts

  /// `memory`: plan.bytes() bytes, anywhere.
  static RunMemory of(const Plan&, std::byte* memory) noexcept;
  /// `memory` is a device's, and `book` host memory of plan.host_bytes() bytes.
  static RunMemory of(const Plan&, std::byte* memory, std::byte* book) noexcept;
};

class Run {
 public:
  /// Binds a plan to memory of at least plan.bytes() bytes, to parameters (graph.parameter_size elements) and, if the
  /// plan has parameter gradients, to a block of the same size for them. All stay the caller's.
  Run(const Plan& plan, std::byte* memory, real* parameters, real* parameter_gradients = nullptr) noexcept
      : Run(plan, RunMemory::of(plan, memory), parameters, parameter_gradients) {}
  /// The same, if kernels work on a device: memory and parameters are the device's, and `book` is host memory of at
  /// least plan.host_bytes() bytes.
  Run(const Plan& plan, std::byte* memory, std::byte* book, real* parameters, real* parameter_gradients) noexcept
      : Run(plan, RunMemory::of(plan, memory, book), parameters, parameter_gradients) {}
  Run(const Plan& plan, RunMemory memory, real* parameters, real* parameter_gradients) noexcept
      : plan_(plan), memory_(memory), parameters_(parameters), gradients_(parameter_gradients) {}

  /// Runs the nodes from `first_node` on. `input` is the value of the main input; it is read in place and must stay
  /// until the walk is done, and its batch is one that the plan takes. Every other input that a node of the plan reads
  /// must have been given in a batch of that size. Starting at a later node needs the values it reads to be kept.
  Status forward(const Context&, const TensorView& input, Id first_node = 0) noexcept;
  /// The value of an input that is not the main one, for the runs that follow. It is read in place, so it must stay
  /// until the last of their walks is done.
  Status give(const Context&, Id input, const TensorView& value) noexcept;
  /// The reference run, which comes before the forward run: each time, or once if one reference serves all images,
  /// which then must stay where it is. It reads the other inputs as they were given, so that the main input alone
  /// explains the difference of the outputs; one reference for all images is therefore refused if there are other
  /// inputs.
  Status forward_reference(const Context&, const TensorView& input) noexcept;
  /// Walks from the seeds, whose signals (signal(seed)) the caller has set, back to plan.request.until.
  Status walk_back(const Context&, Ledger* = nullptr) noexcept;

  TensorView value(Id) const noexcept;
  TensorView reference_value(Id) const noexcept;
  TensorView signal(Id, std::int32_t channel = 0) const noexcept;
  TensorView parameter(Id) const noexcept;
  TensorView parameter_gradient(Id) const noexcept;
  const Plan& plan() const noexcept { return plan_; }
  const RunMemory& memory() const noexcept { return memory_; }
  std::int32_t batch() const noexcept { return batch_; }

 private:
  struct WalkState;
  struct Operands;

  Context with_scratch(const Context&) noexcept;
  TensorView view(const Buffer&, Id value, std::int32_t batch) const noexcept;
  NodeIO io(Id node, bool reference) noexcept;
  NodeIO forward_io(Id node, bool reference) noexcept;
  const TensorView& given(Id input, bool reference) const noexcept;
  Status check_given(const Context&, std::int32_t batch) const noexcept;
  Status run_nodes(const Context&, bool reference, Id first_node) noexcept;
  Status run_node(const Context&, bool reference, Id node) noexcept;

  // walk.cpp
  Status walk_segments(const Context&, WalkState&) noexcept;
  Status step(const Context&, Id node, WalkState&) noexcept;
  Status prepare(const Context&, Id node, const WalkState&, Operands&) noexcept;
  Status make_sink(const Context&, Id value, std::int32_t channel, bool add, bool alone, Sink&) noexcept;
  Status make_parameter_sink(const Context&, Id parameter, bool add, Sink&) noexcept;
  Status update_parameters(const Context&, Id node, const Operands&) noexcept;
  void note(const Context&, Id node, const Operands&, double seconds, LedgerLine&) const noexcept;

  Plan plan_;  // spans: a cheap copy
  RunMemory memory_;
  real* parameters_;
  real* gradients_;
  TensorView input_, reference_input_;
  TensorView given_[max_inputs];  // by position among the graph's inputs; that of the main one is unused
  std::int32_t batch_ = 0;
  bool walking_ = false;  // values that were dropped are read where they were computed again
};

}  // namespace vitrine
