// Pictures for people: a canvas of RGB pixels with text and boxes, and heat maps on it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "interp/render/colour.h"

namespace vitrine {

class Picture {
 public:
  /// An Error unless both are at least 1 and the pixels at most 2^26.
  Picture(int width, int height, Rgb background = {255, 255, 255});
  /// From RGB bytes, row by row; an Error if their number is not 3 * width * height.
  Picture(int width, int height, std::vector<std::uint8_t> rgb);
  int width() const noexcept { return width_; }
  int height() const noexcept { return height_; }
  void set(int x, int y, Rgb) noexcept;  ///< outside: ignored
  Rgb get(int x, int y) const noexcept;
  void fill(int x, int y, int w, int h, Rgb) noexcept;
  /// UTF-8 text (font.h) whose capitals have their top left corner at (x, y) and are 8 * scale pixels high; accents
  /// reach above y, descenders down to y + 11 * scale. Lines, parted by newlines, are line_step * scale apart.
  void text(int x, int y, const std::string&, Rgb = {40, 40, 40}, int scale = 1);
  static constexpr int line_step = 13;
  /// Pixels that text() takes from its x on, in its widest line.
  static int text_width(const std::string&, int scale = 1);
  const std::vector<std::uint8_t>& pixels() const noexcept { return pixels_; }

  std::vector<std::uint8_t> png() const;
  /// Writes a PNG atomically; throws Error.
  void save_png(const std::string& path) const;
  /// The picture as terminal text (two pixels a character, 24-bit colours), at most `columns` wide.
  std::string to_terminal(int columns) const;

 private:
  int width_, height_;
  std::vector<std::uint8_t> pixels_;  // RGB
};

/// A plane of values to be drawn: an input picture (grey or colour, in [0,1]) or a heat map.
struct Panel {
  std::string title;
  std::string note;  ///< one or two lines below: class, score, sum
  bool heat = true;
  int h = 0, w = 0, channels = 1;  ///< heat: channels are summed; picture: 1 or 3, CHW
  std::vector<float> values;
};

/// Panels in rows (one row an image), each heat map with its legend. The scale of a heat map is the 99.5 % quantile of
/// |value|, its own or, with `shared`, the largest of its row; a map without any value off zero is drawn white. Throws
/// Error if a panel's values do not fit its size.
Picture draw_panels(const std::vector<std::vector<Panel>>& rows, bool shared);

}  // namespace vitrine
