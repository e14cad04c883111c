#include "interp/result/result.h"

#include <algorithm>

#include "core/host/error.h"
#include "core/host/text.h"

namespace vitrine {
namespace {

constexpr std::size_t name_limit = 120;

bool safe_character(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '-' || c == '+';
}

// A name as a message shows it: it may hold anything, and be long.
std::string quoted(const std::string& name) {
  std::string shown;
  for (const char c : name.substr(0, name_limit)) shown += c >= ' ' && c <= '~' ? c : '?';
  return "'" + shown + (name.size() > name_limit ? "...'" : "'");
}

}  // namespace

bool safe_name(const std::string& name) noexcept {
  return !name.empty() && name.size() <= name_limit && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), safe_character);
}

std::string make_safe_name(const std::string& text) {
  std::string name = text.substr(0, name_limit);
  for (char& c : name)
    if (!safe_character(c)) c = '-';
  name.erase(0, std::min(name.find_first_not_of(".-"), name.size()));
  return name.empty() ? "unnamed" : name;
}

void Table::add(std::vector<Cell> row) {
  if (row.size() != columns.size())
    throw Error("a row of " + std::to_string(row.size()) + " cells was added to a table of " +
                std::to_string(columns.size()) + " columns");
  rows.push_back(std::move(row));
}

template <class T>
T& Result::add(Named<T>& entries, const char* kind, const std::string& name, T entry) {
  if (!safe_name(name))
    throw Error("result: " + quoted(name) + " cannot be a " + kind +
                "'s name: expected 1 to 120 of the characters A-Z a-z 0-9 . _ - + and no . or - as the first");
  for (const auto& [other, _] : entries)
    if (other == name) throw Error("result: has two " + std::string(kind) + "s by the name " + quoted(name));
  return entries.emplace_back(name, std::move(entry)).second;
}

template <class T>
const T& Result::find(const Named<T>& entries, const char* kind, const std::string& name) const {
  for (const auto& [other, entry] : entries)
    if (other == name) return entry;
  throw Error("result: has no " + std::string(kind) + " by the name " + quoted(name));
}

void Result::number(const std::string& name, const Measure& m) { add(numbers_, "number", name, m); }

Table& Result::table(const std::string& name, std::vector<std::string> columns) {
  if (columns.empty()) throw Error("result: the table " + quoted(name) + " has no columns");
  return add(tables_, "table", name, Table{std::move(columns), {}, {}});
}

void Result::curve(const std::string& name, Curve c) {
  for (const Series& s : c.series) {
    const auto fits = [&](const std::vector<double>& v) { return v.empty() || v.size() == s.x.size(); };
    if (s.y.size() != s.x.size() || !fits(s.low) || !fits(s.high) || s.low.empty() != s.high.empty())
      throw Error("result: a series of the curve " + quoted(name) + " has x, y, low, high of " +
                  std::to_string(s.x.size()) + ", " + std::to_string(s.y.size()) + ", " + std::to_string(s.low.size()) +
                  ", " + std::to_string(s.high.size()) +
                  " numbers, expected as many of each (low and high may be empty)");
  }
  add(curves_, "curve", name, std::move(c));
}

void Result::map(const std::string& name, Array a) {
  std::size_t count = 1;
  bool good = true;
  for (const std::int64_t d : a.shape) {
    good = good && d >= 0 && (d == 0 || count <= (std::size_t{1} << 48) / static_cast<std::size_t>(d));
    if (good) count *= static_cast<std::size_t>(d);
  }
  if (!good || count != a.data.size())
    throw Error("result: the map " + quoted(name) + " has " + std::to_string(a.data.size()) +
                " numbers for a shape of " + vitrine::text(a.shape));
  add(maps_, "map", name, std::move(a));
}

void Result::picture(const std::string& name, Picture p) { add(pictures_, "picture", name, std::move(p)); }

void Result::text(const std::string& paragraphs) {
  // Kept as paragraphs without empty lines, so that a file of them can be read back.
  std::string paragraph;
  for (std::size_t at = 0; at <= paragraphs.size();) {
    const std::size_t end = std::min(paragraphs.find('\n', at), paragraphs.size());
    const std::string line = paragraphs.substr(at, end - at);
    const bool empty = line.find_first_not_of(" \t\r") == std::string::npos;
    if (!empty) paragraph += (paragraph.empty() ? "" : "\n") + line;
    if ((empty || end == paragraphs.size()) && !paragraph.empty()) texts_.push_back(std::exchange(paragraph, ""));
    at = end + 1;
  }
}

void Result::claim(std::string statement, double value, double threshold, bool holds) {
  claims_.push_back({std::move(statement), value, threshold, holds && !std::isnan(value) && !std::isnan(threshold)});
}

const Measure& Result::number(const std::string& name) const { return find(numbers_, "number", name); }
const Table& Result::table(const std::string& name) const { return find(tables_, "table", name); }
const Curve& Result::curve(const std::string& name) const { return find(curves_, "curve", name); }
const Array& Result::map(const std::string& name) const { return find(maps_, "map", name); }
const Picture& Result::picture(const std::string& name) const { return find(pictures_, "picture", name); }

}  // namespace vitrine
