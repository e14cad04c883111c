// What a chart of lines, bars or points shows: named series over one pair of axes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vitrine {

/// One series: y over x, in the order in which the points are joined. `low` and `high`, if given, bound a band (or
/// whiskers) around y. All vectors that are not empty have the same length. A point with NaN or infinity is left out.
struct Series {
  std::string name;
  std::vector<double> x, y, low, high;
};

struct Curve {
  enum Mark : std::uint8_t { lines, points, bars };
  std::string title, x_label, y_label;
  std::vector<Series> series;
  Mark mark = lines;
};

}  // namespace vitrine
