// One planned execution of a graph: forward leaves a trace, `walk_back` walks over it with one rule a node.
#pragma once

#include "core/plan.h"

namespace vitrine {

/// One line of the ledger: what a step did to the signal. Conserved sums prove little (maps can be wrong with a perfect
/// sum, and magnitudes can grow by 10^9 while the sum holds), so amplification stands beside conservation.
struct LedgerLine {
  bool filled = false;
  const char* rule = "";
  kernels::Stats out{}, in{};  ///< the signal that arrived, and what this step sent to all inputs together
  StepReport absorbed{};
  double seconds = 0;
  std::size_t bytes = 0;  ///< of the signals read and written
};

struct Ledger {
  std::span<LedgerLine> lines{};         ///< one a node
  double (*clock)() noexcept = nullptr;  ///< seconds; null: times stay 0
};

class Run {
 public:
  /// Binds a plan to memory of at least plan.bytes() bytes, parameters (graph.parameter_size elements) and, where the
  /// plan has parameter gradients, a block of the same size for them. All stay the caller's.
  Run(const Plan& plan, std::byte* memory, real* parameters, real* parameter_gradients = nullptr) noexcept;
  /// The same where kernels work on a device: memory and parameters are the device's, `book` is host memory of at least
  /// plan.host_bytes().
  Run(const Plan& plan, std::byte* memory, std::byte* book, real* parameters, real* parameter_gradients) noexcept;

  /// Runs the nodes from `first_node` on. `input` is the main input's value; it is read in place and must stay until
  /// the walk is done, and its batch may be smaller than the plan's. Every other input that a node of the plan reads
  /// must have been given in a batch of that size. Rerunning from a later node needs the values it reads to be kept.
  Status forward(const Context&, const TensorView& input, Id first_node = 0) noexcept;
  /// The value of an input that is not the main one, for the runs that follow: read in place, so it must stay until the
  /// last of their walks is done.
  Status give(const Context&, Id input, const TensorView& value) noexcept;
  /// Likewise for the reference run, which must come first: before each run, or once where there is one reference for
  /// all images, which then must stay where it is. Of the other inputs it reads the values that were given, so that
  /// they differ in nothing from the run's and the main input alone explains the difference of the outputs. One
  /// reference for all images is therefore refused where there are other inputs.
  Status forward_reference(const Context&, const TensorView& input) noexcept;
  /// Walks from the seeds, whose signals (signal(seed)) the caller has set, back to plan.request.until.
  Status walk_back(const Context&, Ledger* = nullptr) noexcept;

  TensorView value(Id) const noexcept;
  TensorView reference_value(Id) const noexcept;
  TensorView signal(Id, std::int32_t channel = 0) const noexcept;
  TensorView parameter(Id) const noexcept;
  TensorView parameter_gradient(Id) const noexcept;
  const Plan& plan() const noexcept { return plan_; }
  std::int32_t batch() const noexcept { return batch_; }

 private:
  friend Status measure_scratch(const Context&, Arena&, Plan&) noexcept;
  Run(const Plan& plan, std::byte* memory, Arena scratch, Arena book, Prepared prepared) noexcept;

  Context with_scratch(const Context&) noexcept;
  Status run_nodes(const Context&, bool reference, Id first_node) noexcept;
  Status run_node(const Context&, bool reference, Id node) noexcept;
  Status walk_segments(const Context&, std::span<bool> written, Ledger*) noexcept;
  Status check_given(const Context&, std::int32_t batch) const noexcept;
  const TensorView& given(Id input, bool reference) const noexcept;
  NodeIO io(Id node, bool reference) noexcept;
  NodeIO forward_io(Id node, bool reference) noexcept;
  Status step(const Context&, Id node, std::span<bool> written, Ledger*) noexcept;
  TensorView place(std::size_t offset, Id value, std::int32_t batch) const noexcept;

  Plan plan_;  // spans: a cheap copy
  std::byte* memory_;
  real* parameters_;
  real* gradients_;
  Arena scratch_, book_;
  Prepared prepared_;
  TensorView input_, reference_input_, given_[max_inputs];  // given_: by place among the graph's inputs
  std::int32_t batch_ = 0;
  bool again_ = false;  // the walk is on: values that were dropped are where they were computed again
};

/// Fills in plan.scratch_bytes and plan.book_bytes by a dry run of the whole plan: the same code as a real run, with
/// kernels that do nothing and data at addresses that nobody reads. `book` lends memory and gets it back.
Status measure_scratch(const Context&, Arena& book, Plan&) noexcept;

}  // namespace vitrine
