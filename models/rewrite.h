// Changes to a finished network: a new one with the same parameters, in which something was put in.
#pragma once

#include <functional>
#include <string>

#include "models/model.h"

namespace vitrine {

/// The network with what `body` builds on the result of `node` put between that node and all its readers. Parameters of the
/// old nodes are copied, those of new nodes initialised from the seed (weights: He et al. 2015). Throws a usage Error if there
/// is no such node.
Model insert_after(const Model&, const std::string& node, std::uint64_t seed, const std::function<Id(GraphBuilder&, Id)>& body);

}  // namespace vitrine
