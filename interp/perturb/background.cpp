#include "interp/perturb/background.h"

#include <algorithm>

#include "core/host/error.h"
#include "core/host/text.h"

namespace vitrine {

Images background_set(const BaselineChoice& choice, const Shape& image, const std::string& owner) {
  if (!choice.images) {
    if (choice.kind != "zero")
      throw Error(owner + ": --baseline takes a .npy file, whose rows are the background set", Error::usage);
    return {image, std::vector<real>(static_cast<std::size_t>(image.size()), real{0})};
  }
  if (choice.images->shape.with_batch(1) != image)
    throw Error(owner + ": the background has shape " + text(choice.images->shape) + ", but the network takes (N," +
                text(image).substr(3));
  return *choice.images;
}

Images repeated_row(const Images& set, std::int32_t row, std::int32_t images) {
  const std::int64_t each = set.shape.per_image();
  Images out{set.shape.with_batch(images), {}};
  for (std::int32_t n = 0; n < images; ++n)
    out.data.insert(out.data.end(), set.data.begin() + row * each, set.data.begin() + (row + 1) * each);
  return out;
}

}  // namespace vitrine
