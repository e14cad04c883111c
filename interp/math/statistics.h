// Small statistics with their intervals.
#pragma once

#include <cstdint>
#include <span>

namespace vitrine {

struct Interval {
  double low, high;
};

/// Of a share, with 95 % confidence [Wilson 1927]: right also near 0 and 1 and for few cases. (0,1) if n is 0.
Interval wilson_interval(std::int64_t successes, std::int64_t n);

/// The mean and its interval with 95 % confidence by the normal approximation; NaN for fewer than two values.
struct Mean {
  double value, low, high;
};
Mean mean_interval(std::span<const double> values);

/// The area under the ROC curve: the share of pairs (shown, absent) in which shown is larger, ties counting half. 1/2
/// if one side is empty. `absent` is sorted by the call.
double roc_area(std::span<const double> shown, std::span<double> absent);

}  // namespace vitrine
