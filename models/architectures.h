// The networks that `vitrine train MODEL` knows, by name. Node names follow torchvision's state dicts, so that weights
// and questions carry over.
#pragma once

#include <span>
#include <string>

#include "layers/init.h"
#include "models/model.h"

namespace vitrine {

/// What a network is built with, and what it tells of itself.
struct Network {
  GraphBuilder& g;
  int classes;
  bool with_auxiliary = true;  ///< GoogLeNet's heads for training
  std::vector<Model::AuxiliaryHead> auxiliary{};
};

struct Architecture {
  const char* name;
  const char* summary;
  Shape usual;  ///< the input it was described with; others are accepted where they fit
  int usual_classes;
  std::int64_t parameters;  ///< published: of the usual input and classes, without auxiliary heads
  const char* classifier;   ///< node of the last linear layer
  Initialiser initialiser;
  Id (*body)(Network&, Id input);
};

std::span<const Architecture> architectures() noexcept;

/// The architecture of that name ('_' and '-' are the same); a usage Error lists the known ones.
const Architecture& find_architecture(const std::string& name);

/// The network for images of this shape and this many classes.
/// Its parameters are 0.
Model build_model(const Architecture&, Shape image, int classes, bool with_auxiliary = true);
/// Its parameters are the architecture's initial ones.
Model make_model(const std::string& architecture, Shape image, int classes, std::uint64_t seed,
                 bool with_auxiliary = true);

}  // namespace vitrine
