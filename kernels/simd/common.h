// What the generic kernels share: loops over vectors and their tails, unrolling, substitution, elementary functions.
// Everything has internal linkage (see simd/avx2.h), so neither std:: function templates nor the inline members of
// kernels.h are called.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/simd/inline.h"

namespace vitrine::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

template <class T>
VITRINE_INLINE constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
VITRINE_INLINE constexpr T larger(T a, T b) {
  return a < b ? b : a;
}
VITRINE_INLINE constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
VITRINE_INLINE constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

template <int I>
struct Index {
  static constexpr int value = I;
  constexpr operator int() const { return I; }
};

/// f(Index<0>), ..., f(Index<N-1>), unrolled while inlining, so that arrays indexed by it become registers.
template <int N, class F>
VITRINE_INLINE void unroll(F f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) { (f(Index<I>{}), ...); }
  (std::make_integer_sequence<int, N>{});
}

/// How far ahead of use packed weights are prefetched, in floats.
inline constexpr std::int64_t prefetch_ahead = 512;

/// Whether a step of `stream` covers a whole vector or the last n elements.
struct Whole {};
struct Part {
  std::int64_t n;
};

template <class V>
VITRINE_INLINE V load(const float* p, Whole) {
  return V::load(p);
}
template <class V>
VITRINE_INLINE V load(const float* p, Part t) {
  return V::load_n(p, t.n);
}
template <class V>
VITRINE_INLINE void store(V v, float* p, Whole) {
  v.store(p);
}
template <class V>
VITRINE_INLINE void store(V v, float* p, Part t) {
  v.store_n(p, t.n);
}
template <class V, class Step>
VITRINE_INLINE void store(V v, float* p, bool add, Step step) {
  store(add ? load<V>(p, step) + v : v, p, step);
}
template <class V, class Step>
VITRINE_INLINE void store(V v, float* p, bool add, bool relu, Step step) {
  if (add) v = load<V>(p, step) + v;
  if (relu) v = V::max(V::zero(), v);
  store(v, p, step);
}

/// Calls f(i, Whole) for whole vectors, then f(i, Part) for the rest.
template <class V, class F>
VITRINE_INLINE void stream(std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + V::width <= n; i += V::width) f(i, Whole{});
  if (i < n) f(i, Part{n - i});
}

/// Lane i of the result is the sum of the lanes of v[i]; v is used up.
template <class V>
VITRINE_INLINE V lane_sums(V (&v)[V::width]) {
  for (int n = V::width / 2; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) v[i] = V::even(v[2 * i], v[2 * i + 1]) + V::odd(v[2 * i], v[2 * i + 1]);
  }
  return v[0];
}

/// Transposes: v[i] lane j becomes v[j] lane i, by log2(width) rounds of interleaving.
template <class V>
VITRINE_INLINE void transpose_square(V (&v)[V::width]) {
  constexpr int half = V::width / 2;
  for (int n = V::width; n > 1; n /= 2) {
    V w[V::width];
    unroll<half>([&](auto i) __attribute__((always_inline)) {
      w[2 * i] = V::zip_low(v[i], v[i + half]);
      w[2 * i + 1] = V::zip_high(v[i], v[i + half]);
    });
    unroll<V::width>([&](auto i) __attribute__((always_inline)) { v[i] = w[i]; });
  }
}

VITRINE_INLINE bool is_raw(const Substitute& s) { return s.kind == Substitute::signs && s.p == 1 && s.n == 1; }

/// A Substitute with its factors in registers. NaN stays NaN under `signs`; a factor of 0 gives 0, also for infinities.
template <class V>
struct Substitution {
  V p, n;
  Substitute::Kind kind;
  explicit VITRINE_INLINE Substitution(const Substitute& s) : p(V::set(s.p)), n(V::set(s.n)), kind(s.kind) {}
  VITRINE_INLINE V operator()(V v) const {
    if (kind == Substitute::square) return v * v;
    if (kind == Substitute::one) return V::set(1);
    const V factor = V::select(v > V::zero(), p, n);
    return V::select((factor == V::zero()) & !v.is_nan(), V::zero(), factor * v);
  }
};

VITRINE_INLINE float substituted(const Substitute& s, float v) {
  if (s.kind == Substitute::square) return v * v;
  if (s.kind == Substitute::one) return 1;
  if (v != v) return v;
  const float factor = v > 0 ? s.p : s.n;
  return factor == 0 ? 0 : factor * v;
}

/// dst = sub(src), n elements.
template <class V>
VITRINE_INLINE void substitute_row(const Substitute& s, const float* src, float* dst, std::int64_t n) {
  if (is_raw(s)) {
    stream<V>(n, [&](std::int64_t i, auto step) { store(load<V>(src + i, step), dst + i, step); });
  } else {
    const Substitution<V> sub(s);
    stream<V>(n, [&](std::int64_t i, auto step) { store(sub(load<V>(src + i, step)), dst + i, step); });
  }
}

/// dst[k*ld_dst + r] = sub(src[r*ld_src + k]) for r < rows, k < n. Four rows at a time, so that a cache line of dst is
/// written while it is in L1.
template <class V>
void transpose(const Substitute& s, const float* src, std::int64_t ld_src, std::int64_t rows, std::int64_t n,
               float* dst, std::int64_t ld_dst) {
  const bool raw = is_raw(s);
  const Substitution<V> sub(s);
  // Blocks of four rows times a vector of columns. The last blocks overlap earlier ones and write the same numbers
  // again.
  if (rows < 4 || n < V::width) {
    for (std::int64_t k = 0; k < n; ++k)
      for (std::int64_t r = 0; r < rows; ++r)
        dst[k * ld_dst + r] = raw ? src[r * ld_src + k] : substituted(s, src[r * ld_src + k]);
    return;
  }
  for (std::int64_t r_next = 0; r_next < rows; r_next += 4) {
    const std::int64_t r = smaller(r_next, rows - 4);
    const float *p0 = src + r * ld_src, *p1 = p0 + ld_src, *p2 = p1 + ld_src, *p3 = p2 + ld_src;
    for (std::int64_t k_next = 0; k_next < n; k_next += V::width) {
      const std::int64_t k = smaller(k_next, n - V::width);
      // Rows may be pages apart: the hardware prefetcher does not cross pages.
      for (const float* p : {p0, p1, p2, p3}) __builtin_prefetch(p + 4 * ld_src + k);
      V a = V::load(p0 + k), b = V::load(p1 + k), c = V::load(p2 + k), d = V::load(p3 + k);
      if (!raw) a = sub(a), b = sub(b), c = sub(c), d = sub(d);
      // Interleave twice: quads (a b c d) of k, k+1, ...
      const V ac0 = V::zip_low(a, c), ac1 = V::zip_high(a, c), bd0 = V::zip_low(b, d), bd1 = V::zip_high(b, d);
      float* to = dst + k * ld_dst + r;
      constexpr int quads = V::width / 4;
      V::zip_low(ac0, bd0).store_quads(to, ld_dst);
      V::zip_high(ac0, bd0).store_quads(to + quads * ld_dst, ld_dst);
      V::zip_low(ac1, bd1).store_quads(to + 2 * quads * ld_dst, ld_dst);
      V::zip_high(ac1, bd1).store_quads(to + 3 * quads * ld_dst, ld_dst);
    }
  }
}

/// e^x within 2 ulp in the normal range; 0 below about -104, inf above 88.73, NaN kept.
template <class V>
VITRINE_INLINE V exp(V x) {
  x = V::max(V::set(-104.0f), V::min(V::set(89.0f), x));
  const V n = V::round(x * V::set(1.44269504f));
  // ln 2 in two pieces, the first with few enough bits that n times it is exact.
  V r = V::fnma(n, V::set(0.693359375f), x);
  r = V::fnma(n, V::set(-2.12194440e-4f), r);
  // The Taylor polynomial: on |r| <= ln2/2 its first omitted term, r^8/8!, is below 2^-27.
  V p = V::set(1.0f / 5040);
  p = V::fma(p, r, V::set(1.0f / 720));
  p = V::fma(p, r, V::set(1.0f / 120));
  p = V::fma(p, r, V::set(1.0f / 24));
  p = V::fma(p, r, V::set(1.0f / 6));
  p = V::fma(p, r, V::set(0.5f));
  p = V::fma(p, r, V::set(1.0f));
  p = V::fma(p, r, V::set(1.0f));
  return V::scale2(p, n);
}

/// 1/(1+e^-x) within 4 ulp; results below the normal range (x < -87.3) may be flushed to 0.
template <class V>
VITRINE_INLINE V sigmoid(V x) {
  return V::set(1) / (V::set(1) + exp(V::zero() - x));
}

/// tanh x within 4 ulp. Near 0 an odd polynomial, because 1 - 2/(e^2x + 1) cancels there.
template <class V>
VITRINE_INLINE V tanh(V x) {
  const V a = V::abs(x), q = x * x;
  const V large = V::copysign(V::set(1) - V::set(2) / (exp(a + a) + V::set(1)), x);
  V p = V::set(2.283024334e-03f);
  p = V::fma(p, q, V::set(-8.335324238e-03f));
  p = V::fma(p, q, V::set(2.176627267e-02f));
  p = V::fma(p, q, V::set(-5.395893279e-02f));
  p = V::fma(p, q, V::set(1.333330217e-01f));
  p = V::fma(p, q, V::set(-3.333333316e-01f));
  const V small = V::fma(p * q, x, x);
  return V::select(a < V::set(0.625f), small, V::select(x.is_nan(), x, large));
}

}  // namespace
}  // namespace vitrine::kernels
