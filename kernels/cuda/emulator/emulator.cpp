// Runs the threads of a block as fibers, resolves their barriers and collectives.
#include "kernels/cuda/emulator/emulator.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <sys/mman.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "kernels/cuda/emulator/block.h"
#include "kernels/cuda/emulator/fiber.h"

namespace vitrine::kernels::cuda::emulator {

Visible visible;
Options options;
Here here;

namespace {

constexpr std::size_t stack_bytes = 128 * 1024, guard_bytes = 4096, max_threads = 1024, max_warps = max_threads / 32;
constexpr std::size_t max_static_shared = 48 * 1024,
                      max_shared = 227 * 1024;                     // sm_90; static arrays beyond 48 KiB do not link
constexpr std::size_t shared_area_bytes = max_shared + 61 * 1024;  // with room for the zones
constexpr std::size_t zone_bytes = 64;                             // around every shared array
constexpr std::byte fill_pattern{0xA5};

enum class State : std::uint8_t { ready, at_barrier, in_collective, done };

/// An asynchronous copy: its data is stored by the wait that covers its group.
struct Pending {
  void* to;
  float value;
  std::uint32_t group;
  Site site;
};

struct Thread {
  Fiber fiber;
  std::byte* stack = nullptr;  ///< null until it starts and after its end
  uint3 index{};
  State state = State::ready;
  Site site{};
  Collective collective = Collective::none;
  unsigned mask = 0;
  const void* in = nullptr;
  void* out = nullptr;
  std::uint32_t group = 0;
  std::vector<Pending> pending;
};

struct Array {
  const void* key;
  std::byte* at;
  std::size_t bytes;
};

struct Machine {
  Thread threads[max_threads];
  std::uint32_t ready[max_warps] = {};  ///< lanes that can run
  std::uint32_t warps_ready = 0;
  std::uint32_t warp_phase[max_warps] = {};
  std::uint32_t rank[max_warps] = {};  ///< greedy: the lowest goes first
  std::uint32_t count = 0, done = 0, at_barrier = 0;
  std::uint32_t current = 0;
  Fiber host;
  std::byte* stack_area = nullptr;
  std::vector<std::byte*> free_stacks;
  std::byte* shared = nullptr;
  std::size_t shared_used = 0, shared_asked = 0, dynamic_bytes = 0;
  std::byte* dynamic = nullptr;
  std::vector<Array> arrays;
  std::uint64_t random = 1;
  const void* kernel = nullptr;
  void (*invoke)(void*) = nullptr;
  bool stopped = false;

  Machine() {
    void* const p = mmap(nullptr, max_threads * (stack_bytes + guard_bytes), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return;
    stack_area = static_cast<std::byte*>(p);
    for (std::size_t i = 0; i < max_threads; ++i)
      mprotect(stack_area + i * (stack_bytes + guard_bytes), guard_bytes, PROT_NONE);
    shared = static_cast<std::byte*>(std::aligned_alloc(1024, shared_area_bytes));
  }

  std::uint64_t next_random() noexcept {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return random;
  }
};

Machine& machine() {
  static Machine* const m = new Machine;  // lives as long as the process: fibers hold pointers into it
  return *m;
}

Thread& current() { return machine().threads[machine().current]; }

void make_ready(std::uint32_t t) noexcept {
  Machine& m = machine();
  m.threads[t].state = State::ready;
  m.ready[t / 32] |= 1u << t % 32;
  m.warps_ready |= 1u << t / 32;
}

void draw_ranks() noexcept {
  Machine& m = machine();
  for (std::uint32_t& r : m.rank) r = static_cast<std::uint32_t>(m.next_random() >> 32);
}

/// The thread to run next; there is one that is ready.
std::uint32_t pick() noexcept {
  Machine& m = machine();
  std::uint32_t warp = 0, lane = 0;
  const auto nth_bit = [](std::uint32_t bits, std::uint32_t n) {
    while (n--) bits &= bits - 1;
    return static_cast<std::uint32_t>(std::countr_zero(bits));
  };
  const auto any_bit = [&](std::uint32_t bits) {
    return nth_bit(bits,
                   static_cast<std::uint32_t>(m.next_random() >> 33) % static_cast<std::uint32_t>(std::popcount(bits)));
  };
  switch (options.order) {
    case Order::forward:
      warp = static_cast<std::uint32_t>(std::countr_zero(m.warps_ready));
      lane = static_cast<std::uint32_t>(std::countr_zero(m.ready[warp]));
      break;
    case Order::reverse:
      warp = 31 - static_cast<std::uint32_t>(std::countl_zero(m.warps_ready));
      lane = 31 - static_cast<std::uint32_t>(std::countl_zero(m.ready[warp]));
      break;
    case Order::random:
      warp = any_bit(m.warps_ready);
      lane = any_bit(m.ready[warp]);
      break;
    case Order::greedy: {
      warp = static_cast<std::uint32_t>(std::countr_zero(m.warps_ready));
      for (std::uint32_t bits = m.warps_ready; bits; bits &= bits - 1) {
        const auto w = static_cast<std::uint32_t>(std::countr_zero(bits));
        if (m.rank[w] < m.rank[warp]) warp = w;
      }
      lane = static_cast<std::uint32_t>(std::countr_zero(m.ready[warp]));
      break;
    }
  }
  return warp * 32 + lane;
}

void thread_entry();

void resume(std::uint32_t t) noexcept {
  Machine& m = machine();
  Thread& thread = m.threads[t];
  m.ready[t / 32] &= ~(1u << t % 32);
  if (!m.ready[t / 32]) m.warps_ready &= ~(1u << t / 32);
  m.current = t;
  visible.thread_index = thread.index;
  here.thread = t;
  here.warp_phase = m.warp_phase[t / 32];
  if (!thread.stack) {
    thread.stack = m.free_stacks.back();
    m.free_stacks.pop_back();
    prepare_fiber(thread.fiber, &thread_entry, thread.stack, stack_bytes);
  }
}

/// The file with its folder, since many files are called cuda.cu.
const char* short_name(const char* file) {
  const char* slash = std::strrchr(file, '/');
  while (slash && slash > file && slash[-1] != '/') --slash;
  return slash && slash > file ? slash : file;
}

/// All threads that have not ended wait at a barrier: either it is one barrier for all, or an error.
void resolve_barrier() noexcept {
  Machine& m = machine();
  const Thread* first = nullptr;
  for (std::uint32_t t = 0; t < m.count; ++t) {
    const Thread& thread = m.threads[t];
    if (thread.state != State::at_barrier) continue;
    if (!first) first = &thread;
    if (thread.site.line != first->site.line || std::strcmp(thread.site.file, first->site.file) != 0) {
      char detail[160];
      std::snprintf(detail, sizeof detail, " while others of the block wait at %s:%d", short_name(first->site.file),
                    first->site.line);
      stop("a barrier in divergent code", thread.site, detail);
      return;
    }
  }
  if (m.done) {
    char detail[96];
    std::snprintf(detail, sizeof detail, ", %u threads wait and %u have left the kernel", m.at_barrier, m.done);
    stop("a barrier that not all threads of the block reach", first->site, detail);
    return;
  }
  ++here.phase;
  m.at_barrier = 0;
  if (m.next_random() % 8 == 0) draw_ranks();
  for (std::uint32_t t = 0; t < m.count; ++t) make_ready(t);
}

void deadlock() noexcept {
  Machine& m = machine();
  std::uint32_t waiting = 0;
  const Thread* one = nullptr;
  for (std::uint32_t t = 0; t < m.count; ++t) {
    if (m.threads[t].state != State::in_collective) continue;
    ++waiting;
    one = &m.threads[t];
  }
  char detail[160];
  std::snprintf(detail, sizeof detail,
                " (mask %08x): %u lanes wait in collectives, %u threads at a barrier, %u have left the kernel",
                one ? one->mask : 0, waiting, m.at_barrier, m.done);
  stop("deadlock in a warp collective", one ? one->site : Site{"", 0}, detail);
}

/// Switches to the next thread that can run, or to the host when the block has ended or stopped.
void schedule(Fiber& from) noexcept {
  Machine& m = machine();
  while (!m.stopped) {
    if (m.warps_ready) {
      resume(pick());
      if (&current().fiber != &from) switch_fiber(from, current().fiber);
      return;
    }
    if (m.done == m.count) break;
    if (m.at_barrier + m.done == m.count)
      resolve_barrier();
    else
      deadlock();
  }
  if (&from != &m.host) switch_fiber(from, m.host);
}

void thread_entry() {
  Machine& m = machine();
  m.invoke(visible.parameters);
  Thread& thread = current();
  if (!thread.pending.empty())
    stop("a thread leaves the kernel without waiting for its asynchronous copies", thread.pending.front().site);
  thread.state = State::done;
  ++m.done;
  // The stack is returned at once, so that the next thread starts on memory that is in the cache. Nothing touches it
  // between here and the switch but this function's own frame, which the next fiber to start does not overlap before
  // that switch.
  m.free_stacks.push_back(thread.stack);
  thread.stack = nullptr;
  static Fiber ended;
  schedule(ended);
  std::abort();
}

float bf16_to_float(std::uint32_t bits) { return std::bit_cast<float>(bits << 16); }

/// The hardware takes the upper 19 bits of the word.
float tf32_to_float(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

template <class F>
void each_lane(unsigned mask, F f) {
  for (std::uint32_t bits = mask; bits; bits &= bits - 1) f(static_cast<std::uint32_t>(std::countr_zero(bits)));
}

void load_matrices(Thread* lanes, std::uint32_t warp, unsigned mask) noexcept {
  const std::uint32_t runs = here.thread;
  each_lane(mask, [&](std::uint32_t l) {
    const auto* const row = *static_cast<const std::byte* const*>(lanes[l].in);
    if (reinterpret_cast<std::uintptr_t>(row) % 16)
      stop("a row of load_matrices is not aligned to 16 bytes", lanes[l].site);
    if (!shared_memory().holds(row, 16)) stop("a row of load_matrices is not in shared memory", lanes[l].site);
    here.thread = warp * 32 + l;
    check::access(row, 16, check::Access::read, lanes[l].site);
  });
  here.thread = runs;
  if (machine().stopped) return;
  each_lane(mask, [&](std::uint32_t l) {
    for (std::uint32_t i = 0; i < 4; ++i) {
      const auto* const row = *static_cast<const std::byte* const*>(lanes[8 * i + l / 4].in);
      std::memcpy(static_cast<std::uint32_t*>(lanes[l].out) + i, row + 4 * (l % 4), 4);
    }
  });
}

void multiply_fragments(Thread* lanes, unsigned mask, bool bf16) noexcept {
  // PTX ISA 9.7.14: lane l holds of a the rows l/4 and l/4 + 8, of b and d the columns l/4 and 2 (l%4), 2 (l%4)
  // + 1.
  const std::uint32_t depth = bf16 ? 16 : 8;
  float a[16][16], b[16][8];
  each_lane(mask, [&](std::uint32_t l) {
    const auto& f = *static_cast<const Fragments*>(lanes[l].in);
    const std::uint32_t r = l / 4, c = l % 4;
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t row = r + 8 * (i % 2);
      if (bf16) {
        a[row][2 * c + 8 * (i / 2)] = bf16_to_float(f.a[i] & 0xffff),
                                a[row][2 * c + 1 + 8 * (i / 2)] = bf16_to_float(f.a[i] >> 16);
      } else {
        a[row][c + 4 * (i / 2)] = tf32_to_float(f.a[i]);
      }
    }
    for (std::uint32_t i = 0; i < 2; ++i) {
      if (bf16)
        b[2 * c + 8 * i][r] = bf16_to_float(f.b[i] & 0xffff), b[2 * c + 1 + 8 * i][r] = bf16_to_float(f.b[i] >> 16);
      else
        b[c + 4 * i][r] = tf32_to_float(f.b[i]);
    }
  });
  each_lane(mask, [&](std::uint32_t l) {
    const auto& f = *static_cast<const Fragments*>(lanes[l].in);
    float d[4];
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t row = l / 4 + 8 * (i / 2), column = 2 * (l % 4) + i % 2;
      d[i] = f.d[i];
      for (std::uint32_t k = 0; k < depth; ++k) d[i] += a[row][k] * b[k][column];
    }
    std::memcpy(lanes[l].out, d, sizeof d);
  });
}

/// All lanes of `mask` have posted the collective: gives each its result.
void complete(std::uint32_t warp, unsigned mask) noexcept {
  Machine& m = machine();
  Thread* const lanes = m.threads + warp * 32;
  const Collective collective = lanes[std::countr_zero(mask)].collective;
  switch (collective) {
    case Collective::none:
      break;
    case Collective::sync:
      ++m.warp_phase[warp];
      break;
    case Collective::shuffle:
      each_lane(mask, [&](std::uint32_t l) {
        const auto& own = *static_cast<const Shuffled*>(lanes[l].in);
        if (!(mask >> own.from & 1)) {
          stop("a shuffle reads a lane that takes no part", lanes[l].site);
          return;
        }
        *static_cast<Shuffled*>(lanes[l].out) = *static_cast<const Shuffled*>(lanes[own.from].in);
      });
      break;
    case Collective::ballot: {
      unsigned votes = 0;
      each_lane(mask, [&](std::uint32_t l) { votes |= *static_cast<const unsigned*>(lanes[l].in) << l; });
      each_lane(mask, [&](std::uint32_t l) { *static_cast<unsigned*>(lanes[l].out) = votes; });
      break;
    }
    case Collective::load_matrices:
      load_matrices(lanes, warp, mask);
      break;
    case Collective::multiply_bf16:
    case Collective::multiply_tf32:
      multiply_fragments(lanes, mask, collective == Collective::multiply_bf16);
      break;
  }
  if (m.stopped) return;
  each_lane(mask, [&](std::uint32_t l) { make_ready(warp * 32 + l); });
}

bool same_site(Site a, Site b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

/// Places an array of shared memory between two guard zones.
std::byte* place(std::size_t bytes, std::size_t alignment) noexcept {
  Machine& m = machine();
  const std::size_t align = alignment < 16 ? 16 : alignment;
  std::byte* const at = m.shared + (m.shared_used + zone_bytes + align - 1) / align * align;
  std::memset(m.shared + m.shared_used, static_cast<int>(fill_pattern),
              static_cast<std::size_t>(at - m.shared) - m.shared_used);
  poison(at, bytes);
  std::memset(at + bytes, static_cast<int>(fill_pattern), zone_bytes);
  m.shared_used = static_cast<std::size_t>(at - m.shared) + bytes;
  check::created(at, bytes, false);
  return at;
}

void check_zones() noexcept {
  Machine& m = machine();
  for (const Array& a : m.arrays) {
    for (std::size_t i = 1; i <= zone_bytes; ++i) {
      if (a.at[-static_cast<std::ptrdiff_t>(i)] == fill_pattern && a.at[a.bytes + i - 1] == fill_pattern) continue;
      stop("shared memory around an array was overwritten", {"", 0});
      return;
    }
  }
}

}  // namespace

Range stacks() noexcept {
  return {machine().stack_area, machine().stack_area + max_threads * (stack_bytes + guard_bytes)};
}

Range shared_memory() noexcept { return {machine().shared, machine().shared + shared_area_bytes}; }

unsigned lane() noexcept { return machine().current % 32; }

std::string kernel_name() {
  Dl_info info{};
  if (!dladdr(machine().kernel, &info) || !info.dli_sname) return "a kernel";
  char* const readable = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, nullptr);
  std::string name = readable ? readable : info.dli_sname;
  std::free(readable);
  // "void a::b::kernel<c>(d)": neither the type nor the parameters, and names without the namespace that is common to
  // all.
  if (name.rfind("void ", 0) == 0) name.erase(0, 5);
  const std::string common = "vitrine::kernels::cuda::";
  for (std::size_t at = 0; (at = name.find(common)) != std::string::npos;) name.erase(at, common.size());
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<' ? 1 : name[i] == '>' ? -1 : 0;
    if (name[i] == '(' && depth == 0) return name.substr(0, i);
  }
  return name;
}

void stop(const char* what, Site site, const char* detail) noexcept {
  Machine& m = machine();
  std::string where;
  if (site.line) where = " at " + std::string(short_name(site.file)) + ":" + std::to_string(site.line);
  const auto place = [](const auto& i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
  };
  where += detail + (", in " + kernel_name()) + ", block " + place(visible.block_index) + ", thread " +
           place(visible.thread_index);
  fail(what, where.c_str());
  m.stopped = true;
}

void leave() noexcept {
  Machine& m = machine();
  if (!m.stopped || !here.in_kernel) return;
  static Fiber abandoned;
  switch_fiber(abandoned, m.host);
}

void barrier(Site site) noexcept {
  Machine& m = machine();
  Thread& self = current();
  self.state = State::at_barrier;
  self.site = site;
  ++m.at_barrier;
  schedule(self.fiber);
}

void collective(Collective which, unsigned mask, const void* in, void* out, std::size_t, Site site) noexcept {
  Machine& m = machine();
  Thread& self = current();
  const std::uint32_t warp = m.current / 32, own = m.current % 32;
  if (!(mask >> own & 1)) {
    stop("a lane is not in the mask of its own collective", site);
    leave();
  }
  self.state = State::in_collective;
  self.site = site;
  self.collective = which;
  self.mask = mask;
  self.in = in;
  self.out = out;
  bool all = true;
  for (std::uint32_t bits = mask; bits; bits &= bits - 1) {
    const auto l = static_cast<std::uint32_t>(std::countr_zero(bits));
    const std::uint32_t t = warp * 32 + l;
    if (t >= m.count || m.threads[t].state == State::done) {
      stop("a collective names a lane that has left or never was", site);
      leave();
    }
    const Thread& other = m.threads[t];
    if (other.state != State::in_collective) {
      all = false;
      continue;
    }
    if (other.collective != which || other.mask != mask || !same_site(other.site, site)) {
      stop("lanes of a warp meet in different collectives", site);
      leave();
    }
  }
  if (all) complete(warp, mask);
  schedule(self.fiber);
}

void* shared_array(const void* key, std::size_t bytes, std::size_t alignment, Site site) noexcept {
  Machine& m = machine();
  for (const Array& a : m.arrays)
    if (a.key == key) return a.at;
  m.shared_asked += bytes;
  if (m.shared_asked > max_static_shared) {
    stop("static shared memory exceeds 48 KiB", site);
    leave();
  }
  m.arrays.push_back({key, place(bytes, alignment), bytes});
  return m.arrays.back().at;
}

void* dynamic_array(Site site) noexcept {
  Machine& m = machine();
  if (!m.dynamic) {
    if (m.dynamic_bytes == 0) {
      stop("the launch asked for no dynamic shared memory", site);
      leave();
    }
    m.dynamic = place(m.dynamic_bytes, 16);
    m.arrays.push_back({&m.dynamic, m.dynamic, m.dynamic_bytes});
  }
  return m.dynamic;
}

void copy_async(void* to, const void* from, Site site) noexcept {
  Thread& self = current();
  float value = 0;
  if (!shared_memory().holds(to, sizeof value))
    stop("the target of an asynchronous copy is not in shared memory", site);
  else if (from && !device_range().holds(from, sizeof value))
    stop("the source of an asynchronous copy is not in global memory", site);
  leave();
  if (from) {
    check::access(from, sizeof value, check::Access::read, site);
    std::memcpy(&value, from, sizeof value);
  }
  check::access(to, sizeof value, check::Access::write, site);
  check::pending(to, sizeof value);
  poison(to, sizeof value);
  self.pending.push_back({to, value, self.group, site});
}

void commit_copies() noexcept { ++current().group; }

void wait_copies(int pending) noexcept {
  Thread& self = current();
  std::size_t left = 0;
  for (const Pending& p : self.pending) {
    if (p.group + static_cast<std::uint32_t>(pending) < self.group) {
      std::memcpy(p.to, &p.value, sizeof p.value);
      check::access(p.to, sizeof p.value, check::Access::write, p.site);
    } else {
      self.pending[left++] = p;
    }
  }
  self.pending.resize(left);
}

void copy16(void* to, const void* from, const void* checked, bool write, Site site) noexcept {
  if (reinterpret_cast<std::uintptr_t>(checked) % 16) {
    stop("a vector access is not aligned to 16 bytes", site);
    leave();
  }
  check::access(checked, 16, write ? check::Access::write : check::Access::read, site);
  std::memcpy(to, from, 16);
}

namespace {

template <class T>
T add(T* to, T value, Site site) noexcept {
  check::access(to, sizeof(T), check::Access::atomic, site);
  const T old = *to;
  *to = old + value;
  return old;
}

}  // namespace

float atomic_add(float* to, float value, Site site) noexcept { return add(to, value, site); }
std::int32_t atomic_add(std::int32_t* to, std::int32_t value, Site site) noexcept { return add(to, value, site); }
std::uint32_t atomic_add(std::uint32_t* to, std::uint32_t value, Site site) noexcept { return add(to, value, site); }
unsigned long long atomic_add(unsigned long long* to, unsigned long long value, Site site) noexcept {
  return add(to, value, site);
}

namespace {

/// All threads of the block are ready to start, on empty shared memory.
void reset_block() noexcept {
  Machine& m = machine();
  m.arrays.clear();
  m.shared_used = m.shared_asked = 0;
  m.dynamic = nullptr;
  m.done = m.at_barrier = 0;
  m.free_stacks.clear();
  for (std::size_t s = 0; s < max_threads; ++s)
    m.free_stacks.push_back(m.stack_area + (max_threads - 1 - s) * (stack_bytes + guard_bytes) + guard_bytes);
  for (std::uint32_t t = 0; t < m.count; ++t) {
    m.threads[t].stack = nullptr;
    m.threads[t].pending.clear();
    m.threads[t].group = 0;
    make_ready(t);
  }
  for (std::uint32_t& p : m.warp_phase) p = 0;
}

/// Why a launch of this shape is refused, or null.
const char* refuses(dim3 grid, dim3 block, std::size_t shared_bytes) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > max_threads || block.z > 64)
    return "a launch with no thread or more than 1024 in a block";
  if (threads % 32) return "a launch with a warp that is not full";
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return "a launch with no block or too many";
  return shared_bytes > max_shared ? "a launch with more than 227 KiB of shared memory" : nullptr;
}

}  // namespace

void run(const void* kernel, void (*invoke)(void*), dim3 grid, dim3 block, std::size_t shared_bytes,
         std::size_t) noexcept {
  Machine& m = machine();
  if (!m.stack_area || !m.shared) return fail("the emulator finds no memory for its stacks");
  m.kernel = kernel;
  m.invoke = invoke;
  visible.block_size = block;
  visible.grid_size = grid;
  visible.block_index = visible.thread_index = {0, 0, 0};
  m.stopped = false;
  if (const char* const why = refuses(grid, block, shared_bytes)) return stop(why, {"", 0});
  m.count = block.x * block.y * block.z;
  m.dynamic_bytes = shared_bytes;
  for (std::uint32_t t = 0; t < m.count; ++t)
    m.threads[t].index = {t % block.x, t / block.x % block.y, t / block.x / block.y};
  ++here.launch;
  m.random = (options.seed * 0x9E3779B97F4A7C15u + here.launch * 0xBF58476D1CE4E5B9u) | 1;
  draw_ranks();
  open_heap();
  check::launch_begins();
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t i = 0; i < blocks && !m.stopped; ++i) {
    // Kernels must not rely on the order of blocks, either.
    const std::uint64_t b = options.order == Order::reverse ? blocks - 1 - i : i;
    here.block = b;
    here.phase = 0;
    visible.block_index = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                           static_cast<unsigned>(b / grid.x / grid.y)};
    reset_block();
    check::block_begins();
    here.in_kernel = true;
    schedule(m.host);
    here.in_kernel = false;
    if (m.stopped)
      for (std::uint32_t w = 0; w < max_warps; ++w) m.ready[w] = m.warps_ready = 0;
    else
      check_zones();
    check::block_ends();
    for (const Array& a : m.arrays) check::destroyed(a.at, a.bytes);
  }
  check::launch_ends();
  close_heap();
}

}  // namespace vitrine::kernels::cuda::emulator
