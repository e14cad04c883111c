// The page of a result: what it says first, then numbers, charts, tables, maps, and last how it was made.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/host/text.h"
#include "interp/render/chart.h"
#include "interp/render/page.h"
#include "interp/result/write.h"

namespace vitrine {
namespace {

constexpr std::size_t row_limit = 500, plane_limit = 48;

std::string exact(double v) {
  if (!std::isfinite(v)) return short_number(v);
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, v).ptr};
}

// A number in a table: short, its digits in full where a pointer rests on it. Like the files, the page tells no
// infinity from NaN.
void number_cell(Markup& m, double v) {
  if (!std::isfinite(v)) v = NAN;
  m.element("td", {{"class", "number"}, {"title", exact(v)}}, short_number(v));
}

void link(Markup& m, const std::string& file) { m.element("a", {{"href", file}}, file); }

Markup& begin_table(Markup& m, std::initializer_list<const char*> columns, std::initializer_list<bool> numbers) {
  m.open("div", {{"class", "scroll"}}).open("table").open("thead").open("tr");
  auto number = numbers.begin();
  for (const char* const c : columns) m.element("th", {{"class", *number++ ? "number" : ""}}, c);
  return m.close().close().open("tbody");
}

void end_table(Markup& m) { m.close().close().close(); }

void add_claims(Markup& m, const Result& r) {
  if (r.claims().empty()) return;
  m.element("h2", "Claims");
  begin_table(m, {"verdict", "statement", "value", "threshold"}, {false, false, true, true});
  for (const Claim& c : r.claims()) {
    m.open("tr").element("td", {{"class", c.holds ? "good" : "bad"}},
                         c.holds ? "\xe2\x9c\x93 holds" : "\xe2\x9c\x97 fails");
    m.element("td", {{"class", "text"}}, c.statement);
    number_cell(m, c.value);
    number_cell(m, c.threshold);
    m.close();
  }
  end_table(m);
}

void add_numbers(Markup& m, const Result& r) {
  if (r.numbers().empty()) return;
  m.element("h2", "Numbers");
  begin_table(m, {"name", "value", "interval", "over"}, {false, true, true, true});
  for (const auto& [name, n] : r.numbers()) {
    m.open("tr").element("td", name);
    number_cell(m, n.value);
    const bool interval = !std::isnan(n.low) || !std::isnan(n.high);
    m.element("td", {{"class", "number"}}, interval ? short_number(n.low) + " to " + short_number(n.high) : "");
    m.element("td", {{"class", "number"}}, n.n > 0 ? std::to_string(n.n) : "").close();
  }
  end_table(m);
}

void add_curves(Markup& m, const Result& r) {
  if (r.curves().empty()) return;
  m.element("h2", "Curves").open("div", {{"class", "charts"}});
  for (const auto& [name, c] : r.curves()) {
    m.open("figure").add(curve_chart(c)).open("figcaption");
    link(m, name + ".svg");
    m.close().close();
  }
  m.close();
}

// Whether a column is of numbers, so that its head stands above them.
bool has_numbers(const Table& t, std::size_t column) {
  const auto number = [&](const std::vector<Cell>& row) { return std::holds_alternative<double>(row[column].value); };
  return !t.rows.empty() && std::any_of(t.rows.begin(), t.rows.end(), number);
}

void add_table(Markup& m, const std::string& name, const Table& t) {
  m.element("h3", name).open("div", {{"class", "scroll"}}).open("table").open("thead").open("tr");
  for (std::size_t c = 0; c < t.columns.size(); ++c)
    m.element("th", {{"class", has_numbers(t, c) ? "number" : ""}}, t.columns[c]);
  m.close().close().open("tbody");
  for (std::size_t k = 0; k < std::min(t.rows.size(), row_limit); ++k) {
    m.open("tr");
    for (const Cell& cell : t.rows[k]) {
      if (const auto* const text = std::get_if<std::string>(&cell.value))
        m.element("td", {{"class", "text"}}, *text);
      else
        number_cell(m, std::get<double>(cell.value));
    }
    m.close();
  }
  end_table(m);
  if (!t.note.empty()) m.element("p", {{"class", "note"}}, t.note);
  m.open("p", {{"class", "note"}});
  if (t.rows.size() > row_limit)
    m.text("The first " + std::to_string(row_limit) + " of " + std::to_string(t.rows.size()) + " rows; all are in ");
  link(m, name + ".csv");
  m.close();
}

void add_tables(Markup& m, const Result& r) {
  if (r.tables().empty()) return;
  m.element("h2", "Tables");
  for (const auto& [name, t] : r.tables()) add_table(m, name, t);
}

// Colours of a map: signed values on both sides of white, magnitudes from dark to light. The scale ends at the 99.5 %
// quantile of |value|, so that single large values do not hide the rest.
struct Scale {
  const ColourMap& colours;
  double low, high, smallest = 0, largest = 0;

  static Scale of(const std::vector<float>& data) {
    std::vector<float> sizes;
    float smallest = INFINITY, largest = -INFINITY;
    for (const float v : data) {
      if (!std::isfinite(v)) continue;
      sizes.push_back(std::abs(v));
      smallest = std::min(smallest, v);
      largest = std::max(largest, v);
    }
    if (sizes.empty()) return {colour_map("cividis"), 0, 1, NAN, NAN};
    const auto at = sizes.begin() + static_cast<std::ptrdiff_t>(0.995 * static_cast<double>(sizes.size() - 1));
    std::nth_element(sizes.begin(), at, sizes.end());
    double end = *at > 0 ? *at : *std::max_element(sizes.begin(), sizes.end());
    if (!(end > 0)) end = 1;
    if (smallest < 0) return {colour_map("blue-white-red"), -end, end, smallest, largest};
    return {colour_map("cividis"), 0, end, smallest, largest};
  }
  Rgb operator()(double v) const { return colours.colour(v / high); }
};

void add_plane(Markup& m, const float* values, int h, int w, const Scale& scale, const std::string& label, int size) {
  Picture p(w, h);
  for (int i = 0; i < h; ++i)
    for (int j = 0; j < w; ++j) p.set(j, i, scale(values[std::ptrdiff_t{i} * w + j]));
  const int zoom = std::max(1, size / std::max(h, w));
  m.open("div").leaf("img", {{"src", data_uri("image/png", p.png())},
                             {"alt", label.empty() ? "map" : label},
                             {"width", std::to_string(w * zoom)},
                             {"height", std::to_string(std::max(h * zoom, 12))}});
  m.text(label).close();
}

// "[3,0]": which plane of the leading dimensions this is.
std::string plane_label(const std::vector<std::int64_t>& shape, std::int64_t plane) {
  std::vector<std::int64_t> index(shape.size() - 2);
  for (std::size_t k = index.size(); k-- > 0; plane /= shape[k]) index[k] = plane % shape[k];
  std::string label;
  for (const std::int64_t i : index) label += (label.empty() ? "[" : ",") + std::to_string(i);
  return label.empty() ? label : label + "]";
}

// A map of one dimension, as a chart.
Markup row_chart(const Array& a) {
  Series s;
  for (std::size_t i = 0; i < a.data.size(); ++i) {
    s.x.push_back(static_cast<double>(i));
    s.y.push_back(static_cast<double>(a.data[i]));
  }
  return curve_chart({"", "index", "value", {s}, a.data.size() <= 64 ? Curve::bars : Curve::lines});
}

void add_planes(Markup& m, const std::string& name, const Array& a, const Scale& scale) {
  const std::int64_t h = a.shape[a.shape.size() - 2], w = a.shape.back(),
                     planes = static_cast<std::int64_t>(a.data.size()) / (h * w),
                     shown = std::min(planes, static_cast<std::int64_t>(plane_limit));
  m.open("div", {{"class", "planes"}});
  for (std::int64_t p = 0; p < shown; ++p)
    add_plane(m, a.data.data() + p * h * w, static_cast<int>(h), static_cast<int>(w), scale, plane_label(a.shape, p),
              planes > 8   ? 96
              : planes > 1 ? 160
                           : 192);
  m.close().open("figure", {{"class", "scale"}}).add(colour_scale(scale.colours, scale.low, scale.high)).close();
  if (shown < planes)
    m.element("p", {{"class", "note"}},
              "The first " + std::to_string(shown) + " of " + std::to_string(planes) + " planes; all are in " + name +
                  ".npy.");
}

void add_map(Markup& m, const std::string& name, const Array& a) {
  // A picture has at most 2^26 pixels.
  const bool planes =
      a.shape.size() >= 2 && !a.data.empty() && a.shape.back() <= 8192 && a.shape[a.shape.size() - 2] <= 8192;
  const Scale scale = Scale::of(a.data);
  m.element("h3", name);
  if (planes) add_planes(m, name, a, scale);
  if (a.shape.size() == 1 && !a.data.empty()) m.open("figure").add(row_chart(a)).close();
  m.open("p", {{"class", "note"}}).text(text(a.shape));
  if (!std::isnan(scale.smallest)) m.text(", " + short_number(scale.smallest) + " to " + short_number(scale.largest));
  if (planes && std::max(-scale.smallest, scale.largest) > scale.high) m.text(" (colours end at 99.5 % of the values)");
  m.text(": ");
  link(m, name + ".npy");
  m.close();
}

void add_pictures(Markup& m, const Result& r) {
  if (!r.maps().empty()) m.element("h2", "Maps");
  for (const auto& [name, a] : r.maps()) add_map(m, name, a);
  if (!r.pictures().empty()) m.element("h2", "Pictures");
  for (const auto& [name, p] : r.pictures()) {
    m.open("figure").leaf("img", {{"src", data_uri("image/png", p.png())},
                                  {"alt", name},
                                  {"width", std::to_string(p.width())},
                                  {"height", std::to_string(p.height())}});
    m.open("figcaption");
    link(m, name + ".png");
    m.close().close();
  }
}

void entry(Markup& m, const std::string& name, const std::string& value, const std::string& digest = "") {
  if (value.empty() && digest.empty()) return;
  m.element("dt", name).open("dd").text(value);
  if (!digest.empty()) m.text(value.empty() ? "" : " ").element("code", "sha256:" + digest);
  m.close();
}

std::string bytes_text(std::size_t bytes) {
  const double b = static_cast<double>(bytes);
  return bytes < 1024                   ? std::to_string(bytes) + " bytes"
         : bytes < 1024 * 1024          ? short_number(std::round(b / 102.4) / 10) + " KiB"
         : bytes < std::size_t{1} << 30 ? short_number(std::round(b / 104857.6) / 10) + " MiB"
                                        : short_number(std::round(b / 107374182.4) / 10) + " GiB";
}

void add_origin(Markup& m, const Result& r) {
  m.element("h2", "How it was made").open("dl");
  entry(m, "model", r.model.file, r.model.sha256);
  entry(m, "data",
        r.data.spec + (r.data.n > 0 && !r.data.spec.empty() ? ", " + std::to_string(r.data.n) + " images" : ""),
        r.data.sha256);
  for (const auto& [key, value] : r.settings) entry(m, key, value.empty() ? "(empty)" : value);
  entry(m, "seed", std::to_string(r.seed));
  entry(m, "version", r.version);
  entry(m, "runs", std::to_string(r.cost.forward) + " forward, " + std::to_string(r.cost.backward) + " backward");
  entry(m, "time", short_number(r.cost.seconds) + " s");
  if (r.cost.peak_bytes > 0) entry(m, "peak memory", bytes_text(r.cost.peak_bytes));
  m.close().open("p", {{"class", "note"}}).text("Everything on this page is also in ");
  link(m, "result.json");
  m.text(" and the files that it names.").close();
}

}  // namespace

std::string to_html(const Result& r) {
  Markup m;
  m.open("main").element("h1", r.study);
  for (const std::string& paragraph : r.texts()) m.element("p", paragraph);
  add_claims(m, r);
  add_numbers(m, r);
  add_curves(m, r);
  add_tables(m, r);
  add_pictures(m, r);
  add_origin(m, r);
  return html_page(r.study, m.close());
}

}  // namespace vitrine
