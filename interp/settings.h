// Settings of methods and rules: declared once, with default and meaning; from that come parsing, checking, error
// sentences and the listing of `vitrine methods` and `vitrine rules`.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/host/error.h"

namespace vitrine {

struct Setting {
  enum Kind { integer, number, numbers, choice, text } kind;
  const char* name;
  const char* initial;  ///< default, as a user would write it; "" = chosen from the model or input
  const char* meaning;
  const char* choices = "";           ///< choice: separated by |
  double low = -1e300, high = 1e300;  ///< integer, number: allowed range
  const char* alias = "";             ///< another name that is understood (an older spelling); "" = none
};

class Settings {
 public:
  /// Checks every given value against the declarations; a usage Error names `owner` ("method lrp"), the key, what was
  /// found and what was expected. A setting may be given by its alias; all else here knows it by its name.
  Settings(std::string owner, std::span<const Setting> declared, const std::map<std::string, std::string>& given);

  std::int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  std::vector<float> numbers(const std::string& key) const;
  const std::string& text(const std::string& key) const;
  bool given(const std::string& key) const { return given_.contains(key); }
  bool declares(const std::string& key) const { return values_.contains(key); }
  const std::string& owner() const noexcept { return owner_; }
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

 private:
  const Setting& find(const std::string& key) const;
  std::string owner_;
  std::span<const Setting> declared_;
  std::map<std::string, std::string> given_, values_;
};

/// "a=1,b=2" as a map; `numbers` lists use ';' or ':' inside so that commas separate settings. Usage Error if
/// malformed.
std::map<std::string, std::string> parse_settings(const std::string& owner, const std::string& list);

/// A number within the range of float that is the whole text; false otherwise.
bool parse_number(const std::string& text, double& value);

}  // namespace vitrine
