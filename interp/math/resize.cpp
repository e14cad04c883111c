#include "interp/math/resize.h"

#include <algorithm>

namespace vitrine {

std::vector<double> resize_plane(const std::vector<double>& from, std::int32_t h, std::int32_t w, std::int32_t H,
                                 std::int32_t W, bool bilinear) {
  std::vector<double> to(static_cast<std::size_t>(H) * static_cast<std::size_t>(W));
  const auto at = [&](std::int32_t y, std::int32_t x) {
    return from[static_cast<std::size_t>(std::clamp(y, 0, h - 1)) * static_cast<std::size_t>(w) +
                static_cast<std::size_t>(std::clamp(x, 0, w - 1))];
  };
  for (std::int32_t Y = 0; Y < H; ++Y)
    for (std::int32_t X = 0; X < W; ++X) {
      double& out = to[static_cast<std::size_t>(Y) * static_cast<std::size_t>(W) + static_cast<std::size_t>(X)];
      if (!bilinear) {
        out =
            at(static_cast<std::int32_t>(std::int64_t{Y} * h / H), static_cast<std::int32_t>(std::int64_t{X} * w / W));
        continue;
      }
      const double y = std::max(0.0, (Y + 0.5) * h / H - 0.5), x = std::max(0.0, (X + 0.5) * w / W - 0.5);
      const auto y0 = static_cast<std::int32_t>(y), x0 = static_cast<std::int32_t>(x);
      const double fy = y - y0, fx = x - x0;
      out = (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x0 + 1)) +
            fy * ((1 - fx) * at(y0 + 1, x0) + fx * at(y0 + 1, x0 + 1));
    }
  return to;
}

}  // namespace vitrine
