#include "interp/perturb/segments.h"

#include <cmath>
#include <map>

#include "core/host/error.h"
#include "core/host/io/npy.h"
#include "core/host/text.h"

namespace vitrine {

Segments grid_segments(const Shape& image, std::int32_t rows, std::int32_t columns) {
  Segments s{image.h(), image.w(), 0, {}};
  const std::int32_t across = (image.w() + columns - 1) / columns, down = (image.h() + rows - 1) / rows;
  s.count = across * down;
  for (std::int32_t y = 0; y < s.height; ++y)
    for (std::int32_t x = 0; x < s.width; ++x) s.label.push_back(y / rows * across + x / columns);
  return s;
}

Segments read_segments(const std::string& path, const Shape& image) {
  const io::NpyArray array = io::read_npy(path);
  if (array.shape != std::vector<std::int64_t>{image.h(), image.w()})
    throw Error(path + ": has shape " + text(array.shape) + ", expected (" + std::to_string(image.h()) + "," +
                std::to_string(image.w()) + "), one segment number per pixel");
  const std::vector<float> values = array.floats();
  std::map<std::int64_t, std::int32_t> numbers;
  for (const float v : values) {
    if (!(std::abs(v) < 16777216.0f) || v != std::floor(v))
      throw Error(path + ": holds " + std::to_string(v) + ", expected whole segment numbers");
    numbers.emplace(static_cast<std::int64_t>(v), 0);
  }
  if (numbers.size() < 2) throw Error(path + ": has one segment alone, expected at least two");
  Segments s{image.h(), image.w(), 0, {}};
  for (auto& [value, number] : numbers) number = s.count++;
  for (const float v : values) s.label.push_back(numbers.at(static_cast<std::int64_t>(v)));
  return s;
}

}  // namespace vitrine
