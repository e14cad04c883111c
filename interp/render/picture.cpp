#include "interp/render/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/host/error.h"
#include "core/host/io/image.h"

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wpedantic"
#endif
#include <stb_easy_font.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace vitrine {

namespace {

std::size_t checked_bytes(int width, int height) {
  if (width < 1 || height < 1 || std::int64_t{width} * height > (std::int64_t{1} << 26))
    throw Error("a picture of " + std::to_string(width) + " x " + std::to_string(height) +
                " pixels was asked for, expected 1 to 67108864 in all");
  return static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
}

}  // namespace

Picture::Picture(int width, int height, Rgb background)
    : width_(width), height_(height), pixels_(checked_bytes(width, height)) {
  fill(0, 0, width, height, background);
}

Picture::Picture(int width, int height, std::vector<std::uint8_t> rgb)
    : width_(width), height_(height), pixels_(std::move(rgb)) {
  if (pixels_.size() != checked_bytes(width, height))
    throw Error("a picture of " + std::to_string(width) + " x " + std::to_string(height) + " pixels was given " +
                std::to_string(pixels_.size()) + " bytes");
}

void Picture::set(int x, int y, Rgb c) noexcept {
  if (x < 0 || y < 0 || x >= width_ || y >= height_) return;
  std::uint8_t* const p =
      pixels_.data() +
      (static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)) * 3;
  p[0] = c.r;
  p[1] = c.g;
  p[2] = c.b;
}

Rgb Picture::get(int x, int y) const noexcept {
  const std::uint8_t* const p =
      pixels_.data() +
      (static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)) * 3;
  return {p[0], p[1], p[2]};
}

void Picture::fill(int x, int y, int w, int h, Rgb c) noexcept {
  for (int j = y; j < y + h; ++j)
    for (int i = x; i < x + w; ++i) set(i, j, c);
}

void Picture::text(int x, int y, const std::string& s, Rgb color, int scale) {
  // The font library gives quads of four vertices (x, y, z as float, then a colour), 16 bytes each.
  std::vector<char> copy(s.begin(), s.end());
  copy.push_back('\0');
  std::vector<char> buffer(s.size() * 512 + 1024);
  const int quads = stb_easy_font_print(0, 0, copy.data(), nullptr, buffer.data(), static_cast<int>(buffer.size()));
  for (int q = 0; q < quads; ++q) {
    std::array<float, 2> low{}, high{};
    std::memcpy(low.data(), buffer.data() + q * 64, sizeof low);
    std::memcpy(high.data(), buffer.data() + q * 64 + 32, sizeof high);
    const auto at = [&](float v) { return static_cast<int>(std::lround(v * static_cast<float>(scale))); };
    fill(x + at(low[0]), y + at(low[1]), at(high[0]) - at(low[0]), at(high[1]) - at(low[1]), color);
  }
}

int Picture::text_width(const std::string& s, int scale) {
  std::vector<char> copy(s.begin(), s.end());
  copy.push_back('\0');
  return stb_easy_font_width(copy.data()) * scale;
}

void Picture::save_png(const std::string& path) const { io::write_png(path, {width_, height_, 3, pixels_}); }

std::string Picture::to_terminal(int columns) const {
  const int step = std::max(1, (width_ + columns - 1) / columns);
  const auto mean = [&](int x, int y) {
    int r = 0, g = 0, b = 0, n = 0;
    for (int j = y; j < std::min(height_, y + step); ++j)
      for (int i = x; i < std::min(width_, x + step); ++i, ++n) {
        const Rgb c = get(i, j);
        r += c.r, g += c.g, b += c.b;
      }
    return n > 0 ? Rgb{static_cast<std::uint8_t>(r / n), static_cast<std::uint8_t>(g / n),
                       static_cast<std::uint8_t>(b / n)}
                 : Rgb{};
  };
  std::string out;
  char cell[96];
  for (int y = 0; y < height_; y += 2 * step) {
    for (int x = 0; x < width_; x += step) {
      const Rgb top = mean(x, y), bottom = mean(x, y + step);
      std::snprintf(cell, sizeof cell, "\x1b[38;2;%d;%d;%dm\x1b[48;2;%d;%d;%dm\xe2\x96\x80", top.r, top.g, top.b,
                    bottom.r, bottom.g, bottom.b);
      out += cell;
    }
    out += "\x1b[0m\n";
  }
  return out;
}

Rgb diverging(double v) noexcept {
  v = std::clamp(v, -1.0, 1.0);
  // Ends of ColorBrewer's RdBu, through white; brightness falls evenly on both sides so that signs weigh alike.
  const double t = std::abs(v);
  const std::array<double, 3> mid = v > 0 ? std::array{239.0, 138.0, 98.0} : std::array{103.0, 169.0, 207.0};
  const std::array<double, 3> end = v > 0 ? std::array{165.0, 15.0, 36.0} : std::array{20.0, 74.0, 142.0};
  const auto mix = [&](std::size_t c) {
    const double value = t < 0.5 ? 255 + (mid[c] - 255) * 2 * t : mid[c] + (end[c] - mid[c]) * (2 * t - 1);
    return static_cast<std::uint8_t>(std::lround(value));
  };
  return {mix(0), mix(1), mix(2)};
}

namespace {

std::vector<float> plane(const Panel& p) {
  const std::size_t n = static_cast<std::size_t>(p.h) * static_cast<std::size_t>(p.w);
  std::vector<float> out(n, 0);
  for (int c = 0; c < p.channels; ++c)
    for (std::size_t i = 0; i < n; ++i) out[i] += p.values[static_cast<std::size_t>(c) * n + i];
  return out;
}

double scale_of(const Panel& p) {
  std::vector<float> v = plane(p);
  for (float& x : v) x = std::abs(x);
  const std::size_t k = static_cast<std::size_t>(0.995 * static_cast<double>(v.size() - 1));
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(k), v.end());
  const float top = *std::max_element(v.begin(), v.end());
  return v[k] > 0 ? v[k] : top;  // a map with few values off zero: up to the largest
}

// As much of a line as fits.
std::string fitting(std::string line, int width) {
  if (Picture::text_width(line) <= width) return line;
  while (!line.empty() && Picture::text_width(line + "..") > width) line.pop_back();
  return line + "..";
}

std::string short_number(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3g", v);
  return buffer;
}

}  // namespace

Picture draw_panels(const std::vector<std::vector<Panel>>& rows, bool shared) {
  int largest = 1, columns = 1;
  for (const auto& row : rows) {
    columns = std::max(columns, static_cast<int>(row.size()));
    for (const Panel& p : row) largest = std::max({largest, p.h, p.w});
  }
  const int zoom = std::max(1, 196 / largest), cell = largest * zoom, margin = 12, title = 14, legend = 44;
  const int width = margin + columns * (cell + margin),
            height = margin + static_cast<int>(rows.size()) * (title + cell + legend + margin);
  Picture picture(width, height);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    double common = 0;
    for (const Panel& p : rows[r])
      if (p.heat) common = std::max(common, scale_of(p));
    for (std::size_t k = 0; k < rows[r].size(); ++k) {
      const Panel& p = rows[r][k];
      const int x = margin + static_cast<int>(k) * (cell + margin),
                y = margin + static_cast<int>(r) * (title + cell + legend + margin);
      picture.text(x, y, fitting(p.title, cell));
      const double scale = !p.heat ? 1 : shared ? common : scale_of(p);
      const std::vector<float> heat = p.heat ? plane(p) : std::vector<float>{};
      const std::size_t n = static_cast<std::size_t>(p.h) * static_cast<std::size_t>(p.w);
      for (int i = 0; i < p.h; ++i)
        for (int j = 0; j < p.w; ++j) {
          const std::size_t at =
              static_cast<std::size_t>(i) * static_cast<std::size_t>(p.w) + static_cast<std::size_t>(j);
          Rgb c;
          if (p.heat) {
            c = diverging(scale > 0 ? heat[at] / scale : 0);
          } else {
            const auto level = [&](std::size_t channel) {
              return static_cast<std::uint8_t>(
                  std::lround(255 * std::clamp(p.values[(p.channels == 3 ? channel : 0) * n + at], 0.0f, 1.0f)));
            };
            c = {level(0), level(1), level(2)};
          }
          picture.fill(x + j * zoom, y + title + i * zoom, zoom, zoom, c);
        }
      const int below = y + title + p.h * zoom + 4;
      if (p.heat) {
        const int bar = std::min(cell, p.w * zoom);
        for (int i = 0; i < bar; ++i) picture.fill(x + i, below, 1, 6, diverging(2.0 * i / (bar - 1) - 1));
        const std::string low = "-" + short_number(scale), high = "+" + short_number(scale);
        picture.text(x, below + 8, low);
        picture.text(x + bar / 2 - 2, below + 8, "0");
        picture.text(x + bar - Picture::text_width(high), below + 8, high);
      }
      int line = below + (p.heat ? 20 : 4);
      for (std::size_t at = 0; at < p.note.size(); line += 11) {
        const std::size_t end = std::min(p.note.find('\n', at), p.note.size());
        picture.text(x, line, fitting(p.note.substr(at, end - at), cell), {110, 110, 110});
        at = end + 1;
      }
    }
  }
  return picture;
}

}  // namespace vitrine
