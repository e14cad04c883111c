#include "interp/result/write.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/host/error.h"
#include "core/host/io/file.h"
#include "core/host/io/npy.h"
#include "core/host/utf8.h"
#include "interp/render/chart.h"

namespace vitrine {
namespace {

using Json = nlohmann::ordered_json;

// Whole numbers up to 2^53 without ".0": 120 images, not 120.0.
Json number(double v) {
  if (!std::isfinite(v)) return nullptr;
  const bool whole = v == std::trunc(v) && std::abs(v) <= 0x1p53 && !(v == 0 && std::signbit(v));
  return whole ? Json(static_cast<std::int64_t>(v)) : Json(v);
}

Json numbers(const std::vector<double>& values) {
  Json out = Json::array();
  for (const double v : values) out.push_back(number(v));
  return out;
}

Json texts(const std::vector<std::string>& values) {
  Json out = Json::array();
  for (const std::string& v : values) out.push_back(utf8::valid(v));
  return out;
}

Json to_json(const Measure& m) {
  return {{"value", number(m.value)}, {"n", m.n}, {"low", number(m.low)}, {"high", number(m.high)}};
}

Json to_json(const Table& t) {
  Json rows = Json::array();
  for (const std::vector<Cell>& row : t.rows) {
    Json cells = Json::array();
    for (const Cell& c : row) {
      const auto* const text = std::get_if<std::string>(&c.value);
      cells.push_back(text != nullptr ? Json(utf8::valid(*text)) : number(std::get<double>(c.value)));
    }
    rows.push_back(std::move(cells));
  }
  Json out = {{"columns", texts(t.columns)}, {"rows", std::move(rows)}};
  if (!t.note.empty()) out["note"] = utf8::valid(t.note);
  return out;
}

constexpr const char* marks[] = {"lines", "points", "bars"};

Json to_json(const Curve& c) {
  Json series = Json::array();
  for (const Series& s : c.series) {
    Json one = {{"name", utf8::valid(s.name)}, {"x", numbers(s.x)}, {"y", numbers(s.y)}};
    if (!s.low.empty()) one["low"] = numbers(s.low);
    if (!s.high.empty()) one["high"] = numbers(s.high);
    series.push_back(std::move(one));
  }
  return {{"title", utf8::valid(c.title)},
          {"x_label", utf8::valid(c.x_label)},
          {"y_label", utf8::valid(c.y_label)},
          {"mark", marks[c.mark]},
          {"series", std::move(series)}};
}

Json to_json(const Claim& c) {
  return {{"statement", utf8::valid(c.statement)},
          {"value", number(c.value)},
          {"threshold", number(c.threshold)},
          {"holds", c.holds}};
}

// What holds no lists or objects on one line (of objects, short ones only): for people, and for line-wise differences.
void print(std::string& out, const Json& json, std::size_t depth) {
  const auto plain = [](const Json& element) { return !element.is_structured(); };
  if (std::all_of(json.begin(), json.end(), plain)) {
    const std::string line = json.dump();
    if (!json.is_object() || line.size() < 100) {
      out += line;
      return;
    }
  }
  const std::string indent(depth + 1, ' ');
  out += json.is_array() ? "[\n" : "{\n";
  std::size_t left = json.size();
  for (const auto& item : json.items()) {
    out += indent;
    if (json.is_object()) out += Json(item.key()).dump() + ": ";
    print(out, item.value(), depth + 1);
    out += --left > 0 ? ",\n" : "\n";
  }
  out += std::string(depth, ' ') + (json.is_array() ? "]" : "}");
}

template <class T, class F>
Json by_name(const Result::Named<T>& entries, F&& entry_of) {
  Json out = Json::object();
  for (const auto& [name, entry] : entries) out[name] = entry_of(name, entry);
  return out;
}

void write_text(const std::string& path, const std::string& text) {
  io::AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

// The field of a CSV file, in quotes if it holds what separates fields or quotes.
std::string csv_field(const std::string& text) {
  const std::string clean = utf8::printable(text);
  if (clean.find_first_of(",\"\n") == std::string::npos) return clean;
  std::string out = "\"";
  for (const char c : clean) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string csv_field(double v) {
  if (!std::isfinite(v)) return "";
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, v).ptr};
}

std::string joined(const std::vector<std::string>& paragraphs) {
  std::string out;
  for (const std::string& p : paragraphs) out += (out.empty() ? "" : "\n") + utf8::printable(p) + "\n";
  return out;
}

}  // namespace

std::string to_json(const Result& r) {
  Json settings = Json::object();
  for (const auto& [key, value] : r.settings) settings[utf8::valid(key)] = utf8::valid(value);
  Json claims = Json::array();
  for (const Claim& c : r.claims()) claims.push_back(to_json(c));
  const auto plain = [](const std::string&, const auto& entry) { return to_json(entry); };
  const Json out = {
      {"schema", "vitrine-result/1"},
      {"study", utf8::valid(r.study)},
      {"settings", std::move(settings)},
      {"seed", r.seed},
      {"version", utf8::valid(r.version)},
      {"model", {{"file", utf8::valid(r.model.file)}, {"sha256", utf8::valid(r.model.sha256)}}},
      {"data", {{"spec", utf8::valid(r.data.spec)}, {"sha256", utf8::valid(r.data.sha256)}, {"n", r.data.n}}},
      {"numbers", by_name(r.numbers(), plain)},
      {"tables", by_name(r.tables(), plain)},
      {"curves", by_name(r.curves(), plain)},
      {"maps", by_name(r.maps(),
                       [](const std::string& name, const Array& a) {
                         return Json{{"file", name + ".npy"}, {"shape", a.shape}};
                       })},
      {"pictures", by_name(r.pictures(),
                           [](const std::string& name, const Picture& p) {
                             return Json{{"file", name + ".png"}, {"width", p.width()}, {"height", p.height()}};
                           })},
      {"claims", std::move(claims)},
      {"cost",
       {{"forward", r.cost.forward},
        {"backward", r.cost.backward},
        {"seconds", number(r.cost.seconds)},
        {"peak_bytes", r.cost.peak_bytes}}}};
  std::string text;
  print(text, out, 0);
  return text + "\n";
}

std::string to_csv(const Table& t) {
  std::string out;
  for (std::size_t c = 0; c < t.columns.size(); ++c) out += (c > 0 ? "," : "") + csv_field(t.columns[c]);
  out += "\r\n";
  for (const std::vector<Cell>& row : t.rows) {
    for (std::size_t c = 0; c < row.size(); ++c)
      out += (c > 0 ? "," : "") + std::visit([](const auto& v) { return csv_field(v); }, row[c].value);
    out += "\r\n";
  }
  return out;
}

void write_result(const Result& r, const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(folder + ": cannot be made: " + error.message());
  const auto path = [&](const std::string& name) { return (fs::path(folder) / name).string(); };
  // From here on until the end the folder is incomplete, and says so.
  for (const char* const stale : {"result.json", "text.txt"}) {
    fs::remove(path(stale), error);
    if (error) throw Error(path(stale) + ": cannot be replaced: " + error.message());
  }
  for (const auto& [name, a] : r.maps()) io::write_npy(path(name + ".npy"), a.shape, a.data.data());
  for (const auto& [name, t] : r.tables()) write_text(path(name + ".csv"), to_csv(t));
  for (const auto& [name, p] : r.pictures()) p.save_png(path(name + ".png"));
  for (const auto& [name, c] : r.curves()) write_text(path(name + ".svg"), svg_file(curve_chart(c)));
  if (!r.texts().empty()) write_text(path("text.txt"), joined(r.texts()));
  write_text(path("index.html"), to_html(r));
  write_text(path("result.json"), to_json(r));
}

}  // namespace vitrine
