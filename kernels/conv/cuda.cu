// Convolutions on a CUDA device as implicit matrix products (kernels/cuda/product.h): patches are never stored; an
// operand computes the address of a patch's element from its indices. With og, cg the channels of a group, out and in:
//
//   forward           y[oc][pixel]     = sum over (c, ky, kx)  w[oc][c,ky,kx]  x at the tap of the output pixel
//   backward data     x[c][pixel]      = sum over (oc, ky, kx) w[oc][c,ky,kx]  y at the tap of the input pixel
//   backward weights  w[oc][c,ky,kx]   = sum over pixels       y[oc][pixel]    x at the tap of the output pixel
//
// Backward data splits the input's pixels into classes by their residue modulo the stride: within a class only every
// stride-th tap can hit an output, and no other one is visited. Backward weights splits its sum over the pixels into
// parts, whose number depends on the sizes alone, and adds the parts in order. Depthwise convolutions need no product:
// one thread per element, or one block per weight.
#include "kernels/cuda/product.h"
#include "kernels/cuda/reduce.h"
#include "kernels/ways.h"

namespace vitrine::kernels::cuda {

/// One axis of the grid of pixels that a product's columns (or depth) run over, and of their taps in the source: pixel
/// i and tap t read place origin + i * pixel_step + t * tap_step, if that is in [0, source).
struct Axis {
  std::int32_t source, origin, pixel_step, tap_step;
};

/// Pixels, taps, and the source elements that they read.
struct Patches {
  const float* data = nullptr;  ///< channel 0 of the group in image 0
  std::int64_t image_stride = 0;
  std::int32_t pixels = 0;  ///< of all images
  Axis y{}, x{};
  Divider by_width, by_pixels;  ///< of the grid of pixels
  Divider by_taps, by_taps_x;   ///< taps of a channel, of a row
  Substitute sub;

  /// The place of a pixel's tap (0, 0); far outside for a pixel beyond the last.
  struct Pixel {
    const float* at;
    std::int32_t row, column;
  };
  /// A tap's offset in elements, and its row and column in the upper and lower half of a word, to save registers.
  struct Tap {
    std::int32_t offset, place;
  };
  static constexpr std::int32_t nowhere = -(1 << 30);
  __device__ Pixel pixel(int i) const {
    const std::int32_t image = by_pixels.quotient(i), rest = by_pixels.remainder(i, image), r = by_width.quotient(rest);
    const std::int32_t row = y.origin + r * y.pixel_step,
                       column = x.origin + by_width.remainder(rest, r) * x.pixel_step;
    return {data + image * image_stride + std::int64_t{row} * x.source + column, i < pixels ? row : nowhere, column};
  }
  __device__ Tap tap(int k) const {
    const std::int32_t channel = by_taps.quotient(k), rest = by_taps.remainder(k, channel),
                       r = by_taps_x.quotient(rest);
    const std::int32_t row = r * y.tap_step, column = by_taps_x.remainder(rest, r) * x.tap_step;
    return {(channel * y.source + row) * x.source + column,
            static_cast<std::int32_t>(static_cast<std::uint32_t>(row) << 16 |
                                      (static_cast<std::uint32_t>(column) & 0xffffu))};
  }
  __device__ const float* at(const Pixel& p, const Tap& t) const {
    const std::int32_t row = p.row + (t.place >> 16), column = p.column + static_cast<std::int16_t>(t.place & 0xffff);
    const bool inside = static_cast<std::uint32_t>(row) < static_cast<std::uint32_t>(y.source) &&
                        static_cast<std::uint32_t>(column) < static_cast<std::uint32_t>(x.source);
    return inside ? p.at + t.offset : nullptr;
  }
};

/// Rows are pixels, the depth runs over taps.
struct PixelsByTaps : Patches {
  static constexpr bool depth_first = false;
  using Row = Pixel;
  using Depth = Tap;
  __device__ Row row(int r) const { return pixel(r); }
  __device__ Depth depth(int k) const { return tap(k); }
};

/// Rows are taps, the depth runs over pixels.
struct TapsByPixels : Patches {
  static constexpr bool depth_first = true;
  std::int32_t taps = 0;
  using Row = Tap;
  using Depth = Pixel;
  /// A tap beyond the last is far above every pixel.
  __device__ Row row(int r) const { return r < taps ? tap(r) : Tap{0, static_cast<std::int32_t>(0x80000000u)}; }
  __device__ Depth depth(int k) const { return pixel(k); }
  __device__ const float* at(const Row& r, const Depth& k) const { return Patches::at(k, r); }
};

/// Channels of images of `pixels` places: rows are channels, the depth runs over the pixels of all images.
struct ChannelsByPixels {
  static constexpr bool depth_first = true;
  const float* data = nullptr;
  std::int64_t image_stride = 0;
  std::int32_t rows = 0;
  Divider by_pixels;
  Substitute sub;
  using Row = const float*;
  using Depth = std::int64_t;
  __device__ Row row(int r) const { return r < rows ? data + std::int64_t{r} * by_pixels.divisor() : nullptr; }
  __device__ Depth depth(int k) const {
    const std::int32_t image = by_pixels.quotient(k);
    return image * image_stride + by_pixels.remainder(k, image);
  }
  __device__ const float* at(Row r, Depth k) const { return r ? r + k : nullptr; }
};

// --- Forward.

struct ForwardPart {
  MatrixOperand<true> a_;
  PixelsByTaps b_;
  const float* bias;  ///< of the group's first channel, or null
  Substitute bias_sub;
  float* y;  ///< of the group's first channel in image 0
  std::int64_t image_stride;
  std::int32_t depth;
  bool add, relu, aligned;

  __device__ int m() const { return a_.rows; }
  __device__ int n() const { return b_.pixels; }
  __device__ int first() const { return 0; }
  __device__ int last() const { return depth; }
  __device__ const auto& a() const { return a_; }
  __device__ const auto& b() const { return b_; }

  using Column = float*;
  __device__ Column column(int c) const {
    const std::int32_t image = b_.by_pixels.quotient(c);
    return y + image * image_stride + b_.by_pixels.remainder(c, image);
  }
  __device__ float shift(int r) const { return bias ? substituted(bias_sub, bias[r]) : 0.0f; }
  __device__ void store(int r, Column column, float v) const {
    put(column[std::int64_t{r} * b_.by_pixels.divisor()], v + shift(r), add, relu);
  }
  __device__ bool vectors() const { return aligned; }
  __device__ void store4(int r, Column column, float4 v) const {
    const float s = shift(r);
    put4(column + std::int64_t{r} * b_.by_pixels.divisor(), make_float4(v.x + s, v.y + s, v.z + s, v.w + s), add, relu);
  }
};

struct ForwardProblem {
  static constexpr int large_blocks = 2;
  using A = MatrixOperand<true>;
  using B = PixelsByTaps;
  ForwardPart group;  ///< group 0
  std::int32_t max_m, max_n;
  std::int64_t channel;  ///< elements of a channel of x

  __device__ ForwardPart part(int g) const {
    ForwardPart p = group;
    p.a_.data += std::int64_t{g} * max_m * p.depth;
    p.b_.data += g * (p.depth / p.b_.by_taps.divisor()) * channel;
    p.y += std::int64_t{g} * max_m * p.b_.by_pixels.divisor();
    if (p.bias) p.bias += g * max_m;
    return p;
  }
};

// --- Backward data.

/// One axis of a class of residues: the input pixels r, r + stride, ..., and the taps first, first + step, ... that
/// read them.
struct Residue {
  std::int32_t pixels, first_tap, taps, origin;
};

/// How one axis is split into classes. Tap number t connects pixel i of class r with output origin + i - t * step.
struct ResidueAxis {
  std::int32_t in, kernel, stride, pad, dilation, step, tap_step;
  __device__ Residue of(std::int32_t r) const {
    Residue c{(in - r + stride - 1) / stride, 0, 0, 0};
    // Taps repeat with the period `step`; if none of the first ones fits, none does.
    for (std::int32_t k = 0; k < step && k < kernel; ++k) {
      const std::int32_t distance = r + pad - k * dilation;
      if (distance % stride != 0) continue;
      c.first_tap = k;
      c.taps = (kernel - k + step - 1) / step;
      c.origin = distance / stride;
      break;
    }
    return c;
  }
};

/// Weights as backward data reads them: rows are input channels, the depth runs over output channels and a class's
/// taps.
struct WeightsByTaps {
  static constexpr bool depth_first = true;
  const float* data;            ///< of the group's first output channel, at the class's first tap
  std::int32_t rows, taps;      ///< taps: of a whole kernel
  std::int64_t out_stride;      ///< elements of an output channel
  std::int32_t step_y, step_x;  ///< elements from one tap of the class to the next
  Divider by_taps, by_taps_x;
  Substitute sub;
  using Row = const float*;
  using Depth = std::int64_t;
  __device__ Row row(int r) const { return r < rows ? data + std::int64_t{r} * taps : nullptr; }
  __device__ Depth depth(int k) const {
    const std::int32_t o = by_taps.quotient(k), rest = by_taps.remainder(k, o), row = by_taps_x.quotient(rest);
    return o * out_stride + row * step_y + by_taps_x.remainder(rest, row) * step_x;
  }
  __device__ const float* at(Row r, Depth k) const { return r ? r + k : nullptr; }
};

struct DataPart {
  WeightsByTaps a_;
  PixelsByTaps b_;
  float* x;  ///< of the group's first channel in image 0, at the class's first pixel
  std::int64_t image_stride, channel_stride;
  std::int32_t depth, row_step, column_step;
  bool add, aligned;

  __device__ int m() const { return a_.rows; }
  __device__ int n() const { return b_.pixels; }
  __device__ int first() const { return 0; }
  __device__ int last() const { return depth; }
  __device__ const auto& a() const { return a_; }
  __device__ const auto& b() const { return b_; }

  using Column = float*;
  __device__ Column column(int c) const {
    const std::int32_t image = b_.by_pixels.quotient(c), rest = b_.by_pixels.remainder(c, image),
                       row = b_.by_width.quotient(rest);
    return x + image * image_stride + std::int64_t{row} * row_step + b_.by_width.remainder(rest, row) * column_step;
  }
  __device__ void store(int r, Column column, float v) const { put(column[r * channel_stride], v, add); }
  __device__ bool vectors() const { return aligned; }
  __device__ void store4(int r, Column column, float4 v) const { put4(column + r * channel_stride, v, add); }
};

struct DataProblem {
  static constexpr int large_blocks = 1;
  using A = WeightsByTaps;
  using B = PixelsByTaps;
  std::int32_t max_m, max_n, images, outputs;  ///< channels of a group in and out
  ResidueAxis y, x;
  // Divisors for classes with the larger and the smaller number of pixels, and of taps.
  Divider wide[2], tall[2][2], taps_x[2], taps[2][2];
  const float *w, *dy;
  Substitute w_sub;
  float* dx;
  std::int32_t oh, ow, channels_in, channels_out;
  bool add, aligned;

  __device__ DataPart part(int z) const {
    const std::int32_t rx = z % x.stride, ry = z / x.stride % y.stride, g = z / x.stride / y.stride;
    Residue cy = y.of(ry), cx = x.of(rx);
    if (ry >= y.in) cy.pixels = 0;
    if (rx >= x.in) cx.pixels = 0;
    // Whether the class has the larger or the smaller number of pixels and taps; without taps its depth is 0.
    const int fy = cy.pixels == (y.in + y.stride - 1) / y.stride ? 0 : 1,
              fx = cx.pixels == (x.in + x.stride - 1) / x.stride ? 0 : 1;
    const int ty = cy.taps == (y.kernel + y.step - 1) / y.step ? 0 : 1,
              tx = cx.taps == (x.kernel + x.step - 1) / x.step ? 0 : 1;
    const std::int64_t in_pixels = std::int64_t{y.in} * x.in, out_pixels = std::int64_t{oh} * ow;
    DataPart p;
    p.depth = outputs * cy.taps * cx.taps;
    p.a_.rows = max_m;
    p.a_.taps = y.kernel * x.kernel;
    p.a_.out_stride = std::int64_t{max_m} * p.a_.taps;
    p.a_.data = w + std::int64_t{g} * outputs * p.a_.out_stride + cy.first_tap * x.kernel + cx.first_tap;
    p.a_.step_y = y.step * x.kernel;
    p.a_.step_x = x.step;
    p.a_.by_taps = taps[ty][tx];
    p.a_.by_taps_x = taps_x[tx];
    p.a_.sub = w_sub;
    p.b_.data = dy + std::int64_t{g} * outputs * out_pixels;
    p.b_.image_stride = channels_out * out_pixels;
    p.b_.pixels = images * cy.pixels * cx.pixels;
    p.b_.y = {oh, cy.origin, 1, -y.tap_step};
    p.b_.x = {ow, cx.origin, 1, -x.tap_step};
    p.b_.by_width = wide[fx];
    p.b_.by_pixels = tall[fy][fx];
    p.b_.by_taps = taps[ty][tx];
    p.b_.by_taps_x = taps_x[tx];
    p.x = dx + std::int64_t{g} * max_m * in_pixels + std::int64_t{ry} * x.in + rx;
    p.image_stride = channels_in * in_pixels;
    p.channel_stride = in_pixels;
    p.row_step = y.stride * x.in;
    p.column_step = x.stride;
    p.add = add;
    p.aligned = aligned;
    return p;
  }
};

// --- Backward weights.

struct WeightsPart {
  ChannelsByPixels a_;
  TapsByPixels b_;
  float* w;  ///< of the group's first output channel, in this part's copy
  std::int32_t first_pixel, last_pixel;
  bool add, aligned;

  __device__ int m() const { return a_.rows; }
  __device__ int n() const { return b_.taps; }
  __device__ int first() const { return first_pixel; }
  __device__ int last() const { return last_pixel; }
  __device__ const auto& a() const { return a_; }
  __device__ const auto& b() const { return b_; }

  using Column = int;
  __device__ Column column(int c) const { return c; }
  __device__ void store(int r, Column column, float v) const { put(w[std::int64_t{r} * b_.taps + column], v, add); }
  __device__ bool vectors() const { return aligned; }
  __device__ void store4(int r, Column column, float4 v) const { put4(w + std::int64_t{r} * b_.taps + column, v, add); }
};

struct WeightsProblem {
  static constexpr int large_blocks = 1;
  using A = ChannelsByPixels;
  using B = TapsByPixels;
  WeightsPart group;                         ///< group 0, part 0
  std::int32_t max_m, max_n, splits, chunk;  ///< chunk: pixels of a part
  std::int64_t channel;                      ///< elements of a channel of x
  std::int64_t copy;                         ///< elements from one part's copy of the weights to the next

  __device__ WeightsPart part(int z) const {
    const std::int32_t split = z % splits, g = z / splits;
    WeightsPart p = group;
    p.a_.data += std::int64_t{g} * max_m * p.a_.by_pixels.divisor();
    p.b_.data += g * (max_n / p.b_.by_taps.divisor()) * channel;
    p.w += std::int64_t{g} * max_m * max_n + split * copy;
    p.first_pixel = split * chunk;
    p.last_pixel = p.first_pixel + chunk < p.last_pixel ? p.first_pixel + chunk : p.last_pixel;
    return p;
  }
};

/// Adds the parts of backward weights, in order.
struct AddParts {
  const float* parts;
  std::int64_t size;
  int splits;
  float* w;
  bool add;
  __device__ void operator()(std::int64_t i) const {
    float sum = 0;
    for (int s = 0; s < splits; ++s) sum += parts[s * size + i];
    put(w[i], sum, add);
  }
};

// --- Depthwise: one input channel per group.

struct DepthwiseForward {
  ConvArgs<float> a;
  PlaneIndex index;
  __device__ void operator()(std::int64_t i) const {
    const ConvShape& s = a.s;
    const auto at = index(i);
    const std::int64_t image = at.plane / s.oc;
    const auto o = static_cast<std::int32_t>(at.plane - image * s.oc);
    const float* const x = a.x + (image * s.c + o / (s.oc / s.groups)) * s.h * s.w;
    const float* const w = a.w + std::int64_t{o} * s.kh * s.kw;
    float sum = 0;
    for (std::int32_t ky = 0; ky < s.kh; ++ky) {
      const std::int32_t iy = at.row * s.stride_h + ky * s.dilation_h - s.pad_top;
      for (std::int32_t kx = 0; kx < s.kw; ++kx) {
        const std::int32_t ix = at.column * s.stride_w + kx * s.dilation_w - s.pad_left;
        const bool inside = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w;
        sum = fmaf(inside ? substituted(a.x_sub, x[std::int64_t{iy} * s.w + ix]) : 0.0f,
                   substituted(a.w_sub, w[ky * s.kw + kx]), sum);
      }
    }
    put(a.y_out[i], sum + (a.bias ? substituted(a.bias_sub, a.bias[o]) : 0.0f), a.add, a.relu);
  }
};

struct DepthwiseData {
  ConvArgs<float> a;
  PlaneIndex index;
  __device__ void operator()(std::int64_t i) const {
    const ConvShape& s = a.s;
    const auto at = index(i);
    const std::int64_t image = at.plane / s.c;
    const auto c = static_cast<std::int32_t>(at.plane - image * s.c);
    const std::int32_t outputs = s.oc / s.groups;
    float sum = 0;
    for (std::int32_t o = c * outputs; o < (c + 1) * outputs; ++o) {
      const float* const y = a.y + (image * s.oc + o) * s.oh * s.ow;
      const float* const w = a.w + std::int64_t{o} * s.kh * s.kw;
      for (std::int32_t ky = 0; ky < s.kh; ++ky) {
        const std::int32_t v = at.row + s.pad_top - ky * s.dilation_h, oy = v / s.stride_h;
        if (v < 0 || oy * s.stride_h != v || oy >= s.oh) continue;
        for (std::int32_t kx = 0; kx < s.kw; ++kx) {
          const std::int32_t u = at.column + s.pad_left - kx * s.dilation_w, ox = u / s.stride_w;
          if (u < 0 || ox * s.stride_w != u || ox >= s.ow) continue;
          sum = fmaf(y[std::int64_t{oy} * s.ow + ox], substituted(a.w_sub, w[ky * s.kw + kx]), sum);
        }
      }
    }
    put(a.x_out[i], sum, a.add);
  }
};

/// One block per weight: blockIdx.x = (output channel * kh + ky) * kw + kx.
__global__ void __launch_bounds__(reduce_block) depthwise_weights_kernel(ConvArgs<float> a, PlaneIndex index) {
  const ConvShape& s = a.s;
  const auto kx = static_cast<std::int32_t>(blockIdx.x) % s.kw,
             ky = static_cast<std::int32_t>(blockIdx.x) / s.kw % s.kh,
             o = static_cast<std::int32_t>(blockIdx.x) / s.kw / s.kh;
  const std::int64_t count = std::int64_t{s.n} * s.oh * s.ow;
  float sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += reduce_block) {
    const auto at = index(i);
    const std::int32_t iy = at.row * s.stride_h + ky * s.dilation_h - s.pad_top,
                       ix = at.column * s.stride_w + kx * s.dilation_w - s.pad_left;
    const bool inside = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w;
    const float x =
        inside ? substituted(a.x_sub, a.x[((at.plane * s.c + o / (s.oc / s.groups)) * s.h + iy) * s.w + ix]) : 0.0f;
    sum = fmaf(x, a.y[((at.plane * s.oc + o) * s.oh + at.row) * s.ow + at.column], sum);
  }
  sum = block_reduce<reduce_block>(sum, Sum());
  if (threadIdx.x == 0) put(a.w_out[blockIdx.x], sum, a.add);
}

namespace {

constexpr std::int64_t max_index = std::int64_t{1} << 30;

std::int64_t weights_of(const ConvShape& s) { return std::int64_t{s.oc} * (s.c / s.groups) * s.kh * s.kw; }
bool depthwise(const ConvShape& s) { return s.groups > 1 && s.c == s.groups; }

/// Calls f(args) for batches of images that have fewer than 2^30 pixels, with pointers moved along.
template <class F>
void by_images(const ConvArgs<float>& args, F f) noexcept {
  const ConvShape& s = args.s;
  const std::int64_t in = std::int64_t{s.h} * s.w, out = std::int64_t{s.oh} * s.ow, larger = in > out ? in : out;
  if (larger * (s.c > s.oc ? s.c : s.oc) > max_index)
    return fail("an image of a convolution has more than 2^30 elements");
  // Rows and columns of taps are kept in 16 bits, and one row value means none.
  const auto far = [](std::int32_t size, std::int32_t pad, std::int32_t kernel, std::int32_t dilation) {
    return size + pad > 32000 || std::int64_t{kernel} * dilation > 32000;
  };
  if (far(s.h, s.pad_top, s.kh, s.dilation_h) || far(s.w, s.pad_left, s.kw, s.dilation_w))
    return fail("a convolution's image or kernel is longer than 32000");
  const std::int64_t most = larger > 0 ? max_index / larger : max_index;
  for (std::int64_t first = 0; first < s.n; first += most) {
    ConvArgs<float> a = args;
    a.s.n = static_cast<std::int32_t>(s.n - first < most ? s.n - first : most);
    const std::int64_t x = first * s.c * in, y = first * s.oc * out;
    if (a.x) a.x += x;
    if (a.y) a.y += y;
    if (a.x_out) a.x_out += x;
    if (a.y_out) a.y_out += y;
    f(a, first == 0);
  }
}

/// Output pixels and their taps in the input.
void set_patches(Patches& p, const ConvArgs<float>& a) {
  const ConvShape& s = a.s;
  p.data = a.x;
  p.image_stride = std::int64_t{s.c} * s.h * s.w;
  p.pixels = s.n * s.oh * s.ow;
  p.y = {s.h, -s.pad_top, s.stride_h, s.dilation_h};
  p.x = {s.w, -s.pad_left, s.stride_w, s.dilation_w};
  p.by_width = Divider(s.ow);
  p.by_pixels = Divider(s.oh * s.ow);
  p.by_taps = Divider(s.kh * s.kw);
  p.by_taps_x = Divider(s.kw);
  p.sub = a.x_sub;
}

void forward(const ConvArgs<float>& a, Math math) noexcept {
  const ConvShape& s = a.s;
  const std::int64_t pixels = std::int64_t{s.oh} * s.ow;
  ForwardProblem p;
  p.max_m = s.oc / s.groups;
  p.max_n = static_cast<std::int32_t>(s.n * pixels);
  p.channel = std::int64_t{s.h} * s.w;
  p.group.depth = s.c / s.groups * s.kh * s.kw;
  p.group.a_ = {a.w, p.group.depth, 1, p.max_m, a.w_sub};
  set_patches(p.group.b_, a);
  p.group.bias = a.bias;
  p.group.bias_sub = a.bias_sub;
  p.group.y = a.y_out;
  p.group.image_stride = s.oc * pixels;
  p.group.add = a.add;
  p.group.relu = a.relu;
  p.group.aligned = pixels % 4 == 0 && reinterpret_cast<std::uintptr_t>(a.y_out) % 16 == 0;
  launch_product(p, s.groups, a.x_sub.raw() && a.w_sub.raw(), math);
}

ResidueAxis residues(std::int32_t in, std::int32_t kernel, std::int32_t stride, std::int32_t pad,
                     std::int32_t dilation) {
  std::int32_t common = stride, rest = dilation;
  while (rest) {
    const std::int32_t next = common % rest;
    common = rest;
    rest = next;
  }
  return {in, kernel, stride, pad, dilation, stride / common, dilation / common};
}

void backward_data(const ConvArgs<float>& a, Math math) noexcept {
  const ConvShape& s = a.s;
  DataProblem p;
  p.y = residues(s.h, s.kh, s.stride_h, s.pad_top, s.dilation_h);
  p.x = residues(s.w, s.kw, s.stride_w, s.pad_left, s.dilation_w);
  p.max_m = s.c / s.groups;
  p.outputs = s.oc / s.groups;
  p.images = s.n;
  // The larger number first, then the smaller one; if that is 0, nothing is divided by it.
  const auto divider = [](std::int32_t n) { return Divider(n > 0 ? n : 1); };
  const auto more = [](std::int32_t n, std::int32_t parts) { return (n + parts - 1) / parts; };
  const std::int32_t tall[2] = {more(s.h, s.stride_h), s.h / s.stride_h},
                     wide[2] = {more(s.w, s.stride_w), s.w / s.stride_w};
  const std::int32_t taps_y[2] = {more(s.kh, p.y.step), s.kh / p.y.step},
                     taps_x[2] = {more(s.kw, p.x.step), s.kw / p.x.step};
  p.max_n = s.n * tall[0] * wide[0];
  for (int i = 0; i < 2; ++i) {
    p.wide[i] = divider(wide[i]);
    p.taps_x[i] = divider(taps_x[i]);
    for (int j = 0; j < 2; ++j) {
      p.tall[i][j] = divider(tall[i] * wide[j]);
      p.taps[i][j] = divider(taps_y[i] * taps_x[j]);
    }
  }
  p.w = a.w;
  p.dy = a.y;
  p.w_sub = a.w_sub;
  p.dx = a.x_out;
  p.oh = s.oh;
  p.ow = s.ow;
  p.channels_in = s.c;
  p.channels_out = s.oc;
  p.add = a.add;
  p.aligned =
      s.stride_h == 1 && s.stride_w == 1 && s.h * s.w % 4 == 0 && reinterpret_cast<std::uintptr_t>(a.x_out) % 16 == 0;
  launch_product(p, s.groups * s.stride_h * s.stride_w, a.w_sub.raw(), math);
}

/// How many parts the sum of backward weights has, and pixels per part: enough blocks for a large chip, but no part so
/// short that its copy of the weights costs more than its sum.
struct Split {
  int parts, chunk;
};
Split weights_split(const ConvShape& s) noexcept {
  const std::int64_t pixels = std::int64_t{s.n} * s.oh * s.ow, og = s.oc / s.groups,
                     taps = std::int64_t{s.c / s.groups} * s.kh * s.kw;
  const std::int64_t tiles = (og + 63) / 64 * ((taps + 63) / 64) * s.groups, wanted = (264 + tiles - 1) / tiles,
                     most = (pixels + 511) / 512;
  const std::int64_t parts = wanted < most ? wanted : most > 0 ? most : 1;
  // A multiple of every slice's depth.
  const std::int64_t chunk = ((pixels + parts - 1) / parts + 31) / 32 * 32;
  return {static_cast<int>(chunk > 0 ? (pixels + chunk - 1) / chunk : 1), static_cast<int>(chunk)};
}

void backward_weights(const ConvArgs<float>& a, float* parts, Math math) noexcept {
  const ConvShape& s = a.s;
  const Split split = weights_split(s);
  const std::int64_t pixels = std::int64_t{s.oh} * s.ow, size = weights_of(s);
  WeightsProblem p;
  p.max_m = s.oc / s.groups;
  p.max_n = s.c / s.groups * s.kh * s.kw;
  p.splits = split.parts;
  p.chunk = split.chunk;
  p.channel = std::int64_t{s.h} * s.w;
  p.copy = size;
  p.group.a_.data = a.y;
  p.group.a_.image_stride = s.oc * pixels;
  p.group.a_.rows = p.max_m;
  p.group.a_.by_pixels = Divider(static_cast<std::int32_t>(pixels));
  set_patches(p.group.b_, a);
  p.group.b_.taps = p.max_n;
  p.group.first_pixel = 0;
  p.group.last_pixel = p.group.b_.pixels;
  p.group.w = split.parts > 1 ? parts : a.w_out;
  p.group.add = split.parts > 1 ? false : a.add;
  p.group.aligned = p.max_n % 4 == 0 && reinterpret_cast<std::uintptr_t>(p.group.w) % 16 == 0;
  launch_product(p, s.groups * split.parts, a.x_sub.raw(), math);
  if (split.parts > 1) for_each(size, AddParts{parts, size, split.parts, a.w_out, a.add});
}

Work plan(const ConvArgs<float>&) noexcept { return {1, 0, 0}; }
Work weights_plan(const ConvArgs<float>& a) noexcept {
  const int parts = weights_split(a.s).parts;
  return {1, 0,
          parts > 1 ? static_cast<std::size_t>(weights_of(a.s)) * static_cast<std::size_t>(parts) * sizeof(float) : 0};
}
void pack(const ConvArgs<float>&, std::byte*, std::int64_t) noexcept {}

// Depthwise convolutions: a thread per result.

const char* refuses_other_than_depthwise(const ConvArgs<float>& a) noexcept {
  return depthwise(a.s) ? nullptr : "the convolution is not depthwise";
}
const char* takes_all(const ConvArgs<float>&) noexcept { return nullptr; }

void depthwise_forward(const ConvArgs<float>& a, const std::byte*, std::byte*, std::int64_t) noexcept {
  by_images(a, [](const ConvArgs<float>& part, bool) {
    const ConvShape& s = part.s;
    const std::int64_t planes = std::int64_t{s.n} * s.oc;
    for_each(planes * s.oh * s.ow, DepthwiseForward{part, PlaneIndex(planes, s.oh, s.ow)});
  });
}
void depthwise_data(const ConvArgs<float>& a, const std::byte*, std::byte*, std::int64_t) noexcept {
  by_images(a, [](const ConvArgs<float>& part, bool) {
    const ConvShape& s = part.s;
    const std::int64_t planes = std::int64_t{s.n} * s.c;
    for_each(planes * s.h * s.w, DepthwiseData{part, PlaneIndex(planes, s.h, s.w)});
  });
}
void depthwise_weights(const ConvArgs<float>& a, const std::byte*, std::byte*, std::int64_t) noexcept {
  by_images(a, [](const ConvArgs<float>& part, bool first) {
    ConvArgs<float> p = part;
    if (!first) p.add = true;
    const ConvShape& s = p.s;
    launch(depthwise_weights_kernel, static_cast<unsigned>(s.oc * s.kh * s.kw), reduce_block, 0, p,
           PlaneIndex(s.n, s.oh, s.ow));
  });
}

template <Math math>
struct Products {
  static void forward(const ConvArgs<float>& a, const std::byte*, std::byte*, std::int64_t) noexcept {
    by_images(a, [](const ConvArgs<float>& part, bool) { cuda::forward(part, math); });
  }
  static void data(const ConvArgs<float>& a, const std::byte*, std::byte*, std::int64_t) noexcept {
    by_images(a, [](const ConvArgs<float>& part, bool) { backward_data(part, math); });
  }
  static void weights(const ConvArgs<float>& a, const std::byte*, std::byte* scratch, std::int64_t) noexcept {
    by_images(a, [scratch](const ConvArgs<float>& part, bool first) {
      ConvArgs<float> p = part;
      if (!first) p.add = true;
      backward_weights(p, reinterpret_cast<float*>(scratch), math);
    });
  }
};

// The ways of the three passes (kernels/ways.h).
template <Math math>
struct Forward {
  static constexpr const char* kernel = "conv_forward";
  static constexpr Way<ConvArgs<float>> ways[2] = {
      {"depthwise", &refuses_other_than_depthwise, {&plan, &pack, &depthwise_forward}},
      {"implicit matrix product", &takes_all, {&plan, &pack, &Products<math>::forward}},
  };
};
template <Math math>
struct BackwardData {
  static constexpr const char* kernel = "conv_backward_data";
  static constexpr Way<ConvArgs<float>> ways[2] = {
      {"depthwise", &refuses_other_than_depthwise, {&plan, &pack, &depthwise_data}},
      {"implicit matrix product", &takes_all, {&plan, &pack, &Products<math>::data}},
  };
};
template <Math math>
struct BackwardWeights {
  static constexpr const char* kernel = "conv_backward_weights";
  static constexpr Way<ConvArgs<float>> ways[2] = {
      {"depthwise", &refuses_other_than_depthwise, {&plan, &pack, &depthwise_weights}},
      {"implicit matrix product", &takes_all, {&weights_plan, &pack, &Products<math>::weights}},
  };
};

template <Math math>
void fill(Table<float>& t) noexcept {
  t.conv_forward = conv_by_ways<Forward<math>>();
  t.conv_backward_data = conv_by_ways<BackwardData<math>>();
  t.conv_backward_weights = conv_by_ways<BackwardWeights<math>>();
}

}  // namespace

void fill_conv(Table<float>& t, Math math) noexcept {
  math == Math::fma ? fill<Math::fma>(t) : math == Math::tf32 ? fill<Math::tf32>(t) : fill<Math::bf16>(t);
}

}  // namespace vitrine::kernels::cuda
