// What a method says of itself: for listings, documentation, language bindings, and tests that hold it to its promises.
#pragma once

#include <cstdint>
#include <span>

#include "interp/settings.h"

namespace vitrine {

/// The survey's four aspects.
enum class Aspect : std::uint8_t { data_rules, internal_space, explain_prediction, model_interpretation };
/// Before the model, within it, after it [Kim 2017].
enum class Stage : std::uint8_t { pre, in, post };
/// What an explanation is of [Gilpin et al. 2018].
enum class Of : std::uint8_t { processing, representation, producing };
/// One prediction, or the network as a whole.
enum class Scope : std::uint8_t { local, global };
/// What must be known of the data beside its images.
enum class Labels : std::uint8_t { none, classes, parts, concepts, text };

/// Every promise is tested for every method that makes it (tests/methods/promises.cpp).
struct Promises {
  /// The relevance of an image sums to its score minus that of its baseline.
  bool completeness = false;
  /// Inputs that the score does not depend on get no relevance.
  bool sensitivity = false;
  /// Networks that compute the same function get the same relevance.
  bool implementation_invariance = false;
  /// Another class gets another map.
  bool class_sensitivity = false;
};

struct Card {
  const char* name;
  const char* summary;
  const char* reference;  ///< the paper
  Aspect aspect = Aspect::explain_prediction;
  Stage stage = Stage::post;
  const char* lipton = "post-hoc: visual";  ///< transparency or post-hoc, and its kind [Lipton 2018]
  Of of = Of::processing;
  Scope scope = Scope::local;
  bool model_agnostic = false;  ///< forward runs are all it needs of the network
  bool needs_training = false;
  Labels needs_labels = Labels::none;
  Promises promises{};
  const char* forward_calls = "1";   ///< runs per image, in terms of the settings
  const char* backward_calls = "1";  ///< walks per image, likewise
  const char* output = "relevance of the input's shape";
  const char* faithfulness_metric = "deletion";  ///< the measure that it is usually judged by
  bool takes_baseline = false;
  bool takes_background = false;  ///< the baseline's rows are a set that absent features are taken from
  bool takes_rules = false;       ///< --rule overrides its rules at single nodes
  bool takes_ledger = false;      ///< it is one walk, of which a ledger can be kept
  /// Settings that begin with "of." are those of the method that this one works with.
  bool wraps_a_method = false;
  std::span<const Setting> settings{};
};

const char* name(Aspect) noexcept;
const char* name(Stage) noexcept;
const char* name(Of) noexcept;
const char* name(Scope) noexcept;
const char* name(Labels) noexcept;

}  // namespace vitrine
