// Scores of inputs that a method makes up (occluded, masked, mixed images): forward runs alone.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "interp/perturb/segments.h"
#include "interp/runs/walk.h"
#include "interp/runs/windows.h"

namespace vitrine {

class Scorer {
 public:
  struct Options {
    Demand demand{};
    /// Weights are kept prepared for the kernels. Not worth it for one run beside a method's many.
    bool prepare = true;
  };
  /// Over the merged network.
  Scorer(Subject&, const Objective&, Options);

  /// Targets and scores of images of the call, and scores of their baselines if there are any.
  Scored resolve(const Query&);

  /// The scores of `count` inputs that are made from one image (by its number in the call) for its target. fill(first,
  /// x) writes the inputs [first, first + x.shape.n()), and use(first, scores) takes their scores, in the same order.
  void run(std::int64_t image, const Target&, std::int32_t count, const Job&,
           const std::function<void(std::int32_t, const TensorView&)>& fill,
           const std::function<void(std::int32_t, std::span<const double>)>& use);

  /// Prepares for windows that are replaced by one colour. Where that is cheaper than whole copies, each layer then
  /// computes no more than a window can change.
  void set_windows(WindowAxis rows, WindowAxis columns, bool only_what_changes);
  /// The score of the image itself, and of its copies with one window each replaced by `fill` (a number per channel),
  /// windows row by row. `use` as in run().
  double run_windows(const Query& image, const Target&, std::span<const float> fill, const Job&,
                     const std::function<void(std::int32_t, std::span<const double>)>& use);

  /// The scores of one image with segments replaced: row m of `keep` (masks x segments) says which segments stay, the
  /// others take the pixels of `off`, an image of the same shape.
  std::vector<double> run_masks(const Query& image, const Target&, const Segments&, const std::vector<bool>& keep,
                                const TensorView& off, const Job&);

  std::int32_t batch();

 private:
  std::vector<double> scores(std::int64_t image, const TensorView& x, const Target&);
  void make_session();

  Subject& subject_;
  const Model& model_;
  Options options_;
  Id value_;
  std::int64_t each_ = 0;             // elements of the value, per image
  std::shared_ptr<Session> session_;  // made when it is first needed
  WindowAxis rows_, columns_;
  std::unique_ptr<WindowedRuns> windows_;
  std::vector<real> inputs_;
};

}  // namespace vitrine
