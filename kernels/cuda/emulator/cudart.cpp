// A stand-in for libcudart.so.13 that runs kernels in the PTX interpreter: the unmodified objects of nvcc, host code
// and all, are linked or loaded against it. Found by LD_LIBRARY_PATH in tests; never installed.
//
// What a program queues on streams runs when something waits for it, in a random interleaving of the streams that
// events and the legacy default stream allow (VITRINE_STANDIN_SEED), so that a missing wait shows. Memory is the
// interpreter's: a host that follows a device pointer faults. A fault of a kernel is printed once, and every later call
// returns it, as with a real device.
//
//   VITRINE_STANDIN_ORDER=fair|greedy   which warp runs next
//   VITRINE_STANDIN_SEED=N              of the order of warps and streams
//   VITRINE_STANDIN_PERTURB=1           approximate instructions err within their documented bounds
//   VITRINE_STANDIN_DEVICES=N           0: a machine without a GPU
//   VITRINE_STANDIN_MEMORY=MiB          of the device
//   VITRINE_STANDIN_ARCH=90             compute capability that it reports
//   VITRINE_STANDIN_PTX=A.ptx:B.ptx     kernels in these files take precedence over the program's own PTX
//   VITRINE_STANDIN_REPORT=1            prints at the end what ran, and what is still allocated
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <set>

#include "kernels/cuda/emulator/device_memory.h"
#include "kernels/cuda/emulator/ptx.h"

using namespace vitrine::ptx;

namespace {

const char* setting(const char* name, const char* otherwise) {
  const char* const v = std::getenv((std::string("VITRINE_STANDIN_") + name).c_str());
  return v != nullptr && *v != '\0' ? v : otherwise;
}
int number(const char* name, int otherwise) {
  const char* const v = setting(name, nullptr);
  return v != nullptr ? std::atoi(v) : otherwise;
}

// --- fat binaries

struct Wrapper {
  std::int32_t magic, version;
  const unsigned char* data;
  void* unused;
};
struct FatHeader {
  std::uint32_t magic;
  std::uint16_t version, header_bytes;
  std::uint64_t bytes;
};
struct FatEntry {
  std::uint16_t kind, version;  // 1: PTX, 2: machine code
  std::uint32_t header_bytes;
  std::uint64_t bytes;
  std::uint32_t compressed_bytes, unknown;
  std::uint16_t minor, major;
  std::uint32_t arch, name_offset, name_bytes;
  std::uint64_t flags, zero, text_bytes;
};
constexpr std::uint64_t compressed_zstd = 0x8000, compressed_lz4 = 0x2000;

std::string unpacked(const FatEntry& e, const char* data) {
  if ((e.flags & compressed_zstd) == 0) {
    if ((e.flags & compressed_lz4) != 0)
      throw Error("the program's PTX is compressed by LZ4: build it with nvcc's --compress-mode=none or default");
    return {data, strnlen(data, e.bytes)};
  }
  // Every Debian has the library (dpkg needs it); its headers are not asked for.
  using Decompress = std::size_t(void*, std::size_t, const void*, std::size_t);
  static auto* const decompress = [] {
    void* const lib = dlopen("libzstd.so.1", RTLD_NOW);
    return lib != nullptr ? reinterpret_cast<Decompress*>(dlsym(lib, "ZSTD_decompress")) : nullptr;
  }();
  if (decompress == nullptr) throw Error("the program's PTX is compressed and libzstd.so.1 is not there");
  std::string text(e.text_bytes, '\0');
  if (decompress(text.data(), text.size(), data, e.compressed_bytes) != e.text_bytes)
    throw Error("the program's PTX cannot be unpacked");
  return text.substr(0, text.find('\0'));
}

// The newest PTX that the claimed device can take.
std::string ptx_of(const unsigned char* fat, int arch) {
  FatHeader h;
  std::memcpy(&h, fat, sizeof h);
  if (h.magic != 0xBA55ED50) throw Error("the program's fat binary has an unknown format");
  const unsigned char *at = fat + h.header_bytes, *const end = at + h.bytes;
  std::string best;
  std::uint32_t best_arch = 0;
  while (at < end) {
    FatEntry e;
    std::memcpy(&e, at, sizeof e);
    if (e.kind == 1 && e.arch <= static_cast<std::uint32_t>(arch) && e.arch >= best_arch)
      best = unpacked(e, reinterpret_cast<const char*>(at + e.header_bytes)), best_arch = e.arch;
    at += e.header_bytes + e.bytes;
  }
  if (best.empty())
    throw Error("the program holds no PTX for compute capability " + std::to_string(arch) + " or lower");
  return best;
}

struct LoadedModule {
  const unsigned char* fat = nullptr;
  std::string file;
  std::unique_ptr<Module> module;
};
struct Function {
  LoadedModule* module;
  std::string name;
  std::size_t dynamic_limit = 48 << 10;
};
struct Variable {
  LoadedModule* module;
  std::string name;
};

// --- streams

struct Event {
  std::uint64_t recorded = 0, done = 0;  // how often queued, how often passed
};
struct Task {
  std::function<void()> run;
  Event* wait = nullptr;  // not before this event has passed `wait_for` times
  std::uint64_t wait_for = 0;
};
struct Graph {
  std::vector<Task> tasks;
};

}  // namespace

struct CUstream_st {
  bool blocking = true;  // takes part in the default stream's order
  std::deque<Task> queue;
  Graph* capture = nullptr;
  bool invalidated = false;
};
struct CUevent_st : Event {};
struct CUgraph_st : Graph {};
struct CUgraphExec_st : Graph {};

namespace {

struct State {
  std::recursive_mutex mutex;
  std::deque<LoadedModule> modules;
  std::map<const void*, Function> functions;
  std::map<const void*, Variable> variables;
  std::set<CUstream_st*> streams;
  CUstream_st default_stream;
  std::map<const char*, std::size_t> pinned;
  cudaError_t sticky = cudaSuccess, last = cudaSuccess;
  std::uint64_t random;
  Options options;
  int arch, devices;
  bool files_read = false;
  std::uint64_t launches = 0, graph_launches = 0, graph_kernels = 0;

  State()
      : random(static_cast<std::uint64_t>(number("SEED", 1))), arch(number("ARCH", 90)), devices(number("DEVICES", 1)) {
    options.order = std::string(setting("ORDER", "fair")) == "greedy" ? Order::greedy : Order::fair;
    options.seed = random;
    options.perturb = number("PERTURB", 0) != 0;
    DeviceMemory::instance().set_capacity(static_cast<std::size_t>(number("MEMORY", 8192)) << 20);
  }
  std::uint64_t next() { return random = random * 6364136223846793005u + 1442695040888963407u, random >> 33; }
};

State& state() {
  static State* const s = new State();
  return *s;
}

cudaError_t remember(cudaError_t e) {
  if (e != cudaSuccess) state().last = e;
  return e;
}

void report(const std::string& what) { std::fprintf(stderr, "libcudart stand-in: %s\n", what.c_str()); }

struct AtExit {
  ~AtExit() {
    if (number("REPORT", 0) == 0) return;
    const State& s = state();
    report(std::to_string(s.launches) + " kernels launched, " + std::to_string(s.graph_launches) +
           " graphs launched with " + std::to_string(s.graph_kernels) + " pieces of work, " +
           std::to_string(instructions()) + " instructions, " + std::to_string(DeviceMemory::instance().allocations()) +
           " allocations left");
  }
} at_exit;

Module& loaded(LoadedModule& m) {
  if (!m.module) {
    std::string text;
    if (m.fat != nullptr) {
      text = ptx_of(m.fat, state().arch);
    } else {
      std::ifstream file(m.file);
      if (!file) throw Error(m.file + ": cannot be read");
      text.assign(std::istreambuf_iterator<char>(file), {});
    }
    m.module =
        std::make_unique<Module>(text, m.file.empty() ? "the program's PTX" : m.file.substr(m.file.rfind('/') + 1));
  }
  return *m.module;
}

// The kernel's PTX: from files that the environment names, else from the program.
std::pair<Module*, const Kernel*> kernel_of(const Function& f) {
  State& s = state();
  if (!s.files_read) {
    s.files_read = true;
    std::string list = setting("PTX", "");
    while (!list.empty()) {
      const std::size_t colon = std::min(list.find(':'), list.size());
      s.modules.push_back({nullptr, list.substr(0, colon), nullptr});
      list.erase(0, colon + 1);
    }
  }
  for (LoadedModule& m : s.modules)
    if (m.fat == nullptr)
      if (const Kernel* const k = loaded(m).find(f.name)) return {m.module.get(), k};
  Module& m = loaded(*f.module);
  const Kernel* const k = m.find(f.name);
  if (k == nullptr) throw Error("kernel " + f.name + " is not in the program's PTX");
  return {&m, k};
}

bool run_task(Task& t) {
  State& s = state();
  if (s.sticky != cudaSuccess) return true;  // a dead context drops its work
  try {
    t.run();
  } catch (const Error& e) {
    report(e.what());
    s.sticky = s.last = cudaErrorLaunchFailure;
    return false;
  }
  return true;
}

bool ready(const CUstream_st& q) {
  return !q.queue.empty() &&
         (q.queue.front().wait == nullptr || q.queue.front().wait->done >= q.queue.front().wait_for);
}

// Runs queued work, any stream first, until `done` holds. Work of streams that nobody waits for may run too, or not.
template <class F>
void progress(F&& done) {
  State& s = state();
  while (!done()) {
    std::vector<CUstream_st*> able;
    for (CUstream_st* q : s.streams)
      if (ready(*q)) able.push_back(q);
    if (able.empty()) {
      report("queued work waits for an event that is never recorded");
      s.sticky = s.last = cudaErrorLaunchFailure;
      return;
    }
    CUstream_st& q = *able[s.next() % able.size()];
    Task t = std::move(q.queue.front());
    q.queue.pop_front();
    run_task(t);
  }
}

void drain(CUstream_st& q) {
  progress([&] { return q.queue.empty(); });
}
void drain_blocking() {
  progress([] {
    for (const CUstream_st* q : state().streams)
      if (q->blocking && !q->queue.empty()) return false;
    return true;
  });
}
void drain_all() {
  progress([] {
    for (const CUstream_st* q : state().streams)
      if (!q->queue.empty()) return false;
    return true;
  });
}

bool is_default(cudaStream_t stream) { return stream == nullptr || stream == cudaStreamLegacy; }

// Puts work on a stream. The default stream waits for all blocking ones, and they for it: its work runs at once.
cudaError_t enqueue(cudaStream_t stream, Task task) {
  State& s = state();
  if (s.sticky != cudaSuccess) return s.sticky;
  if (is_default(stream)) {
    for (CUstream_st* q : s.streams)
      if (q->capture != nullptr && q->blocking) return q->invalidated = true, remember(cudaErrorStreamCaptureImplicit);
    drain_blocking();
    if (task.wait != nullptr) progress([&] { return task.wait->done >= task.wait_for; });
    run_task(task);
    return remember(s.sticky);
  }
  if (stream->capture != nullptr) {
    stream->capture->tasks.push_back(std::move(task));
    return cudaSuccess;
  }
  stream->queue.push_back(std::move(task));
  return cudaSuccess;
}

// Waiting is not possible while a stream records.
bool captures(cudaStream_t stream) {
  if (is_default(stream) || stream->capture == nullptr) return false;
  stream->invalidated = true;
  return true;
}

// --- memory

bool on_device(const void* p) { return DeviceMemory::instance().contains(reinterpret_cast<std::uint64_t>(p)); }
std::uint64_t address(const void* p) { return reinterpret_cast<std::uint64_t>(p); }

void need(const void* p, std::size_t bytes, const char* what) {
  if (DeviceMemory::instance().data(address(p), bytes) == nullptr)
    throw Error(std::string(what) + " of " + std::to_string(bytes) + " bytes: the address is " +
                DeviceMemory::instance().describe(address(p)));
}

void copy_now(void* to, const void* from, std::size_t bytes) {
  DeviceMemory& d = DeviceMemory::instance();
  if (bytes == 0) return;
  if (on_device(to)) need(to, bytes, "a copy to the device");
  if (on_device(from)) need(from, bytes, "a copy from the device");
  if (on_device(to) && on_device(from)) {
    d.copy(address(to), address(from), bytes);
  } else if (on_device(to)) {
    std::memcpy(d.raw(address(to)), from, bytes);
    d.mark(address(to), bytes, initialised);
  } else if (on_device(from)) {
    std::memcpy(to, d.raw(address(from)), bytes);
  } else {
    std::memmove(to, from, bytes);
  }
}

bool fits(cudaMemcpyKind kind, const void* to, const void* from) {
  const bool d = on_device(to), s = on_device(from);
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !d && !s;
    case cudaMemcpyHostToDevice:
      return d && !s;
    case cudaMemcpyDeviceToHost:
      return !d && s;
    case cudaMemcpyDeviceToDevice:
      return d && s;
    default:
      return true;
  }
}

bool is_pinned(const void* p) {
  State& s = state();
  auto block = s.pinned.upper_bound(static_cast<const char*>(p));
  if (block == s.pinned.begin()) return false;
  --block;
  return static_cast<const char*>(p) < block->first + block->second;
}

// An asynchronous copy. Of pageable memory the source is taken at once, and a copy into it is waited for.
cudaError_t copy_async(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!fits(kind, to, from)) return remember(cudaErrorInvalidValue);
  const bool recording = !is_default(stream) && stream->capture != nullptr;
  if (!recording && !on_device(from) && !is_pinned(from)) {
    std::vector<char> data(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    return enqueue(stream, {[to, data = std::move(data)] { copy_now(to, data.data(), data.size()); }});
  }
  const cudaError_t e = enqueue(stream, {[=] { copy_now(to, from, bytes); }});
  if (!recording && e == cudaSuccess && !on_device(to) && !is_pinned(to) && !is_default(stream)) {
    drain(*stream);
    return state().sticky;
  }
  return e;
}

cudaError_t set_async(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return enqueue(stream, {[=] {
                   if (bytes == 0) return;
                   need(to, bytes, "cudaMemset");
                   std::memset(DeviceMemory::instance().raw(address(to)), value, bytes);
                   DeviceMemory::instance().mark(address(to), bytes, initialised);
                 }});
}

cudaError_t launch(const void* host_function, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                   cudaStream_t stream) {
  State& s = state();
  const auto found = s.functions.find(host_function);
  if (found == s.functions.end()) return remember(cudaErrorInvalidDeviceFunction);
  const Function& f = found->second;
  try {
    const auto [module, kernel] = kernel_of(f);
    if (shared > f.dynamic_limit) {
      report("kernel " + f.name + ": asks for " + std::to_string(shared) + " bytes of dynamic shared memory, " +
             std::to_string(f.dynamic_limit) + " are allowed (cudaFuncSetAttribute)");
      return remember(cudaErrorInvalidValue);
    }
    if (std::uint64_t{block.x} * block.y * block.z > kernel->max_threads || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        block.x == 0 || block.y == 0 || block.z == 0 || grid.y > 65535 || grid.z > 65535) {
      report("kernel " + f.name + ": cannot be launched with this grid or block");
      return remember(cudaErrorInvalidConfiguration);
    }
    // Arguments are taken now, as the interface promises.
    std::vector<std::vector<char>> values;
    for (std::size_t k = 0; k < kernel->parameters.size(); ++k)
      values.emplace_back(static_cast<const char*>(arguments[k]),
                          static_cast<const char*>(arguments[k]) + kernel->parameters[k].bytes);
    return enqueue(stream, {[=, module = module, kernel = kernel, values = std::move(values)]() mutable {
                     std::vector<void*> pointers;
                     for (auto& v : values) pointers.push_back(v.data());
                     ++state().launches;
                     module->launch(*kernel, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared,
                                    pointers.data(), state().options);
                   }});
  } catch (const Error& e) {
    report(e.what());
    return remember(cudaErrorInvalidPtx);
  }
}

std::uint64_t symbol_address(const void* symbol, std::size_t& bytes) {
  State& s = state();
  const auto v = s.variables.find(symbol);
  if (v == s.variables.end()) return 0;
  try {
    return loaded(*v->second.module).variable(v->second.name, bytes);
  } catch (const Error& e) {
    report(e.what());
    return 0;
  }
}

struct Configuration {
  dim3 grid, block;
  std::size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

#define VITRINE_LOCK const std::lock_guard lock(state().mutex)
#define VITRINE_ALIVE                                       \
  VITRINE_LOCK;                                             \
  if (state().sticky != cudaSuccess) return state().sticky; \
  if (state().devices == 0) return remember(cudaErrorNoDevice)

}  // namespace

#define VITRINE_API extern "C" __attribute__((visibility("default")))

// --- what nvcc's host code calls

VITRINE_API void** __cudaRegisterFatBinary(void* wrapper) {
  VITRINE_LOCK;
  state().modules.push_back({static_cast<const Wrapper*>(wrapper)->data, "", nullptr});
  return reinterpret_cast<void**>(&state().modules.back());
}
VITRINE_API void __cudaRegisterFatBinaryEnd(void**) {}
VITRINE_API void __cudaUnregisterFatBinary(void**) {}
VITRINE_API char __cudaInitModule(void**) { return 1; }
VITRINE_API void __cudaRegisterFunction(void** module, const char* host, char*, const char* name, int, uint3*, uint3*,
                                        dim3*, dim3*, int*) {
  VITRINE_LOCK;
  state().functions[host] = {reinterpret_cast<LoadedModule*>(module), name};
}
VITRINE_API void __cudaRegisterVar(void** module, char* host, char*, const char* name, int, std::size_t, int, int) {
  VITRINE_LOCK;
  state().variables[host] = {reinterpret_cast<LoadedModule*>(module), name};
}
VITRINE_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}
VITRINE_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  if (configurations.empty()) return cudaErrorMissingConfiguration;
  const Configuration c = configurations.back();
  configurations.pop_back();
  *grid = c.grid, *block = c.block, *shared = c.shared, *static_cast<cudaStream_t*>(stream) = c.stream;
  return cudaSuccess;
}
// A kernel handle is the address of its host function.
VITRINE_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(host));
  return cudaSuccess;
}
VITRINE_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                                           std::size_t shared, cudaStream_t stream) {
  VITRINE_ALIVE;
  return launch(reinterpret_cast<const void*>(kernel), grid, block, arguments, shared, stream);
}

// --- the interface

VITRINE_API cudaError_t cudaLaunchKernel(const void* f, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                                         cudaStream_t stream) {
  VITRINE_ALIVE;
  return launch(f, grid, block, arguments, shared, stream);
}
VITRINE_API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** arguments) {
  VITRINE_ALIVE;
  return launch(f, c->gridDim, c->blockDim, arguments, c->dynamicSmemBytes, c->stream);
}
VITRINE_API cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute attribute, int value) {
  VITRINE_ALIVE;
  const auto found = state().functions.find(f);
  if (found == state().functions.end()) return remember(cudaErrorInvalidDeviceFunction);
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value < 0 || value > 227 << 10) return remember(cudaErrorInvalidValue);
    found->second.dynamic_limit = static_cast<std::size_t>(value);
  }
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, const void* f) {
  VITRINE_ALIVE;
  const auto found = state().functions.find(f);
  if (found == state().functions.end()) return remember(cudaErrorInvalidDeviceFunction);
  try {
    const Kernel& k = *kernel_of(found->second).second;
    *a = {};
    for (const auto& variable : k.shared) a->sharedSizeBytes += variable.second;
    a->localSizeBytes = k.local_bytes;
    a->maxThreadsPerBlock = static_cast<int>(k.max_threads);
    a->numRegs = 64;  // the interpreter cannot know
    a->ptxVersion = a->binaryVersion = state().arch;
    a->maxDynamicSharedSizeBytes = static_cast<int>(found->second.dynamic_limit);
    return cudaSuccess;
  } catch (const Error& e) {
    report(e.what());
    return remember(cudaErrorInvalidPtx);
  }
}
VITRINE_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int threads,
                                                                               std::size_t, unsigned) {
  *blocks = threads > 0 ? std::max(1, 2048 / threads) : 0;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* f, int threads,
                                                                      std::size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, f, threads, shared, 0);
}

VITRINE_API cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  VITRINE_ALIVE;
  for (CUstream_st* q : state().streams)
    if (q->capture != nullptr) return q->invalidated = true, remember(cudaErrorStreamCaptureUnsupported);
  const std::uint64_t a = bytes == 0 ? 0 : DeviceMemory::instance().allocate(bytes);
  *p = reinterpret_cast<void*>(a);
  return a != 0 || bytes == 0 ? cudaSuccess : remember(cudaErrorMemoryAllocation);
}
VITRINE_API cudaError_t cudaFree(void* p) {
  VITRINE_LOCK;
  if (p == nullptr) return cudaSuccess;
  drain_all();  // it waits for the device
  return DeviceMemory::instance().release(address(p)) ? cudaSuccess : remember(cudaErrorInvalidValue);
}
VITRINE_API cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t) { return cudaMalloc(p, bytes); }
VITRINE_API cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  VITRINE_LOCK;
  return enqueue(stream, {[=] {
                   if (p != nullptr && !DeviceMemory::instance().release(address(p)))
                     throw Error("cudaFreeAsync of memory that is not allocated");
                 }});
}
VITRINE_API cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned) {
  VITRINE_ALIVE;
  *p = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (*p == nullptr) return remember(cudaErrorMemoryAllocation);
  state().pinned[static_cast<const char*>(*p)] = bytes;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaMallocHost(void** p, std::size_t bytes) { return cudaHostAlloc(p, bytes, 0); }
VITRINE_API cudaError_t cudaFreeHost(void* p) {
  VITRINE_LOCK;
  if (p == nullptr) return cudaSuccess;
  if (state().pinned.erase(static_cast<const char*>(p)) == 0) return remember(cudaErrorInvalidValue);
  drain_all();
  std::free(p);
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaHostRegister(void* p, std::size_t bytes, unsigned) {
  VITRINE_LOCK;
  state().pinned[static_cast<const char*>(p)] = bytes;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaHostUnregister(void* p) {
  VITRINE_LOCK;
  drain_all();
  return state().pinned.erase(static_cast<const char*>(p)) != 0 ? cudaSuccess
                                                                : remember(cudaErrorHostMemoryNotRegistered);
}
VITRINE_API cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total) {
  VITRINE_ALIVE;
  *free_bytes = DeviceMemory::instance().free_bytes();
  *total = static_cast<std::size_t>(number("MEMORY", 8192)) << 20;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                                        cudaStream_t stream) {
  VITRINE_ALIVE;
  return copy_async(to, from, bytes, kind, stream);
}
VITRINE_API cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  VITRINE_ALIVE;
  return copy_async(to, from, bytes, kind, nullptr);
}
VITRINE_API cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  VITRINE_ALIVE;
  return set_async(to, value, bytes, stream);
}
VITRINE_API cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  VITRINE_ALIVE;
  return set_async(to, value, bytes, nullptr);
}
VITRINE_API cudaError_t cudaGetSymbolAddress(void** p, const void* symbol) {
  VITRINE_ALIVE;
  std::size_t bytes = 0;
  *p = reinterpret_cast<void*>(symbol_address(symbol, bytes));
  return *p != nullptr ? cudaSuccess : remember(cudaErrorInvalidSymbol);
}
VITRINE_API cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, std::size_t bytes,
                                                std::size_t offset, cudaMemcpyKind kind, cudaStream_t stream) {
  VITRINE_ALIVE;
  std::size_t size = 0;
  const std::uint64_t a = symbol_address(symbol, size);
  if (a == 0 || offset + bytes > size) return remember(cudaErrorInvalidSymbol);
  return copy_async(reinterpret_cast<void*>(a + offset), from, bytes, kind, stream);
}
VITRINE_API cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, std::size_t bytes, std::size_t offset,
                                           cudaMemcpyKind kind) {
  return cudaMemcpyToSymbolAsync(symbol, from, bytes, offset, kind, nullptr);
}
VITRINE_API cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                                             cudaMemcpyKind kind) {
  VITRINE_ALIVE;
  std::size_t size = 0;
  const std::uint64_t a = symbol_address(symbol, size);
  if (a == 0 || offset + bytes > size) return remember(cudaErrorInvalidSymbol);
  return copy_async(to, reinterpret_cast<void*>(a + offset), bytes, kind, nullptr);
}
VITRINE_API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
  VITRINE_ALIVE;
  *a = {};
  a->type = on_device(p) ? cudaMemoryTypeDevice : is_pinned(p) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  a->devicePointer = on_device(p) ? const_cast<void*>(p) : nullptr;
  a->hostPointer = on_device(p) ? nullptr : const_cast<void*>(p);
  return cudaSuccess;
}

VITRINE_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  VITRINE_ALIVE;
  *stream = new CUstream_st();
  (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
  state().streams.insert(*stream);
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, 0); }
VITRINE_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
VITRINE_API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  VITRINE_LOCK;
  if (is_default(stream) || state().streams.count(stream) == 0) return remember(cudaErrorInvalidResourceHandle);
  drain(*stream);
  state().streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  VITRINE_ALIVE;
  if (captures(stream)) return remember(cudaErrorStreamCaptureUnsupported);
  if (is_default(stream))
    drain_blocking();
  else
    drain(*stream);
  return state().sticky;
}
VITRINE_API cudaError_t cudaStreamQuery(cudaStream_t stream) {
  VITRINE_ALIVE;
  return is_default(stream) || stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
VITRINE_API cudaError_t cudaDeviceSynchronize() {
  VITRINE_ALIVE;
  for (CUstream_st* q : state().streams)
    if (captures(q)) return remember(cudaErrorStreamCaptureUnsupported);
  drain_all();
  return state().sticky;
}
VITRINE_API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t f, void* data) {
  VITRINE_ALIVE;
  return enqueue(stream, {[=] { f(data); }});
}

VITRINE_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  VITRINE_ALIVE;
  *event = new CUevent_st();
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
VITRINE_API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  VITRINE_LOCK;
  drain_all();
  delete event;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  VITRINE_ALIVE;
  const std::uint64_t k = ++event->recorded;
  return enqueue(stream, {[=] { event->done = std::max(event->done, k); }});
}
VITRINE_API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  VITRINE_ALIVE;
  const std::uint64_t k = event->recorded;
  progress([&] { return event->done >= k; });
  return state().sticky;
}
VITRINE_API cudaError_t cudaEventQuery(cudaEvent_t event) {
  VITRINE_ALIVE;
  return event->done >= event->recorded ? cudaSuccess : cudaErrorNotReady;
}
VITRINE_API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;  // there is no time here
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  VITRINE_ALIVE;
  return enqueue(stream, {[] {}, event, event->recorded});
}

// Graphs: what a stream was given while it recorded, run in that order.
VITRINE_API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  VITRINE_ALIVE;
  if (is_default(stream)) return remember(cudaErrorStreamCaptureUnsupported);
  if (stream->capture != nullptr) return remember(cudaErrorIllegalState);
  stream->capture = new CUgraph_st();
  stream->invalidated = false;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  VITRINE_ALIVE;
  *graph = nullptr;
  if (is_default(stream) || stream->capture == nullptr) return remember(cudaErrorIllegalState);
  auto* const g = static_cast<CUgraph_st*>(stream->capture);
  stream->capture = nullptr;
  if (stream->invalidated) {
    delete g;
    return remember(cudaErrorStreamCaptureInvalidated);
  }
  *graph = g;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  VITRINE_ALIVE;
  *status = is_default(stream) || stream->capture == nullptr ? cudaStreamCaptureStatusNone
            : stream->invalidated                            ? cudaStreamCaptureStatusInvalidated
                                                             : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  VITRINE_ALIVE;
  *exec = new CUgraphExec_st();
  (*exec)->tasks = graph->tasks;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  VITRINE_ALIVE;
  if (nodes == nullptr) *count = graph->tasks.size();
  return nodes == nullptr ? cudaSuccess : remember(cudaErrorNotSupported);
}
VITRINE_API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  VITRINE_ALIVE;
  ++state().graph_launches;
  state().graph_kernels += exec->tasks.size();
  for (const Task& t : exec->tasks)
    if (const cudaError_t e = enqueue(stream, t); e != cudaSuccess) return e;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  VITRINE_LOCK;
  delete graph;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  VITRINE_LOCK;
  drain_all();
  delete exec;
  return cudaSuccess;
}

VITRINE_API cudaError_t cudaGetDeviceCount(int* count) {
  *count = state().devices;
  return *count > 0 ? cudaSuccess : remember(cudaErrorNoDevice);
}
VITRINE_API cudaError_t cudaSetDevice(int device) {
  return device >= 0 && device < state().devices ? cudaSuccess : remember(cudaErrorInvalidDevice);
}
VITRINE_API cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device < 0 || device >= state().devices) return remember(cudaErrorInvalidDevice);
  *p = {};
  std::snprintf(p->name, sizeof p->name, "PTX interpreter");
  p->major = state().arch / 10, p->minor = state().arch % 10;
  p->totalGlobalMem = static_cast<std::size_t>(number("MEMORY", 8192)) << 20;
  p->multiProcessorCount = 4, p->warpSize = 32, p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048;
  p->sharedMemPerBlock = 48 << 10, p->sharedMemPerBlockOptin = 227 << 10, p->sharedMemPerMultiprocessor = 228 << 10;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t e = cudaGetDeviceProperties(&p, device); e != cudaSuccess) return e;
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(p.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(p.sharedMemPerBlock);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = p.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMaxGridDimX:
      *value = 0x7fffffff;
      break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      *value = 65535;
      break;
    default:
      report("device attribute " + std::to_string(attribute) + " is not known here");
      return remember(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
VITRINE_API cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
VITRINE_API cudaError_t cudaDriverGetVersion(int* version) {
  return *version = state().devices > 0 ? CUDART_VERSION : 0, cudaSuccess;
}
VITRINE_API cudaError_t cudaGetLastError() {
  VITRINE_LOCK;
  const cudaError_t e = state().last;
  state().last = state().sticky;
  return e;
}
VITRINE_API cudaError_t cudaPeekAtLastError() { return state().last; }
VITRINE_API const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    default:
      return "cudaError";
  }
}
VITRINE_API const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    default:
      return "an error that the stand-in has no text for";
  }
}

// Work of the interpreter, for tests and timings.
VITRINE_API std::uint64_t vitrine_standin_instructions() { return instructions(); }
VITRINE_API std::size_t vitrine_standin_allocations() { return DeviceMemory::instance().allocations(); }
