#include "interp/runs/feature_method.h"

#include <algorithm>

#include "interp/perturb/background.h"

namespace vitrine {
namespace {

// None if features are filled instead.
std::optional<Images> chosen_background(const AttributionCall& c, const std::string& owner) {
  if (c.baseline.is_default()) return {};
  return background_set(c.baseline, c.subject.model().image_shape(), owner);
}

}  // namespace

FeatureMethod::FeatureMethod(const AttributionCall& c, const Settings& s, Features features)
    : features_(std::move(features)),
      fill_(s),
      background_(chosen_background(c, s.owner())),
      seed_(s.declares("seed") ? static_cast<std::uint64_t>(s.integer("seed")) : 0),
      scorer_(c.subject, c.objective, {}) {
  if (background_ && s.given("fill")) s.refuse("fill", "no fill beside a background");
}

std::vector<double> FeatureMethod::values(const Query& one, const Target& target, const std::vector<Images>& background,
                                          const std::vector<bool>& keep, const Job& job) {
  std::vector<double> mean;
  const auto rows = static_cast<double>(background.size());
  for (std::size_t b = 0; b < background.size(); ++b) {
    const Job part = job.part(static_cast<double>(b) / rows, static_cast<double>(b + 1) / rows);
    const std::vector<double> v =
        scorer_.run_masks(one, target, features_.of(one.first), keep, background[b].view(), part);
    mean.resize(v.size(), 0.0);
    for (std::size_t k = 0; k < v.size(); ++k) mean[k] += v[k] / rows;
  }
  return mean;
}

FeatureGame FeatureMethod::game(const Query& one, const Target& target, double whole) {
  const Segments& segments = features_.of(one.first);
  auto background = std::make_shared<std::vector<Images>>();
  const auto each = static_cast<std::size_t>(one.x.shape.per_image());
  if (background_)
    for (std::int32_t n = 0; n < background_->shape.n(); ++n) {
      const auto begin = background_->data.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(n) * each);
      background->push_back({one.x.shape, {begin, begin + static_cast<std::ptrdiff_t>(each)}});
    }
  else
    background->push_back(fill_.of(one.x, segments));
  FeatureGame g;
  g.features = segments.count;
  g.whole = whole;
  g.irrelevant.assign(static_cast<std::size_t>(segments.count), true);
  for (const Images& off : *background)
    for (std::size_t i = 0; i < each; ++i)
      if (off.data[i] != one.x.data[i])
        g.irrelevant[static_cast<std::size_t>(segments.label[i % segments.label.size()])] = false;
  g.values = [this, one, target, background](const std::vector<bool>& keep, const Job& job) {
    return values(one, target, *background, keep, job);
  };
  if (needs_none()) g.none = g.values(std::vector<bool>(static_cast<std::size_t>(segments.count), false), {})[0];
  return g;
}

Answer FeatureMethod::attribute(const Query& q, const Job& job) {
  Answer answer;
  const double images = q.x.shape.n();
  for (std::int32_t n = 0; n < q.x.shape.n(); ++n) {
    const Query one = q.part(n, 1);
    const Scored scored = scorer_.resolve(one);
    const FeatureGame g = game(one, scored.target[0], scored.score[0]);
    FeatureValues v =
        explain(g, derive_key(seed_, static_cast<std::uint64_t>(one.first)), job.part(n / images, (n + 1) / images));
    // In equal parts to a feature's elements, so that the map sums to the values.
    const Segments& segments = features_.of(one.first);
    std::vector<std::int64_t> pixels(v.value.size(), 0);
    for (const std::int32_t f : segments.label) ++pixels[static_cast<std::size_t>(f)];
    for (std::int32_t c = 0; c < q.x.shape.c(); ++c)
      for (const std::int32_t f : segments.label) {
        const auto k = static_cast<std::size_t>(f);
        answer.relevance.push_back(static_cast<real>(v.value[k] / (static_cast<double>(pixels[k]) * q.x.shape.c())));
      }
    answer.scored.target.push_back(scored.target[0]);
    answer.scored.score.push_back(scored.score[0]);
    if (needs_none()) answer.scored.baseline.push_back(g.none);
    if (std::find(g.irrelevant.begin(), g.irrelevant.end(), false) == g.irrelevant.end())
      v.warnings.push_back("what stands in for every feature equals the feature: choose another fill");
    for (std::string& w : v.warnings) answer.warnings.push_back("image " + std::to_string(one.first) + ": " + w);
    if (n == 0) answer.note = v.note;
    answer.features.push_back(std::move(v.value));
    answer.standard_errors.push_back(std::move(v.standard_error));
  }
  return answer;
}

}  // namespace vitrine
