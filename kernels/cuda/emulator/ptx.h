// An interpreter of the PTX that nvcc emits, to run the shipped kernels without a GPU.
//
// A warp at a time: an instruction is decoded once, when its module is loaded, and then works on 32 lanes. Lanes that
// diverge run as groups, the lowest address first, so that they meet again. It reports, with the line of PTX (and of
// the source, if nvcc had -lineinfo): accesses outside allocations, misaligned ones, reads of memory that nobody wrote
// or that an asynchronous copy has not reached, barriers that not all threads reach, deadlocks, shuffles from lanes
// that take no part. An instruction that it does not know is an error when the module is loaded.
//
// Not modelled: time, weak order of memory, races between threads of a block (the check build of the emulator finds
// them).
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace vitrine::ptx {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Dim3 {
  std::uint32_t x = 1, y = 1, z = 1;
  std::uint64_t count() const noexcept { return std::uint64_t{x} * y * z; }
};

/// Which warp runs next. `fair`: in turns, few instructions each. `greedy`: one warp runs as far ahead as barriers let
/// it, which shows missing barriers that turns hide.
enum class Order : std::uint8_t { fair, greedy };

struct Options {
  Order order = Order::fair;
  std::uint64_t seed = 1;
  bool perturb = false;                  ///< results of .approx instructions move by up to the documented error
  std::uint64_t limit = 20'000'000'000;  ///< instructions of a block before it is called endless
};

struct Program;  // decoded instructions

struct Kernel {
  std::string name;
  struct Parameter {
    std::uint32_t offset, bytes;
  };
  std::vector<Parameter> parameters;
  std::uint32_t parameter_bytes = 0;
  std::uint32_t static_shared = 0;                              ///< bytes, gaps included; dynamic memory starts there
  std::vector<std::pair<std::uint32_t, std::uint32_t>> shared;  ///< offset and bytes of its variables
  std::uint32_t local_bytes = 0, registers = 0;
  std::uint32_t max_threads = 1024;  ///< from __launch_bounds__
  std::uint32_t entry = 0;           ///< of the program
};

class Module {
 public:
  /// `name` is for messages.
  Module(const std::string& text, std::string name);
  ~Module();
  Module(Module&&) noexcept;
  const std::vector<Kernel>& kernels() const noexcept;
  const Kernel* find(const std::string& name) const noexcept;
  /// Address of a .global or .const variable, and its bytes; 0 if there is none.
  std::uint64_t variable(const std::string& name, std::size_t& bytes) const noexcept;

  /// Runs a whole grid. `arguments[i]` points to parameter i. Throws Error, naming kernel, block, thread and line.
  void launch(const Kernel&, Dim3 grid, Dim3 block, std::size_t dynamic_shared, void** arguments, const Options&);

 private:
  std::unique_ptr<Program> program_;
};

/// Instructions that lanes have run since the start of the process.
std::uint64_t instructions() noexcept;

}  // namespace vitrine::ptx
