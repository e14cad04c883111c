// Batch norms merged into the layers before them: the same function with fewer ops.
#pragma once

#include <string>
#include <vector>

#include "models/model.h"

namespace vitrine {

/// A copy in which every batch norm or scale whose input is read by it alone and made by a convolution, transposed
/// convolution or linear layer with weights of its own is part of that layer: W' = s W, b' = s b + c with y = s z + c.
/// The layer keeps its name; the norm's name becomes an alias of it. Others stay as they are. `keep` names nodes whose
/// values are asked for: a layer before a norm keeps its value, and so its norm.
Model merge_batch_norms(const Model&, const std::vector<std::string>& keep = {});

/// Whether there is anything to merge.
bool has_mergeable_batch_norm(const Model&, const std::vector<std::string>& keep = {});

/// Whether merging changes the value of this node: the next node is a norm that is merged into it.
bool merging_changes(const Model&, const std::string& node);

}  // namespace vitrine
