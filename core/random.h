// Real-valued draws on top of Philox (host only: needs the mathematical library).
#pragma once

#include <cmath>

#include "kernels/philox.h"

namespace vitrine {

/// Standard normal number i of a stream: Box-Muller on words 2i and 2i+1, in double so that all builds agree.
inline double philox_normal(std::uint64_t key, std::uint64_t i) noexcept {
  const double u = (philox_word(key, 2 * i) + 1.0) / 4294967297.0, v = philox_word(key, 2 * i + 1) / 4294967296.0;
  return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
}

}  // namespace vitrine
