// How well a network does on a data set: accuracy with its interval, loss, and what is taken for what.
#include <algorithm>

#include "interp/math/statistics.h"
#include "interp/result/registry.h"
#include "models/train/trainer.h"

namespace vitrine::methods {
namespace {

Result study(const StudyCall& c, const Settings&, const Job& job) {
  Subject& subject = c.subject();
  const data::Dataset& data = subject.data();
  const Model& model = subject.model();
  const EvalResult e = evaluate(model, subject.engine(), data, job, c.images);
  const auto classes = static_cast<std::int64_t>(e.count.size());
  std::int64_t right = 0, n = 0;
  for (std::size_t k = 0; k < e.count.size(); ++k) right += e.correct[k], n += e.count[k];

  Result r;
  const Interval all = wilson_interval(right, n);
  r.number("accuracy", {e.accuracy, n, all.low, all.high});
  r.number("loss", {e.loss, n});
  Table& per_class = r.table("classes", {"class", "images", "right", "accuracy", "low", "high"});
  for (std::int64_t k = 0; k < classes; ++k) {
    const auto i = static_cast<std::size_t>(k);
    if (e.count[i] == 0) continue;
    const Interval interval = wilson_interval(e.correct[i], e.count[i]);
    per_class.add({model.class_name(static_cast<int>(k)), e.count[i], e.correct[i],
                   static_cast<double>(e.correct[i]) / static_cast<double>(e.count[i]), interval.low, interval.high});
  }
  Table& taken = r.table("confusions", {"class", "taken for", "images"});
  taken.note = "Only pairs that occur, the most frequent first.";
  std::vector<std::pair<std::int64_t, std::int64_t>> wrong;  // images, place in the matrix
  for (std::int64_t i = 0; i < classes * classes; ++i)
    if (i / classes != i % classes && e.confusion[static_cast<std::size_t>(i)] > 0)
      wrong.emplace_back(-e.confusion[static_cast<std::size_t>(i)], i);
  std::sort(wrong.begin(), wrong.end());
  for (const auto& [images, i] : wrong)
    taken.add(
        {model.class_name(static_cast<int>(i / classes)), model.class_name(static_cast<int>(i % classes)), -images});
  r.cost.forward = n;
  return r;
}

}  // namespace

extern const MethodEntry evaluation;
constinit const MethodEntry evaluation = {
    .card = {.name = "evaluation",
             .summary = "accuracy with its interval, loss, and what is taken for what",
             .reference = "Wilson 1927 (interval)",
             .aspect = Aspect::model_interpretation,
             .lipton = "post-hoc: example",
             .of = Of::producing,
             .scope = Scope::global,
             .model_agnostic = true,
             .needs_labels = Labels::classes,
             .backward_calls = "0",
             .output = "numbers and tables",
             .faithfulness_metric = "none"},
    .study = study};

}  // namespace vitrine::methods
