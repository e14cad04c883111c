// Resampling on a CUDA device. Positions are computed in double, as everywhere: halves must round alike.
#include "kernels/cuda/elementwise.h"

namespace vitrine::kernels::cuda {

/// One axis of a resampling.
struct ResizeAxis {
  std::int32_t in, out;
  float given;
  bool bilinear, align_corners, half_pixel;

  /// What an output reads: two neighbours, and the weight of the second.
  struct Tap {
    std::int32_t at[2];
    double weight;
  };
  __device__ Tap tap(std::int32_t o) const {
    const double step = given > 0 ? static_cast<double>(given) : static_cast<double>(in) / out;
    double x = half_pixel ? (o + 0.5) * step - 0.5 : o * step;
    if (align_corners) x = out > 1 ? static_cast<double>(o) * (in - 1) / (out - 1) : 0.0;
    const double last = in - 1;
    if (!bilinear) {
      // Half-pixel centres: the nearest, halves down; otherwise rounded down. The steps are rounded numbers.
      const double nearest = half_pixel && !align_corners ? ceil(x - 0.5 - 1e-6) : floor(x + 1e-6);
      const auto at = static_cast<std::int32_t>(nearest < 0 ? 0 : nearest > last ? last : nearest);
      return {{at, at}, 0};
    }
    x = x < 0 ? 0 : x > last ? last : x;
    const auto at = static_cast<std::int32_t>(x);
    return {{at, at + 1 < in ? at + 1 : at}, x - at};
  }

  /// The first output that reads input p or a later one. Taps never decrease from one output to the next.
  __device__ std::int32_t first_reader(std::int32_t p) const {
    std::int32_t low = 0, high = out;
    while (low < high) {
      const std::int32_t middle = low + (high - low) / 2;
      if (tap(middle).at[1] < p)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

struct Resize {
  ResizeAxis y, x;
  explicit Resize(const ResizeShape& s)
      : y{s.h, s.oh, s.step_h, s.bilinear, s.align_corners, s.half_pixel},
        x{s.w, s.ow, s.step_w, s.bilinear, s.align_corners, s.half_pixel} {}
};

struct ResizeForward {
  Resize shape;
  PlaneIndex index;
  const float* x;
  float* y;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const auto a = shape.y.tap(at.row), b = shape.x.tap(at.column);
    double v = 0;
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const double w = (r ? a.weight : 1 - a.weight) * (c ? b.weight : 1 - b.weight);
        if (w != 0) v += w * static_cast<double>(x[(at.plane * shape.y.in + a.at[r]) * shape.x.in + b.at[c]]);
      }
    y[i] = static_cast<float>(v);
  }
};

/// One thread per input: the outputs that read it are contiguous, since taps never decrease.
struct ResizeBackward {
  Resize shape;
  PlaneIndex index;
  const float* y;
  float* x;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const std::int32_t first_row = shape.y.first_reader(at.row), first_column = shape.x.first_reader(at.column);
    float sum = 0;
    for (std::int32_t r = first_row; r < shape.y.out; ++r) {
      const auto a = shape.y.tap(r);
      if (a.at[0] > at.row) break;
      for (std::int32_t c = first_column; c < shape.x.out; ++c) {
        const auto b = shape.x.tap(c);
        if (b.at[0] > at.column) break;
        const double w = weight(a, at.row) * weight(b, at.column);
        if (w != 0)
          sum += static_cast<float>(w * static_cast<double>(y[(at.plane * shape.y.out + r) * shape.x.out + c]));
      }
    }
    put(x[i], sum, add);
  }
  /// The weight of a tap at input p; both its places may be the same.
  static __device__ double weight(const ResizeAxis::Tap& t, std::int32_t p) {
    return (t.at[0] == p ? 1 - t.weight : 0.0) + (t.at[1] == p ? t.weight : 0.0);
  }
};

namespace {

void resize_forward(const ResizeShape& s, const float* x, float* y) noexcept {
  for_each(s.planes * s.oh * s.ow, ResizeForward{Resize(s), PlaneIndex(s.planes, s.oh, s.ow), x, y});
}
void resize_backward(const ResizeShape& s, const float* y, float* x, bool add) noexcept {
  for_each(s.planes * s.h * s.w, ResizeBackward{Resize(s), PlaneIndex(s.planes, s.h, s.w), y, x, add});
}

}  // namespace

void fill_resize(Table<float>& t) noexcept {
  t.resize_forward = &resize_forward;
  t.resize_backward = &resize_backward;
}

}  // namespace vitrine::kernels::cuda
