// DeepLIFT [Shrikumar et al. 2017]: the difference of the score from that of a baseline, shared out by multipliers.
//
//   R_i = m_i * (x_i - b_i),   sum_i R_i = score(x) - score(b)
//
// interp/rules/README.md has the rules Rescale and RevealCancel.
#include "interp/rules/deeplift.h"

#include <algorithm>

#include "interp/runs/one_walk.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    {Setting::choice, "rule", "rescale",
     "at activations; genomics-default: reveal-cancel after linear layers, else rescale",
     "rescale|reveal-cancel|genomics-default"},
};

class Rescale final : public OneWalk {
 public:
  explicit Rescale(const AttributionCall& c)
      : OneWalk(c, c.ledger ? c.subject.model() : c.subject.merged(c.objective.kept_nodes()), Walk::Seed::weights,
                true) {
    assignment_.fill(&rule_);
    // With one baseline for all images its trace is made once, and kept. Other inputs differ per image.
    const bool one = c.baseline.one_for_all() && model_.graph().inputs.size() == 1;
    start({.reference = true, .one_reference = one});
  }

 private:
  DeepLiftRescale rule_;
};

class RevealCancel final : public OneWalk {
 public:
  /// `reveal`: per node, whether it uses RevealCancel.
  RevealCancel(const AttributionCall& c, const std::vector<bool>& reveal)
      : OneWalk(c, c.subject.model(), Walk::Seed::weights, true), reveal_(new bool[reveal.size()]) {
    std::copy(reveal.begin(), reveal.end(), reveal_.get());
    const Graph& g = model_.graph();
    std::size_t bytes = 1 << 16;
    for (const Value& v : g.values)
      bytes +=
          v.kind == ValueKind::parameter ? 64 : 2 * (static_cast<std::size_t>(v.shape.size()) * sizeof(real) + 128);
    // Parts and plan alike grow with the batch; half of the budget each is a safe split.
    const auto batch = static_cast<std::int32_t>(std::clamp<std::size_t>(subject_.memory_budget() / 2 / bytes, 1, 64));
    book_ = Memory((2 * sizeof(TensorView)) * g.values.size() + Arena::alignment);
    memory_ = Memory(bytes * static_cast<std::size_t>(batch), subject_.engine().device());
    Arena book(book_.data(), book_.bytes()), data(memory_.data(), memory_.bytes());
    DeepLiftParts parts;
    if (make_deeplift_parts(g, batch, book, data, parts) != Status::ok)
      throw Error("deeplift: the parts of all values do not fit in memory");
    rule_ = std::make_unique<DeepLiftRevealCancel>(g, parts, std::span<const bool>(reveal_.get(), reveal.size()));
    assignment_.fill(rule_.get());
    start({.reference = true, .channels = 2, .observer = rule_.get(), .batch = batch});
  }

 protected:
  void finish(const Query& q, real* out) override {
    const Storage result(subject_.engine(), static_cast<std::size_t>(q.x.size()));
    walk_->session().check([&](const Context& ctx) {
      return rule_->contribution(ctx, walk_->session().run(), model_.graph().input, {result.data(), q.x.shape});
    });
    result.download({out, static_cast<std::size_t>(q.x.size())});
  }

 private:
  std::unique_ptr<bool[]> reveal_;
  Memory book_, memory_;
  std::unique_ptr<DeepLiftRevealCancel> rule_;
};

// Which pointwise nodes use RevealCancel.
std::vector<bool> reveal_nodes(const AttributionCall& c, const std::string& rule) {
  const Graph& g = c.subject.model().graph();
  std::vector<bool> reveal(g.nodes.size(), false);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    if (!is_activation(*g.nodes[i].op)) continue;
    const Id producer = g.values[g.nodes[i].in[0]].producer;
    const Op* const before = producer != no_id ? g.nodes[producer].op : nullptr;
    const bool dense = before != nullptr && before->op_class() == OpClass::affine &&
                       static_cast<const AffineOp*>(before)->weights() == Weights::dense;
    reveal[i] = rule == "reveal-cancel" || (rule == "genomics-default" && dense);
  }
  for (const RuleChoice& choice : c.rules) {
    if (choice.rule != "rescale" && choice.rule != "reveal-cancel")
      throw Error("rule " + choice.rule + " carries no multipliers: method deeplift takes rescale and reveal-cancel",
                  Error::usage);
    bool matched = false;
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      if (!matches(choice.pattern.c_str(), g.nodes[i].name)) continue;
      if (!is_activation(*g.nodes[i].op))
        throw Error("rule " + choice.rule + " at " + g.nodes[i].name + " (" + g.nodes[i].op->name() +
                        "): is no activation, where alone it has a meaning",
                    Error::usage);
      reveal[i] = choice.rule == "reveal-cancel";
      matched = true;
    }
    if (!matched) throw Error("--rule: pattern '" + choice.pattern + "' matches no node", Error::usage);
  }
  return reveal;
}

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  require_logit(c);
  const std::vector<bool> reveal = reveal_nodes(c, s.text("rule"));
  if (std::find(reveal.begin(), reveal.end(), true) == reveal.end()) return std::make_unique<Rescale>(c);
  return std::make_unique<RevealCancel>(c, reveal);
}

}  // namespace

extern const MethodEntry deeplift;
constinit const MethodEntry deeplift = {
    .card = {.name = "deeplift",
             .summary = "differences from a baseline, by multipliers",
             .reference = "Shrikumar et al. 2017",
             .promises = {.completeness = true, .sensitivity = true, .class_sensitivity = true},
             .forward_calls = "2",
             .takes_baseline = true,
             .takes_rules = true,
             .takes_ledger = true,
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
