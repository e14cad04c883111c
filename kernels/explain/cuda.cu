// Kernels of the explanation rules on a CUDA device. NaN denominators give NaN; a NaN in `out` counts as neither sign.
#include "kernels/cuda/elementwise.h"

namespace vitrine::kernels::cuda {

struct RelevanceQuotient {
  Stabilise st;
  Sign sign;
  const float *r, *z, *out;
  float* s;
  __device__ void operator()(std::int64_t i) const {
    const bool here = sign == Sign::any || (sign == Sign::positive ? out[i] > 0 : out[i] < 0);
    const float v = z[i], sign = v < 0 ? -1.0f : 1.0f, magnitude = sign * v;
    const float stable =
        st.mode == Stabilise::offset ? v + st.eps * sign : sign * (magnitude < st.eps ? st.eps : magnitude);
    s[i] = !here || (st.eps == 0 && v == 0) ? 0.0f : r[i] / stable;
  }
};

struct RelevanceProduct {
  float factor;
  Substitute sub;
  const float *x, *c;
  float* d;
  bool add;
  __device__ void operator()(std::int64_t i) const { put(d[i], factor * substituted(sub, x[i]) * c[i], add); }
};

struct RescaleMultiplier {
  const float *x, *x0, *y, *y0, *slope, *s;
  float* d;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    const float dx = x[i] - x0[i], size = dx < 0 ? -dx : dx;
    put(d[i], s[i] * (size < 1e-7f ? slope[i] : (y[i] - y0[i]) / dx), add);
  }
};

struct CrossMax {
  const float *y, *y0, *s;
  float *a, *b;
  __device__ void operator()(std::int64_t i) const {
    const float now = y[i], before = y0[i], signal = s[i], m = now < before ? before : now;
    a[i] = signal * (m - before);
    b[i] = signal * (now - m);
  }
};

struct SelectBySign {
  const float *d, *p, *q;
  float* z;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    put(z[i], d[i] > 0 ? p[i] : d[i] < 0 ? q[i] : (p[i] + q[i]) / 2, add);
  }
};

struct PseudoCount {
  const float* x;
  float* y;
  __device__ void operator()(std::int64_t i) const {
    const float v = x[i], size = v < 0 ? -v : v;
    y[i] = size < 0.5e-7f ? (v < 0 ? -1e-7f : 1e-7f) : v;
  }
};

struct SafeDivide {
  const float *x, *y;
  float* z;
  bool add;
  __device__ void operator()(std::int64_t i) const { put(z[i], y[i] == 0 ? 0.0f : x[i] / y[i], add); }
};

namespace {

void relevance_quotient(Stabilise st, Sign sign, const float* r, const float* z, const float* out, float* s,
                        std::int64_t n) noexcept {
  for_each(n, RelevanceQuotient{st, sign, r, z, out, s});
}
// Always no: the host would have to wait for the answer.
bool no_relevance(Sign, const float*, const float*, std::int64_t) noexcept { return false; }
void relevance_product(float factor, Substitute sub, const float* x, const float* c, float* d, std::int64_t n,
                       bool add) noexcept {
  for_each(n, RelevanceProduct{factor, sub, x, c, d, add});
}
void rescale_multiplier(const float* x, const float* x0, const float* y, const float* y0, const float* slope,
                        const float* s, float* d, std::int64_t n, bool add) noexcept {
  for_each(n, RescaleMultiplier{x, x0, y, y0, slope, s, d, add});
}
void cross_max(const float* y, const float* y0, const float* s, float* a, float* b, std::int64_t n) noexcept {
  for_each(n, CrossMax{y, y0, s, a, b});
}
void select_by_sign(const float* d, const float* p, const float* q, float* z, std::int64_t n, bool add) noexcept {
  for_each(n, SelectBySign{d, p, q, z, add});
}
void pseudo_count(const float* x, float* y, std::int64_t n) noexcept { for_each(n, PseudoCount{x, y}); }
void safe_divide(const float* x, const float* y, float* z, std::int64_t n, bool add) noexcept {
  for_each(n, SafeDivide{x, y, z, add});
}

}  // namespace

void fill_explain(Table<float>& t) noexcept {
  t.relevance_quotient = &relevance_quotient;
  t.no_relevance = &no_relevance;
  t.relevance_product = &relevance_product;
  t.rescale_multiplier = &rescale_multiplier;
  t.cross_max = &cross_max;
  t.select_by_sign = &select_by_sign;
  t.pseudo_count = &pseudo_count;
  t.safe_divide = &safe_divide;
}

}  // namespace vitrine::kernels::cuda
