// A small language for what people know of local patterns and where they lie to each other, and its compiler to a graph
// [Wang: ReNN, 2018]. A rules file has one statement a line; # starts a comment:
//
//   pattern disk                                   a pattern that the local network learns to detect
//   pattern square
//   rule pair: disk if exists square right_of(8..60) and not exists disk within(20)
//   rule three weight 2: disk if count disk anywhere = 3
//   rule row: disk if exists square right_of same_row(6) where (exists disk right_of(8..))
//   rule alone: square unless exists disk within(20)
//
//   rule      := "rule" NAME ["weight" NUMBER] ":" PATTERN [("if" | "unless") condition]
//   condition := conjunction {"or" conjunction} ["implies" condition]      conjunction := factor {"and" factor}
//   factor    := "not" factor | "(" condition ")" | PATTERN | ("exists" | "forall") PATTERN place ["where" "("
//   condition ")"]
//              | "count" PATTERN place ("=" | "<" | "<=" | ">" | ">=") WHOLE | "between" "(" PATTERN "," PATTERN ")"
//   place     := {relation}   all of them hold; none is anywhere
//   relation  := ("left_of" | "right_of" | "above" | "below" | "before" | "after") ["(" MIN ".." [MAX] ")"]
//              | "within" "(" D ")" | ("same_row" | "same_column") ["(" TOLERANCE ")"] | "anywhere"
//
// A condition is asked at the place of the rule's pattern, inside "where" at the place found. Distances are in pixels
// of the input, along one axis each (within: along both); before and after are left_of and right_of for series. A place
// is "left of" another from one place of the map on. Meaning, with truths in [0,1]: and: product; or: a + b - ab; not:
// 1 - a; exists: the largest of P (and "where") over the places asked for; count: of local maxima; "c >= n" is
// sigmoid((c - n + 1/2)/0.1). The rule's map is weight * P * condition ("unless": 1 - condition).
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "core/geometry.h"
#include "core/host/error.h"

namespace vitrine {

/// Offsets in pixels (dx to the right, dy down) of the places that a condition asks about.
struct PlaceBox {
  double left = -std::numeric_limits<double>::infinity(), right = std::numeric_limits<double>::infinity(), top = left,
         bottom = right;
  bool strictly_left = false, strictly_right = false, strictly_above = false,
       strictly_below = false;  ///< at least one place away
};

struct RuleCondition {
  enum Kind : std::uint8_t { pattern, exists, count, all, any, negation } kind = pattern;
  int detection = -1;                ///< index of the pattern (pattern, exists, count)
  PlaceBox place;                    ///< exists, count
  int at_least = 0, at_most = -1;    ///< count; -1: no bound
  std::vector<RuleCondition> parts;  ///< exists: what "where" says, if anything; all, any: two or more; negation: one
  std::string text;                  ///< as written, for people
};

struct NamedRule {
  std::string name;
  double weight = 1;
  int detection = -1;
  bool forbids = false;                  ///< "unless"
  std::vector<RuleCondition> condition;  ///< one, or none
};

struct RuleBase {
  std::vector<std::string> patterns;
  std::vector<NamedRule> rules;
  std::string text;  ///< as it was read
  static RuleBase parse(const std::string& text,
                        const std::string& file);  ///< Error "FILE:LINE: ..." at the first mistake
  static RuleBase load(const std::string& file);
};

/// Name of the graph's node that holds the truth of a rule (path empty) or of one of its conditions: the path counts
/// parts from 1, "rule.pair.1.2" being the second part of rule pair's condition.
std::string rule_node(const NamedRule&, const std::string& path = "");

/// Builds the maps of all rules on detection maps (N,Q,H,W) in [0,1], one channel a pattern, whose geometry is given.
/// Makes the nodes detection.PATTERN and rule_node(...) and returns one map (N,1,H,W) a rule. An Error if a place is
/// empty on this grid.
std::vector<Id> build_rules(GraphBuilder&, Id detections, const RuleBase&, const Geometry&);

}  // namespace vitrine
