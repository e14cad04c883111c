// Threads of the host.
#pragma once

#include <memory>

#include "core/parallel.h"

namespace vitrine {

/// A pool of threads. The caller works too, so ThreadPool(1) starts none. Threads sleep while there is no
/// work, after a short spin: a machine shared with others must not burn its cores waiting.
class ThreadPool final : public Parallel {
 public:
  explicit ThreadPool(int workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  int workers() const noexcept override;
  void run(std::int64_t tiles, TileBody body) noexcept override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vitrine
