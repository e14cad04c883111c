#include "interp/predict/rule_table.h"

#include <algorithm>
#include <cstring>

#include "interp/rules/deeplift.h"
#include "interp/rules/signal.h"

namespace vitrine {
namespace {

#define VITRINE_COMMON_SETTINGS                                                                                     \
  {Setting::number, "stabilizer", "1e-6", "guard added to denominators with their sign", "", 1e-30, 1e30},          \
      {Setting::choice, "stabilise", "offset", "how the guard acts: z + eps sgn(z), or sgn(z) max(|z|, eps)",       \
       "offset|clip"},                                                                                              \
  {                                                                                                                 \
    Setting::choice, "bias", "kept", "kept: absorbs its share; dropped: takes no part; shared: spread over inputs", \
        "kept|dropped|shared"                                                                                       \
  }

constexpr Setting plain_lrp[] = {VITRINE_COMMON_SETTINGS};
constexpr Setting epsilon_lrp[] = {{Setting::number, "epsilon", "1e-6", "absorbs weak relevance", "", 0, 1e30},
                                   VITRINE_COMMON_SETTINGS};
constexpr Setting gamma_lrp[] = {
    {Setting::number, "gamma", "0.25", "how much positive contributions are favoured", "", 0, 1e30},
    VITRINE_COMMON_SETTINGS};
constexpr Setting alpha_beta_lrp[] = {
    {Setting::number, "alpha", "2", "factor of positive contributions; alpha - beta = 1", "", 1, 1e30},
    {Setting::number, "beta", "1", "factor of negative contributions", "", 0, 1e30},
    VITRINE_COMMON_SETTINGS};
constexpr Setting box_lrp[] = {{Setting::numbers, "low", "", "smallest input, one or one a channel (default: black)"},
                               {Setting::numbers, "high", "", "largest input, one or one a channel (default: white)"},
                               VITRINE_COMMON_SETTINGS};
constexpr Setting reversed[] = {
    {Setting::choice, "other", "refuse", "at activations that are no rectifiers", "refuse|gradient"}};

constexpr RuleEntry entries[] = {
    {"gradient", "derivative of the score", "Simonyan et al. 2014", {}},
    {"pass", "relevance unchanged, at activations, pools and views", "Bach et al. 2015", {}},
    {"lrp-0", "by contribution, no guard; 0/0 is 0", "Bach et al. 2015, eq. 56", plain_lrp},
    {"epsilon", "by contribution, weak relevance absorbed", "Bach et al. 2015, eq. 58", epsilon_lrp},
    {"gamma", "positive contributions favoured, inputs of any sign", "Montavon et al. 2019, sec. 10.2.1", gamma_lrp},
    {"alpha-beta", "positive and negative contributions apart", "Bach et al. 2015, eq. 60", alpha_beta_lrp},
    {"z-plus", "positive contributions alone (alpha 1, beta 0)", "Montavon et al. 2017, sec. 4.1", plain_lrp},
    {"z-box", "for inputs in a box, such as pixels (z^B)", "Montavon et al. 2017, sec. 4.2", box_lrp},
    {"w-square", "by squared weights", "Montavon et al. 2017, sec. 4.3", plain_lrp},
    {"flat", "evenly over the inputs", "Lapuschkin et al. 2017", plain_lrp},
    {"norm", "epsilon's guard alone, for average pools and sums", "Zennit", plain_lrp},
    {"deconvnet", "gradient with the signal rectified at rectifiers", "Zeiler & Fergus 2014", reversed},
    {"guided-backprop", "gradient rectified by signal and by input", "Springenberg et al. 2015", reversed},
    {"rescale", "DeepLIFT multipliers dy/dx (method deeplift only)", "Shrikumar et al. 2017, eq. 11-13", {}},
    {"reveal-cancel",
     "DeepLIFT, positive and negative parts apart (method deeplift only)",
     "Shrikumar et al. 2017, eq. 14-16",
     {}},
};

const RuleEntry& find(const std::string& name) {
  std::string known;
  for (const RuleEntry& e : entries) {
    if (name == e.name) return e;
    known += (known.empty() ? "" : ", ") + std::string(e.name);
  }
  throw Error("unknown rule '" + name + "': expected one of " + known, Error::usage);
}

LrpKind lrp_kind(const std::string& name) {
  if (name == "lrp-0") return LrpKind::zero;
  if (name == "gamma") return LrpKind::gamma;
  if (name == "alpha-beta") return LrpKind::alpha_beta;
  if (name == "z-plus") return LrpKind::z_plus;
  if (name == "z-box") return LrpKind::z_box;
  if (name == "w-square") return LrpKind::w_square;
  if (name == "flat") return LrpKind::flat;
  if (name == "norm") return LrpKind::norm;
  return LrpKind::epsilon;
}

}  // namespace

std::span<const RuleEntry> rule_entries() { return entries; }

RuleChoice parse_rule_choice(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw Error("--rule '" + text + "': expected NODE-PATTERN=rule[:key=value,...]", Error::usage);
  RuleChoice choice;
  choice.pattern = text.substr(0, equals);
  const std::size_t colon = text.find(':', equals);
  choice.rule = text.substr(equals + 1, colon == std::string::npos ? std::string::npos : colon - equals - 1);
  find(choice.rule);
  if (colon != std::string::npos) choice.settings = parse_settings("rule " + choice.rule, text.substr(colon + 1));
  return choice;
}

void input_box(const Model& model, std::vector<float>& low, std::vector<float>& high) {
  const auto& p = model.preparation;
  low.clear();
  high.clear();
  for (std::size_t c = 0; c < p.mean.size(); ++c) {
    low.push_back((0 - p.mean[c]) / p.std[c]);
    high.push_back((1 - p.mean[c]) / p.std[c]);
  }
  if (low.empty()) low = {0}, high = {1};
}

Assignment::Assignment(const Model& model)
    : rules(model.graph().nodes.size(), nullptr),
      model_(model),
      memory_(std::size_t{1} << 20 | (model.graph().nodes.size() * 1024)),
      arena_(memory_.data(), memory_.bytes()) {}

void Assignment::fill(const Rule* rule) { std::fill(rules.begin(), rules.end(), rule); }

void Assignment::compose(const CompositeOptions& o) {
  Failure failure;
  if (vitrine::compose(model_.graph(), o, arena_, rules, &failure) != Status::ok)
    throw Error("lrp: " + sentence(failure), Error::usage);
}

std::span<const float> Assignment::keep(std::vector<float> values) {
  float* const p = arena_.array<float>(values.size());
  if (p == nullptr) throw Error("too many rules for one walk");
  std::copy(values.begin(), values.end(), p);
  return {p, values.size()};
}

const Rule* Assignment::make(const RuleChoice& choice, bool nonnegative) {
  const RuleEntry& entry = find(choice.rule);
  const Settings s("rule " + choice.rule, entry.settings, choice.settings);
  RuleSet set(arena_);
  const Rule* rule = nullptr;
  if (choice.rule == "gradient") {
    rule = set.make<GradientRule>();
  } else if (choice.rule == "pass") {
    rule = set.make<PassRule>();
  } else if (choice.rule == "deconvnet" || choice.rule == "guided-backprop") {
    rule = set.make<RectifyRule>(choice.rule == "deconvnet" ? kernels::Rectify::deconvnet : kernels::Rectify::guided,
                                 s.text("other") == "refuse");
  } else if (choice.rule == "rescale" || choice.rule == "reveal-cancel") {
    throw Error("rule " + choice.rule + " carries multipliers, not relevance: use it with --method deeplift",
                Error::usage);
  } else {
    LrpOptions o;
    o.kind = lrp_kind(choice.rule);
    o.stabilizer = static_cast<float>(s.number("stabilizer"));
    o.stabilise = s.text("stabilise") == "clip" ? kernels::Stabilise::clip : kernels::Stabilise::offset;
    o.bias = s.text("bias") == "dropped"  ? BiasMode::dropped
             : s.text("bias") == "shared" ? BiasMode::shared
                                          : BiasMode::kept;
    if (o.kind == LrpKind::epsilon) o.epsilon = static_cast<float>(s.number("epsilon"));
    if (o.kind == LrpKind::gamma) o.gamma = static_cast<float>(s.number("gamma"));
    if (o.kind == LrpKind::alpha_beta) {
      o.alpha = static_cast<float>(s.number("alpha"));
      o.beta = static_cast<float>(s.given("alpha") && !s.given("beta") ? s.number("alpha") - 1 : s.number("beta"));
    }
    if (o.kind == LrpKind::z_box) {
      std::vector<float> low, high;
      input_box(model_, low, high);
      o.low = keep(s.given("low") ? s.numbers("low") : low);
      o.high = keep(s.given("high") ? s.numbers("high") : high);
    }
    rule = set.lrp(o, nonnegative);
  }
  if (rule == nullptr) throw Error("rule " + choice.rule + " " + set.why(), Error::usage);
  return rule;
}

void Assignment::override_with(const std::vector<RuleChoice>& choices) {
  const Graph& g = model_.graph();
  std::vector<char> flags(g.values.size());
  const std::span<bool> nonnegative(reinterpret_cast<bool*>(flags.data()), flags.size());
  find_nonnegative(g, nonnegative);
  for (const RuleChoice& choice : choices) {
    // Two objects at most: for inputs known to be non-negative, and for others.
    const Rule* made[2] = {};
    bool matched = false;
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      const Node& node = g.nodes[i];
      if (!matches(choice.pattern.c_str(), node.name)) continue;
      matched = true;
      const bool sign = nonnegative[node.in[0]];
      if (made[sign] == nullptr) made[sign] = make(choice, sign);
      if (const char* why = made[sign]->refuses(*node.op))
        throw Error("rule " + choice.rule + " at " + node.name + " (" + node.op->name() + "): " + why, Error::usage);
      rules[i] = made[sign];
    }
    if (!matched) {
      for (const auto& [alias, node] : model_.aliases)
        if (matches(choice.pattern.c_str(), alias.c_str()))
          throw Error("--rule: pattern '" + choice.pattern + "' matches '" + alias + "', which is part of node '" +
                          node + "' (a batch norm that is merged stays apart with --set batch-norm=keep)",
                      Error::usage);
      std::string names;
      for (const Node& node : g.nodes) names += (names.empty() ? "" : ", ") + std::string(node.name);
      throw Error("--rule: pattern '" + choice.pattern + "' matches no node: the nodes are " + names, Error::usage);
    }
  }
}

}  // namespace vitrine
