// Device memory of the emulator: a range of addresses that only kernels and copies can touch (elsewhere it is
// PROT_NONE, so that a host that dereferences a device pointer crashes at that line), with guard zones around every
// allocation.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>

#include "kernels/cuda/emulator/block.h"
#include "kernels/cuda/runtime.h"

namespace vitrine::kernels::cuda {
namespace emulator {
namespace {

constexpr std::size_t heap_alignment = 256, zone_bytes = 256;
constexpr std::byte fill_pattern{0xA5};

struct Heap {
  std::byte* begin = nullptr;
  std::size_t capacity = 0;
  std::size_t used = 0;    ///< high-water mark: the protection is switched up to it
  std::size_t opened = 0;  ///< the mark when it was opened
  int open = 0;
  std::map<std::byte*, std::size_t> blocks;  ///< start of the user's part, its bytes
  std::map<std::byte*, std::size_t> free;    ///< gaps below the high-water mark, none next to another
};

Heap& heap() {
  static Heap h;
  return h;
}

std::size_t whole(std::size_t bytes) {
  return (bytes + heap_alignment - 1) / heap_alignment * heap_alignment + 2 * zone_bytes;
}

/// Whether the zones around a block are untouched: before it, and from its last byte on.
bool intact(const std::byte* p, std::size_t bytes) {
  const auto clean = [](std::byte b) { return b == fill_pattern; };
  return std::all_of(p - zone_bytes, p, clean) && std::all_of(p + bytes, p - zone_bytes + whole(bytes), clean);
}

}  // namespace

void poison(void* p, std::size_t bytes) noexcept {
  auto* b = static_cast<std::byte*>(p);
  for (; bytes >= 4; b += 4, bytes -= 4) std::memcpy(b, &poison_bits, 4);
  std::memcpy(b, &poison_bits, bytes);
}

Range device_range() noexcept { return {heap().begin, heap().begin + heap().capacity}; }

void open_heap() noexcept {
  Heap& h = heap();
  if (h.open++ > 0) return;
  h.opened = h.used;
  mprotect(h.begin, (h.used + 4095) / 4096 * 4096, PROT_READ | PROT_WRITE);
}

void close_heap() noexcept {
  Heap& h = heap();
  if (--h.open == 0) mprotect(h.begin, (std::max(h.used, h.opened) + 4095) / 4096 * 4096, PROT_NONE);
}

Range allocation_of(const void* p) noexcept {
  const auto& blocks = heap().blocks;
  auto next = blocks.upper_bound(static_cast<std::byte*>(const_cast<void*>(p)));
  if (next == blocks.begin()) return {};
  --next;
  return {next->first, next->first + next->second};
}

namespace {

struct Opened {
  Opened() { open_heap(); }
  ~Opened() { close_heap(); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
};

/// Fails unless [p, p + bytes) is within one allocation.
bool inside(const void* p, std::size_t bytes, const char* what) {
  const Range r = allocation_of(p);
  if (bytes == 0 || r.holds(p, bytes)) return true;
  fail(what, " reaches outside of the allocations of the device");
  return false;
}

}  // namespace
}  // namespace emulator

using emulator::heap;

bool open(int index, const char** why) noexcept {
  if (index != 0) {
    *why = "the emulator has one device, cuda:0";
    return false;
  }
  emulator::Heap& h = heap();
  if (!h.begin) {
    const char* given = std::getenv("VITRINE_EMULATOR_BYTES");
    h.capacity = given ? std::strtoull(given, nullptr, 10) / 4096 * 4096 : std::size_t{4} << 30;
    void* const p = mmap(nullptr, h.capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
      *why = "the emulator finds no addresses for its device memory";
      return false;
    }
    h.begin = static_cast<std::byte*>(p);
  }
  emulator::options = {};
  if (const char* order = std::getenv("VITRINE_EMULATOR_ORDER")) {
    const struct {
      const char* name;
      emulator::Order order;
    } all[] = {{"forward", emulator::Order::forward},
               {"reverse", emulator::Order::reverse},
               {"random", emulator::Order::random},
               {"greedy", emulator::Order::greedy}};
    const auto* found =
        std::find_if(std::begin(all), std::end(all), [&](const auto& o) { return std::strcmp(o.name, order) == 0; });
    if (found == std::end(all)) {
      *why = "VITRINE_EMULATOR_ORDER is none of forward, reverse, random, greedy";
      return false;
    }
    emulator::options.order = found->order;
  }
  if (const char* seed = std::getenv("VITRINE_EMULATOR_SEED"))
    emulator::options.seed = std::strtoull(seed, nullptr, 10);
  return true;
}

const char* device_name() noexcept { return "cuda:0, emulated"; }
int capability() noexcept { return 90; }
std::size_t workspace_step() noexcept { return 0; }

std::size_t free_bytes() noexcept {
  std::size_t used = 0;
  for (const auto& [p, bytes] : heap().blocks) used += emulator::whole(bytes);
  return heap().capacity - used;
}

void* allocate(std::size_t bytes) noexcept {
  emulator::Heap& h = heap();
  const std::size_t size = emulator::whole(bytes);
  std::byte* start = nullptr;
  for (auto gap = h.free.begin(); gap != h.free.end() && !start; ++gap) {
    if (gap->second < size) continue;
    start = gap->first;
    if (gap->second > size) h.free[start + size] = gap->second - size;
    h.free.erase(gap);
    break;
  }
  if (!start) {
    if (size > h.capacity - h.used) return nullptr;
    start = h.begin + h.used;
    h.used += size;
  }
  std::byte* const p = start + emulator::zone_bytes;
  const emulator::Opened opened;  // from here on, for it covers what is in use
  std::memset(start, static_cast<int>(emulator::fill_pattern), size);
  emulator::poison(p, bytes);
  emulator::check::created(p, bytes, false);
  h.blocks[p] = bytes;
  return p;
}

void release(void* p) noexcept {
  if (!p) return;
  emulator::Heap& h = heap();
  const auto found = h.blocks.find(static_cast<std::byte*>(p));
  if (found == h.blocks.end()) {
    fail("release of a pointer that is no allocation of the device");
    return;
  }
  const emulator::Opened opened;
  if (!emulator::intact(found->first, found->second)) fail("memory around an allocation was overwritten");
  emulator::check::destroyed(p, found->second);
  std::memset(p, 0xFF, found->second);
  // The gap joins its neighbours; one at the end lowers the mark, so that little memory has its protection switched.
  auto gap = h.free.emplace(found->first - emulator::zone_bytes, emulator::whole(found->second)).first;
  h.blocks.erase(found);
  if (const auto next = std::next(gap); next != h.free.end() && gap->first + gap->second == next->first) {
    gap->second += next->second;
    h.free.erase(next);
  }
  if (gap != h.free.begin())
    if (const auto before = std::prev(gap); before->first + before->second == gap->first) {
      before->second += gap->second;
      h.free.erase(gap);
      gap = before;
    }
  if (gap->first + gap->second == h.begin + h.used) {
    h.used -= gap->second;
    h.free.erase(gap);
  }
}

void upload(void* to, const void* host, std::size_t bytes) noexcept {
  if (failed() || !emulator::inside(to, bytes, "an upload")) return;
  const emulator::Opened opened;
  std::memcpy(to, host, bytes);
  emulator::check::created(to, bytes, true);
}

void download(void* host, const void* from, std::size_t bytes) noexcept {
  if (failed() || !emulator::inside(from, bytes, "a download")) return;
  const emulator::Opened opened;
  std::memcpy(host, from, bytes);
}

void zero(void* to, std::size_t bytes) noexcept {
  if (failed() || !emulator::inside(to, bytes, "a clearing")) return;
  const emulator::Opened opened;
  std::memset(to, 0, bytes);
  emulator::check::created(to, bytes, true);
}

void synchronise() noexcept {
  const emulator::Opened opened;
  for (const auto& [p, bytes] : heap().blocks)
    if (!emulator::intact(p, bytes)) fail("memory around an allocation was overwritten");
}

// Nothing is recorded here.
bool begin_recording() noexcept { return false; }
void* end_recording() noexcept { return nullptr; }
void replay(void*) noexcept {}
void forget(void*) noexcept {}

}  // namespace vitrine::kernels::cuda
