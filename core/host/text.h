// Shapes and failures as people read them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/shape.h"
#include "core/status.h"

namespace vitrine {

/// "conv1: has a weight of another shape: found (6,1,5,5), expected (6,3,5,5)".
std::string sentence(const Failure&);
std::string text(const Shape&);
std::string text(std::span<const std::int64_t> dimensions);

/// How a name is looked up: in lower case, with '-' for '_'.
std::string plain_name(const std::string&);
/// The known name with the fewest changes to the given one; empty if more than a third of it would change.
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

}  // namespace vitrine
