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
#define VITRINE_CHECK_SLOT(slot, ...)                                                \
  SUBCASE(#slot) {                                                                   \
    static const Table<real> empty;                                                  \
    CHECK(std::memcmp(&device->kernels->slot, &empty.slot, sizeof empty.slot) != 0); \
    CHECK(std::memcmp(&levels[0].table->slot, &empty.slot, sizeof empty.slot) != 0); \
    check_##slot(levels);                                                            \
  }
  VITRINE_KERNEL_SLOTS(VITRINE_CHECK_SLOT)
#undef VITRINE_CHECK_SLOT
  CHECK(device->failure() == nullptr);
}

TEST_CASE("operands of tensor cores are rounded, not cut off") {
  // Just below the next number of the type: cutting off errs by twice what rounding may.
  const std::string math = std::getenv("VITRINE_CUDA_MATH") ? std::getenv("VITRINE_CUDA_MATH") : "fma";
  const float u = math == "bf16"   ? 0x1p-8f
                  : math == "tf32" ? 0x1p-11f
                                   : 0.0f,
              values[] = {1 + 1.9f * u, -(1 + 1.9f * u), 1}, one = 1;
  float got[3] = {};
  GemmArgs<float> g;
  g.m = 3, g.n = g.k = g.lda = g.ldb = g.ldc = 1;
  g.a = values, g.b = &one, g.c = got;
  run(staged(*device).gemm, g);
  for (int i = 0; i < 3; ++i) CHECK(std::fabs(got[i] - values[i]) <= u);
}

// What the check build counts with VITRINE_EMULATOR_PROFILE=FILE (cuda_figures.py): aligned operands of even sizes, as
// large networks have them.
TEST_CASE("the main kernels on even sizes") {
  std::vector<void*> held;
  const auto memory = [&](std::int64_t n) {
    const std::vector<float> values(static_cast<std::size_t>(n), 0.5f);
    held.push_back(device->allocate(values.size() * sizeof(float)));
    device->upload(held.back(), values.data(), values.size() * sizeof(float));
    return static_cast<float*>(held.back());
  };
  const auto tile = [&](const auto& kernel, const auto& a) {
    const Work w = kernel.plan(a);
    held.push_back(device->allocate(w.scratch_bytes + 1));
    kernel.tile(a, nullptr, static_cast<std::byte*>(held.back()), 0);
  };
  const Kernels& k = *device->kernels;
  GemmArgs<float> g;
  g.m = g.n = 128, g.k = 64, g.lda = 64, g.ldb = g.ldc = 128;
  g.a = memory(128 * 64), g.b = memory(64 * 128), g.c = memory(128 * 128);
  tile(k.gemm, g);
  ConvArgs<float> c;
  c.s.n = 2, c.s.c = 8, c.s.h = c.s.w = c.s.oh = c.s.ow = 16, c.s.oc = 64, c.s.kh = c.s.kw = 3,
  c.s.pad_top = c.s.pad_left = 1;
  c.x = c.x_out = memory(2 * 8 * 256), c.w = c.w_out = memory(64 * 8 * 9), c.y = c.y_out = memory(2 * 64 * 256);
  tile(k.conv_forward, c);
  tile(k.conv_backward_data, c);
  tile(k.conv_backward_weights, c);
  float *const x = memory(64 * 256), *const y = memory(64 * 256);
  k.scale(2, x, y, 64 * 256, false);
  k.softmax_forward(x, 64, 256, y);
  CHECK(k.stats(x, 64 * 256).sum == 64 * 256 * 0.5);
  k.channel_sum(x, 4, 16, 256, y, false);
  PoolShape p;
  p.planes = 16, p.h = p.w = 32, p.oh = p.ow = 16, p.kh = p.kw = p.stride_h = p.stride_w = 2;
  k.avg_pool_forward(p, x, y);
  for (void* h : held) device->release(h);
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
