// Feature ablation [Zeiler & Fergus 2014, with any features for windows; Kokhlikyan et al. 2020]: how much the score
// falls when the pixels of one feature are replaced.
//
//   R_i = (s(x) - s(x with feature f(i) replaced)) / elements of f(i)
//
// A feature is a segment of pixels in all channels, so the map sums to the features' falls. Features that act together
// are seen one at a time: the falls need not sum to the score.
#include <algorithm>
#include <cmath>
#include <limits>

#include "interp/result/registry.h"
#include "interp/runs/scorer.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    {Setting::text, "features", "", "FILE.npy: one whole number per pixel, (H,W), the same within a feature"},
    {Setting::numbers, "cells", "", "without features: H,W of a grid's cells in pixels (default: height / 8, square)"},
    {Setting::text, "fill", "zero", "what replaces a feature: zero, mean (each image's channel means), or a number"},
};

Segments grid(const Shape& image, const Settings& s) {
  const float eighth = static_cast<float>(std::max(1, image.h() / 8));
  std::vector<float> size = s.given("cells") ? s.numbers("cells") : std::vector<float>{eighth};
  if (size.size() == 1) size.push_back(size[0]);
  const bool whole = std::all_of(size.begin(), size.end(), [](float v) { return v >= 1 && v == std::floor(v); });
  if (size.size() != 2 || !whole || size[0] > static_cast<float>(image.h()) || size[1] > static_cast<float>(image.w()))
    s.refuse("cells", "height and width in whole pixels, at most the image's " + std::to_string(image.h()) + "," +
                          std::to_string(image.w()));
  const auto rows = static_cast<std::int32_t>(size[0]), columns = static_cast<std::int32_t>(size[1]);
  if (rows == image.h() && columns == image.w()) s.refuse("cells", "cells smaller than the image: two at least");
  return grid_segments(image, rows, columns);
}

Segments features_of(const Shape& image, const Settings& s) {
  if (!s.given("features")) return grid(image, s);
  if (s.given("cells")) s.refuse("cells", "no cells beside features");
  return read_segments(s.text("features"), image);
}

class FeatureAblation final : public Attribution {
 public:
  FeatureAblation(const AttributionCall& c, const Settings& s)
      : features_(features_of(c.subject.model().image_shape(), s)),
        pixels_(static_cast<std::size_t>(features_.count)),
        mean_(s.text("fill") == "mean"),
        scorer_(c.subject, c.objective, {}) {
    double value = 0;
    if (!mean_ && s.text("fill") != "zero" &&
        (!parse_number(s.text("fill"), value) || std::abs(value) > std::numeric_limits<real>::max()))
      s.refuse("fill", "zero, mean, or a number");
    fill_ = static_cast<real>(value);
    for (const std::int32_t f : features_.label) ++pixels_[static_cast<std::size_t>(f)];
  }

  // The score is run image by image: no number depends on which images are in the call.
  bool resolves_targets() const override { return true; }

  Answer attribute(const Query& q, const Job& job) override {
    Answer answer;
    const double images = q.x.shape.n();
    for (std::int32_t n = 0; n < q.x.shape.n(); ++n) {
      const Query one = q.part(n, 1);
      const Scored whole = scorer_.resolve(one);
      const std::vector<double> without = ablated(one, whole.target[0], job.part(n / images, (n + 1) / images));
      spread(whole.score[0], without, q.x.shape.c(), answer.relevance);
      answer.scored.target.push_back(whole.target[0]);
      answer.scored.score.push_back(whole.score[0]);
    }
    return answer;
  }

 private:
  // The scores without each feature. Masks are made for some batches at a time: all of them are features squared.
  std::vector<double> ablated(const Query& q, const Target& target, const Job& job) {
    const Images off = replacement(q);
    const std::int32_t count = features_.count, some = 16 * scorer_.batch();
    const auto width = static_cast<std::size_t>(count);
    std::vector<double> scores;
    for (std::int32_t first = 0; first < count; first += some) {
      const std::int32_t masks = std::min(some, count - first);
      std::vector<bool> keep(static_cast<std::size_t>(masks) * width, true);
      for (std::int32_t m = 0; m < masks; ++m)
        keep[static_cast<std::size_t>(m) * width + static_cast<std::size_t>(first + m)] = false;
      const Job piece = job.part(first / static_cast<double>(count), (first + masks) / static_cast<double>(count));
      const std::vector<double> part = scorer_.run_masks(q, target, features_, keep, off.view(), piece);
      scores.insert(scores.end(), part.begin(), part.end());
    }
    return scores;
  }

  Images replacement(const Query& q) const {
    if (mean_) return make_baseline(q.x, {.kind = "mean", .images = {}}, q.first);
    return {q.x.shape, std::vector<real>(static_cast<std::size_t>(q.x.size()), fill_)};
  }

  // Appends one image's map: each feature's fall in equal parts to its elements.
  void spread(double whole, const std::vector<double>& without, std::int32_t channels, std::vector<real>& map) const {
    std::vector<real> plane;
    for (const std::int32_t f : features_.label) {
      const auto feature = static_cast<std::size_t>(f);
      const double elements = static_cast<double>(pixels_[feature]) * channels;
      plane.push_back(static_cast<real>((whole - without[feature]) / elements));
    }
    for (std::int32_t c = 0; c < channels; ++c) map.insert(map.end(), plane.begin(), plane.end());
  }

  Segments features_;
  std::vector<std::int64_t> pixels_;  // of each feature
  bool mean_;
  real fill_ = 0;
  Scorer scorer_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<FeatureAblation>(c, s);
}

}  // namespace

extern const MethodEntry feature_ablation;
constinit const MethodEntry feature_ablation = {
    .card = {.name = "feature-ablation",
             .summary = "fall of the score when a feature, a segment of pixels, is replaced",
             .reference = "Zeiler & Fergus 2014; Kokhlikyan et al. 2020",
             .model_agnostic = true,
             .promises = {.implementation_invariance = true, .class_sensitivity = true},
             .forward_calls = "1 + features",
             .backward_calls = "0",
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
