// The module that a program opens for a CUDA device (kernels/device.h). The same file stands above the CUDA runtime and above
// the emulator.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/families.h"
#include "kernels/cuda/runtime.h"
#include "kernels/device.h"

namespace vitrine::kernels::cuda {
namespace {

char sentence[1536];
bool has_failed = false;

struct Workspace {
  void* memory = nullptr;
  std::size_t bytes = 0;
} held;

}  // namespace

bool failed() noexcept { return has_failed; }
const char* failure() noexcept { return has_failed ? sentence : nullptr; }

void fail(const char* what, const char* detail) noexcept {
  if (has_failed) return;
  has_failed = true;
  std::snprintf(sentence, sizeof sentence, "%s%s", what, detail);
}

void* workspace(std::size_t bytes) noexcept {
  if (bytes <= held.bytes) return held.memory;
  // Grows in large steps, so that a network settles after its first run; nothing that is queued may use the old one any more.
  constexpr std::size_t step = std::size_t{4} << 20;
  synchronise();
  release(held.memory);
  held = {};
  const std::size_t wanted = (bytes + step - 1) / step * step;
  held.memory = allocate(wanted);
  if (!held.memory) {
    fail("the device has not enough memory for partial sums");
    return nullptr;
  }
  held.bytes = wanted;
  return held.memory;
}

}  // namespace vitrine::kernels::cuda

/// VITRINE_CUDA_MATH=fma|tf32|bf16 chooses how matrix products multiply (families.h).
extern "C" [[gnu::visibility("default")]] const vitrine::kernels::Device* vitrine_open_device(int index, const char** why) noexcept {
  using namespace vitrine::kernels;
  static Table<float> table;
  static Device device;
  static char name[320];
  cuda::Math math = cuda::Math::fma;
  if (const char* given = std::getenv("VITRINE_CUDA_MATH")) {
    if (std::strcmp(given, "tf32") == 0) {
      math = cuda::Math::tf32;
    } else if (std::strcmp(given, "bf16") == 0) {
      math = cuda::Math::bf16;
    } else if (std::strcmp(given, "fma") != 0) {
      *why = "VITRINE_CUDA_MATH is none of fma, tf32, bf16";
      return nullptr;
    }
  }
  if (!cuda::open(index, why)) return nullptr;
  if (math != cuda::Math::fma && cuda::capability() < 80) {
    *why = "tensor cores for tf32 and bf16 need compute capability 8.0: use VITRINE_CUDA_MATH=fma";
    return nullptr;
  }
  cuda::has_failed = false;
  cuda::fill_gemm(table, math);
  cuda::fill_conv(table, math);
  cuda::fill_pool(table);
  cuda::fill_eltwise(table);
  cuda::fill_reduce(table);
  cuda::fill_norm(table);
  cuda::fill_filters(table);
  cuda::fill_resize(table);
  cuda::fill_softmax(table);
  cuda::fill_optim(table);
  cuda::fill_explain(table);
  std::snprintf(name, sizeof name, "%s", cuda::device_name());
  device = {name, &table, &cuda::free_bytes, &cuda::allocate, &cuda::release, &cuda::upload, &cuda::download, &cuda::zero, &cuda::synchronise, &cuda::failure};
  return &device;
}
