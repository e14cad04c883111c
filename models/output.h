// What the numbers of a network's main output are: what can be predicted, counted and explained follows from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace vitrine {

enum class OutputKind : std::uint8_t {
  classes,     ///< scores of classes that exclude each other, before or after a softmax
  logit,       ///< one number for two classes: the score of the second, before or after a sigmoid
  sigmoids,    ///< a score per label, before or after a sigmoid; labels do not exclude each other
  regression,  ///< numbers that are no scores
  dense,       ///< maps, (N,C,H,W)
  boxes,       ///< rows of numbers, (N,rows,numbers): boxes, anchors or their scores
};

/// The word of messages, of `vitrine import --output-kind` and of model files.
const char* name(OutputKind) noexcept;
std::optional<OutputKind> output_kind_of(const std::string& name) noexcept;
/// All words, as a message lists them.
inline constexpr const char* output_kind_names = "classes, logit, sigmoids, regression, dense or boxes";

}  // namespace vitrine
