// Random draws of sampling methods: a stream per key, the same on every machine and for any number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/philox.h"

namespace vitrine {

class Draws {
 public:
  explicit Draws(std::uint64_t key) : key_(key) {}

  /// From [0, 1), with 53 bits.
  double uniform() {
    const std::uint64_t high = word() >> 5, low = word() >> 6;
    return static_cast<double>(high << 26 | low) / 9007199254740992.0;
  }
  bool coin() { return (word() & 1) != 0; }
  /// From 0 to n - 1.
  std::int32_t below(std::int32_t n) { return static_cast<std::int32_t>(uniform() * n); }
  /// 0 to n - 1 in random order [Fisher & Yates 1938].
  std::vector<std::int32_t> permutation(std::int32_t n) {
    std::vector<std::int32_t> p(static_cast<std::size_t>(n));
    std::iota(p.begin(), p.end(), 0);
    for (std::int32_t i = n; i-- > 1;)
      std::swap(p[static_cast<std::size_t>(i)], p[static_cast<std::size_t>(below(i + 1))]);
    return p;
  }

 private:
  std::uint64_t word() {
    if (next_ == 4) block_ = philox(key_, counter_++), next_ = 0;
    return block_[next_++];
  }

  std::uint64_t key_, counter_ = 0;
  std::array<std::uint32_t, 4> block_{};
  std::size_t next_ = 4;
};

}  // namespace vitrine
