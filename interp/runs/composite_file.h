// Composites as JSON ("schema": "vitrine-composite/1"). interp/rules/README.md describes the format.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "interp/runs/rule_table.h"

namespace vitrine {

/// A composite that was read from a file, with all that it points to.
class CompositeFile {
 public:
  /// An Error names the file, the entry and the key: unknown keys, unknown rules, words that are no op and no class of
  /// ops, settings that the rule does not have or that are out of their ranges.
  explicit CompositeFile(const std::string& path);
  CompositeFile(const CompositeFile&) = delete;
  CompositeFile& operator=(const CompositeFile&) = delete;

  const Composite& composite() const noexcept { return composite_; }
  const std::string& path() const noexcept { return path_; }
  /// "composite FILE: entry 2" for the second entry, index 1; "composite FILE: otherwise" for the index after the last.
  std::string where(std::size_t entry) const;

 private:
  class Reader;

  std::string path_;
  // Entries point into these; a deque does not move what it holds.
  std::deque<std::string> texts_;
  std::deque<LrpSettings> settings_;
  std::vector<CompositeEntry> entries_;
  Composite composite_{"", "", "", {}, LrpKind::norm};
};

std::shared_ptr<const CompositeFile> read_composite(const std::string& path);

/// A built-in composite as such a file; a usage Error if there is none of that name.
std::string composite_json(const std::string& name);

}  // namespace vitrine
