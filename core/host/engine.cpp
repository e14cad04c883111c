#include "core/host/engine.h"

#include <sched.h>

#include <thread>

#include "core/host/report.h"

namespace vitrine {

Engine::Engine(int threads, const std::string& device, std::size_t memory)
    : device_(open_device(device)),
      kernels_(device_ != nullptr ? device_->kernels : &kernels::table(kernels::active())),
      report_(report_to_stderr()),
      memory_(memory) {
  if (device_ != nullptr) return;  // one thread queues all work
  if (threads <= 0) {
    cpu_set_t set;
    threads = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                            : static_cast<int>(std::thread::hardware_concurrency());
    if (threads < 1) threads = 1;
  }
  if (threads > 1) pool_ = std::make_unique<ThreadPool>(threads);
}

}  // namespace vitrine
