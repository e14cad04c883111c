#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "core/parallel.h"

namespace vitrine {

// One job at a time. Tiles are handed out by an atomic counter, so a slow (descheduled) thread delays one tile, not its
// share of all. A job's description is only read by threads that have registered under the mutex, so a late sleeper can
// never touch a finished job.
struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake, idle;
  const TileBody* body = nullptr;
  std::int64_t tiles = 0;
  std::atomic<std::int64_t> next{0};
  std::atomic<std::uint64_t> generation{0};
  int inside = 0;  // helpers that joined the current job and have not left it
  bool quit = false;
  std::vector<std::thread> threads;

  void work(const TileBody& job, std::int64_t count, int worker) noexcept {
    for (std::int64_t tile = next.fetch_add(1); tile < count; tile = next.fetch_add(1)) job(tile, worker);
  }

  void helper(int worker) noexcept {
    std::uint64_t seen = 0;
    for (;;) {
      // A short spin catches the next op of a network; yielding keeps it harmless where cores are shared.
      for (int spin = 0; spin < 64 && generation.load(std::memory_order_acquire) == seen; ++spin) std::this_thread::yield();
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return quit || (generation != seen && body != nullptr); });
      if (quit) return;
      seen = generation;
      const TileBody* job = body;
      const std::int64_t count = tiles;
      ++inside;
      lock.unlock();
      work(*job, count, worker);
      lock.lock();
      if (--inside == 0) idle.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int workers) : state_(std::make_unique<State>()) {
  for (int w = 1; w < workers; ++w) state_->threads.emplace_back([this, w] { state_->helper(w); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->quit = true;
  }
  state_->wake.notify_all();
  for (std::thread& t : state_->threads) t.join();
}

int ThreadPool::workers() const noexcept { return static_cast<int>(state_->threads.size()) + 1; }

void ThreadPool::run(std::int64_t tiles, TileBody body) noexcept {
  if (state_->threads.empty() || tiles <= 1) {
    for (std::int64_t tile = 0; tile < tiles; ++tile) body(tile, 0);
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->body = &body;
    state_->tiles = tiles;
    state_->next = 0;
    ++state_->generation;
  }
  state_->wake.notify_all();
  state_->work(body, tiles, 0);
  std::unique_lock lock(state_->mutex);
  state_->body = nullptr;  // nobody may join any more
  state_->idle.wait(lock, [&] { return state_->inside == 0; });
}

}  // namespace vitrine
