// What every op and rule is handed when it runs: kernels, scratch memory, threads, and where to say what went wrong.
#pragma once

#include <span>

#include "core/arena.h"
#include "core/parallel.h"
#include "core/report.h"
#include "core/status.h"
#include "kernels/kernels.h"

namespace vitrine {

inline constexpr const char* memory_too_small = "the run's memory is smaller than its plan";

/// Weights as kernels want them (packed, transformed), kept from run to run while no parameter changes.
class Prepared {
 public:
  /// What was prepared: by which slot of the table, from which weights (kernels::PackKey).
  struct Key {
    const void* slot = nullptr;
    kernels::PackKey pack{};
    std::size_t bytes = 0;
    friend constexpr bool operator==(const Key&, const Key&) = default;
  };
  struct Entry {
    Key key;
    std::byte* data;
  };

  Prepared() noexcept = default;
  Prepared(std::span<Entry> entries, Arena memory) noexcept : entries_(entries), memory_(memory) {}
  /// The data of this key; null if it does not fit. `made`: the data was there already.
  std::byte* find(const Key& key, bool& made) noexcept;
  std::size_t count() const noexcept { return count_; }
  std::size_t peak() const noexcept { return memory_.peak(); }

 private:
  std::span<Entry> entries_;
  std::size_t count_ = 0;
  Arena memory_;
};

struct Context {
  const Kernels* kernels = nullptr;
  Arena* scratch = nullptr;      ///< for data that kernels touch; an op gives back what it takes (ArenaScope)
  Arena* book = nullptr;         ///< for small arrays that ops and rules touch themselves (views); likewise
  Prepared* prepared = nullptr;  ///< null: parameters change, so weights are prepared for each use
  Parallel* parallel = nullptr;  ///< null: everything runs on the calling thread
  bool training = false;         ///< dropout drops, batch norm uses the batch
  std::uint64_t random_key = 0;  ///< stream of this run's random numbers; an op derives its own by node index
  Failure* failure = nullptr;    ///< where to put the first failure's details; may be null
  Report* report = nullptr;      ///< is told which way each kernel goes; null: nobody asks
  bool recomputing = false;      ///< this node is being recomputed: leave running statistics alone
  bool unsplit = false;          ///< work is not cut into ranges: a device takes each piece as one

  const Kernels* operator->() const noexcept { return kernels; }
  int workers() const noexcept { return parallel != nullptr ? parallel->workers() : 1; }

  /// Notes the first failure and returns its status.
  Status fail(Status status, const char* what, Shape found = {}, Shape expected = {}) const noexcept;

  /// Names the node at which the first failure happened, unless it has a name; returns the status.
  Status blame(const char* node, Status status) const noexcept {
    if (status != Status::ok && failure != nullptr && failure->node[0] == '\0') failure->node = node;
    return status;
  }

  /// A tensor in scratch memory, uninitialised; it lives until the enclosing ArenaScope ends.
  Status temporary(const Shape& shape, TensorView& out) const noexcept;

  /// The same in the layout of another.
  Status temporary_like(const TensorView& other, TensorView& out) const noexcept;

  /// Cuts [0, n) into ranges of `grain` (the same ranges on any number of threads) and calls body(begin, end).
  template <class Body>
  void ranges(std::int64_t n, std::int64_t grain, Body&& body) const noexcept {
    if (unsplit) {
      if (n > 0) body(std::int64_t{0}, n);
      return;
    }
    const std::int64_t tiles = (n + grain - 1) / grain;
    run_tiles(parallel, tiles, [&](std::int64_t tile, int) noexcept {
      const std::int64_t begin = tile * grain, end = begin + grain < n ? begin + grain : n;
      body(begin, end);
    });
  }

  /// Tells the report which way a kernel that is not tiled goes (Kernels::choices).
  template <class Args, class... More>
  void tell(kernels::Choice (*choice)(const Args&, More...) noexcept, const Args& args,
            std::type_identity_t<More>... more) const noexcept {
    if (report != nullptr && choice != nullptr) report->chose(choice(args, more...), args);
  }

  /// Runs a tiled kernel: scratch from the arena, tiles over the threads.
  template <class Args>
  Status run(const kernels::Tiled<Args>& kernel, const Args& args) const noexcept {
    const kernels::Work work = kernel.plan(args);
    const ArenaScope scope(*scratch);
    if (report != nullptr && kernel.choice != nullptr) report->chose(kernel.choice(args), args);
    Prepared::Key key{&kernel, {}, work.shared_bytes};
    const bool kept = prepared != nullptr && kernel.key != nullptr;
    if (kept) key.pack = kernel.key(args);
    TileMemory m;
    VITRINE_TRY(take(work, kept ? &key : nullptr, m));
    if (!m.made)
      run_tiles(parallel, work.parts, [&](std::int64_t part, int) noexcept { kernel.pack(args, m.shared, part); });
    run_tiles(m.workers > 1 ? parallel : nullptr, work.tiles, [&](std::int64_t tile, int worker) noexcept {
      kernel.tile(args, m.shared, m.own + m.each * static_cast<std::size_t>(worker), tile);
    });
    return Status::ok;
  }

 private:
  /// Memory of one run of a tiled kernel.
  struct TileMemory {
    std::byte *shared = nullptr, *own = nullptr;
    std::size_t each = 0;  ///< bytes of `own` per worker
    int workers = 1;
    bool made = false;  ///< `shared` holds what pack would write
  };
  /// `key`: of what is kept from run to run; null: nothing is.
  Status take(const kernels::Work&, const Prepared::Key* key, TileMemory&) const noexcept;
};

/// Elements of cheap elementwise work that one tile takes: large enough to pay for waking a thread.
inline constexpr std::int64_t elementwise_grain = 1 << 15;

}  // namespace vitrine
