// Text for pictures: UTF-8 in one typeface, at any size, without a font on the machine.
//
// The typeface is DejaVu Sans, whose outlines for the characters below are part of the library (font/; its licence is
// beside it), drawn by stb_truetype with soft edges. An outline font was chosen because it is readable at every size; a
// bitmap font is sharp at one. It is built in, and not looked for at run time, because a picture must not depend on
// what is installed, and its bytes must be the same everywhere. font/make.sh made the file from Debian's
// fonts-dejavu-core.
//
// Covered: ASCII, Latin-1, Latin Extended-A, Greek, Cyrillic (Russian, Ukrainian, Serbian, Bulgarian, ...), the common
// combining accents, punctuation, super- and subscripts, arrows, mathematical operators, geometric shapes, check marks.
// A box stands for any other character. There is no shaping and no writing from right to left.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace vitrine::font {

/// Grey levels of one line of text: w x h bytes, 0 outside of letters and 255 within.
struct Line {
  int w = 0, h = 0;
  std::vector<std::uint8_t> coverage;
};

/// Pixels from the top of a line to its baseline, and from one line to the next, at `size` pixels per em.
int ascent(int size) noexcept;
int line_height(int size) noexcept;

/// Pixels from the start of a line to where the next letter would start; `size` in pixels per em, 1 to 1024.
int width(std::string_view utf8, int size) noexcept;

/// Draws one line. Control characters are boxes, too. `w` is width(), or more if a letter reaches past its end.
Line draw(std::string_view utf8, int size);

/// Whether a character has a picture of its own.
bool covers(char32_t) noexcept;

}  // namespace vitrine::font
