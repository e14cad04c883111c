// Optimisation of an input: the image that makes an objective's number as large as it gets.
#pragma once

#include <functional>
#include <vector>

#include "interp/runs/rule_table.h"
#include "interp/runs/walk.h"

namespace vitrine {

struct AscendOptions {
  /// How a step follows the gradient g: x += rate * g, rate * sign(g), or Adam's direction [Kingma & Ba 2015, alg. 1].
  enum class Step : std::uint8_t { gradient, sign, adam };
  Step step = Step::adam;
  int steps = 100;
  double rate = 0.05;
  /// Called with the gradient before each step, (N,C,H,W) like x: penalties are subtracted here. May be empty.
  std::function<void(int step, const TensorView& x, std::span<real> gradient)> shape{};
  /// Called after each step: brings x back to where it may be (a box, a ball). May be empty.
  std::function<void(int step, const TensorView& x)> project{};
};

struct Ascent {
  Images x;                                  ///< after the last step
  std::vector<std::vector<double>> numbers;  ///< per step, and then at the end: the objective's number per image
};

/// Ascends from each image of `start`, independently. An objective of the predicted class is that of the start. An
/// Error if a number or a gradient is not finite.
Ascent ascend(Subject&, const Objective&, const Images& start, const AscendOptions&, const Job&);

}  // namespace vitrine
