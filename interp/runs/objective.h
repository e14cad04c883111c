// What is explained: one number per image, a weighted sum of elements of one value of the network.
//
//   number(n) = sum_i weights_n[i] * value_n[i]
//
// A class's logit is one element with weight 1, the difference of two logits is two elements, a map is all its
// positions, a region of a dense output is those of a mask. A walk starts at the value with the weights as its signal
// (gradients, multipliers), or with weights * value (relevance).
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "interp/runs/subject.h"

namespace vitrine {

/// An element of one image's value, and its factor.
struct Weight {
  std::int64_t at;
  real factor;
};

/// What the score of a class is: its logit z, its probability p, or ln(p / (1 - p)). p is a softmax over all classes,
/// or the sigmoid of z where the network's output is one logit or a sigmoid per label.
enum class Score : std::uint8_t { logit, probability, log_odds };

/// An objective, resolved for one image.
struct Target {
  int label = -1;  ///< the class, where the objective is one class's score; else -1
  std::shared_ptr<const std::vector<Weight>> weights;
  Score score = Score::logit;
  std::int64_t among = 0;  ///< how many classes the probability is shared by; 0: a sigmoid

  /// The number that is explained; `value`: the objective's value for one image.
  double number(const real* value) const;
  /// Adds to `signal`, which has the value's size, the number's derivative by each element: the weights, if the score
  /// is the logit. `times_value`: each times the value's element.
  void seed(const real* value, bool times_value, real* signal) const;

 private:
  double odds(const real* value) const;
};

class Objective {
 public:
  /// What is explained unless something else is asked: the class with the largest score, per image; the logit of a
  /// network with one.
  Objective() = default;
  /// One class for all images, or one per image. `predicted` stands for the class with the largest score. One logit z
  /// tells two classes apart: the score of class 1 is z, that of class 0 is -z.
  static constexpr int predicted = std::numeric_limits<int>::min(), usual = predicted + 1;
  static Objective classes(std::vector<int> per_image);
  static Objective of_class(int c) { return classes({c}); }
  /// The difference of two classes' scores; each as in classes().
  static Objective contrast(std::vector<int> of, std::vector<int> against);
  /// A unit of a node: channel and position. A row and column of -1: the sum over the channel's positions; a channel of
  /// -1: the sum over everything. A usage Error if there is no such unit.
  static Objective unit(const Model&, const std::string& node, std::int32_t channel = -1, std::int32_t row = -1,
                        std::int32_t column = -1);
  /// The sum over a channel's positions, each times the mask's number there. The mask has the extent of the node's map.
  static Objective region(const Model&, const std::string& node, std::int32_t channel, std::span<const float> mask);
  /// The product with a direction: one number per channel (of the sum over positions) or one per element of the value.
  static Objective direction(const Model&, const std::string& node, std::span<const real> v);

  /// predicted | label | CLASS | CLASS-CLASS | FILE.npy (one class number per image), with CLASS a number, a name,
  /// `predicted` or `label`; empty: what is usual. `labels`: the data's, in the order of the images, which `label`
  /// stands for; may be empty. One logit without class names: `0` and `logit` are the logit itself, `positive` and
  /// `negative` the two classes. A usage Error says what was expected.
  static Objective parse_target(const Model&, const std::string& text, std::span<const int> labels = {});
  /// NODE | NODE:CHANNEL | NODE:CHANNEL@ROW,COLUMN | NODE:CHANNEL@MASK.npy
  static Objective parse(const Model&, const std::string& text);

  /// The same classes by another score. A usage Error if the objective is no class's score.
  Objective with_score(Score) const;
  Score score() const noexcept { return score_; }

  /// The node whose value is weighed; empty: the scores (Model::logits).
  const std::string& node() const noexcept { return node_; }
  /// The nodes whose values a copy of the network must keep, for Subject::merged.
  std::vector<std::string> kept_nodes() const {
    return node_.empty() ? std::vector<std::string>{} : std::vector{node_};
  }
  /// The value in `model`: the network, or a copy of it that has the node.
  Id value(const Model& model) const;
  /// Whether it is the score of one class per image.
  bool is_class() const noexcept { return !weights_ && against_.empty(); }
  /// Throws a usage Error if a class does not exist, or if there is not one entry for each of `images` images.
  void check(const Model&, std::int64_t images) const;
  /// The target of an image, by its number in the call; `value`: its value, in which a predicted class is looked up.
  Target target(const Model&, std::int64_t image, std::span<const real> value) const;
  /// As a reader would call it: "predicted", "class 7", "class 3 - class 5", "conv2:4@1,2", "probability of class 7".
  const std::string& name() const noexcept { return name_; }

 private:
  std::shared_ptr<const std::vector<Weight>> of_classes(const Model&, int of, int against) const;
  static Objective weighted(const std::string& node, std::vector<Weight>, std::string name);

  std::string node_, name_ = "predicted";
  std::vector<int> of_{usual}, against_;
  Score score_ = Score::logit;
  std::shared_ptr<const std::vector<Weight>> weights_;  // null: classes
};

}  // namespace vitrine
