// How the host runs graphs: a Session owns the memory of one plan on an Engine. Every failure of the layers below is
// thrown as one Error with a sentence.
//
// With a device, values, signals, parameters and gradients are in the device's memory; only Session::download, Storage
// and the kernels may follow a pointer to them. Without a device all of them are in host memory, and the same calls
// copy nothing.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/geometry.h"
#include "core/host/error.h"
#include "core/host/tensor.h"
#include "core/planner.h"
#include "core/run.h"

namespace vitrine {

/// Which part of the input each position of a value sees (core/geometry.h); an Error if positions have no such part.
Geometry geometry_of(const Graph&, Id value);

/// A plan with its memory, ready to run. The graph, the rules and the observer of the request must outlive it; the
/// request's arrays need not.
class Session {
 public:
  /// Parameters in host memory; they must outlive the session. Only training (Context::training) writes parameters, so
  /// constant ones do here. `prepare`: weights are prepared for the kernels once, and kept
  /// (PlanRequest::constant_parameters).
  Session(const Engine&, const PlanRequest&, std::span<const real> parameters, bool prepare = true);
  /// Parameters and gradients in the memory that the engine's kernels work on.
  Session(const Engine&, const PlanRequest&, real* parameters, real* parameter_gradients);
  /// Makes only the plan, and calls f(plan).
  template <class F>
  static void with_plan(const Engine& engine, const PlanRequest& request, F&& f) {
    const Session alone(engine, request);
    f(alone.plan_);
  }

  Session(const Session&) = delete;
  ~Session();
  /// Inputs are in host memory, and must stay until the walk is done.
  void forward(const TensorView& input, Id first_node = 0);
  /// The value of an input beside the main one, for the runs that follow (Run::give). The session copies it.
  void give(Id input, const TensorView& value);
  void forward_reference(const TensorView& input);
  void walk_back(Ledger* = nullptr);
  /// The numbers of a value or signal of the run (run().value, run().signal), good until the session runs again.
  HostTensor peek(const TensorView& t) const { return {device_, t, false}; }
  /// A copy of them that stays.
  HostTensor download(const TensorView& t) const { return {device_, t, true}; }
  /// Sets a signal: t = values. An Error if there is not one number per element.
  void upload(const TensorView& t, std::span<const real> values) {
    if (static_cast<std::int64_t>(values.size()) != t.size())
      throw Error("a signal of " + std::to_string(t.size()) + " numbers cannot be set from " +
                  std::to_string(values.size()));
    vitrine::upload(device_, t.data, values.data(), values.size_bytes());
  }
  /// Runs f(context) and turns a failure into an Error.
  template <class F>
  void check(F&& f) {
    Failure failure;
    Context ctx = context_;
    ctx.failure = &failure;
    raise(f(ctx), failure);
    if (device_ != nullptr) raise_device_failure();
  }
  Context& context() noexcept { return context_; }
  Run& run() noexcept { return *run_; }
  const Plan& plan() const noexcept { return plan_; }
  /// Batches that are multiples of this run fastest; 1: all sizes are alike.
  std::int32_t batch_multiple() const noexcept;

 private:
  // Work that the device can repeat as one piece: it is run once, recorded the next time, and replayed from then on.
  struct Recorded {
    void* work = nullptr;
    std::int32_t batch = 0;  // of the last run
    Id first_node = 0;
    bool impossible = false;
  };
  template <class F>
  void run_recorded(Recorded&, bool possible, std::int32_t batch, Id first_node, F&& f);
  void forget(Recorded&);

  Session(const Engine&, const PlanRequest&);  // the plan, not yet its memory
  void check_memory() const;
  void make_run(real* parameters, real* parameter_gradients);
  TensorView placed(const TensorView& input, Memory&);
  static void raise(Status, Failure);
  void raise_device_failure() const;

  const kernels::Device* device_;
  std::size_t memory_limit_;
  Context context_;
  // Copies of the request's arrays, so that the caller's may go.
  std::vector<std::int32_t> batches_;
  std::vector<const Rule*> rules_;
  std::vector<Id> seeds_, keep_values_, keep_signals_;
  Memory book_;
  Plan plan_;
  Memory memory_, run_book_, parameters_, input_, reference_input_;
  struct Given {
    Memory memory;
    std::int32_t images = 0;  // of the last call
  };
  std::vector<Given> given_;  // by position among the graph's inputs
  std::unique_ptr<Run> run_;
  Recorded forward_, walk_;
  bool draws_ = false;  // a node draws random numbers, so each run differs
};

}  // namespace vitrine
