// Rules by name, and their assignment to nodes by name pattern: what --rule and the settings of methods mean.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "interp/rules/composite.h"
#include "interp/settings.h"
#include "models/model.h"

namespace vitrine {

struct RuleEntry {
  const char* name;
  const char* summary;
  const char* source;  ///< paper or specification
  std::span<const Setting> settings;
};

/// All rules that --rule knows.
std::span<const RuleEntry> rule_entries();

/// One --rule: NODE-PATTERN=rule[:key=value,...].
struct RuleChoice {
  std::string pattern, rule;
  std::map<std::string, std::string> settings;
};
RuleChoice parse_rule_choice(const std::string& text);

/// The rules of one walk, one a node, with the memory they live in.
class Assignment {
 public:
  explicit Assignment(const Model& model);
  Assignment(const Assignment&) = delete;
  Assignment& operator=(const Assignment&) = delete;

  std::vector<const Rule*> rules;  ///< one a node
  Arena& arena() noexcept { return arena_; }
  const Model& model() const noexcept { return model_; }

  void fill(const Rule* rule);
  void compose(const CompositeOptions&);
  /// Later choices win. A usage Error if a pattern matches no node, or the rule has no meaning at a node that it
  /// matches.
  void override_with(const std::vector<RuleChoice>&);

  /// Copies values into memory that lives as long as the rules.
  std::span<const float> keep(std::vector<float> values);

 private:
  const Rule* make(const RuleChoice&, bool nonnegative);

  const Model& model_;
  Memory memory_;
  Arena arena_;
};

/// The box of the z^B rule in network space from a model's preparation: (0-mean)/std and (1-mean)/std, a channel each.
void input_box(const Model&, std::vector<float>& low, std::vector<float>& high);

}  // namespace vitrine
