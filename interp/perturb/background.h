// A background set: images that stand for "anything else", over which expectations are taken.
#pragma once

#include <string>

#include "interp/perturb/baseline.h"

namespace vitrine {

/// The rows of the choice's images, or one black image. An Error if they are not of the network's input `image`; a
/// usage Error if the choice is mean or blur, which differ per image. Errors begin with `owner`.
Images background_set(const BaselineChoice&, const Shape& image, const std::string& owner);

/// Row `row` of the set, for each of `images`.
Images repeated_row(const Images& set, std::int32_t row, std::int32_t images);

}  // namespace vitrine
