// Elementwise kernels on a CUDA device. NaN passes: relu(NaN) is NaN.
#include <limits>

#include "kernels/cuda/elementwise.h"
#include "kernels/philox.h"

namespace vitrine::kernels::cuda {

__device__ inline float map_value(Map map, MapParameters p, float v) {
  switch (map) {
    case Map::relu:
      return v < 0 ? 0.0f : v;
    case Map::leaky_relu:
      return v < 0 ? p.a * v : v;
    case Map::tanh:
      return tanhf(v);
    case Map::sigmoid:
      return 1.0f / (1.0f + expf(-v));
    case Map::clip:
      return v < p.a ? p.a : v > p.b ? p.b : v;
    case Map::elu:
      return v < 0 ? p.a * expm1f(v) : v;
    case Map::gelu:
      return 0.5f * v * erfcf(-v * 0.70710678f);
    case Map::gelu_tanh:
      return v / (1.0f + expf(-1.5957691f * v * (1.0f + 0.044715f * v * v)));
    case Map::silu:
      return v / (1.0f + expf(-v));
    case Map::hard_sigmoid: {
      const float u = p.a * v + p.b;
      return u < 0 ? 0.0f : u > 1 ? 1.0f : u;
    }
    case Map::hard_swish:
      return v <= -3 ? 0.0f : v >= 3 ? v : v * (v + 3.0f) / 6.0f;
    case Map::softplus:
      return (v > 0 ? v : 0.0f) + log1pf(expf(v > 0 ? -v : v));
    case Map::softsign:
      return v / (1.0f + fabsf(v));
    case Map::threshold:
      return v <= p.a ? 0.0f : v;
    case Map::abs:
      return fabsf(v);
    case Map::exp:
      return expf(v);
    case Map::log:
      return logf(v);
    case Map::power:
      return powf(v, p.a);
    case Map::count_:
      break;
  }
  return v;
}

/// f'(x); from y = f(x) for the functions whose derivative is cheaper in y.
__device__ inline float map_slope(Map map, MapParameters p, float x, float y) {
  switch (map) {
    case Map::relu:
      return x > 0 ? 1.0f : 0.0f;
    case Map::leaky_relu:
      return x > 0 ? 1.0f : p.a;
    case Map::tanh:
      return 1.0f - y * y;
    case Map::sigmoid:
      return y * (1.0f - y);
    case Map::clip:
      return x > p.a && x < p.b ? 1.0f : 0.0f;
    case Map::elu:
      return x > 0 ? 1.0f : p.a * expf(x);
    case Map::gelu:
      return 0.5f * erfcf(-x * 0.70710678f) + x * 0.39894228f * expf(-0.5f * x * x);
    case Map::gelu_tanh: {
      const float g = 1.0f / (1.0f + expf(-1.5957691f * x * (1.0f + 0.044715f * x * x)));
      return g + x * g * (1.0f - g) * 1.5957691f * (1.0f + 0.134145f * x * x);
    }
    case Map::silu: {
      const float g = 1.0f / (1.0f + expf(-x));
      return g * (1.0f + x * (1.0f - g));
    }
    case Map::hard_sigmoid: {
      const float u = p.a * x + p.b;
      return u > 0 && u < 1 ? p.a : 0.0f;
    }
    case Map::hard_swish:
      return x <= -3 ? 0.0f : x > 3 ? 1.0f : x / 3.0f + 0.5f;
    case Map::softplus:
      return 1.0f / (1.0f + expf(-x));
    case Map::softsign: {
      const float q = 1.0f / (1.0f + fabsf(x));
      return q * q;
    }
    case Map::threshold:
      return x <= p.a ? 0.0f : 1.0f;
    case Map::abs:
      return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
    case Map::exp:
      return y;
    case Map::log:
      return 1.0f / x;
    case Map::power:
      return p.a * powf(x, p.a - 1.0f);
    case Map::count_:
      break;
  }
  return 0;
}

struct MapForward {
  Map map;
  MapParameters p;
  const float* x;
  float* y;
  __device__ void operator()(std::int64_t i) const { y[i] = map_value(map, p, x[i]); }
};

struct MapBackward {
  Map map;
  MapParameters p;
  const float *x, *y, *s;
  float* d;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    // Each function reads only one of x and y; the caller may pass that one for both.
    const bool by_y = map == Map::relu || map == Map::tanh || map == Map::sigmoid || map == Map::exp;
    const float at_y = by_y ? y[i] : 0.0f, at_x = by_y ? at_y : x[i];
    const float slope = map_slope(map, p, at_x, at_y);
    // A slope of 0 stops infinities, too.
    const bool closed = slope == 0 && map != Map::tanh && map != Map::sigmoid;
    put(d[i], closed ? 0.0f : slope == 1 ? s[i] : slope * s[i], add);
  }
};

struct RectifyBackward {
  Rectify rule;
  const float *x, *s;
  float* d;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    const bool closed = rule == Rectify::guided && !(x[i] > 0);
    put(d[i], closed || s[i] < 0 ? 0.0f : s[i], add);
  }
};

struct Fill {
  float value;
  float* y;
  __device__ void operator()(std::int64_t i) const { y[i] = value; }
};

struct Scale {
  float a;
  const float* x;
  float* y;
  bool add;
  __device__ void operator()(std::int64_t i) const { put(y[i], a * x[i], add); }
};

struct Multiply {
  const float *x, *y;
  float* z;
  bool add;
  __device__ void operator()(std::int64_t i) const { put(z[i], x[i] * y[i], add); }
};

struct Combine {
  float a;
  const float* x;
  float b;
  const float* y;
  float* z;
  __device__ void operator()(std::int64_t i) const { z[i] = a * x[i] + b * y[i]; }
};

struct ApplySubstitute {
  Substitute sub;
  const float* x;
  float* y;
  bool add;
  __device__ void operator()(std::int64_t i) const { put(y[i], substituted(sub, x[i]), add); }
};

/// A copy whose innermost dimension is the one in which the target is densest, so that a warp writes neighbours.
template <class Index>
struct StridedCopy {
  CopyArgs<float> c;
  int inner;  ///< dimensions from here on have a target stride of 0: one thread sums them
  __device__ void operator()(std::int64_t i) const {
    auto rest = static_cast<Index>(i);
    std::int64_t from = 0, to = 0, summed = 1;
#pragma unroll
    for (int d = 3; d >= 0; --d) {
      const auto size = static_cast<Index>(c.size[d]);
      if (d >= inner) {
        summed *= c.size[d];
        continue;
      }
      const Index at = rest % size;
      rest /= size;
      from += static_cast<std::int64_t>(at) * c.src_stride[d];
      to += static_cast<std::int64_t>(at) * c.dst_stride[d];
    }
    if (inner == 4) {
      put(c.dst[to], c.src[from], c.add);
      return;
    }
    for (std::int64_t k = 0; k < summed; ++k) {
      std::int64_t left = k, at = from;
      for (int d = 3; d >= inner; --d) {
        at += left % c.size[d] * c.src_stride[d];
        left /= c.size[d];
      }
      put(c.dst[to], c.src[at], c.add);
    }
  }
};

/// A thread draws one block of the generator, for four elements: those of words 4i ... 4i + 3 of the stream.
struct Dropout {
  float p;
  std::uint64_t key, first;
  const float* x;
  float* y;
  std::int64_t n;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    const std::uint64_t block = first / 4 + static_cast<std::uint64_t>(i);
    const auto words = philox(key, block);
#pragma unroll
    for (unsigned w = 0; w < 4; ++w) {
      const auto at = static_cast<std::int64_t>(block * 4 + w - first);
      if (at < 0 || at >= n) continue;
      const float uniform = static_cast<float>(words[w] >> 8) * (1.0f / 16777216.0f);
      put(y[at], uniform >= p ? x[at] / (1.0f - p) : 0.0f, add);
    }
  }
};

namespace {

void map_forward(Map map, MapParameters p, const float* x, float* y, std::int64_t n) noexcept {
  for_each(n, MapForward{map, p, x, y});
}

void map_backward(Map map, MapParameters p, const float* x, const float* y, const float* s, float* d, std::int64_t n,
                  bool add) noexcept {
  for_each(n, MapBackward{map, p, x, y, s, d, add});
}

void rectify_backward(Rectify rule, const float* x, const float* s, float* d, std::int64_t n, bool add) noexcept {
  for_each(n, RectifyBackward{rule, x, s, d, add});
}

void fill(float value, float* y, std::int64_t n) noexcept { for_each(n, Fill{value, y}); }
void scale(float a, const float* x, float* y, std::int64_t n, bool add) noexcept { for_each(n, Scale{a, x, y, add}); }
void multiply(const float* x, const float* y, float* z, std::int64_t n, bool add) noexcept {
  for_each(n, Multiply{x, y, z, add});
}
void combine(float a, const float* x, float b, const float* y, float* z, std::int64_t n) noexcept {
  for_each(n, Combine{a, x, b, y, z});
}
void substitute(Substitute s, const float* x, float* y, std::int64_t n, bool add) noexcept {
  for_each(n, ApplySubstitute{s, x, y, add});
}

void copy(const CopyArgs<float>& args) noexcept {
  CopyArgs<float> c = args;
  // The densest dimension of the target last, so that neighbouring threads write neighbours; behind it those whose
  // elements are summed. Dimensions of one element have no stride and stand first.
  const auto density = [&](int d) {
    if (c.size[d] == 1) return std::numeric_limits<std::int64_t>::max();
    return c.dst_stride[d] < 0 ? -c.dst_stride[d] : c.dst_stride[d];
  };
  for (int d = 0; d < 4; ++d)
    for (int e = 3; e > d; --e)
      if (density(e - 1) < density(e)) {
        std::swap(c.size[e - 1], c.size[e]);
        std::swap(c.src_stride[e - 1], c.src_stride[e]);
        std::swap(c.dst_stride[e - 1], c.dst_stride[e]);
      }
  int inner = 4;
  while (inner > 0 && c.dst_stride[inner - 1] == 0 && c.size[inner - 1] > 1) --inner;
  std::int64_t n = 1;
  for (int d = 0; d < inner; ++d) n *= c.size[d];
  for (int d = inner; d < 4; ++d)
    if (c.size[d] == 0) n = 0;
  if (n < std::int64_t{1} << 32)
    for_each(n, StridedCopy<std::uint32_t>{c, inner});
  else
    for_each(n, StridedCopy<std::uint64_t>{c, inner});
}

void dropout(float p, std::uint64_t key, std::uint64_t first, const float* x, float* y, std::int64_t n,
             bool add) noexcept {
  if (n <= 0) return;
  const std::uint64_t last = first + static_cast<std::uint64_t>(n) - 1;
  for_each(static_cast<std::int64_t>(last / 4 - first / 4) + 1, Dropout{p, key, first, x, y, n, add});
}

}  // namespace

void fill_eltwise(Table<float>& t) noexcept {
  t.map_forward = &map_forward;
  t.map_backward = &map_backward;
  t.rectify_backward = &rectify_backward;
  t.fill = &fill;
  t.scale = &scale;
  t.multiply = &multiply;
  t.combine = &combine;
  t.substitute = &substitute;
  t.copy = &copy;
  t.dropout = &dropout;
}

}  // namespace vitrine::kernels::cuda
