#include "interp/render/font.h"

#include <stb_truetype.h>

#include <algorithm>
#include <cmath>

#include "core/host/utf8.h"

// The font file as read-only data, by the assembler: no generated source, and no program needed to build.
asm(R"(
  .pushsection .rodata
  .balign 16
  .globl vitrine_font_begin
  .hidden vitrine_font_begin
vitrine_font_begin:
  .incbin ")" VITRINE_FONT R"("
  .byte 0
  .popsection
)");
extern "C" const unsigned char vitrine_font_begin[];

namespace vitrine::font {
namespace {

const stbtt_fontinfo& typeface() noexcept {
  static const stbtt_fontinfo info = [] {
    stbtt_fontinfo f{};
    stbtt_InitFont(&f, vitrine_font_begin, 0);
    return f;
  }();
  return info;
}

int clamped(int size) noexcept { return std::clamp(size, 1, 1024); }

float scale_of(int size) noexcept {
  return stbtt_ScaleForMappingEmToPixels(&typeface(), static_cast<float>(clamped(size)));
}

// Glyph 0 is the box that stands for what the font lacks.
int glyph_of(char32_t c) noexcept { return stbtt_FindGlyphIndex(&typeface(), static_cast<int>(c)); }

int vertical(int size, bool whole_line) noexcept {
  int up = 0, down = 0, gap = 0;
  stbtt_GetFontVMetrics(&typeface(), &up, &down, &gap);
  const float s = scale_of(size);
  const int above = static_cast<int>(std::ceil(static_cast<float>(up) * s - 0.01f));
  return whole_line ? above + static_cast<int>(std::ceil(static_cast<float>(gap - down) * s - 0.01f)) : above;
}

// A letter starts at a whole pixel, so that the same letter always looks the same.
int advance(int glyph, float scale) noexcept {
  int units = 0;
  stbtt_GetGlyphHMetrics(&typeface(), glyph, &units, nullptr);
  return static_cast<int>(std::lround(static_cast<float>(units) * scale));
}

struct Placed {
  int glyph, x, y, w, h;
};

}  // namespace

int ascent(int size) noexcept { return vertical(size, false); }
int line_height(int size) noexcept { return vertical(size, true); }

int width(std::string_view text, int size) noexcept {
  const float scale = scale_of(size);
  int x = 0;
  for (std::size_t at = 0; at < text.size();) x += advance(glyph_of(utf8::next(text, at)), scale);
  return x;
}

Line draw(std::string_view text, int size) {
  const float scale = scale_of(size);
  const int baseline = ascent(size);
  std::vector<Placed> letters;
  int pen = 0, right = 0, bottom = line_height(size);
  for (std::size_t at = 0; at < text.size();) {
    const int glyph = glyph_of(utf8::next(text, at));
    int x0 = 0, y0 = 0, x1 = 0, y1 = 0;
    stbtt_GetGlyphBitmapBox(&typeface(), glyph, scale, scale, &x0, &y0, &x1, &y1);
    // What reaches past the start or the top of the line moves into it.
    const int x = std::max(0, pen + x0), y = std::max(0, baseline + y0);
    if (x1 > x0 && y1 > y0) letters.push_back({glyph, x, y, x1 - x0, y1 - y0});
    pen += advance(glyph, scale);
    right = std::max({right, pen, x + x1 - x0});
    bottom = std::max(bottom, y + y1 - y0);
  }
  Line line{right, bottom,
            std::vector<std::uint8_t>(static_cast<std::size_t>(right) * static_cast<std::size_t>(bottom))};
  std::vector<std::uint8_t> one;
  for (const Placed& l : letters) {
    one.assign(static_cast<std::size_t>(l.w) * static_cast<std::size_t>(l.h), 0);
    stbtt_MakeGlyphBitmap(&typeface(), one.data(), l.w, l.h, l.w, scale, scale, l.glyph);
    for (int j = 0; j < l.h; ++j)
      for (int i = 0; i < l.w; ++i) {
        std::uint8_t& to = line.coverage[static_cast<std::size_t>(l.y + j) * static_cast<std::size_t>(line.w) +
                                         static_cast<std::size_t>(l.x + i)];
        to = std::max(to,
                      one[static_cast<std::size_t>(j) * static_cast<std::size_t>(l.w) + static_cast<std::size_t>(i)]);
      }
  }
  return line;
}

bool covers(char32_t c) noexcept { return glyph_of(c) != 0; }

}  // namespace vitrine::font
