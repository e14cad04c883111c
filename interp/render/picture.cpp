#include "interp/render/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "core/host/error.h"
#include "core/host/io/image.h"
#include "core/host/utf8.h"
#include "interp/render/chart.h"
#include "interp/render/font.h"

namespace vitrine {

namespace {

std::size_t checked_bytes(int width, int height) {
  if (width < 1 || height < 1 || std::int64_t{width} * height > (std::int64_t{1} << 26))
    throw Error("a picture of " + std::to_string(width) + " x " + std::to_string(height) +
                " pixels was asked for, expected 1 to 67108864 in all");
  return static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
}

// At 11 pixels per em DejaVu's capitals are 8 pixels high and its small letters 6, which keeps edges sharp.
constexpr int capitals = 8;
int letter_size(int scale) noexcept { return 11 * scale; }

template <class F>
void for_each_line(std::string_view text, F&& use) {
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    use(text.substr(at, end - at));
    at = end + 1;
  }
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
  const int size = letter_size(scale), top = y - (font::ascent(size) - capitals * scale);
  int row = 0;
  for_each_line(s, [&](std::string_view text) {
    const font::Line line = font::draw(text, size);
    for (int j = 0; j < line.h; ++j)
      for (int i = 0; i < line.w; ++i) {
        const int share =
            line.coverage[static_cast<std::size_t>(j) * static_cast<std::size_t>(line.w) + static_cast<std::size_t>(i)];
        const int px = x + i, py = top + row * line_step * scale + j;
        if (share == 0 || px < 0 || py < 0 || px >= width_ || py >= height_) continue;
        const Rgb under = get(px, py);
        const auto blend = [share](int from, int to) {
          return static_cast<std::uint8_t>((from * (255 - share) + to * share + 127) / 255);
        };
        set(px, py, {blend(under.r, color.r), blend(under.g, color.g), blend(under.b, color.b)});
      }
    ++row;
  });
}

int Picture::text_width(const std::string& s, int scale) {
  int widest = 0;
  for_each_line(s, [&](std::string_view line) { widest = std::max(widest, font::width(line, letter_size(scale))); });
  return widest;
}

std::vector<std::uint8_t> Picture::png() const { return io::encode_png({width_, height_, 3, pixels_}); }

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

constexpr const char* dots = "\xe2\x80\xa6";

// As much of a line as fits.
std::string fitting(const std::string& line, int width) {
  if (Picture::text_width(line) <= width) return line;
  std::string fits;
  for (std::size_t at = 0; at < line.size();) {
    std::string longer = fits;
    utf8::append(longer, utf8::next(line, at));
    if (Picture::text_width(longer + dots) > width) break;
    fits = std::move(longer);
  }
  return fits + dots;
}

// Where panels stand: cells of one size in rows and columns, a title above each, a legend and a note below.
struct Grid {
  int zoom = 1, cell = 1, columns = 1, rows = 1, note_lines = 0, bar = 0;
  static constexpr int margin = 12, title = 14;

  explicit Grid(const std::vector<std::vector<Panel>>& panels) : rows(static_cast<int>(panels.size())) {
    int largest = 1;
    for (const auto& row : panels) {
      columns = std::max(columns, static_cast<int>(row.size()));
      for (const Panel& p : row) {
        largest = std::max({largest, p.h, p.w});
        bar = std::max(bar, p.heat ? 22 : 5);
        const auto breaks = static_cast<int>(std::count(p.note.begin(), p.note.end(), '\n'));
        note_lines = std::max(note_lines, p.note.empty() ? 0 : breaks + 1);
      }
    }
    zoom = std::max(1, 196 / largest);
    cell = largest * zoom;
  }
  int step() const { return title + cell + bar + note_lines * Picture::line_step + margin; }
  int width() const { return margin + columns * (cell + margin); }
  int height() const { return margin + rows * step(); }
};

// Colours below a heat map, and the values at their ends and middle.
void draw_bar(Picture& picture, int x, int y, int width, double scale) {
  for (int i = 0; i < width; ++i) picture.fill(x + i, y, 1, 6, diverging((2.0 * i + 1) / width - 1));
  const std::string low = "-" + short_number(scale), high = "+" + short_number(scale);
  const int high_at = x + width - Picture::text_width(high), zero_at = x + (width - Picture::text_width("0")) / 2;
  picture.text(x, y + 9, low);
  if (zero_at > x + Picture::text_width(low) + 4) picture.text(zero_at, y + 9, "0");
  if (high_at > x + Picture::text_width(low) + 4) picture.text(high_at, y + 9, high);
}

void draw_values(Picture& picture, int x, int y, const Panel& p, int zoom, double scale) {
  const std::size_t n = static_cast<std::size_t>(p.h) * static_cast<std::size_t>(p.w);
  const std::vector<float> heat = p.heat ? plane(p) : std::vector<float>{};
  const auto level = [&](std::size_t channel, std::size_t at) {
    return static_cast<std::uint8_t>(
        std::lround(255 * std::clamp(p.values[(p.channels == 3 ? channel : 0) * n + at], 0.0f, 1.0f)));
  };
  for (int i = 0; i < p.h; ++i)
    for (int j = 0; j < p.w; ++j) {
      const std::size_t at = static_cast<std::size_t>(i) * static_cast<std::size_t>(p.w) + static_cast<std::size_t>(j);
      const Rgb c =
          p.heat ? diverging(scale > 0 ? heat[at] / scale : 0) : Rgb{level(0, at), level(1, at), level(2, at)};
      picture.fill(x + j * zoom, y + i * zoom, zoom, zoom, c);
    }
}

void draw_panel(Picture& picture, int x, int y, const Panel& p, const Grid& grid, double scale) {
  picture.text(x, y, fitting(p.title, grid.cell));
  draw_values(picture, x, y + Grid::title, p, grid.zoom, scale);
  int line = y + Grid::title + p.h * grid.zoom + 5;
  if (p.heat) draw_bar(picture, x, line, std::max(p.w * grid.zoom, std::min(grid.cell, 130)), scale);
  if (p.heat) line += grid.bar;
  for_each_line(p.note, [&](std::string_view text) {
    picture.text(x, line, fitting(std::string(text), grid.cell), {110, 110, 110});
    line += Picture::line_step;
  });
}

}  // namespace

Picture draw_panels(const std::vector<std::vector<Panel>>& rows, bool shared) {
  for (const auto& row : rows)
    for (const Panel& p : row)
      if (p.h < 1 || p.w < 1 || p.channels < 1 || (!p.heat && p.channels != 1 && p.channels != 3) ||
          p.values.size() <
              static_cast<std::size_t>(p.channels) * static_cast<std::size_t>(p.h) * static_cast<std::size_t>(p.w))
        throw Error("a panel of " + std::to_string(p.channels) + " x " + std::to_string(p.h) + " x " +
                    std::to_string(p.w) + " values was given " + std::to_string(p.values.size()));
  const Grid grid(rows);
  Picture picture(grid.width(), grid.height());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    double common = 0;
    for (const Panel& p : rows[r])
      if (p.heat) common = std::max(common, scale_of(p));
    for (std::size_t k = 0; k < rows[r].size(); ++k) {
      const Panel& p = rows[r][k];
      const double scale = !p.heat ? 1 : shared ? common : scale_of(p);
      draw_panel(picture, Grid::margin + static_cast<int>(k) * (grid.cell + Grid::margin),
                 Grid::margin + static_cast<int>(r) * grid.step(), p, grid, scale);
    }
  }
  return picture;
}

}  // namespace vitrine
