// The kernels' vector type in AVX-512 (F, BW, VL, DQ). Same names and meanings as simd/avx2.h; see there.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/simd/inline.h"

namespace vitrine::kernels {
namespace {

struct Mask16 {
  __mmask16 m;
  friend VITRINE_INLINE Mask16 operator&(Mask16 a, Mask16 b) { return {static_cast<__mmask16>(a.m & b.m)}; }
  friend VITRINE_INLINE Mask16 operator|(Mask16 a, Mask16 b) { return {static_cast<__mmask16>(a.m | b.m)}; }
  friend VITRINE_INLINE Mask16 operator!(Mask16 a) { return {static_cast<__mmask16>(~a.m)}; }
  VITRINE_INLINE int count() const { return __builtin_popcount(m); }
};

struct F32x16 {
  using Mask = Mask16;
  static constexpr int width = 16;
  static constexpr int registers = 32;
  __m512 v;

  static VITRINE_INLINE Mask first(std::int64_t n) {
    return {static_cast<__mmask16>(n >= width ? 0xffffu : (1u << n) - 1u)};
  }
  static VITRINE_INLINE F32x16 set(float x) { return {_mm512_set1_ps(x)}; }
  static VITRINE_INLINE F32x16 zero() { return {_mm512_setzero_ps()}; }
  static VITRINE_INLINE F32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static VITRINE_INLINE F32x16 load_n(const float* p, std::int64_t n) { return {_mm512_maskz_loadu_ps(first(n).m, p)}; }
  VITRINE_INLINE F32x16 pinned() const {
    F32x16 h = *this;
    __asm__("" : "+v"(h.v));
    return h;
  }
  VITRINE_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  VITRINE_INLINE void store_n(float* p, std::int64_t n) const { _mm512_mask_storeu_ps(p, first(n).m, v); }
  static VITRINE_INLINE F32x16 iota() { return {_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}; }

  friend VITRINE_INLINE F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend VITRINE_INLINE F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend VITRINE_INLINE F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend VITRINE_INLINE F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend VITRINE_INLINE Mask operator<(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
  friend VITRINE_INLINE Mask operator>(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
  friend VITRINE_INLINE Mask operator==(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
  VITRINE_INLINE Mask is_nan() const { return {_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q)}; }

  static VITRINE_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static VITRINE_INLINE F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
  static VITRINE_INLINE F32x16 min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
  static VITRINE_INLINE F32x16 max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
  static VITRINE_INLINE F32x16 abs(F32x16 a) { return {_mm512_abs_ps(a.v)}; }
  static VITRINE_INLINE F32x16 sqrt(F32x16 a) { return {_mm512_sqrt_ps(a.v)}; }
  static VITRINE_INLINE F32x16 copysign(F32x16 magnitude, F32x16 sign) {
    const __m512 bit = _mm512_set1_ps(-0.0f);
    return {_mm512_or_ps(_mm512_andnot_ps(bit, magnitude.v), _mm512_and_ps(bit, sign.v))};
  }
  static VITRINE_INLINE F32x16 select(Mask m, F32x16 a, F32x16 b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }
  static VITRINE_INLINE F32x16 round(F32x16 a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static VITRINE_INLINE F32x16 scale2(F32x16 a, F32x16 n) { return {_mm512_scalef_ps(a.v, n.v)}; }

  VITRINE_INLINE float sum() const {
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
  }
  VITRINE_INLINE float highest() const {
    const __m256 h = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
  }

  static VITRINE_INLINE F32x16 even(F32x16 a, F32x16 b) {
    const __m512i i = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutex2var_ps(a.v, i, b.v)};
  }
  static VITRINE_INLINE F32x16 odd(F32x16 a, F32x16 b) {
    const __m512i i = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return {_mm512_permutex2var_ps(a.v, i, b.v)};
  }
  static VITRINE_INLINE F32x16 zip_low(F32x16 a, F32x16 b) {
    const __m512i i = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return {_mm512_permutex2var_ps(a.v, i, b.v)};
  }
  static VITRINE_INLINE F32x16 zip_high(F32x16 a, F32x16 b) {
    const __m512i i = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return {_mm512_permutex2var_ps(a.v, i, b.v)};
  }

  VITRINE_INLINE void store_quads(float* p, std::int64_t stride) const {
    _mm_storeu_ps(p, _mm512_castps512_ps128(v));
    _mm_storeu_ps(p + stride, _mm512_extractf32x4_ps(v, 1));
    _mm_storeu_ps(p + 2 * stride, _mm512_extractf32x4_ps(v, 2));
    _mm_storeu_ps(p + 3 * stride, _mm512_extractf32x4_ps(v, 3));
  }

  VITRINE_INLINE void store_u16_n(std::uint16_t* p, std::int64_t n) const {
    const __m256i i = _mm512_cvtepi32_epi16(_mm512_cvttps_epi32(v));
    _mm256_mask_storeu_epi16(p, first(n).m, i);
  }
  static VITRINE_INLINE F32x16 load_u16_n(const std::uint16_t* p, std::int64_t n) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(n).m, p)))};
  }
};

struct Sum64x16 {
  __m512d lo = _mm512_setzero_pd(), hi = _mm512_setzero_pd();
  VITRINE_INLINE void add(F32x16 x) {
    lo = _mm512_add_pd(lo, _mm512_cvtps_pd(_mm512_castps512_ps256(x.v)));
    hi = _mm512_add_pd(hi, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1)));
  }
  VITRINE_INLINE void add_product(F32x16 x, F32x16 y) {
    lo =
        _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(x.v)), _mm512_cvtps_pd(_mm512_castps512_ps256(y.v)), lo);
    hi = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1)),
                         _mm512_cvtps_pd(_mm512_extractf32x8_ps(y.v, 1)), hi);
  }
  VITRINE_INLINE double sum() const {
    double p[8];
    _mm512_storeu_pd(p, _mm512_add_pd(lo, hi));
    return ((p[0] + p[4]) + (p[1] + p[5])) + ((p[2] + p[6]) + (p[3] + p[7]));
  }
};

struct Avx512 {
  using Vec = F32x16;
  using Sum64 = Sum64x16;
};

}  // namespace
}  // namespace vitrine::kernels
