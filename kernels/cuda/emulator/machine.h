// What the PTX interpreter's files share: decoded instructions, and a warp that runs them.
#pragma once

#include <array>
#include <cstring>
#include <map>
#include <unordered_map>

#include "kernels/cuda/emulator/device_memory.h"
#include "kernels/cuda/emulator/ptx.h"

namespace vitrine::ptx {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

inline constexpr int lanes = 32;
inline constexpr u32 all_lanes = ~u32{0};

// Registers and local memory of functions are numbered from here while kernels are read, whose size is not yet known.
inline constexpr i32 function_words = 1 << 24;
inline constexpr u64 function_local = u64{1} << 24;

enum class Space : u8 { generic, global, shared, local, param };

/// Windows of the generic address space; no host address has these bits.
inline constexpr u64 shared_window = u64{1} << 56, local_window = u64{2} << 56, param_window = u64{3} << 56;

struct Warp;
struct Insn;
using Handler = void (*)(Warp&, const Insn&, u32 mask);

/// Operands are places in the warp's registers, counted in 32-bit words; negative ones are ~places in the pool of
/// constants.
struct Insn {
  Handler run = nullptr;
  std::array<i32, 5> op{};
  i32 guard = -1;  ///< word of a predicate
  bool guard_negated = false;
  bool wide_address = true;  ///< the address register has 64 bits
  u8 wide = 0;               ///< ld, st: the data registers have 64 bits
  Space space = Space::global;
  u8 rounding = 0, flags = 0;
  u32 list = 0;    ///< first of further operands in Program::lists
  u32 target = 0;  ///< of branches
  i64 imm = 0;
  u32 line = 0, source = 0;
};

enum Flag : u8 { saturate = 1, flush = 2, negate_predicate = 4 };

struct Variable {
  Space space;
  u64 address;  // absolute for global and const, an offset for others
  u64 bytes;
};

struct Program {
  std::string name;
  std::vector<std::string> lines;            // of the text, for messages
  std::vector<std::string> files;            // of .file
  std::vector<std::pair<u32, u32>> sources;  // Insn::source: file, line
  std::vector<Insn> code;
  std::vector<i32> lists;
  std::vector<u32> pool;
  std::vector<Kernel> kernels;
  std::map<std::string, Variable> variables;
  std::vector<u64> owned;                 // device memory of variables
  u32 register_words = 0;                 // of the largest kernel with all that it calls
  u32 call_bytes = 0;                     // per lane: arguments of functions
  u32 kernel_local = 0, local_bytes = 0;  // per lane: local memory of the largest kernel; with that of all functions

  ~Program() {
    for (const u64 address : owned) DeviceMemory::instance().release(address);
  }
};

/// Registers that every warp has, ahead of the program's: special registers, one slot of 32 words each.
enum Special : i32 {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  clock_,
  return_address,
  special_count
};

struct Group {
  enum State : u8 { ready, at_barrier, at_warp_sync };
  u32 pc, mask;
  State state;
  u32 wanted;  ///< lanes that a warp-wide operation needs
};

struct Block;

struct Warp {
  u32* regs = nullptr;
  const u32* pool = nullptr;
  Block* block = nullptr;
  u32 pc = 0, active = 0, next_pc = all_lanes;  // next_pc: the lowest address of another group that can run
  u32 existing = 0, exited = 0;
  int index = 0;
  bool switch_ = false;  // the current group cannot go on
  std::vector<Group> others;
  std::vector<u8> local;  // lane * program.local_bytes
  std::vector<u8> calls;  // lane * program.call_bytes: arguments of functions
  u32 expanded_of = 0;
  alignas(64) u32 expanded[lanes] = {};  // the mask as words

  struct Copy {
    u64 to;
    u32 bytes, group;
    u8 data[16];
  };
  std::array<std::vector<Copy>, lanes> copies;  // cp.async, not yet landed
  std::array<u32, lanes> open_group{};          // number of the group that is not committed yet

  u32* at(i32 o) noexcept { return o >= 0 ? regs + o : const_cast<u32*>(pool) + ~o; }
  const u32* lane_words(u32 mask) noexcept {
    if (mask != expanded_of) {
      for (int l = 0; l < lanes; ++l) expanded[l] = (mask >> l & 1) != 0 ? ~u32{0} : 0;
      expanded_of = mask;
    }
    return expanded;
  }
  bool finished() const noexcept { return active == 0 && others.empty(); }
};

/// A thread block while it runs.
struct Block {
  Program* program = nullptr;
  const Kernel* kernel = nullptr;
  const Options* options = nullptr;
  Dim3 grid, size, index;
  std::vector<Warp> warps;
  std::vector<u8> shared, shared_shadow, parameters;
  u32 threads = 0, exited = 0;
  u64 lane_instructions = 0;
  std::map<u32, u32> reductions;  // of bar.red, by barrier: and/or bits and count so far
};

[[noreturn]] void fault(const std::string& what, int lane = -1);

/// Ends an operation whose group must wait: when woken, the group runs it again, or continues after it.
void wait_at(Warp&, Group::State, u32 wanted);
/// A warp-wide operation on `wanted`: true when all of its lanes are here. Otherwise the group waits.
bool together(Warp&, u32 mask, u32 wanted);
void branch(Warp&, u32 taken, u32 target);
void exit_lanes(Warp&, u32 mask);
void arrive(Warp&, const Insn&, u32 mask, u32 barrier, u32 expected);

/// An operand, from the parser to the decoder.
struct Operand {
  enum Kind : u8 { none, reg, immediate, address, vector, symbol, sink } kind = none;
  i32 place = 0;
  u8 bits = 0;           // of a register: 1 (predicate), 16, 32, 64
  bool negated = false;  // of a predicate
  bool wide = true;      // address: its register has 64 bits
  i64 value = 0;         // immediate; offset of an address
  bool is_float = false;
  i32 second = -1;  // d|p
  std::vector<Operand> parts;
  std::string name;
};

/// Fills in handler, flags and operands of one instruction; false if there is no such instruction. `constant(bits,
/// wide)` gives a place in the pool.
struct Decoder {
  Program& program;
  std::map<std::pair<u64, bool>, i32> constants;
  i32 constant(u64 bits, bool wide);
  bool decode(const std::vector<std::string>& parts, const std::vector<Operand>& operands, Insn&);
};

}  // namespace vitrine::ptx
