// Values of a network's inputs beside the main one: the same for all images, or one for each.
#pragma once

#include <span>
#include <vector>

#include "core/host/tensor.h"
#include "models/model.h"

namespace vitrine {

/// The value of one input.
struct GivenInput {
  std::size_t input = 0;  ///< place among Graph::inputs, which is the same in networks that are rewritten (rewrite.h)
  Images images;          ///< one value for all images of the main input, or one for each
};

/// The values of all inputs beside the main one. Empty for a network with one input.
class Given {
 public:
  Given() = default;
  /// Throws an Error unless every input beside the main one is there once, fits and is finite.
  Given(const Model&, std::vector<GivenInput>);
  bool empty() const noexcept { return inputs_.empty(); }
  /// Throws an Error unless there are values for that many images of the main input.
  void check_images(const Model&, std::int32_t images) const;
  /// Gives a session of this network, or of one that was rewritten from it, the values of these images for its next
  /// run: a batch of rows.size(). An image may occur several times.
  void give(Session&, std::span<const std::int32_t> rows) const;
  /// Likewise of the images [first, first + count).
  void give(Session&, std::int32_t first, std::int32_t count) const;

 private:
  std::vector<GivenInput> inputs_;
};

}  // namespace vitrine
