#include "models/prepare.h"

#include <algorithm>
#include <cmath>

namespace vitrine {

io::Image fit(const io::Image& image, int w, int h, int shorter) {
  if (image.w == w && image.h == h) return image;
  if (shorter <= 0) return io::resize(image, w, h);
  // torchvision's Resize and CenterCrop: the longer side is rounded down, a half pixel of the centre to the even one.
  const auto longer = [&](int side, int other) { return static_cast<int>(std::int64_t{shorter} * side / other); };
  const int wide = std::max(w, image.w <= image.h ? shorter : longer(image.w, image.h));
  const int high = std::max(h, image.h <= image.w ? shorter : longer(image.h, image.w));
  if (std::int64_t{wide} * high > io::pixel_limit)
    throw Error("a picture of " + std::to_string(image.w) + " x " + std::to_string(image.h) +
                " pixels is too narrow: with a shorter side of " + std::to_string(shorter) + " it would have " +
                std::to_string(wide) + " x " + std::to_string(high) + ", expected at most " +
                std::to_string(io::pixel_limit) + " in all");
  const io::Image large = io::resize(image, wide, high);
  const int left = static_cast<int>(std::nearbyint((wide - w) / 2.0)),
            top = static_cast<int>(std::nearbyint((high - h) / 2.0));
  io::Image out{w, h, image.c, {}};
  for (int y = 0; y < h; ++y) {
    const auto row = large.pixels.begin() + (static_cast<std::ptrdiff_t>(top + y) * wide + left) * image.c;
    out.pixels.insert(out.pixels.end(), row, row + static_cast<std::ptrdiff_t>(w) * image.c);
  }
  return out;
}

void prepare(const InputPreparation& p, const io::Image& image, float* chw) {
  const std::int64_t pixels = std::int64_t{image.w} * image.h;
  for (std::int64_t c = 0; c < image.c; ++c)
    for (std::int64_t i = 0; i < pixels; ++i)
      chw[c * pixels + i] = static_cast<float>(image.pixels[static_cast<std::size_t>(i * image.c + c)]) / 255;
  prepare(p, {1, image.c, image.h, image.w}, chw);
}

void prepare(const InputPreparation& p, const Shape& s, float* chw) {
  const std::int64_t pixels = s.pixels();
  if (p.bgr)
    for (std::int32_t c = 0; c < s.c() / 2; ++c)
      std::swap_ranges(chw + c * pixels, chw + (c + 1) * pixels, chw + (s.c() - 1 - c) * pixels);
  for (std::size_t c = 0; c < p.mean.size(); ++c) {
    float* const plane = chw + static_cast<std::int64_t>(c) * pixels;
    for (std::int64_t i = 0; i < pixels; ++i) plane[i] = (plane[i] - p.mean[c]) / p.std[c];
  }
}

}  // namespace vitrine
