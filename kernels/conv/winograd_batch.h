// Winograd's minimal filtering along rows of interleaved images: F(4, 3) and F(4, 5), for layers of few channels and
// small maps. Four neighbours of an output row come from 6 or 8 products instead of 12 or 20 for every row of the
// kernel and channel:
//
//   y = A^T [ sum over channels and kernel rows (G w) * (B^T x) ]        dw = G^T [ sum over tiles, rows and images (A
//   dy) * (B^T x) ]
//
// (winograd.h has the transforms). Every vector holds one pixel of V::width images (batch.h): transforms and products
// use whole vectors, however few the channels, and interleaved operands are not transposed at all. Along columns the
// sum is direct: rows outside the source are skipped, and the error is that of one transform instead of two.
#pragma once

#include "kernels/conv/winograd.h"
#include "kernels/gemm/dots.h"

namespace vitrine::kernels {
namespace {

/// Transforms a row of `width` vectors by `f`, in tiles of N vectors, four apart, from `first` on; vectors outside the
/// row are 0. Place p of tile u is stored at to + p * place_step + u * V::width.
template <class V, int N, class T, class F>
VITRINE_INLINE void transform_row(F f, const Substitute& sub, const float* row, std::int64_t width, std::int64_t first,
                                  std::int64_t tiles, float* to, std::int64_t place_step) {
  const Substitution<V> map(sub);
  const bool raw = is_raw(sub);
  for (std::int64_t u = 0; u < tiles; ++u, to += V::width) {
    const std::int64_t x = first + u * T::output;
    V in[N], out[T::input];
    if (x >= 0 && x + N <= width) {
      unroll<N>([&](auto i) __attribute__((always_inline)) { in[i] = V::load(row + (x + i) * V::width); });
      if (!raw) unroll<N>([&](auto i) __attribute__((always_inline)) { in[i] = map(in[i]); });
    } else {
      unroll<N>([&](auto i) __attribute__((always_inline)) {
        in[i] = V::zero();
        if (x + i >= 0 && x + i < width) in[i] = V::load(row + (x + i) * V::width), in[i] = raw ? in[i] : map(in[i]);
      });
    }
    f(in, out);
    float* place = to;
    unroll<T::input>([&](auto i) __attribute__((always_inline)) {
      out[i].store(place);
      place = pinned(place + place_step);
    });
  }
}

/// Rows [r0, r1) of a plane as interleaved vectors: the plane itself if it is interleaved, else a copy in `staged`.
template <class V>
const float* interleaved_rows(const float* planes, std::int64_t image_step, std::int64_t images, bool interleaved,
                              std::int64_t width, std::int64_t r0, std::int64_t r1, std::int32_t* places,
                              float* staged) {
  if (interleaved) return planes + r0 * width * V::width;
  for (std::int64_t i = 0; i < (r1 - r0) * width; ++i) places[i] = static_cast<std::int32_t>(i);
  interleave<V>({}, planes, image_step, images, r0 * width, r1 * width, places, staged);
  return staged;
}

/// c[r][t] = sum over pieces and k of a[piece][k][r] b[piece][k][t], r < R rows, t < n vectors.
struct InterleavedProduct {
  std::int64_t depth, pieces;
  const float* a;
  std::int64_t lda;
  const float* b;
  std::int64_t ldb, piece_step;  ///< of b; the pieces of a follow one another
  std::int64_t n;
  float* c;
  std::int64_t ldc;
};
template <class V, int R>
void multiply_interleaved(InterleavedProduct g) {
  const auto some = [&](auto nv) __attribute__((always_inline)) {
    constexpr int NV = decltype(nv)::value;
    V acc[R][NV];
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v] = V::zero(); });
    });
    const float *a = g.a, *piece = g.b;
    for (std::int64_t p = 0; p < g.pieces; ++p, piece += g.piece_step) {
      const float* b = piece;
      for (std::int64_t k = 0; k < g.depth; ++k, a += g.lda, b += g.ldb) add_outer<V, R, NV>(a, b, acc);
    }
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v].store(g.c + r * g.ldc + v * V::width); });
    });
    g.n -= NV, g.b += NV * V::width, g.c += NV * V::width;
  };
  constexpr int most = smaller(8, (Blocking<V>::many ? 28 : 12) / R);  // enough independent sums to hide the latency
  while (g.n > 0) {
    // Shares are as equal as possible: a last share of one vector would be slow.
    const std::int64_t now = ceil_div(g.n, ceil_div(g.n, std::int64_t{most}));
    unroll<most>([&](auto i) __attribute__((always_inline)) {
      if (now == i + 1) some(Index<decltype(i)::value + 1>{});
    });
  }
}

template <class V>
struct InterleavedProducts {
  using Function = void (*)(InterleavedProduct);
  Function f[Blocking<V>::max_rows + 1] = {};
  template <int... R>
  static constexpr InterleavedProducts make(std::integer_sequence<int, R...>) {
    InterleavedProducts t;
    ((t.f[R + 1] = &multiply_interleaved<V, R + 1>), ...);
    return t;
  }
};

template <class V>
struct BatchWinogradShape {
  static constexpr std::int64_t tile_vectors =
      12 * 1024;  ///< vectors of the transformed rows that one output row reads, at most
  static constexpr std::int32_t max_channels = 32;  ///< with more, 3x3 kernels take winograd.h's two-dimensional tiles

  /// Whether the transforms cost less than they save, in vector operations per output row.
  static VITRINE_INLINE bool pays(const ConvShape& s, std::int64_t out_w) {
    std::int64_t taps = 0;  // pairs of a pixel and a tap
    for (std::int64_t k = 0; k < s.kw; ++k)
      taps += larger<std::int64_t>(
          0, smaller<std::int64_t>(s.ow, s.w + s.pad_left - k) - larger<std::int64_t>(0, s.pad_left - k));
    const std::int64_t tiles = ceil_div(out_w, 4), places = s.kw + 3, pairs = std::int64_t{s.c} * s.oc,
                       few = std::int64_t{s.c} + s.oc;
    return tiles * (places * s.kh * pairs + 30 * few) < taps * s.kh * pairs * 17 / 20 &&
           places * tiles * s.kh * larger(s.c, s.oc) <= tile_vectors;
  }
  /// Why it does not take a convolution, or null; the same for all three passes.
  static const char* refuses(const ConvShape& s, bool exact) {
    if (exact) return must_be_exact;
    if (s.stride_h != 1 || s.stride_w != 1 || s.dilation_h != 1 || s.dilation_w != 1 || s.groups != 1)
      return "there are strides, dilations or groups";
    if (larger(s.c, s.oc) > max_channels && (winograd_refuses(s, exact) == nullptr || smaller(s.c, s.oc) >= 64))
      return "there are many channels";
    if (const char* const why = batch_refuses<V>(s)) return why;
    if (s.oh <= 0 || s.ow <= 0 || !pays(s, s.ow) || !pays(s, s.w)) return "the transforms cost more than they save";
    return nullptr;
  }
};

/// Kernels of 3 and of 5 columns are two ways.
template <int Kernel>
constexpr const char* batch_winograd_name =
    Kernel == 3 ? "Winograd F(4, 3), interleaved" : "Winograd F(4, 5), interleaved";
template <class V, int Kernel>
const char* batch_winograd_refuses(const ConvArgs<float>& a) noexcept {
  // For kernels that neither takes, one of the two gives the reason.
  if (a.s.kw != Kernel) return Kernel == 3 && a.s.kw != 5 ? "the kernel has neither 3 nor 5 columns" : "";
  return BatchWinogradShape<V>::refuses(a.s, a.exact);
}

/// Forward, and backward-data as the forward convolution of the signal with the rotated kernel. A tile is V::width
/// images and a block of rows.
template <class V, bool Forward, int Kernel>
struct BatchWinograd {
  using Args = ConvArgs<float>;
  using T = WinogradTransforms<V, Kernel>;
  static constexpr std::int64_t tile_vectors = 6 * 1024;  ///< of transforms per tile, about

  std::int64_t images, in, out, in_h, in_w, out_h, out_w, kernel_h, above,
      before;          ///< rows above and columns before the source that the first output reads
  std::int64_t ld;     ///< packed weights: [place][kernel row][input channel][ld]
  std::int64_t tiles;  ///< per row
  std::int64_t image_blocks, rows_per, row_blocks;

  explicit BatchWinograd(const Args& a)
      : images(a.s.n),
        in(Forward ? a.s.c : a.s.oc),
        out(Forward ? a.s.oc : a.s.c),
        in_h(Forward ? a.s.h : a.s.oh),
        in_w(Forward ? a.s.w : a.s.ow),
        out_h(Forward ? a.s.oh : a.s.h),
        out_w(Forward ? a.s.ow : a.s.w),
        kernel_h(a.s.kh),
        above(Forward ? a.s.pad_top : kernel_h - 1 - a.s.pad_top),
        before(Forward ? a.s.pad_left : Kernel - 1 - a.s.pad_left),
        ld(round_up(out, V::width)),
        tiles(ceil_div(out_w, T::output)),
        image_blocks(ceil_div(images, V::width)) {
    rows_per = smaller(out_h, larger<std::int64_t>(kernel_h, tile_vectors * V::width / row_step() - (kernel_h - 1)));
    while (rows_per > 4 && image_blocks * ceil_div(out_h, rows_per) < 8) rows_per = ceil_div(rows_per, 2);
    rows_per = ceil_div(out_h, ceil_div(out_h, rows_per));
    row_blocks = ceil_div(out_h, rows_per);
  }

  static constexpr const char* name = batch_winograd_name<Kernel>;
  static const char* refuses(const Args& a) noexcept { return batch_winograd_refuses<V, Kernel>(a); }

  /// Floats from one place of a row's transforms to the next, and from one row's transforms to the next: odd numbers of
  /// vectors, so that places fall into different cache sets.
  static std::int64_t place_step(std::int64_t channels, std::int64_t tiles) {
    return (channels * tiles | 1) * V::width;
  }
  std::int64_t row_step() const { return (T::input * place_step(in, tiles) / V::width | 1) * V::width; }

  struct Scratch {
    std::int64_t staged, data, products, result, places, total;
  };
  Scratch scratch() const {
    Scratch t{};
    const std::int64_t rows = smaller(in_h, rows_per + kernel_h - 1);
    t.staged = rows * in_w * V::width;
    t.data = rows * row_step();
    t.products = T::input * place_step(out, tiles);
    t.result = out * rows_per * out_w * V::width;
    t.places = round_up(rows * in_w, 16);
    t.total = t.staged + t.data + t.products + t.result + t.places;
    return t;
  }

  Work work() const {
    return {image_blocks * row_blocks, static_cast<std::size_t>(T::input * kernel_h * in * ld) * sizeof(float),
            static_cast<std::size_t>(scratch().total) * sizeof(float), ld / V::width};
  }

  /// Transforms the rows of the kernels of one vector of output channels.
  void pack(const Args& a, float* to, std::int64_t part) const {
    const Substitution<V> sub(a.w_sub);
    const bool raw = is_raw(a.w_sub);
    const std::int64_t o = part * V::width, n = smaller<std::int64_t>(V::width, out - o), kernel = kernel_h * Kernel,
                       step = Forward ? in * kernel : kernel;
    for (std::int64_t c = 0; c < in; ++c) {
      for (std::int64_t k = 0; k < kernel_h; ++k) {
        const float* const w =
            a.w + (Forward ? o * in + c : c * out + o) * kernel + (Forward ? k : kernel_h - 1 - k) * Kernel;
        V g[V::width], row[Kernel], places[T::input];
        unroll<V::width>([&](auto i) __attribute__((always_inline)) {
          g[i] = i < n ? V::load_n(w + i * step, Kernel) : V::zero();
          if (!raw && i < n) g[i] = sub(g[i]);
        });
        transpose_square(g);
        unroll<Kernel>([&](auto i) __attribute__((always_inline)) { row[i] = g[Forward ? i : Kernel - 1 - i]; });
        T::weights(row, places);
        unroll<T::input>([&](auto i) __attribute__((always_inline)) {
          places[i].store(to + ((i * kernel_h + k) * in + c) * ld + o);
        });
      }
    }
  }

  void run_tile(const Args& a, const float* weights, float* memory, std::int64_t index) const {
    const std::int64_t image = index / row_blocks * V::width, here = smaller<std::int64_t>(V::width, images - image);
    const std::int64_t y0 = index % row_blocks * rows_per, y1 = smaller(out_h, y0 + rows_per);
    const bool out_interleaved = Forward ? a.y_interleaved : a.x_interleaved;
    const Scratch part = scratch();
    float *staged = memory, *data = staged + part.staged, *products = data + part.data,
          *result = products + part.products;
    auto* const places = reinterpret_cast<std::int32_t*>(result + part.result);
    // The source rows that these outputs read.
    const std::int64_t s0 = larger<std::int64_t>(0, y0 - above),
                       s1 = larger(s0, smaller(in_h, y1 - above + kernel_h - 1));
    transform_source(a, image, here, s0, s1, places, staged, data);

    const std::int64_t pixels = (y1 - y0) * out_w, out_plane = out_h * out_w;
    float* const planes = (Forward ? a.y_out : a.x_out) + image * out * out_plane;
    for (std::int64_t y = y0; y < y1; ++y) {
      multiply_row(weights, data, s0, y, products);
      float* const to = out_interleaved ? planes + y * out_w * V::width : result + (y - y0) * out_w * V::width;
      store_output_row(a, out_interleaved, products, to, out_interleaved ? out_plane : pixels);
    }
    for (std::int64_t o = 0; o < out && !out_interleaved; ++o) {
      deinterleave<V>(result + o * pixels * V::width, pixels, planes + o * out_plane + y0 * out_w, out * out_plane,
                      here, a.add, Forward && a.relu);
    }
  }

  /// Transforms the source rows [s0, s1): [row][place][channel][tile].
  VITRINE_INLINE void transform_source(const Args& a, std::int64_t image, std::int64_t here, std::int64_t s0,
                                       std::int64_t s1, std::int32_t* places, float* staged, float* data) const {
    const bool src_interleaved = Forward ? a.x_interleaved : a.y_interleaved;
    const std::int64_t in_plane = in_h * in_w, data_place = place_step(in, tiles), data_row = row_step();
    const float* src = (Forward ? a.x : a.y) + image * in * in_plane;
    for (std::int64_t c = 0; c < in; ++c, src += in_plane * (src_interleaved ? V::width : 1)) {
      const float* const rows =
          interleaved_rows<V>(src, in * in_plane, here, src_interleaved, in_w, s0, s1, places, staged);
      for (std::int64_t s = s0; s < s1; ++s)
        transform_row<V, T::input, T>(
            [](const V(&x)[T::input], V(&t)[T::input]) __attribute__((always_inline)) { T::data(x, t); },
            Forward ? a.x_sub : Substitute{}, rows + (s - s0) * in_w * V::width, in_w, -before, tiles,
            data + (s - s0) * data_row + c * tiles * V::width, data_place);
    }
  }

  /// The products of output row y: [place][output channel][tile]. `data` begins at source row s0.
  VITRINE_INLINE void multiply_row(const float* weights, const float* data, std::int64_t s0, std::int64_t y,
                                   float* products) const {
    static constexpr InterleavedProducts<V> table =
        InterleavedProducts<V>::make(std::make_integer_sequence<int, Blocking<V>::max_rows>{});
    const Panels panels = panels_of<V>(out);
    const std::int64_t data_place = place_step(in, tiles), data_row = row_step(),
                       products_place = place_step(out, tiles);
    const std::int64_t k0 = larger<std::int64_t>(0, above - y),
                       k1 = larger(k0, smaller(kernel_h, in_h + above - y));  // kernel rows inside the source
    for (std::int64_t place = 0; place < T::input; ++place) {
      const float* const source = data + (y - above + k0 - s0) * data_row + place * data_place;
      for (std::int64_t q = 0; q < panels.count; ++q)
        table.f[panels.height(q)]({in, k1 - k0, weights + (place * kernel_h + k0) * in * ld + panels.begin(q), ld,
                                   source, tiles * V::width, data_row, tiles,
                                   products + place * products_place + panels.begin(q) * tiles * V::width,
                                   tiles * V::width});
    }
  }

  /// Transforms an output row's products back to pixels, at `to`, with `plane` pixels from channel to channel. Final
  /// results (`last`) are added and cut here, others when they are deinterleaved.
  VITRINE_INLINE void store_output_row(const Args& a, bool last, const float* products, float* to,
                                       std::int64_t plane) const {
    const std::int64_t products_place = place_step(out, tiles);
    const bool add = a.add && last, relu = Forward && a.relu && last;
    const V least = V::set(relu ? 0 : -infinity);
    for (std::int64_t o = 0; o < out; ++o) {
      const V bias = V::set(Forward && a.bias != nullptr ? substituted(a.bias_sub, a.bias[o]) : 0);
      const float* from = products + o * tiles * V::width;
      float* y = to + o * plane * V::width;
      for (std::int64_t u = 0; u < tiles; ++u, from += V::width, y += T::output * V::width) {
        const float* m = from;
        V sums[T::input], four[T::output];
        unroll<T::input>([&](auto i) __attribute__((always_inline)) {
          sums[i] = V::load(m);
          m = pinned(m + products_place);
        });
        sums[1] = sums[1] + bias;  // the value at point 1 enters every result with factor 1
        T::result(sums, four);
        const std::int64_t there = out_w - u * T::output;
        if (there >= T::output && !add) {
          unroll<T::output>([&](auto i)
                                __attribute__((always_inline)) { V::max(least, four[i]).store(y + i * V::width); });
        } else {
          unroll<T::output>([&](auto i) __attribute__((always_inline)) {
            if (i < there) store(four[i], y + i * V::width, add, relu, Whole{});
          });
        }
      }
    }
  }
};

/// The weight gradient. A tile is a block of output channels times a block of input channels, summed over all images in
/// order.
template <class V, int Kernel>
struct BatchWinogradGradient {
  using Args = ConvArgs<float>;
  using T = WinogradTransforms<V, Kernel>;
  static constexpr std::int64_t tile_vectors = 6 * 1024,
                                tile_sums =
                                    4 * 1024;  ///< vectors of transforms per block of rows, and of sums per tile, about

  std::int64_t in, out, h, w, oh, ow, kernel_h, above, before, tiles;
  std::int64_t in_per, in_blocks, out_per, out_blocks, rows_per;

  explicit BatchWinogradGradient(const Args& a)
      : in(a.s.c),
        out(a.s.oc),
        h(a.s.h),
        w(a.s.w),
        oh(a.s.oh),
        ow(a.s.ow),
        kernel_h(a.s.kh),
        above(a.s.pad_top),
        before(a.s.pad_left),
        tiles(ceil_div(ow, T::output)) {
    const std::int64_t pairs = tile_sums / (T::input * kernel_h);
    in_per = larger<std::int64_t>(1, smaller<std::int64_t>(in, pairs / smaller<std::int64_t>(8, ceil_div(out, 2))));
    in_blocks = ceil_div(in, in_per);
    in_per = ceil_div(in, in_blocks);
    out_per = larger<std::int64_t>(1, smaller(out, pairs / in_per));
    if (in_blocks < 2) out_per = smaller(out_per, ceil_div(out, 2));  // at least two tiles, for two threads
    out_per = ceil_div(out, ceil_div(out, out_per));
    out_blocks = ceil_div(out, out_per);
    rows_per = smaller(oh, larger<std::int64_t>(kernel_h, tile_vectors / (T::input * tiles * (in_per + out_per))));
    rows_per = ceil_div(oh, ceil_div(oh, rows_per));
  }

  static constexpr const char* name = batch_winograd_name<Kernel>;
  static const char* refuses(const Args& a) noexcept { return batch_winograd_refuses<V, Kernel>(a); }

  struct Scratch {
    std::int64_t staged, data, signal, sums, places, total;
  };
  Scratch scratch() const {
    Scratch t{};
    const std::int64_t rows = rows_per + kernel_h - 1;
    t.staged = larger(rows * w, rows_per * ow) * V::width;
    t.data = T::input * place_step(in_per, rows);
    t.signal = T::input * place_step(out_per, rows_per);
    t.sums = T::input * out_per * in_per * kernel_h * V::width;
    t.places = round_up(larger(rows * w, rows_per * ow), 16);
    t.total = t.staged + t.data + t.signal + t.sums + t.places;
    return t;
  }
  /// Transforms: [place][channel][row][tile]; places are an odd number of vectors apart.
  std::int64_t channel_step(std::int64_t rows) const { return rows * tiles * V::width; }
  std::int64_t place_step(std::int64_t channels, std::int64_t rows) const {
    return (channels * rows * tiles | 1) * V::width;
  }

  Work work() const { return {in_blocks * out_blocks, 0, static_cast<std::size_t>(scratch().total) * sizeof(float)}; }

  void run_tile(const Args& a, float* memory, std::int64_t index) const {
    const std::int64_t c0 = index % in_blocks * in_per, o0 = index / in_blocks * out_per;
    const std::int64_t nc = smaller(in_per, in - c0), no = smaller(out_per, out - o0), columns = nc * kernel_h;
    const Scratch part = scratch();
    float *staged = memory, *data = staged + part.staged, *signal = data + part.data, *sums = signal + part.signal;
    auto* const places = reinterpret_cast<std::int32_t*>(sums + part.sums);
    // [place][output channel][input channel][kernel row].
    const std::int64_t sums_place = no * columns * V::width;
    Stage::zero<V>(sums, T::input * sums_place);
    for (std::int64_t image = 0; image < a.s.n; image += V::width) {
      for (std::int64_t y0 = 0; y0 < oh; y0 += rows_per) {
        const std::int64_t y1 = smaller(oh, y0 + rows_per), rows = y1 - y0, source_rows = rows + kernel_h - 1;
        transform_data(a, image, c0, nc, y0 - above, source_rows, places, staged, data);
        transform_signal(a, image, o0, no, y0, y1, places, staged, signal);
        for (std::int64_t place = 0; place < T::input; ++place) {
          const float* const at_place = data + place * place_step(nc, source_rows);
          InnerProducts<V>::accumulate(
              {1, channel_step(rows), 0, 0}, signal + place * place_step(no, rows), channel_step(rows), no, columns,
              [&](std::int64_t j) {
                return at_place + j / kernel_h * channel_step(source_rows) + j % kernel_h * tiles * V::width;
              },
              sums + place * sums_place, columns * V::width);
        }
      }
    }
    for (std::int64_t o = 0; o < no; ++o)
      store_kernels(a, sums + o * columns * V::width, sums_place, columns,
                    a.w_out + ((o0 + o) * in + c0) * kernel_h * Kernel);
  }

  /// Transforms `source_rows` rows of x from row `first` on, channels [c0, c0 + nc); rows outside x are 0.
  VITRINE_INLINE void transform_data(const Args& a, std::int64_t image, std::int64_t c0, std::int64_t nc,
                                     std::int64_t first, std::int64_t source_rows, std::int32_t* places, float* staged,
                                     float* data) const {
    const std::int64_t here = smaller<std::int64_t>(V::width, a.s.n - image), data_place = place_step(nc, source_rows);
    const std::int64_t s0 = smaller(h, larger<std::int64_t>(0, first)),
                       s1 = larger(s0, smaller(h, first + source_rows));
    const float* x = a.x + (image * in + c0 * (a.x_interleaved ? V::width : 1)) * h * w;
    for (std::int64_t c = 0; c < nc; ++c, x += h * w * (a.x_interleaved ? V::width : 1)) {
      const float* const from = interleaved_rows<V>(x, in * h * w, here, a.x_interleaved, w, s0, s1, places, staged);
      for (std::int64_t s = 0; s < source_rows; ++s) {
        float* const to = data + c * channel_step(source_rows) + s * tiles * V::width;
        const bool there = first + s >= s0 && first + s < s1;
        for (std::int64_t place = 0; place < T::input && !there; ++place)
          Stage::zero<V>(to + place * data_place, tiles * V::width);
        if (there)
          transform_row<V, T::input, T>(
              [](const V(&v)[T::input], V(&t)[T::input]) __attribute__((always_inline)) { T::data(v, t); }, a.x_sub,
              from + (first + s - s0) * w * V::width, w, -before, tiles, to, data_place);
      }
    }
  }

  /// Transforms rows [y0, y1) of y, channels [o0, o0 + no).
  VITRINE_INLINE void transform_signal(const Args& a, std::int64_t image, std::int64_t o0, std::int64_t no,
                                       std::int64_t y0, std::int64_t y1, std::int32_t* places, float* staged,
                                       float* signal) const {
    const std::int64_t here = smaller<std::int64_t>(V::width, a.s.n - image), rows = y1 - y0;
    const float* y = a.y + (image * out + o0 * (a.y_interleaved ? V::width : 1)) * oh * ow;
    for (std::int64_t o = 0; o < no; ++o, y += oh * ow * (a.y_interleaved ? V::width : 1)) {
      const float* const from =
          interleaved_rows<V>(y, out * oh * ow, here, a.y_interleaved, ow, y0, y1, places, staged);
      for (std::int64_t s = 0; s < rows; ++s)
        transform_row<V, T::output, T>(
            [](const V(&v)[T::output], V(&t)[T::input]) __attribute__((always_inline)) { T::signal(v, t); }, {},
            from + s * ow * V::width, ow, 0, tiles, signal + o * channel_step(rows) + s * tiles * V::width,
            place_step(no, rows));
    }
  }

  /// One output channel's sums, [place][input channel and kernel row], back to taps; then the lanes (images) of each
  /// tap are added up and stored.
  VITRINE_INLINE void store_kernels(const Args& a, float* sums, std::int64_t sums_place, std::int64_t columns,
                                    float* to) const {
    for (std::int64_t j = 0; j < columns; ++j) {
      float* const row = sums + j * V::width;
      V v[T::input], g[Kernel];
      unroll<T::input>([&](auto i) __attribute__((always_inline)) { v[i] = V::load(row + i * sums_place); });
      T::gradient(v, g);
      unroll<Kernel>([&](auto i) __attribute__((always_inline)) { g[i].store(row + i * sums_place); });
    }
    const std::int64_t taps = columns * Kernel;
    for (std::int64_t t = 0; t < taps; t += V::width) {
      V lanes[V::width];
      for (std::int64_t i = 0; i < V::width; ++i) {
        const std::int64_t tap = smaller(t + i, taps - 1);
        lanes[i] = V::load(sums + tap % Kernel * sums_place + tap / Kernel * V::width);
      }
      store(lane_sums(lanes), to + t, a.add, Part{taps - t});
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
