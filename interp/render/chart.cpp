#include "interp/render/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "core/host/error.h"
#include "core/host/utf8.h"
#include "interp/render/font.h"

namespace vitrine {
namespace {

// Lengths in the drawing's own units, of which a chart is 440 wide: about a pixel each on a wide screen, less on a
// phone.
constexpr double full_width = 440, plot_height = 220, gap = 8, line_step = 17;
constexpr int letter = 12, title_letter = 14;
constexpr std::size_t stretches = 500, point_limit = 4000, bar_limit = 60, matrix_limit = 128, legend_limit = 24;

constexpr Literal chart_style = R"(
.vt{font:12px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
.vt-ground{fill:#fff}.vt text{fill:#1d1f23}.vt .vt-soft{fill:#5c626b}.vt .vt-title{font-size:14px;font-weight:600}
.vt-grid{stroke:#e4e7eb;fill:none}.vt-axis{stroke:#8a9099;fill:none}.vt-whisker{stroke:#1d1f23;fill:none}
.vt .vt-on-light{fill:#000}.vt .vt-on-dark{fill:#fff}
@media(prefers-color-scheme:dark){.vt-ground{fill:#16181d}.vt text{fill:#e4e6ea}.vt .vt-soft{fill:#a0a6b0}
.vt-grid{stroke:#2c3037}.vt-axis{stroke:#7c828c}.vt-whisker{stroke:#e4e6ea}}
)";

// Colours with a contrast of at least 3 to both grounds, after Okabe and Ito; dashes and marks differ as well.
constexpr const char* colours[] = {"#1f82c7", "#d55e00", "#009e73", "#c46a9b", "#a07c00", "#7a5fd0", "#7f7f7f"};
constexpr const char* dashes[] = {"none", "7 3", "2 3", "9 3 2 3", "4 2"};

const char* colour_of(std::size_t k) { return colours[k % std::size(colours)]; }
const char* dash_of(std::size_t k) { return dashes[k % std::size(dashes)]; }

std::string hex(Rgb c) {
  std::string out = "#";
  for (const int v : {c.r, c.g, c.b}) {
    out += "0123456789abcdef"[v >> 4];
    out += "0123456789abcdef"[v & 15];
  }
  return out;
}

std::string point(double x, double y) { return px(x) + "," + px(y); }

// As much of a text as fits a width.
std::string fitting(const std::string& text, double width, int size = letter) {
  std::string out;
  for (std::size_t at = 0; at < text.size() && out.size() < 1000;) {
    const std::size_t before = out.size();
    utf8::append(out, utf8::next(text, at));
    if (font::width(out, size) > width - (at < text.size() ? size : 0)) {
      out.resize(before);
      return out + "\xe2\x80\xa6";
    }
  }
  return out;
}

// Letters of a title are bold, and wider than those that font.h measures.
double title_width(const std::string& s) { return 1.13 * font::width(s, title_letter); }

// A title in at most two lines, parted at a space where there is one.
std::vector<std::string> title_lines(const std::string& title) {
  if (title.empty()) return {};
  if (title_width(title) <= full_width) return {title};
  std::size_t cut = 0;
  for (std::size_t at = title.find(' '); at != std::string::npos; at = title.find(' ', at + 1)) {
    if (title_width(title.substr(0, at)) > full_width) break;
    cut = at;
  }
  if (cut == 0) return {fitting(title, full_width / 1.13, title_letter)};
  return {title.substr(0, cut), fitting(title.substr(cut + 1), full_width / 1.13, title_letter)};
}

// An SVG that grows downwards: what is below is placed when what is above has its height.
class Drawing {
 public:
  explicit Drawing(std::string name) : name_(std::move(name)) {}
  Markup& body() { return body_; }
  double y = 0;  ///< where the next part begins

  void text(double x, double at, const std::string& s, const char* anchor = "start", const char* kind = "") {
    body_.element("text", {{"x", px(x)}, {"y", px(at)}, {"text-anchor", anchor}, {"class", kind}}, s);
  }
  void title(const std::string& title) {
    for (const std::string& l : title_lines(title)) text(0, (y += title_letter + 4) - 4, l, "start", "vt-title");
    if (!title.empty()) y += 4;
  }
  void soft_line(const std::string& s) {
    if (!s.empty()) text(0, (y += line_step) - 4, fitting(s, full_width), "start", "vt-soft");
  }
  void line(const char* kind, double x1, double y1, double x2, double y2) {
    body_.leaf("path", {{"class", kind}, {"d", "M" + point(x1, y1) + "L" + point(x2, y2)}});
  }
  Markup finish(double width = full_width) {
    const std::string w = px(width), h = px(std::ceil(y));
    Markup svg;
    svg.open("svg", {{"xmlns", "http://www.w3.org/2000/svg"},
                     {"class", "vt"},
                     {"viewBox", "0 0 " + w + " " + h},
                     {"width", w},
                     {"height", h},
                     {"role", "img"},
                     {"aria-label", name_}});
    svg.style(chart_style).leaf("rect", {{"class", "vt-ground"}, {"width", w}, {"height", h}});
    return svg.add(body_).close();
  }

 private:
  std::string name_;
  Markup body_;
};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double v) {
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  }
};

bool drawn(const Series& s, std::size_t i) { return std::isfinite(s.x[i]) && std::isfinite(s.y[i]); }

// Where a value is on an axis, 0 to 1.
double share(double v, const Ticks& t) { return (std::clamp(v, t.low, t.high) - t.low) / (t.high - t.low); }

// The two axes of a curve: ranges, and where values are in the drawing.
struct Axes {
  Ticks x, y;
  double left = 0, right = full_width, top = 0, bottom = 0;

  double at_x(double v) const { return left + share(v, x) * (right - left); }
  double at_y(double v) const { return bottom - share(v, y) * (bottom - top); }
};

// Distance of neighbouring bars.
double bar_step(const Curve& c) {
  std::vector<double> places;
  for (const Series& s : c.series)
    for (std::size_t i = 0; i < s.x.size(); ++i)
      if (drawn(s, i)) places.push_back(s.x[i]);
  std::sort(places.begin(), places.end());
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < places.size(); ++i)
    if (places[i] > places[i - 1]) least = std::min(least, places[i] - places[i - 1]);
  return std::isfinite(least) ? least : 1;
}

Axes make_axes(const Curve& c) {
  Range x, y;
  for (const Series& s : c.series)
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (!drawn(s, i)) continue;
      x.add(s.x[i]);
      y.add(s.y[i]);
      if (!s.low.empty()) y.add(s.low[i]), y.add(s.high[i]);
    }
  if (c.mark == Curve::bars && x.low <= x.high) {
    const double half = bar_step(c) / 2;
    x.add(x.low - half);
    x.add(x.high + half);
    y.add(0);
  }
  Axes a;
  a.x = ticks(x.low, x.high, 6, c.mark == Curve::points);
  a.y = ticks(y.low, y.high, 5, true);
  return a;
}

// Whether no label of a horizontal axis comes near to the next.
bool labels_fit(const Ticks& t, double width) {
  for (std::size_t k = 1; k < t.at.size(); ++k) {
    const double halves = (font::width(t.labels[k - 1], letter) + font::width(t.labels[k], letter)) / 2.0;
    if ((share(t.at[k], t) - share(t.at[k - 1], t)) * width < halves + gap) return false;
  }
  return true;
}

void draw_axes(Drawing& d, Axes& a, const Curve& c) {
  d.soft_line(c.y_label);
  double widest = 0;
  for (const std::string& l : a.y.labels) widest = std::max(widest, static_cast<double>(font::width(l, letter)));
  a.left = widest + gap;
  a.right = full_width - 12;
  a.top = d.y + 8;
  a.bottom = a.top + plot_height;
  for (std::size_t k = 0; k < a.y.at.size(); ++k) {
    const double y = a.at_y(a.y.at[k]);
    d.line(a.y.at[k] == 0 ? "vt-axis" : "vt-grid", a.left, y, a.right, y);
    d.text(a.left - gap, y + 4, a.y.labels[k], "end", "vt-soft");
  }
  d.line("vt-axis", a.left, a.bottom, a.right, a.bottom);
  for (int about = 5; about > 1 && !labels_fit(a.x, a.right - a.left); --about) a.x = ticks(a.x.low, a.x.high, about);
  for (std::size_t k = 0; k < a.x.at.size(); ++k) {
    const double x = a.at_x(a.x.at[k]);
    d.line("vt-axis", x, a.bottom, x, a.bottom + 4);
    d.text(std::min(x, full_width - font::width(a.x.labels[k], letter) / 2.0), a.bottom + 17, a.x.labels[k], "middle",
           "vt-soft");
  }
  d.y = a.bottom + 20;
  if (!c.x_label.empty())
    d.text((a.left + a.right) / 2, (d.y += line_step) - 4, fitting(c.x_label, a.right - a.left), "middle", "vt-soft");
}

// The points of a series that are drawn as a line: all, or the lowest and highest of each stretch, and what is missing.
std::vector<std::size_t> thinned(const Series& s) {
  std::vector<std::size_t> kept;
  const std::size_t n = s.x.size();
  if (n <= 3 * stretches) {
    for (std::size_t i = 0; i < n; ++i) kept.push_back(i);
    return kept;
  }
  for (std::size_t k = 0; k < stretches; ++k) {
    const std::size_t begin = k * n / stretches, end = (k + 1) * n / stretches;
    std::vector<std::size_t> some = {begin, end - 1};
    for (std::size_t i = begin; i < end; ++i) {
      if (!drawn(s, i)) {
        some.push_back(i);
        break;
      }
    }
    std::size_t low = begin, high = begin;
    for (std::size_t i = begin; i < end; ++i) {
      if (!drawn(s, i)) continue;
      if (!drawn(s, low) || s.y[i] < s.y[low]) low = i;
      if (!drawn(s, high) || s.y[i] > s.y[high]) high = i;
    }
    some.insert(some.end(), {low, high});
    std::sort(some.begin(), some.end());
    some.erase(std::unique(some.begin(), some.end()), some.end());
    kept.insert(kept.end(), some.begin(), some.end());
  }
  return kept;
}

// Calls use(first, last) for stretches of `kept` without a gap.
template <class F>
void for_each_run(const Series& s, std::span<const std::size_t> kept, F&& use) {
  for (std::size_t at = 0; at < kept.size();) {
    std::size_t end = at;
    while (end < kept.size() && drawn(s, kept[end])) ++end;
    if (end > at) use(kept.subspan(at, end - at));
    at = end + 1;
  }
}

// A mark's outline around a place.
std::string mark_path(std::size_t k, double x, double y, double r) {
  const std::string at = "M" + point(x, y), s = px(r), d = px(2 * r);
  switch (k % 5) {
    case 0:
      return at + "m-" + s + ",0a" + s + "," + s + " 0 1 0 " + d + ",0a" + s + "," + s + " 0 1 0 -" + d + ",0z";
    case 1:
      return at + "m-" + s + ",-" + s + "h" + d + "v" + d + "h-" + d + "z";
    case 2:
      return at + "m0,-" + px(1.2 * r) + "l" + px(1.2 * r) + "," + px(2.2 * r) + "h-" + px(2.4 * r) + "z";
    case 3:
      return at + "m0,-" + px(1.4 * r) + "l" + px(1.4 * r) + "," + px(1.4 * r) + "l-" + px(1.4 * r) + "," +
             px(1.4 * r) + "l-" + px(1.4 * r) + ",-" + px(1.4 * r) + "z";
    default:
      return at + "m0," + px(1.2 * r) + "l" + px(1.2 * r) + ",-" + px(2.2 * r) + "h-" + px(2.4 * r) + "z";
  }
}

void draw_band(Drawing& d, const Axes& a, const Series& s, std::span<const std::size_t> run, std::size_t k) {
  std::string path;
  const auto inside = [&](double v) { return a.at_y(std::clamp(std::isfinite(v) ? v : 0, a.y.low, a.y.high)); };
  const auto bound = [&](const std::vector<double>& v, std::size_t i) { return std::isfinite(v[i]) ? v[i] : s.y[i]; };
  for (const std::size_t i : run) path += (path.empty() ? "M" : "L") + point(a.at_x(s.x[i]), inside(bound(s.high, i)));
  for (std::size_t j = run.size(); j-- > 0;) path += "L" + point(a.at_x(s.x[run[j]]), inside(bound(s.low, run[j])));
  d.body().leaf("path", {{"d", path + "z"}, {"fill", colour_of(k)}, {"fill-opacity", "0.18"}});
}

void draw_line(Drawing& d, const Axes& a, const Series& s, std::size_t k) {
  const std::vector<std::size_t> kept = thinned(s);
  std::string path, marks;
  for_each_run(s, kept, [&](std::span<const std::size_t> run) {
    if (!s.low.empty() && run.size() > 1) draw_band(d, a, s, run, k);
    for (std::size_t j = 0; j < run.size(); ++j)
      path += (j == 0 ? "M" : "L") + point(a.at_x(s.x[run[j]]), a.at_y(s.y[run[j]]));
    // A point without neighbours is no line, and few points are told from one another.
    if (run.size() == 1 || kept.size() <= 24)
      for (const std::size_t i : run) marks += mark_path(k, a.at_x(s.x[i]), a.at_y(s.y[i]), 3);
  });
  d.body().leaf("path", {{"d", path},
                         {"fill", "none"},
                         {"stroke", colour_of(k)},
                         {"stroke-width", "2"},
                         {"stroke-linejoin", "round"},
                         {"stroke-dasharray", dash_of(k)}});
  if (!marks.empty()) d.body().leaf("path", {{"d", marks}, {"fill", colour_of(k)}});
}

void draw_points(Drawing& d, const Axes& a, const Series& s, std::size_t k) {
  std::string path;
  const std::size_t step = (s.x.size() + point_limit - 1) / point_limit;
  for (std::size_t i = 0; i < s.x.size(); i += std::max<std::size_t>(1, step))
    if (drawn(s, i)) path += mark_path(k, a.at_x(s.x[i]), a.at_y(s.y[i]), s.x.size() > 500 ? 2 : 3);
  d.body().leaf("path", {{"d", path}, {"fill", colour_of(k)}, {"fill-opacity", "0.75"}});
}

void draw_bars(Drawing& d, const Axes& a, const Curve& c, std::size_t k) {
  const Series& s = c.series[k];
  const double step = bar_step(c) / (a.x.high - a.x.low) * (a.right - a.left),
               each = 0.84 * step / static_cast<double>(c.series.size());
  std::string path, whiskers;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!drawn(s, i)) continue;
    const double x = a.at_x(s.x[i]) - 0.42 * step + each * static_cast<double>(k), from = a.at_y(0),
                 to = a.at_y(s.y[i]);
    path += "M" + point(x, from) + "V" + px(to) + "h" + px(each) + "V" + px(from) + "z";
    if (s.low.empty() || !std::isfinite(s.low[i]) || !std::isfinite(s.high[i])) continue;
    whiskers += "M" + point(x + each / 2, a.at_y(s.low[i])) + "V" + px(a.at_y(s.high[i]));
  }
  d.body().leaf("path", {{"d", path}, {"fill", colour_of(k)}, {"stroke", "none"}});
  if (!whiskers.empty()) d.body().leaf("path", {{"d", whiskers}, {"class", "vt-whisker"}});
}

void draw_legend(Drawing& d, const Curve& c) {
  if (c.series.empty() || (c.series.size() == 1 &&
                           (c.series[0].name.empty() || c.series[0].name == c.title || c.series[0].name == c.y_label)))
    return;
  constexpr double swatch = 24;
  double x = 0;
  d.y += line_step + 4;
  for (std::size_t k = 0; k < std::min(c.series.size(), legend_limit); ++k) {
    const std::string name = fitting(c.series[k].name, 210);
    const double width = swatch + font::width(name, letter);
    if (x > 0 && x + width > full_width) x = 0, d.y += line_step;
    const double middle = d.y - 8;
    if (c.mark == Curve::lines)
      d.body().leaf("path", {{"d", "M" + point(x, middle) + "h18"},
                             {"stroke", colour_of(k)},
                             {"stroke-width", "2"},
                             {"stroke-dasharray", dash_of(k)}});
    else
      d.body().leaf("path",
                    {{"d", mark_path(c.mark == Curve::bars ? 1 : k, x + 10, middle, 4)}, {"fill", colour_of(k)}});
    d.text(x + swatch, d.y - 4, name);
    x += width + 16;
  }
  if (c.series.size() > legend_limit) d.soft_line("and " + std::to_string(c.series.size() - legend_limit) + " more");
}

bool sizes_fit(const Series& s) {
  const auto fits = [&](const std::vector<double>& v) { return v.empty() || v.size() == s.x.size(); };
  return s.y.size() == s.x.size() && fits(s.low) && fits(s.high) && s.low.empty() == s.high.empty();
}

}  // namespace

Markup curve_chart(const Curve& c) {
  for (const Series& s : c.series)
    if (!sizes_fit(s)) throw Error("a chart's series has x, y, low and high of different lengths");
  Drawing d(c.title);
  d.title(c.title);
  Axes a = make_axes(c);
  draw_axes(d, a, c);
  for (std::size_t k = 0; k < c.series.size(); ++k) {
    if (c.mark == Curve::lines) draw_line(d, a, c.series[k], k);
    if (c.mark == Curve::points) draw_points(d, a, c.series[k], k);
    if (c.mark == Curve::bars) draw_bars(d, a, c, k);
  }
  draw_legend(d, c);
  d.y += 4;
  return d.finish();
}

Markup bar_chart(const Bars& b) {
  const std::size_t n = b.names.size();
  const auto fits = [&](const std::vector<double>& v) { return v.empty() || v.size() == n; };
  if (b.values.size() != n || !fits(b.low) || !fits(b.high) || b.low.empty() != b.high.empty())
    throw Error("a bar chart has " + std::to_string(n) + " names, but another number of values or bounds");
  const std::size_t shown = std::min(n, bar_limit);
  Range range;
  range.add(0);
  double names = 0, numbers = 0;
  for (std::size_t k = 0; k < shown; ++k) {
    range.add(b.values[k]);
    if (!b.low.empty()) range.add(b.low[k]), range.add(b.high[k]);
    names = std::max(names, static_cast<double>(font::width(fitting(b.names[k], 170), letter)));
    numbers = std::max(numbers, static_cast<double>(font::width(short_number(b.values[k]), letter)));
  }
  const Ticks t = ticks(range.low, range.high, 4, true);
  const double left = names + gap, right = full_width - numbers - 2 * gap, row = 21;
  const auto at = [&](double v) { return left + share(v, t) * (right - left); };
  Drawing d(b.title);
  d.title(b.title);
  d.soft_line(b.label);
  const double top = d.y + 4, bottom = top + row * static_cast<double>(shown);
  for (std::size_t k = 0; k < t.at.size(); ++k) {
    d.line(t.at[k] == 0 ? "vt-axis" : "vt-grid", at(t.at[k]), top, at(t.at[k]), bottom);
    d.text(at(t.at[k]), bottom + 14, t.labels[k], "middle", "vt-soft");
  }
  for (std::size_t k = 0; k < shown; ++k) {
    const double y = top + row * static_cast<double>(k), middle = y + row / 2;
    d.text(left - gap, middle + 4, fitting(b.names[k], 170), "end");
    d.text(full_width, middle + 4, short_number(b.values[k]), "end", "vt-soft");
    if (!std::isfinite(b.values[k])) continue;
    const double from = std::min(at(0), at(b.values[k])), to = std::max(at(0), at(b.values[k]));
    d.body().leaf(
        "rect",
        {{"x", px(from)}, {"y", px(y + 3)}, {"width", px(to - from)}, {"height", px(row - 6)}, {"fill", colour_of(0)}});
    if (!b.low.empty() && std::isfinite(b.low[k]) && std::isfinite(b.high[k]))
      d.line("vt-whisker", at(b.low[k]), middle, at(b.high[k]), middle);
  }
  d.y = bottom + 20;
  if (shown < n) d.soft_line("and " + std::to_string(n - shown) + " more");
  return d.finish();
}

namespace {

// What a colour map shows of values: [low, high], symmetric about 0 for a diverging one.
struct Shades {
  const ColourMap& map;
  double low = 0, high = 1;

  Rgb operator()(double v) const {
    const double t = (v / 2 - low / 2) / (high / 2 - low / 2);  // halves: a difference may be too large
    return map.colour(map.diverging ? 2 * t - 1 : t);
  }
};

Shades shades_of(const std::vector<double>& values, const ColourMap& map) {
  Range r;
  for (const double v : values) r.add(v);
  if (!(r.low <= r.high)) r = {0, 1};
  if (map.diverging) r.high = std::max(std::abs(r.low), std::abs(r.high)), r.low = -r.high;
  if (!(r.low < r.high)) r = map.diverging ? Range{-1, 1} : Range{std::min(r.low, 0.0), std::max(r.low, 1.0)};
  return {map, r.low, r.high};
}

void draw_scale(Drawing& d, const Shades& shades, double left, double width) {
  constexpr int steps = 80;
  const double top = d.y + 2;
  for (int i = 0; i < steps; ++i)
    d.body().leaf("rect", {{"x", px(left + width * i / steps)},
                           {"y", px(top)},
                           {"width", px(width / steps + 0.5)},
                           {"height", "10"},
                           {"fill", hex(shades(shades.low + (shades.high - shades.low) * (i + 0.5) / steps))}});
  const Ticks t = ticks(shades.low, shades.high, 4);
  for (std::size_t k = 0; k < t.at.size(); ++k) {
    const double x = left + (t.at[k] - t.low) / (t.high - t.low) * width, half = font::width(t.labels[k], letter) / 2.0;
    d.line("vt-axis", x, top + 10, x, top + 14);
    d.text(std::clamp(x, left + half, left + width - half), top + 26, t.labels[k], "middle", "vt-soft");
  }
  d.y = top + 32;
}

// Names of columns above a matrix: beside one another if they fit, else upwards.
void draw_column_names(Drawing& d, const HeatTable& m, double left, double cell) {
  double widest = 0;
  for (const std::string& c : m.columns)
    widest = std::max(widest, static_cast<double>(font::width(fitting(c, 120), letter)));
  const bool upwards = widest > cell - 4;
  const std::size_t every = static_cast<std::size_t>(std::max(1.0, std::ceil(letter / cell)));
  d.y += m.columns.empty() ? 4 : upwards ? widest + gap : line_step + 2;
  for (std::size_t k = 0; k < m.columns.size(); k += upwards ? every : 1) {
    const double x = left + (static_cast<double>(k) + 0.5) * cell;
    if (!upwards) {
      d.text(x, d.y - 5, fitting(m.columns[k], cell), "middle");
      continue;
    }
    const std::string at = px(x + 4) + " " + px(d.y - 5);
    d.body().element("text", {{"transform", "translate(" + at + ") rotate(-90)"}}, fitting(m.columns[k], 120));
  }
}

// One row of cells; neighbours of one colour are one rectangle.
void draw_cells(Drawing& d, std::span<const double> values, const Shades& shades, double left, double cell,
                double height) {
  for (std::size_t k = 0; k < values.size();) {
    const Rgb c = shades(values[k]);
    std::size_t end = k + 1;
    while (end < values.size() && shades(values[end]) == c) ++end;
    d.body().leaf("rect", {{"x", px(left + static_cast<double>(k) * cell)},
                           {"y", px(d.y)},
                           {"width", px(static_cast<double>(end - k) * cell)},
                           {"height", px(height)},
                           {"fill", hex(c)}});
    k = end;
  }
  for (std::size_t k = 0; k < values.size() && values.size() <= 12; ++k) {
    const std::string number = short_number(values[k]);
    if (font::width(number, letter) > cell - 2) continue;
    d.text(left + (static_cast<double>(k) + 0.5) * cell, d.y + height / 2 + 4, number, "middle",
           lightness(shades(values[k])) > 55 ? "vt-on-light" : "vt-on-dark");
  }
}

}  // namespace

Markup matrix_chart(const HeatTable& m) {
  const std::size_t rows = m.rows.size(), columns = m.columns.size();
  if (m.values.size() != rows * columns || rows > matrix_limit || columns > matrix_limit)
    throw Error("a matrix chart has " + std::to_string(m.values.size()) + " values for " + std::to_string(rows) +
                " x " + std::to_string(columns) + " names, expected as many, and at most 128 x 128");
  const Shades shades = shades_of(m.values, colour_map(m.colours));
  double left = 0;
  for (const std::string& r : m.rows) left = std::max(left, static_cast<double>(font::width(fitting(r, 130), letter)));
  left += gap;
  const double cell = std::min(48.0, (full_width - 6 - left) / static_cast<double>(std::max<std::size_t>(1, columns))),
               height = std::clamp(cell, 2.0, 26.0);
  Drawing d(m.title);
  d.title(m.title);
  if (!m.row_label.empty() || !m.column_label.empty())
    d.soft_line("rows: " + m.row_label + "; columns: " + m.column_label);
  draw_column_names(d, m, left, cell);
  const auto every = static_cast<std::size_t>(std::ceil(letter / height));
  d.body().open("g", {{"shape-rendering", "crispEdges"}});  // no seams between cells
  for (std::size_t r = 0; r < rows; ++r) {
    if (r % every == 0) d.text(left - gap, d.y + height / 2 + 4, fitting(m.rows[r], 130), "end");
    draw_cells(d, std::span(m.values).subspan(r * columns, columns), shades, left, cell, height);
    d.y += height;
  }
  d.body().close();
  d.y += 8;
  draw_scale(d, shades, left, std::min(260.0, full_width - left));
  return d.finish();
}

Markup colour_scale(const ColourMap& map, double low, double high) {
  const Shades shades = shades_of({low, high}, map);
  Drawing d("colours from " + short_number(shades.low) + " to " + short_number(shades.high));
  draw_scale(d, shades, 0, 320);
  return d.finish(320);
}

std::string svg_file(const Markup& chart) {
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + chart.str() + "\n";
}

}  // namespace vitrine
