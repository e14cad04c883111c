// ReNN: a network in three parts [Wang: ReNN, 2018]. A local network detects patterns, rules
// written by people make maps of where the patterns lie to each other (models/inside/rule_language.h), a global network
// combines both:
//
//   image -> local.* -> detections (N,Q,h,w) in [0,1] -> detection.PATTERN -> rule.NAME ...   (N,1,h,w) each
//   [direct.PATTERN ..., rule.NAME ...] -> evidence -> global.pool (maximum) -> global.fc -> scores
//
// The paper's abstract fixes the order of the parts and training in two stages; the sizes are ours. All of it is one
// graph: relevance that arrives at rule.NAME is the rule's, that at direct.PATTERN the detection's, and they sum to the
// score.
#pragma once

#include "models/inside/rule_language.h"
#include "models/train/trainer.h"

namespace vitrine {

struct RennOptions {
  int local_channels = 16;  ///< of the local network's first convolution; the others have twice as many
  int hidden = 0;           ///< units of a hidden layer of the global network; 0: none
  bool without_rules = false;
};

/// The network with initial parameters. Local fields of 18 pixels at steps of 4, whose places need images of at least
/// 16 x 16 (series: 1 x n with n of at least 16). The rules' text travels in the model's notes ("rules").
Model make_renn(const RuleBase&, Shape image, int classes, const RennOptions&, std::uint64_t seed);

/// The rules that a model made by make_renn carries; an Error if it carries none.
RuleBase rules_of(const Model&);

/// The local targets of stage 1: a Gaussian of deviation 1 place, cut at 2, around each place that the data tells of a
/// pattern (the largest where several meet). targets: (Q,h,w) of one image.
void local_targets(const data::Dataset&, std::int64_t image, const RuleBase&, std::span<const int> names,
                   const Geometry&, const Shape& maps, float* targets);
/// The data's name of each pattern; an Error lists the names that the data knows.
std::vector<int> pattern_names(const data::Dataset&, const RuleBase&);

/// Binary cross-entropy of the detections against local targets, summed over places and patterns, mean over the batch,
/// as an added signal at what the detections' sigmoid reads.
class LocalTargets final : public TrainHook {
 public:
  LocalTargets(const Engine&, const Model&, const data::Dataset& train, const RuleBase&, double weight, int batch);
  void start_batch(const data::Batch&, int epoch) override;
  std::string describe() const override;
  bool watches(Id node) const noexcept override { return node == detections_ || node == below_; }
  Status after_forward(const Context&, const Graph&, Id node, const NodeIO&, const NodeIO* reference) noexcept override;
  Status before_step(const Context&, const Graph&, Id node, std::span<const TensorView> signals) noexcept override;

 private:
  const data::Dataset& data_;
  const RuleBase& rules_;
  double weight_;
  std::vector<int> names_;
  Geometry geometry_;
  Shape maps_;  // of one image
  Id detections_, below_;
  std::vector<real> targets_;
  Storage targets_there_, difference_;  // where the kernels work
};

struct RennSchedule {
  int local_epochs = 5;   ///< stage 1: the local network on local targets, no rule involved
  int global_epochs = 5;  ///< stage 2: the global network on the task at ten times the rate, the local one frozen
  int joint_epochs = 0;   ///< stage 3: both, through the rules, at a tenth of the rate, the local loss kept at 0.1
};

/// Trains in stages, each a run of `train` with options as given. Finished stages stand as OUT.stage1.safetensors ...
/// until the last is done; with options.resume, training continues in the stage that was stopped, bit for bit.
TrainResult train_renn(Model&, const Engine&, const data::TrainTest&, const RuleBase&, const TrainOptions&,
                       const RennSchedule&, const std::function<void(int stage, const TrainProgress&)>& progress,
                       const Job&);

}  // namespace vitrine
