#include "core/host/text.h"

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

}  // namespace vitrine
