// Reference elementwise kernels. NaN passes: relu(NaN) is NaN.
#pragma once

#include "kernels/philox.h"
#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
void map_forward(Map map, float a, const T* x, T* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const T v = x[i];
    switch (map) {
      case Map::relu:
        y[i] = v < 0 ? T(0) : v;
        break;
      case Map::leaky_relu:
        y[i] = v < 0 ? T(a) * v : v;
        break;
      case Map::tanh:
        y[i] = std::tanh(v);
        break;
      case Map::sigmoid:
        y[i] = T(1) / (T(1) + std::exp(-v));
        break;
      case Map::count_:
        break;
    }
  }
}

template <class T>
void map_backward(Map map, float a, const T* x, const T* y, const T* s, T* d, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    T v = 0;
    switch (map) {
      case Map::relu:
        v = x[i] > 0 ? s[i] : T(0);
        break;
      case Map::leaky_relu:
        v = x[i] > 0 ? s[i] : T(a) * s[i];
        break;
      case Map::tanh:
        v = (T(1) - y[i] * y[i]) * s[i];
        break;
      case Map::sigmoid:
        v = y[i] * (T(1) - y[i]) * s[i];
        break;
      case Map::count_:
        break;
    }
    put(d[i], v, add);
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

template <class T>
void dropout(float p, std::uint64_t key, std::uint64_t first, const T* x, T* y, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const bool keep = philox_uniform(key, first + static_cast<std::uint64_t>(i)) >= p;
    put(y[i], keep ? x[i] / (T(1) - T(p)) : T(0), add);
  }
}

}  // namespace vitrine::kernels::ref
