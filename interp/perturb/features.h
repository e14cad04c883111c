// What a call's images are divided into, and what stands in for a part that is absent.
#pragma once

#include <string>
#include <vector>

#include "core/host/tensor.h"
#include "interp/perturb/segments.h"
#include "interp/settings.h"

namespace vitrine {

/// The features of the images of a call: the same for all, or those of each image.
class Features {
 public:
  /// pixels | grid:H,W (cells in pixels) | FILE.npy (whole numbers (H,W), or (N,H,W) for N images); empty: a grid of
  /// cells of an eighth of the height. A usage Error says what was expected.
  static Features parse(const Shape& image, const std::string& text);
  /// Of the image with that number in the call; an Error if the file has none for it.
  const Segments& of(std::int64_t image) const;

 private:
  std::string text_;
  std::vector<Segments> each_;
};

/// What replaces absent features: zero, mean (each channel's over the image), blur, segment-mean (each segment's mean
/// colour), or a number.
class Fill {
 public:
  /// Reads setting `fill`.
  explicit Fill(const Settings&);
  /// An image of x's shape, one image.
  Images of(const TensorView& x, const Segments&) const;

 private:
  std::string kind_;
  real value_ = 0;
};

}  // namespace vitrine
