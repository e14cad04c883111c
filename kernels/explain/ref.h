// Reference kernels of the explanation rules. NaN denominators give NaN; a NaN in `out` counts as neither sign.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

template <class T>
void relevance_quotient(Stabilise st, Sign sign, const T* r, const T* z, const T* out, T* s, std::int64_t n) noexcept {
  const T eps = T(st.eps);
  for (std::int64_t i = 0; i < n; ++i) {
    const bool here = sign == Sign::any || (sign == Sign::positive ? out[i] > 0 : out[i] < 0);
    const T sign = z[i] < 0 ? T(-1) : T(1), magnitude = sign * z[i];
    const T stable = st.mode == Stabilise::offset ? z[i] + eps * sign : sign * (magnitude < eps ? eps : magnitude);
    s[i] = !here || (eps == 0 && z[i] == 0) ? T(0) : r[i] / stable;
  }
}

template <class T>
bool no_relevance(Sign sign, const T* r, const T* out, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i)
    if (r[i] != 0 && (sign == Sign::any || (sign == Sign::positive ? out[i] > 0 : out[i] < 0))) return false;
  return true;
}

template <class T>
void relevance_product(T factor, Substitute sub, const T* x, const T* c, T* d, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) put(d[i], factor * substituted(sub, x[i]) * c[i], add);
}

template <class T>
void rescale_multiplier(const T* x, const T* x0, const T* y, const T* y0, const T* slope, const T* s, T* d,
                        std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const T dx = x[i] - x0[i], size = dx < 0 ? -dx : dx;
    put(d[i], s[i] * (size < T(1e-7f) ? slope[i] : (y[i] - y0[i]) / dx), add);
  }
}

template <class T>
void cross_max(const T* y, const T* y0, const T* s, T* a, T* b, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const T m = y[i] < y0[i] ? y0[i] : y[i];
    a[i] = s[i] * (m - y0[i]);
    b[i] = s[i] * (y[i] - m);
  }
}

template <class T>
void select_by_sign(const T* d, const T* p, const T* q, T* z, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) put(z[i], d[i] > 0 ? p[i] : d[i] < 0 ? q[i] : (p[i] + q[i]) / 2, add);
}

template <class T>
void pseudo_count(const T* x, T* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const T size = x[i] < 0 ? -x[i] : x[i];
    y[i] = size < T(0.5e-7f) ? (x[i] < 0 ? T(-1e-7f) : T(1e-7f)) : x[i];
  }
}

template <class T>
void safe_divide(const T* x, const T* y, T* z, std::int64_t n, bool add) noexcept {
  for (std::int64_t i = 0; i < n; ++i) put(z[i], y[i] == 0 ? T(0) : x[i] / y[i], add);
}

}  // namespace vitrine::kernels::ref
