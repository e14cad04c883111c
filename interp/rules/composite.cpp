#include "interp/rules/composite.h"

namespace vitrine {
namespace {

bool is(const Op& op, const char* name) noexcept { return matches(name, op.name()); }

bool weighted(const Op& op) noexcept {
  return op.klass() == OpClass::affine && static_cast<const AffineOp&>(op).mixes();
}

struct Pick {
  LrpKind conv, linear;
  bool flat_first = false, box_first = false;
};

Pick pick(const CompositeOptions& o) noexcept {
  switch (o.composite) {
    case Composite::epsilon_plus:
      return {LrpKind::z_plus, LrpKind::epsilon};
    case Composite::epsilon_plus_flat:
      return {LrpKind::z_plus, LrpKind::epsilon, true};
    case Composite::epsilon_gamma_box:
      return {LrpKind::gamma, LrpKind::epsilon, false, true};
    case Composite::epsilon_alpha2_beta1:
      return {LrpKind::alpha_beta, LrpKind::epsilon};
    case Composite::epsilon_alpha2_beta1_flat:
      return {LrpKind::alpha_beta, LrpKind::epsilon, true};
    case Composite::excitation_backprop:
      return {LrpKind::z_plus, LrpKind::z_plus};
    case Composite::uniform:
      break;
  }
  return {o.rule.kind, o.rule.kind};
}

}  // namespace

const Rule* RuleSet::lrp(const LrpOptions& options, bool nonnegative) noexcept {
  why_ = LrpRule::check(options);
  return why_ == nullptr ? make<LrpRule>(options, nonnegative) : nullptr;
}

void find_nonnegative(const Graph& g, std::span<bool> values) noexcept {
  for (bool& b : values) b = false;
  for (const Node& node : g.nodes) {
    bool all = true;
    for (const Id v : node.in) all = all && values[v];
    switch (node.op->klass()) {
      case OpClass::pointwise:
        values[node.out] = static_cast<const PointwiseOp&>(*node.op).nonnegative() ||
                           (all && static_cast<const PointwiseOp&>(*node.op).gates());
        break;
      case OpClass::affine:
        values[node.out] = all && static_cast<const AffineOp&>(*node.op).weights() == Weights::fixed;
        break;
      case OpClass::route:
      case OpClass::view:
        values[node.out] = all;
        break;
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
  // nodes[i] serves first as "node i's result is reached from the input without a weighted node".
  const auto reached = [&](Id v) noexcept {
    const Value& value = g.values[v];
    return value.kind == ValueKind::input || (value.producer != no_id && nodes[value.producer]);
  };
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    nodes[i] = false;
    for (const Id v : g.nodes[i].in)
      nodes[i] =
          nodes[i] || (reached(v) && !(g.values[v].producer != no_id && weighted(*g.nodes[g.values[v].producer].op)));
  }
  for (std::size_t i = 0; i < g.nodes.size(); ++i) nodes[i] = nodes[i] && weighted(*g.nodes[i].op);
}

Status compose(const Graph& g, const CompositeOptions& o, Arena& arena, std::span<const Rule*> rules,
               Failure* failure) noexcept {
  const auto fail = [&](Status s, const char* what) noexcept {
    if (failure != nullptr) *failure = {s, "", what, {}, {}, 0};
    return s;
  };
  bool* const nonnegative = arena.array<bool>(g.values.size());
  bool* const first = arena.array<bool>(g.nodes.size());
  if (nonnegative == nullptr || first == nullptr) return fail(Status::out_of_arena, "the rules' arena is full");
  find_nonnegative(g, {nonnegative, g.values.size()});
  find_first_layers(g, {first, g.nodes.size()});

  RuleSet set(arena);
  const Pick chosen = pick(o);
  // One rule object a (kind, input sign) pair serves all its nodes.
  struct Made {
    const Rule* rule[2];
  };
  Made made[static_cast<std::size_t>(LrpKind::norm) + 1] = {};
  const auto rule = [&](LrpKind kind, bool sign) noexcept {
    const Rule*& slot = made[static_cast<std::size_t>(kind)].rule[sign];
    if (slot == nullptr) {
      LrpOptions options = o.rule;
      options.kind = kind;
      if (kind == LrpKind::alpha_beta && o.composite != Composite::uniform) options.alpha = 2, options.beta = 1;
      slot = set.lrp(options, sign);
    }
    return slot;
  };
  const Rule* const gradient = set.make<GradientRule>();
  const Rule* const pass = set.make<PassRule>();
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& node = g.nodes[i];
    const bool sign = nonnegative[node.in[0]];
    switch (node.op->klass()) {
      case OpClass::affine: {
        LrpKind kind = LrpKind::norm;
        if (weighted(*node.op)) {
          const bool conv = is(*node.op, "conv*");
          kind = conv ? chosen.conv : chosen.linear;
          if (first[i] && chosen.flat_first) kind = LrpKind::flat;
          if (first[i] && chosen.box_first && conv) kind = LrpKind::z_box;
        }
        // Excitation backprop is the gradient wherever it has no rule of its own, a batch norm that stands alone
        // included.
        const bool plain = o.composite == Composite::excitation_backprop &&
                           static_cast<const AffineOp&>(*node.op).weights() == Weights::diagonal;
        rules[i] = plain ? gradient : rule(kind, sign);
        break;
      }
      case OpClass::pointwise:
        rules[i] = o.composite == Composite::excitation_backprop && !static_cast<const PointwiseOp&>(*node.op).gates()
                       ? gradient
                       : pass;
        break;
      case OpClass::route:
      case OpClass::view:
        rules[i] = pass;
        break;
      // The LRP rule says by itself what it does at these, or why it refuses.
      case OpClass::product:
      case OpClass::custom:
        rules[i] = rule(LrpKind::norm, false);
        break;
    }
    if (rules[i] == nullptr) {
      const Status s = fail(Status::bad_argument, set.why());
      if (failure != nullptr) failure->node = node.name;
      return s;
    }
  }
  return Status::ok;
}

}  // namespace vitrine
