// The host's way to run graphs: an Engine has kernels, with threads or a device, a Session has the memory of one plan.
// Failures from below become one Error each, with a sentence.
//
// With a device, values, signals, parameters and gradients live there, and nothing but Session::download, Storage and
// the kernels may follow a pointer to them. Without one all of it is host memory, and the same calls copy nothing.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/geometry.h"
#include "core/io/error.h"
#include "core/run.h"
#include "models/device.h"

namespace vitrine {

/// "conv1: has a weight of another shape: found (6,1,5,5), expected (6,3,5,5)".
std::string sentence(const Failure&);
std::string text(const Shape&);
std::string text(std::span<const std::int64_t> dimensions);

/// Where the places of a value look (core/geometry.h); an Error where they have no such thing.
Geometry geometry_of(const Graph&, Id value);

class Engine {
 public:
  /// `threads` 0: one a core that this process may use. `device`: cpu, cuda or cuda:N (models/device.h).
  explicit Engine(int threads = 0, const std::string& device = "cpu");
  Context context() const noexcept {
    Context ctx;
    ctx.kernels = kernels_;
    ctx.parallel = pool_.get();
    ctx.whole = device_ != nullptr;
    return ctx;
  }
  int threads() const noexcept { return pool_ ? pool_->workers() : 1; }
  const kernels::Device* device() const noexcept { return device_; }  ///< null: the host

 private:
  const kernels::Device* device_;
  const Kernels* kernels_;
  std::unique_ptr<ThreadPool> pool_;
};

/// Numbers where an engine's kernels work.
class Storage {
 public:
  Storage() = default;
  /// Zeros.
  Storage(const Engine& engine, std::size_t count) : device_(engine.device()), memory_(count * sizeof(real), device_) {
    if (device_ != nullptr && count > 0) device_->zero(memory_.data(), memory_.bytes());
  }
  Storage(const Engine& engine, std::span<const real> values) : Storage(engine, values.size()) { upload(values); }
  real* data() const noexcept { return reinterpret_cast<real*>(memory_.data()); }
  void upload(std::span<const real> values) { vitrine::upload(device_, data(), values.data(), values.size_bytes()); }
  void download(std::span<real> values) const {
    vitrine::download(device_, values.data(), data(), values.size_bytes());
  }

 private:
  const kernels::Device* device_ = nullptr;
  Memory memory_;
};

/// A vector whose numbers kernels work on: with a device there is a copy there, and the vector is the host's, as fresh
/// as the last `fetch`. Without one they are the same.
class Mirror {
 public:
  Mirror(const Engine& engine, std::vector<real>& host) : host_(host) {
    if (engine.device() != nullptr) copy_ = Storage(engine, host);
  }
  real* data() noexcept { return copy_.data() != nullptr ? copy_.data() : host_.empty() ? nullptr : host_.data(); }
  void fetch() {
    if (copy_.data() != nullptr) copy_.download(host_);
  }

 private:
  std::vector<real>& host_;
  Storage copy_;
};

/// A tensor in host memory: on the host the tensor itself, else a copy of what it was when it was asked for.
class HostTensor {
 public:
  HostTensor(const kernels::Device*, const TensorView&);
  HostTensor(HostTensor&&) = default;
  const real* data;
  Shape shape;
  std::int64_t size() const noexcept { return shape.size(); }

 private:
  std::vector<real> copy_;  // a moved vector keeps its memory, so `data` stays right
};

/// A plan with its memory, ready to run.
class Session {
 public:
  /// With parameters in host memory. Nothing but training (Context::training) writes parameters, so constant ones will
  /// do. `prepare`: weights are prepared for the kernels once, and kept (PlanRequest::constant_parameters).
  Session(const Engine&, const PlanRequest&, std::span<const real> parameters, bool prepare = true);
  /// With parameters and gradients where the engine's kernels work.
  Session(const Engine&, const PlanRequest&, real* parameters, real* parameter_gradients);
  /// Makes the plan alone, and calls f(plan).
  template <class F>
  static void with_plan(const Engine& engine, const PlanRequest& request, F&& f) {
    const Session alone(engine, request);
    f(alone.plan_);
  }

  /// Inputs are the host's, and must stay until the walk is done.
  Session(const Session&) = delete;
  ~Session();
  void forward(const TensorView& input, Id first_node = 0);
  void forward_reference(const TensorView& input);
  void walk_back(Ledger* = nullptr);
  /// The one way to look at a value or signal of the run (run().value, run().signal).
  HostTensor download(const TensorView& t) const { return {device_, t}; }
  /// And the one way to set a signal: t = values.
  void upload(const TensorView& t, std::span<const real> values) {
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

 private:
  // Work that the device can do again as one piece: done once by itself, the next time recorded, then replayed.
  struct Recorded {
    void* work = nullptr;
    std::int32_t batch = 0;  // of the last time
    Id first_node = 0;
    bool impossible = false;
  };
  template <class F>
  void run_recorded(Recorded&, bool possible, std::int32_t batch, Id first_node, F&& f);
  void forget(Recorded&);

  Session(const Engine&, const PlanRequest&);  // the plan, not yet its memory
  void make_run(real* parameters, real* parameter_gradients);
  TensorView placed(const TensorView& input, Memory&);
  static void raise(Status, Failure);
  void raise_device_failure() const;

  const kernels::Device* device_;
  Context context_;
  Memory book_;
  Plan plan_;
  Memory memory_, run_book_, parameters_, input_, reference_input_;
  std::unique_ptr<Run> run_;
  Recorded forward_, walk_;
  bool draws_ = false;  // a node draws random numbers: each run differs
};

}  // namespace vitrine
