// Features of an image that are taken away or kept as one: each pixel belongs to one segment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/shape.h"

namespace vitrine {

struct Segments {
  std::int32_t height = 0, width = 0;
  std::int32_t count = 0;           ///< segments are numbered 0 to count - 1; none of them is empty
  std::vector<std::int32_t> label;  ///< height x width
};

/// Rectangles of `rows` x `columns` pixels from the top left corner; the last ones are cut at the borders.
Segments grid_segments(const Shape& image, std::int32_t rows, std::int32_t columns);

/// Whole numbers (H,W) of a .npy file, one per pixel of `image`, numbered anew in ascending order. An Error if the
/// shape is another one, if a number is not whole, or if there is one segment alone.
Segments read_segments(const std::string& path, const Shape& image);
/// Likewise of (N,H,W), one for each of N images; of (H,W): one for all.
std::vector<Segments> read_segments_of_images(const std::string& path, const Shape& image);

}  // namespace vitrine
