// Memory and copies by the CUDA runtime. Everything happens in the order of one stream. Copies go through two pinned
// buffers, so that one is filled while the other travels.
#include <cstdio>
#include <cstring>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"

namespace vitrine::kernels::cuda {
namespace {

constexpr std::size_t staging_bytes = std::size_t{4} << 20;

struct State {
  cudaStream_t stream = nullptr;
  char name[320] = "";
  int capability = 0;
  unsigned char* staging[2] = {};
  cudaEvent_t travelled[2] = {};
} state;

/// Keeps the failure of `error`; true if there is none.
bool well(cudaError_t error, const char* what) noexcept {
  if (error != cudaSuccess) fail(what, cudaGetErrorString(error));
  return error == cudaSuccess;
}

}  // namespace

cudaStream_t stream() noexcept { return state.stream; }

bool open(int index, const char** why) noexcept {
  static char reason[320];
  const auto no = [&](const char* what, cudaError_t error) {
    std::snprintf(reason, sizeof reason, "cuda:%d %s: %s", index, what, cudaGetErrorString(error));
    *why = reason;
    return false;
  };
  int count = 0;
  if (const cudaError_t e = cudaGetDeviceCount(&count); e != cudaSuccess) return no("cannot be used", e);
  if (index < 0 || index >= count) {
    std::snprintf(reason, sizeof reason, "cuda:%d is not there: the machine has %d device%s", index, count,
                  count == 1 ? "" : "s");
    *why = reason;
    return false;
  }
  if (const cudaError_t e = cudaSetDevice(index); e != cudaSuccess) return no("cannot be used", e);
  cudaDeviceProp properties;
  if (const cudaError_t e = cudaGetDeviceProperties(&properties, index); e != cudaSuccess)
    return no("does not tell its properties", e);
  if (properties.major * 10 + properties.minor < 75) {
    std::snprintf(reason, sizeof reason, "cuda:%d, %s, has compute capability %d.%d; 7.5 is needed", index,
                  properties.name, properties.major, properties.minor);
    *why = reason;
    return false;
  }
  state.capability = properties.major * 10 + properties.minor;
  std::snprintf(state.name, sizeof state.name, "cuda:%d, %s", index, properties.name);
  if (!state.stream) {
    if (const cudaError_t e = cudaStreamCreateWithFlags(&state.stream, cudaStreamNonBlocking); e != cudaSuccess)
      return no("gives no stream", e);
    for (int i = 0; i < 2; ++i) {
      if (const cudaError_t e = cudaMallocHost(reinterpret_cast<void**>(&state.staging[i]), staging_bytes);
          e != cudaSuccess)
        return no("gives no pinned memory", e);
      if (const cudaError_t e = cudaEventCreateWithFlags(&state.travelled[i], cudaEventDisableTiming); e != cudaSuccess)
        return no("gives no event", e);
    }
  }
  return true;
}

const char* device_name() noexcept { return state.name; }
int capability() noexcept { return state.capability; }
/// Large, so that the workspace stops growing after a network's first run.
std::size_t workspace_step() noexcept { return std::size_t{4} << 20; }

std::size_t free_bytes() noexcept {
  std::size_t free = 0, total = 0;
  return well(cudaMemGetInfo(&free, &total), "the device does not tell its free memory: ") ? free : 0;
}

void* allocate(std::size_t bytes) noexcept {
  void* p = nullptr;
  if (cudaMalloc(&p, bytes ? bytes : 1) != cudaSuccess) {
    cudaGetLastError();  // lack of memory is no failure of the device: the caller reports it
    return nullptr;
  }
  return p;
}

void release(void* p) noexcept {
  if (p) well(cudaFree(p), "memory could not be released: ");
}

void upload(void* to, const void* host, std::size_t bytes) noexcept {
  for (std::size_t at = 0, i = 0; at < bytes && !failed(); at += staging_bytes, i ^= 1) {
    const std::size_t part = bytes - at < staging_bytes ? bytes - at : staging_bytes;
    if (!well(cudaEventSynchronize(state.travelled[i]), "an upload failed: ")) return;
    std::memcpy(state.staging[i], static_cast<const unsigned char*>(host) + at, part);
    if (!well(cudaMemcpyAsync(static_cast<unsigned char*>(to) + at, state.staging[i], part, cudaMemcpyHostToDevice,
                              state.stream),
              "an upload failed: "))
      return;
    well(cudaEventRecord(state.travelled[i], state.stream), "an upload failed: ");
  }
}

void download(void* host, const void* from, std::size_t bytes) noexcept {
  if (failed()) return;
  const auto start = [&](std::size_t at, std::size_t i) {
    if (at >= bytes) return;
    const std::size_t part = bytes - at < staging_bytes ? bytes - at : staging_bytes;
    well(cudaMemcpyAsync(state.staging[i], static_cast<const unsigned char*>(from) + at, part, cudaMemcpyDeviceToHost,
                         state.stream),
         "a download failed: ");
    well(cudaEventRecord(state.travelled[i], state.stream), "a download failed: ");
  };
  start(0, 0);
  for (std::size_t at = 0, i = 0; at < bytes && !failed(); at += staging_bytes, i ^= 1) {
    start(at + staging_bytes, i ^ 1);
    const std::size_t part = bytes - at < staging_bytes ? bytes - at : staging_bytes;
    if (!well(cudaEventSynchronize(state.travelled[i]), "a download failed: ")) return;
    std::memcpy(static_cast<unsigned char*>(host) + at, state.staging[i], part);
  }
}

void zero(void* to, std::size_t bytes) noexcept {
  if (!failed()) well(cudaMemsetAsync(to, 0, bytes, state.stream), "memory could not be cleared: ");
}

void synchronise() noexcept {
  if (!failed()) well(cudaStreamSynchronize(state.stream), "the device failed: ");
}

bool begin_recording() noexcept {
  const bool begun = !failed() && cudaStreamBeginCapture(state.stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess;
  if (!begun) cudaGetLastError();
  return begun;
}

void* end_recording() noexcept {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  const bool recorded = cudaStreamEndCapture(state.stream, &graph) == cudaSuccess && graph &&
                        cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess;
  if (graph) cudaGraphDestroy(graph);
  if (!recorded) cudaGetLastError();  // the work then runs without a recording
  return recorded ? exec : nullptr;
}

void replay(void* recording) noexcept {
  if (!failed())
    well(cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), state.stream),
         "recorded work could not be given to the device: ");
}

void forget(void* recording) noexcept {
  synchronise();
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording));
}

}  // namespace vitrine::kernels::cuda
