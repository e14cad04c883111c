#include "models/data/captions.h"

#include <algorithm>
#include <bit>

namespace vitrine::data {
namespace {

namespace at = attribute;
using Words = std::array<std::string_view, 3>;

// The words of an attribute's values, by attribute::Index. Head and wing colours share theirs.
constexpr std::array<Words, at::count> value_words = {{
    {"round", "square", "triangular"},
    {"plain", "striped", "dotted"},
    {"red", "green", "blue"},
    {"one", "two", "three"},
    {"yellow", "cyan", "magenta"},
    {"yellow", "cyan", "magenta"},
    {"straight", "pointed", "rounded"},
    {"dark", "light", ""},
    {"dim", "grey", "pale"},
    {"right", "left", ""},
}};

// The nuisance attribute that goes with a slot in phrases.
constexpr std::array<int, 4> nuisance_of = {at::headc, at::wingc, at::tails, at::legc};
constexpr std::array<std::string_view, 4> nouns = {"head", "wing", "tail", "legs"};

std::string_view word_of(int variable, int value) {
  return value_words[static_cast<std::size_t>(variable)][static_cast<std::size_t>(value)];
}

// The value that this word gives to the attribute, or -1.
int value_of(int variable, std::string_view word) {
  for (int v = 0; v < attribute_values(variable); ++v)
    if (word_of(variable, v) == word) return v;
  return -1;
}

class Writer {
 public:
  explicit Writer(const Attributes& attributes) : attributes_(attributes) {}

  void word(std::string_view w) {
    if (!caption_.text.empty()) caption_.text += ' ';
    caption_.text += w;
  }
  void value(int variable) {
    const int v = attributes_[static_cast<std::size_t>(variable)];
    word(word_of(variable, v));
    caption_.mentions.push_back({variable, v});
  }
  // mode: 0 the diagnostic word only, 1 the nuisance word only, 2 both.
  void phrase(int slot, int mode) {
    const int nuisance = nuisance_of[static_cast<std::size_t>(slot)];
    if (slot != at::legs) {
      word("a");
      if (mode != 0) value(nuisance);
      if (mode != 1) value(slot);
      word(nouns[static_cast<std::size_t>(slot)]);
    } else if (mode == 1) {
      value(nuisance);
      word("limbs");  // betrays no number
    } else {
      value(slot);
      if (mode == 2) value(nuisance);
      word(attributes_[at::legs] == 0 ? "leg" : "legs");
    }
  }
  Caption take() { return std::move(caption_); }

 private:
  const Attributes& attributes_;
  Caption caption_;
};

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = std::min(text.find(' ', i), text.size());
    if (end > i) words.push_back(text.substr(i, end - i));
    i = end + 1;
  }
  return words;
}

// Recursive descent with one word of look-ahead. The first error ends it.
class Parser {
 public:
  explicit Parser(std::string_view text) : words_(split_words(text)) {}

  ParsedCaption run() {
    sentence();
    if (!result_.error.empty()) result_.mentions.clear();
    return std::move(result_);
  }

 private:
  std::string_view next() const { return position_ < words_.size() ? words_[position_] : std::string_view(); }
  bool failed() const { return !result_.error.empty(); }
  void fail(const std::string& expected) {
    if (failed()) return;
    result_.error = "word " + std::to_string(position_ + 1) + ": expected " + expected + ", found " +
                    (next().empty() ? "the end" : "'" + std::string(next()) + "'");
  }
  bool accept(std::string_view word) {
    if (failed() || next().empty() || next() != word) return false;
    ++position_;
    return true;
  }
  void expect(std::string_view word) {
    if (!accept(word)) fail("'" + std::string(word) + "'");
  }
  // Takes a value of this attribute, if one comes.
  int accept_value(int variable) {
    if (failed() || next().empty()) return -1;
    const int v = value_of(variable, next());
    if (v < 0) return -1;
    ++position_;
    result_.mentions.push_back({variable, v});
    return v;
  }

  void sentence() {
    opener();
    phrase();
    expect("and");
    phrase();
    if (accept("facing") && accept_value(at::flip) < 0) fail("'left' or 'right'");
    if (!failed() && position_ < words_.size()) fail("the end");
  }

  void opener() {
    if (accept("it")) return expect("has");
    if (accept("a")) return expect("critter"), expect("with");
    if (!accept("this")) return fail("'this', 'it' or 'a'");
    if (accept("critter")) return expect("has");
    expect("is");
    expect("a");
    if (!failed() && accept_value(at::bodyg) < 0) fail("'dim', 'grey' or 'pale'");
    expect("critter");
    expect("with");
  }

  void phrase() {
    if (failed()) return;
    const std::size_t start = position_;
    if (accept("a")) {
      noun_phrase(start);
    } else if (const int number = accept_value(at::legs); number >= 0) {
      accept_value(at::legc);
      expect(number == 0 ? "leg" : "legs");
      claim(at::legs, start);
    } else if (accept_value(at::legc) >= 0) {
      expect("limbs");
      claim(at::legs, start);
    } else {
      fail("a phrase about a part");
    }
  }

  // What follows "a". Head and wing share their colour words, so a colour's owner is settled by what comes after it:
  // the grammar factored on the left.
  void noun_phrase(std::size_t start) {
    const std::size_t said = result_.mentions.size();
    unsigned possible = 7;  // bit i: part i
    if (accept_value(at::headc) >= 0)
      possible = 1u << at::head | 1u << at::wing;
    else if (accept_value(at::tails) >= 0)
      possible = 1u << at::tail;
    for (const int slot : {at::head, at::wing, at::tail})
      if ((possible >> slot & 1) != 0 && accept_value(slot) >= 0) {
        possible = 1u << slot;
        break;
      }
    for (const int slot : {at::head, at::wing, at::tail}) {
      const std::string_view noun = nouns[static_cast<std::size_t>(slot)];
      if ((possible >> slot & 1) == 0 || !accept(noun)) continue;
      for (std::size_t i = said; i < result_.mentions.size(); ++i)
        if (result_.mentions[i].variable == at::headc)
          result_.mentions[i].variable = nuisance_of[static_cast<std::size_t>(slot)];
      return claim(slot, start);
    }
    if (std::has_single_bit(possible))
      return fail("'" + std::string(nouns[static_cast<std::size_t>(std::countr_zero(possible))]) + "'");
    fail("a part that fits");
  }

  void claim(int slot, std::size_t start) {
    if (failed()) return;
    if ((claimed_ >> slot & 1) != 0) {
      position_ = start;
      return fail("a phrase about another part");
    }
    claimed_ |= 1u << slot;
  }

  std::vector<std::string_view> words_;
  std::size_t position_ = 0;
  unsigned claimed_ = 0;
  ParsedCaption result_;
};

constexpr std::string_view vocabulary[] = {
    "<end>", "a",    "and",   "blue",       "critter", "cyan",  "dark",  "dim",     "dotted", "facing",   "green",
    "grey",  "has",  "head",  "is",         "it",      "left",  "leg",   "legs",    "light",  "limbs",    "magenta",
    "one",   "pale", "plain", "pointed",    "red",     "right", "round", "rounded", "square", "straight", "striped",
    "tail",  "this", "three", "triangular", "two",     "wing",  "with",  "yellow"};
static_assert(std::size(vocabulary) == 41);

}  // namespace

Caption caption(const Attributes& attributes, std::uint64_t master, int split, std::int64_t n, int j) {
  constexpr int pairs[6][2] = {{at::head, at::wing}, {at::head, at::tail}, {at::head, at::legs},
                               {at::wing, at::tail}, {at::wing, at::legs}, {at::tail, at::legs}};
  SplitMix64 stream(seed_of(master, split + 5000 + j, n));
  const int opener = stream.k(4), pair = stream.k(6), swap = stream.k(2);
  const int mode1 = stream.k(3), mode2 = stream.k(3);
  const bool face = stream.u() < .2;

  Writer out(attributes);
  switch (opener) {
    case 0:
      out.word("this critter has");
      break;
    case 1:
      out.word("a critter with");
      break;
    case 2:
      out.word("it has");
      break;
    default:
      out.word("this is a");
      out.value(at::bodyg);
      out.word("critter with");
  }
  out.phrase(pairs[pair][swap], mode1);
  out.word("and");
  out.phrase(pairs[pair][1 - swap], mode2);
  if (face && opener != 3) {
    out.word("facing");
    out.value(at::flip);
  }
  return out.take();
}

std::array<Caption, captions_per_image> captions(const Attributes& attributes, std::uint64_t master, int split,
                                                 std::int64_t n) {
  std::array<Caption, captions_per_image> all;
  for (int j = 0; j < captions_per_image; ++j)
    all[static_cast<std::size_t>(j)] = caption(attributes, master, split, n, j);
  return all;
}

ParsedCaption parse_caption(std::string_view text) { return Parser(text).run(); }

bool true_of(std::span<const Mention> mentions, const Attributes& attributes) noexcept {
  return std::ranges::all_of(
      mentions, [&](const Mention& m) { return attributes[static_cast<std::size_t>(m.variable)] == m.value; });
}

std::span<const std::string_view> caption_words() noexcept { return vocabulary; }

std::vector<int> caption_tokens(std::string_view text) {
  std::vector<int> tokens;
  for (const std::string_view word : split_words(text)) {
    const auto found = std::ranges::find(std::begin(vocabulary) + 1, std::end(vocabulary), word);
    if (found == std::end(vocabulary)) return {};
    tokens.push_back(static_cast<int>(found - std::begin(vocabulary)));
  }
  tokens.push_back(0);
  return tokens;
}

std::string caption_text(std::span<const int> tokens) {
  std::string text;
  for (const int t : tokens) {
    if (t == 0) break;
    if (!text.empty()) text += ' ';
    text += vocabulary[t];
  }
  return text;
}

}  // namespace vitrine::data
