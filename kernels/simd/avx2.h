// The kernels' vector type in AVX2 with FMA. A kernel is written once, as a template over this type, and compiled in
// one translation unit per instruction set. Everything here has internal linkage: the linker must never keep code
// compiled for a wider instruction set for the whole program.
//
//  - load_n, store_n touch the first n elements only (n >= width: all); what load_n does not read is 0.
//  - pinned() keeps a loaded vector in a register: a compiler may else load again for each use, and a load across two
//    cache lines costs two.
//  - min, max return the second operand when either is NaN: max(0, x) keeps a NaN in x.
//  - Comparisons are false on NaN. select(m, a, b) is m ? a : b.
//  - scale2(x, n) is x * 2^n for integral n in [-252, 254], rounded once in the normal range.
//  - even, odd undo, zip_low, zip_high do the interleaving of two vectors.
//  - store_quads writes each four lanes as one row of a matrix with that row stride.
//  - sum, highest, Sum64::sum combine the lanes in a fixed order.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/simd/inline.h"

namespace vitrine::kernels {
namespace {

struct Mask8 {
  __m256 m;
  friend VITRINE_INLINE Mask8 operator&(Mask8 a, Mask8 b) { return {_mm256_and_ps(a.m, b.m)}; }
  friend VITRINE_INLINE Mask8 operator|(Mask8 a, Mask8 b) { return {_mm256_or_ps(a.m, b.m)}; }
  friend VITRINE_INLINE Mask8 operator!(Mask8 a) {
    return {_mm256_xor_ps(a.m, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))};
  }
  VITRINE_INLINE int count() const { return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(m))); }
};

struct F32x8 {
  using Mask = Mask8;
  static constexpr int width = 8;
  static constexpr int registers = 16;
  __m256 v;

  static VITRINE_INLINE Mask first(std::int64_t n) {
    const int k = static_cast<int>(n < width ? n : width);
    return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(k), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))};
  }
  static VITRINE_INLINE F32x8 set(float x) { return {_mm256_set1_ps(x)}; }
  static VITRINE_INLINE F32x8 zero() { return {_mm256_setzero_ps()}; }
  static VITRINE_INLINE F32x8 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static VITRINE_INLINE F32x8 load_n(const float* p, std::int64_t n) {
    return {_mm256_maskload_ps(p, _mm256_castps_si256(first(n).m))};
  }
  VITRINE_INLINE F32x8 pinned() const {
    F32x8 h = *this;
    __asm__("" : "+x"(h.v));
    return h;
  }
  VITRINE_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  VITRINE_INLINE void store_n(float* p, std::int64_t n) const {
    _mm256_maskstore_ps(p, _mm256_castps_si256(first(n).m), v);
  }
  static VITRINE_INLINE F32x8 iota() { return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7)}; }

  friend VITRINE_INLINE F32x8 operator+(F32x8 a, F32x8 b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend VITRINE_INLINE F32x8 operator-(F32x8 a, F32x8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend VITRINE_INLINE F32x8 operator*(F32x8 a, F32x8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend VITRINE_INLINE F32x8 operator/(F32x8 a, F32x8 b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend VITRINE_INLINE Mask operator<(F32x8 a, F32x8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
  friend VITRINE_INLINE Mask operator>(F32x8 a, F32x8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
  friend VITRINE_INLINE Mask operator==(F32x8 a, F32x8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
  VITRINE_INLINE Mask is_nan() const { return {_mm256_cmp_ps(v, v, _CMP_UNORD_Q)}; }

  static VITRINE_INLINE F32x8 fma(F32x8 a, F32x8 b, F32x8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static VITRINE_INLINE F32x8 fnma(F32x8 a, F32x8 b, F32x8 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
  static VITRINE_INLINE F32x8 min(F32x8 a, F32x8 b) { return {_mm256_min_ps(a.v, b.v)}; }
  static VITRINE_INLINE F32x8 max(F32x8 a, F32x8 b) { return {_mm256_max_ps(a.v, b.v)}; }
  static VITRINE_INLINE F32x8 abs(F32x8 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  static VITRINE_INLINE F32x8 sqrt(F32x8 a) { return {_mm256_sqrt_ps(a.v)}; }
  static VITRINE_INLINE F32x8 copysign(F32x8 magnitude, F32x8 sign) {
    const __m256 bit = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.v), _mm256_and_ps(bit, sign.v))};
  }
  static VITRINE_INLINE F32x8 select(Mask m, F32x8 a, F32x8 b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
  static VITRINE_INLINE F32x8 round(F32x8 a) {
    return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static VITRINE_INLINE F32x8 scale2(F32x8 a, F32x8 n) {
    // In two factors, because 2^n itself may be outside the normal range while x * 2^n is not.
    const __m256i whole = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(whole, 1);
    const __m256i rest = _mm256_sub_epi32(whole, half), bias = _mm256_set1_epi32(127);
    const __m256 f0 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const __m256 f1 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return {_mm256_mul_ps(_mm256_mul_ps(a.v, f0), f1)};
  }

  VITRINE_INLINE float sum() const {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
  }
  VITRINE_INLINE float highest() const {
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
  }

  static VITRINE_INLINE F32x8 even(F32x8 a, F32x8 b) {
    const __m256 s = _mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(2, 0, 2, 0));
    return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(s), _MM_SHUFFLE(3, 1, 2, 0)))};
  }
  static VITRINE_INLINE F32x8 odd(F32x8 a, F32x8 b) {
    const __m256 s = _mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(3, 1, 3, 1));
    return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(s), _MM_SHUFFLE(3, 1, 2, 0)))};
  }
  static VITRINE_INLINE F32x8 zip_low(F32x8 a, F32x8 b) {
    return {_mm256_permute2f128_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v), 0x20)};
  }
  static VITRINE_INLINE F32x8 zip_high(F32x8 a, F32x8 b) {
    return {_mm256_permute2f128_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v), 0x31)};
  }

  VITRINE_INLINE void store_quads(float* p, std::int64_t stride) const {
    _mm_storeu_ps(p, _mm256_castps256_ps128(v));
    _mm_storeu_ps(p + stride, _mm256_extractf128_ps(v, 1));
  }

  VITRINE_INLINE void store_u16_n(std::uint16_t* p, std::int64_t n) const {
    std::int32_t q[width];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_cvttps_epi32(v));
    for (std::int64_t i = 0; i < n && i < width; ++i) p[i] = static_cast<std::uint16_t>(q[i]);
  }
  static VITRINE_INLINE F32x8 load_u16_n(const std::uint16_t* p, std::int64_t n) {
    std::int32_t q[width] = {};
    for (std::int64_t i = 0; i < n && i < width; ++i) q[i] = p[i];
    return {_mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(q)))};
  }
};

/// Lane-wise sums in double of float vectors.
struct Sum64x8 {
  __m256d lo = _mm256_setzero_pd(), hi = _mm256_setzero_pd();
  VITRINE_INLINE void add(F32x8 x) {
    lo = _mm256_add_pd(lo, _mm256_cvtps_pd(_mm256_castps256_ps128(x.v)));
    hi = _mm256_add_pd(hi, _mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1)));
  }
  VITRINE_INLINE void add_product(F32x8 x, F32x8 y) {
    lo =
        _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x.v)), _mm256_cvtps_pd(_mm256_castps256_ps128(y.v)), lo);
    hi = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1)), _mm256_cvtps_pd(_mm256_extractf128_ps(y.v, 1)),
                         hi);
  }
  VITRINE_INLINE double sum() const {
    double p[4];
    _mm256_storeu_pd(p, _mm256_add_pd(lo, hi));
    return (p[0] + p[2]) + (p[1] + p[3]);
  }
};

/// The instruction set as one template argument.
struct Avx2 {
  using Vec = F32x8;
  using Sum64 = Sum64x8;
};

}  // namespace
}  // namespace vitrine::kernels
