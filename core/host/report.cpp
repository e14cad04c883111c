#include "core/host/report.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <string>

namespace vitrine {
namespace {

std::string by(std::int64_t a, std::int64_t b) { return std::to_string(a) + "x" + std::to_string(b); }

std::string text(const kernels::GemmArgs<real>& a) {
  return by(a.m, a.k) + (a.a_transposed ? " transposed" : "") + " times " + by(a.k, a.n) +
         (a.b_transposed ? " transposed" : "");
}
std::string text(const kernels::ConvArgs<real>& a) {
  const kernels::ConvShape& s = a.s;
  return by(s.n, s.c) + "x" + by(s.h, s.w) + " -> " + std::to_string(s.oc) + ", kernel " + by(s.kh, s.kw) +
         ", stride " + std::to_string(s.stride_h) + ", groups " + std::to_string(s.groups) +
         (a.exact ? ", exact" : "") + (a.x_interleaved ? ", x interleaved" : "") +
         (a.y_interleaved ? ", y interleaved" : "");
}
std::string text(const kernels::PoolShape& p) {
  return std::to_string(p.planes * p.block) + " planes of " + by(p.h, p.w) + ", window " + by(p.kh, p.kw) +
         (p.block > 1 ? ", interleaved" : "");
}
std::string text(const kernels::BatchNormArgs<real>& a) {
  return by(a.images, a.channels) + "x" + std::to_string(a.pixels);
}

class StderrReport final : public Report {
 public:
  void chose(const kernels::Choice& c, const kernels::GemmArgs<real>& a) noexcept override { print(c, text(a)); }
  void chose(const kernels::Choice& c, const kernels::ConvArgs<real>& a) noexcept override { print(c, text(a)); }
  void chose(const kernels::Choice& c, const kernels::PoolShape& a) noexcept override { print(c, text(a)); }
  void chose(const kernels::Choice& c, const kernels::BatchNormArgs<real>& a) noexcept override { print(c, text(a)); }

 private:
  void print(const kernels::Choice& c, const std::string& shape) {
    std::string line = std::string(c.kernel) + " " + shape + ": " + c.way;
    for (int i = 0; i < c.passed; ++i) line += std::string("; ") + c.refusals[i].way + ": " + c.refusals[i].reason;
    const std::lock_guard lock(mutex_);
    if (said_.insert(line).second) std::fprintf(stderr, "vitrine: %s\n", line.c_str());
  }

  std::mutex mutex_;
  std::set<std::string> said_;
};

bool asked(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && std::strcmp(value, "1") == 0;
}

}  // namespace

Report* report_to_stderr() {
  if (!asked("VITRINE_REPORT") && !asked("VITRINE_CUDA_REPORT")) return nullptr;
  static StderrReport report;
  return &report;
}

}  // namespace vitrine
