#include "interp/render/colour.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/host/error.h"

namespace vitrine {
namespace {

struct Knot {
  double at;
  std::array<double, 3> rgb;
};

constexpr Rgb unknown = {150, 150, 150};

Rgb mix(const std::array<double, 3>& from, const std::array<double, 3>& to, double share) noexcept {
  const auto channel = [&](std::size_t c) {
    return static_cast<std::uint8_t>(std::lround(from[c] + (to[c] - from[c]) * share));
  };
  return {channel(0), channel(1), channel(2)};
}

// Linear between knots, of which the first is at 0 and the last at 1.
Rgb between(std::span<const Knot> knots, double t) noexcept {
  std::size_t k = 1;
  while (k + 1 < knots.size() && t > knots[k].at) ++k;
  return mix(knots[k - 1].rgb, knots[k].rgb, (t - knots[k - 1].at) / (knots[k].at - knots[k - 1].at));
}

constexpr ColourMap maps[] = {{"blue-white-red", diverging, true},
                              {"blue-black-red", diverging_dark, true},
                              {"cividis", cividis, false},
                              {"grey", grey, false}};

}  // namespace

double lightness(Rgb c) noexcept {
  const auto linear = [](std::uint8_t v) {
    const double s = v / 255.0;
    return s <= 0.04045 ? s / 12.92 : std::pow((s + 0.055) / 1.055, 2.4);
  };
  const double y = 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
  return y > 216.0 / 24389 ? 116 * std::cbrt(y) - 16 : y * 24389.0 / 27;
}

Rgb diverging(double v) noexcept {
  if (std::isnan(v)) return unknown;
  v = std::clamp(v, -1.0, 1.0);
  // Ends of ColorBrewer's RdBu, through white; brightness falls evenly on both sides so that signs weigh alike.
  const double t = std::abs(v);
  const std::array<double, 3> middle = v > 0 ? std::array{239.0, 138.0, 98.0} : std::array{103.0, 169.0, 207.0};
  const std::array<double, 3> end = v > 0 ? std::array{165.0, 15.0, 36.0} : std::array{20.0, 74.0, 142.0};
  return t < 0.5 ? mix({255, 255, 255}, middle, 2 * t) : mix(middle, end, 2 * t - 1);
}

Rgb diverging_dark(double v) noexcept {
  if (std::isnan(v)) return unknown;
  constexpr Knot below[] = {{0, {18, 18, 18}}, {0.5, {44, 106, 190}}, {1, {164, 214, 255}}};
  constexpr Knot above[] = {{0, {18, 18, 18}}, {0.5, {186, 74, 34}}, {1, {255, 198, 138}}};
  return between(v < 0 ? std::span(below) : std::span(above), std::min(std::abs(v), 1.0));
}

Rgb cividis(double t) noexcept {
  if (std::isnan(t)) return unknown;
  // The published table has 256 colours; between these of them it is linear within 2 of 255.
  constexpr Knot knots[] = {{0, {0, 34, 78}},
                            {20 / 255.0, {0, 48, 112}},
                            {23 / 255.0, {1, 50, 113}},
                            {30 / 255.0, {22, 55, 112}},
                            {45 / 255.0, {46, 65, 109}},
                            {92 / 255.0, {94, 98, 110}},
                            {137 / 255.0, {133, 130, 121}},
                            {181 / 255.0, {176, 165, 113}},
                            {216 / 255.0, {213, 194, 94}},
                            {242 / 255.0, {242, 218, 68}},
                            {252 / 255.0, {254, 228, 52}},
                            {1, {254, 232, 56}}};
  return between(knots, std::clamp(t, 0.0, 1.0));
}

Rgb grey(double t) noexcept {
  if (std::isnan(t)) return unknown;
  return mix({0, 0, 0}, {255, 255, 255}, std::clamp(t, 0.0, 1.0));
}

std::span<const ColourMap> colour_maps() noexcept { return maps; }

const ColourMap& colour_map(const std::string& name) {
  for (const ColourMap& m : maps)
    if (m.name == name) return m;
  std::string names;
  for (const ColourMap& m : maps) names += (names.empty() ? "" : ", ") + std::string(m.name);
  throw Error("there is no colour map '" + name + "', expected one of " + names, Error::usage);
}

}  // namespace vitrine
