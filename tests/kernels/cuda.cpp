// Holds every slot of a CUDA device's table against the reference in double, by the cases of the instruction sets.
//
//   kernels_cuda --module=PATH        the module to open: on the emulator, or over a stand-in for the CUDA runtime
//   kernels_cuda --device=cuda[:N]    the module of this build on a real device
//   --every=N                         of matrix products and convolutions only every N-th case
#define DOCTEST_CONFIG_IMPLEMENT
#include "selfcheck.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "staged.h"

#ifndef VITRINE_CUDA_MODULE
#define VITRINE_CUDA_MODULE ""
#endif

namespace vitrine::kernels::selfcheck {
namespace {

const Device* device = nullptr;
int every = 1;

}  // namespace

TEST_CASE("a device's kernels agree with the double reference") {
  // kernels/cuda/families.h states the error of rounded operands.
  const std::string math = std::getenv("VITRINE_CUDA_MATH") ? std::getenv("VITRINE_CUDA_MATH") : "fma";
  const double u = math == "bf16" ? 0x1p-8 : math == "tf32" ? 0x1p-11 : 0;
  const Levels levels = {{device->name, &staged(*device), 2 * u + u * u, every}};
#define VITRINE_CHECK_SLOT(slot, ...)                                                       \
  SUBCASE(#slot) {                                                                          \
    static const Table<real> empty;                                                         \
    CHECK(std::memcmp(&device->kernels->slot, &empty.slot, sizeof empty.slot) != 0);        \
    CHECK(std::memcmp(&levels[0].table->slot, &empty.slot, sizeof empty.slot) != 0);        \
    check_##slot(levels);                                                                   \
  }
  VITRINE_KERNEL_SLOTS(VITRINE_CHECK_SLOT)
#undef VITRINE_CHECK_SLOT
  CHECK(device->failure() == nullptr);
}

}  // namespace vitrine::kernels::selfcheck

int main(int count, char** arguments) {
  std::string module = VITRINE_CUDA_MODULE;
  int index = 0;
  for (int i = 1; i < count; ++i) {
    const std::string a = arguments[i];
    if (a.starts_with("--module=")) module = a.substr(9);
    if (a.starts_with("--every=")) vitrine::kernels::selfcheck::every = std::max(1, std::atoi(a.c_str() + 8));
    if (a.starts_with("--device=cuda:")) index = std::atoi(a.c_str() + 14);
  }
  void* const library = dlopen(module.c_str(), RTLD_NOW);
  if (!library) {
    std::fprintf(stderr, "no module: %s\n", dlerror());
    return 1;
  }
  const auto open = reinterpret_cast<decltype(&vitrine_open_device)>(dlsym(library, "vitrine_open_device"));
  const char* why = "it exports no vitrine_open_device";
  vitrine::kernels::selfcheck::device = open ? open(index, &why) : nullptr;
  if (!vitrine::kernels::selfcheck::device) {
    std::fprintf(stderr, "no device: %s\n", why);
    return 1;
  }
  return doctest::Context(count, arguments).run();
}
