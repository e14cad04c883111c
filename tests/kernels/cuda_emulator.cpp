// The emulator itself: every kind of fault that it can see, planted; and that it is silent where there is none.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "cuda_emulator_kernels.h"
#include "kernels/cuda/runtime.h"

namespace vitrine::kernels::cuda {
namespace {

#ifdef VITRINE_CHECKED
constexpr bool checked = true;
#else
constexpr bool checked = false;
#endif

void reopen(const char* order) {
  setenv("VITRINE_EMULATOR_ORDER", order, 1);
  const char* why = nullptr;
  REQUIRE_MESSAGE(open(0, &why), std::string(why ? why : ""));
  forget_failure();
}

}  // namespace

TEST_CASE("planted faults are seen, in every order") {
  for (const char* order : {"forward", "reverse", "random", "greedy"}) {
    for (std::size_t i = 0; i < planted_count; ++i) {
      const Planted& fault = planted[i];
      CAPTURE(std::string(order));
      CAPTURE(std::string(fault.name));
      reopen(order);
      constexpr int n = 64;
      const std::vector<float> zeros(n, 0.0f);
      auto* const data = static_cast<float*>(allocate(n * sizeof(float)));
      REQUIRE(data != nullptr);
      upload(data, zeros.data(), n * sizeof(float));
      fault.launch(data, n);
      std::vector<float> got(n, 0.0f);
      download(got.data(), data, n * sizeof(float));
      release(data);
      const std::string want = checked ? fault.checked : fault.plain, said = failure() ? failure() : "";
      CAPTURE(said);
      // A lane that has left is seen by the lanes that come after, or by those that wait for it.
      if (std::string(fault.name) == "a shuffle with a lane that has left")
        CHECK((said.find("has left") != std::string::npos || said.find("deadlock") == 0));
      else if (want.empty())
        CHECK(said.empty());
      else
        CHECK(said.find(want) != std::string::npos);
      if (std::string(fault.name) == "a wait for one group too few") CHECK(got == zeros);
      if (!said.empty() && said.find(" around ") == std::string::npos) CHECK(said.find("_kernel") != std::string::npos);
      if (checked && said.find("a race") == 0) CHECK(said.find("cuda_emulator_kernels.cpp:") != std::string::npos);
    }
  }
}

TEST_CASE("a kernel without a fault gives the same in every order, and nothing is reported") {
  constexpr int blocks = 5, n = blocks * 256;
  std::vector<float> x(n), first;
  for (int i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = 0.1f * static_cast<float>(i % 97);
  for (const char* order : {"forward", "reverse", "random", "greedy"}) {
    reopen(order);
    auto* const in = static_cast<float*>(allocate(n * sizeof(float)));
    auto* const out = static_cast<float*>(allocate(blocks * sizeof(float)));
    auto* const total = static_cast<int*>(allocate(sizeof(int)));
    upload(in, x.data(), n * sizeof(float));
    zero(total, sizeof(int));
    launch_sums(in, blocks, out, total);
    std::vector<float> got(blocks);
    int threads = 0;
    download(got.data(), out, blocks * sizeof(float));
    download(&threads, total, sizeof threads);
    release(in), release(out), release(total);
    CHECK(std::string(failure() ? failure() : "") == "");
    CHECK(threads == n);
    if (first.empty()) first = got;
    CHECK(got == first);
    for (int b = 0; b < blocks; ++b) {
      double sum = 0;
      for (int i = 0; i < 256; ++i) sum += static_cast<double>(x[static_cast<std::size_t>(b * 256 + i)]);
      CHECK(static_cast<double>(got[static_cast<std::size_t>(b)]) == doctest::Approx(sum).epsilon(1e-5));
    }
  }
}

TEST_CASE("device memory: limits, zones, and no way in for the host") {
  reopen("greedy");
  CHECK(allocate(std::size_t{1} << 50) == nullptr);
  const std::size_t before = free_bytes();
  auto* const p = static_cast<float*>(allocate(100));
  CHECK(reinterpret_cast<std::uintptr_t>(p) % 256 == 0);
  CHECK(free_bytes() < before);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    *static_cast<volatile float*>(p) = 1;
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  float there[30] = {};
  upload(p, there, sizeof there);
  CHECK(std::string(failure() ? failure() : "") == "an upload reaches outside of the allocations of the device");
  forget_failure();
  release(p);
  CHECK(free_bytes() == before);
  release(p);
  CHECK(failure() != nullptr);
}

TEST_CASE("what cannot be opened says why") {
  const char* why = nullptr;
  CHECK_FALSE(open(3, &why));
  CHECK(std::string(why) == "the emulator has one device, cuda:0");
  setenv("VITRINE_EMULATOR_ORDER", "sideways", 1);
  CHECK_FALSE(open(0, &why));
  CHECK(std::string(why).find("VITRINE_EMULATOR_ORDER") == 0);
}

}  // namespace vitrine::kernels::cuda
