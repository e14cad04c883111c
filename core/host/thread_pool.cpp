#include "core/host/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/host/error.h"

namespace vitrine {

// One job at a time. Every worker begins with a share of neighbouring tiles, the same one job after job: what one op
// wrote, the next finds in the same core's cache. Who is done takes from the others' shares, so a slow (descheduled)
// thread delays one tile, not its share of all. A job's description is only read by threads that have registered under
// the mutex, so a late sleeper can never touch a finished job.
struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake, idle;
  const TileBody* body = nullptr;
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };
  std::vector<Share> shares;  // a worker
  std::atomic<std::uint64_t> generation{0};
  std::atomic<int> inside{0};  // helpers that joined the current job and have not left it; changed under the mutex
  bool quit = false;
  std::vector<std::thread> threads;

  // A short spin catches the next op of a network, or the last tile of this one, where falling asleep and being woken
  // would take longer; yielding keeps it harmless where cores are shared.
  template <class Done>
  static void spin(Done&& done) noexcept {
    for (int k = 0; k < 256 && !done(); ++k) std::this_thread::yield();
  }

  void work(const TileBody& job, int worker) noexcept {
    for (std::size_t k = 0; k < shares.size(); ++k) {
      Share& s = shares[(static_cast<std::size_t>(worker) + k) % shares.size()];
      for (std::int64_t tile = s.next.fetch_add(1); tile < s.end; tile = s.next.fetch_add(1)) job(tile, worker);
    }
  }

  void stop() noexcept {
    {
      const std::lock_guard lock(mutex);
      quit = true;
    }
    wake.notify_all();
    for (std::thread& t : threads) t.join();
  }

  void helper(int worker) noexcept {
    std::uint64_t seen = 0;
    for (;;) {
      spin([&] { return generation.load(std::memory_order_acquire) != seen; });
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return quit || (generation != seen && body != nullptr); });
      if (quit) return;
      seen = generation;
      const TileBody* job = body;
      ++inside;
      lock.unlock();
      work(*job, worker);
      lock.lock();
      if (--inside == 0) idle.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int workers) : state_(std::make_unique<State>()) {
  state_->shares = std::vector<State::Share>(static_cast<std::size_t>(workers > 1 ? workers : 1));
  try {
    for (int w = 1; w < workers; ++w) state_->threads.emplace_back([this, w] { state_->helper(w); });
  } catch (const std::system_error&) {
    const std::size_t started = state_->threads.size();
    state_->stop();
    throw Error("the system starts " + std::to_string(started + 1) + " threads at most, expected " +
                std::to_string(workers));
  }
}

ThreadPool::~ThreadPool() { state_->stop(); }

int ThreadPool::workers() const noexcept { return static_cast<int>(state_->threads.size()) + 1; }

void ThreadPool::run(std::int64_t tiles, TileBody body) noexcept {
  if (state_->threads.empty() || tiles <= 1) {
    for (std::int64_t tile = 0; tile < tiles; ++tile) body(tile, 0);
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->body = &body;
    const auto n = static_cast<std::int64_t>(state_->shares.size());
    for (std::int64_t w = 0; w < n; ++w) {
      state_->shares[static_cast<std::size_t>(w)].next = w * tiles / n;
      state_->shares[static_cast<std::size_t>(w)].end = (w + 1) * tiles / n;
    }
    ++state_->generation;
  }
  state_->wake.notify_all();
  state_->work(body, 0);
  {
    const std::lock_guard lock(state_->mutex);
    state_->body = nullptr;  // nobody may join any more
  }
  State::spin([&] { return state_->inside.load(std::memory_order_acquire) == 0; });
  std::unique_lock lock(state_->mutex);
  state_->idle.wait(lock, [&] { return state_->inside == 0; });
}

}  // namespace vitrine
