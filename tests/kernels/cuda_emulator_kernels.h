// Kernels with planted faults, and one without, for the test of the emulator itself.
#pragma once

#include <cstddef>

namespace vitrine::kernels::cuda {

/// A fault and what the emulator must say about it: in the plain build, in the check build. Empty: nothing.
struct Planted {
  const char* name;
  void (*launch)(float* data, int n);  ///< data: n floats of the device, n = 64, written before
  const char *plain, *checked;
};
extern const Planted planted[];
extern const std::size_t planted_count;

/// out[b] = sum of block b's 256 elements, by shuffles and shared memory; *total += 256 for each block, atomically.
void launch_sums(const float* x, int blocks, float* out, int* total);

}  // namespace vitrine::kernels::cuda
