// Pictures for people: a canvas of RGB pixels with text and boxes, and heat maps on it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vitrine {

struct Rgb {
  std::uint8_t r = 0, g = 0, b = 0;
};

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
  /// Text with its top left corner at (x, y), 8 pixels high times `scale`; ASCII.
  void text(int x, int y, const std::string&, Rgb = {40, 40, 40}, int scale = 1);
  static int text_width(const std::string&, int scale = 1);
  const std::vector<std::uint8_t>& pixels() const noexcept { return pixels_; }

  /// Writes a PNG atomically; throws Error.
  void save_png(const std::string& path) const;
  /// The picture as terminal text (two pixels a character, 24-bit colours), at most `columns` wide.
  std::string to_terminal(int columns) const;

 private:
  int width_, height_;
  std::vector<std::uint8_t> pixels_;  // RGB
};

/// Diverging colours, symmetric about zero: blue below, white at 0, red above; v in [-1,1].
Rgb diverging(double v) noexcept;

/// A plane of values to be drawn: an input picture (grey or colour, in [0,1]) or a heat map.
struct Panel {
  std::string title;
  std::string note;  ///< one or two lines below: class, score, sum
  bool heat = true;
  int h = 0, w = 0, channels = 1;  ///< heat: channels are summed; picture: 1 or 3, CHW
  std::vector<float> values;
};

/// Panels in rows (one row an image), each heat map with its legend. The scale of a heat map is the 99.5 % quantile of
/// |value|, its own or, with `shared`, the largest of its row; a map without any value off zero is drawn white.
Picture draw_panels(const std::vector<std::vector<Panel>>& rows, bool shared);

}  // namespace vitrine
