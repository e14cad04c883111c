// Charts as SVG: readable by people with and without colour blindness (each series differs in more than its colour), on
// a light or dark ground as the reader's system is, at any size. The same data gives the same bytes.
#pragma once

#include <string>
#include <vector>

#include "interp/render/colour.h"
#include "interp/render/curve.h"
#include "interp/render/page.h"

namespace vitrine {

/// Numbers for people: whole ones up to seven digits as they are, others with four significant digits, "1.2e-5" with a
/// short exponent; a dash for NaN. Free of the locale.
std::string short_number(double);

/// Ticks of an axis: multiples of 1, 2 or 5 times a power of ten, so that about `about` of them are within the range,
/// and labels with as many decimals as the step needs.
struct Ticks {
  double low = 0, high = 1;  ///< the range: as asked for, or widened
  std::vector<double> at;
  std::vector<std::string> labels;
};
/// Any range makes ticks: a range without width is widened around its value, one with NaN or infinity is [0,1], ends in
/// the wrong order are swapped. `widen` moves both ends outwards to ticks.
Ticks ticks(double low, double high, int about = 5, bool widen = false);

/// Lines with bands, points, or bars with whiskers, as the curve's mark says. Long series are thinned to the extremes
/// of 500 stretches each, and points to 4,000 per series.
Markup curve_chart(const Curve&);

/// Bars with a name each, from left to right, under one another; up to 60, the number of others is said.
struct Bars {
  std::string title, label;  ///< label: of the values
  std::vector<std::string> names;
  std::vector<double> values, low, high;  ///< low and high may be empty
};
Markup bar_chart(const Bars&);

/// A table of numbers as colours, up to 128 x 128; with up to 12 columns the numbers are written in the cells.
struct HeatTable {
  std::string title, row_label, column_label;
  std::vector<std::string> rows, columns;  ///< names
  std::vector<double> values;              ///< rows x columns
  std::string colours = "cividis";         ///< a diverging map is symmetric about 0
};
Markup matrix_chart(const HeatTable&);

/// A colour map from `low` to `high` with ticks: what a picture's legend shows.
Markup colour_scale(const ColourMap&, double low, double high);

/// An SVG as a file of its own.
std::string svg_file(const Markup& chart);

}  // namespace vitrine
