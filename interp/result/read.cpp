#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "core/host/error.h"
#include "core/host/io/file.h"
#include "core/host/io/image.h"
#include "core/host/io/npy.h"
#include "core/host/text.h"
#include "interp/result/write.h"

namespace vitrine {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t json_limit = std::size_t{1} << 30;

// A value of result.json with its place, so that every complaint names both the file and the key.
class Value {
 public:
  Value(const Json& json, std::string place) : json_(json), place_(std::move(place)) {}

  [[noreturn]] void bad(const std::string& what) const { throw Error(place_ + ": " + what); }
  [[noreturn]] void expected(const std::string& what) const {
    bad(std::string("is ") + json_.type_name() + ", expected " + what);
  }

  /// Checks that the object has the required keys, and of others only optional ones.
  void keys(std::initializer_list<const char*> required, std::initializer_list<const char*> optional = {}) const {
    if (!json_.is_object()) expected("an object");
    for (const char* const key : required)
      if (!json_.contains(key)) bad(std::string("lacks the key '") + key + "'");
    for (const auto& item : json_.items()) {
      const auto is = [&](const char* key) { return item.key() == key; };
      if (std::none_of(required.begin(), required.end(), is) && std::none_of(optional.begin(), optional.end(), is))
        bad("has an unknown key '" + shown(item.key()) + "'");
    }
  }
  bool has(const char* key) const { return json_.contains(key); }
  Value operator[](const char* key) const { return {json_.at(key), place_ + ": " + key}; }

  template <class F>
  void members(F&& use) const {
    if (!json_.is_object()) expected("an object");
    for (const auto& item : json_.items()) use(item.key(), Value(item.value(), place_ + ": " + shown(item.key())));
  }
  template <class F>
  void elements(F&& use) const {
    if (!json_.is_array()) expected("a list");
    std::size_t k = 0;
    for (const Json& element : json_) use(Value(element, place_ + "[" + std::to_string(k++) + "]"));
  }

  std::string text() const {
    if (!json_.is_string()) expected("a text");
    return json_.get<std::string>();
  }
  double number() const {
    if (json_.is_null()) return NAN;
    if (!json_.is_number()) expected("a number or null");
    return json_.get<double>();
  }
  std::int64_t count() const {
    if (json_.is_number_unsigned() && json_.get<std::uint64_t>() > std::uint64_t{INT64_MAX}) bad("is too large");
    if (!json_.is_number_integer() || json_.get<std::int64_t>() < 0) expected("a whole number of at least 0");
    return json_.get<std::int64_t>();
  }
  std::uint64_t seed() const {
    if (!json_.is_number_unsigned()) expected("a whole number of at least 0");
    return json_.get<std::uint64_t>();
  }
  bool truth() const {
    if (!json_.is_boolean()) expected("true or false");
    return json_.get<bool>();
  }
  Cell cell() const { return json_.is_string() ? Cell(text()) : Cell(number()); }
  std::vector<double> numbers() const {
    std::vector<double> out;
    elements([&](const Value& v) { out.push_back(v.number()); });
    return out;
  }

 private:
  // A key from the file as a message shows it.
  static std::string shown(const std::string& key) {
    std::string out;
    for (const char c : key.substr(0, 60)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return out;
  }

  const Json& json_;
  std::string place_;
};

// Parses with a complaint about keys that come twice, of which a JSON library keeps one in silence.
Json parse(const std::vector<std::byte>& bytes, const std::string& path) {
  std::vector<std::set<std::string>> open;
  std::string twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second)
      twice = value.get<std::string>();
    return true;
  };
  const auto* const text = reinterpret_cast<const char*>(bytes.data());
  Json json;
  try {
    json = Json::parse(text, text + bytes.size(), watch);
  } catch (const nlohmann::json::exception& e) {
    std::string why = e.what();
    for (char& c : why)
      if (c == '\n' || c == '\r') c = ' ';
    throw Error(path + ": is no JSON: " + why);
  }
  if (!twice.empty()) throw Error(path + ": has a key twice in one object: '" + twice + "'");
  return json;
}

Measure read_measure(const Value& v) {
  v.keys({"value", "n", "low", "high"});
  return {v["value"].number(), v["n"].count(), v["low"].number(), v["high"].number()};
}

void read_table(Result& r, const std::string& name, const Value& v) {
  v.keys({"columns", "rows"}, {"note"});
  std::vector<std::string> columns;
  v["columns"].elements([&](const Value& c) { columns.push_back(c.text()); });
  Table& table = r.table(name, std::move(columns));
  v["rows"].elements([&](const Value& row) {
    std::vector<Cell> cells;
    row.elements([&](const Value& c) { cells.push_back(c.cell()); });
    if (cells.size() != table.columns.size())
      row.bad("has " + std::to_string(cells.size()) + " cells, expected " + std::to_string(table.columns.size()));
    table.rows.push_back(std::move(cells));
  });
  if (v.has("note")) table.note = v["note"].text();
}

Curve read_curve(const Value& v) {
  v.keys({"title", "x_label", "y_label", "mark", "series"});
  Curve c{v["title"].text(), v["x_label"].text(), v["y_label"].text(), {}, Curve::lines};
  const std::string mark = v["mark"].text();
  if (mark != "lines" && mark != "points" && mark != "bars") v["mark"].bad("is none of lines, points, bars");
  c.mark = mark == "lines" ? Curve::lines : mark == "points" ? Curve::points : Curve::bars;
  v["series"].elements([&](const Value& s) {
    s.keys({"name", "x", "y"}, {"low", "high"});
    const auto optional = [&](const char* key) { return s.has(key) ? s[key].numbers() : std::vector<double>{}; };
    c.series.push_back({s["name"].text(), s["x"].numbers(), s["y"].numbers(), optional("low"), optional("high")});
  });
  return c;
}

// The file of an entry: always its name with an ending, so that no result.json points out of its folder.
std::string file_of(const Value& v, const std::string& name, const char* ending, const std::string& folder) {
  if (v["file"].text() != name + ending || !safe_name(name))
    v["file"].bad("is not '" + make_safe_name(name) + ending + "'");
  return (std::filesystem::path(folder) / (name + ending)).string();
}

Array read_map(const Value& v, const std::string& name, const std::string& folder) {
  v.keys({"file", "shape"});
  Array a;
  v["shape"].elements([&](const Value& d) { a.shape.push_back(d.count()); });
  const std::string path = file_of(v, name, ".npy", folder);
  const io::NpyArray array = io::read_npy(path);
  if (array.kind != 'f' || array.bytes != 4) throw Error(path + ": is not of 32-bit floats");
  if (array.shape != a.shape)
    throw Error(path + ": has the shape " + text(array.shape) + ", expected " + text(a.shape) + " by result.json");
  a.data = array.floats();
  return a;
}

Picture read_picture(const Value& v, const std::string& name, const std::string& folder) {
  v.keys({"file", "width", "height"});
  const std::string path = file_of(v, name, ".png", folder);
  const io::Image image = io::read_image(path, 3);
  if (image.w != v["width"].count() || image.h != v["height"].count())
    throw Error(path + ": has " + std::to_string(image.w) + " x " + std::to_string(image.h) + " pixels, expected " +
                std::to_string(v["width"].count()) + " x " + std::to_string(v["height"].count()) + " by result.json");
  return Picture(image.w, image.h, image.pixels);
}

void read_head(Result& r, const Value& v) {
  v.keys({"schema", "study", "settings", "seed", "version", "model", "data", "numbers", "tables", "curves", "maps",
          "pictures", "claims", "cost"});
  r.study = v["study"].text();
  v["settings"].members([&](const std::string& key, const Value& value) { r.settings[key] = value.text(); });
  r.seed = v["seed"].seed();
  r.version = v["version"].text();
  v["model"].keys({"file", "sha256"});
  r.model = {v["model"]["file"].text(), v["model"]["sha256"].text()};
  v["data"].keys({"spec", "sha256", "n"});
  r.data = {v["data"]["spec"].text(), v["data"]["sha256"].text(), v["data"]["n"].count()};
  v["cost"].keys({"forward", "backward", "seconds", "peak_bytes"});
  r.cost = {v["cost"]["forward"].count(), v["cost"]["backward"].count(), v["cost"]["seconds"].number(),
            static_cast<std::size_t>(v["cost"]["peak_bytes"].count())};
}

Result read(const std::string& folder, const std::string& path) {
  const Json json = parse(io::read_file(path, json_limit), path);
  const Value v(json, path);
  if (!json.is_object() || !json.contains("schema") || json["schema"] != "vitrine-result/1")
    v.bad("is no result: its schema is not 'vitrine-result/1'");
  Result r;
  read_head(r, v);
  v["numbers"].members([&](const std::string& name, const Value& m) { r.number(name, read_measure(m)); });
  v["tables"].members([&](const std::string& name, const Value& t) { read_table(r, name, t); });
  v["curves"].members([&](const std::string& name, const Value& c) { r.curve(name, read_curve(c)); });
  v["maps"].members([&](const std::string& name, const Value& m) { r.map(name, read_map(m, name, folder)); });
  v["pictures"].members(
      [&](const std::string& name, const Value& p) { r.picture(name, read_picture(p, name, folder)); });
  v["claims"].elements([&](const Value& c) {
    c.keys({"statement", "value", "threshold", "holds"});
    const double value = c["value"].number(), threshold = c["threshold"].number();
    if (c["holds"].truth() && (std::isnan(value) || std::isnan(threshold))) c.bad("holds without a value");
    r.claim(c["statement"].text(), value, threshold, c["holds"].truth());
  });
  const std::string prose = (std::filesystem::path(folder) / "text.txt").string();
  if (std::filesystem::exists(prose)) {
    const std::vector<std::byte> bytes = io::read_file(prose);
    r.text(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  return r;
}

}  // namespace

Result read_result(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "result.json").string();
  try {
    return read(folder, path);
  } catch (const Error& e) {
    // What Result itself refuses (names, lengths) does not know from which file it came.
    const std::string sentence = e.what();
    throw Error(sentence.starts_with("result: ") ? path + sentence.substr(6) : sentence, e.kind());
  }
}

}  // namespace vitrine
