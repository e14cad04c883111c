// Sentences about PartShapes critters and their parser.
//
//   sentence := opener phrase "and" phrase [ "facing" ("left"|"right") ]
//   opener   := "this critter has" | "a critter with" | "it has" | "this is a" BODY "critter with"
//   phrase   := "a" [HEADC] [HEADS] "head" | "a" [WINGC] [WINGP] "wing" | "a" [TAILS] [TAILC] "tail"
//             | LEGN [LEGC] ("leg" | "legs") | LEGC "limbs"
//
// A sentence names two of the four parts, each by its diagnostic word, its nuisance word or both. Five sentences go
// with an image; they are a function of (master seed, split, number, attributes) and are true of the attributes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/data/partshapes.h"

namespace vitrine::data {

/// What a sentence says: this attribute (attribute::Index) has this value.
struct Mention {
  int variable, value;
  friend bool operator==(const Mention&, const Mention&) = default;
};

struct Caption {
  std::string text;
  std::vector<Mention> mentions;  ///< in the order of the words
};

inline constexpr int captions_per_image = 5, caption_length = 16;  ///< tokens, the end included

/// Sentence j of an image. All attributes must have values: critters of any task but place6.
Caption caption(const Attributes&, std::uint64_t master, int split, std::int64_t n, int j);
std::array<Caption, captions_per_image> captions(const Attributes&, std::uint64_t master, int split, std::int64_t n);

struct ParsedCaption {
  std::vector<Mention> mentions;
  std::string error;  ///< empty: the sentence is of the language; else what was found at which word, and no mentions
};
ParsedCaption parse_caption(std::string_view text);

/// Are all of them so?
bool true_of(std::span<const Mention>, const Attributes&) noexcept;

/// The words by token: 0 is the end "<end>", 1 ... 40 the words in alphabetical order.
std::span<const std::string_view> caption_words() noexcept;
/// Tokens of a text, the end token last; empty if a word is unknown.
std::vector<int> caption_tokens(std::string_view text);
/// The words up to the end token.
std::string caption_text(std::span<const int> tokens);

}  // namespace vitrine::data
