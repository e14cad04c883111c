#include "interp/perturb/segments.h"

#include <cmath>
#include <map>
#include <span>

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

namespace {

// Segments of one image, whose numbers are `values`.
Segments segments_of(const std::string& path, const Shape& image, std::span<const float> values) {
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

}  // namespace

std::vector<Segments> read_segments_of_images(const std::string& path, const Shape& image) {
  const io::NpyArray array = io::read_npy(path);
  const bool stacked = array.shape.size() == 3;
  const std::vector<std::int64_t> plane(array.shape.begin() + (stacked ? 1 : 0), array.shape.end());
  if (plane != std::vector<std::int64_t>{image.h(), image.w()} || array.size() == 0)
    throw Error(path + ": has shape " + text(array.shape) + ", expected (" + std::to_string(image.h()) + "," +
                std::to_string(image.w()) + ") or (N," + std::to_string(image.h()) + "," + std::to_string(image.w()) +
                "), one segment number per pixel");
  const std::vector<float> values = array.floats();
  const auto each = static_cast<std::size_t>(image.pixels());
  std::vector<Segments> all;
  for (std::size_t at = 0; at < values.size(); at += each)
    all.push_back(segments_of(path, image, std::span(values).subspan(at, each)));
  return all;
}

Segments read_segments(const std::string& path, const Shape& image) {
  const std::vector<Segments> all = read_segments_of_images(path, image);
  if (all.size() > 1)
    throw Error(path + ": has segments of " + std::to_string(all.size()) + " images, expected those of one");
  return all[0];
}

}  // namespace vitrine
