#include "models/inside/rule_language.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <sstream>

#include "core/host/io/file.h"
#include "layers/activation.h"
#include "layers/add.h"
#include "layers/product.h"
#include "layers/rule_embedded.h"
#include "layers/view.h"

namespace vitrine {
namespace {

const char* const keywords[] = {"pattern", "rule",  "weight",  "if",       "unless",      "and",
                                "or",      "not",   "implies", "exists",   "forall",      "count",
                                "between", "where", "left_of", "right_of", "above",       "below",
                                "before",  "after", "within",  "same_row", "same_column", "anywhere"};

bool keyword(const std::string& s) {
  return std::find(std::begin(keywords), std::end(keywords), s) != std::end(keywords);
}

// The words of one line: names, numbers, ".." and single signs.
class Parser {
 public:
  Parser(RuleBase& base, std::string line, std::string where)
      : base_(base), line_(std::move(line)), where_(std::move(where)) {
    advance();
  }

  void statement() {
    if (word_ == "pattern") {
      advance();
      const std::string name = fresh_name("pattern");
      base_.patterns.push_back(name);
    } else if (word_ == "rule") {
      rule();
    } else {
      fail("expected 'pattern' or 'rule'");
    }
    if (!word_.empty()) fail("expected the end of the line");
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw Error(where_ + ": found " + (word_.empty() ? "the end of the line" : "'" + word_ + "'") + ", " + expected);
  }

  void advance() {
    while (at_ < line_.size() && std::isspace(static_cast<unsigned char>(line_[at_]))) ++at_;
    start_ = at_;
    const auto is = [&](auto test) { return at_ < line_.size() && test(line_[at_]); };
    const auto digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
    const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    if (is(letter)) {
      while (is([&](char c) {
        return letter(c) || digit(c) || c == '-' ||
               (c == '.' && at_ + 1 < line_.size() && (letter(line_[at_ + 1]) || digit(line_[at_ + 1])));
      }))
        ++at_;
    } else if (is(digit)) {
      while (is(digit)) ++at_;
      if (is([](char c) { return c == '.'; }) && at_ + 1 < line_.size() && digit(line_[at_ + 1])) {
        ++at_;
        while (is(digit)) ++at_;
      }
    } else if (at_ < line_.size()) {
      const std::string two = line_.substr(at_, 2);
      at_ += two == ".." || two == "<=" || two == ">=" ? 2 : 1;
    }
    word_ = line_.substr(start_, at_ - start_);
  }

  bool take(const char* w) {
    if (word_ != w) return false;
    advance();
    return true;
  }
  void need(const char* w) {
    if (!take(w)) fail("expected '" + std::string(w) + "'");
  }
  bool named() const {
    return !word_.empty() && (std::isalpha(static_cast<unsigned char>(word_[0])) != 0 || word_[0] == '_') &&
           !keyword(word_);
  }

  std::string fresh_name(const char* what) {
    if (!named())
      fail("expected a name for the " + std::string(what) +
           " (letters, digits, _ - and . inside; no word of the language)");
    for (const std::string& p : base_.patterns)
      if (p == word_) fail("which is a pattern already");
    for (const NamedRule& r : base_.rules)
      if (r.name == word_) fail("which is a rule already");
    std::string name = word_;
    advance();
    return name;
  }

  int detection() {
    if (!named()) fail("expected a pattern");
    const auto it = std::find(base_.patterns.begin(), base_.patterns.end(), word_);
    if (it == base_.patterns.end()) {
      std::string known;
      for (const std::string& p : base_.patterns) known += (known.empty() ? "" : ", ") + p;
      fail(known.empty() ? "but no 'pattern' line stands above" : "expected a pattern: " + known);
    }
    advance();
    return static_cast<int>(it - base_.patterns.begin());
  }

  double number(const char* what) {
    if (word_.empty() || !std::isdigit(static_cast<unsigned char>(word_[0])))
      fail("expected " + std::string(what) + ", a number of at least 0");
    const double v = std::strtod(word_.c_str(), nullptr);
    if (!(v < 1e9)) fail("expected " + std::string(what) + " below 1e9");
    advance();
    return v;
  }

  void rule() {
    advance();
    NamedRule r;
    r.name = fresh_name("rule");
    if (r.name.find('.') != std::string::npos)
      throw Error(where_ + ": rule '" + r.name + "': expected a name without a dot");
    if (take("weight")) r.weight = number("a weight");
    need(":");
    r.detection = detection();
    r.forbids = word_ == "unless";
    if (take("if") || take("unless")) r.condition.push_back(condition());
    base_.rules.push_back(std::move(r));
  }

  // Sets the text that a condition was written as.
  RuleCondition with_text(RuleCondition c, std::size_t from) const {
    c.text = line_.substr(from, start_ - from);
    while (!c.text.empty() && std::isspace(static_cast<unsigned char>(c.text.back()))) c.text.pop_back();
    return c;
  }
  static RuleCondition make(RuleCondition::Kind kind, std::vector<RuleCondition> parts) {
    RuleCondition c;
    c.kind = kind;
    c.parts = std::move(parts);
    return c;
  }
  static RuleCondition negated(RuleCondition c) {
    const std::string text = "not (" + c.text + ")";
    RuleCondition n = make(RuleCondition::negation, {std::move(c)});
    n.text = text;
    return n;
  }

  RuleCondition condition() {
    if (++depth_ > 64) fail("but conditions are nested more than 64 deep");
    const std::size_t from = start_;
    std::vector<RuleCondition> parts{conjunction()};
    while (take("or")) parts.push_back(conjunction());
    RuleCondition c =
        parts.size() == 1 ? std::move(parts[0]) : with_text(make(RuleCondition::any, std::move(parts)), from);
    if (take("implies")) {
      RuleCondition then = condition();
      c = with_text(make(RuleCondition::any, {negated(std::move(c)), std::move(then)}), from);
    }
    --depth_;
    return c;
  }

  RuleCondition conjunction() {
    const std::size_t from = start_;
    std::vector<RuleCondition> parts{factor()};
    while (take("and")) parts.push_back(factor());
    return parts.size() == 1 ? std::move(parts[0]) : with_text(make(RuleCondition::all, std::move(parts)), from);
  }

  RuleCondition exists_of(int of, PlaceBox where, std::string text) {
    RuleCondition c;
    c.kind = RuleCondition::exists;
    c.detection = of;
    c.place = where;
    c.text = std::move(text);
    return c;
  }

  RuleCondition factor() {
    const std::size_t from = start_;
    if (++depth_ > 64) fail("but conditions are nested more than 64 deep");
    RuleCondition c;
    if (take("not")) {
      c = with_text(make(RuleCondition::negation, {factor()}), from);
    } else if (take("(")) {
      c = condition();
      need(")");
    } else if (word_ == "exists" || word_ == "forall") {
      c = quantified(from);
    } else if (take("count")) {
      c = with_text(counted(), from);
    } else if (take("between")) {
      c = with_text(between(), from);
    } else if (named()) {
      c.detection = detection();
      c = with_text(std::move(c), from);
    } else {
      fail("expected a condition: exists, forall, count, between, not, a pattern or a parenthesis");
    }
    --depth_;
    return c;
  }

  // exists D [place] [where (...)]; forall D [place] where (...) is "not exists D [place] where (not ...)".
  RuleCondition quantified(std::size_t from) {
    const bool all = word_ == "forall";
    advance();
    RuleCondition c = exists_of(detection(), PlaceBox{}, "");
    c.place = place();
    if (take("where")) {
      need("(");
      RuleCondition inner = condition();
      c.parts.push_back(all ? negated(std::move(inner)) : std::move(inner));
      need(")");
    } else if (all) {
      fail("expected 'where': forall says what holds of each");
    }
    c = with_text(std::move(c), from);
    if (!all) return c;
    const std::string text = c.text;
    c = negated(std::move(c));
    c.text = text;
    return c;
  }

  // What follows "count": D [place] RELATION NUMBER.
  RuleCondition counted() {
    RuleCondition c;
    c.kind = RuleCondition::count;
    c.detection = detection();
    c.place = place();
    const std::string op = word_;
    if (op != "=" && op != "<" && op != "<=" && op != ">" && op != ">=")
      fail("expected a relation or one of = < <= > >=");
    advance();
    const double n = number("a whole number");
    if (n != std::floor(n) || n > 10000) throw Error(where_ + ": count: expected a whole number up to 10000");
    const int k = static_cast<int>(n);
    if (op == "=") c.at_least = c.at_most = k;
    if (op == ">=") c.at_least = k;
    if (op == ">") c.at_least = k + 1;
    if (op == "<=") c.at_most = k;
    if (op == "<") c.at_most = k - 1;
    if (op == "<" && k == 0) throw Error(where_ + ": count < 0 can never hold");
    return c;
  }

  // What follows "between": (A, B), one to the left and the other to the right.
  RuleCondition between() {
    need("(");
    const int a = detection();
    need(",");
    const int b = detection();
    need(")");
    PlaceBox left, right;
    left.strictly_left = right.strictly_right = true;
    const auto sided = [&](int l, int r) {
      return make(RuleCondition::all,
                  {exists_of(l, left, "exists " + base_.patterns[static_cast<std::size_t>(l)] + " left_of"),
                   exists_of(r, right, "exists " + base_.patterns[static_cast<std::size_t>(r)] + " right_of")});
    };
    return a == b ? sided(a, b) : make(RuleCondition::any, {sided(a, b), sided(b, a)});
  }

  PlaceBox place() {
    PlaceBox b;
    for (;;) {
      const bool left = word_ == "left_of" || word_ == "before", right = word_ == "right_of" || word_ == "after",
                 above = word_ == "above", below = word_ == "below";
      if (left || right || above || below) {
        advance();
        double low = 0, high = std::numeric_limits<double>::infinity();
        if (take("(")) {
          low = number("a distance");
          need("..");
          if (word_ != ")") high = number("a distance or ')'");
          need(")");
          if (low > high)
            throw Error(where_ + ": distances run from " + std::to_string(low) + " to " + std::to_string(high) +
                        ", expected the smaller first");
        }
        if (left) b.left = std::max(b.left, -high), b.right = std::min(b.right, -low), b.strictly_left = true;
        if (right) b.left = std::max(b.left, low), b.right = std::min(b.right, high), b.strictly_right = true;
        if (above) b.top = std::max(b.top, -high), b.bottom = std::min(b.bottom, -low), b.strictly_above = true;
        if (below) b.top = std::max(b.top, low), b.bottom = std::min(b.bottom, high), b.strictly_below = true;
      } else if (word_ == "within" || word_ == "same_row" || word_ == "same_column") {
        const bool row = word_ == "same_row", column = word_ == "same_column";
        advance();
        double d = 0;
        if (!row && !column) need("(");
        if ((!row && !column) || take("(")) {
          d = number("a distance");
          need(")");
        }
        if (!row) b.left = std::max(b.left, -d), b.right = std::min(b.right, d);
        if (!column) b.top = std::max(b.top, -d), b.bottom = std::min(b.bottom, d);
      } else if (!take("anywhere")) {
        return b;
      }
    }
  }

  RuleBase& base_;
  std::string line_, where_, word_;
  std::size_t at_ = 0, start_ = 0;
  int depth_ = 0;
};

// Pixels to places of the map, cut to what the map can hold.
OffsetBox places(const RuleCondition& c, const Geometry& geometry, const Shape& map, const std::string& name) {
  const auto range = [&](double low, double high, float jump, std::int32_t size, bool below, bool above,
                         std::int32_t& first, std::int32_t& last) {
    const double reach = size - 1, step = static_cast<double>(jump);
    first = static_cast<std::int32_t>(std::ceil(std::max(low / step - 1e-9, -reach)));
    last = static_cast<std::int32_t>(std::floor(std::min(high / step + 1e-9, reach)));
    if (below) last = std::min(last, -1);
    if (above) first = std::max(first, 1);
    if (first > last)
      throw Error("rule node " + name + ": '" + c.text + "' asks for no place of a map of " + std::to_string(size) +
                      " places that are " + std::to_string(step) + " pixels apart",
                  Error::usage);
  };
  OffsetBox b;
  range(c.place.left, c.place.right, geometry.w.jump, map.w(), c.place.strictly_left, c.place.strictly_right, b.left,
        b.right);
  range(c.place.top, c.place.bottom, geometry.h.jump, map.h(), c.place.strictly_above, c.place.strictly_below, b.top,
        b.bottom);
  return b;
}

class Compiler {
 public:
  Compiler(GraphBuilder& g, const Geometry& geometry, std::vector<Id> detections)
      : g_(g), geometry_(geometry), detections_(std::move(detections)) {}

  Id build(const NamedRule& r) {
    const std::string name = rule_node(r);
    const Id found = detections_[static_cast<std::size_t>(r.detection)];
    if (r.condition.empty()) return affine_map(g_, found, static_cast<float>(r.weight), 0, name.c_str());
    Id truth = build(r.condition[0], name + ".1");
    if (r.forbids) truth = negate(truth, name + ".not");
    if (r.weight == 1) return multiply(g_, found, truth, -1, name.c_str());
    return affine_map(g_, multiply(g_, found, truth, -1, (name + ".unweighted").c_str()), static_cast<float>(r.weight),
                      0, name.c_str());
  }

 private:
  Id negate(Id x, const std::string& name) { return affine_map(g_, x, -1, 1, name.c_str()); }

  Id build(const RuleCondition& c, const std::string& name) {
    const auto part = [&](std::size_t k) { return build(c.parts[k], name + "." + std::to_string(k + 1)); };
    switch (c.kind) {
      case RuleCondition::pattern:
        return affine_map(g_, detections_[static_cast<std::size_t>(c.detection)], 1, 0, name.c_str());
      case RuleCondition::exists: {
        Id source = detections_[static_cast<std::size_t>(c.detection)];
        if (!c.parts.empty()) source = multiply(g_, source, part(0), -1, (name + ".bound").c_str());
        return shifted_max(g_, source, places(c, geometry_, g_.shape(source), name), name.c_str());
      }
      case RuleCondition::count: {
        const Id peaks =
            local_maximum(g_, detections_[static_cast<std::size_t>(c.detection)], 1, (name + ".peaks").c_str());
        const Id sum = shifted_sum(g_, peaks, places(c, geometry_, g_.shape(peaks), name), (name + ".sum").c_str());
        const auto at_least = [&](int n, const std::string& as) {
          return sigmoid(g_, affine_map(g_, sum, 10, static_cast<float>(-10 * (n - 0.5)), (as + ".margin").c_str()),
                         as.c_str());
        };
        if (c.at_most < 0) return at_least(c.at_least, name);
        const Id few = negate(at_least(c.at_most + 1, name + ".more"), c.at_least > 0 ? name + ".few" : name);
        return c.at_least > 0 ? multiply(g_, at_least(c.at_least, name + ".enough"), few, -1, name.c_str()) : few;
      }
      case RuleCondition::negation:
        return negate(part(0), name);
      case RuleCondition::all:
      case RuleCondition::any: {
        Id total = part(0);
        for (std::size_t k = 1; k < c.parts.size(); ++k) {
          const std::string as = k + 1 == c.parts.size() ? name : name + ".to" + std::to_string(k + 1);
          const Id next = part(k);
          if (c.kind == RuleCondition::all) {
            total = multiply(g_, total, next, -1, as.c_str());
          } else {
            const Id terms[] = {
                total, next,
                affine_map(g_, multiply(g_, total, next, -1, (as + ".both").c_str()), -1, 0, (as + ".less").c_str())};
            total = add(g_, terms, as.c_str());
          }
        }
        return total;
      }
    }
    return no_id;
  }

  GraphBuilder& g_;
  const Geometry& geometry_;
  std::vector<Id> detections_;
};

}  // namespace

RuleBase RuleBase::parse(const std::string& text, const std::string& file) {
  RuleBase base;
  base.text = text;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Parser(base, line, file + ":" + std::to_string(number)).statement();
  }
  if (base.patterns.empty()) throw Error(file + ": names no pattern, expected a line 'pattern NAME'");
  return base;
}

RuleBase RuleBase::load(const std::string& file) {
  const std::vector<std::byte> text = io::read_file(file, std::size_t{1} << 24);
  return parse({reinterpret_cast<const char*>(text.data()), text.size()}, file);
}

std::string rule_node(const NamedRule& r, const std::string& path) {
  return "rule." + r.name + (path.empty() ? "" : "." + path);
}

std::vector<Id> build_rules(GraphBuilder& g, Id detections, const RuleBase& base, const Geometry& geometry) {
  std::vector<Id> slices, out;
  for (std::size_t q = 0; q < base.patterns.size(); ++q)
    slices.push_back(
        slice(g, detections, 1, static_cast<std::int32_t>(q), 1, 1, ("detection." + base.patterns[q]).c_str()));
  Compiler compiler(g, geometry, std::move(slices));
  for (const NamedRule& r : base.rules) out.push_back(compiler.build(r));
  return out;
}

}  // namespace vitrine
