// The module that a program opens for a CUDA device (kernels/device.h). The same file serves the CUDA runtime and the
// emulator.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/cuda/families.h"
#include "kernels/cuda/runtime.h"
#include "kernels/device.h"
#ifdef VITRINE_HAVE_CUDNN
#include "kernels/cudnn/cudnn.h"
#endif

namespace vitrine::kernels::cuda {
namespace {

// Recorded work holds the address of the workspace: it is valid until the workspace moves.
struct Recording {
  void* work = nullptr;
  std::uint64_t moves = 0;
};

/// VITRINE_CUDA_GRAPHS=off launches every kernel by itself.
bool begin() noexcept {
  const char* const off = std::getenv("VITRINE_CUDA_GRAPHS");
  return !failed() && (off == nullptr || std::strcmp(off, "off") != 0) && begin_recording();
}

void* end() noexcept {
  void* const work = end_recording();
  // Work that needs the host fails while it is recorded, and none of it runs: that is no failure of the device.
  const bool whole = !failed();
  forget_failure();
  if (work != nullptr && !whole) cuda::forget(work);
  return work != nullptr && whole ? new (std::nothrow) Recording{work, workspace_moves()} : nullptr;
}

bool again(void* recording) noexcept {
  const auto* const r = static_cast<const Recording*>(recording);
  if (r->moves != workspace_moves()) return false;
  replay(r->work);
  return true;
}

#ifdef VITRINE_HAVE_CUDNN
bool reports(const char* variable) noexcept {
  const char* const told = std::getenv(variable);
  return told != nullptr && std::strcmp(told, "1") == 0;
}
#endif

void drop(void* recording) noexcept {
  auto* const r = static_cast<Recording*>(recording);
  cuda::forget(r->work);
  delete r;
}

}  // namespace
}  // namespace vitrine::kernels::cuda

namespace vitrine::kernels::cuda {

Tuning tuning;

}  // namespace vitrine::kernels::cuda

/// VITRINE_CUDA_MATH=fma|tf32|bf16 chooses how matrix products multiply, VITRINE_CUDA_LARGE_FROM=N the number of blocks
/// from which they take the large tile (families.h).
extern "C" [[gnu::visibility("default")]] const vitrine::kernels::Device* vitrine_open_device(
    int index, const char** why) noexcept {
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
  cuda::tuning = {};
  if (const char* given = std::getenv("VITRINE_CUDA_LARGE_FROM")) cuda::tuning.large_from = std::atoi(given);
  if (!cuda::open(index, why)) return nullptr;
  if (math != cuda::Math::fma && cuda::capability() < 80) {
    *why = "tensor cores for tf32 and bf16 need compute capability 8.0: use VITRINE_CUDA_MATH=fma";
    return nullptr;
  }
  cuda::forget_failure();
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
#ifdef VITRINE_HAVE_CUDNN
  const char* without = "";
  if (const char* const version = cuda::fill_cudnn(table, math, &without)) {
    std::snprintf(name, sizeof name, "%s, cuDNN %s", cuda::device_name(), version);
  } else if (cuda::reports("VITRINE_REPORT") || cuda::reports("VITRINE_CUDA_REPORT")) {
    std::fprintf(stderr, "vitrine: cuDNN is not used: %s\n", without);
  }
#endif
  device = {name,          &table,          &cuda::free_bytes, &cuda::allocate,    &cuda::release,
            &cuda::upload, &cuda::download, &cuda::zero,       &cuda::synchronise, &cuda::failure,
            &cuda::begin,  &cuda::end,      &cuda::again,      &cuda::drop};
  return &device;
}
