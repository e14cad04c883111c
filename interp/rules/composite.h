// Composites: which rule at which node, as data. A composite is a list of entries, and a node gets the rule of the
// first entry that it meets. Nothing here needs heap: rules are made in an arena, so firmware composes them the same
// way. README.md in this folder describes the format, also that of files.
#pragma once

#include "core/graph.h"
#include "interp/rules/lrp.h"
#include "interp/rules/signal.h"

namespace vitrine {

/// Settings of LRP rules that a composite's entry may give, as bits.
struct LrpGiven {
  enum Bit : std::uint8_t {
    epsilon = 1,
    gamma = 2,
    alpha_beta = 4,
    stabiliser = 8,
    form = 16,
    bias = 32,
    low = 64,
    high = 128
  };
};

enum class RuleKind : std::uint8_t {
  lrp,              ///< the LRP rule of this kind
  chosen,           ///< the LRP rule of CompositeOptions::rule.kind
  pass,             ///< PassRule
  gradient,         ///< GradientRule
  deconvnet,        ///< RectifyRule
  guided_backprop,  ///< RectifyRule
};

/// A rule as data.
struct RuleSpec {
  constexpr RuleSpec(RuleKind k) noexcept : kind(k) {}
  constexpr RuleSpec(LrpKind k, const LrpOptions* own = nullptr, std::uint8_t bits = 0) noexcept
      : kind(RuleKind::lrp), lrp(k), given(bits), settings(own) {}

  RuleKind kind;
  LrpKind lrp = LrpKind::norm;
  bool strict = true;                    ///< of RectifyRule
  std::uint8_t given = 0;                ///< which of the settings count (LrpGiven)
  const LrpOptions* settings = nullptr;  ///< must outlive the spec; settings not given are those of CompositeOptions
};

/// A node meets an entry if it meets all of its conditions.
struct CompositeEntry {
  const char* nodes = nullptr;  ///< pattern of node names (core/graph.h, matches); null: any
  const char* ops = nullptr;    ///< patterns of op names, and words of op_words(), with | between them; null: any
  bool first = false;           ///< only weighted nodes that the input reaches through no other weighted node
  RuleSpec rule;
};

struct Composite {
  const char* name;
  const char* summary;
  const char* source;
  std::span<const CompositeEntry> entries;
  RuleSpec otherwise = LrpKind::norm;  ///< for nodes that meet no entry

  // The built-in ones (composite_table.h).
  static const Composite epsilon_plus, epsilon_plus_flat, epsilon_gamma_box, epsilon_alpha2_beta1,
      epsilon_alpha2_beta1_flat, excitation_backprop;
  static const Composite uniform;  ///< one rule, CompositeOptions::rule.kind, at all weighted nodes
};

/// A word for a class of ops, as entries use it.
struct OpWord {
  const char* name;
  const char* meaning;
  bool (*holds)(const Graph&, const Node&) noexcept;
};
std::span<const OpWord> op_words() noexcept;

struct CompositeOptions {
  Composite composite = Composite::epsilon_plus;
  LrpOptions rule{};  ///< settings of all rules, where an entry does not give its own; kind for RuleKind::chosen
};

/// Makes rules in an arena. They live as long as the arena's memory, not as long as the RuleSet, which holds nothing
/// but the reason of the last failure.
class RuleSet {
 public:
  explicit RuleSet(Arena& arena) noexcept : arena_(arena) {}
  /// The rule, or null (why() says why). `settings`: those that the spec does not give. `nonnegative`: as in LrpRule.
  const Rule* make(const RuleSpec&, const LrpOptions& settings, bool nonnegative) noexcept;
  template <class T, class... Args>
  const Rule* make(Args&&... args) noexcept {
    const T* rule = arena_.create<T>(std::forward<Args>(args)...);
    if (rule == nullptr) why_ = "the rules' arena is full";
    return rule;
  }
  const char* why() const noexcept { return why_; }

 private:
  Arena& arena_;
  const char* why_ = nullptr;
};

/// What can be said of a graph before it runs: one bit per value. Outputs of rectifiers, and what pools, averages, sums
/// and views make of them, have no negative element.
void find_nonnegative(const Graph&, std::span<bool> values) noexcept;

/// The weighted nodes that the input reaches without passing another weighted node.
void find_first_layers(const Graph&, std::span<bool> nodes) noexcept;

/// The entry that gives this node its rule; the number of entries if it is `otherwise`. `first`: find_first_layers.
std::size_t entry_of(const Composite&, const Graph&, const Node&, bool first) noexcept;

/// Fills rules (one per node). Rules and working memory are taken from `arena` for good: they are few and small.
Status compose(const Graph&, const CompositeOptions&, Arena& arena, std::span<const Rule*> rules, Failure*) noexcept;

}  // namespace vitrine

#include "interp/rules/composite_table.h"
