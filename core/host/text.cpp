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

namespace {

// How many bytes of a character in UTF-8 begin there; 0 if none does.
std::size_t character(const std::string& s, std::size_t at) {
  const auto byte = [&](std::size_t k) { return at + k < s.size() ? static_cast<unsigned char>(s[at + k]) : 0u; };
  const unsigned lead = byte(0);
  const std::size_t bytes = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  for (std::size_t k = 1; k < bytes; ++k)
    if ((byte(k) & 0xc0) != 0x80) return 0;
  return bytes;
}

}  // namespace

std::string printable(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = character(text, at);
    const auto first = static_cast<unsigned char>(text[at]);
    // The controls after 0x7f are two bytes, of which the first is 0xc2.
    const bool control = first < 0x20 || first == 0x7f || (first == 0xc2 && bytes == 2 && (text[at + 1] & 0x60) == 0);
    if (bytes > 0 && !control) {
      out.append(text, at, bytes);
      at += bytes;
      continue;
    }
    for (std::size_t end = at + std::max<std::size_t>(bytes, 1); at < end; ++at) {
      constexpr const char* digits = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(text[at]);
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return out;
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
