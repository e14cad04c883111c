// Explanations of predictions: methods by name, each from inputs to a relevance of the inputs' shape.
//
// All methods read the same graph through the same walk; what differs is the rule (gradient, LRP, DeepLIFT, reversed
// networks), or what is done around a walk (paths, noise, maps of an inner node) or around forward runs (occlusion).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "interp/predict/composite_file.h"
#include "models/given.h"

namespace vitrine {

struct ExplainRequest {
  std::string method = "gradient";
  std::map<std::string, std::string> settings;
  std::shared_ptr<const CompositeFile> composite;  ///< of method lrp, instead of the setting; may be null
  std::vector<RuleChoice> rules;                   ///< override single nodes, in order
  std::optional<int> target;                       ///< class; none: each image's predicted class
  std::string baseline = "zero";          ///< zero, mean (each image's channel means), blur (Gaussian, sigma = side/8)
  std::optional<Images> baseline_images;  ///< instead: one image, or one for each input
  bool ledger = false;                    ///< of methods that walk once
  std::size_t memory_budget = std::size_t{512} << 20;  ///< bytes; inputs are explained in batches that fit
  std::int32_t images = 0;  ///< that a call will bring, where it is known: no more memory is taken than they need
  std::function<void(double)> progress;  ///< share done, for methods that run long; may be empty
  std::function<bool()> stop;            ///< asked between batches; true ends with an Error
};

/// A line of the ledger over all images explained. Sums are of relevance (or gradient, or multipliers).
struct LedgerRow {
  std::string node, op, rule;
  kernels::Stats out, in;
  double absorbed_by_bias = 0, absorbed_by_stabiliser = 0, seconds = 0;
  std::size_t bytes = 0;
  /// What neither arrived nor was absorbed: 0 for conserving rules; alpha-beta without a negative part, for one, makes
  /// some.
  double unplaced() const noexcept { return out.sum - in.sum - absorbed_by_bias - absorbed_by_stabiliser; }
};

struct Explanation {
  Shape shape{};
  std::vector<real> relevance;         ///< of the inputs' shape; raw, never normalised or clipped
  std::vector<int> target;             ///< an image
  std::vector<double> score;           ///< the target's logit, an image
  std::vector<double> baseline_score;  ///< likewise at the baseline, where the method has one; else empty
  bool complete = false;               ///< whether the method promises sum of relevance = score - baseline_score
  std::vector<LedgerRow> ledger;
};

struct MethodEntry {
  const char* name;
  const char* summary;
  const char* source;
  bool takes_baseline, takes_rules;
  std::span<const Setting> settings;
};

std::span<const MethodEntry> method_entries();

class Merged;

/// Answers again and again with one plan, its memory and its prepared weights. Batch norms are merged into the layers
/// before them. Model and engine must outlive it, and the parameters must not change. `memory_budget` in bytes: images
/// go in batches that fit.
class Predictor {
 public:
  Predictor(const Model&, const Engine&, std::size_t memory_budget = std::size_t{512} << 20);
  /// Of an inner value of the graph instead of the output.
  /// `prepare`: weights are kept as the kernels want them, if they fit: faster from the second batch on.
  Predictor(const Model&, const Engine&, Id value, std::size_t memory_budget, bool prepare = true);
  ~Predictor();
  Predictor(const Predictor&) = delete;
  /// The output (or the value) for all images, one row per image. `given`: of a network with several inputs, the values
  /// of the others. Throws an Error if they do not fit the model or are not finite.
  std::vector<real> predict(const Images&, const Given& given = {});

 private:
  const Model& model_;
  std::unique_ptr<Merged> merged_;
  Id value_;
  std::unique_ptr<Session> session_;
};

class Method;

/// Explains again and again likewise.
class Explainer {
 public:
  /// Throws a usage Error for unknown methods, settings, nodes, classes, and rules without meaning.
  Explainer(const Model&, const Engine&, ExplainRequest);
  ~Explainer();
  Explainer(const Explainer&) = delete;
  /// Explains all images. Throws an Error if they do not fit the model or are not finite.
  Explanation explain(const Images&);

 private:
  std::vector<real> scores(const Images&);

  const Model& model_;
  const Engine& engine_;
  const ExplainRequest request_;
  std::unique_ptr<Merged> merged_;
  std::unique_ptr<Method> method_;
  std::unique_ptr<Predictor> scores_;
};

/// Each once: an Explainer's explain, a Predictor's predict.
Explanation explain(const Model&, const Engine&, const Images&, const ExplainRequest&);
std::vector<real> predict(const Model&, const Engine&, const Images&,
                          std::size_t memory_budget = std::size_t{512} << 20);

}  // namespace vitrine
