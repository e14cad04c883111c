// Occlusion [Zeiler & Fergus 2014]: how much the score falls when a window of the image is replaced. Positions and
// averaging as in Captum: windows step by `stride` from the top left corner, the last one is cut at the border, and
// every pixel gets the mean of the differences of all windows that cover it.
#include <algorithm>
#include <array>

#include "interp/result/registry.h"
#include "interp/runs/scorer.h"

namespace vitrine::methods {
namespace {

constexpr Setting settings[] = {
    {Setting::text, "window", "", "H, HxW or H,W in pixels (default: an eighth of the height, at least 3)"},
    {Setting::text, "stride", "", "likewise (default: half the window)"},
    {Setting::choice, "recompute", "changed",
     "for each window what it can change (the same but for rounding; all where that is no less), or all",
     "changed|all"},
    {Setting::numbers, "fill", "0",
     "value in network space, one or one per channel (0: the mean colour of prepared data)"},
};

std::array<std::int32_t, 2> pair(const Settings& s, const char* key, std::array<std::int32_t, 2> initial,
                                 std::int32_t max_h, std::int32_t max_w) {
  const std::string& text = s.text(key);
  if (text.empty()) return initial;
  const std::size_t x = text.find_first_of("x,");
  double h = 0, w = 0;
  const std::string expected =
      "H or HxW, whole numbers from 1 to " + std::to_string(max_h) + "x" + std::to_string(max_w);
  const auto whole = [](double v, std::int32_t max) { return v >= 1 && v <= max && v == static_cast<std::int32_t>(v); };
  if (!parse_number(text.substr(0, x), h) || !whole(h, max_h)) s.refuse(key, expected);
  w = h;
  if (x != std::string::npos && !parse_number(text.substr(x + 1), w)) s.refuse(key, expected);
  if (!whole(w, max_w)) s.refuse(key, expected);
  return {static_cast<std::int32_t>(h), static_cast<std::int32_t>(w)};
}

// Windows along an axis: the last one is cut at the border.
WindowAxis axis(std::int32_t size, std::int32_t window, std::int32_t stride) {
  const std::int32_t count = (size - window + stride - 1) / stride + 1;
  WindowAxis a;
  for (std::int32_t i = 0; i < count; ++i) {
    a.first.push_back(i * stride);
    a.last.push_back(std::min(size, i * stride + window));
  }
  return a;
}

class Occlusion final : public Attribution {
 public:
  Occlusion(const AttributionCall& c, const Settings& s) : scorer_(c.subject, c.objective, {}) {
    const Shape image = c.subject.model().image_shape();
    const std::int32_t side = std::max(3, image.h() / 8);
    const auto window = pair(s, "window", {std::min(side, image.h()), std::min(side, image.w())}, image.h(), image.w());
    const auto stride = pair(s, "stride", {std::max(1, window[0] / 2), std::max(1, window[1] / 2)}, 1 << 20, 1 << 20);
    fill_ = s.numbers("fill");
    if (fill_.size() == 1) fill_.assign(static_cast<std::size_t>(image.c()), fill_[0]);
    if (fill_.size() != static_cast<std::size_t>(image.c()))
      s.refuse("fill", "one number, or " + std::to_string(image.c()) + " (one per channel)");
    rows_ = axis(image.h(), window[0], stride[0]);
    columns_ = axis(image.w(), window[1], stride[1]);
    scorer_.set_windows(rows_, columns_, s.text("recompute") == "changed");
  }

  Answer attribute(const Query& q, const Job& job) override {
    Answer answer;
    answer.relevance.resize(static_cast<std::size_t>(q.x.size()));
    const double images = q.x.shape.n();
    for (std::int32_t n = 0; n < q.x.shape.n(); ++n)
      occlude(q.part(n, 1), answer.relevance.data() + n * q.x.shape.per_image(),
              job.part(n / images, (n + 1) / images));
    return answer;
  }

 private:
  void occlude(const Query& q, real* relevance, const Job& job) {
    const std::int64_t pixels = q.x.shape.pixels();
    const auto across = static_cast<std::int32_t>(columns_.first.size());
    std::vector<double> scores(rows_.first.size() * columns_.first.size());
    const double own = scorer_.run_windows(
        q, q.targets[0], fill_, job,
        [&](std::int32_t first, std::span<const double> s) { std::copy(s.begin(), s.end(), scores.begin() + first); });
    std::vector<double> sum(static_cast<std::size_t>(pixels)), count(sum.size());
    for (std::size_t k = 0; k < scores.size(); ++k) {
      const std::size_t row = k / static_cast<std::size_t>(across), column = k % static_cast<std::size_t>(across);
      for (std::int32_t i = rows_.first[row]; i < rows_.last[row]; ++i)
        for (std::int32_t j = columns_.first[column]; j < columns_.last[column]; ++j) {
          const auto p =
              static_cast<std::size_t>(i) * static_cast<std::size_t>(q.x.shape.w()) + static_cast<std::size_t>(j);
          sum[p] += own - scores[k];
          count[p] += 1;
        }
    }
    for (std::int32_t c = 0; c < q.x.shape.c(); ++c)
      for (std::size_t p = 0; p < sum.size(); ++p)
        relevance[c * pixels + static_cast<std::int64_t>(p)] = static_cast<real>(count[p] > 0 ? sum[p] / count[p] : 0);
  }

  Scorer scorer_;
  WindowAxis rows_, columns_;
  std::vector<float> fill_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<Occlusion>(c, s);
}

}  // namespace

extern const MethodEntry occlusion;
constinit const MethodEntry occlusion = {
    .card = {.name = "occlusion",
             .summary = "fall of the score when windows are replaced",
             .reference = "Zeiler & Fergus 2014",
             .model_agnostic = true,
             // Windows spread a pixel's effect over their other pixels, so those without any get relevance, too.
             .promises = {.implementation_invariance = true, .class_sensitivity = true},
             .forward_calls = "1 + windows (H/stride * W/stride)",
             .backward_calls = "0",
             .settings = settings},
    .attribution = make};

}  // namespace vitrine::methods
