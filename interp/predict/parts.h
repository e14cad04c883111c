// Explanations of any number of images in bounded memory. Images are explained in parts of a fixed size, each by
// itself, so that a part's bytes do not depend on who makes it: one call, several shards, or a call that continues
// another.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "interp/predict/explain.h"
#include "interp/result/part_file.h"
#include "models/data/source.h"

namespace vitrine {

/// How images are cut into parts: at most 64 each, fewer if they are so large that these would take more than 64 MB.
struct Parts {
  std::int64_t images, per_part;
  Parts(std::int64_t images, const Shape& image);
  std::int64_t count() const noexcept { return (images + per_part - 1) / per_part; }
  std::int64_t first(std::int64_t part) const noexcept { return part * per_part; }
  std::int64_t size(std::int64_t part) const noexcept { return std::min(per_part, images - first(part)); }
};

/// A share of the parts: index, index + of, ...
struct Shard {
  std::int64_t index = 0, of = 1;
};

using UsePart = std::function<void(std::int64_t part, const Images&, const Explanation&)>;

/// Explains the first `images` of the source (0: all), part by part in order, and calls `use` for each.
void explain_in_parts(Subject&, const ExplainRequest&, data::ImageSource&, std::int64_t images, const Job&,
                      const UsePart& use);

/// Likewise into a folder (interp/result/part_file.h), of this shard's parts those that are not complete there. `use`
/// may be empty. An Error if the folder holds parts of another network, input, method or settings.
void explain_to_folder(Subject&, const ExplainRequest&, data::ImageSource&, std::int64_t images,
                       const std::string& folder, Shard, const Job&, const UsePart& use = {});

/// The relevance in the order of the source's file.
std::vector<float> in_file_order(const data::ImageSource&, const Explanation&);

}  // namespace vitrine
