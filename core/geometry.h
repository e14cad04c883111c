// Where the units of a value look: stride, position and receptive field of a map's places in pixels of the main input.
// What a node reads of other inputs, or of values that only those reach, does not count.
//
// From the input on, each node composes its field (core/op.h, Field): size += (field - 1) * jump, start += ((field -
// 1)/2 - before) * jump, jump *= step [Araujo et al. 2019, Distill]. Where several paths meet
// (residual sums), that of the largest field counts.
#pragma once

#include "core/graph.h"

namespace vitrine {

/// Along one axis: the centre of place i lies at start + i * jump, where pixel p covers [p, p+1), and it sees `size`
/// pixels around that, some of which may lie outside the image. `whole`: every place sees all pixels.
struct AxisGeometry {
  float jump = 1, start = 0.5f, size = 1;
  bool whole = false;
  constexpr float centre(std::int32_t i) const noexcept { return start + static_cast<float>(i) * jump; }
};

struct Geometry {
  AxisGeometry h, w;
};

/// The geometry of a value's places. Working memory (a Geometry a value) is taken from `book` and given back.
/// bad_argument: the main input does not reach the value, or paths of different strides meet there.
Status find_geometry(const Context&, const Graph&, Id value, Arena& book, Geometry&) noexcept;

}  // namespace vitrine
