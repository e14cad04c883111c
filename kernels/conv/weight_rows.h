// The weight gradient for few input channels (pictures), with output channels in the lanes:
//
//   dW[(channel, tap)][o] = sum over images and pixels of  x[channel][pixel under the tap] * y[o][pixel]
//
// The signal is transposed to vectors of output channels. The taps of a kernel row are neighbours in x: for each pixel
// they are broadcast straight from there. Several kernel rows at a time fill the registers.
//
// A tile is a block of output channels, summed over all images in order.
#pragma once

#include "kernels/conv/batch.h"
#include "kernels/gemm/micro.h"

namespace vitrine::kernels {
namespace {

/// c[g][k][v] += sum over pixels of x[g][pixel * stride + k] * y[pixel][v] for G kernel rows of K taps, `rows` rows of
/// n pixels.
template <class V, int K, int G, int NV>
void add_taps(const float* const* x, std::int64_t x_row, std::int64_t stride, const float* y, std::int64_t rows,
              std::int64_t n, float* c) {
  V acc[G * K][NV];
  unroll<G * K>([&](auto r) __attribute__((always_inline)) {
    unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v] = V::load(c + (r * NV + v) * V::width); });
  });
  const float* from[G];
  for (std::int64_t i = 0; i < rows; ++i) {
    unroll<G>([&](auto g) __attribute__((always_inline)) { from[g] = x[g] + i * x_row; });
    for (std::int64_t p = 0; p < n; ++p, y += NV * V::width) {
      V s[NV];
      unroll<NV>([&](auto v) __attribute__((always_inline)) { s[v] = V::load(y + v * V::width).pinned(); });
      unroll<G>([&](auto g) __attribute__((always_inline)) {
        unroll<K>([&](auto k) __attribute__((always_inline)) {
          const V tap = V::set(from[g][k]);
          unroll<NV>([&](auto v)
                         __attribute__((always_inline)) { acc[g * K + k][v] = V::fma(tap, s[v], acc[g * K + k][v]); });
        });
        from[g] += stride;
      });
    }
  }
  unroll<G * K>([&](auto r) __attribute__((always_inline)) {
    unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v].store(c + (r * NV + v) * V::width); });
  });
}

template <class V>
struct WeightRows {
  using Args = ConvArgs<float>;
  static constexpr bool many_registers = V::registers == 32;
  static constexpr int output_vectors = many_registers ? 2 : 1;
  static constexpr std::int64_t outputs_at_once = output_vectors * V::width,
                                block_pixels = 512;  ///< output channels per tile; pixels per step, about

  ConvShape s;
  std::int64_t wide, rows_per, tall;  ///< staged columns; signal rows per step, and the rows of x that they read
  std::int64_t kernel_rows;           ///< of all channels

  explicit WeightRows(const Args& a) : s(a.s) {
    wide = std::int64_t{s.ow - 1} * s.stride_w + s.kw;
    rows_per = smaller<std::int64_t>(s.oh, larger<std::int64_t>(1, block_pixels / s.ow));
    tall = (rows_per - 1) * s.stride_h + std::int64_t{s.kh - 1} * s.dilation_h + 1;
    kernel_rows = std::int64_t{s.c} * s.kh;
  }

  static constexpr const char* name = "kernel rows";
  static const char* refuses(const Args& a) noexcept {
    const ConvShape& s = a.s;
    if (a.x_interleaved || a.y_interleaved) return reads_planar;
    if (s.groups != 1 || s.c > 4) return "there are more than 4 input channels";
    if ((s.kw != 3 && s.kw != 5 && s.kw != 7) || s.dilation_w != 1) return "the kernel has not 3, 5 or 7 columns";
    if (s.oc < 2 * V::width || s.ow < V::width) return "there are few output channels, or rows are short";
    return batch_refuses<V>(s) == nullptr ? "the batch fills the lanes" : nullptr;
  }

  struct Scratch {
    std::int64_t staged, signal, sums, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.staged = round_up(s.c * tall * wide, 16);
    t.signal = rows_per * s.ow * outputs_at_once;
    t.sums = kernel_rows * s.kw * outputs_at_once;
    t.total = t.staged + t.signal + 2 * t.sums;
    return t;
  }

  Work work() const {
    return {ceil_div(s.oc, outputs_at_once), 0, static_cast<std::size_t>(scratch().total) * sizeof(float)};
  }

  void run_tile(const Args& a, float* memory, std::int64_t index) const {
    const std::int64_t o0 = index * outputs_at_once, no = smaller<std::int64_t>(outputs_at_once, s.oc - o0),
                       plane = std::int64_t{s.oh} * s.ow;
    const Scratch t = scratch();
    float *staged = memory, *signal = staged + t.staged, *sums = signal + t.signal, *transposed = sums + t.sums;
    Stage::zero<V>(sums, t.sums);
    for (std::int64_t image = 0; image < s.n; ++image) {
      for (std::int64_t i0 = 0; i0 < s.oh; i0 += rows_per) {
        const std::int64_t rows = smaller<std::int64_t>(rows_per, s.oh - i0);
        transpose_signal(a.y + (image * s.oc + o0) * plane + i0 * s.ow, plane, no, rows * s.ow, signal);
        stage(a, image, i0, staged);
        s.kw == 3   ? add<3>(staged, signal, rows, sums)
        : s.kw == 5 ? add<5>(staged, signal, rows, sums)
                    : add<7>(staged, signal, rows, sums);
      }
    }
    const std::int64_t taps = kernel_rows * s.kw;
    transpose<V>({}, sums, outputs_at_once, taps, no, transposed, taps);
    for (std::int64_t o = 0; o < no; ++o)
      stream<V>(taps, [&](std::int64_t j, auto step) {
        store(load<V>(transposed + o * taps + j, step), a.w_out + (o0 + o) * taps + j, a.add, step);
      });
  }

  /// Transposes n pixels of `channels` planes to vectors of channels, [pixel][outputs_at_once]; absent channels are 0.
  void transpose_signal(const float* y, std::int64_t plane, std::int64_t channels, std::int64_t n, float* to) const {
    for (std::int64_t p = 0; p < n; p += V::width) {
      for (std::int64_t o = 0; o < outputs_at_once; o += V::width) {
        V v[V::width];
        if (n - p >= V::width && channels - o >= V::width) {
          unroll<V::width>([&](auto i) __attribute__((always_inline)) {
            const float* const from = y + (o + i) * plane + p;
            __builtin_prefetch(from + 4 * V::width);
            v[i] = V::load(from);
          });
        } else {
          unroll<V::width>([&](auto i) __attribute__((always_inline)) {
            v[i] = o + i < channels ? V::load_n(y + (o + i) * plane + p, n - p) : V::zero();
          });
        }
        transpose_square(v);
        unroll<V::width>([&](auto i) __attribute__((always_inline)) {
          if (i < n - p) v[i].store(to + (p + i) * outputs_at_once + o);
        });
      }
    }
  }

  /// Copies the rows of x that signal rows from i0 on read, with zeros for padding.
  void stage(const Args& a, std::int64_t image, std::int64_t i0, float* to) const {
    for (std::int64_t c = 0; c < s.c; ++c)
      for (std::int64_t r = 0; r < tall; ++r, to += wide) {
        const std::int64_t y = i0 * s.stride_h - s.pad_top + r, end = smaller(wide, s.w + std::int64_t{s.pad_left});
        if (y < 0 || y >= s.h || end <= s.pad_left) {
          Stage::zero<V>(to, wide);
          continue;
        }
        Stage::zero<V>(to, s.pad_left);
        substitute_row<V>(a.x_sub, a.x + ((image * s.c + c) * s.h + y) * s.w, to + s.pad_left, end - s.pad_left);
        Stage::zero<V>(to + end, wide - end);
      }
  }

  template <int K>
  void add(const float* staged, const float* signal, std::int64_t rows, float* sums) const {
    constexpr int most = larger(1, smaller(4, (many_registers ? 28 : 12) / (output_vectors * K)));
    const std::int64_t steps = ceil_div(kernel_rows, std::int64_t{most});
    for (std::int64_t step = 0; step < steps; ++step) {
      const std::int64_t first = step * kernel_rows / steps, count = (step + 1) * kernel_rows / steps - first;
      const float* x[most];
      for (std::int64_t g = 0; g < count; ++g) {
        const std::int64_t c = (first + g) / s.kh, k = (first + g) % s.kh;
        x[g] = staged + (c * tall + k * s.dilation_h) * wide;
      }
      unroll<most>([&](auto g) __attribute__((always_inline)) {
        constexpr int G = decltype(g)::value + 1;
        if (count == G)
          add_taps<V, K, G, output_vectors>(x, s.stride_h * wide, s.stride_w, signal, rows, s.ow,
                                            sums + first * K * outputs_at_once);
      });
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
