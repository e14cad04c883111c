#include "interp/perturb/baseline.h"

#include <algorithm>
#include <cmath>

#include "core/host/error.h"
#include "core/host/text.h"

namespace vitrine {
namespace {

Images given_baseline(const TensorView& x, const Images& given, std::int64_t first) {
  if (given.shape.with_batch(1) != x.shape.with_batch(1) ||
      (given.shape.n() != 1 && given.shape.n() < first + x.shape.n()))
    throw Error("the baseline has shape " + text(given.shape) + ", expected " + text(x.shape) + " or " +
                    text(x.shape.with_batch(1)),
                Error::input);
  const std::int64_t each = x.shape.per_image();
  Images b{x.shape, std::vector<real>(static_cast<std::size_t>(x.size()))};
  for (std::int32_t n = 0; n < x.shape.n(); ++n)
    std::copy_n(given.data.begin() + (given.shape.n() == 1 ? 0 : (first + n) * each), each, b.data.begin() + n * each);
  return b;
}

Images channel_means(const TensorView& x) {
  Images b{x.shape, std::vector<real>(static_cast<std::size_t>(x.size()))};
  const std::int64_t pixels = x.shape.pixels();
  for (std::int64_t plane = 0; plane < std::int64_t{x.shape.n()} * x.shape.c(); ++plane) {
    double sum = 0;
    for (std::int64_t p = 0; p < pixels; ++p) sum += static_cast<double>(x.data[plane * pixels + p]);
    std::fill_n(b.data.begin() + plane * pixels, pixels, static_cast<real>(sum / static_cast<double>(pixels)));
  }
  return b;
}

// One axis of the blur: to(i, j) = sum over d of kernel[d] from(i, j + d), with the border repeated.
template <class From, class To>
void blur_axis(const std::vector<double>& kernel, double total, std::int32_t lines, std::int32_t length, From from,
               To to) {
  const auto radius = static_cast<std::int32_t>(kernel.size() / 2);
  for (std::int32_t i = 0; i < lines; ++i)
    for (std::int32_t j = 0; j < length; ++j) {
      double v = 0;
      for (std::int32_t d = -radius; d <= radius; ++d)
        v += kernel[static_cast<std::size_t>(d + radius)] * from(i, std::clamp(j + d, 0, length - 1));
      to(i, j, v / total);
    }
}

}  // namespace

Images make_baseline(const TensorView& x, const BaselineChoice& choice, std::int64_t first) {
  if (choice.images) return given_baseline(x, *choice.images, first);
  if (choice.kind == "zero") return {x.shape, std::vector<real>(static_cast<std::size_t>(x.size()), 0)};
  if (choice.kind == "mean") return channel_means(x);
  if (choice.kind != "blur")
    throw Error("unknown baseline '" + choice.kind + "': expected zero, mean, blur or a .npy file", Error::usage);
  return blurred(x, std::max(1.0, std::min(x.shape.h(), x.shape.w()) / 8.0));
}

Images blurred(const TensorView& x, double sigma) {
  const std::int32_t H = x.shape.h(), W = x.shape.w();
  const std::int64_t pixels = x.shape.pixels();
  const auto radius = static_cast<std::int32_t>(std::ceil(3 * sigma));
  std::vector<double> kernel;
  double total = 0;
  for (std::int32_t d = -radius; d <= radius; ++d)
    total += kernel.emplace_back(std::exp(-0.5 * d * d / (sigma * sigma)));
  Images b{x.shape, std::vector<real>(static_cast<std::size_t>(x.size()))};
  std::vector<double> rows(static_cast<std::size_t>(pixels));
  for (std::int64_t plane = 0; plane < std::int64_t{x.shape.n()} * x.shape.c(); ++plane) {
    const real* const in = x.data + plane * pixels;
    real* const out = b.data.data() + plane * pixels;
    blur_axis(
        kernel, total, H, W, [&](std::int32_t i, std::int32_t j) { return static_cast<double>(in[i * W + j]); },
        [&](std::int32_t i, std::int32_t j, double v) { rows[static_cast<std::size_t>(i * W + j)] = v; });
    blur_axis(
        kernel, total, W, H, [&](std::int32_t j, std::int32_t i) { return rows[static_cast<std::size_t>(i * W + j)]; },
        [&](std::int32_t j, std::int32_t i, double v) { out[i * W + j] = static_cast<real>(v); });
  }
  return b;
}

}  // namespace vitrine
