// Grids, blocks and warps: which runs next, and which must wait.
#include <algorithm>

#include "kernels/cuda/emulator/machine.h"

namespace vitrine::ptx {
namespace {

struct Fault {
  std::string what;
  int lane;
};

std::uint64_t total_instructions = 0;
int running = 0;  // the warp that ran last: where a fault happened
u32 running_pc = 0;

u64 mix(u64 v) {
  v += 0x9e3779b97f4a7c15u;
  v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
  v = (v ^ v >> 27) * 0x94d049bb133111ebu;
  return v ^ v >> 31;
}

std::string place_of(const Program& p, u32 pc) {
  if (pc >= p.code.size()) return "at the end";
  const Insn& i = p.code[pc];
  std::string text = i.line >= 1 && i.line <= p.lines.size() ? p.lines[i.line - 1] : "";
  text.erase(0, std::min(text.find_first_not_of(" \t"), text.size()));
  std::string s = "at line " + std::to_string(i.line) + " of " + p.name;
  if (!p.sources.empty() && i.source < p.sources.size()) {
    const auto [file, line] = p.sources[i.source];
    if (file < p.files.size() && !p.files[file].empty())
      s += " (" + p.files[file].substr(p.files[file].rfind('/') + 1) + ":" + std::to_string(line) + ")";
  }
  return s + ": " + text;
}

std::string thread_name(const Block& b, int warp, int lane) {
  const u32 t = static_cast<u32>(warp * lanes + lane);
  return "(" + std::to_string(t % b.size.x) + "," + std::to_string(t / b.size.x % b.size.y) + "," +
         std::to_string(t / b.size.x / b.size.y) + ")";
}

void choose_group(Warp& w) {
  if (w.active != 0) w.others.push_back({w.pc, w.active, Group::ready, 0});
  w.active = 0;
  w.switch_ = false;
  w.next_pc = all_lanes;
  // Groups that are at the same place go on together.
  for (std::size_t i = 0; i < w.others.size(); ++i)
    for (std::size_t j = w.others.size(); j-- > i + 1;)
      if (w.others[i].pc == w.others[j].pc && w.others[i].state == w.others[j].state &&
          w.others[i].state != Group::at_barrier) {
        w.others[i].mask |= w.others[j].mask;
        w.others[i].wanted |= w.others[j].wanted;
        w.others.erase(w.others.begin() + static_cast<std::ptrdiff_t>(j));
      }
  for (Group& g : w.others)
    if (g.state == Group::at_warp_sync && (g.wanted & ~g.mask) == 0) g.state = Group::ready;
  std::size_t best = w.others.size();
  for (std::size_t i = 0; i < w.others.size(); ++i)
    if (w.others[i].state == Group::ready && (best == w.others.size() || w.others[i].pc < w.others[best].pc)) best = i;
  if (best == w.others.size()) return;
  w.pc = w.others[best].pc;
  w.active = w.others[best].mask;
  w.others.erase(w.others.begin() + static_cast<std::ptrdiff_t>(best));
  // A group that waits in a warp-wide operation counts, too: a group that reaches its place joins it.
  for (const Group& g : w.others)
    if (g.state != Group::at_barrier) w.next_pc = std::min(w.next_pc, g.pc);
}

// Runs a warp until it has to wait, is done, or has run `steps` instructions.
void run_warp(Warp& w, u64 steps) {
  Block& b = *w.block;
  const Insn* const code = b.program->code.data();
  if (w.active == 0) choose_group(w);
  for (u64 k = 0; k < steps && w.active != 0; ++k) {
    const Insn& i = code[w.pc];
    u32 m = w.active;
    if (i.guard >= 0) {
      const u32 p = w.regs[i.guard];
      m &= i.guard_negated ? ~p : p;
    }
    ++w.pc;
    if (m != 0) {
      b.lane_instructions += static_cast<u64>(__builtin_popcount(m));
      running = w.index;
      running_pc = w.pc - 1;
      i.run(w, i, m);
    }
    if (w.switch_ || w.pc >= w.next_pc) choose_group(w);
  }
}

std::string stuck(const Block& b) {
  std::string s = "no thread can go on:";
  std::map<std::string, u32> where;
  for (const Warp& w : b.warps)
    for (const Group& g : w.others) {
      char wanted[32] = "";
      if (g.state == Group::at_warp_sync) std::snprintf(wanted, sizeof wanted, " for lanes %08x", g.wanted);
      where[std::string(g.state == Group::at_barrier ? "wait at the barrier " : "wait") + wanted +
            (g.state == Group::at_barrier ? "" : " ") + place_of(*b.program, g.pc)] +=
          static_cast<u32>(__builtin_popcount(g.mask));
    }
  for (const auto& [text, count] : where) s += " " + std::to_string(count) + " " + text + ";";
  return s + " " + std::to_string(b.exited) + " have exited";
}

void set_up_warp(Block& b, Warp& w, std::vector<u32>& registers) {
  const u32 words = b.program->register_words;
  w.regs = registers.data() + static_cast<std::size_t>(w.index) * words;
  // Registers that a kernel reads before it writes hold a NaN.
  std::fill(w.regs, w.regs + words, poison);
  w.pool = b.program->pool.data();
  w.block = &b;
  w.pc = b.kernel->entry;
  w.next_pc = all_lanes;
  w.others.clear();
  w.exited = w.active = 0;
  w.switch_ = false;
  w.local.resize(static_cast<std::size_t>(lanes) * b.program->local_bytes, 0x7f);
  w.calls.resize(static_cast<std::size_t>(lanes) * b.program->call_bytes, 0x7f);
  for (auto& list : w.copies) list.clear();
  w.open_group.fill(0);
  for (int l = 0; l < lanes; ++l) {
    const u32 t = static_cast<u32>(w.index * lanes + l);
    if (t < b.threads) w.active |= u32{1} << l;
    const u32 values[] = {t % b.size.x,
                          t / b.size.x % b.size.y,
                          t / b.size.x / b.size.y,
                          b.size.x,
                          b.size.y,
                          b.size.z,
                          b.index.x,
                          b.index.y,
                          b.index.z,
                          b.grid.x,
                          b.grid.y,
                          b.grid.z,
                          static_cast<u32>(l),
                          static_cast<u32>(w.index),
                          0};
    for (int s = 0; s < static_cast<int>(std::size(values)); ++s) w.regs[s * lanes + l] = values[s];
  }
  w.existing = w.active;
}

void run_block(Block& b) {
  const Options& o = *b.options;
  u64 random = mix(o.seed + b.index.x + 7919 * u64{b.index.y} + 104729 * u64{b.index.z});
  const auto next = [&] { return random = mix(random); };
  std::vector<std::size_t> order(b.warps.size());
  for (std::size_t k = 0; k < order.size(); ++k) order[k] = k;
  const u64 limit = b.lane_instructions + o.limit;
  for (;;) {
    // Fair: all warps in a new random order, some instructions each. Greedy: the first that can run does, until it
    // waits; now and then another comes first.
    if (o.order == Order::fair || next() % 4 == 0)
      for (std::size_t k = order.size(); k > 1; --k) std::swap(order[k - 1], order[next() % k]);
    bool ran = false, left = false;
    for (const std::size_t k : order) {
      Warp& w = b.warps[k];
      if (w.finished()) continue;
      left = true;
      if (w.active == 0) choose_group(w);
      if (w.active == 0) continue;
      ran = true;
      run_warp(w, o.order == Order::fair ? 32 + next() % 32 : 100000);
      if (o.order == Order::greedy) break;
    }
    if (!left) return;
    if (!ran) throw Fault{stuck(b), -1};
    if (b.lane_instructions > limit)
      throw Fault{"does not end: more than " + std::to_string(o.limit) + " instructions in one block", -1};
  }
}

}  // namespace

void fault(const std::string& what, int lane) { throw Fault{what, lane}; }

void wait_at(Warp& w, Group::State state, u32 wanted) {
  w.others.push_back({w.pc - 1, w.active, state, wanted});
  w.active = 0;
  w.switch_ = true;
}

bool together(Warp& w, u32 m, u32 wanted) {
  wanted &= w.existing;
  if ((m & ~wanted) != 0) fault("runs a warp-wide operation whose mask does not name it", __builtin_ctz(m & ~wanted));
  if ((wanted & ~m) == 0) return true;
  if ((wanted & w.exited) != 0)
    fault("runs a warp-wide operation that waits for lane " + std::to_string(__builtin_ctz(wanted & w.exited)) +
              ", which has exited",
          __builtin_ctz(m));
  // Lanes of the group that a guard excludes do not wait.
  const u32 rest = w.active & ~m;
  if (rest != 0) {
    if ((rest & wanted) != 0)
      fault("runs a warp-wide operation that lane " + std::to_string(__builtin_ctz(rest & wanted)) + " skips",
            __builtin_ctz(m));
    w.others.push_back({w.pc, rest, Group::ready, 0});
    w.active = m;
  }
  wait_at(w, Group::at_warp_sync, wanted);
  return false;
}

void branch(Warp& w, u32 taken, u32 target) {
  const u32 rest = w.active & ~taken;
  if (rest != 0) {
    // The lower address first, so that the other side is there when it is reached.
    const u32 fall = w.pc;
    w.others.push_back({std::max(fall, target), fall > target ? rest : taken, Group::ready, 0});
    w.active = fall > target ? taken : rest;
    w.next_pc = std::min(w.next_pc, std::max(fall, target));
    w.pc = std::min(fall, target);
  } else {
    w.pc = target;
  }
}

void exit_lanes(Warp& w, u32 m) {
  for (int l = 0; l < lanes; ++l)
    if ((m >> l & 1) != 0 && !w.copies[static_cast<std::size_t>(l)].empty())
      fault("ends with an asynchronous copy that it has not waited for", l);
  w.exited |= m;
  w.active &= ~m;
  w.block->exited += static_cast<u32>(__builtin_popcount(m));
  if (w.active == 0) w.switch_ = true;
}

// A barrier counts threads. All must stand at the same instruction: two barriers in two branches are an error.
void arrive(Warp& w, const Insn& i, u32 m, u32 barrier, u32 expected) {
  Block& b = *w.block;
  const bool all = expected == 0;
  if (all) expected = b.threads;
  if (all && b.exited > 0)
    fault("waits at a barrier of the whole block, of which " + std::to_string(b.exited) + " threads have exited",
          __builtin_ctz(m));
  const u32 rest = w.active & ~m;
  if (rest != 0) w.others.push_back({w.pc, rest, Group::ready, 0}), w.active = m;
  if (i.imm != 0) {
    u32 p = *w.at(i.op[3]);
    if ((i.flags & negate_predicate) != 0) p = ~p;
    b.reductions[barrier] += static_cast<u32>(__builtin_popcount(p & m));
  }
  wait_at(w, Group::at_barrier, barrier);
  u32 arrived = 0;
  const u32 pc = w.pc - 1;
  for (const Warp& v : b.warps)
    for (const Group& g : v.others)
      if (g.state == Group::at_barrier && g.wanted == barrier) {
        if (g.pc != pc)
          fault("waits at one barrier while others wait at another, " + place_of(*b.program, g.pc), __builtin_ctz(m));
        arrived += static_cast<u32>(__builtin_popcount(g.mask));
      }
  if (arrived < expected) return;
  if (arrived > expected)
    fault("is one of " + std::to_string(arrived) + " threads at a barrier for " + std::to_string(expected),
          __builtin_ctz(m));
  const u32 count = b.reductions[barrier];
  b.reductions[barrier] = 0;
  for (Warp& v : b.warps)
    for (Group& g : v.others) {
      if (g.state != Group::at_barrier || g.wanted != barrier) continue;
      g.state = Group::ready;
      ++g.pc;
      if (i.imm == 1) {
        u32* const d = v.at(i.op[0]);
        for (int l = 0; l < lanes; ++l)
          if ((g.mask >> l & 1) != 0) d[l] = count;
      } else if (i.imm != 0) {
        u32& d = *v.at(i.op[0]);
        const bool yes = i.imm == 2 ? count == expected : count > 0;
        d = (d & ~g.mask) | (yes ? g.mask : 0);
      }
    }
}

Module::~Module() = default;
Module::Module(Module&&) noexcept = default;

const std::vector<Kernel>& Module::kernels() const noexcept { return program_->kernels; }

const Kernel* Module::find(const std::string& name) const noexcept {
  for (const Kernel& k : program_->kernels)
    if (k.name == name) return &k;
  return nullptr;
}

std::uint64_t Module::variable(const std::string& name, std::size_t& bytes) const noexcept {
  const auto v = program_->variables.find(name);
  if (v == program_->variables.end()) return 0;
  bytes = v->second.bytes;
  return v->second.address;
}

void Module::launch(const Kernel& kernel, Dim3 grid, Dim3 size, std::size_t dynamic_shared, void** arguments,
                    const Options& options) {
  const auto refuse = [&](const std::string& why) { throw Error("kernel " + kernel.name + ": " + why); };
  if (size.count() == 0 || grid.count() == 0) refuse("is launched with an empty grid or block");
  if (size.count() > kernel.max_threads || size.x > 1024 || size.y > 1024 || size.z > 64)
    refuse("is launched with " + std::to_string(size.count()) + " threads a block, at most " +
           std::to_string(kernel.max_threads) + " are allowed");
  if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
    refuse("is launched with a grid larger than (2147483647,65535,65535)");
  std::size_t declared = 0;
  for (const auto& variable : kernel.shared) declared += variable.second;
  if (declared > 48 << 10) refuse("declares more than 48 KiB of shared memory");
  if (declared + dynamic_shared > 227 << 10) refuse("asks for more than 227 KiB of shared memory");
  Block b;
  b.program = program_.get();
  b.kernel = &kernel;
  b.options = &options;
  b.grid = grid;
  b.size = size;
  b.threads = static_cast<u32>(size.count());
  b.parameters.resize(kernel.parameter_bytes);
  for (std::size_t k = 0; k < kernel.parameters.size(); ++k)
    std::memcpy(b.parameters.data() + kernel.parameters[k].offset, arguments[k], kernel.parameters[k].bytes);
  b.warps.resize((b.threads + lanes - 1) / lanes);
  for (std::size_t k = 0; k < b.warps.size(); ++k) b.warps[k].index = static_cast<int>(k);
  std::vector<u32> registers(b.warps.size() * program_->register_words);
  const std::size_t shared = kernel.static_shared + dynamic_shared;
  const u64 blocks = grid.count();
  for (u64 k = 0; k < blocks; ++k) {
    // Blocks in order, or the other way: nothing may depend on it.
    const u64 index = (options.seed & 1) != 0 ? k : blocks - 1 - k;
    b.index = {static_cast<u32>(index % grid.x), static_cast<u32>(index / grid.x % grid.y),
               static_cast<u32>(index / grid.x / grid.y)};
    b.shared.resize(shared);
    for (std::size_t i = 0; i + 4 <= shared; i += 4) std::memcpy(b.shared.data() + i, &poison, 4);
    b.shared_shadow.assign(shared, unmapped);
    for (const auto& [offset, bytes] : kernel.shared)
      std::fill_n(b.shared_shadow.begin() + offset, bytes, uninitialised);
    std::fill(b.shared_shadow.begin() + kernel.static_shared, b.shared_shadow.end(), uninitialised);
    b.exited = 0;
    b.reductions.clear();
    for (Warp& w : b.warps) set_up_warp(b, w, registers);
    const u64 before = b.lane_instructions;
    try {
      run_block(b);
    } catch (const Fault& f) {
      std::string s = "kernel " + kernel.name + ", block (" + std::to_string(b.index.x) + "," +
                      std::to_string(b.index.y) + "," + std::to_string(b.index.z) + ")";
      if (f.lane >= 0) s += ", thread " + thread_name(b, running, f.lane) + " " + place_of(*program_, running_pc);
      throw Error(s + ": " + f.what);
    }
    total_instructions += b.lane_instructions - before;
  }
}

std::uint64_t instructions() noexcept { return total_instructions; }

}  // namespace vitrine::ptx
