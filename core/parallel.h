// Threads, as the layers see them. Work comes as numbered tiles; who runs a tile, and when, never changes its result.
#pragma once

#include <cstdint>

namespace vitrine {

/// A callable reference: what a lambda is passed as without heap. It must outlive the call.
class TileBody {
 public:
  template <class F>
  explicit TileBody(F& f) noexcept
      : object_(&f),
        call_([](void* o, std::int64_t tile, int worker) noexcept { (*static_cast<F*>(o))(tile, worker); }) {}
  void operator()(std::int64_t tile, int worker) const noexcept { call_(object_, tile, worker); }

 private:
  void* object_;
  void (*call_)(void*, std::int64_t, int) noexcept;
};

class Parallel {
 public:
  virtual int workers() const noexcept = 0;  ///< worker numbers are 0 .. workers()-1
  /// Runs every tile once, on any worker; returns when all are done.
  virtual void run(std::int64_t tiles, TileBody body) noexcept = 0;

 protected:
  ~Parallel() = default;  // never deleted through the base: no operator delete in firmware
};

template <class F>
void run_tiles(Parallel* parallel, std::int64_t tiles, F&& f) noexcept {
  if (parallel != nullptr && tiles > 1) {
    parallel->run(tiles, TileBody(f));
  } else {
    for (std::int64_t tile = 0; tile < tiles; ++tile) f(tile, 0);
  }
}

}  // namespace vitrine
