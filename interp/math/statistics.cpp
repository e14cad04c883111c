#include "interp/math/statistics.h"

#include <algorithm>
#include <cmath>

namespace vitrine {
namespace {

constexpr double z95 = 1.959963984540054;

}  // namespace

Interval wilson_interval(std::int64_t successes, std::int64_t n) {
  if (n == 0) return {0, 1};
  const double m = static_cast<double>(n), p = static_cast<double>(successes) / m, z2 = z95 * z95;
  const double centre = (p + z2 / (2 * m)) / (1 + z2 / m);
  const double half = z95 / (1 + z2 / m) * std::sqrt(p * (1 - p) / m + z2 / (4 * m * m));
  // Exactly 0 and 1 at the ends, where rounding leaves a trace.
  return {successes == 0 ? 0.0 : centre - half, successes == n ? 1.0 : centre + half};
}

Mean mean_interval(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double v : values) mean += v / n;
  for (const double v : values) squares += (v - mean) * (v - mean);
  if (values.size() < 2) return {values.empty() ? std::nan("") : mean, std::nan(""), std::nan("")};
  const double half = z95 * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

double roc_area(std::span<const double> shown, std::span<double> absent) {
  std::sort(absent.begin(), absent.end());
  double above = 0;
  for (const double v : shown) {
    const auto low = std::lower_bound(absent.begin(), absent.end(), v), high = std::upper_bound(low, absent.end(), v);
    above += static_cast<double>(low - absent.begin()) + 0.5 * static_cast<double>(high - low);
  }
  const double pairs = static_cast<double>(shown.size()) * static_cast<double>(absent.size());
  return pairs > 0 ? above / pairs : 0.5;
}

}  // namespace vitrine
