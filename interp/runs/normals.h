// Normal random numbers by sample, the same on every machine: the noise of sampling methods.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/philox.h"

namespace vitrine {

/// Sample k is `count` numbers of a stream of its own, derived from (seed, k). The first samples are drawn once and
/// kept.
class Normals {
 public:
  explicit Normals(std::uint64_t seed) : seed_(seed) {}

  /// Valid until the next call. `count` must be the same in all calls.
  const double* sample(std::uint64_t k, std::int64_t count) {
    constexpr std::uint64_t kept_numbers = std::uint64_t{1} << 19;  // 4 MB
    const auto size = static_cast<std::size_t>(count);
    const bool keep = (k + 1) * size <= kept_numbers;
    std::vector<double>& values = keep ? kept_ : drawn_;
    const std::size_t at = keep ? static_cast<std::size_t>(k) * size : 0;
    if (!keep || values.size() <= at) {
      // Samples may be asked for in any order: all before this one are drawn, too.
      const std::size_t begin = keep ? values.size() / size : static_cast<std::size_t>(k);
      values.resize(at + size);
      for (std::size_t j = begin; j <= k; ++j)
        kernels::table(kernels::active()).normals(derive_key(seed_, j), count, values.data() + (keep ? j * size : 0));
    }
    return values.data() + at;
  }

 private:
  std::uint64_t seed_;
  std::vector<double> kept_, drawn_;  // of the first samples, of one later sample
};

}  // namespace vitrine
