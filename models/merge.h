// Batch norms merged into the layers before them: the same function with fewer ops.
#pragma once

#include "models/model.h"

namespace vitrine {

/// A copy in which every batch norm or scale whose input is read by it alone and made by a convolution, transposed
/// convolution or linear layer with weights of its own is part of that layer: W' = s W, b' = s b + c with y = s z + c
/// (attribution spec 3.3). The layer keeps its name, the norm's disappears. Others stay as they are.
Model merge_batch_norms(const Model&);

/// Whether there is anything to merge.
bool has_mergeable_batch_norm(const Model&);

}  // namespace vitrine
