#include "interp/perturb/features.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/host/error.h"
#include "interp/perturb/baseline.h"

namespace vitrine {
namespace {

constexpr const char* expected = "expected pixels, grid:H,W with cells in pixels, or FILE.npy of segment numbers";

// H,W, or one number for both.
Segments grid(const Shape& image, const std::string& text, const std::string& cells) {
  const std::size_t comma = cells.find(',');
  double h = 0, w = 0;
  const bool numbers = parse_number(cells.substr(0, comma), h) &&
                       parse_number(comma == std::string::npos ? cells : cells.substr(comma + 1), w);
  const auto fits = [](double v, std::int32_t most) { return v >= 1 && v <= most && v == std::floor(v); };
  if (!numbers || !fits(h, image.h()) || !fits(w, image.w()))
    throw Error("features " + text + ": expected whole pixels, at most the image's " + std::to_string(image.h()) + "," +
                    std::to_string(image.w()),
                Error::usage);
  return grid_segments(image, static_cast<std::int32_t>(h), static_cast<std::int32_t>(w));
}

}  // namespace

Features Features::parse(const Shape& image, const std::string& text) {
  Features f;
  f.text_ = text;
  if (text.ends_with(".npy")) {
    f.each_ = read_segments_of_images(text, image);
    return f;
  }
  const std::int32_t eighth = std::max(1, image.h() / 8);
  if (text.empty())
    f.each_.push_back(grid_segments(image, eighth, std::min(image.w(), eighth)));
  else if (text == "pixels")
    f.each_.push_back(grid(image, text, "1,1"));
  else if (text.starts_with("grid:"))
    f.each_.push_back(grid(image, text, text.substr(5)));
  else
    throw Error("features '" + text + "': " + expected, Error::usage);
  if (f.each_[0].count < 2)
    throw Error("features " + text + ": are one segment alone, expected at least two", Error::usage);
  return f;
}

const Segments& Features::of(std::int64_t image) const {
  if (each_.size() == 1) return each_[0];
  if (image >= static_cast<std::int64_t>(each_.size()))
    throw Error(text_ + ": has segments for " + std::to_string(each_.size()) + " images, but image " +
                std::to_string(image) + " is explained");
  return each_[static_cast<std::size_t>(image)];
}

Fill::Fill(const Settings& s) : kind_(s.text("fill")) {
  double value = 0;
  if (kind_ == "zero" || kind_ == "mean" || kind_ == "blur" || kind_ == "segment-mean") return;
  if (!parse_number(kind_, value) || std::abs(value) > static_cast<double>(std::numeric_limits<float>::max()))
    s.refuse("fill", "zero, mean, blur, segment-mean, or a number");
  value_ = static_cast<real>(value);
  kind_ = "number";
}

Images Fill::of(const TensorView& x, const Segments& segments) const {
  if (kind_ == "mean" || kind_ == "blur") return make_baseline(x, {.kind = kind_, .images = {}});
  Images off{x.shape, std::vector<real>(static_cast<std::size_t>(x.size()), value_)};
  if (kind_ != "segment-mean") return off;
  const auto pixels = static_cast<std::size_t>(x.shape.pixels());
  for (std::size_t c = 0; c < static_cast<std::size_t>(x.shape.c()); ++c) {
    std::vector<double> sum(static_cast<std::size_t>(segments.count), 0.0), count(sum);
    for (std::size_t p = 0; p < pixels; ++p) {
      const auto s = static_cast<std::size_t>(segments.label[p]);
      sum[s] += static_cast<double>(x.data[c * pixels + p]);
      ++count[s];
    }
    for (std::size_t p = 0; p < pixels; ++p) {
      const auto s = static_cast<std::size_t>(segments.label[p]);
      off.data[c * pixels + p] = static_cast<real>(sum[s] / count[s]);
    }
  }
  return off;
}

}  // namespace vitrine
