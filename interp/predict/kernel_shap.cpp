// KernelSHAP [Lundberg & Lee 2017, theorem 2], by the scheme of the authors' code: Shapley values are the weighted
// least squares fit of an additive model to the scores of subsets of features, with the weight
//
//   pi(S) = (M - 1) / (C(M, |S|) |S| (M - |S|))
//
// and the values' sum fixed at the score minus v(no feature). Sizes of subsets are taken whole, from the outside (1 and
// M - 1) inwards, as long as the samples last; of the others subsets are drawn, each with its complement.
#include <algorithm>
#include <cmath>
#include <map>

#include "interp/math/least_squares.h"
#include "interp/runs/feature_method.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    FeatureMethod::features_setting,
    FeatureMethod::fill_setting,
    {Setting::integer, "samples", "0", "subsets (0: 2048 + 2 features)", "", 0, 100000000},
    {Setting::choice, "link", "identity",
     "what is additive: the score, or ln(p / (1 - p)) of a score that is a probability", "identity|logit"},
    FeatureMethod::seed_setting,
};

double choose(std::int32_t n, std::int32_t k) {
  return std::round(std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0)));
}

/// Subsets of m features with their weights.
class Subsets {
 public:
  Subsets(std::int32_t m, std::int64_t samples, std::uint64_t key) : m_(m), left_(samples) {
    const std::int32_t sizes = m / 2, paired = (m - 1) / 2;  // a size below half goes with its complement
    std::vector<double> weight;
    double total = 0;
    for (std::int32_t s = 1; s <= sizes; ++s)
      total += weight.emplace_back((m - 1.0) / (s * (m - static_cast<double>(s))) * (s <= paired ? 2 : 1));
    for (double& w : weight) w /= total;
    std::vector<double> share = weight;  // of the samples that are left
    std::int32_t size = 1;
    for (; size <= sizes; ++size) {
      const std::size_t k = static_cast<std::size_t>(size) - 1;
      const double count = choose(m, size) * (size <= paired ? 2 : 1);
      if (static_cast<double>(left_) * share[k] / count < 1 - 1e-8) break;
      add_all(size, size <= paired, weight[k] / count);
      left_ -= static_cast<std::int64_t>(count);
      if (share[k] < 1)
        for (std::size_t i = k + 1; i < share.size(); ++i) share[i] /= 1 - share[k];
    }
    if (size <= sizes && left_ > 0) draw(size, paired, weight, key);
  }

  const std::vector<std::vector<bool>>& sets() const { return sets_; }
  const std::vector<double>& weights() const { return weights_; }

 private:
  void add(std::vector<bool> set, double weight) {
    sets_.push_back(std::move(set));
    weights_.push_back(weight);
  }

  // All subsets of a size, each followed by its complement.
  void add_all(std::int32_t size, bool paired, double weight) {
    std::vector<bool> set(static_cast<std::size_t>(m_), false);
    std::fill_n(set.begin(), size, true);
    do {
      add(set, weight);
      if (!paired) continue;
      std::vector<bool> other = set;
      other.flip();
      add(std::move(other), weight);
    } while (std::prev_permutation(set.begin(), set.end()));
  }

  // Subsets of the sizes from `first` on; one that is drawn again counts once more.
  void draw(std::int32_t first, std::int32_t paired, const std::vector<double>& weight, std::uint64_t key) {
    Draws draws(key);
    std::vector<double> up_to;
    double total = 0, of_sizes = 0;
    for (std::size_t k = static_cast<std::size_t>(first) - 1; k < weight.size(); ++k) {
      of_sizes += weight[k];
      up_to.push_back(total += static_cast<std::int32_t>(k) + 1 <= paired ? weight[k] / 2 : weight[k]);
    }
    const std::size_t begin = sets_.size();
    std::map<std::vector<bool>, std::size_t> seen;
    const auto count_set = [&](const std::vector<bool>& set) {
      const auto [at, is_new] = seen.emplace(set, sets_.size());
      if (is_new)
        add(set, 1), --left_;
      else
        weights_[at->second] += 1;
    };
    for (std::int64_t tries = 4 * left_; left_ > 0 && tries > 0; --tries) {
      const auto chosen = std::upper_bound(up_to.begin(), up_to.end(), draws.uniform() * total) - up_to.begin();
      const auto size = first + static_cast<std::int32_t>(std::min<std::ptrdiff_t>(chosen, std::ssize(up_to) - 1));
      const std::vector<std::int32_t> order = draws.permutation(m_);
      std::vector<bool> set(static_cast<std::size_t>(m_), false);
      for (std::int32_t k = 0; k < size; ++k) set[static_cast<std::size_t>(order[static_cast<std::size_t>(k)])] = true;
      count_set(set);
      if (left_ == 0 || size > paired) continue;
      set.flip();
      count_set(set);
    }
    double counted = 0;
    for (std::size_t k = begin; k < weights_.size(); ++k) counted += weights_[k];
    for (std::size_t k = begin; k < weights_.size(); ++k) weights_[k] *= of_sizes / counted;
  }

  std::int32_t m_;
  std::int64_t left_;
  std::vector<std::vector<bool>> sets_;
  std::vector<double> weights_;
};

class KernelShap final : public FeatureMethod {
 public:
  KernelShap(const AttributionCall& c, const Settings& s)
      : FeatureMethod(c, s, Features::parse(c.subject.model().image_shape(), s.text("features"))),
        samples_(s.integer("samples")),
        logit_(s.text("link") == "logit") {
    if (logit_ && c.objective.score() != Score::probability)
      s.refuse("link", "identity, unless the score is a probability (--score probability)");
  }

 private:
  FeatureValues explain(const FeatureGame& g, std::uint64_t key, const Job& job) override {
    std::vector<std::size_t> varying;
    for (std::size_t i = 0; i < g.irrelevant.size(); ++i)
      if (!g.irrelevant[i]) varying.push_back(i);
    FeatureValues out;
    out.value.assign(g.irrelevant.size(), 0.0);
    const double all = linked(g.whole) - linked(g.none);
    const auto m = static_cast<std::int32_t>(varying.size());
    if (m == 0) return out;
    if (m == 1) {
      out.value[varying[0]] = all;
      return out;
    }
    std::int64_t samples = samples_ > 0 ? samples_ : 2 * std::int64_t{m} + 2048;
    if (m <= 30) samples = std::min(samples, (std::int64_t{1} << m) - 2);
    const Subsets subsets(m, samples, key);
    std::vector<bool> keep;
    for (const std::vector<bool>& set : subsets.sets()) {
      std::vector<bool> row(g.irrelevant.size(), true);
      for (std::size_t k = 0; k < varying.size(); ++k) row[varying[k]] = set[k];
      keep.insert(keep.end(), row.begin(), row.end());
    }
    const std::vector<double> phi = fit(subsets, g.values(keep, job), linked(g.none), all);
    for (std::size_t k = 0; k < varying.size(); ++k) out.value[varying[k]] = phi[k];
    return out;
  }

  // The last feature is what the others leave of the sum.
  std::vector<double> fit(const Subsets& subsets, const std::vector<double>& scores, double none, double all) const {
    const std::size_t m = subsets.sets()[0].size();
    Matrix x(static_cast<std::int64_t>(subsets.sets().size()), static_cast<std::int64_t>(m) - 1);
    std::vector<double> y;
    for (std::size_t r = 0; r < subsets.sets().size(); ++r) {
      const std::vector<bool>& set = subsets.sets()[r];
      const double last = set[m - 1] ? 1 : 0;
      for (std::size_t k = 0; k + 1 < m; ++k)
        x(static_cast<std::int64_t>(r), static_cast<std::int64_t>(k)) = (set[k] ? 1 : 0) - last;
      y.push_back(linked(scores[r]) - none - last * all);
    }
    std::vector<double> phi = ridge(x, y, subsets.weights(), 0);
    double rest = all;
    for (const double v : phi) rest -= v;
    phi.push_back(rest);
    return phi;
  }

  double linked(double score) const { return logit_ ? std::log(score / (1 - score)) : score; }

  std::int64_t samples_;
  bool logit_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<KernelShap>(c, s);
}

}  // namespace

extern const MethodEntry kernel_shap;
constinit const MethodEntry kernel_shap = {
    .card = {.name = "kernel-shap",
             .summary = "Shapley values by weighted least squares over subsets of features",
             .reference = "Lundberg & Lee 2017",
             .model_agnostic = true,
             .promises = {.completeness = true, .implementation_invariance = true, .class_sensitivity = true},
             .forward_calls = "2 + samples",
             .backward_calls = "0",
             .takes_background = true,
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
