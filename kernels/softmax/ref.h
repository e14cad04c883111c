// Reference softmax and cross-entropy. A row that holds NaN or +inf, or nothing but -inf, gives NaN throughout. A class
// whose target is 0 adds nothing to the loss, even if its probability is 0.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
T row_max(const T* x, std::int64_t k) noexcept {
  T m = x[0];
  for (std::int64_t j = 1; j < k; ++j) m = x[j] > m ? x[j] : m;
  return m;
}

template <class T>
void softmax_forward(const T* x, std::int64_t n, std::int64_t k, T* y) noexcept {
  for (std::int64_t i = 0; i < n && k > 0; ++i, x += k, y += k) {
    const T m = row_max(x, k);
    T sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += y[j] = std::exp(x[j] - m);
    for (std::int64_t j = 0; j < k; ++j) y[j] /= sum;
  }
}

template <class T>
void softmax_backward(const T* y, const T* s, std::int64_t n, std::int64_t k, T* d, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i, y += k, s += k, d += k) {
    T sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += s[j] * y[j];
    for (std::int64_t j = 0; j < k; ++j) put(d[j], y[j] * (s[j] - sum), add);
  }
}

template <class T>
void log_softmax_forward(const T* x, std::int64_t n, std::int64_t k, T* y) noexcept {
  for (std::int64_t i = 0; i < n && k > 0; ++i, x += k, y += k) {
    const double m = static_cast<double>(row_max(x, k));
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += std::exp(static_cast<double>(x[j]) - m);
    const double log_sum = m + std::log(sum);
    for (std::int64_t j = 0; j < k; ++j) y[j] = static_cast<T>(static_cast<double>(x[j]) - log_sum);
  }
}

template <class T>
void log_softmax_backward(const T* y, const T* s, std::int64_t n, std::int64_t k, T* d, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i, y += k, s += k, d += k) {
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += static_cast<double>(s[j]);
    for (std::int64_t j = 0; j < k; ++j)
      put(d[j], static_cast<T>(static_cast<double>(s[j]) - std::exp(static_cast<double>(y[j])) * sum), add);
  }
}

template <class T>
void cross_entropy(const T* x, const T* target, std::int64_t n, std::int64_t k, T scale, double* loss, T* d) noexcept {
  for (std::int64_t i = 0; i < n; ++i, x += k, target += k) {
    if (k == 0) {
      loss[i] = 0;
      continue;
    }
    const double m = static_cast<double>(row_max(x, k));
    double sum = 0, l = 0, t = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += std::exp(static_cast<double>(x[j]) - m);
    const double log_sum = std::log(sum);
    for (std::int64_t j = 0; j < k; ++j) {
      t += static_cast<double>(target[j]);
      if (target[j] != 0) l -= static_cast<double>(target[j]) * (static_cast<double>(x[j]) - m - log_sum);
    }
    loss[i] = l;
    if (!d) continue;
    for (std::int64_t j = 0; j < k; ++j) {
      const double p = std::exp(static_cast<double>(x[j]) - m) / sum;
      d[i * k + j] = scale * static_cast<T>(t * p - static_cast<double>(target[j]));
    }
  }
}

}  // namespace vitrine::kernels::ref
