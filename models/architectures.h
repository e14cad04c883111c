// The networks that `vitrine train MODEL` knows, by name. Node names follow torchvision's habit, so that weights and
// questions carry over.
#pragma once

#include <span>
#include <string>

#include "layers/init.h"
#include "models/model.h"

namespace vitrine {

struct Architecture {
  const char* name;
  const char* summary;
  Shape usual;               ///< the input it was described with; others are accepted where they fit
  Initialiser initialiser;
  Id (*body)(GraphBuilder&, Id input, int classes);
};

std::span<const Architecture> architectures() noexcept;

/// The architecture of that name; a usage Error lists the known ones.
const Architecture& find_architecture(const std::string& name);

/// The network for images of this shape and this many classes, with initial parameters.
Model make_model(const std::string& architecture, Shape image, int classes, std::uint64_t seed);

}  // namespace vitrine
