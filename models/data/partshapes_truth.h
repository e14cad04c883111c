// What an ideal observer of PartShapes' generating process knows: the data truth, in closed form. It is
// not what a trained network uses; that is measured by interventions.
#pragma once

#include <array>
#include <vector>

#include "models/data/partshapes.h"

namespace vitrine::data {

/// p*(class | the visible slots of this code word): uniform over the words that agree there. Bit i of `visible`: slot
/// i. If no word agrees (values off the code) it is uniform over all.
std::array<double, 9> ideal_posterior(const std::array<int, 4>& values, unsigned visible);

/// A task's joint distribution of the four slots and the label; probabilities sum to 1. Empty for tasks whose label is
/// not a function of the slots (place6, eq2, those of scenes and kinds).
struct SlotCase {
  std::array<int, 4> values;
  int label;
  double probability;
};
std::vector<SlotCase> slot_cases(Task);

/// v(S) = P(label | slots in S) for the 16 sets S of slots (bit i: slot i). The values must be possible under the task.
std::array<double, 16> slot_game(Task, const std::array<int, 4>& values, int label);

/// Shapley values of a game of four players, given for all 16 coalitions.
std::array<double, 4> shapley(const std::array<double, 16>& game) noexcept;

}  // namespace vitrine::data
