// A plan as strings: what core/plan/print.h prints, and a chart.
#pragma once

#include <string>
#include <vector>

#include "core/host/engine.h"
#include "core/plan/plan.h"

namespace vitrine {

/// Per node, which way its kernels go, for example "along rows"; "KERNEL: WAY; KERNEL: WAY" if several have a choice.
struct Ways {
  std::vector<std::string> forward, backward;
};
Ways ways_of(const Engine&, const Plan&);

/// The tables of print_nodes.
std::string node_table(const Plan&, const Ways& = {});

/// The picture of print_memory, 80 columns wide.
std::string memory_picture(const Plan&);

/// Memory against time as an SVG document: a rectangle per buffer, from its first to its last tick and from its first
/// to its last byte, coloured by kind; its name, bytes and ticks show as a tooltip.
std::string memory_chart(const Plan&);

}  // namespace vitrine
