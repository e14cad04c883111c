// Explanations of predictions: methods by name, each from inputs to a relevance of the inputs' shape.
//
// An Explainer is made once and explains any number of inputs; methods made on one Subject share its merged network and
// its sessions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "interp/result/registry.h"
#include "interp/runs/scorer.h"

namespace vitrine {

struct ExplainRequest {
  std::string method = "gradient";
  std::map<std::string, std::string> settings{};
  std::shared_ptr<const CompositeFile> composite{};  ///< of method lrp, instead of the setting; may be null
  std::vector<RuleChoice> rules{};                   ///< override single nodes, in order
  Objective objective{};                             ///< what is explained; default: each image's predicted class
  BaselineChoice baseline{};
  bool ledger = false;      ///< of methods that walk once
  std::int32_t images = 0;  ///< that a call will bring, where it is known: no more memory is taken than they need
};

struct Explanation {
  Shape shape{};
  std::vector<real> relevance;         ///< of the inputs' shape; raw, never normalised or clipped
  std::vector<int> target;             ///< per image: the class that is explained; -1 if the objective is no class
  std::vector<double> score;           ///< per image: the objective's number
  std::vector<double> baseline_score;  ///< likewise at the baseline, where the method has one; else empty
  bool complete = false;               ///< whether the method promises sum of relevance = score - baseline_score
  std::vector<LedgerRow> ledger;
  std::vector<std::vector<double>> features;  ///< per image: the features' values, where the method has such
  std::vector<std::vector<double>>
      standard_errors;                ///< of sampled values: one per feature, or the largest of all elements
  std::vector<std::string> warnings;  ///< sentences on what the reader of the maps must know
  std::string note;                   ///< what the method chose itself, for people: "maps of conv5"

  /// The sum of an image's relevance.
  double sum(std::size_t image) const;
};

/// Explains again and again with one plan, its memory and its prepared weights.
class Explainer {
 public:
  /// Throws a usage Error for unknown methods, settings, nodes, classes, and rules without meaning. The subject must
  /// outlive it.
  Explainer(Subject&, ExplainRequest);
  ~Explainer();
  Explainer(const Explainer&) = delete;
  /// Explains images, of which the first has number `first` in the call: objectives and baselines that differ per image
  /// are looked up from there. Throws an Error if the images do not fit the model or are not finite, or if a score or a
  /// relevance is not finite.
  Explanation explain(const Images&, const Job& = {}, std::int64_t first = 0);
  const ExplainRequest& request() const noexcept { return request_; }

 private:
  Subject& subject_;
  const ExplainRequest request_;
  std::unique_ptr<Attribution> method_;
  std::unique_ptr<Scorer> scorer_;  // of methods that do not resolve targets
};

/// Answers again and again likewise. Batch norms are merged into the layers before them.
class Predictor {
 public:
  /// Of the output, or of another value of the model's graph.
  explicit Predictor(Subject&, Id value = no_id);
  Predictor(const Predictor&) = delete;
  /// The value for all images, one row per image, (N,K). Throws an Error if they do not fit the model or are not
  /// finite, or if the value is not.
  std::vector<real> predict(const Images&, const Job& = {});

 private:
  Subject& subject_;
  Id value_;
  std::unique_ptr<Session> session_;
};

/// Each once: an Explainer's explain, a Predictor's predict.
Explanation explain(const Model&, const Engine&, const Images&, const ExplainRequest&, const Job& = {},
                    std::size_t memory_budget = Subject::usual_budget);
std::vector<real> predict(const Model&, const Engine&, const Images&,
                          std::size_t memory_budget = Subject::usual_budget);

}  // namespace vitrine
