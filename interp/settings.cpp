#include "interp/settings.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace vitrine {
namespace {

bool listed(const std::string& value, const std::string& choices) {
  return !value.empty() && value.find('|') == std::string::npos &&
         ("|" + choices + "|").find("|" + value + "|") != std::string::npos;
}

std::string plain(double v) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
  return {buffer, end};
}

bool parse_list(const std::string& text, std::vector<float>& out) {
  out.clear();
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find_first_of(",;", at), text.size());
    double v = 0;
    if (!parse_number(text.substr(at, end - at), v)) return false;
    out.push_back(static_cast<float>(v));
    at = end + 1;
  }
  return !out.empty();
}

}  // namespace

bool parse_number(const std::string& text, double& value) {
  const char* begin = text.data();
  const char* const end = begin + text.size();
  if (begin != end && *begin == '+') ++begin;
  const auto [rest, error] = std::from_chars(begin, end, value);
  return error == std::errc{} && rest == end && std::abs(value) <= std::numeric_limits<float>::max();
}

Settings::Settings(std::string owner, std::span<const Setting> declared,
                   const std::map<std::string, std::string>& given)
    : owner_(std::move(owner)), declared_(declared) {
  for (const Setting& s : declared) values_[s.name] = s.initial;
  for (const auto& [key, value] : given)
    if (!given_.emplace(find(key).name, value).second)
      throw Error(owner_ + ": '" + find(key).name + "' is set twice ('" + find(key).alias + "' is another name of it)",
                  Error::usage);
  for (const auto& [key, value] : given_) {
    const Setting& s = find(key);
    double v = 0;
    std::vector<float> list;
    switch (s.kind) {
      case Setting::integer:
        if (!parse_number(value, v) || v != std::floor(v) || v < s.low || v > s.high)
          refuse(key, "a whole number" + (s.high < 1e300 ? " from " + plain(s.low) + " to " + plain(s.high)
                                                         : " of at least " + plain(s.low)));
        break;
      case Setting::number:
        if (!parse_number(value, v) || v < s.low || v > s.high)
          refuse(key, s.low > -1e300 ? "a number" + (s.high < 1e300 ? " from " + plain(s.low) + " to " + plain(s.high)
                                                                    : " of at least " + plain(s.low))
                                     : "a number");
        break;
      case Setting::numbers:
        if (!parse_list(value, list)) refuse(key, "a number, or one a channel separated by ';'");
        break;
      case Setting::choice:
        if (!listed(value, s.choices)) refuse(key, s.choices);
        break;
      case Setting::text:
        break;
    }
    values_[key] = value;
  }
}

const Setting& Settings::find(const std::string& key) const {
  std::string known;
  for (const Setting& s : declared_) {
    if (key == s.name || (s.alias[0] != '\0' && key == s.alias)) return s;
    known += (known.empty() ? "" : ", ") + std::string(s.name);
  }
  throw Error(owner_ + " has no setting '" + key + "': " + (known.empty() ? "it has none" : "expected " + known),
              Error::usage);
}

void Settings::refuse(const std::string& key, const std::string& expected) const {
  const auto it = given_.find(key);
  throw Error(owner_ + ": setting " + key + "=" + (it != given_.end() ? it->second : values_.at(key)) + ": expected " +
                  expected,
              Error::usage);
}

std::int64_t Settings::integer(const std::string& key) const { return static_cast<std::int64_t>(number(key)); }

double Settings::number(const std::string& key) const {
  double v = 0;
  if (!parse_number(values_.at(key), v)) refuse(key, "a number");
  return v;
}

std::vector<float> Settings::numbers(const std::string& key) const {
  std::vector<float> out;
  if (!values_.at(key).empty()) parse_list(values_.at(key), out);
  return out;
}

const std::string& Settings::text(const std::string& key) const { return values_.at(key); }

std::map<std::string, std::string> parse_settings(const std::string& owner, const std::string& list) {
  std::map<std::string, std::string> out;
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const std::string pair = list.substr(at, end - at);
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(owner + ": '" + pair + "' is not key=value", Error::usage);
    if (!out.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second)
      throw Error(owner + ": '" + pair.substr(0, equals) + "' is set twice", Error::usage);
    at = end + 1;
  }
  return out;
}

}  // namespace vitrine
