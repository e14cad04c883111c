// How much scratch memory a run takes, measured when all passes of planning are done.
#pragma once

#include "core/plan/plan.h"

namespace vitrine {

/// Fills in the plan's scratch, book and prepared sizes by a dry run: the code of a real run (core/run.h), with kernels
/// that do nothing and tensors at addresses that nobody reads. So no formula has to follow what kernels and ops take.
/// Smaller batches are cut into other tiles and can need more scratch, so every batch size that the plan takes is run
/// once. `book` lends memory and gets it back.
Status measure_scratch(const Context&, Arena& book, Plan&) noexcept;

/// Tells `report` which way each kernel goes at each node, by one dry run of the largest planned batch.
Status tell_ways(const Context&, Arena& book, const Plan&, Report& report) noexcept;

}  // namespace vitrine
