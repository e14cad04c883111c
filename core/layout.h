// How the images of a batch are stored inside a run: planar, one image after another, or interleaved in blocks of b
// images, so that one vector register holds the same pixel of b images. Two images A and B of one channel and three
// pixels:
//
//   planar        (n, c, h, w)         A0 A1 A2 B0 B1 B2
//   interleaved   (n/b, c, h, w, b)    A0 B0 A1 B1 A2 B2        b = 2
//
// b is TensorView::block: the lanes of a vector if interleaved, 1 if planar. Inputs, results, parameters and kept
// values are planar; the planner decides which values between them are interleaved, by what their ops read and write.
#pragma once

#include "core/context.h"

namespace vitrine {

/// Which layouts an op reads and writes.
enum class Layouts : std::uint8_t {
  planar,   ///< reads and writes planar only
  same,     ///< writes the layout of its inputs, which all have the same
  follows,  ///< reads either; writes interleaved if all its inputs are
  both,     ///< reads and writes either
};

/// The same memory as a dense (n/b, c, h, w*b): for ops that treat all elements of a channel alike.
constexpr Shape folded(const TensorView& t) noexcept {
  return {t.shape.n() / t.block, t.shape.c(), t.shape.h(), t.shape.w() * t.block};
}

/// to (+)= from, each in its own layout. Both have equally many elements per image, in the same order.
void relayout(const Context&, const TensorView& from, const TensorView& to, bool add) noexcept;

}  // namespace vitrine
