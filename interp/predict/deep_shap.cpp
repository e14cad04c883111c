// DeepSHAP [Lundberg & Lee 2017, section 4.2]: DeepLIFT's contributions by the Rescale rule, the mean over a background
// set.
//
//   R = mean over b of m(x, b) * (x - b),   sum_i R_i = s(x) - mean over b of s(b)
#include "interp/perturb/background.h"
#include "interp/result/registry.h"

namespace vitrine::methods {
namespace {

class DeepShap final : public Attribution {
 public:
  explicit DeepShap(const AttributionCall& c)
      : background_(background_set(c.baseline, c.subject.model().image_shape(), "deep-shap")) {
    AttributionCall one = c;
    one.settings.clear();
    one.baseline = {.images = repeated_row(background_, 0, 1)};
    deeplift_ = make_attribution("deeplift", one);
  }
  bool resolves_targets() const override { return true; }

  Answer attribute(const Query& q, const Job& job) override {
    Answer answer;
    const std::int32_t rows = background_.shape.n();
    std::vector<double> sum(static_cast<std::size_t>(q.x.size()), 0.0);
    for (std::int32_t row = 0; row < rows; ++row) {
      const Images baseline = repeated_row(background_, row, q.x.shape.n());
      Query with = q;
      with.baseline = baseline.view();
      Answer part = deeplift_->attribute(with, job.part(row / static_cast<double>(rows), (row + 1.0) / rows));
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(part.relevance[i]) / rows;
      if (row == 0) {
        answer.scored = part.scored;
        answer.scored.baseline.assign(part.scored.baseline.size(), 0.0);
      }
      for (std::size_t n = 0; n < part.scored.baseline.size(); ++n)
        answer.scored.baseline[n] += part.scored.baseline[n] / rows;
    }
    answer.relevance.assign(sum.begin(), sum.end());
    return answer;
  }

 private:
  Images background_;
  std::unique_ptr<Attribution> deeplift_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings&) { return std::make_unique<DeepShap>(c); }

}  // namespace

extern const MethodEntry deep_shap;
constinit const MethodEntry deep_shap = {
    .card = {.name = "deep-shap",
             .summary = "DeepLIFT's contributions, the mean over a background set",
             .reference = "Lundberg & Lee 2017",
             .promises = {.completeness = true, .sensitivity = true, .class_sensitivity = true},
             .forward_calls = "1 + background",
             .backward_calls = "background",
             .takes_background = true},
    .attribution = make};

}  // namespace vitrine::methods
