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
  /// The data of this key, `made` telling whether it was there already; null where it does not fit.
  std::byte* find(const Key& key, bool& made) noexcept {
    made = true;
    for (std::size_t i = 0; i < count_; ++i)
      if (entries_[i].key == key) return entries_[i].data;
    made = false;
    std::byte* const data = count_ < entries_.size() ? memory_.allocate(key.bytes) : nullptr;
    if (data != nullptr) entries_[count_++] = {key, data};
    return data;
  }
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
  bool again = false;            ///< what ran before runs once more: nothing that lasts is written (running statistics)
  bool whole = false;            ///< a device takes each piece of work as one: ranges are not cut

  const Kernels* operator->() const noexcept { return kernels; }
  int workers() const noexcept { return parallel != nullptr ? parallel->workers() : 1; }

  /// Notes the first failure and returns its status.
  Status fail(Status status, const char* what, Shape found = {}, Shape expected = {}) const noexcept {
    if (failure != nullptr && failure->status == Status::ok) *failure = {status, "", what, found, expected, 0};
    return status;
  }

  /// Names the node at which the first failure happened, unless it has a name; returns the status.
  Status blame(const char* node, Status status) const noexcept {
    if (status != Status::ok && failure != nullptr && failure->node[0] == '\0') failure->node = node;
    return status;
  }

  /// A tensor in scratch memory, uninitialised; it lives until the enclosing ArenaScope ends.
  Status temporary(const Shape& shape, TensorView& out) const noexcept {
    out = {scratch->array<real>(static_cast<std::size_t>(shape.size())), shape};
    return out ? Status::ok : fail(Status::out_of_arena, memory_too_small);
  }

  /// The same in the layout of another.
  Status temporary_like(const TensorView& other, TensorView& out) const noexcept {
    const std::int32_t block = other.block;
    const Status s = temporary(other.shape, out);
    out.block = block;
    return s;
  }

  /// Cuts [0, n) into ranges of `grain` (the same ranges on any number of threads) and calls body(begin, end).
  template <class Body>
  void ranges(std::int64_t n, std::int64_t grain, Body&& body) const noexcept {
    if (whole) {
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
    const std::size_t each = (work.scratch_bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
    const int w =
        work.tiles > 1 ? workers() : 1;  // any worker may take a tile, also where there are fewer tiles than workers
    bool made = work.shared_bytes == 0;
    std::byte* shared = nullptr;
    if (report != nullptr && kernel.choice != nullptr) report->chose(kernel.choice(args), args);
    if (prepared != nullptr && !made && kernel.key != nullptr)
      shared = prepared->find({&kernel, kernel.key(args), work.shared_bytes}, made);
    if (shared == nullptr) shared = scratch->allocate(work.shared_bytes);
    std::byte* own = scratch->allocate(each * static_cast<std::size_t>(w));
    if (shared == nullptr || own == nullptr) return fail(Status::out_of_arena, memory_too_small);
    if (!made)
      run_tiles(parallel, work.parts, [&](std::int64_t part, int) noexcept { kernel.pack(args, shared, part); });
    run_tiles(w > 1 ? parallel : nullptr, work.tiles, [&](std::int64_t tile, int worker) noexcept {
      kernel.tile(args, shared, own + each * static_cast<std::size_t>(worker), tile);
    });
    return Status::ok;
  }
};

/// Elements of cheap elementwise work that one tile takes: large enough to pay for waking a thread.
inline constexpr std::int64_t elementwise_grain = 1 << 15;

}  // namespace vitrine
