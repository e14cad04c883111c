// Reference normalisations.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
void channel_affine(const ChannelAffineArgs<T>& a) noexcept {
  for (std::int64_t plane = a.first; plane < a.first + a.planes; ++plane) {
    const std::int64_t c = plane % a.channels;
    const T scale = a.scale ? a.scale[c] : T(1), shift = a.shift ? a.shift[c] : T(0);
    for (std::int64_t p = 0; p < a.pixels; ++p) {
      const std::int64_t i = plane * a.pixels + p;
      put(a.y[i], a.x ? scale * substituted(a.x_sub, a.x[i]) + shift : shift, a.add);
    }
  }
}

template <class T>
void norm_coefficients(const T* gamma, const T* beta, const T* mean, const T* var, float eps, Substitute w,
                       Substitute b, T* scale, T* shift, std::int64_t n) noexcept {
  for (std::int64_t c = 0; c < n; ++c) {
    const T s = gamma[c] / std::sqrt(var[c] + T(eps));
    if (scale) scale[c] = substituted(w, s);
    if (shift) shift[c] = substituted(b, beta[c] - mean[c] * s);
  }
}

template <class T>
void batch_norm_forward(const BatchNormArgs<T>& a) noexcept {
  const double count = static_cast<double>(a.images * a.pixels);
  for (std::int64_t c = a.first; c < a.last; ++c) {
    double sum = 0, squares = 0;
    const auto each = [&](auto f) {
      for (std::int64_t n = 0; n < a.images; ++n)
        for (std::int64_t p = 0; p < a.pixels; ++p) f((n * a.channels + c) * a.pixels + p);
    };
    each([&](std::int64_t i) { sum += static_cast<double>(a.x[i]); });
    const double mean = sum / count;
    each([&](std::int64_t i) {
      squares += (static_cast<double>(a.x[i]) - mean) * (static_cast<double>(a.x[i]) - mean);
    });
    const double var = squares / count, inv = 1 / std::sqrt(var + static_cast<double>(a.eps));
    a.mean[c] = static_cast<T>(mean);
    a.inv_std[c] = static_cast<T>(inv);
    const double unbiased = count > 1 ? squares / (count - 1) : var, m = static_cast<double>(a.momentum);
    a.running_mean[c] = static_cast<T>((1 - m) * static_cast<double>(a.running_mean[c]) + m * mean);
    a.running_var[c] = static_cast<T>((1 - m) * static_cast<double>(a.running_var[c]) + m * unbiased);
    const double scale = static_cast<double>(a.gamma[c]) * inv, beta = static_cast<double>(a.beta[c]);
    each([&](std::int64_t i) {
      const T v = static_cast<T>(scale * (static_cast<double>(a.x[i]) - mean) + beta +
                                 (a.residual ? static_cast<double>(a.residual[i]) : 0));
      a.y[i] = a.relu && v < 0 ? T(0) : v;
    });
  }
}

template <class T>
void batch_norm_backward(const BatchNormArgs<T>& a) noexcept {
  const double count = static_cast<double>(a.images * a.pixels);
  for (std::int64_t c = a.first; c < a.last; ++c) {
    const double mean = static_cast<double>(a.mean[c]), inv = static_cast<double>(a.inv_std[c]);
    double sum = 0, product = 0;
    const auto each = [&](auto f) {
      for (std::int64_t n = 0; n < a.images; ++n)
        for (std::int64_t p = 0; p < a.pixels; ++p) f((n * a.channels + c) * a.pixels + p);
    };
    const auto normalised = [&](std::int64_t i) { return (static_cast<double>(a.x[i]) - mean) * inv; };
    each([&](std::int64_t i) {
      sum += static_cast<double>(a.dy[i]);
      product += static_cast<double>(a.dy[i]) * normalised(i);
    });
    if (a.dgamma) put(a.dgamma[c], static_cast<T>(product), a.add_dgamma);
    if (a.dbeta) put(a.dbeta[c], static_cast<T>(sum), a.add_dbeta);
    if (!a.dx) continue;
    const double scale = static_cast<double>(a.gamma[c]) * inv;
    const double mean_dy = a.constant ? 0 : sum / count, mean_product = a.constant ? 0 : product / count;
    each([&](std::int64_t i) {
      put(a.dx[i], static_cast<T>(scale * (static_cast<double>(a.dy[i]) - mean_dy - normalised(i) * mean_product)),
          a.add_dx);
    });
  }
}

/// q_c at one place: bias + alpha/size * the squares of the channels around c.
template <class T>
double lrn_sum(const LrnArgs<T>& a, const T* x, std::int64_t c) noexcept {
  const std::int64_t before = (a.size - 1) / 2, after = a.size - 1 - before;
  double q = 0;
  for (std::int64_t k = c > before ? c - before : 0; k <= c + after && k < a.channels; ++k) {
    const double v = static_cast<double>(x[k * a.pixels]);
    q += v * v;
  }
  return static_cast<double>(a.bias) + static_cast<double>(a.alpha) / a.size * q;
}

template <class T>
void lrn_forward(const LrnArgs<T>& a) noexcept {
  for (std::int64_t n = 0; n < a.images; ++n)
    for (std::int64_t p = 0; p < a.pixels; ++p) {
      const std::int64_t at = n * a.channels * a.pixels + p;
      for (std::int64_t c = 0; c < a.channels; ++c) {
        const double q = lrn_sum(a, a.x + at, c);
        a.y[at + c * a.pixels] =
            static_cast<T>(static_cast<double>(a.x[at + c * a.pixels]) * std::pow(q, -static_cast<double>(a.beta)));
      }
    }
}

template <class T>
void lrn_backward(const LrnArgs<T>& a) noexcept {
  const std::int64_t before = (a.size - 1) / 2, after = a.size - 1 - before;
  const double beta = static_cast<double>(a.beta);
  for (std::int64_t n = 0; n < a.images; ++n)
    for (std::int64_t p = 0; p < a.pixels; ++p) {
      const std::int64_t at = n * a.channels * a.pixels + p;
      const T *x = a.x + at, *x0 = a.x0 + at, *s = a.s + at;
      // The signal at q_c goes to scratch; the signal at x_c as a factor is added at once.
      for (std::int64_t c = 0; c < a.channels; ++c) {
        const double q = lrn_sum(a, x, c), q0 = lrn_sum(a, x0, c);
        const double v = std::pow(q, -beta), v0 = std::pow(q0, -beta), dq = q - q0;
        // For close values the quotient loses its digits; the slope between them has an error of second order.
        const double middle = 0.5 * (q + q0), near = dq < 0 ? -dq : dq;
        const double slope = near > 1e-5 * middle ? (v - v0) / dq : -beta * std::pow(middle, -beta - 1);
        const double g = static_cast<double>(s[c * a.pixels]);
        const double x_mean = 0.5 * (static_cast<double>(x[c * a.pixels]) + static_cast<double>(x0[c * a.pixels]));
        a.scratch[c] = static_cast<T>(g * x_mean * slope * static_cast<double>(a.alpha) / a.size);
        put(a.d[at + c * a.pixels], static_cast<T>(g * 0.5 * (v + v0)), a.add);
      }
      for (std::int64_t c = 0; c < a.channels; ++c) {
        double sum = 0;
        for (std::int64_t k = c > after ? c - after : 0; k <= c + before && k < a.channels; ++k)
          sum += static_cast<double>(a.scratch[k]);
        a.d[at + c * a.pixels] +=
            static_cast<T>(sum * (static_cast<double>(x[c * a.pixels]) + static_cast<double>(x0[c * a.pixels])));
      }
    }
}

}  // namespace vitrine::kernels::ref
