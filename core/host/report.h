// Prints which way each kernel goes, and why better ones were passed over.
#pragma once

#include "core/report.h"

namespace vitrine {

/// With VITRINE_REPORT=1 in the environment (or VITRINE_CUDA_REPORT=1, its older name), a report that prints to stderr,
/// one line for each different call; else null.
///
///     vitrine: conv_forward 8x3x224x224 -> 64, kernel 7x7, stride 2, groups 1: along rows; Winograd F(4x4, 3x3): the
///     kernel is not 3x3
Report* report_to_stderr();

}  // namespace vitrine
