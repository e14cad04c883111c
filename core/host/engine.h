// An engine has kernels, with threads or a device. Sessions (core/host/session.h) run graphs on it.
#pragma once

#include <memory>
#include <string>

#include "core/context.h"
#include "core/host/device.h"
#include "core/host/thread_pool.h"

namespace vitrine {

class Engine {
 public:
  /// `threads` 0: one a core that this process may use. `device`: cpu, cuda or cuda:N (core/host/device.h).
  /// `memory`: bytes of the host that one run may take; 0: what available_memory() says when the run is made.
  explicit Engine(int threads = 0, const std::string& device = "cpu", std::size_t memory = 0);
  Context context() const noexcept {
    Context ctx;
    ctx.kernels = kernels_;
    ctx.parallel = pool_.get();
    ctx.unsplit = device_ != nullptr;
    ctx.report = report_;
    return ctx;
  }
  int threads() const noexcept { return pool_ ? pool_->workers() : 1; }
  const kernels::Device* device() const noexcept { return device_; }  ///< null: the host
  std::size_t memory() const noexcept { return memory_; }

 private:
  const kernels::Device* device_;
  const Kernels* kernels_;
  std::unique_ptr<ThreadPool> pool_;
  Report* report_;
  std::size_t memory_;
};

}  // namespace vitrine
