// Methods that give each feature of an image a value, by forward runs with other features absent: Shapley values and
// surrogates. A method is a rule for which features stay; the runs are here.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "interp/perturb/features.h"
#include "interp/result/registry.h"
#include "interp/runs/draws.h"
#include "interp/runs/scorer.h"

namespace vitrine {

/// One image as a game of its features: v(S) is the score with the features S and the others absent, the mean over the
/// background if there is one.
struct FeatureGame {
  std::int32_t features = 0;
  double whole = 0, none = 0;    ///< v(all), v(no feature)
  std::vector<bool> irrelevant;  ///< features that are the same in the image and in all that stands in for them
  /// v of the rows of `keep` (rows x features).
  std::function<std::vector<double>(const std::vector<bool>& keep, const Job&)> values;
};

/// What a method says of one image.
struct FeatureValues {
  std::vector<double> value;           ///< one per feature
  std::vector<double> standard_error;  ///< likewise, of sampled values; else empty
  std::string note;
  std::vector<std::string> warnings{};
};

class FeatureMethod : public Attribution {
 public:
  static constexpr Setting features_setting = {Setting::text, "features", "",
                                               "pixels, grid:H,W (cells in pixels), or FILE.npy of a segment number "
                                               "per pixel, (H,W) or (N,H,W) (default: a grid "
                                               "of height / 8)"};
  static constexpr Setting fill_setting = {Setting::text, "fill", "zero",
                                           "what stands in for an absent feature: zero, mean, blur, segment-mean, or a "
                                           "number; --baseline B.npy instead: its "
                                           "rows are the background set"};
  static constexpr Setting seed_setting = {Setting::integer, "seed", "0", "of what is drawn", "", 0, 2147483647};

  // Scores are run image by image: no number depends on which images are in the call.
  bool resolves_targets() const override { return true; }
  Answer attribute(const Query&, const Job&) override;

 protected:
  FeatureMethod(const AttributionCall&, const Settings&, Features);
  /// Whether the method reads FeatureGame::none, which costs a run, and its values sum to whole - none.
  virtual bool needs_none() const { return true; }
  /// `key`: of this image's draws.
  virtual FeatureValues explain(const FeatureGame&, std::uint64_t key, const Job&) = 0;

 private:
  FeatureGame game(const Query& one, const Target&, double whole);
  std::vector<double> values(const Query& one, const Target&, const std::vector<Images>& background,
                             const std::vector<bool>& keep, const Job&);

  Features features_;
  Fill fill_;
  std::optional<Images> background_;
  std::uint64_t seed_;
  Scorer scorer_;
};

}  // namespace vitrine
