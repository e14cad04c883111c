#include "models/output.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "models/model.h"

namespace vitrine {
namespace {

constexpr const char* words[] = {"classes", "logit", "sigmoids", "regression", "dense", "boxes"};

const Op& last_op(const Graph& g) noexcept { return *g.nodes[g.values[g.output].producer].op; }

}  // namespace

const char* name(OutputKind kind) noexcept { return words[static_cast<std::size_t>(kind)]; }

std::optional<OutputKind> output_kind_of(const std::string& name) noexcept {
  const auto found = std::find(std::begin(words), std::end(words), name);
  if (found == std::end(words)) return {};
  return static_cast<OutputKind>(found - std::begin(words));
}

OutputKind Model::output_kind() const noexcept {
  if (chosen_kind) return *chosen_kind;
  const Shape& s = graph_.shape(graph_.output);
  const auto rank = ranks.find(graph_.values[graph_.output].name);
  const bool rows = rank != ranks.end() && rank->second == 3;
  if (dense()) return rows && s.h() == 4 ? OutputKind::boxes : OutputKind::dense;
  const Op& last = last_op(graph_);
  switch (last.traits().scores) {
    case Scores::probabilities:
    case Scores::log_probabilities:
      return OutputKind::classes;
    case Scores::each_probability:
      return s.c() == 1 ? OutputKind::logit : OutputKind::sigmoids;
    case Scores::none:
      break;
  }
  // Behind another activation numbers are no scores, unless someone has named classes.
  if (is_activation(last) && class_names.empty()) return OutputKind::regression;
  return s.c() > 1 ? OutputKind::classes : OutputKind::logit;
}

void Model::choose_output_kind(OutputKind kind) {
  const Shape& s = graph_.shape(graph_.output);
  const bool maps = kind == OutputKind::dense || kind == OutputKind::boxes;
  const bool fits = kind == OutputKind::logit ? s.per_image() == 1 : maps ? dense() : !dense();
  if (!fits)
    throw Error("an output of shape " + text(s) + " cannot be of kind " + name(kind) + ", which needs " +
                    (kind == OutputKind::logit ? "one number per image"
                     : maps                    ? "more than one place"
                                               : "a vector per image"),
                Error::usage);
  chosen_kind = kind;
  if (!can_name(class_names.size())) class_names.clear();
}

int Model::class_count() const noexcept {
  switch (output_kind()) {
    case OutputKind::classes:
    case OutputKind::sigmoids:
      return classes();
    case OutputKind::logit:
      return 2;
    default:
      return 0;
  }
}

bool Model::can_name(std::size_t names) const noexcept {
  if (names == 0) return true;
  if (output_kind() == OutputKind::logit) return names <= 2;
  return names == static_cast<std::size_t>(classes());
}

std::string Model::class_name(int k) const {
  const auto i = static_cast<std::size_t>(k);
  if (output_kind() == OutputKind::logit) {
    if (class_names.empty()) return k == 0 ? "negative" : "positive";
    if (class_names.size() == 1) return (k == 0 ? "not " : "") + class_names[0];
  }
  return i < class_names.size() ? class_names[i] : std::to_string(k);
}

std::string Model::output_description() const {
  const std::string n = std::to_string(classes());
  switch (output_kind()) {
    case OutputKind::classes:
      return n + " classes";
    case OutputKind::logit:
      return "one logit of two classes";
    case OutputKind::sigmoids:
      return n + " sigmoids";
    case OutputKind::regression:
      return n + (classes() == 1 ? " number" : " numbers");
    case OutputKind::dense:
      return "dense output " + text(graph_.shape(graph_.output));
    case OutputKind::boxes:
      return std::to_string(graph_.shape(graph_.output).c()) + " rows of " +
             std::to_string(graph_.shape(graph_.output).h()) + " numbers";
  }
  return "";
}

std::string Model::final_activation() const {
  if (logits() == graph_.output) return "";
  return graph_.nodes[graph_.values[graph_.output].producer].op->name();
}

Id Model::logits() const noexcept {
  const Scores scores = last_op(graph_).traits().scores;
  if (scores == Scores::none || output_kind() == OutputKind::regression) return graph_.output;
  return graph_.nodes[graph_.values[graph_.output].producer].in[0];
}

}  // namespace vitrine
