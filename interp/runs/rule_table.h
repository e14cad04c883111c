// Rules and composites by name, their settings, and their assignment to nodes: what --rule, --composite and the
// settings of method lrp mean.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "interp/rules/composite.h"
#include "interp/settings.h"
#include "models/model.h"

namespace vitrine {

struct RuleEntry {
  const char* name;
  const char* summary;
  const char* source;  ///< paper and equation
  std::span<const Setting> settings;
  std::optional<RuleSpec> rule;  ///< none: it carries DeepLIFT's multipliers, not relevance
};

/// All rules that --rule and composites know.
std::span<const RuleEntry> rule_entries();

/// The entry of that name. A usage Error that begins with `where` lists the known ones.
const RuleEntry& find_rule(const std::string& name, const std::string& where = "");

/// One --rule: NODE-PATTERN=rule[:key=value,...].
struct RuleChoice {
  std::string pattern, rule;
  std::map<std::string, std::string> settings;
};
RuleChoice parse_rule_choice(const std::string& text);

/// The settings of method lrp.
inline constexpr std::size_t lrp_setting_count = 11;
extern const Setting lrp_settings[lrp_setting_count];

/// Settings of LRP rules, with the memory of the bounds.
struct LrpSettings {
  LrpOptions options;      ///< without bounds
  std::uint8_t given = 0;  ///< which settings the user gave (LrpGiven)
  std::vector<float> low, high;
};
/// Reads those that are declared there, of a rule or of method lrp.
LrpSettings read_lrp_settings(const Settings&);

/// The built-in composite of that name; `uniform-RULE` is `uniform` with RULE as the chosen kind. False: there is none.
bool find_composite(const std::string& name, CompositeOptions&);

class CompositeFile;

/// The rules of one walk, one per node, with the memory that they need.
class Assignment {
 public:
  explicit Assignment(const Model& model);
  Assignment(const Assignment&) = delete;
  Assignment& operator=(const Assignment&) = delete;

  std::vector<const Rule*> rules;  ///< one per node
  Arena& arena() noexcept { return arena_; }
  const Model& model() const noexcept { return model_; }

  void fill(const Rule* rule);
  /// The gradient at every node. The rule outlives every assignment, so that sessions with it can be shared.
  void fill_gradient();
  /// A usage Error if a rule's settings are out of their ranges.
  void compose(const CompositeOptions&);
  /// Likewise; `options.composite` is that of the file. A usage Error that names file and entry if a pattern matches no
  /// node, or if a rule has no meaning at a node before the logits.
  void compose(const CompositeOptions& options, const CompositeFile&);
  /// Later choices win. A usage Error if a pattern matches no node, or the rule has no meaning at a node that it
  /// matches.
  void override_with(const std::vector<RuleChoice>&);

  /// A sentence if an input is outside the box that rule z-box assumes at a layer that reads it: its relevance has no
  /// meaning there. Empty if all are inside.
  std::string outside_box(const TensorView& x) const;

  /// Copies values into memory that lives as long as the rules.
  std::span<const float> keep(const std::vector<float>& values);
  /// The options with their bounds, which last as long as the rules: those of the settings, else black and white as the
  /// model prepares them.
  LrpOptions options(const LrpSettings&);

 private:
  struct Box {
    std::span<const float> low, high;  // one number, or one per channel
  };
  const Rule* make(const RuleChoice&, bool nonnegative, Box&);
  /// Why a pattern matches no node, as the end of a sentence.
  std::string no_node(const char* pattern) const;

  // Notes the box of a node, if it reads the input by rule z-box.
  void note_box(std::size_t node, Box);

  const Model& model_;
  Memory memory_;
  Arena arena_;
  std::vector<Box> boxes_;  // one per node; empty where the node assumes none
};

/// What method lrp's settings mean for this model; the bounds are kept in the assignment. With a file, its composite,
/// and a usage Error if the settings name another one.
CompositeOptions composite_options(const Model&, const Settings&, Assignment&, const CompositeFile* = nullptr);

/// The box of the z^B rule in network space from a model's preparation: (0-mean)/std and (1-mean)/std, one per channel.
void input_box(const Model&, std::vector<float>& low, std::vector<float>& high);

}  // namespace vitrine
