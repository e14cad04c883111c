#include "interp/rules/composite.h"

namespace vitrine {
namespace {

bool weighted(const Op& op) noexcept {
  return op.op_class() == OpClass::affine && static_cast<const AffineOp&>(op).mixes();
}
bool has(const Node& node, Weights weights) noexcept {
  return node.op->op_class() == OpClass::affine && static_cast<const AffineOp&>(*node.op).weights() == weights;
}
template <OpClass Class>
bool is(const Graph&, const Node& node) noexcept {
  return node.op->op_class() == Class;
}

constexpr OpWord words[] = {
    {"weighted", "convolutions and linear layers",
     [](const Graph&, const Node& n) noexcept { return weighted(*n.op); }},
    {"spatial", "convolutions", [](const Graph&, const Node& n) noexcept { return has(n, Weights::spatial); }},
    {"dense", "linear layers", [](const Graph&, const Node& n) noexcept { return has(n, Weights::dense); }},
    {"normaliser", "batch norms that are not merged, scales: one factor and one shift per element",
     [](const Graph&, const Node& n) noexcept { return has(n, Weights::diagonal); }},
    {"fixed", "linear ops without weights: average pools, sums, bilinear upsampling",
     [](const Graph&, const Node& n) noexcept { return has(n, Weights::fixed); }},
    {"activation", "pointwise functions", is<OpClass::pointwise>},
    {"gate", "maps times a gate that is made from them", is<OpClass::gate>},
    {"affine", "weighted, normaliser and fixed", is<OpClass::affine>},
    {"pointwise", "activation and gate", [](const Graph&, const Node& n) noexcept { return is_activation(*n.op); }},
    {"route", "max pools", is<OpClass::route>},
    {"view", "ops that move elements: flatten, concat, pad, nearest upsampling", is<OpClass::view>},
    {"product", "products of two values", is<OpClass::product>},
    {"custom", "softmax, local response normalisation", is<OpClass::custom>},
};

/// Whether `word` is one of the alternatives, spelt out.
bool lists(const char* alternatives, const char* word) noexcept {
  for (const char* at = alternatives;; ++at) {
    const char* w = word;
    for (; *at != '\0' && *at != '|'; ++at)
      if (w != nullptr) w = *w == *at ? w + 1 : nullptr;
    if (w != nullptr && *w == '\0') return true;
    if (*at == '\0') return false;
  }
}

bool meets(const char* ops, const Graph& g, const Node& node) noexcept {
  if (matches(ops, node.op->name())) return true;
  for (const OpWord& word : words)
    if (word.holds(g, node) && lists(ops, word.name)) return true;
  return false;
}

/// The options of a rule: its own settings where it gives them, else those of all rules.
LrpOptions options_of(const RuleSpec& spec, const LrpOptions& all) noexcept {
  LrpOptions o = all;
  if (spec.kind == RuleKind::lrp) o.kind = spec.lrp;
  if (spec.settings == nullptr) return o;
  const LrpOptions& own = *spec.settings;
  if (spec.given & LrpGiven::epsilon) o.epsilon = own.epsilon;
  if (spec.given & LrpGiven::gamma) o.gamma = own.gamma;
  if (spec.given & LrpGiven::alpha_beta) o.alpha = own.alpha, o.beta = own.beta;
  if (spec.given & LrpGiven::stabiliser) o.stabiliser.eps = own.stabiliser.eps;
  if (spec.given & LrpGiven::form) o.stabiliser.mode = own.stabiliser.mode;
  if (spec.given & LrpGiven::bias) o.bias = own.bias;
  if (spec.given & LrpGiven::low) o.low = own.low;
  if (spec.given & LrpGiven::high) o.high = own.high;
  return o;
}

}  // namespace

std::span<const OpWord> op_words() noexcept { return words; }

const Rule* RuleSet::make(const RuleSpec& spec, const LrpOptions& settings, bool nonnegative) noexcept {
  switch (spec.kind) {
    case RuleKind::pass:
      return make<PassRule>();
    case RuleKind::gradient:
      return make<GradientRule>();
    case RuleKind::deconvnet:
      return make<RectifyRule>(kernels::Rectify::deconvnet, spec.strict);
    case RuleKind::guided_backprop:
      return make<RectifyRule>(kernels::Rectify::guided, spec.strict);
    case RuleKind::lrp:
    case RuleKind::chosen:
      break;
  }
  const LrpOptions options = options_of(spec, settings);
  why_ = check(options);
  return why_ == nullptr ? make<LrpRule>(options, nonnegative) : nullptr;
}

void find_nonnegative(const Graph& g, std::span<bool> values) noexcept {
  for (bool& b : values) b = false;
  for (const Node& node : g.nodes) {
    bool all = true;
    for (const Id v : node.in) all = all && values[v];
    switch (node.op->op_class()) {
      case OpClass::pointwise:
        values[node.out] = static_cast<const PointwiseOp&>(*node.op).nonnegative();
        break;
      case OpClass::affine:
        values[node.out] = all && static_cast<const AffineOp&>(*node.op).weights() == Weights::fixed;
        break;
      case OpClass::gate:
      case OpClass::route:
      case OpClass::view:
      case OpClass::product:
        values[node.out] = all;
        break;
      case OpClass::custom:
        values[node.out] = all && static_cast<const CustomOp&>(*node.op).passes();
        break;
    }
  }
}

void find_first_layers(const Graph& g, std::span<bool> nodes) noexcept {
  // nodes[i] serves first as "node i's result is reached from the main input without a weighted node".
  const auto reached = [&](Id v) noexcept {
    const Id producer = g.values[v].producer;
    return v == g.input || (producer != no_id && nodes[producer]);
  };
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    nodes[i] = false;
    for (const Id v : g.nodes[i].in)
      nodes[i] =
          nodes[i] || (reached(v) && !(g.values[v].producer != no_id && weighted(*g.nodes[g.values[v].producer].op)));
  }
  for (std::size_t i = 0; i < g.nodes.size(); ++i) nodes[i] = nodes[i] && weighted(*g.nodes[i].op);
}

std::size_t entry_of(const Composite& composite, const Graph& g, const Node& node, bool first) noexcept {
  std::size_t k = 0;
  for (const CompositeEntry& e : composite.entries) {
    if ((!e.first || first) && (e.nodes == nullptr || matches(e.nodes, node.name)) &&
        (e.ops == nullptr || meets(e.ops, g, node)))
      break;
    ++k;
  }
  return k;
}

Status compose(const Graph& g, const CompositeOptions& o, Arena& arena, std::span<const Rule*> rules,
               Failure* failure) noexcept {
  const auto fail = [&](Status s, const char* node, const char* what) noexcept {
    if (failure != nullptr) *failure = {s, node, what, {}, {}, 0};
    return s;
  };
  struct Made {
    const Rule* rule[2];  // for inputs of any sign, and without negative elements
  };
  const Composite& composite = o.composite;
  const std::size_t specs = composite.entries.size() + 1;
  bool* const nonnegative = arena.array<bool>(g.values.size());
  bool* const first = arena.array<bool>(g.nodes.size());
  Made* const made = arena.array<Made>(specs);
  if (nonnegative == nullptr || first == nullptr || made == nullptr)
    return fail(Status::out_of_arena, "", "the rules' arena is full");
  find_nonnegative(g, {nonnegative, g.values.size()});
  find_first_layers(g, {first, g.nodes.size()});
  for (std::size_t k = 0; k < specs; ++k) made[k] = {};

  RuleSet set(arena);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& node = g.nodes[i];
    const std::size_t k = entry_of(composite, g, node, first[i]);
    const bool sign = nonnegative[node.in[0]];
    const Rule*& rule = made[k].rule[sign];
    if (rule == nullptr)
      rule = set.make(k < composite.entries.size() ? composite.entries[k].rule : composite.otherwise, o.rule, sign);
    if (rule == nullptr) return fail(Status::bad_argument, node.name, set.why());
    rules[i] = rule;
  }
  return Status::ok;
}

}  // namespace vitrine
