// The weight gradient as matrix products, for layers whose channels fill the lanes:
//
//   dW[o][tap][c] = sum over images and pixels of  y[o][pixel] * x[pixel under the tap][c]
//
// Both operands are transposed first, x to vectors of neighbouring channels, y to panels of rows. The register block of
// the matrix product (gemm/micro.h) can then be used, and no lanes need adding up. All taps share the staged x.
//
// A tile is a block of output channels times a block of input channels, summed over all images in order.
#pragma once

#include "kernels/conv/batch.h"

namespace vitrine::kernels {
namespace {

template <class V>
struct WeightProducts {
  using Args = ConvArgs<float>;
  static constexpr std::int64_t block_pixels = 384;          ///< per block of the sum
  static constexpr std::int64_t staged_floats = 256 * 1024;  ///< staged floats, about
  static constexpr std::int64_t panel_width = 2 * V::width;

  ConvShape s;
  std::int64_t cg, og, taps;
  std::int64_t c_per, c_blocks, m_per, m_blocks;
  std::int64_t rows_per, images_per;  ///< output rows staged together; images, if all their rows are
  std::int64_t wide;                  ///< staged pixels per row

  explicit WeightProducts(const Args& a)
      : s(a.s), cg(s.c / s.groups), og(s.oc / s.groups), taps(std::int64_t{s.kh} * s.kw) {
    c_per = smaller<std::int64_t>(round_up(cg, panel_width), taps > 1 ? 128 : 256);
    c_blocks = ceil_div(cg, c_per);
    m_per = smaller<std::int64_t>(og, 256);
    if (s.groups * c_blocks * ceil_div(og, m_per) < 2) m_per = ceil_div(og, 2);  // for two threads
    m_blocks = ceil_div(og, m_per);
    m_per = ceil_div(og, m_blocks);
    wide = std::int64_t{s.ow - 1} * s.stride_w + std::int64_t{s.kw - 1} * s.dilation_w + 1;
    rows_per = s.oh;
    while (rows_per > 1 && tall(rows_per) * wide * c_per > staged_floats) rows_per = ceil_div(rows_per, 2);
    images_per = rows_per < s.oh ? 1
                                 : larger<std::int64_t>(
                                       1, smaller<std::int64_t>(s.n, staged_floats / (tall(rows_per) * wide * c_per)));
    if (images_per > V::width) images_per -= images_per % V::width;
  }

  static constexpr const char* name = "matrix products";
  /// Interleaved operands are taken only for maps of one pixel: squares of images times channels are then transposed,
  /// and the sum is over images alone.
  static const char* refuses(const Args& a) noexcept {
    const ConvShape& s = a.s;
    const std::int64_t cg = s.c / s.groups, og = s.oc / s.groups;
    if (cg < V::width || og < V::width) return "channels do not fill the lanes";
    if ((cg < 64 || og < 64) && batch_refuses<V>(s) == nullptr)
      return "there are fewer than 64 channels, and the batch fills the lanes";
    const bool one_pixel = s.h == 1 && s.w == 1 && s.kh * s.kw == 1 && s.oh == 1 && s.ow == 1;
    return (a.x_interleaved || a.y_interleaved) && !one_pixel ? reads_planar : nullptr;
  }

  std::int64_t tall(std::int64_t rows) const {
    return (rows - 1) * s.stride_h + std::int64_t{s.kh - 1} * s.dilation_h + 1;
  }
  std::int64_t plane() const {
    return images_per * tall(rows_per) * wide * V::width;
  }  ///< floats of a vector of channels
  std::int64_t sums_ld() const { return taps * c_per; }

  struct Scratch {
    std::int64_t staged, left, sums, offsets, places, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.staged = plane() * (c_per / V::width);
    t.left = m_per * block_pixels + V::width;
    t.sums = m_per * sums_ld();
    t.offsets = round_up(images_per * rows_per * s.ow, 16);
    t.places = round_up(std::int64_t{s.h} * s.w, 16);
    t.total = t.staged + t.left + t.sums + t.offsets + t.places;
    return t;
  }
  Work work() const {
    return {s.groups * m_blocks * c_blocks, 0, static_cast<std::size_t>(scratch().total) * sizeof(float)};
  }

  void run_tile(const Args& a, float* memory, std::int64_t index) const {
    const std::int64_t c0 = index % c_blocks * c_per, m0 = index / c_blocks % m_blocks * m_per,
                       group = index / c_blocks / m_blocks;
    const std::int64_t nc = smaller(c_per, cg - c0), nm = smaller(m_per, og - m0), vectors = ceil_div(nc, V::width);
    const Scratch part = scratch();
    float *staged = memory, *left = staged + part.staged, *sums = left + part.left;
    auto* const offsets = reinterpret_cast<std::int32_t*>(sums + part.sums);
    std::int32_t* const places = offsets + part.offsets;
    const std::int64_t out = std::int64_t{s.oh} * s.ow;
    Stage::zero<V>(sums, part.sums);
    const Panels rows = panels_of<V>(nm);

    for (std::int64_t image = 0; image < s.n; image += images_per) {
      const std::int64_t images = smaller<std::int64_t>(images_per, s.n - image);
      for (std::int64_t r0 = 0; r0 < s.oh; r0 += rows_per) {
        const std::int64_t r1 = smaller<std::int64_t>(s.oh, r0 + rows_per), each = tall(r1 - r0) * wide;
        stage(a, (image * s.groups + group) * cg + c0, images, nc, r0, each, places, staged);
        for (std::int64_t i = 0; i < images; ++i) {
          std::int32_t* const at = offsets + i * (r1 - r0) * s.ow;
          for (std::int64_t p = 0; p < (r1 - r0) * s.ow; ++p)
            at[p] =
                static_cast<std::int32_t>((i * each + p / s.ow * s.stride_h * wide + p % s.ow * s.stride_w) * V::width);
        }
        const std::int64_t own = (r1 - r0) * s.ow, pixels = images * own;
        for (std::int64_t p0 = 0; p0 < pixels; p0 += block_pixels) {
          const std::int64_t n = smaller(block_pixels, pixels - p0);
          for (std::int64_t q = 0; q < rows.count; ++q) {
            // A block's pixels may belong to several images.
            for (std::int64_t p = p0; p < p0 + n;) {
              if (a.y_interleaved) {
                const float* const y =
                    a.y + ((image + p) / V::width * s.oc + group * og + m0 + rows.begin(q)) * V::width;
                transpose<V>({}, y, V::width, rows.height(q), V::width,
                             left + rows.begin(q) * n + (p - p0) * rows.height(q), rows.height(q));
                p += V::width;
                continue;
              }
              const std::int64_t i = p / own, here = smaller(p0 + n, (i + 1) * own) - p;
              const float* const y =
                  a.y + ((image + i) * s.oc + group * og + m0 + rows.begin(q)) * out + r0 * s.ow + p - i * own;
              transpose<V>({}, y, out, rows.height(q), here, left + rows.begin(q) * n + (p - p0) * rows.height(q),
                           rows.height(q));
              p += here;
            }
          }
          products(rows, n, offsets + p0, left, staged, vectors, sums);
        }
      }
    }
    for (std::int64_t m = 0; m < nm; ++m)
      store_kernels(sums + m * sums_ld(), a.w_out + ((group * og + m0 + m) * cg + c0) * taps, nc, a.add);
  }

  void products(const Panels& rows, std::int64_t n, const std::int32_t* offsets, const float* left, const float* staged,
                std::int64_t vectors, float* sums) const {
    const std::int64_t whole[] = {V::width, V::width};
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      const float* const at_tap = staged + (tap / s.kw * s.dilation_h * wide + tap % s.kw * s.dilation_w) * V::width;
      for (std::int64_t v = 0; v < vectors; v += 2) {
        const int nv = vectors - v >= 2 ? 2 : 1;
        const float* const b[] = {at_tap + v * plane(), at_tap + (v + nv - 1) * plane()};
        for (std::int64_t q = 0; q < rows.count; ++q) {
          float* const to = sums + rows.begin(q) * sums_ld() + tap * c_per + v * V::width;
          float* const c[] = {to, to + (nv - 1) * V::width};
          block_function<V, Indirect>(
              rows.height(q), nv)({n, left + rows.begin(q) * n, b, {offsets}, c, whole, sums_ld(), nullptr, true});
        }
      }
    }
  }

  /// Transposes channels of x to vectors, [vector][image][row][column], with zeros for padding; `each`: pixels per
  /// image.
  void stage(const Args& a, std::int64_t channel, std::int64_t images, std::int64_t nc, std::int64_t r0,
             std::int64_t each, std::int32_t* places, float* to) const {
    if (a.x_interleaved) {
      // `channel` counts from the first image on. Channels beyond the last only enter sums that are not stored.
      const std::int64_t first = channel / s.c, own = channel % s.c;
      for (std::int64_t v = 0; v * V::width < nc; ++v)
        for (std::int64_t i = 0; i < images; i += V::width) {
          const float* const from = a.x + (((first + i) / V::width) * s.c + own + v * V::width) * V::width;
          const std::int64_t rows = smaller<std::int64_t>(V::width, nc - v * V::width);
          V x[V::width];
          unroll<V::width>([&](auto r) __attribute__((always_inline)) {
            x[r] = r < rows ? V::load(from + r * V::width) : V::zero();
          });
          if (!is_raw(a.x_sub)) {
            const Substitution<V> sub(a.x_sub);
            unroll<V::width>([&](auto r) __attribute__((always_inline)) { x[r] = sub(x[r]); });
          }
          transpose_square(x);
          unroll<V::width>([&](auto r)
                               __attribute__((always_inline)) { x[r].store(to + v * plane() + (i + r) * V::width); });
        }
      return;
    }
    const std::int64_t top = r0 * s.stride_h - s.pad_top, down = each / wide, in = std::int64_t{s.h} * s.w;
    const std::int64_t y0 = larger<std::int64_t>(0, top), y1 = larger(y0, smaller<std::int64_t>(s.h, top + down));
    for (std::int64_t y = y0; y < y1; ++y)
      for (std::int64_t x = 0; x < s.w; ++x) {
        const std::int64_t at = x + s.pad_left;
        places[(y - y0) * s.w + x] = at < wide ? static_cast<std::int32_t>((y - top) * wide + at) : -1;
      }
    const bool bordered = top < 0 || top + down > s.h || s.pad_left > 0 || wide > s.w;
    for (std::int64_t v = 0; v * V::width < nc; ++v)
      for (std::int64_t i = 0; i < images; ++i) {
        float* const own = to + v * plane() + i * each * V::width;
        if (bordered) Stage::zero<V>(own, each * V::width);
        interleave<V>(a.x_sub, a.x + (channel + i * s.c + v * V::width) * in, in,
                      smaller<std::int64_t>(V::width, nc - v * V::width), y0 * s.w, y1 * s.w, places, own);
      }
  }

  /// Stores sums[tap][channel] of one output channel as kernels, channel by channel.
  void store_kernels(const float* sums, float* to, std::int64_t nc, bool add) const {
    if (taps == 1) {
      stream<V>(nc, [&](std::int64_t i, auto step) { store(load<V>(sums + i, step), to + i, add, step); });
      return;
    }
    for (std::int64_t c = 0; c < nc; c += V::width)
      for (std::int64_t k = 0; k < taps; k += V::width) {
        V v[V::width];
        for (std::int64_t i = 0; i < V::width; ++i)
          v[i] = k + i < taps ? V::load(sums + (k + i) * c_per + c) : V::zero();
        transpose_square(v);
        for (std::int64_t i = 0; i < smaller<std::int64_t>(V::width, nc - c); ++i)
          store(v[i], to + (c + i) * taps + k, add, Part{smaller<std::int64_t>(V::width, taps - k)});
      }
  }
};

}  // namespace
}  // namespace vitrine::kernels
