// Pictures in and out: PNG and JPEG by stb.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/host/error.h"

namespace vitrine::io {

/// Pixels of a picture that is read, and of what it is resized to.
inline constexpr std::int64_t pixel_limit = std::int64_t{1} << 26;

struct Image {
  int w = 0, h = 0, c = 0;           ///< c: 1 grey, 3 RGB
  std::vector<std::uint8_t> pixels;  ///< h x w x c
};

/// A PNG or JPEG as grey (channels 1) or RGB (channels 3), whatever it holds; an Error if it is damaged, of another
/// kind, or larger than 2^26 pixels.
Image read_image(const std::string& path, int channels);
/// Likewise from memory; `path` is for messages.
Image parse_image(const std::uint8_t* data, std::size_t bytes, int channels, const std::string& path);

/// A PNG file's bytes.
std::vector<std::uint8_t> encode_png(const Image&);

/// Writes a PNG, atomically.
void write_png(const std::string& path, const Image&);

/// Bilinear with half-pixel centres; when shrinking, each pixel averages a triangle as wide as the step, as Pillow
/// does.
Image resize(const Image&, int w, int h);

}  // namespace vitrine::io
