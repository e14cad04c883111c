// 3x3 convolutions of stride 1 by Winograd's minimal filtering, F(4x4, 3x3) [Lavin & Gray 2016]: tiles of 4x4 outputs
// from 6x6 inputs by 36 multiplications instead of 144,
//
//   y = A^T [ sum over channels (G w G^T) * (B^T x B) ] A        dw = G^T [ sum over tiles (A dy A^T) * (B^T x B) ] G
//
// Lanes are channels: pixels are transposed to vectors of neighbouring channels before the transform and back after it,
// so that the transforms need no border cases and fill every lane. Between the transforms are 36 matrix products.
//
// Errors are a few times those of the direct sum, relative to the largest sums nearby (measured in tests/kernels): fine
// for training, gradients and scores, but not if the result will be a divisor: ConvArgs::exact asks for the direct sum.
#pragma once

#include "kernels/conv/batch.h"

namespace vitrine::kernels {
namespace {

/// B^T, A^T, A, G and G^T applied to a column of vectors, for kernels of 3 or 5 taps and four results: values of
/// polynomials whose coefficients are the kernel, or the signal, at 0, pairs of points +-1, +-2 (and +-1/2 for 5 taps),
/// and infinity.
template <class V, int Kernel>
struct WinogradTransforms {
  static constexpr int kernel = Kernel, output = 4, input = kernel + output - 1;
  static constexpr int pairs = input / 2 - 1;
  static_assert(pairs == 2 || pairs == 3);

  /// to = B^T from, input -> input.
  static VITRINE_INLINE void data(const V (&d)[input], V (&t)[input]) {
    V even[pairs], odd[pairs];
    if constexpr (pairs == 2) {
      const V four = V::set(4), five = V::set(5);
      even[0] = V::fnma(four, d[2], d[4]), odd[0] = V::fnma(four, d[1], d[3]);
      even[1] = d[4] - d[2], odd[1] = V::set(2) * (d[3] - d[1]);
      t[0] = V::fma(four, d[0], V::fnma(five, d[2], d[4]));
      t[5] = V::fma(four, d[1], V::fnma(five, d[3], d[5]));
    } else {
      const V quarter = V::set(0.25f), half = V::set(0.5f), two = V::set(2), four = V::set(4);
      even[0] = V::fnma(V::set(4.25f), d[4], d[2] + d[6]), odd[0] = V::fnma(V::set(4.25f), d[3], d[1] + d[5]);
      even[1] = V::fma(quarter, d[2], V::fnma(V::set(1.25f), d[4], d[6])),
      odd[1] = V::fma(half, d[1], V::fnma(V::set(2.5f), d[3], two * d[5]));
      even[2] = V::fma(four, d[2], V::fnma(V::set(5), d[4], d[6])),
      odd[2] = V::fma(two, d[1], V::fnma(V::set(2.5f), d[3], half * d[5]));
      t[0] = V::fma(V::set(5.25f), d[4] - d[2], d[0] - d[6]);
      t[7] = V::fma(V::set(5.25f), d[3] - d[5], d[7] - d[1]);
    }
    unroll<pairs>([&](auto p) __attribute__((always_inline)) {
      t[2 * p + 1] = even[p] + odd[p];
      t[2 * p + 2] = even[p] - odd[p];
    });
  }
  /// A^T, input -> output.
  static VITRINE_INLINE void result(const V (&m)[input], V (&y)[output]) { collect(m, y); }
  /// A, output -> input.
  static VITRINE_INLINE void signal(const V (&y)[output], V (&t)[input]) { evaluate(y, t); }
  /// G, kernel -> input.
  static VITRINE_INLINE void weights(const V (&g)[kernel], V (&t)[input]) {
    evaluate(g, t);
    scale(t);
  }
  /// G^T, input -> kernel.
  static VITRINE_INLINE void gradient(const V (&t)[input], V (&g)[kernel]) {
    V scaled[input];
    unroll<input>([&](auto i) __attribute__((always_inline)) { scaled[i] = t[i]; });
    scale(scaled);
    collect(scaled, g);
  }

 private:
  static constexpr float points[] = {1, 2, 0.5f};
  static constexpr float power(float x, int n) { return n == 0 ? 1 : x * power(x, n - 1); }

  /// G beyond plain evaluation: one factor for the point 0 and one per pair.
  static VITRINE_INLINE void scale(V (&t)[input]) {
    constexpr float factors[] = {pairs == 2 ? -1.0f / 6 : -2.0f / 9, pairs == 2 ? 1.0f / 24 : 1.0f / 90, 32.0f / 45};
    if (pairs == 2) t[0] = V::set(0.25f) * t[0];
    unroll<pairs>([&](auto p) __attribute__((always_inline)) {
      t[2 * p + 1] = V::set(factors[p]) * t[2 * p + 1];
      t[2 * p + 2] = V::set(factors[p]) * t[2 * p + 2];
    });
  }
  /// Evaluates a polynomial of N coefficients at every point. The points +-x of a pair share the sums of even and of
  /// odd powers.
  template <int N>
  static VITRINE_INLINE void evaluate(const V (&x)[N], V (&t)[input]) {
    unroll<pairs>([&](auto p) __attribute__((always_inline)) {
      constexpr float point = points[decltype(p)::value], square = point * point;
      V even = x[0], odd = x[1];
      if constexpr (N > 2) even = V::fma(V::set(square), x[2], even);
      if constexpr (N > 3) odd = V::fma(V::set(square), x[3], odd);
      if constexpr (N > 4) even = V::fma(V::set(square * square), x[4], even);
      t[2 * p + 1] = V::fma(V::set(point), odd, even);
      t[2 * p + 2] = V::fnma(V::set(point), odd, even);
    });
    t[0] = x[0];
    t[input - 1] = x[N - 1];
  }
  /// The transpose of evaluate: the value at a point enters coefficient n times the point's n-th power.
  template <int N>
  static VITRINE_INLINE void collect(const V (&t)[input], V (&y)[N]) {
    V sum[pairs], difference[pairs];
    unroll<pairs>([&](auto p) __attribute__((always_inline)) {
      sum[p] = t[2 * p + 1] + t[2 * p + 2];
      difference[p] = t[2 * p + 1] - t[2 * p + 2];
    });
    unroll<N>([&](auto i) __attribute__((always_inline)) {
      constexpr int n = decltype(i)::value;
      y[n] = n % 2 == 0 ? sum[0] : difference[0];
      unroll<pairs - 1>([&](auto p) __attribute__((always_inline)) {
        constexpr int pair = decltype(p)::value + 1;
        y[n] = V::fma(V::set(power(points[pair], n)), n % 2 == 0 ? sum[pair] : difference[pair], y[n]);
      });
    });
    y[0] = y[0] + t[0];
    y[N - 1] = y[N - 1] + t[input - 1];
  }
};

/// Applies a transform to the columns of a square, then to the rows of the result: `load(i, j)` gives N x N vectors,
/// column by column; `store(i, j, v)` receives M x M, row by row.
template <class V, int N, int M, class F, class Load, class Store>
VITRINE_INLINE void on_both_sides(F f, Load load, Store store) {
  V half[M][N];
  unroll<N>([&](auto j) __attribute__((always_inline)) {
    V in[N], out[M];
    unroll<N>([&](auto i) __attribute__((always_inline)) { in[i] = load(i, j); });
    f(in, out);
    unroll<M>([&](auto i) __attribute__((always_inline)) { half[i][j] = out[i]; });
  });
  unroll<M>([&](auto i) __attribute__((always_inline)) {
    V in[N], out[M];
    unroll<N>([&](auto j) __attribute__((always_inline)) { in[j] = half[i][j]; });
    f(in, out);
    unroll<M>([&](auto j) __attribute__((always_inline)) { store(i, j, out[j]); });
  });
}

/// Keeps an address in a register of its own, so that compilers do not express it as an offset from another one.
template <class T>
VITRINE_INLINE T* pinned(T* p) {
  asm("" : "+r"(p));
  return p;
}

/// Transforms an N x N tile and stores the 36 results `step` floats apart, through one running pointer: 36 offsets
/// would spill.
template <class V, int N, class F, class Load>
VITRINE_INLINE void to_places(F f, Load load, float* to, std::int64_t step) {
  on_both_sides<V, N, 6>(
      f, load, [&](auto, auto, V v) __attribute__((always_inline)) {
        v.store(to);
        to = pinned(to + step);
      });
}
/// The reverse, to M x M. The results are stored row by row but read as columns, so the square is transposed; passing
/// (j, i) to `store` undoes that.
template <class V, int M, class F, class Store>
VITRINE_INLINE void from_places(F f, const float* from, std::int64_t step, Store store) {
  on_both_sides<V, 6, M>(
      f,
      [&](auto, auto) __attribute__((always_inline)) {
        const V v = V::load(from);
        from = pinned(from + step);
        return v;
      },
      [&](auto i, auto j, V v) __attribute__((always_inline)) { store(j, i, v); });
}

/// Blocks of tiles: whole rows of tiles of one image, or several images if they are small.
struct TileCut {
  std::int64_t rows, columns;         ///< tiles per image
  std::int64_t images_per, rows_per;  ///< per block
  std::int64_t image_blocks, row_blocks;

  VITRINE_INLINE TileCut(std::int64_t images, std::int64_t h, std::int64_t w, std::int64_t wanted)
      : rows(ceil_div(h, 4)), columns(ceil_div(w, 4)) {
    images_per = smaller(images, larger<std::int64_t>(1, wanted / (rows * columns)));
    images_per = ceil_div(images, ceil_div(images, images_per));
    rows_per = images_per > 1 ? rows : smaller(rows, larger<std::int64_t>(1, wanted / columns));
    rows_per = ceil_div(rows, ceil_div(rows, rows_per));
    image_blocks = ceil_div(images, images_per);
    row_blocks = ceil_div(rows, rows_per);
  }
  VITRINE_INLINE std::int64_t most() const { return images_per * rows_per * columns; }
};

/// A block's pixels as vectors of channels, with a border of zeros. For rows of tiles [t0, t1) of one image that is 4
/// (t1 - t0) + 2 rows of 4 tile_columns + 2 pixels. If t0 is 0, the first `before` rows are outside the image; the
/// first `before` columns always are.
template <class V>
struct PixelStage {
  std::int64_t h, w, tile_columns, before;
  std::int64_t width() const { return 4 * tile_columns + 2; }
  std::int64_t size(std::int64_t tile_rows) const { return (4 * tile_rows + 2) * width(); }

  void fill(const Substitute& sub, const float* planes, std::int64_t channels, std::int64_t t0, std::int64_t t1,
            std::int32_t* places, float* to) const {
    const std::int64_t first = 4 * t0 - before, y0 = larger<std::int64_t>(0, first),
                       y1 = larger(y0, smaller(h, 4 * t1 + 2 - before));
    for (std::int64_t y = y0; y < y1; ++y)
      for (std::int64_t x = 0; x < w; ++x) {
        const std::int64_t at = x + before;
        places[(y - y0) * w + x] = at < width() ? static_cast<std::int32_t>((y - first) * width() + at) : -1;
      }
    Stage::zero<V>(to, size(t1 - t0) * V::width);
    interleave<V>(sub, planes, h * w, channels, y0 * w, y1 * w, places, to);
  }
};

/// The product at one place of the transform: C[r][v] (+)= sum over k of a(r, k) b(k, v), r < R tiles, NV vectors of
/// channels. `a` is stored in blocks of V::width values of k, [block][R][width]; b as [k][NV vectors].
template <class V, int R, int NV>
void multiply_tiles(const float* a, const float* b, std::int64_t depth, float* c, std::int64_t ldc, bool add) {
  V acc[R][NV];
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<NV>([&](auto v) __attribute__((always_inline)) {
      acc[r][v] = add ? V::load(c + r * ldc + v * V::width) : V::zero();
    });
  });
  for (std::int64_t k = 0; k < depth; k += V::width, a += R * V::width) {
    for (std::int64_t i = 0; i < V::width; ++i, b += NV * V::width) {
      V y[NV];
      unroll<NV>([&](auto v) __attribute__((always_inline)) {
        if constexpr (R >= 4) __builtin_prefetch(b + v * V::width + 2 * prefetch_ahead);
        y[v] = V::load(b + v * V::width).pinned();
      });
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        const V x = V::set(a[r * V::width + i]);
        unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v] = V::fma(x, y[v], acc[r][v]); });
      });
    }
  }
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v].store(c + r * ldc + v * V::width); });
  });
}

template <class V>
struct TileProducts {
  static constexpr int rows = Blocking<V>::max_rows, vectors = 2;
  using Function = void (*)(const float*, const float*, std::int64_t, float*, std::int64_t, bool);
  Function f[rows + 1] = {};
  template <int... R>
  static constexpr TileProducts make(std::integer_sequence<int, R...>) {
    TileProducts t;
    ((t.f[R + 1] = &multiply_tiles<V, R + 1, vectors>), ...);
    return t;
  }
};

/// Why F(4x4, 3x3) does not take a convolution, or null. It ignores the batch, since an image's result must not depend
/// on it, although for a single map of 7x7 the direct sum would be faster: its weights are a quarter of the size.
VITRINE_INLINE const char* winograd_refuses(const ConvShape& s, bool exact) {
  if (exact) return must_be_exact;
  if (s.kh != 3 || s.kw != 3) return "the kernel is not 3x3";
  if (s.stride_h != 1 || s.stride_w != 1 || s.dilation_h != 1 || s.dilation_w != 1 || s.groups != 1)
    return "there are strides, dilations or groups";
  if (s.c < 24 || s.oc < 24) return "there are fewer than 24 channels";
  if (s.oh < 7 || s.ow < 7) return "the maps are smaller than 7x7";
  if (s.pad_top > 2 || s.pad_left > 2 || s.pad_top != s.pad_left) return "the padding differs, or is larger than 2";
  return nullptr;
}

/// The distance in floats between two places of `n` floats each. Powers of two are avoided: they would map all places
/// to the same cache sets.
VITRINE_INLINE std::int64_t padded_stride(std::int64_t n) { return round_up(n, 32) + 16; }

/// Forward, and backward-data as the forward convolution of the signal with the rotated kernel.
template <class V, bool Forward>
struct Winograd {
  using Args = ConvArgs<float>;
  using T = WinogradTransforms<V, 3>;
  static constexpr std::int64_t place_count = 36;
  static constexpr std::int64_t block_tiles = 96;            ///< tiles per block, about
  static constexpr std::int64_t outputs_at_once = 64;        ///< output channels per pass
  static constexpr std::int64_t panel_width = 2 * V::width;  ///< output channels of a packed panel
  static constexpr std::int64_t chunk_channels =
      64;  ///< input channels per pass if `fresh`: their weights and data fill half of L2
  /// Above this size (in floats) and up to this many tiles, transforming weights again costs no more than loading them.
  static constexpr std::int64_t large_weights = 4 << 20, few_tiles = 32;

  std::int64_t images, in, out, in_h, in_w, out_h, out_w, before;
  std::int64_t depth;   ///< input channels, rounded up to whole vectors
  std::int64_t panels;  ///< of panel_width output channels
  TileCut cut;
  std::int64_t panels_per, panel_blocks;
  bool fresh;          ///< weights are transformed by the tile that uses them
  std::int64_t chunk;  ///< input channels whose weights are in memory at a time

  explicit Winograd(const Args& a)
      : images(a.s.n),
        in(Forward ? a.s.c : a.s.oc),
        out(Forward ? a.s.oc : a.s.c),
        in_h(Forward ? a.s.h : a.s.oh),
        in_w(Forward ? a.s.w : a.s.ow),
        out_h(Forward ? a.s.oh : a.s.h),
        out_w(Forward ? a.s.ow : a.s.w),
        before(Forward ? a.s.pad_top : 2 - a.s.pad_top),
        depth(round_up(in, V::width)),
        panels(ceil_div(out, panel_width)),
        cut(images, out_h, out_w, block_tiles) {
    // At least two tiles, for two threads, even though both then transform the input.
    panel_blocks = cut.image_blocks * cut.row_blocks >= 2 ? 1 : smaller<std::int64_t>(panels, 2);
    panels_per = ceil_div(panels, panel_blocks);
    panel_blocks = ceil_div(panels, panels_per);
    // If there is only one block, each panel of weights is used once. Transforming it there keeps it in the cache, and
    // its four-fold size is not written to memory and read back. Weights that are kept from run to run are transformed
    // beforehand, unless they are large and have few tiles to work on.
    fresh = cut.image_blocks * cut.row_blocks == 1 &&
            (!a.kept || (place_count * depth * panels * panel_width > large_weights && cut.most() <= few_tiles));
    chunk = fresh ? smaller(depth, chunk_channels) : depth;
  }

  static constexpr const char* name = "Winograd F(4x4, 3x3)";
  static const char* refuses(const Args& a) noexcept {
    return a.x_interleaved || a.y_interleaved ? reads_planar : winograd_refuses(a.s, a.exact);
  }

  PixelStage<V> stage() const { return {in_h, in_w, cut.columns, before}; }
  std::int64_t at_once() const { return smaller<std::int64_t>(panels_per, outputs_at_once / panel_width); }

  struct Scratch {
    std::int64_t staged, data, products, result, places, weights, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.weights = fresh ? place_count * place_step() : 0;
    t.staged = stage().size(cut.rows_per) * V::width;
    t.data = place_count * padded_stride(cut.most() * depth);
    t.products = place_count * padded_stride(cut.most() * at_once() * panel_width);
    t.result = 4 * cut.rows_per * out_w * V::width;
    t.places = round_up(larger(in_h * in_w, out_h * out_w), 16);
    t.total = t.staged + t.data + t.products + t.result + t.places + t.weights;
    return t;
  }
  /// The distance in floats between the weights of two places; no power of two (see padded_stride).
  std::int64_t place_step() const { return chunk * panel_width + 16; }

  Work work() const {
    return {cut.image_blocks * cut.row_blocks * panel_blocks,
            fresh ? 0 : static_cast<std::size_t>(place_count * panels * place_step()) * sizeof(float),
            static_cast<std::size_t>(scratch().total) * sizeof(float), panels};
  }

  void pack(const Args& a, float* to, std::int64_t panel) const {
    transform(a, to + panel * place_count * place_step(), panel, 0, depth);
  }

  /// Transforms the weights of one panel and the input channels [c0, c1): [place][channel][panel_width].
  void transform(const Args& a, float* to, std::int64_t panel, std::int64_t c0, std::int64_t c1) const {
    const Substitution<V> sub(a.w_sub);
    const bool raw = is_raw(a.w_sub);
    // Kernels of neighbouring channels (or outputs) are pages apart: the hardware prefetcher does not cross pages.
    const std::int64_t ahead = Forward ? 64 : 8 * out * 9;
    for (std::int64_t c = c0; c < c1; ++c) {
      for (std::int64_t half = 0; half < 2; ++half) {
        const std::int64_t o0 = panel * panel_width + half * V::width,
                           n = c < in ? larger<std::int64_t>(0, smaller<std::int64_t>(V::width, out - o0)) : 0;
        const float* const w = a.w + (Forward ? o0 * in + c : c * out + o0) * 9;
        const std::int64_t ld = Forward ? in * 9 : 9;
        // The nine taps of V::width kernels, transposed to nine vectors.
        float g[9 + V::width][V::width];
        for (std::int64_t k = 0; k < 9; k += V::width) {
          V v[V::width];
          unroll<V::width>([&](auto i) __attribute__((always_inline)) {
            if (i < n) __builtin_prefetch(w + i * ld + ahead);
            v[i] = i < n ? V::load_n(w + i * ld + k, 9 - k) : V::zero();
            if (!raw && i < n) v[i] = sub(v[i]);  // absent channels stay 0 under every substitution
          });
          transpose_square(v);
          unroll<V::width>([&](auto i) __attribute__((always_inline)) { v[i].store(g[k + i]); });
        }
        to_places<V, 3>(
            [](const V(&x)[3], V(&y)[6]) __attribute__((always_inline)) { T::weights(x, y); },
            [&](auto i, auto j)
                __attribute__((always_inline)) { return V::load(g[Forward ? i * 3 + j : 8 - (i * 3 + j)]); },
            to + (c - c0) * panel_width + half * V::width, place_step());
      }
    }
  }

  /// A tile's block: images, rows of tiles [t0, t1), and their tiles, in panels.
  struct TileBlock {
    std::int64_t image0, image1, t0, t1;
    std::int64_t each, tiles;  ///< tiles per image, and of all images
    Panels rows;
  };
  TileBlock block_of(std::int64_t index) const {
    TileBlock b{};
    b.image0 = index / cut.row_blocks * cut.images_per, b.image1 = smaller(images, b.image0 + cut.images_per);
    b.t0 = index % cut.row_blocks * cut.rows_per, b.t1 = smaller(cut.rows, b.t0 + cut.rows_per);
    b.each = (b.t1 - b.t0) * cut.columns, b.tiles = (b.image1 - b.image0) * b.each;
    b.rows = panels_of<V>(b.tiles);
    return b;
  }

  void run_tile(const Args& a, const float* weights, float* memory, std::int64_t index) const {
    const TileBlock b = block_of(index / panel_blocks);
    const Scratch part = scratch();
    float *staged = memory, *data = staged + part.staged, *products = data + part.data,
          *result = products + part.products;
    auto* const places = reinterpret_cast<std::int32_t*>(result + part.result);
    float* const own = result + part.result + part.places;
    transform_data(a, b, staged, places, data);
    const std::int64_t first = index % panel_blocks * panels_per, last = smaller(panels, first + panels_per);
    for (std::int64_t p0 = first; p0 < last; p0 += at_once()) {
      const std::int64_t p1 = smaller(last, p0 + at_once());
      multiply(a, b, weights, own, data, p0, p1, products);
      for (std::int64_t o = p0 * panel_width; o < smaller(out, p1 * panel_width); o += V::width)
        store_channels(a, b, products + o - p0 * panel_width, (p1 - p0) * panel_width, o, result);
    }
  }

  /// Transforms the block's pixels: [place][panel of tiles][vector of channels][tile][channel].
  VITRINE_INLINE void transform_data(const Args& a, const TileBlock& b, float* staged, std::int32_t* places,
                                     float* data) const {
    const float* const src = Forward ? a.x : a.y;
    const PixelStage<V> st = stage();
    for (std::int64_t image = b.image0; image < b.image1; ++image) {
      for (std::int64_t c = 0; c < depth; c += V::width) {
        st.fill(Forward ? a.x_sub : Substitute{}, src + (image * in + c) * in_h * in_w,
                smaller<std::int64_t>(V::width, in - c), b.t0, b.t1, places, staged);
        std::int64_t tile = (image - b.image0) * b.each;
        for (std::int64_t ty = 0; ty < b.t1 - b.t0; ++ty) {
          for (std::int64_t tx = 0; tx < cut.columns; ++tx, ++tile) {
            const std::int64_t panel = panel_of(b.rows, tile), height = b.rows.height(panel);
            const float* const x = staged + (4 * ty * st.width() + 4 * tx) * V::width;
            float* const to =
                data + b.rows.begin(panel) * depth + (c / V::width * height + tile - b.rows.begin(panel)) * V::width;
            to_places<V, 6>(
                [](const V(&x6)[6], V(&y6)[6]) __attribute__((always_inline)) { T::data(x6, y6); },
                [&](auto i, auto j)
                    __attribute__((always_inline)) { return V::load(x + (i * st.width() + j) * V::width); },
                to, padded_stride(b.tiles * depth));
          }
        }
      }
    }
  }

  /// The products of panels [p0, p1): [place][tile][output channel]. Weights are transformed to `own` if `fresh`.
  VITRINE_INLINE void multiply(const Args& a, const TileBlock& b, const float* weights, float* own, const float* data,
                               std::int64_t p0, std::int64_t p1, float* products) const {
    static constexpr TileProducts<V> table =
        TileProducts<V>::make(std::make_integer_sequence<int, TileProducts<V>::rows>{});
    const std::int64_t ld = (p1 - p0) * panel_width;
    const auto product = [&](const float* w, std::int64_t p, std::int64_t place, std::int64_t q, std::int64_t c0,
                             std::int64_t c1) __attribute__((always_inline)) {
      const int height = b.rows.height(q);
      table.f[height](data + place * padded_stride(b.tiles * depth) + b.rows.begin(q) * depth + c0 * height,
                      w + place * place_step(), c1 - c0,
                      products + place * padded_stride(b.tiles * ld) + b.rows.begin(q) * ld + (p - p0) * panel_width,
                      ld, c0 > 0);
    };
    for (std::int64_t p = p0; p < p1 && fresh; ++p) {
      for (std::int64_t c = 0; c < depth; c += chunk) {
        const std::int64_t end = smaller(depth, c + chunk);
        transform(a, own, p, c, end);
        for (std::int64_t place = 0; place < place_count; ++place)
          for (std::int64_t q = 0; q < b.rows.count; ++q) product(own, p, place, q, c, end);
      }
    }
    for (std::int64_t place = 0; place < place_count && !fresh; ++place)
      for (std::int64_t q = 0; q < b.rows.count; ++q)
        for (std::int64_t p = p0; p < p1; ++p) product(weights + p * place_count * place_step(), p, place, q, 0, depth);
  }

  /// Transforms the products of a vector of output channels from `o` on back to pixels, and stores them. `products`
  /// points to its channels, `ld` floats from tile to tile.
  VITRINE_INLINE void store_channels(const Args& a, const TileBlock& b, const float* products, std::int64_t ld,
                                     std::int64_t o, float* result) const {
    float* const dst = Forward ? a.y_out : a.x_out;
    const std::int64_t here = smaller<std::int64_t>(V::width, out - o), h1 = smaller(out_h, 4 * b.t1),
                       pixels = (h1 - 4 * b.t0) * out_w;
    V bias = V::zero();
    if (Forward && a.bias != nullptr) bias = Substitution<V>(a.bias_sub)(V::load_n(a.bias + o, here));
    for (std::int64_t image = b.image0; image < b.image1; ++image) {
      std::int64_t tile = (image - b.image0) * b.each;
      for (std::int64_t ty = 0; ty < b.t1 - b.t0; ++ty) {
        for (std::int64_t tx = 0; tx < cut.columns; ++tx, ++tile) {
          const float* const m = products + tile * ld;
          float* const y = result + (4 * ty * out_w + 4 * tx) * V::width;
          const std::int64_t rows_left = h1 - 4 * (b.t0 + ty), columns_left = out_w - 4 * tx;
          const auto store_tile = [&](auto whole) __attribute__((always_inline)) {
            from_places<V, 4>(
                [](const V(&x6)[6], V(&y4)[4]) __attribute__((always_inline)) { T::result(x6, y4); }, m,
                padded_stride(b.tiles * ld),
                [&](auto i, auto j, V v) __attribute__((always_inline)) {
                  if (whole || (i < rows_left && j < columns_left)) (v + bias).store(y + (i * out_w + j) * V::width);
                });
          };
          rows_left >= 4 && columns_left >= 4 ? store_tile(std::true_type{}) : store_tile(std::false_type{});
        }
      }
      deinterleave<V>(result, pixels, dst + (image * out + o) * out_h * out_w + 4 * b.t0 * out_w, out_h * out_w, here,
                      a.add, Forward && a.relu);
    }
  }

  static VITRINE_INLINE std::int64_t panel_of(const Panels& rows, std::int64_t tile) {
    const std::int64_t low = rows.rows / rows.count, extra = rows.rows % rows.count, tall = extra * (low + 1);
    return tile < tall ? tile / (low + 1) : extra + (tile - tall) / low;
  }
};

/// c[r][v] += sum over k of a[k][r] b[k][v]: R rows, NV vectors; `lda` and `ldb` are the distances of the operands'
/// rows.
template <class V, int R, int NV>
void multiply_outer(const float* a, std::int64_t lda, const float* b, std::int64_t ldb, std::int64_t depth, float* c,
                    std::int64_t ldc) {
  V acc[R][NV];
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v] = V::load(c + r * ldc + v * V::width); });
  });
  for (std::int64_t k = 0; k < depth; ++k, a += lda, b += ldb) add_outer<V, R, NV>(a, b, acc);
  unroll<R>([&](auto r) __attribute__((always_inline)) {
    unroll<NV>([&](auto v) __attribute__((always_inline)) { acc[r][v].store(c + r * ldc + v * V::width); });
  });
}

/// The weight gradient. A tile is a block of output channels times a block of input channels, summed over all images in
/// order.
template <class V>
struct WinogradGradient {
  using Args = ConvArgs<float>;
  using T = WinogradTransforms<V, 3>;
  static constexpr std::int64_t place_count = 36;
  static constexpr std::int64_t block_tiles = 64, block_channels = 128, panel_width = 2 * V::width;
  static constexpr int product_rows = Blocking<V>::max_rows;

  std::int64_t in, out, h, w, oh, ow, before;
  std::int64_t in_per, in_blocks, out_per, out_blocks;
  TileCut cut;

  explicit WinogradGradient(const Args& a)
      : in(a.s.c),
        out(a.s.oc),
        h(a.s.h),
        w(a.s.w),
        oh(a.s.oh),
        ow(a.s.ow),
        before(a.s.pad_top),
        cut(a.s.n, oh, ow, block_tiles) {
    in_blocks = ceil_div(in, block_channels);
    out_blocks = ceil_div(out, block_channels);
    if (in_blocks * out_blocks < 2) out_blocks = 2;  // for two threads
    in_per = round_up(ceil_div(in, in_blocks), panel_width);
    in_blocks = ceil_div(in, in_per);
    out_per = round_up(ceil_div(out, out_blocks), V::width);
    out_blocks = ceil_div(out, out_per);
  }

  static constexpr const char* name = "Winograd F(4x4, 3x3)";
  static const char* refuses(const Args& a) noexcept {
    return a.x_interleaved || a.y_interleaved ? reads_planar : winograd_refuses(a.s, a.exact);
  }

  PixelStage<V> data_stage() const { return {h, w, cut.columns, before}; }
  PixelStage<V> signal_stage() const { return {oh, ow, cut.columns, 0}; }

  struct Scratch {
    std::int64_t staged, data, signal, sums, places, total;
  };
  Scratch scratch() const {
    Scratch t{};
    t.staged = data_stage().size(cut.rows_per) * V::width;
    t.data = place_count * padded_stride(cut.most() * in_per);
    t.signal = place_count * padded_stride(cut.most() * out_per);
    t.sums = place_count * padded_stride(out_per * in_per);
    t.places = round_up(larger(h * w, oh * ow), 16);
    t.total = t.staged + t.data + t.signal + t.sums + t.places;
    return t;
  }

  Work work() const { return {in_blocks * out_blocks, 0, static_cast<std::size_t>(scratch().total) * sizeof(float)}; }

  void run_tile(const Args& a, float* memory, std::int64_t index) const {
    const std::int64_t c0 = index % in_blocks * in_per, o0 = index / in_blocks * out_per;
    const std::int64_t nc = smaller(in_per, in - c0), no = smaller(out_per, out - o0);
    const Scratch part = scratch();
    float *staged = memory, *data = staged + part.staged, *signal = data + part.data, *sums = signal + part.signal;
    auto* const places = reinterpret_cast<std::int32_t*>(sums + part.sums);
    Stage::zero<V>(sums, part.sums);
    const Panels rows = panels_of<V>(out_per);
    for (std::int64_t block = 0; block < cut.image_blocks * cut.row_blocks; ++block) {
      const std::int64_t t0 = block % cut.row_blocks * cut.rows_per, t1 = smaller(cut.rows, t0 + cut.rows_per);
      const std::int64_t first = block / cut.row_blocks * cut.images_per,
                         last = smaller<std::int64_t>(a.s.n, first + cut.images_per);
      const std::int64_t tiles = (last - first) * (t1 - t0) * cut.columns;
      for (std::int64_t image = first; image < last; ++image) {
        const std::int64_t tile = (image - first) * (t1 - t0) * cut.columns;
        for (std::int64_t c = 0; c < in_per; c += V::width)
          transform<6>(
              [](const V(&x)[6], V(&y)[6]) __attribute__((always_inline)) { T::data(x, y); }, data_stage(), a.x_sub,
              a.x + (image * in + c0 + c) * h * w, larger<std::int64_t>(0, smaller<std::int64_t>(V::width, nc - c)), t0,
              t1, tile, tiles, in_per, c, places, staged, data);
        for (std::int64_t o = 0; o < out_per; o += V::width)
          transform<4>(
              [](const V(&x)[4], V(&y)[6]) __attribute__((always_inline)) { T::signal(x, y); }, signal_stage(), {},
              a.y + (image * out + o0 + o) * oh * ow, larger<std::int64_t>(0, smaller<std::int64_t>(V::width, no - o)),
              t0, t1, tile, tiles, out_per, o, places, staged, signal);
      }
      for (std::int64_t place = 0; place < place_count; ++place) {
        for (std::int64_t q = 0; q < rows.count; ++q) {
          for (std::int64_t c = 0; c < in_per; c += panel_width)
            product(rows.height(q))(signal + place * padded_stride(tiles * out_per) + rows.begin(q), out_per,
                                    data + place * padded_stride(tiles * in_per) + c, in_per, tiles,
                                    sums + place * padded_stride(out_per * in_per) + rows.begin(q) * in_per + c,
                                    in_per);
        }
      }
    }
    for (std::int64_t o = 0; o < no; ++o) {
      for (std::int64_t c = 0; c < nc; c += V::width)
        store_kernels(a, sums + o * in_per + c, a.w_out + ((o0 + o) * in + c0 + c) * 9,
                      smaller<std::int64_t>(V::width, nc - c));
    }
  }

  /// Transforms tiles of N x N pixels of one image, `channels` channels, to [place][tile][channel].
  template <int N, class F>
  static void transform(F f, const PixelStage<V>& st, const Substitute& sub, const float* planes, std::int64_t channels,
                        std::int64_t t0, std::int64_t t1, std::int64_t tile, std::int64_t tiles, std::int64_t ld,
                        std::int64_t channel, std::int32_t* places, float* staged, float* to) {
    if (channels <= 0) {
      Stage::zero<V>(staged, st.size(t1 - t0) * V::width);
    } else {
      st.fill(sub, planes, channels, t0, t1, places, staged);
    }
    for (std::int64_t ty = 0; ty < t1 - t0; ++ty) {
      for (std::int64_t tx = 0; tx < st.tile_columns; ++tx, ++tile) {
        const float* const x = staged + (4 * ty * st.width() + 4 * tx) * V::width;
        float* const y = to + tile * ld + channel;
        to_places<V, N>(
            f,
            [&](auto i, auto j) __attribute__((always_inline)) { return V::load(x + (i * st.width() + j) * V::width); },
            y, padded_stride(tiles * ld));
      }
    }
  }

  using Product = void (*)(const float*, std::int64_t, const float*, std::int64_t, std::int64_t, float*, std::int64_t);
  struct Products {
    Product f[product_rows + 1] = {};
    template <int... R>
    static constexpr Products make(std::integer_sequence<int, R...>) {
      Products t;
      ((t.f[R + 1] = &multiply_outer<V, R + 1, 2>), ...);
      return t;
    }
  };
  static Product product(int height) {
    static constexpr Products table = Products::make(std::make_integer_sequence<int, product_rows>{});
    return table.f[height];
  }

  /// G^T S G for one output channel and a vector of input channels, stored as kernels of nine taps.
  void store_kernels(const Args& a, const float* sums, float* to, std::int64_t n) const {
    V g[9 + V::width];
    from_places<V, 3>(
        [](const V(&x)[6], V(&y)[3]) __attribute__((always_inline)) { T::gradient(x, y); }, sums,
        padded_stride(out_per * in_per), [&](auto i, auto j, V v) __attribute__((always_inline)) { g[i * 3 + j] = v; });
    for (std::int64_t k = 0; k < 9; k += V::width) {
      V v[V::width];
      for (std::int64_t i = 0; i < V::width; ++i) v[i] = k + i < 9 ? g[k + i] : V::zero();
      transpose_square(v);
      for (std::int64_t i = 0; i < n; ++i) store(v[i], to + i * 9 + k, a.add, Part{9 - k});
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
