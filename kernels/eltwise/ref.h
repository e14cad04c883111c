// Reference elementwise kernels. NaN passes: relu(NaN) is NaN.
#pragma once

#include "kernels/normal.h"
#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
T map_value(Map map, MapParameters p, T v) noexcept {
  switch (map) {
    case Map::relu:
      return v < 0 ? T(0) : v;
    case Map::leaky_relu:
      return v < 0 ? T(p.a) * v : v;
    case Map::tanh:
      return std::tanh(v);
    case Map::sigmoid:
      return T(1) / (T(1) + std::exp(-v));
    case Map::clip:
      return v < T(p.a) ? T(p.a) : v > T(p.b) ? T(p.b) : v;
    case Map::elu:
      return v < 0 ? T(p.a) * std::expm1(v) : v;
    case Map::gelu:
      return T(0.5) * v * std::erfc(-v * T(0.70710678118654752));
    case Map::gelu_tanh:
      return v / (T(1) + std::exp(T(-1.5957691216057308) * v * (T(1) + T(0.044715) * v * v)));
    case Map::silu:
      return v / (T(1) + std::exp(-v));
    case Map::hard_sigmoid:
      return map_value(Map::clip, {0, 1}, T(p.a) * v + T(p.b));
    case Map::hard_swish:
      return v <= -3 ? T(0) : v >= 3 ? v : v * (v + T(3)) / T(6);
    case Map::softplus:
      return (v > 0 ? v : T(0)) + std::log1p(std::exp(v > 0 ? -v : v));
    case Map::softsign:
      return v / (T(1) + std::abs(v));
    case Map::threshold:
      return v <= T(p.a) ? T(0) : v;
    case Map::abs:
      return std::abs(v);
    case Map::exp:
      return std::exp(v);
    case Map::log:
      return std::log(v);
    case Map::power:
      return std::pow(v, T(p.a));
    case Map::count_:
      break;
  }
  return v;
}

/// f'(x); from y = f(x) for the functions whose derivative is cheaper in y.
template <class T>
T map_slope(Map map, MapParameters p, T x, T y) noexcept {
  switch (map) {
    case Map::relu:
      return x > 0 ? T(1) : T(0);
    case Map::leaky_relu:
      return x > 0 ? T(1) : T(p.a);
    case Map::tanh:
      return T(1) - y * y;
    case Map::sigmoid:
      return y * (T(1) - y);
    case Map::clip:
      return x > T(p.a) && x < T(p.b) ? T(1) : T(0);
    case Map::elu:
      return x > 0 ? T(1) : T(p.a) * std::exp(x);
    case Map::gelu:
      return T(0.5) * std::erfc(-x * T(0.70710678118654752)) + x * T(0.39894228040143268) * std::exp(T(-0.5) * x * x);
    case Map::gelu_tanh: {
      const T g = T(1) / (T(1) + std::exp(T(-1.5957691216057308) * x * (T(1) + T(0.044715) * x * x)));
      return g + x * g * (T(1) - g) * T(1.5957691216057308) * (T(1) + T(3 * 0.044715) * x * x);
    }
    case Map::silu: {
      const T g = T(1) / (T(1) + std::exp(-x));
      return g * (T(1) + x * (T(1) - g));
    }
    case Map::hard_sigmoid: {
      const T v = T(p.a) * x + T(p.b);
      return v > 0 && v < 1 ? T(p.a) : T(0);
    }
    case Map::hard_swish:
      return x <= -3 ? T(0) : x > 3 ? T(1) : x / T(3) + T(0.5);
    case Map::softplus:
      return T(1) / (T(1) + std::exp(-x));
    case Map::softsign: {
      const T q = T(1) / (T(1) + std::abs(x));
      return q * q;
    }
    case Map::threshold:
      return x <= T(p.a) ? T(0) : T(1);
    case Map::abs:
      return x > 0 ? T(1) : x < 0 ? T(-1) : T(0);
    case Map::exp:
      return y;
    case Map::log:
      return T(1) / x;
    case Map::power:
      return T(p.a) * std::pow(x, T(p.a) - T(1));
    case Map::count_:
      break;
  }
  return T(0);
}

template <class T>
void map_forward(Map map, MapParameters p, const T* x, T* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = map_value(map, p, x[i]);
}

template <class T>
void map_backward(Map map, MapParameters p, const T* x, const T* y, const T* s, T* d, std::int64_t n,
                  bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const T slope = map_slope(map, p, x[i], y[i]);
    // A slope of 0 stops infinities, too.
    put(d[i], slope == 0 && map != Map::tanh && map != Map::sigmoid ? T(0) : slope == 1 ? s[i] : slope * s[i], add);
  }
}

template <class T>
void rectify_backward(Rectify rule, const T* x, const T* s, T* d, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const bool closed = rule == Rectify::guided && !(x[i] > 0);
    put(d[i], closed || s[i] < 0 ? T(0) : s[i], add);
  }
}

template <class T>
void fill(T value, T* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = value;
}

template <class T>
void scale(T a, const T* x, T* y, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) put(y[i], a * x[i], add);
}

template <class T>
void multiply(const T* x, const T* y, T* z, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) put(z[i], x[i] * y[i], add);
}

template <class T>
void combine(T a, const T* x, T b, const T* y, T* z, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) z[i] = a * x[i] + b * y[i];
}

template <class T>
void substitute(Substitute s, const T* x, T* y, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) put(y[i], substituted(s, x[i]), add);
}

template <class T>
void copy(const CopyArgs<T>& c) noexcept {
  for (std::int64_t i = 0; i < c.size[0]; ++i) {
    for (std::int64_t j = 0; j < c.size[1]; ++j) {
      for (std::int64_t k = 0; k < c.size[2]; ++k) {
        for (std::int64_t l = 0; l < c.size[3]; ++l) {
          const T v = c.src[i * c.src_stride[0] + j * c.src_stride[1] + k * c.src_stride[2] + l * c.src_stride[3]];
          put(c.dst[i * c.dst_stride[0] + j * c.dst_stride[1] + k * c.dst_stride[2] + l * c.dst_stride[3]], v, c.add);
        }
      }
    }
  }
}

inline void normals(std::uint64_t key, std::int64_t n, double* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = philox_normal(key, static_cast<std::uint64_t>(i));
}

template <class T>
void dropout(float p, std::uint64_t key, std::uint64_t first, const T* x, T* y, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const bool keep = philox_uniform(key, first + static_cast<std::uint64_t>(i)) >= p;
    put(y[i], keep ? x[i] / (T(1) - T(p)) : T(0), add);
  }
}

}  // namespace vitrine::kernels::ref
