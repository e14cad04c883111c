// Planes of numbers at another extent, in double precision.
#pragma once

#include <cstdint>
#include <vector>

namespace vitrine {

/// One plane of h x w at the extent H x W: bilinear between half-pixel centres, clamped at the borders; or the nearest
/// below.
std::vector<double> resize_plane(const std::vector<double>& from, std::int32_t h, std::int32_t w, std::int32_t H,
                                 std::int32_t W, bool bilinear);

}  // namespace vitrine
