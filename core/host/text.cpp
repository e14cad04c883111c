#include "core/host/text.h"

#include <algorithm>
#include <cctype>
#include <numeric>

namespace vitrine {

std::string text(const Shape& s) {
  return "(" + std::to_string(s.n()) + "," + std::to_string(s.c()) + "," + std::to_string(s.h()) + "," +
         std::to_string(s.w()) + ")";
}

std::string text(std::span<const std::int64_t> dimensions) {
  std::string s = "(";
  for (std::size_t k = 0; k < dimensions.size(); ++k) {
    if (k > 0) s += ',';
    s += std::to_string(dimensions[k]);
  }
  return s + ')';
}

std::string sentence(const Failure& f) {
  std::string s = f.node[0] != '\0' ? std::string(f.node) + ": " : std::string();
  s += f.what[0] != '\0' ? f.what : name(f.status);
  if (f.status == Status::bad_shape) {
    s += ": found " + text(f.found);
    if (f.expected != f.found) s += ", expected " + text(f.expected);
  }
  return s;
}

std::string plain_name(const std::string& name) {
  std::string s = name;
  for (char& c : s) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return s;
}

namespace {

// Insertions, deletions and replacements from one text to the other.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& known) {
  if (name.size() > 100) return "";
  std::string best;
  std::size_t least = 1 + std::max<std::size_t>(1, name.size() / 3);
  for (const std::string& k : known)
    if (const std::size_t d = distance(name, k); d < least) least = d, best = k;
  return best;
}

}  // namespace vitrine
