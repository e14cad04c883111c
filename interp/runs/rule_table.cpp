#include "interp/runs/rule_table.h"

#include <algorithm>
#include <array>

#include "interp/runs/composite_file.h"

namespace vitrine {
namespace {

constexpr Setting epsilon_setting{
    Setting::number, "epsilon", "1e-6", "of rule epsilon: absorbs weak relevance", "", 0, 1e30},
    gamma_setting{
        Setting::number, "gamma", "0.25", "of rule gamma: how much positive contributions are favoured", "", 0, 1e30},
    alpha_setting{Setting::number,
                  "alpha",
                  "2",
                  "of rule alpha-beta: factor of positive contributions; alpha - beta = 1",
                  "",
                  1,
                  1e30},
    beta_setting{Setting::number,
                 "beta",
                 "",
                 "of rule alpha-beta: factor of negative contributions (default: alpha - 1)",
                 "",
                 0,
                 1e30},
    low_setting{Setting::numbers, "low", "", "of rule z-box: smallest input, one or one per channel (default: black)"},
    high_setting{Setting::numbers, "high", "", "of rule z-box: largest input, one or one per channel (default: white)"},
    stabiliser_setting{Setting::number, "stabiliser", "1e-6",      "eps, added to denominators with their sign", "",
                       1e-30,           1e30,         "stabilizer"},
    form_setting{Setting::choice, "stabiliser-form",
                 "offset",        "how: z + eps sgn(z), or sgn(z) max(|z|, eps)",
                 "offset|clip",   -1e300,
                 1e300,           "stabilise"},
    bias_setting{Setting::choice, "bias", "kept",
                 "kept: absorbs its share; dropped: takes no part; shared: spread over inputs", "kept|dropped|shared"};

constexpr Setting plain_lrp[] = {stabiliser_setting, form_setting, bias_setting};
constexpr Setting epsilon_lrp[] = {epsilon_setting, stabiliser_setting, form_setting, bias_setting};
constexpr Setting gamma_lrp[] = {gamma_setting, stabiliser_setting, form_setting, bias_setting};
constexpr Setting alpha_beta_lrp[] = {alpha_setting, beta_setting, stabiliser_setting, form_setting, bias_setting};
constexpr Setting box_lrp[] = {low_setting, high_setting, stabiliser_setting, form_setting, bias_setting};
constexpr Setting reversed[] = {
    {Setting::choice, "other", "refuse", "at activations that are no rectifiers", "refuse|gradient"}};

constexpr const char* bach = "Bach et al. 2015, eq. 56";
constexpr RuleEntry entries[] = {
    {"gradient", "derivative of the score", "Simonyan et al. 2014", {}, RuleKind::gradient},
    {"pass", "relevance unchanged, at activations, pools and views", "Bach et al. 2015", {}, RuleKind::pass},
    {name(LrpKind::zero), "by contribution, no guard; 0/0 is 0", bach, plain_lrp, LrpKind::zero},
    {name(LrpKind::epsilon), "by contribution, weak relevance absorbed", "Bach et al. 2015, eq. 58", epsilon_lrp,
     LrpKind::epsilon},
    {name(LrpKind::gamma), "positive contributions favoured, inputs of any sign", "Montavon et al. 2019, sec. 10.2.1",
     gamma_lrp, LrpKind::gamma},
    {name(LrpKind::alpha_beta), "positive and negative contributions apart", "Bach et al. 2015, eq. 60", alpha_beta_lrp,
     LrpKind::alpha_beta},
    {name(LrpKind::z_plus), "positive contributions alone (alpha 1, beta 0)", "Montavon et al. 2017, sec. 4.1",
     plain_lrp, LrpKind::z_plus},
    {name(LrpKind::z_box), "for inputs in a box, such as pixels (z^B)", "Montavon et al. 2017, sec. 4.2", box_lrp,
     LrpKind::z_box},
    {name(LrpKind::w_square), "by squared weights", "Montavon et al. 2017, sec. 4.3", plain_lrp, LrpKind::w_square},
    {name(LrpKind::flat), "evenly over the inputs", "Lapuschkin et al. 2017", plain_lrp, LrpKind::flat},
    {name(LrpKind::norm), "by contribution with the stabiliser alone, for average pools and sums", "Zennit", plain_lrp,
     LrpKind::norm},
    {"deconvnet", "gradient with the signal rectified at rectifiers", "Zeiler & Fergus 2014", reversed,
     RuleKind::deconvnet},
    {"guided-backprop", "gradient rectified by signal and by input", "Springenberg et al. 2015", reversed,
     RuleKind::guided_backprop},
    {"rescale",
     "DeepLIFT multipliers dy/dx (method deeplift only)",
     "Shrikumar et al. 2017, eq. 11-13",
     {},
     std::nullopt},
    {"reveal-cancel",
     "DeepLIFT, positive and negative parts apart (method deeplift only)",
     "Shrikumar et al. 2017, eq. 14-16",
     {},
     std::nullopt},
};

// The names of all composites with | between them. uniform-zero is an older name of uniform-lrp-0.
constexpr std::array<char, 512> composite_names = [] {
  std::array<char, 512> out{};
  std::size_t at = 0;
  const auto put = [&](const char* text) {
    while (*text != '\0') out[at++] = *text++;
  };
  for (const Composite* c : named_composites) put(c->name), put("|");
  for (const char* rule : lrp_names) put("uniform-"), put(rule), put("|");
  put("uniform-zero");
  return out;
}();

/// The nodes that a value depends on.
std::vector<bool> before(const Graph& g, Id value) {
  std::vector<bool> wanted(g.values.size(), false), nodes(g.nodes.size(), false);
  wanted[value] = true;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    nodes[i] = wanted[g.nodes[i].out];
    if (nodes[i])
      for (const Id v : g.nodes[i].in) wanted[v] = true;
  }
  return nodes;
}

}  // namespace

constinit const Setting lrp_settings[lrp_setting_count] = {
    {Setting::choice, "composite", "epsilon-plus", "which rule at which node (Zennit's composites)",
     composite_names.data()},
    epsilon_setting,
    gamma_setting,
    alpha_setting,
    beta_setting,
    low_setting,
    high_setting,
    stabiliser_setting,
    form_setting,
    bias_setting,
    {Setting::choice, "batch-norm", "merge",
     "merge: into the layer before it, where there is one; keep: explained as an op of its own", "merge|keep"},
};

std::span<const RuleEntry> rule_entries() { return entries; }

const RuleEntry& find_rule(const std::string& name, const std::string& where) {
  std::string known;
  for (const RuleEntry& e : entries) {
    if (name == e.name) return e;
    known += (known.empty() ? "" : ", ") + std::string(e.name);
  }
  throw Error(where + "unknown rule '" + name + "': expected one of " + known, Error::usage);
}

LrpSettings read_lrp_settings(const Settings& s) {
  LrpSettings out;
  LrpOptions& o = out.options;
  const auto number = [&](const char* key, float& to, LrpGiven::Bit bit) {
    if (!s.declares(key)) return;
    to = static_cast<float>(s.number(key));
    if (s.given(key)) out.given |= bit;
  };
  number("epsilon", o.epsilon, LrpGiven::epsilon);
  number("gamma", o.gamma, LrpGiven::gamma);
  number("alpha", o.alpha, LrpGiven::alpha_beta);
  number("stabiliser", o.stabiliser.eps, LrpGiven::stabiliser);
  if (s.declares("beta")) o.beta = s.given("beta") ? static_cast<float>(s.number("beta")) : o.alpha - 1;
  if (s.given("beta")) out.given |= LrpGiven::alpha_beta;
  o.stabiliser.mode = s.text("stabiliser-form") == "clip" ? kernels::Stabilise::clip : kernels::Stabilise::offset;
  if (s.given("stabiliser-form")) out.given |= LrpGiven::form;
  const std::string& bias = s.text("bias");
  o.bias = bias == "dropped" ? BiasMode::dropped : bias == "shared" ? BiasMode::shared : BiasMode::kept;
  if (s.given("bias")) out.given |= LrpGiven::bias;
  if (s.given("low")) out.low = s.numbers("low"), out.given |= LrpGiven::low;
  if (s.given("high")) out.high = s.numbers("high"), out.given |= LrpGiven::high;
  return out;
}

bool find_composite(const std::string& name, CompositeOptions& o) {
  for (const Composite* c : named_composites)
    if (name == c->name) {
      o.composite = *c;
      return true;
    }
  for (std::size_t k = 0; k < std::size(lrp_names); ++k)
    if (name == std::string("uniform-") + lrp_names[k] || (k == 0 && name == "uniform-zero")) {
      o.composite = Composite::uniform;
      o.rule.kind = static_cast<LrpKind>(k);
      return true;
    }
  return false;
}

CompositeOptions composite_options(const Model& model, const Settings& s, Assignment& assignment,
                                   const CompositeFile* file) {
  CompositeOptions o;
  o.rule = assignment.options(read_lrp_settings(s));
  const auto channels = static_cast<std::size_t>(model.image_shape().c());
  for (const char* key : {"low", "high"})
    if (const std::size_t n = (key[0] == 'l' ? o.rule.low : o.rule.high).size(); n != 1 && n != channels)
      s.refuse(key, "one number, or " + std::to_string(channels) + " (one per channel)");
  if (file != nullptr && s.given("composite"))
    throw Error(s.owner() + ": setting composite=" + s.text("composite") + " beside the composite " + file->path() +
                    ": expected one of them",
                Error::usage);
  if (file != nullptr)
    o.composite = file->composite();
  else if (!find_composite(s.text("composite"), o))
    s.refuse("composite", composite_names.data());
  return o;
}

RuleChoice parse_rule_choice(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw Error("--rule '" + text + "': expected NODE-PATTERN=rule[:key=value,...]", Error::usage);
  RuleChoice choice;
  choice.pattern = text.substr(0, equals);
  const std::size_t colon = text.find(':', equals);
  choice.rule = text.substr(equals + 1, colon == std::string::npos ? std::string::npos : colon - equals - 1);
  find_rule(choice.rule);
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
      memory_((std::size_t{1} << 20) + model.graph().nodes.size() * 1024),
      arena_(memory_.data(), memory_.bytes()),
      boxes_(model.graph().nodes.size()) {}

void Assignment::fill(const Rule* rule) { std::fill(rules.begin(), rules.end(), rule); }

void Assignment::fill_gradient() {
  static const GradientRule gradient;
  fill(&gradient);
}

void Assignment::compose(const CompositeOptions& o) {
  Failure failure;
  if (vitrine::compose(model_.graph(), o, arena_, rules, &failure) != Status::ok)
    throw Error("lrp: " + sentence(failure), Error::usage);
  const Graph& g = model_.graph();
  const auto first = std::make_unique<bool[]>(g.nodes.size());
  find_first_layers(g, {first.get(), g.nodes.size()});
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    Box box{o.rule.low, o.rule.high};
    const std::size_t k = entry_of(o.composite, g, g.nodes[i], first[i]);
    if (k < o.composite.entries.size()) {
      const RuleSpec& own = o.composite.entries[k].rule;
      if (own.given & LrpGiven::low) box.low = own.settings->low;
      if (own.given & LrpGiven::high) box.high = own.settings->high;
    }
    note_box(i, box);
  }
}

void Assignment::note_box(std::size_t node, Box box) {
  const bool boxed = rules[node] != nullptr && std::string_view(rules[node]->name()) == name(LrpKind::z_box);
  boxes_[node] = boxed && model_.graph().nodes[node].in[0] == model_.graph().input ? box : Box{};
}

std::string Assignment::outside_box(const TensorView& x) const {
  for (const Box& box : boxes_)
    for (std::int32_t c = 0; !box.low.empty() && c < x.shape.c(); ++c) {
      const auto bound = [&](std::span<const float> b) { return b[b.size() > 1 ? static_cast<std::size_t>(c) : 0]; };
      const float low = bound(box.low), high = bound(box.high), slack = 1e-4f * (high - low);
      float least = high, most = low;
      for (std::int32_t n = 0; n < x.shape.n(); ++n) {
        const real* const plane = x.data + (std::int64_t{n} * x.shape.c() + c) * x.shape.pixels();
        for (std::int64_t p = 0; p < x.shape.pixels(); ++p)
          least = std::min(least, static_cast<float>(plane[p])), most = std::max(most, static_cast<float>(plane[p]));
      }
      if (least >= low - slack && most <= high + slack) continue;
      char text[200];
      std::snprintf(text, sizeof text,
                    "inputs of channel %d are between %.4g and %.4g, outside the box of rule z-box, %.4g to %.4g: give "
                    "low and high, or say how pixels are prepared",
                    c, static_cast<double>(least), static_cast<double>(most), static_cast<double>(low),
                    static_cast<double>(high));
      return text;
    }
  return "";
}

void Assignment::compose(const CompositeOptions& o, const CompositeFile& file) {
  const Graph& g = model_.graph();
  const std::span<const CompositeEntry> all = o.composite.entries;
  for (std::size_t k = 0; k < all.size(); ++k) {
    bool matched = all[k].nodes == nullptr;
    for (const Node& node : g.nodes) matched = matched || matches(all[k].nodes, node.name);
    if (!matched) throw Error(file.where(k) + ": nodes '" + all[k].nodes + "' " + no_node(all[k].nodes), Error::usage);
  }
  compose(o);
  const auto first = std::make_unique<bool[]>(g.nodes.size());
  find_first_layers(g, {first.get(), g.nodes.size()});
  const std::vector<bool> walked = before(g, model_.logits());
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& node = g.nodes[i];
    if (!walked[i]) continue;
    if (const char* why = rules[i]->refuses(*node.op))
      throw Error(file.where(entry_of(o.composite, g, node, first[i])) + ": rule " + rules[i]->name() + " at " +
                      node.name + " (" + node.op->name() + "): " + why,
                  Error::usage);
  }
}

std::string Assignment::no_node(const char* pattern) const {
  for (const auto& [alias, node] : model_.aliases)
    if (matches(pattern, alias.c_str()))
      return "matches '" + alias + "', which is part of node '" + node +
             "' (a batch norm that is merged stays apart with --set batch-norm=keep)";
  std::string names;
  for (const Node& node : model_.graph().nodes) names += (names.empty() ? "" : ", ") + std::string(node.name);
  return "matches no node: the nodes are " + names;
}

std::span<const float> Assignment::keep(const std::vector<float>& values) {
  float* const p = arena_.array<float>(values.size());
  if (p == nullptr) throw Error("too many rules for one walk");
  std::copy(values.begin(), values.end(), p);
  return {p, values.size()};
}

LrpOptions Assignment::options(const LrpSettings& s) {
  std::vector<float> low, high;
  input_box(model_, low, high);
  LrpOptions o = s.options;
  o.low = keep(s.given & LrpGiven::low ? s.low : low);
  o.high = keep(s.given & LrpGiven::high ? s.high : high);
  return o;
}

const Rule* Assignment::make(const RuleChoice& choice, bool nonnegative, Box& box) {
  const RuleEntry& entry = find_rule(choice.rule);
  const Settings s("rule " + choice.rule, entry.settings, choice.settings);
  if (!entry.rule)
    throw Error("rule " + choice.rule + " carries multipliers, not relevance: use it with --method deeplift",
                Error::usage);
  RuleSpec spec = *entry.rule;
  if (s.declares("other")) spec.strict = s.text("other") == "refuse";
  RuleSet set(arena_);
  const LrpOptions lrp = spec.kind == RuleKind::lrp ? options(read_lrp_settings(s)) : LrpOptions{};
  box = {lrp.low, lrp.high};
  const Rule* const rule = set.make(spec, lrp, nonnegative);
  if (rule == nullptr) throw Error("rule " + choice.rule + " " + set.why(), Error::usage);
  return rule;
}

void Assignment::override_with(const std::vector<RuleChoice>& choices) {
  const Graph& g = model_.graph();
  const auto nonnegative = std::make_unique<bool[]>(g.values.size());
  find_nonnegative(g, {nonnegative.get(), g.values.size()});
  for (const RuleChoice& choice : choices) {
    // Two objects at most: for inputs known to be non-negative, and for others.
    const Rule* made[2] = {};
    Box box;
    bool matched = false;
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      const Node& node = g.nodes[i];
      if (!matches(choice.pattern.c_str(), node.name)) continue;
      matched = true;
      const bool sign = nonnegative[node.in[0]];
      if (made[sign] == nullptr) made[sign] = make(choice, sign, box);
      if (const char* why = made[sign]->refuses(*node.op))
        throw Error("rule " + choice.rule + " at " + node.name + " (" + node.op->name() + "): " + why, Error::usage);
      rules[i] = made[sign];
      note_box(i, box);
    }
    if (!matched)
      throw Error("--rule: pattern '" + choice.pattern + "' " + no_node(choice.pattern.c_str()), Error::usage);
  }
}

}  // namespace vitrine
