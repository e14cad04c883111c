// Normal deviates on top of Philox.
#pragma once

#include <bit>
#include <cmath>

#include "kernels/philox.h"

namespace vitrine {
namespace detail {

// A series each, of plain double arithmetic: every machine draws the same numbers, and loops over them become vectors.
// Errors stay below 1e-15.

/// ln u, 0 < u <= 1. With u = m 2^e and m in [sqrt(1/2), sqrt 2): ln m = 2 artanh((m-1)/(m+1)).
inline double natural_log(double u) noexcept {
  constexpr std::int64_t root_of_half = 0x3FE6A09E667F3BCD;  // its bits
  const std::int64_t bits = std::bit_cast<std::int64_t>(u) - root_of_half;
  const double e = static_cast<std::int32_t>(bits >> 32) >> 20;
  const double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFF) + root_of_half);
  const double s = (m - 1) / (m + 1), q = s * s;
  const double p =
      1.0 / 3 +
      q * (1.0 / 5 +
           q * (1.0 / 7 +
                q * (1.0 / 9 + q * (1.0 / 11 + q * (1.0 / 13 + q * (1.0 / 15 + q * (1.0 / 17 + q * (1.0 / 19))))))));
  return e * 0.69314718055994531 + 2 * (s + s * (q * p));
}

/// cos(2 pi v), 0 <= v < 1, by quarters of a turn.
inline double cosine_of_turn(double v) noexcept {
  const auto quarter = static_cast<std::int32_t>(4 * v + 0.5);
  const double x = (4 * v - quarter) * 1.5707963267948966, q = x * x;
  const double cosine =
      1 - q * (1.0 / 2 -
               q * (1.0 / 24 -
                    q * (1.0 / 720 -
                         q * (1.0 / 40320 - q * (1.0 / 3628800 - q * (1.0 / 479001600 - q * (1.0 / 87178291200 -
                                                                                             q / 20922789888000)))))));
  const double sine =
      x - x * q *
              (1.0 / 6 - q * (1.0 / 120 -
                              q * (1.0 / 5040 - q * (1.0 / 362880 - q * (1.0 / 39916800 - q * (1.0 / 6227020800 -
                                                                                               q / 1307674368000))))));
  const double along = (quarter & 1) != 0 ? sine : cosine;
  return ((quarter + 1) & 2) != 0 ? -along : along;
}

/// Box-Muller on two words.
inline double normal_of(std::uint32_t a, std::uint32_t b) noexcept {
  const double u = (a + 1.0) / 4294967297.0, v = b / 4294967296.0;
  return std::sqrt(-2 * natural_log(u)) * cosine_of_turn(v);
}

}  // namespace detail

/// Standard normal number i of a stream: from words 2i and 2i+1.
inline double philox_normal(std::uint64_t key, std::uint64_t i) noexcept {
  const std::array<std::uint32_t, 4> words = philox(key, i / 2);
  return detail::normal_of(words[i % 2 * 2], words[i % 2 * 2 + 1]);
}

}  // namespace vitrine
