// The host's way to run graphs: an Engine has threads and kernels, a Session has the memory of one plan. Failures from
// below become one Error each, with a sentence.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/geometry.h"
#include "core/io/error.h"
#include "core/run.h"

namespace vitrine {

/// "conv1: has a weight of another shape: found (6,1,5,5), expected (6,3,5,5)".
std::string sentence(const Failure&);
std::string text(const Shape&);
std::string text(std::span<const std::int64_t> dimensions);

/// Where the places of a value look (core/geometry.h); an Error where they have no such thing.
Geometry geometry_of(const Graph&, Id value);

/// Zero-initialised pages, kept until the end: huge pages are asked for where the system has them, since touching fresh
/// small pages costs far more than the work on them.
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes);  ///< throws Error where the machine has no such memory
  ~Memory();
  Memory(Memory&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr, other.bytes_ = 0; }
  Memory& operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class Engine {
 public:
  /// `threads` 0: one a core that this process may use.
  explicit Engine(int threads = 0);
  Context context() const noexcept {
    Context ctx;
    ctx.kernels = kernels_;
    ctx.parallel = pool_.get();
    return ctx;
  }
  int threads() const noexcept { return pool_ ? pool_->workers() : 1; }

 private:
  const Kernels* kernels_;
  std::unique_ptr<ThreadPool> pool_;
};

/// A plan with its memory, ready to run.
class Session {
 public:
  /// Without gradients nothing but training (Context::training) writes parameters, so constant ones will do.
  Session(const Engine&, const PlanRequest&, std::span<const real> parameters);
  Session(const Engine&, const PlanRequest&, real* parameters, real* parameter_gradients);

  void forward(const TensorView& input, Id first_node = 0);
  void forward_reference(const TensorView& input);
  void walk_back(Ledger* = nullptr);
  /// Runs f(context) and turns a failure into an Error.
  template <class F>
  void check(F&& f) {
    Failure failure;
    Context ctx = context_;
    ctx.failure = &failure;
    raise(f(ctx), failure);
  }
  Context& context() noexcept { return context_; }
  Run& run() noexcept { return *run_; }
  const Plan& plan() const noexcept { return plan_; }

 private:
  static void raise(Status, Failure);

  Context context_;
  Memory book_;
  Plan plan_;
  Memory memory_;
  std::unique_ptr<Run> run_;
};

}  // namespace vitrine
