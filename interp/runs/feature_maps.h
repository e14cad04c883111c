// The maps that activation-map methods weigh unless a node is named.
#pragma once

#include "interp/runs/objective.h"

namespace vitrine {

/// The node of the last feature maps before what is explained: the last one with more than one place that every path
/// from the main input passes through, which neither a gate nor one branch of several is. Pools, views and dropout
/// after it only pass its values on, so the node before them is meant. A usage Error, naming `method`, if no node has
/// maps.
Id last_feature_maps(const Model&, const Objective&, const std::string& method);

}  // namespace vitrine
