#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "interp/render/chart.h"

namespace vitrine {
namespace {

// A step of mantissa * 10^exponent. Ticks are computed from its digits, so that 3 * 0.1 is 0.3 and no more.
struct Step {
  double mantissa = 1;
  int exponent = 0;

  double times(double count) const {
    const double power = std::pow(10.0, std::abs(exponent));
    const double v = exponent >= 0 ? count * mantissa * power : count * mantissa / power;
    return v == 0 ? 0 : v;  // never -0
  }
};

Step step_near(double raw) {
  Step s;
  s.exponent = static_cast<int>(std::floor(std::log10(raw)));
  const double digits = raw / std::pow(10.0, s.exponent);
  s.mantissa = digits < 1.5 ? 1 : digits < 3.5 ? 2 : digits < 7.5 ? 5 : 10;
  if (s.mantissa == 10) s = {1, s.exponent + 1};
  return s;
}

// "1.50e-07" as "1.5e-7".
std::string shortened(std::string digits) {
  const std::size_t e = digits.find('e');
  std::string exponent = e == std::string::npos ? "" : digits.substr(e + 1);
  digits = digits.substr(0, e);
  if (digits.find('.') != std::string::npos) {
    while (digits.back() == '0') digits.pop_back();
    if (digits.back() == '.') digits.pop_back();
  }
  if (exponent.empty()) return digits;
  const bool negative = exponent[0] == '-';
  exponent.erase(0, std::min(exponent.find_first_not_of("+-0"), exponent.size()));
  return exponent.empty() ? digits : digits + (negative ? "e-" : "e") + exponent;
}

std::string with_digits(double v, std::chars_format format, int precision) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v, format, precision);
  return {buffer, end.ptr};
}

// A range that has a width which numbers can divide.
void make_wide(double& low, double& high) {
  if (!std::isfinite(low) || !std::isfinite(high)) low = 0, high = 1;
  if (low > high) std::swap(low, high);
  constexpr double limit = 2e307;  // ranges and steps are still numbers; what is beyond is drawn at the edge
  low = std::clamp(low, -limit, limit);
  high = std::clamp(high, -limit, limit);
  const double largest = std::max(std::abs(low), std::abs(high));
  if (largest < 1e-290) {
    low = 0, high = 1;
  } else if (high - low <= 1e-12 * largest) {
    const double half = std::min(largest / 2, limit / 4);
    low = std::max(low - half, -limit);
    high = std::min(high + half, limit);
  }
}

}  // namespace

std::string short_number(double v) {
  if (std::isnan(v)) return "\xe2\x80\x93";
  if (std::isinf(v)) return v > 0 ? "\xe2\x88\x9e" : "-\xe2\x88\x9e";
  const double size = std::abs(v);
  if (v == 0) return "0";
  if (size < 1e7 && v == std::trunc(v)) return with_digits(v, std::chars_format::fixed, 0);
  if (size >= 1000 && size < 1e7) return shortened(with_digits(v, std::chars_format::fixed, 1));
  return shortened(with_digits(v, std::chars_format::general, 4));
}

Ticks ticks(double low, double high, int about, bool widen) {
  make_wide(low, high);
  const Step step = step_near((high - low) / std::clamp(about, 1, 50));
  constexpr double slack = 1e-9;  // of a step: an end that rounding moved is still a tick
  const double first = widen ? std::floor(low / step.times(1) + slack) : std::ceil(low / step.times(1) - slack);
  const double last = widen ? std::ceil(high / step.times(1) - slack) : std::floor(high / step.times(1) + slack);
  Ticks t{low, high, {}, {}};
  if (widen) t.low = step.times(first), t.high = step.times(last);
  for (double k = first; k <= last; ++k) t.at.push_back(step.times(k));
  double largest = 0;
  for (const double v : t.at) largest = std::max(largest, std::abs(v));
  const int power = largest > 0 ? static_cast<int>(std::floor(std::log10(largest) + slack)) : 0;
  for (const double v : t.at)
    t.labels.push_back(
        v == 0 ? "0"
        : power > 6 || power < -4
            ? shortened(with_digits(v, std::chars_format::scientific, std::max(0, power - step.exponent)))
            : with_digits(v, std::chars_format::fixed, std::max(0, -step.exponent)));
  return t;
}

}  // namespace vitrine
