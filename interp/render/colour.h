// Colours for values: maps from a number to a colour, by function or by name.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace vitrine {

struct Rgb {
  std::uint8_t r = 0, g = 0, b = 0;
  bool operator==(const Rgb&) const = default;
};

/// CIE 1976 lightness L*, 0 (black) to 100 (white), of an sRGB colour.
double lightness(Rgb) noexcept;

// Signed values v in [-1,1], symmetric about zero: blue below, red above; clamped. Both maps are told apart also by
// people who see no difference of red and green. NaN is grey in every map.

/// White at 0, darker towards both ends: for paper and light pages.
Rgb diverging(double v) noexcept;
/// Nearly black at 0, lighter towards both ends: for dark pages, and where small values must not glare.
Rgb diverging_dark(double v) noexcept;

// Magnitudes t in [0,1]; clamped. Lightness rises from 0 to 1.

/// Dark blue to yellow, made to look the same to people with and without colour blindness [Nunez, Anderton and Renslow
/// 2018, PLOS ONE 13(7)]; within 2 of 255 of the published table.
Rgb cividis(double t) noexcept;
/// Black to white.
Rgb grey(double t) noexcept;

struct ColourMap {
  const char* name;
  Rgb (*colour)(double) noexcept;
  bool diverging;  ///< takes [-1,1], else [0,1]
};

/// All maps: blue-white-red (diverging), blue-black-red (diverging_dark), cividis, grey.
std::span<const ColourMap> colour_maps() noexcept;
/// One by its name; an Error names what there is.
const ColourMap& colour_map(const std::string& name);

}  // namespace vitrine
