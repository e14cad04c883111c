// What the convolution kernels share. Forward and backward-data are one computation, the gather convolution:
//
//   out[m][j][i] = sum over source channels and taps of A[m][channel, tap] * source[channel][j*stride + ty][i*stride +
//   tx]
//
// with zeros outside the source. Forward has one such phase. Backward-data has stride_h * stride_w of them: input
// pixels with equal residue modulo the stride use the same subset of the kernel, at stride 1, and each phase writes
// every stride-th pixel.
//
// The source of a tile is first staged: substituted, padded with zeros, and its columns split by residue modulo the
// stride. In the staged form every tap is a constant offset and neighbouring pixels are neighbours in memory, so no
// later loop handles borders, strides or dilations.
#pragma once

#include "kernels/simd/common.h"
#include "kernels/ways.h"

namespace vitrine::kernels {
namespace {

// Reasons that several ways share (Way::refuses).
constexpr const char* reads_planar = "x or y is interleaved";
constexpr const char* must_be_exact = "the result may be a divisor, so it must be the direct sum";

/// Taps along one axis: tap t of `count` reads the source at j*stride + first + t*step and is kernel index k0 +
/// t*kstep.
struct Taps {
  std::int64_t count = 0, first = 0, step = 0, k0 = 0, kstep = 1;
  VITRINE_INLINE std::int64_t at(std::int64_t t) const { return first + t * step; }
  VITRINE_INLINE std::int64_t lowest() const { return count == 0 ? 0 : smaller(at(0), at(count - 1)); }
  VITRINE_INLINE std::int64_t highest() const { return count == 0 ? 0 : larger(at(0), at(count - 1)); }
};

VITRINE_INLINE Taps forward_taps(std::int64_t k, std::int64_t pad, std::int64_t dilation) {
  return {k, -pad, dilation, 0, 1};
}

VITRINE_INLINE std::int64_t gcd(std::int64_t a, std::int64_t b) {
  while (b != 0) {
    const std::int64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

/// The taps k with (residue + pad - k*dilation) divisible by the stride; the quotient is the offset in the signal.
VITRINE_INLINE Taps phase_taps(std::int64_t residue, std::int64_t k, std::int64_t pad, std::int64_t dilation,
                               std::int64_t stride) {
  Taps t;
  t.kstep = stride / gcd(stride, dilation);
  t.step = -(t.kstep * dilation / stride);
  while (t.k0 < smaller(k, t.kstep) && (residue + pad - t.k0 * dilation) % stride != 0) ++t.k0;
  if (t.k0 >= smaller(k, t.kstep)) return t;
  t.count = ceil_div(k - t.k0, t.kstep);
  t.first = (residue + pad - t.k0 * dilation) / stride;
  return t;
}

/// A 1x1 convolution without stride and padding is the same for one long row, which fills whole vectors.
VITRINE_INLINE ConvShape flattened(ConvShape s) {
  const bool plain = s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
                     s.pad_left == 0 && s.oh == s.h && s.ow == s.w && std::int64_t{s.h} * s.w < (1 << 22);
  if (plain) {
    s.w = s.ow = s.h * s.w;
    s.h = s.oh = 1;
  }
  return s;
}

/// The staged form of grid rows [r0, r1) of one channel.
struct Stage {
  Taps ty, tx;
  std::int64_t h, w;  ///< of the source
  std::int64_t stride_h, stride_w;
  std::int64_t row_step;          ///< source rows from one staged row to the next
  std::int64_t residues, part;    ///< parts of a staged row (one per column residue); elements per part
  std::int64_t rows, row, plane;  ///< staged rows; elements from row to row and from channel to channel
  std::int64_t y0, x0;            ///< source row and column of the first staged element
  std::int64_t lowest_y;          ///< the lowest tap's row offset

  VITRINE_INLINE Stage(const Taps& ty_, const Taps& tx_, std::int64_t h_, std::int64_t w_, std::int64_t stride_h_,
                       std::int64_t stride_w_, std::int64_t r0, std::int64_t r1, std::int64_t gw)
      : ty(ty_), tx(tx_), h(h_), w(w_), stride_h(stride_h_), stride_w(stride_w_) {
    // A single tap along an axis reads only every stride-th row or column.
    row_step = ty.count <= 1 ? stride_h : 1;
    residues = tx.count <= 1 ? 1 : stride_w;
    const std::int64_t col_step = tx.count <= 1 ? 1 : stride_w;
    lowest_y = ty.lowest();
    y0 = r0 * stride_h + lowest_y;
    x0 = tx.lowest();
    rows = ((r1 - r0 - 1) * stride_h + ty.highest() - ty.lowest()) / row_step + 1;
    part = ceil_div((gw - 1) * col_step + tx.highest() - tx.lowest() + 1, residues);
    row = residues * part;
    // An odd number of cache lines, so that the same place of all channels does not fall into one cache set.
    plane = round_up(rows * row, 16);
    if (plane / 16 % 2 == 0) plane += 16;
  }

  /// Staged offset of grid row j (counted from r0) within a channel's plane.
  VITRINE_INLINE std::int64_t row_offset(std::int64_t j) const { return j * (stride_h / row_step) * row; }
  /// The offset that tap (a, b) adds.
  VITRINE_INLINE std::int64_t tap_offset(std::int64_t a, std::int64_t b) const {
    const std::int64_t dy = ty.at(a) - lowest_y, dx = tx.at(b) - x0;
    return dy / row_step * row + dx % residues * part + dx / residues;
  }

  template <class V>
  void fill(const Substitute& sub, const float* src, float* dst) const {
    const std::int64_t step = tx.count <= 1 ? stride_w : residues;
    for (std::int64_t r = 0; r < residues; ++r) {
      // Elements x0 + r + q*step for 0 <= q < part; those within [0, w) are q in [q0, q1).
      const std::int64_t x = x0 + r;
      const std::int64_t q0 = smaller(part, x >= 0 ? 0 : ceil_div(-x, step));
      const std::int64_t q1 = larger(q0, x >= w ? 0 : smaller(part, ceil_div(w - x, step)));
      float* to = dst + r * part;
      for (std::int64_t u = 0; u < rows; ++u, to += row) {
        const std::int64_t y = y0 + u * row_step;
        if (y < 0 || y >= h) {
          zero<V>(to, part);
          continue;
        }
        const float* from = src + y * w + x;
        zero<V>(to, q0);
        if (step == 1) {
          substitute_row<V>(sub, from + q0, to + q0, q1 - q0);
        } else if (step == 2) {
          fill_even<V>(sub, from + 2 * q0, to + q0, q1 - q0);
        } else {
          for (std::int64_t q = q0; q < q1; ++q) to[q] = substituted(sub, from[q * step]);
        }
        zero<V>(to + q1, part - q1);
      }
    }
  }

  /// to[i] = sub(from[2*i]), i < n; reads nothing beyond the last.
  template <class V>
  static VITRINE_INLINE void fill_even(const Substitute& sub, const float* from, float* to, std::int64_t n) {
    const Substitution<V> map(sub);
    const bool raw = is_raw(sub);
    for (std::int64_t i = 0; i < n; i += V::width, from += 2 * V::width) {
      const std::int64_t length = 2 * (n - i) - 1;
      const V low = V::load_n(from, length);
      const V high = length > V::width ? V::load_n(from + V::width, length - V::width) : V::zero();
      const V v = V::even(low, high);
      (raw ? v : map(v)).store_n(to + i, n - i);
    }
  }

  template <class V>
  static VITRINE_INLINE void zero(float* p, std::int64_t n) {
    stream<V>(n, [&](std::int64_t i, auto step) { store(V::zero(), p + i, step); });
  }
};

/// `len` neighbouring pixels of one grid row: column `at` of a column group, staged at `src`, stored at `out`.
struct PixelRun {
  std::int64_t at, src, out, len;
};

/// Whether vectors that do not cross the ends of rows use at least three quarters of their lanes.
template <class V>
VITRINE_INLINE bool rows_fill_vectors(std::int64_t gw) {
  return 4 * gw >= 3 * round_up(gw, V::width);
}

}  // namespace
}  // namespace vitrine::kernels
