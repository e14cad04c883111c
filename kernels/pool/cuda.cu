// Pools on a CUDA device. Backward passes gather: one thread per input visits the windows that hold it, in order, so
// that no two threads add to one place and sums are the same every time.
#include "kernels/cuda/reduce.h"

namespace vitrine::kernels::cuda {

/// One axis of a pool.
struct PoolAxis {
  std::int32_t in, out, kernel, stride, pad, dilation, pad_after;
  bool adaptive;

  /// The window of output i: taps first <= t < last are inside the input, at begin + t * dilation; `counted` taps are
  /// inside the input or the declared padding. A switch counts `span` taps per row.
  struct Window {
    std::int32_t begin, first, last, counted, span;
  };
  __device__ Window window(std::int32_t i) const {
    if (adaptive) {
      const auto b = static_cast<std::int32_t>(std::int64_t{i} * in / out);
      const std::int32_t n = static_cast<std::int32_t>(((std::int64_t{i} + 1) * in + out - 1) / out) - b;
      return {b, 0, n, n, n};
    }
    const std::int32_t begin = i * stride - pad;
    const std::int32_t first = begin < 0 ? (-begin + dilation - 1) / dilation : 0;
    const std::int32_t last = taps_before(begin, in), counted = taps_before(begin, in + pad_after);
    return {begin, first < kernel ? first : kernel,
            last > first     ? last
            : first < kernel ? first
                             : kernel,
            counted, kernel};
  }

  /// The windows `from` to `to` that can hold input p. A window that holds it reads it by tap (p - begin) / dilation.
  struct Windows {
    std::int32_t from, to;
  };
  __device__ Windows windows(std::int32_t p) const {
    if (adaptive)
      return {static_cast<std::int32_t>(std::int64_t{p} * out / in),
              static_cast<std::int32_t>(((std::int64_t{p} + 1) * out - 1) / in)};
    const std::int32_t reach = p + pad - (kernel - 1) * dilation, from = reach > 0 ? (reach + stride - 1) / stride : 0,
                       to = (p + pad) / stride;
    return {from, to < out ? to : out - 1};
  }
  /// The tap of window w, which starts at `begin`, that reads input p; -1 if none does.
  __device__ std::int32_t tap(const Window& w, std::int32_t p) const {
    const std::int32_t step = adaptive ? 1 : dilation, offset = p - w.begin, t = offset / step;
    return offset >= 0 && t * step == offset && t >= w.first && t < w.last ? t : -1;
  }
  __device__ std::int32_t place(const Window& w, std::int32_t tap) const {
    return w.begin + tap * (adaptive ? 1 : dilation);
  }

 private:
  /// How many taps of the kernel are before `end`.
  __device__ std::int32_t taps_before(std::int32_t begin, std::int32_t end) const {
    const std::int32_t room = end - begin, taps = room > 0 ? (room + dilation - 1) / dilation : 0;
    return taps < kernel ? taps : kernel;
  }
};

/// A pool as its kernels see it.
struct Pool {
  PoolAxis y, x;
  bool count_padding;
  explicit Pool(const PoolShape& s)
      : y{s.h, s.oh, s.kh, s.stride_h, s.pad_top, s.dilation_h, s.pad_bottom, s.adaptive},
        x{s.w, s.ow, s.kw, s.stride_w, s.pad_left, s.dilation_w, s.pad_right, s.adaptive},
        count_padding(s.count_padding) {}
  __device__ std::int32_t divisor(const PoolAxis::Window& a, const PoolAxis::Window& b) const {
    return count_padding ? a.counted * b.counted : (a.last - a.first) * (b.last - b.first);
  }
  __device__ std::int64_t input(std::int64_t plane, std::int32_t row, std::int32_t column) const {
    return (plane * y.in + row) * x.in + column;
  }
  __device__ std::int64_t output(std::int64_t plane, std::int32_t row, std::int32_t column) const {
    return (plane * y.out + row) * x.out + column;
  }
};

struct MaxPoolForward {
  Pool pool;
  PlaneIndex index;
  const float* x;
  float* y;
  Switch* switches;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const auto a = pool.y.window(at.row), b = pool.x.window(at.column);
    float best = 0;
    std::int32_t winner = 0;
    bool any = false;
    for (std::int32_t ty = a.first; ty < a.last; ++ty) {
      for (std::int32_t tx = b.first; tx < b.last; ++tx) {
        const float v = x[pool.input(at.plane, pool.y.place(a, ty), pool.x.place(b, tx))];
        // NaN wins over everything; of several the first.
        if (any && !(v > best) && !(v != v && best == best)) continue;
        any = true;
        best = v;
        winner = ty * b.span + tx;
      }
    }
    y[i] = best;
    if (switches) switches[i] = static_cast<Switch>(winner);
  }
};

/// largest[image] = the largest magnitude of `count` elements of each image, one block per image. NaN does not count.
__global__ void __launch_bounds__(reduce_block)
    largest_magnitude_kernel(const float* y, std::int64_t count, float* largest) {
  const float* const image = y + std::int64_t{blockIdx.x} * count;
  float most = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += reduce_block) {
    const float v = fabsf(image[i]);
    most = v > most ? v : most;
  }
  most = block_reduce<reduce_block>(most, Maximum());
  if (threadIdx.x == 0) largest[blockIdx.x] = most;
}

struct MaxPoolTies {
  Pool pool;
  PlaneIndex index;
  std::int32_t channels;
  const float *x, *largest;
  Switch* switches;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const std::int64_t image = at.plane / channels;
    const float most = largest[image], tolerance = most * tie_tolerance;
    if (!(most < INFINITY)) return;
    const auto a = pool.y.window(at.row), b = pool.x.window(at.column);
    const std::int32_t s = switches[i], sy = s / b.span, sx = s % b.span;
    if (sy < a.first || sy >= a.last || sx < b.first || sx >= b.last) return;
    const std::int64_t won = pool.input(0, pool.y.place(a, sy), pool.x.place(b, sx));
    for (std::int32_t tap = a.first * b.span + b.first; tap < s; ++tap) {
      const std::int32_t ty = tap / b.span, tx = tap % b.span;
      if (tx < b.first || tx >= b.last) continue;
      if (!tie(image, pool.input(0, pool.y.place(a, ty), pool.x.place(b, tx)), won, tolerance)) continue;
      switches[i] = static_cast<Switch>(tap);
      return;
    }
  }

 private:
  __device__ bool tie(std::int64_t image, std::int64_t p, std::int64_t q, float tolerance) const {
    const std::int64_t places = std::int64_t{pool.y.in} * pool.x.in;
    const float* plane = x + image * channels * places;
    for (std::int32_t c = 0; c < channels; ++c, plane += places) {
      const float difference = plane[p] - plane[q];
      if (!(difference < tolerance && difference > -tolerance)) return false;
    }
    return true;
  }
};

struct MaxPoolGather {
  Pool pool;
  PlaneIndex index;
  const float* x;
  const Switch* switches;
  float* y;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const auto a = pool.y.window(at.row), b = pool.x.window(at.column);
    const std::int32_t s = switches[i], ty = s / b.span, tx = s % b.span;
    const bool inside = ty >= a.first && ty < a.last && tx >= b.first && tx < b.last;
    y[i] = inside ? x[pool.input(at.plane, pool.y.place(a, ty), pool.x.place(b, tx))] : 0.0f;
  }
};

struct MaxPoolScatter {
  Pool pool;
  PlaneIndex index;
  const float* y;
  const Switch* switches;
  float* x;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const auto rows = pool.y.windows(at.row), columns = pool.x.windows(at.column);
    float sum = 0;
    for (std::int32_t oy = rows.from; oy <= rows.to; ++oy) {
      const auto a = pool.y.window(oy);
      const std::int32_t ty = pool.y.tap(a, at.row);
      if (ty < 0) continue;
      for (std::int32_t ox = columns.from; ox <= columns.to; ++ox) {
        const auto b = pool.x.window(ox);
        const std::int32_t tx = pool.x.tap(b, at.column);
        if (tx < 0) continue;
        const std::int64_t o = pool.output(at.plane, oy, ox);
        if (switches[o] == ty * b.span + tx) sum += y[o];
      }
    }
    put(x[i], sum, add);
  }
};

struct AvgPoolForward {
  Pool pool;
  PlaneIndex index;
  const float* x;
  float* y;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const auto a = pool.y.window(at.row), b = pool.x.window(at.column);
    float sum = 0;
    for (std::int32_t ty = a.first; ty < a.last; ++ty)
      for (std::int32_t tx = b.first; tx < b.last; ++tx)
        sum += x[pool.input(at.plane, pool.y.place(a, ty), pool.x.place(b, tx))];
    const std::int32_t count = pool.divisor(a, b);
    y[i] = count ? sum / static_cast<float>(count) : 0.0f;
  }
};

struct AvgPoolBackward {
  Pool pool;
  PlaneIndex index;
  const float* y;
  float* x;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const auto rows = pool.y.windows(at.row), columns = pool.x.windows(at.column);
    float sum = 0;
    for (std::int32_t oy = rows.from; oy <= rows.to; ++oy) {
      const auto a = pool.y.window(oy);
      if (pool.y.tap(a, at.row) < 0) continue;
      for (std::int32_t ox = columns.from; ox <= columns.to; ++ox) {
        const auto b = pool.x.window(ox);
        if (pool.x.tap(b, at.column) < 0) continue;
        const std::int32_t count = pool.divisor(a, b);
        if (count) sum += y[pool.output(at.plane, oy, ox)] / static_cast<float>(count);
      }
    }
    put(x[i], sum, add);
  }
};

namespace {

PlaneIndex inputs(const PoolShape& s) { return PlaneIndex(s.planes, s.h, s.w); }
PlaneIndex outputs(const PoolShape& s) { return PlaneIndex(s.planes, s.oh, s.ow); }
std::int64_t input_count(const PoolShape& s) { return s.planes * s.h * s.w; }
std::int64_t output_count(const PoolShape& s) { return s.planes * s.oh * s.ow; }

void max_pool_forward(const PoolShape& s, const float* x, float* y, Switch* switches) noexcept {
  for_each(output_count(s), MaxPoolForward{Pool(s), outputs(s), x, y, switches});
}
void max_pool_ties(const PoolShape& s, std::int32_t channels, const float* x, const float* y, float* largest,
                   Switch* switches) noexcept {
  const std::int64_t images = s.planes / channels;
  if (output_count(s) == 0) return;
  launch(largest_magnitude_kernel, static_cast<unsigned>(images), reduce_block, 0, y, output_count(s) / images,
         largest);
  for_each(output_count(s), MaxPoolTies{Pool(s), outputs(s), channels, x, largest, switches});
}
void max_pool_gather(const PoolShape& s, const float* x, const Switch* switches, float* y) noexcept {
  for_each(output_count(s), MaxPoolGather{Pool(s), outputs(s), x, switches, y});
}
void max_pool_scatter(const PoolShape& s, const float* y, const Switch* switches, float* x, bool add) noexcept {
  for_each(input_count(s), MaxPoolScatter{Pool(s), inputs(s), y, switches, x, add});
}
void avg_pool_forward(const PoolShape& s, const float* x, float* y) noexcept {
  for_each(output_count(s), AvgPoolForward{Pool(s), outputs(s), x, y});
}
void avg_pool_backward(const PoolShape& s, const float* y, float* x, bool add) noexcept {
  for_each(input_count(s), AvgPoolBackward{Pool(s), inputs(s), y, x, add});
}

}  // namespace

void fill_pool(Table<float>& t) noexcept {
  t.max_pool_forward = &max_pool_forward;
  t.max_pool_ties = &max_pool_ties;
  t.max_pool_gather = &max_pool_gather;
  t.max_pool_scatter = &max_pool_scatter;
  t.avg_pool_forward = &avg_pool_forward;
  t.avg_pool_backward = &avg_pool_backward;
}

}  // namespace vitrine::kernels::cuda
