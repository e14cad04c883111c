// The one failure that a module keeps, and its memory for partial results.
#include <cstdio>

#include "kernels/cuda/runtime.h"

namespace vitrine::kernels::cuda {
namespace {

char sentence[1536];
bool has_failed = false;

struct Workspace {
  void* memory = nullptr;
  std::size_t bytes = 0;
  std::uint64_t moves = 0;
} kept;

}  // namespace

bool failed() noexcept { return has_failed; }
void forget_failure() noexcept { has_failed = false; }
const char* failure() noexcept { return has_failed ? sentence : nullptr; }

void fail(const char* what, const char* detail) noexcept {
  if (has_failed) return;
  has_failed = true;
  std::snprintf(sentence, sizeof sentence, "%s%s", what, detail);
}

void* workspace(std::size_t bytes) noexcept {
  const std::size_t step = workspace_step();
  if (step > 0 && bytes <= kept.bytes) return kept.memory;
  // Nothing that is queued may use the old one any more.
  synchronise();
  release(kept.memory);
  kept = {nullptr, 0, kept.moves + 1};
  const std::size_t wanted = step > 0 ? (bytes + step - 1) / step * step : bytes;
  kept.memory = allocate(wanted);
  if (!kept.memory) {
    fail("the device has not enough memory for partial sums");
    return nullptr;
  }
  kept.bytes = wanted;
  return kept.memory;
}

std::uint64_t workspace_moves() noexcept { return kept.moves; }

}  // namespace vitrine::kernels::cuda
