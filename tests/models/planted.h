// Networks with planted parameters: values that depend on a name and an index alone, the same in
// tests/golden/make_state_dicts.py.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "models/model.h"

namespace vitrine::test {

inline std::uint64_t fnv(const std::string& text) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

inline std::vector<real> planted(const std::string& name, const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1, fan_in = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    n *= shape[d];
    if (d > 0) fan_in *= shape[d];
  }
  std::vector<real> out;
  out.reserve(static_cast<std::size_t>(n));
  const std::uint64_t first = fnv(name);
  for (std::int64_t k = 1; k <= n; ++k) {
    std::uint64_t z = first + 0x9E3779B97F4A7C15u * static_cast<std::uint64_t>(k);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    const double u = static_cast<double>(z >> 40) / 16777216.0;
    const double v = name == "image"                 ? 2 * u - 1
                     : name.ends_with("running_var") ? 0.75 + 0.5 * u
                     : shape.size() > 1              ? (2 * u - 1) * std::sqrt(6.0 / static_cast<double>(fan_in))
                     : name.ends_with("weight")      ? 0.5 + u
                                                     : 0.2 * (u - 0.5);
    out.push_back(static_cast<real>(v));
  }
  return out;
}

inline std::vector<std::int64_t> file_shape(const Value& v) {
  std::vector<std::int64_t> shape;
  for (std::uint8_t d = 0; d < v.rank; ++d) shape.push_back(v.shape.d[d]);
  return shape;
}

inline void plant(Model& model) {
  for (const Value& v : model.graph().values) {
    if (v.kind != ValueKind::parameter) continue;
    const std::vector<real> values = planted(v.name, file_shape(v));
    std::copy(values.begin(), values.end(), model.parameters.begin() + v.offset);
  }
}

}  // namespace vitrine::test
