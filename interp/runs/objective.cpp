#include "interp/runs/objective.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/host/io/npy.h"
#include "interp/settings.h"

namespace vitrine {
namespace {

std::string described(const std::vector<int>& classes) {
  if (classes.size() > 1) return "a class per image";
  return classes[0] == Objective::predicted || classes[0] == Objective::usual ? "predicted"
                                                                              : "class " + std::to_string(classes[0]);
}

int whole_number(const std::string& text) {
  double v = 0;
  const bool whole = parse_number(text, v) && v == std::floor(v) && v >= 0 && v < 1e9;
  return whole ? static_cast<int>(v) : -1;
}

// One side of a target; none if the text is no class.
std::optional<std::vector<int>> class_list(const Model& model, const std::string& text, std::span<const int> labels) {
  if (text == "predicted") return std::vector<int>{Objective::predicted};
  if (text == "label") {
    if (labels.empty()) throw Error("--target label: labels come with --data, and there is none", Error::usage);
    return std::vector<int>(labels.begin(), labels.end());
  }
  const bool one_logit = model.output_kind() == OutputKind::logit;
  if (one_logit && (text == "positive" || text == "logit")) return std::vector<int>{1};
  if (one_logit && text == "negative") return std::vector<int>{0};
  if (const int c = whole_number(text); c >= 0) {
    const bool the_logit = one_logit && model.class_names.empty() && c == 0;
    return std::vector<int>{the_logit ? 1 : c};
  }
  for (std::size_t k = 0; k < model.class_names.size(); ++k)
    if (model.class_names[k] == text) return std::vector<int>{static_cast<int>(k)};
  return {};
}

std::vector<int> classes_of_file(const std::string& path) {
  const io::NpyArray array = io::read_npy(path);
  const std::vector<float> values = array.floats();
  std::vector<int> out;
  for (const float v : values) {
    if (!(v >= 0) || v != std::floor(v) || v > 1e9f)
      throw Error(path + ": holds " + std::to_string(v) + ", expected class numbers");
    out.push_back(static_cast<int>(v));
  }
  if (out.empty() || array.shape.size() > 2) throw Error(path + ": expected one class number per image");
  return out;
}

void check_channel(const std::string& node, const Shape& s, std::int32_t channel) {
  if (channel >= s.c())
    throw Error("objective " + node + ":" + std::to_string(channel) + ": the node has channels 0 to " +
                    std::to_string(s.c() - 1),
                Error::usage);
}

}  // namespace

namespace {

double weighted_sum(const std::vector<Weight>& weights, const real* value) {
  if (weights.size() == 1) return static_cast<double>(weights[0].factor) * static_cast<double>(value[weights[0].at]);
  double sum = 0;
  for (const Weight& w : weights) sum += static_cast<double>(w.factor) * static_cast<double>(value[w.at]);
  return sum;
}

double sigmoid(double odds) { return 1 / (1 + std::exp(-odds)); }

}  // namespace

// ln of the others' total against the class's own: neither 1 - p nor a small p is lost to rounding.
double Target::odds(const real* value) const {
  const double logit = weighted_sum(*weights, value);
  if (among == 0) return logit;
  double top = -INFINITY, others = 0;
  for (std::int64_t k = 0; k < among; ++k)
    if (k != label) top = std::max(top, static_cast<double>(value[k]));
  for (std::int64_t k = 0; k < among; ++k)
    if (k != label) others += std::exp(static_cast<double>(value[k]) - top);
  return logit - (top + std::log(others));
}

double Target::number(const real* value) const {
  if (score == Score::logit) return weighted_sum(*weights, value);
  return score == Score::log_odds ? odds(value) : sigmoid(odds(value));
}

void Target::seed(const real* value, bool times_value, real* signal) const {
  const auto add = [&](std::int64_t at, double factor) {
    signal[at] += static_cast<real>(times_value ? factor * static_cast<double>(value[at]) : factor);
  };
  // d odds / d z_c = 1 and d odds / d z_k = -(softmax over the other classes)_k; d p / d odds = p (1 - p).
  const double o = score == Score::logit ? 0 : odds(value),
               scale = score == Score::probability ? sigmoid(o) * sigmoid(-o) : 1;
  for (const Weight& w : *weights) {
    if (score == Score::logit)
      signal[w.at] += times_value ? w.factor * value[w.at] : w.factor;
    else
      add(w.at, scale * static_cast<double>(w.factor));
  }
  if (score == Score::logit || among == 0) return;
  const double others = static_cast<double>(value[label]) - o;  // ln of the sum of the others' exponentials
  for (std::int64_t k = 0; k < among; ++k)
    if (k != label) add(k, -scale * std::exp(static_cast<double>(value[k]) - others));
}

Objective Objective::with_score(Score score) const {
  if (score != Score::logit && !is_class())
    throw Error("a probability is a class's: objective '" + name_ + "' has a value alone", Error::usage);
  Objective o = *this;
  o.score_ = score;
  if (score != Score::logit) o.name_ = (score == Score::probability ? "probability of " : "log-odds of ") + name_;
  return o;
}

Objective Objective::classes(std::vector<int> per_image) {
  Objective o;
  o.of_ = std::move(per_image);
  o.name_ = described(o.of_);
  return o;
}

Objective Objective::contrast(std::vector<int> of, std::vector<int> against) {
  Objective o = classes(std::move(of));
  o.against_ = std::move(against);
  o.name_ += " - " + described(o.against_);
  return o;
}

Objective Objective::weighted(const std::string& node, std::vector<Weight> weights, std::string name) {
  Objective o;
  o.node_ = node;
  o.name_ = std::move(name);
  o.weights_ = std::make_shared<const std::vector<Weight>>(std::move(weights));
  return o;
}

Objective Objective::unit(const Model& model, const std::string& node, std::int32_t channel, std::int32_t row,
                          std::int32_t column) {
  const Graph& g = model.graph();
  const Shape s = g.shape(g.nodes[model.node(node)].out);
  check_channel(node, s, channel);
  std::string name = node;
  if (channel >= 0) name += ":" + std::to_string(channel);
  if (row >= 0) name += "@" + std::to_string(row) + "," + std::to_string(column);
  if (row >= s.h() || column >= s.w())
    throw Error("objective " + name + ": the node's map is " + std::to_string(s.h()) + " x " + std::to_string(s.w()),
                Error::usage);
  const std::int64_t begin = channel < 0 ? 0 : channel * s.pixels(),
                     end = channel < 0 ? s.per_image() : begin + s.pixels();
  std::vector<Weight> weights;
  if (row >= 0)
    weights.push_back({begin + std::int64_t{row} * s.w() + column, 1});
  else
    for (std::int64_t i = begin; i < end; ++i) weights.push_back({i, 1});
  return weighted(node, std::move(weights), name);
}

Objective Objective::region(const Model& model, const std::string& node, std::int32_t channel,
                            std::span<const float> mask) {
  const Graph& g = model.graph();
  const Shape s = g.shape(g.nodes[model.node(node)].out);
  check_channel(node, s, channel);
  if (static_cast<std::int64_t>(mask.size()) != s.pixels())
    throw Error("objective " + node + ": the mask has " + std::to_string(mask.size()) + " numbers, expected " +
                    std::to_string(s.h()) + " x " + std::to_string(s.w()) + ", the extent of the node's map",
                Error::usage);
  std::vector<Weight> weights;
  for (std::int64_t p = 0; p < s.pixels(); ++p)
    if (const float m = mask[static_cast<std::size_t>(p)]; m != 0)
      weights.push_back({std::max(0, channel) * s.pixels() + p, static_cast<real>(m)});
  if (weights.empty())
    throw Error("objective " + node + ": the mask is empty, so there is nothing to explain", Error::usage);
  return weighted(node, std::move(weights), node + ":" + std::to_string(std::max(0, channel)) + "@mask");
}

Objective Objective::direction(const Model& model, const std::string& node, std::span<const real> v) {
  const Graph& g = model.graph();
  const Shape s = g.shape(g.nodes[model.node(node)].out);
  const auto size = static_cast<std::int64_t>(v.size());
  if (size != s.c() && size != s.per_image())
    throw Error("a direction at " + node + " has " + std::to_string(size) + " numbers, expected " +
                    std::to_string(s.c()) + " (one per channel) or " + std::to_string(s.per_image()),
                Error::usage);
  std::vector<Weight> weights;
  for (std::int64_t i = 0; i < s.per_image(); ++i)
    weights.push_back({i, v[static_cast<std::size_t>(size == s.per_image() ? i : i / s.pixels())]});
  return weighted(node, std::move(weights), node + ":direction");
}

Objective Objective::parse_target(const Model& model, const std::string& text, std::span<const int> labels) {
  if (text.empty()) return {};
  if (text.ends_with(".npy")) return classes(classes_of_file(text));
  if (const auto one = class_list(model, text, labels)) return classes(*one);
  // Names may hold dashes themselves: every dash is tried.
  for (std::size_t at = text.find('-'); at != std::string::npos; at = text.find('-', at + 1)) {
    const auto of = class_list(model, text.substr(0, at), labels),
               against = class_list(model, text.substr(at + 1), labels);
    if (of && against) return contrast(*of, *against);
  }
  throw Error("--target " + text +
                  ": expected a class number, a class name, predicted, label, two of them as A-B, or a .npy file",
              Error::usage);
}

Objective Objective::parse(const Model& model, const std::string& text) {
  // Nodes of imported networks may have a colon in their names: the whole text is tried first.
  const auto is_node = [&](const std::string& name) {
    if (model.graph().find(name.c_str()) != no_id) return true;
    return std::any_of(model.aliases.begin(), model.aliases.end(), [&](const auto& a) { return a.first == name; });
  };
  const std::size_t colon = text.rfind(':', text.find('@'));
  if (is_node(text) || colon == std::string::npos) return unit(model, text);
  const std::string node = text.substr(0, colon), rest = text.substr(colon + 1);
  const std::size_t at = rest.find('@');
  const int channel = whole_number(rest.substr(0, at));
  const std::string expected = "--objective " + text +
                               ": expected NODE, NODE:CHANNEL, NODE:CHANNEL@ROW,COLUMN or "
                               "NODE:CHANNEL@MASK.npy";
  if (channel < 0) throw Error(expected, Error::usage);
  if (at == std::string::npos) return unit(model, node, channel);
  const std::string place = rest.substr(at + 1);
  if (place.ends_with(".npy")) {
    const std::vector<float> mask = io::read_npy(place).floats();
    return region(model, node, channel, mask);
  }
  const std::size_t comma = place.find(',');
  const int row = whole_number(place.substr(0, comma)),
            column = comma == std::string::npos ? -1 : whole_number(place.substr(comma + 1));
  if (row < 0 || column < 0) throw Error(expected, Error::usage);
  return unit(model, node, channel, row, column);
}

Id Objective::value(const Model& model) const {
  return node_.empty() ? model.logits() : model.graph().nodes[model.node(node_)].out;
}

void Objective::check(const Model& model, std::int64_t images) const {
  if (weights_) return;
  const OutputKind kind = model.output_kind();
  const std::int64_t classes = kind == OutputKind::logit ? 2 : model.graph().shape(model.logits()).per_image();
  for (const std::vector<int>* list : {&of_, &against_}) {
    for (const int c : *list)
      if (c != predicted && c != usual && (c < 0 || c >= classes))
        throw Error("target " + std::to_string(c) + " is no class: expected 0 to " + std::to_string(classes - 1),
                    Error::usage);
    if (list->size() > 1 && images > 0 && static_cast<std::int64_t>(list->size()) != images)
      throw Error("there are targets for " + std::to_string(list->size()) + " images, but " + std::to_string(images) +
                      " images",
                  Error::usage);
  }
  if (score_ != Score::logit && model.class_count() == 0)
    throw Error("there is no probability: the output is of kind " + std::string(vitrine::name(kind)), Error::usage);
}

std::shared_ptr<const std::vector<Weight>> Objective::of_classes(const Model& model, int of, int against) const {
  std::vector<Weight> weights;
  const bool one_logit = model.output_kind() == OutputKind::logit;
  const auto add = [&](int c, real factor) {
    if (c >= 0) weights.push_back(one_logit ? Weight{0, c == 1 ? factor : -factor} : Weight{c, factor});
  };
  add(of, 1);
  add(against, -1);
  return std::make_shared<const std::vector<Weight>>(std::move(weights));
}

Target Objective::target(const Model& model, std::int64_t image, std::span<const real> value) const {
  if (weights_) return {-1, weights_};
  const OutputKind kind = model.output_kind();
  const auto class_of = [&](const std::vector<int>& list) {
    const int c = list.size() > 1 ? list[static_cast<std::size_t>(image)] : list[0];
    if (c == usual && kind == OutputKind::logit) return 1;
    if (c != predicted && c != usual) return c;
    if (kind == OutputKind::logit) return value[0] < 0 ? 0 : 1;
    return static_cast<int>(std::max_element(value.begin(), value.end()) - value.begin());
  };
  const int of = class_of(of_);
  if (!against_.empty()) return {-1, of_classes(model, of, class_of(against_))};
  const bool shared = kind == OutputKind::classes;
  return {of, of_classes(model, of, -1), score_, shared ? static_cast<std::int64_t>(value.size()) : 0};
}

}  // namespace vitrine
