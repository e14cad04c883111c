// Occlusion [Zeiler & Fergus 2014]: how much the score falls when a window of the image is replaced. Positions and
// averaging as in Captum: windows step by `stride` from the top left corner, the last one is cut at the border, and
// every pixel gets the mean of the differences of all windows that cover it. Attribution spec 9.1.
#include <algorithm>
#include <array>

#include "interp/predict/method.h"
#include "interp/predict/windows.h"

namespace vitrine {
namespace {

constexpr Setting occlusion_list[] = {
    {Setting::text, "window", "", "H, HxW or H,W in pixels (default: an eighth of the height, at least 3)"},
    {Setting::text, "stride", "", "likewise (default: half the window)"},
    {Setting::choice, "recompute", "changed",
     "for each window what it can change (the same but for rounding; all where that is no less), or all",
     "changed|all"},
    {Setting::numbers, "fill", "0",
     "value in network space, one or one a channel (0: the mean colour of prepared data)"},
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

class Occlusion final : public Method {
 public:
  Occlusion(const MethodContext& c, const Settings& s)
      : context_(c.over_merged()), logits_(context_.model.logits()), keep_{logits_} {
    const Shape image = c.model.image_shape();
    const std::int32_t side = std::max(3, image.h() / 8);
    window_ = pair(s, "window", {std::min(side, image.h()), std::min(side, image.w())}, image.h(), image.w());
    stride_ = pair(s, "stride", {std::max(1, window_[0] / 2), std::max(1, window_[1] / 2)}, 1 << 20, 1 << 20);
    fill_ = s.numbers("fill");
    if (fill_.size() == 1) fill_.assign(static_cast<std::size_t>(image.c()), fill_[0]);
    if (fill_.size() != static_cast<std::size_t>(image.c()))
      s.refuse("fill", "one number, or " + std::to_string(image.c()) + " (one a channel)");
    if (s.text("recompute") == "changed")
      windows_ = WindowedRuns::make(context_.model, c.engine, axis(0), axis(1), logits_, c.request.memory_budget);
    if (windows_) return;
    PlanRequest request;
    request.graph = &context_.model.graph();
    request.keep_values = keep_;
    const Fit f =
        fit(c.engine, request, c.request.memory_budget, {}, static_cast<std::size_t>(image.size()) * sizeof(real));
    request.batch = f.batch;
    session_ = std::make_unique<Session>(c.engine, request, context_.model.parameters, f.prepare);
  }

  void attribute(const TensorView& x, std::span<const int> targets, const TensorView&, real* relevance) override {
    const WindowAxis rows = axis(0), columns = axis(1);
    const auto across = static_cast<std::int32_t>(columns.first.size()),
               windows = static_cast<std::int32_t>(rows.first.size()) * across;
    const std::int32_t batch = windows_ ? windows_->batch() : session_->plan().request.batch;
    const std::int64_t pixels = x.shape.pixels();
    Images occluded{x.shape.with_batch(batch), {}};
    if (!windows_) occluded.data.resize(static_cast<std::size_t>(occluded.shape.size()));
    std::vector<double> sum(static_cast<std::size_t>(pixels)), count(sum.size());
    for (std::int32_t n = 0; n < x.shape.n(); ++n) {
      const real* const image = x.data + n * x.shape.per_image();
      const int target = targets[static_cast<std::size_t>(n)];
      double score = 0;
      if (windows_) {
        windows_->set_image(x.images(n, 1));
        score = windows_->image_value().data[target];
      } else {
        score = scores(x.images(n, 1), target)[0];
      }
      std::fill(sum.begin(), sum.end(), 0.0);
      std::fill(count.begin(), count.end(), 0.0);
      in_batches(context_, windows, batch, [&](std::int32_t first, std::int32_t number) {
        const auto each = [&](std::int32_t k, auto&& body) {
          const auto row = static_cast<std::size_t>((first + k) / across),
                     column = static_cast<std::size_t>((first + k) % across);
          for (std::int32_t i = rows.first[row]; i < rows.last[row]; ++i)
            for (std::int32_t j = columns.first[column]; j < columns.last[column]; ++j)
              body(static_cast<std::size_t>(i) * static_cast<std::size_t>(x.shape.w()) + static_cast<std::size_t>(j));
        };
        for (std::int32_t k = 0; k < number && !windows_; ++k) {
          real* const copy = occluded.data.data() + k * x.shape.per_image();
          std::copy(image, image + x.shape.per_image(), copy);
          for (std::int32_t c = 0; c < x.shape.c(); ++c)
            each(k, [&](std::size_t p) {
              copy[static_cast<std::size_t>(c * pixels) + p] = fill_[static_cast<std::size_t>(c)];
            });
        }
        const std::vector<double> s = windows_ ? of_target(windows_->run(first, number, fill_), target)
                                               : scores(occluded.view().images(0, number), target);
        for (std::int32_t k = 0; k < number; ++k)
          each(k, [&](std::size_t p) {
            sum[p] += score - s[static_cast<std::size_t>(k)];
            count[p] += 1;
          });
      });
      for (std::int32_t c = 0; c < x.shape.c(); ++c)
        for (std::size_t p = 0; p < sum.size(); ++p)
          relevance[n * x.shape.per_image() + c * pixels + static_cast<std::int64_t>(p)] =
              static_cast<real>(count[p] > 0 ? sum[p] / count[p] : 0);
    }
  }

 private:
  // Windows along an axis: the last one is cut at the border.
  WindowAxis axis(std::size_t k) const {
    const std::int32_t size = context_.model.image_shape().d[2 + k],
                       count = (size - window_[k] + stride_[k] - 1) / stride_[k] + 1;
    WindowAxis a;
    for (std::int32_t i = 0; i < count; ++i) {
      a.first.push_back(i * stride_[k]);
      a.last.push_back(std::min(size, i * stride_[k] + window_[k]));
    }
    return a;
  }
  static std::vector<double> of_target(const HostTensor& out, int target) {
    std::vector<double> s;
    for (std::int32_t n = 0; n < out.shape.n(); ++n) s.push_back(out.data[n * out.shape.per_image() + target]);
    return s;
  }
  std::vector<double> scores(const TensorView& x, int target) {
    session_->forward(x);
    return of_target(session_->download(session_->run().value(logits_)), target);
  }

  MethodContext context_;
  Id logits_;
  std::array<Id, 1> keep_;
  std::array<std::int32_t, 2> window_, stride_;
  std::vector<float> fill_;
  std::unique_ptr<WindowedRuns> windows_;  // or whole copies:
  std::unique_ptr<Session> session_;
};

}  // namespace

const std::span<const Setting> occlusion_settings = occlusion_list;

std::unique_ptr<Method> make_occlusion(const MethodContext& c, const Settings& s) {
  return std::make_unique<Occlusion>(c, s);
}

}  // namespace vitrine
