// The check build: kernels are compiled with -fsanitize=thread, whose calls before every access are defined here, not
// in its run-time library. Each access is checked against a shadow of device and shared memory, one cell per two bytes:
// is the memory allocated, was it written, and did another thread access it with nothing in between that orders the
// two? Faults are reported by source line, through addr2line.
//
// What orders two accesses: another launch; a barrier of the block; a sync_warp, for lanes of one warp. Nothing orders
// two blocks of one launch. Two reads, and two atomic operations, need no order.
//
// With VITRINE_EMULATOR_PROFILE=FILE the warps' accesses are also counted by source line: 32-byte sectors of global
// memory and passes over the banks of shared memory, each with the number that the bytes alone would need.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/emulator/block.h"

namespace vitrine::kernels::cuda::emulator::check {
namespace {

/// The source of an access: by name, or by the address of its instruction.
struct Origin {
  Site site{};
  const void* pc = nullptr;
  auto key() const { return std::tuple(site.file, site.line, pc); }
};

/// One access, which later ones are checked against.
struct Event {
  std::uint32_t launch = 0;  ///< 0: there was none
  std::uint32_t block = 0;
  std::uint32_t phase = 0;
  std::uint32_t warp_phase = 0;
  std::uint16_t thread = 0;
  bool atomic = false;
  std::uint32_t origin = 0;  ///< in origins()
};

/// The places of accesses, numbered.
struct Origins {
  std::vector<Origin> all;
  std::map<std::tuple<const char*, int, const void*>, std::uint32_t> numbers;
  struct Recent {
    Origin origin;
    std::uint32_t number = 0;
  };
  std::array<Recent, 1024> recent;  ///< most accesses come from few places
  std::uint32_t number(const Origin& o) {
    Recent& r = recent[(reinterpret_cast<std::uintptr_t>(o.pc) ^ reinterpret_cast<std::uintptr_t>(o.site.file) ^
                        static_cast<std::uintptr_t>(o.site.line) * 7) %
                       recent.size()];
    if (r.origin.key() == o.key() && !all.empty()) return r.number;
    const auto [at, fresh] = numbers.emplace(o.key(), static_cast<std::uint32_t>(all.size()));
    if (fresh) all.push_back(o);
    r = {o, at->second};
    return at->second;
  }
};
Origins& origins() {
  static Origins o;
  return o;
}

struct Cell {
  bool alive = false, initialised = false;
  Event write, read, other_read;  ///< the last write; the last read, and the last one by another thread than that
};

constexpr std::size_t granule_bytes = 2, page_bytes = 16 * 1024, page_cells = page_bytes / granule_bytes;
using Page = std::array<Cell, page_cells>;

/// The shadow of a range of addresses; pages exist only for memory that was allocated.
class Shadow {
 public:
  explicit Shadow(Range range)
      : range_(range), pages_(static_cast<std::size_t>(range.end - range.begin) / page_bytes + 1) {}
  bool holds(const void* p) const { return range_.holds(p, 1); }
  /// Null if nothing was ever allocated there.
  Cell* cell(std::size_t granule) const {
    Page* const page = pages_[granule / page_cells].get();
    return page ? &(*page)[granule % page_cells] : nullptr;
  }
  std::size_t granule(const void* p) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(p) - range_.begin) / granule_bytes;
  }
  template <class F>
  void each(const void* p, std::size_t bytes, F f) {
    if (bytes == 0) return;
    const std::size_t first = granule(p), last = granule(static_cast<const std::byte*>(p) + bytes - 1);
    for (std::size_t g = first; g <= last; ++g) {
      auto& page = pages_[g / page_cells];
      if (!page) page = std::make_unique<Page>();
      f((*page)[g % page_cells]);
    }
  }

 private:
  Range range_;
  std::vector<std::unique_ptr<Page>> pages_;
};

Shadow& global_shadow() {
  static Shadow s(device_range());
  return s;
}
Shadow& shared_shadow() {
  static Shadow s(shared_memory());
  return s;
}
Shadow* shadow_of(const void* p) {
  if (shared_shadow().holds(p)) return &shared_shadow();
  return global_shadow().holds(p) ? &global_shadow() : nullptr;
}

/// "conv.cu:12" of many origins at once: the innermost line of what was inlined.
std::map<const void*, std::string> lines_of(const std::set<const void*>& pcs) {
  std::map<const void*, std::string> lines;
  Dl_info info{};
  if (pcs.empty() || !dladdr(*pcs.begin(), &info)) return lines;
  std::string command = "addr2line -e '" + std::string(info.dli_fname) + "'";
  for (const void* pc : pcs) {
    char text[32];
    // A return address follows its call; the instruction before it belongs to the access.
    std::snprintf(
        text, sizeof text, " 0x%zx",
        static_cast<std::size_t>(static_cast<const std::byte*>(pc) - static_cast<const std::byte*>(info.dli_fbase)) -
            1);
    command += text;
  }
  std::FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (!pipe) return lines;
  char line[1024];
  for (const void* pc : pcs) {
    if (!std::fgets(line, sizeof line, pipe)) break;
    std::string text = line;
    text = text.substr(0, text.find_first_of(" \n"));
    // Many files are called cuda.cu: include the folder.
    std::size_t slash = text.rfind('/');
    if (slash != std::string::npos && slash > 0) slash = text.rfind('/', slash - 1);
    lines[pc] = slash == std::string::npos ? text : text.substr(slash + 1);
  }
  pclose(pipe);
  return lines;
}

std::string named(Site site) {
  std::string file = site.file;
  std::size_t slash = file.rfind('/');
  if (slash != std::string::npos && slash > 0) slash = file.rfind('/', slash - 1);
  return (slash == std::string::npos ? file : file.substr(slash + 1)) + ":" + std::to_string(site.line);
}

std::string line_of(const Origin& o) {
  if (o.site.file) return named(o.site);
  const auto lines = lines_of({o.pc});
  const auto found = lines.find(o.pc);
  return found == lines.end() ? "an unknown line" : found->second;
}

const char* name_of(Access a) { return a == Access::read ? "read" : a == Access::write ? "write" : "atomic operation"; }

[[gnu::noinline]] void report(const std::string& what, const Origin& origin) {
  stop((what + " at " + line_of(origin)).c_str(), {nullptr, 0});
  leave();
}

[[gnu::noinline]] void report_race(Access a, const Origin& origin, const Event& before, const char* how) {
  std::string what = std::string("a race: ") + name_of(a) + " at " + line_of(origin) + " and " + how + " at " +
                     line_of(origins().all[before.origin]) + " by thread " + std::to_string(before.thread) +
                     (before.block != here.block ? " of block " + std::to_string(before.block) : std::string()) +
                     " with nothing that orders them";
  stop(what.c_str(), {nullptr, 0});
  leave();
}

/// Whether nothing orders an earlier access by another thread and one now.
bool unordered(const Event& e) {
  if (e.launch != here.launch) return false;
  if (e.block != here.block) return true;
  if (e.thread == here.thread || e.phase != here.phase) return false;
  return e.thread / 32 != here.thread / 32 || e.warp_phase == here.warp_phase;
}

// --- Figures.

struct Record {
  Origin origin;
  std::uint32_t thread;
  const std::byte* address;
  std::uint32_t bytes;
  bool write;
};

struct Figures {
  std::uint64_t requests = 0, actual = 0, ideal = 0;
};

struct Profile {
  std::string path;
  std::vector<Record> records;  ///< of the running block
  std::map<std::tuple<std::string, std::tuple<const char*, int, const void*>, bool, bool>, Figures>
      figures;  ///< kernel, origin, shared, write
  ~Profile();
};

Profile& profile() {
  static Profile p{std::getenv("VITRINE_EMULATOR_PROFILE") ? std::getenv("VITRINE_EMULATOR_PROFILE") : "", {}, {}};
  return p;
}

Profile::~Profile() {
  if (path.empty()) return;
  std::FILE* const f = std::fopen(path.c_str(), "w");
  if (!f) return;
  std::set<const void*> pcs;
  for (const auto& [key, value] : figures)
    if (const void* pc = std::get<2>(std::get<1>(key))) pcs.insert(pc);
  const auto lines = lines_of(pcs);
  std::map<std::tuple<std::string, std::string, bool, bool>, Figures> by_line;
  for (const auto& [key, value] : figures) {
    const auto& [file, line, pc] = std::get<1>(key);
    const auto found = lines.find(pc);
    Figures& sum = by_line[{std::get<0>(key),
                            file                   ? named({file, line})
                            : found == lines.end() ? "?"
                                                   : found->second,
                            std::get<2>(key), std::get<3>(key)}];
    sum.requests += value.requests;
    sum.actual += value.actual;
    sum.ideal += value.ideal;
  }
  for (const auto& [key, v] : by_line)
    std::fprintf(f, "%s\t%s\t%s\t%s\t%llu\t%llu\t%llu\n", std::get<0>(key).c_str(), std::get<1>(key).c_str(),
                 std::get<2>(key) ? "shared" : "global", std::get<3>(key) ? "write" : "read",
                 static_cast<unsigned long long>(v.requests), static_cast<unsigned long long>(v.actual),
                 static_cast<unsigned long long>(v.ideal));
  std::fclose(f);
}

/// Passes over the 32 banks of 4 bytes that the words take; 16-byte accesses of more than 128 bytes are made by
/// quarters of a warp.
std::uint64_t passes(const std::vector<const Record*>& warp) {
  const auto of = [](auto first, auto last) {
    std::set<std::uintptr_t> words;
    for (; first != last; ++first)
      for (std::uint32_t b = 0; b < (*first)->bytes; b += 4)
        words.insert((reinterpret_cast<std::uintptr_t>((*first)->address) + b) / 4);
    std::array<std::uint64_t, 32> banks{};
    for (std::uintptr_t w : words) ++banks[w % 32];
    return std::pair(*std::max_element(banks.begin(), banks.end()), words.size());
  };
  const auto [whole, words] = of(warp.begin(), warp.end());
  if (warp.front()->bytes < 16 || words <= 32) return whole;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < warp.size(); i += 8)
    sum += of(warp.begin() + static_cast<std::ptrdiff_t>(i),
              warp.begin() + static_cast<std::ptrdiff_t>(std::min(i + 8, warp.size())))
               .first;
  return sum;
}

void count(const std::string& kernel, std::vector<Record>& records) {
  // The n-th access of a lane at a place belongs to the n-th access of the other lanes.
  struct Numbered {
    const Record* record;
    std::uint32_t nth;
  };
  std::map<std::tuple<std::uint32_t, std::tuple<const char*, int, const void*>>, std::uint32_t> seen;
  std::map<std::tuple<std::tuple<const char*, int, const void*>, std::uint32_t, std::uint32_t, bool>,
           std::vector<const Record*>>
      requests;
  for (const Record& r : records) {
    const std::uint32_t nth = seen[{r.thread, r.origin.key()}]++;
    requests[{r.origin.key(), r.thread / 32, nth, r.write}].push_back(&r);
  }
  for (auto& [key, lanes] : requests) {
    std::sort(lanes.begin(), lanes.end(), [](const Record* a, const Record* b) { return a->thread < b->thread; });
    const bool shared = shared_shadow().holds(lanes.front()->address);
    std::set<std::uintptr_t> sectors, bytes;
    for (const Record* r : lanes)
      for (std::uint32_t b = 0; b < r->bytes; ++b) {
        bytes.insert(reinterpret_cast<std::uintptr_t>(r->address) + b);
        sectors.insert((reinterpret_cast<std::uintptr_t>(r->address) + b) / 32);
      }
    Figures& f = profile().figures[{kernel, std::get<0>(key), shared, std::get<3>(key)}];
    ++f.requests;
    f.actual += shared ? passes(lanes) : sectors.size();
    f.ideal += (bytes.size() + (shared ? 127 : 31)) / (shared ? 128 : 32);
  }
  records.clear();
}

void check_access(const void* p, std::size_t bytes, Access a, const Origin& origin) {
  if (!here.in_kernel || bytes == 0 || stacks().holds(p, bytes)) return;
  Shadow* const shadow = shadow_of(p);
  if (!shadow) {
    const auto* const v = reinterpret_cast<const std::byte*>(&visible);
    if (Range{v, v + sizeof visible}.holds(p, bytes)) return;
    report(std::string(name_of(a)) + " through a pointer to host memory", origin);
  }
  const bool shared = shadow == &shared_shadow();
  if (!profile().path.empty() && here.block < 4 && profile().records.size() < 4000000)
    profile().records.push_back(
        {origin, here.thread, static_cast<const std::byte*>(p), static_cast<std::uint32_t>(bytes), a != Access::read});
  const Event now{here.launch,
                  static_cast<std::uint32_t>(here.block),
                  here.phase,
                  here.warp_phase,
                  static_cast<std::uint16_t>(here.thread),
                  a == Access::atomic,
                  origins().number(origin)};
  const std::size_t first = shadow->granule(p), last = shadow->granule(static_cast<const std::byte*>(p) + bytes - 1);
  for (std::size_t g = first; g <= last; ++g) {
    Cell* const c = shadow->cell(g);
    if (!c || !c->alive)
      report(std::string(name_of(a)) +
                 (shared ? " outside of the arrays in shared memory" : " outside of the allocations of the device"),
             origin);
    if (a != Access::write && !c->initialised)
      report(std::string(name_of(a)) + (shared ? " of shared memory" : " of device memory") + " that was never written",
             origin);
    if (unordered(c->write) && !(c->write.atomic && now.atomic)) report_race(a, origin, c->write, "a write");
    if (a == Access::read) {
      if (c->read.thread != now.thread || c->read.block != now.block || c->read.launch != now.launch)
        c->other_read = c->read;
      c->read = now;
      continue;
    }
    if (unordered(c->read) && !(c->read.atomic && now.atomic)) report_race(a, origin, c->read, "a read");
    if (unordered(c->other_read) && !(c->other_read.atomic && now.atomic))
      report_race(a, origin, c->other_read, "a read");
    c->write = now;
    c->initialised = true;
  }
}

}  // namespace

void launch_begins() noexcept { profile(); }
void launch_ends() noexcept {}
void block_begins() noexcept {}
void block_ends() noexcept {
  if (!profile().records.empty()) count(kernel_name(), profile().records);
}

void created(const void* p, std::size_t bytes, bool initialised) noexcept {
  Shadow* const shadow = shadow_of(p);
  if (shadow) shadow->each(p, bytes, [initialised](Cell& c) { c = {true, initialised, {}, {}, {}}; });
}

void destroyed(const void* p, std::size_t bytes) noexcept {
  Shadow* const shadow = shadow_of(p);
  if (shadow) shadow->each(p, bytes, [](Cell& c) { c = {}; });
}

void pending(const void* p, std::size_t bytes) noexcept {
  Shadow* const shadow = shadow_of(p);
  if (shadow) shadow->each(p, bytes, [](Cell& c) { c.initialised = false; });
}

void access(const void* p, std::size_t bytes, Access a, Site site) noexcept {
  check_access(p, bytes, a, {site, nullptr});
}

}  // namespace vitrine::kernels::cuda::emulator::check

// --- What instrumented code calls.

namespace {

using vitrine::kernels::cuda::emulator::check::Access;

void seen(const void* p, std::size_t bytes, Access a, const void* pc) {
  vitrine::kernels::cuda::emulator::check::check_access(p, bytes, a, {{nullptr, 0}, pc});
}

}  // namespace

#define VITRINE_HOOKS(n)                                                   \
  [[gnu::visibility("default")]] void __tsan_read##n(void* p) {            \
    seen(p, n, Access::read, __builtin_return_address(0));                 \
  }                                                                        \
  [[gnu::visibility("default")]] void __tsan_write##n(void* p) {           \
    seen(p, n, Access::write, __builtin_return_address(0));                \
  }                                                                        \
  [[gnu::visibility("default")]] void __tsan_unaligned_read##n(void* p) {  \
    seen(p, n, Access::read, __builtin_return_address(0));                 \
  }                                                                        \
  [[gnu::visibility("default")]] void __tsan_unaligned_write##n(void* p) { \
    seen(p, n, Access::write, __builtin_return_address(0));                \
  }

extern "C" {
VITRINE_HOOKS(1)
VITRINE_HOOKS(2)
VITRINE_HOOKS(4)
VITRINE_HOOKS(8)
VITRINE_HOOKS(16)
void __tsan_read_range(void* p, std::size_t n) { seen(p, n, Access::read, __builtin_return_address(0)); }
void __tsan_write_range(void* p, std::size_t n) { seen(p, n, Access::write, __builtin_return_address(0)); }
void* __tsan_memcpy(void* to, const void* from, std::size_t n) {
  seen(from, n, Access::read, __builtin_return_address(0));
  seen(to, n, Access::write, __builtin_return_address(0));
  return std::memcpy(to, from, n);
}
void* __tsan_memset(void* to, int value, std::size_t n) {
  seen(to, n, Access::write, __builtin_return_address(0));
  return std::memset(to, value, n);
}
void* __tsan_memmove(void* to, const void* from, std::size_t n) {
  seen(from, n, Access::read, __builtin_return_address(0));
  seen(to, n, Access::write, __builtin_return_address(0));
  return std::memmove(to, from, n);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}

#undef VITRINE_HOOKS
