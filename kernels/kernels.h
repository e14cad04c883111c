// The kernel table: every loop over memory that Vitrine runs, as one struct of function pointers.
//
// Kernels know pointers and sizes only: no tensors, no graph, no heap, no exceptions, no threads. There is one table
// per instruction set; each is filled narrow to wide (reference, AVX2, AVX-512), so a slot without a fast version keeps
// the reference. The slots are listed once, in VITRINE_KERNEL_SLOTS: the table, the self-check (tests/kernels) and the
// benchmarks all iterate that list, so a slot that nobody checks cannot exist.
//
// Conventions, for every slot:
//  - Arrays are dense and row-major; images are NCHW. Sizes are in elements unless a name says bytes.
//  - No pointer needs more alignment than its element type. Inputs and outputs must not overlap unless a slot says so.
//  - `add == false` overwrites the output (its old content, NaN included, is never read); `add == true` accumulates.
//  - Nothing outside the given extents is read or written.
//  - The order of additions into one output element does not depend on how the caller cuts the work into tiles, rows or
//    ranges, so results do not depend on the number of threads.
//  - In the table of a device (kernels/device.h) pointers to data are the device's. What a comment marks `host` is in
//  host memory in every table: small arrays of labels, and results that the host reads. Slots that give such results
//  wait
//    for them. A tiled slot of a device has one tile, which starts the work and does not wait for it; its scratch
//    memory is the device's, and must not be reused before the device has passed that work (within one stream the next
//    slot may reuse it).
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace vitrine {

/// The scalar of every tensor. Tests build the library a second time with VITRINE_REAL=double, where only the reference
/// kernels exist, to hold gradients and laws to double precision.
#ifndef VITRINE_REAL
#define VITRINE_REAL float
#endif
using real = VITRINE_REAL;

/// A map applied to each element of an operand while it is read: how LRP rules substitute weights and inputs without
/// ever copying or mutating them. `signs` covers raw (1,1), positive part (1,0), negative part (0,1), |v| (1,-1) and
/// the gamma rule's w + g*w+ (1+g,1).
struct Substitute {
  enum Kind : std::uint8_t { signs, square, one };
  float p = 1;        ///< factor of max(v,0)
  float n = 1;        ///< factor of min(v,0)
  Kind kind = signs;  ///< square: v*v; one: 1 (padding stays 0 under every kind); p and n are then ignored
  constexpr bool raw() const noexcept { return kind == signs && p == 1 && n == 1; }
  constexpr bool zero() const noexcept { return kind == signs && p == 0 && n == 0; }
  friend constexpr bool operator==(const Substitute&, const Substitute&) = default;
};

namespace kernels {

/// What a tiled kernel needs. Tiles may run in any order, on any thread; two tiles never write the same element.
struct Work {
  std::int64_t tiles = 0;
  std::size_t shared_bytes = 0;   ///< written once by `pack`, read by every tile (packed weights)
  std::size_t scratch_bytes = 0;  ///< one block per tile that runs at the same time
  std::int64_t parts = 1;         ///< into which the work of `pack` is cut; any order, any thread
};

/// Which way (algorithm) a kernel takes for a call, and why the earlier ones of its list refused.
struct Choice {
  static constexpr int max_passed = 8;
  struct Refusal {
    const char* way;
    const char* reason;
  };
  const char* kernel = "";  ///< the slot's name
  const char* way = "";
  int passed = 0;  ///< number of `refusals`
  Refusal refusals[max_passed] = {};
};

/// Shape of a 2-D convolution (cross-correlation). Input n x c x h x w, weights oc x c/groups x kh x kw, output
/// n x oc x oh x ow. Padding at the bottom and right follows from oh and ow.
struct ConvShape {
  std::int32_t n = 1, c = 1, h = 1, w = 1;
  std::int32_t oc = 1, kh = 1, kw = 1, oh = 1, ow = 1;
  std::int32_t stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, dilation_h = 1, dilation_w = 1, groups = 1;
  friend constexpr bool operator==(const ConvShape&, const ConvShape&) = default;
};

/// What packed weights were made from: two calls of one kernel with equal keys (and equally many shared bytes) can
/// share them. The stride and the padding belong to it, since weights may be shared by different convolutions.
struct PackKey {
  const void* weights = nullptr;
  Substitute sub;
  ConvShape shape;  ///< with n = 1
  bool exact = false;
  friend constexpr bool operator==(const PackKey&, const PackKey&) = default;
};

/// A kernel large enough to be cut into tiles. Call `plan`, provide memory aligned to 64 bytes, call `pack` for each of
/// its parts if there is shared memory, then `tile` for 0 <= index < tiles. `plan`, `key` and `choice` look only at
/// sizes and flags, never at data, so plans can be made beforehand.
template <class Args>
struct Tiled {
  Work (*plan)(const Args&) noexcept = nullptr;
  void (*pack)(const Args&, std::byte* shared, std::int64_t part) noexcept = nullptr;
  void (*tile)(const Args&, const std::byte* shared, std::byte* scratch, std::int64_t index) noexcept = nullptr;
  PackKey (*key)(const Args&) noexcept = nullptr;    ///< null: what `pack` makes is not kept from call to call
  Choice (*choice)(const Args&) noexcept = nullptr;  ///< null: there is only one way
};

/// C (+)= sub(op(A)) sub(op(B)) + sub(bias): A is m x k, B is k x n, C is m x n after op (op = transpose if the flag is
/// set). lda, ldb, ldc are row strides of the matrices as stored. bias (n values, one per column) may be null.
template <class T>
struct GemmArgs {
  std::int64_t m = 0, n = 0, k = 0;
  const T* a = nullptr;
  std::int64_t lda = 0;
  bool a_transposed = false;
  Substitute a_sub;
  const T* b = nullptr;
  std::int64_t ldb = 0;
  bool b_transposed = false;
  Substitute b_sub;
  const T* bias = nullptr;
  Substitute bias_sub;
  T* c = nullptr;
  std::int64_t ldc = 0;
  bool add = false;
};

/// The outputs that a group of an LRP table explains: all, or those with z > 0 or z < 0 (generalised gamma).
enum class Sign : std::uint8_t { any, positive, negative };

/// The result equals factor*whole - part up to rounding; all three arrays have its shape. Only elements with needed !=
/// 0 and a `whole` of this sign must be right: where the difference cancels, they are summed directly. `part` may be
/// the result's own memory. If the result takes several calls (the sum of two convolutions: ConvArgs::add), `whole` and
/// `part` describe the complete result, each call adds its own direct sums, and `part` must be separate memory.
template <class T>
struct KnownDifference {
  const T *whole = nullptr, *part = nullptr, *needed = nullptr;
  T factor = 1;
  Sign sign = Sign::any;
};

/// One set of arguments for the three convolution kernels; `x`, `w`, `y` are data or signals by role:
///  forward           y (+)= conv(sub(x), sub(w)) + sub(bias)       reads x, w, bias, writes y
///  backward_data     x (+)= conv^T(y, sub(w))                      reads y, w, writes x (through x_out)
///  backward_weights  w (+)= sum over images of sub(x) (*) y        reads x, y, writes w (through w_out)
template <class T>
struct ConvArgs {
  ConvShape s;
  const T* x = nullptr;
  Substitute x_sub;
  const T* w = nullptr;
  Substitute w_sub;
  const T* bias = nullptr;
  Substitute bias_sub;  ///< oc values, or null
  const T* y = nullptr;
  T* x_out = nullptr;
  T* w_out = nullptr;
  T* y_out = nullptr;
  bool add = false;
  /// Forbids Winograd's filtering, whose error is relative to the largest outputs nearby and where one infinity
  /// contaminates its tile. The direct sum's error is relative to each output's own terms. Set it if the result will be
  /// a divisor.
  bool exact = false;
  bool kept = false;  ///< what `pack` makes is kept for further runs with the same weights
  /// forward: the result may be taken from this difference where its digits suffice.
  KnownDifference<T> known{};
  bool relu = false;  ///< forward: the final sum (with `add`, too) is cut at 0; NaN stays
  /// x (x_out), y (y_out) are stored interleaved, (n/lanes, channel, pixel, lane); allowed if Table::takes_interleaved.
  bool x_interleaved = false, y_interleaved = false;
};

/// A 2-D pool over `planes` planes (images times channels) of h x w. Window (i,j) starts at i*stride - pad and is cut
/// at the borders; with `adaptive`, window i covers floor(i*h/oh) .. ceil((i+1)*h/oh) and stride, kernel, pad are
/// ignored.
struct PoolShape {
  std::int64_t planes = 1;
  std::int32_t h = 1, w = 1, oh = 1, ow = 1;
  std::int32_t kh = 1, kw = 1, stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, dilation_h = 1, dilation_w = 1;
  bool adaptive = false;
  bool count_padding = true;  ///< average pools: divide by kh*kw also at the borders (positions beyond pad excluded)
  std::int32_t pad_bottom = 0, pad_right = 0;  ///< declared padding; what ceil mode reads beyond it never counts
  /// max_pool_forward, max_pool_ties, max_pool_scatter: how many images x, y and switches interleave (Table::lanes; 1:
  /// planar). A plane is then that many planes.
  std::int32_t block = 1;
};

/// The winner of a max-pool window: kh_index * kw + kw_index. Ties go to the first; NaN wins over everything.
using Switch = std::uint16_t;

/// Equal windows of a convolution's input give results that differ in their last bits: kernels sum in different orders.
/// Two places of a pool's window tie if they agree in every channel to within this part of the image's largest pooled
/// magnitude. All channels of two places that differ hardly ever agree so closely; a single channel often does.
inline constexpr float tie_tolerance = 0x1p-16f;

/// Elementwise functions y = f(x), with parameters a and b where a function has some. At kinks the derivative is the
/// one that PyTorch takes: 0 for relu and clip, the left one for hard_swish.
enum class Map : std::uint8_t {
  relu,
  leaky_relu,  ///< x, or a*x where x < 0
  tanh,
  sigmoid,
  clip,          ///< min(max(x, a), b)
  elu,           ///< x, or a*(e^x - 1) where x < 0
  gelu,          ///< x * (1 + erf(x/sqrt 2)) / 2
  gelu_tanh,     ///< x * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
  silu,          ///< x * sigmoid(x)
  hard_sigmoid,  ///< clip(a*x + b, 0, 1)
  hard_swish,    ///< x * clip(x/6 + 1/2, 0, 1)
  softplus,      ///< log(1 + e^x)
  softsign,      ///< x / (1 + |x|)
  threshold,     ///< x, or 0 where x <= a
  abs,           ///< |x|; its derivative at 0 is 0
  exp,           ///< e^x; from here on slopes have no bound
  log,           ///< the natural logarithm: NaN below 0
  power,         ///< x^a: NaN below 0 unless a is a whole number
  count_
};
struct MapParameters {
  float a = 0, b = 0;
};

/// How a signal passes a rectifier backward (Springenberg et al. 2015, fig. 1; interp/rules/README.md, section 4).
enum class Rectify : std::uint8_t {
  deconvnet,  ///< s+ : by the sign of the signal
  guided,     ///< s+ where x > 0 : by both
};

/// A 4-D block copy with any strides (in elements): dst[i] (+)= src[i]. Serves concat, pad, slice, transpose.
template <class T>
struct CopyArgs {
  std::int64_t size[4] = {1, 1, 1, 1};
  const T* src = nullptr;
  std::int64_t src_stride[4] = {};
  T* dst = nullptr;
  std::int64_t dst_stride[4] = {};
  bool add = false;
};

/// y (+)= scale[c] * sub(x) + shift[c] over `planes` planes (image times channel) of `pixels` elements, from plane
/// `first` on: c = plane % channels. Pointers are to plane 0. Null: x 0, scale 1,
/// shift 0.
template <class T>
struct ChannelAffineArgs {
  std::int64_t first = 0, planes = 0, channels = 1, pixels = 1;
  const T* x = nullptr;
  Substitute x_sub;
  const T* scale = nullptr;
  const T* shift = nullptr;
  T* y = nullptr;
  bool add = false;
};

/// Batch normalisation of channels [first, last): y = gamma (x - mean) / sqrt(var + eps) + beta [Ioffe & Szegedy 2015].
/// Forward: mean and variance are the batch's; mean and inv_std = 1/sqrt(var + eps) are written for the backward pass,
/// and running += momentum * (batch's - running), the running variance from the unbiased one (that of one element: its
/// own). Backward: dx, dgamma, dbeta (each may be null) from x, dy, mean and inv_std.
template <class T>
struct BatchNormArgs {
  std::int64_t images = 1, channels = 1, pixels = 1, first = 0, last = 1;
  float eps = 1e-5f, momentum = 0.1f;
  const T* x = nullptr;
  const T* gamma = nullptr;
  const T* beta = nullptr;
  T* mean = nullptr;
  T* inv_std = nullptr;
  T* running_mean = nullptr;
  T* running_var = nullptr;
  T* y = nullptr;
  const T* dy = nullptr;
  T* dx = nullptr;
  T* dgamma = nullptr;
  T* dbeta = nullptr;
  bool add_dx = false, add_dgamma = false, add_dbeta = false;
  bool constant = false;        ///< backward: mean and inv_std did not come from this batch, so they are constants
  const T* residual = nullptr;  ///< forward: added to the normalised values (it may be y); null: nothing
  bool relu = false;            ///< forward: then y is cut at 0; NaN stays
};

/// Local response normalisation across channels [Krizhevsky et al. 2012, section 3.3; ONNX LRN]: y_c = x_c v_c with v_c
/// = q_c^-beta, q_c = bias + alpha/size * sum of x^2 over channels c - floor((size-1)/2) .. c + ceil((size-1)/2).
/// Backward: the multipliers of a difference between two runs, x and x0: the product is split in halves, v goes by
/// dv/dq, squares by x + x0 (DeepLIFT: interp/rules/README.md, section 3.1). With x0 = x it is the gradient.
template <class T>
struct LrnArgs {
  std::int64_t images = 1, channels = 1, pixels = 1;
  std::int32_t size = 5;
  float alpha = 1e-4f, beta = 0.75f, bias = 1;
  const T* x = nullptr;
  const T* x0 = nullptr;
  T* y = nullptr;
  const T* s = nullptr;
  T* d = nullptr;
  bool add = false;
  T* scratch = nullptr;  ///< backward: channels elements
};

/// Resampling of planes of h x w to oh x ow: output o reads the input at (o + half)*step - half (half = 1/2: half-pixel
/// centres; 0: asymmetric), or, with align_corners, at o*(h-1)/(oh-1); step is in/out unless given.
struct ResizeShape {
  std::int64_t planes = 1;
  std::int32_t h = 1, w = 1, oh = 1, ow = 1;
  bool bilinear = true;  ///< else nearest: half_pixel rounds halves down, otherwise rounded down
  bool align_corners = false, half_pixel = true;
  float step_h = 0, step_w = 0;  ///< 0: h/oh, w/ow
};

/// Gates of maps around their own peaks [Zhang et al. 2018, section 3.1]: y (+)= s max(M, 0) for planes [first, last),
/// where M_mu(i,j) = max(1 - beta slope[channel] (|i-a| + |j-b|)/side, -1), mu = (a,b) is the peak of x and side the
/// longer one. s = x is the forward pass, any other s the backward pass.
template <class T>
struct TemplateArgs {
  std::int64_t channels = 1, first = 0, last = 1;  ///< planes: image times channel
  std::int32_t h = 1, w = 1;
  float beta = 4;
  bool centroid = false;  ///< the peak is the centre of mass, rounded; else the first maximum
  const T* x = nullptr;
  const T* slope = nullptr;
  const T* s = nullptr;
  T* y = nullptr;
  bool add = false;
};

/// y (+)= s where x is the maximum of the places within `radius` rows and columns (ties: the first), else 0.
template <class T>
struct PeakArgs {
  std::int64_t first = 0, last = 1;  ///< planes
  std::int32_t h = 1, w = 1, radius = 1;
  const T* x = nullptr;
  const T* s = nullptr;
  T* y = nullptr;
  bool add = false;
};

/// What interpretable filters [first, last) keep from batch to batch: statistics (classes x channels) follow the class
/// means of each map's maximum (or sum) by 0.9/0.1, a first value being taken as max(mean, 0.1); category is the class
/// of the largest; slope moves by slope_rate towards the released code's goal (layers/README.md, section 5; 0: stays).
template <class T>
struct FilterStateArgs {
  std::int64_t images = 1, channels = 1, first = 0, last = 1;
  std::int32_t h = 1, w = 1, classes = 1;
  float beta = 4, slope_rate = 0;
  bool by_sum = false;
  const T* x = nullptr;
  const std::int32_t* labels = nullptr;  ///< images; host
  T* statistics = nullptr;
  T* category = nullptr;
  T* slope = nullptr;
};

/// The filter loss and its gradient by x, one filter per tile [Zhang et al. 2018, eq. 3 and 4; layers/README.md,
/// section 5].
template <class T>
struct FilterLossArgs {
  std::int64_t images = 1, channels = 1;
  std::int32_t h = 1, w = 1, classes = 1;
  float beta = 4;
  bool centroid = false;
  bool released = true;  ///< the released code's weights (which have no loss: 0); else the paper's -MI
  bool all_templates =
      false;  ///< paper: the whole gradient; else the target template's part, which the authors train with
  const T* x = nullptr;
  const T* slope = nullptr;
  const T* category = nullptr;
  const std::int32_t* labels = nullptr;  ///< images; host
  const double* share = nullptr;         ///< classes: share of the training images, to balance them (released); host
  T* loss = nullptr;                     ///< channels; may be null
  T* gradient = nullptr;                 ///< of x's shape; overwritten; may be null
};

/// s = r / stabilised(z): interp/rules/README.md, section 1.2. sgn(0) = +1.
struct Stabilise {
  enum Mode : std::uint8_t {
    offset,  ///< z + eps*sgn(z)
    clip,    ///< sgn(z)*max(|z|, eps)
  };
  float eps = 1e-6f;  ///< eps == 0: where z == 0 the quotient is 0 (LRP-0)
  Mode mode = offset;
};

/// What the ledger records of a signal. Sums are in double, in a fixed order.
struct Stats {
  double sum = 0, abs_sum = 0, abs_max = 0;  ///< of the finite elements
  std::int64_t non_finite = 0;
};

template <class T>
struct SgdArgs {
  T* value = nullptr;
  const T* grad = nullptr;
  T* momentum_buffer = nullptr;  ///< buffer may be null if momentum == 0
  std::int64_t n = 0;
  float lr = 0, momentum = 0, weight_decay = 0;
  bool nesterov = false;
};

template <class T>
struct AdamArgs {
  T* value = nullptr;
  const T* grad = nullptr;
  T* m = nullptr;
  T* v = nullptr;
  std::int64_t n = 0;
  float lr = 0, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0;
  std::int64_t step = 1;   ///< counts from 1; bias correction as in Kingma & Ba 2015
  bool decoupled = false;  ///< true: AdamW (decay applied to the value); false: L2 added to the gradient
};

// clang-format off
/// X(name, type): the slots. Elementwise slots take a count n; `T` is the table's scalar.
#define VITRINE_KERNEL_SLOTS(X) \
  /* gemm, conv: tiled */ \
  X(gemm,                  Tiled<GemmArgs<T>>) \
  X(conv_forward,          Tiled<ConvArgs<T>>) \
  X(conv_backward_data,    Tiled<ConvArgs<T>>) \
  X(conv_backward_weights, Tiled<ConvArgs<T>>) \
  /* pool */ \
  /* y = max over the window, switches = its tap (switches may be null) */ \
  X(max_pool_forward,  void (*)(const PoolShape&, const T* x, T* y, Switch* switches) noexcept) \
  /* moves each switch to the first place of its window that ties with it (tie_tolerance): rounding must not choose \
     among equals. y: the pooled maxima; planes: whole images of `channels`; largest: working memory, one per image */ \
  X(max_pool_ties,     void (*)(const PoolShape&, std::int32_t channels, const T* x, const T* y, T* largest, \
      Switch* switches) noexcept) \
  /* y = x at the switches */ \
  X(max_pool_gather,   void (*)(const PoolShape&, const T* x, const Switch* switches, T* y) noexcept) \
  /* x (+)= y scattered to the switches; overlapping windows add */ \
  X(max_pool_scatter,  void (*)(const PoolShape&, const T* y, const Switch* switches, T* x, bool add) noexcept) \
  X(avg_pool_forward,  void (*)(const PoolShape&, const T* x, T* y) noexcept) \
  X(avg_pool_backward, void (*)(const PoolShape&, const T* y, T* x, bool add) noexcept) \
  /* eltwise */ \
  X(map_forward,       void (*)(Map, MapParameters, const T* x, T* y, std::int64_t n) noexcept) \
  /* d (+)= f'(x) * s; relu, tanh, sigmoid, exp read y (x may be y), all others x (y may be x); relu'(0) = 0 */ \
  X(map_backward,      void (*)(Map, MapParameters, const T* x, const T* y, const T* s, T* d, std::int64_t n, \
      bool add) noexcept) \
  X(rectify_backward,  void (*)(Rectify, const T* x, const T* s, T* d, std::int64_t n, bool add) noexcept) \
  X(fill,              void (*)(T value, T* y, std::int64_t n) noexcept) \
  /* y (+)= a*x */ \
  X(scale,             void (*)(T a, const T* x, T* y, std::int64_t n, bool add) noexcept) \
  /* z (+)= x*y */ \
  X(multiply,          void (*)(const T* x, const T* y, T* z, std::int64_t n, bool add) noexcept) \
  /* z = a*x + b*y ; z may be x or y */ \
  X(combine,           void (*)(T a, const T* x, T b, const T* y, T* z, std::int64_t n) noexcept) \
  /* y (+)= sub(x) */ \
  X(substitute,        void (*)(Substitute, const T* x, T* y, std::int64_t n, bool add) noexcept) \
  X(copy,              void (*)(const CopyArgs<T>&) noexcept) \
  /* y = keep(i) ? x/(1-p) : 0 ; keep is a pure function of (key, first + i): see philox.h. Its own gradient. */ \
  X(dropout,           void (*)(float p, std::uint64_t key, std::uint64_t first, const T* x, T* y, std::int64_t n, \
      bool add) noexcept) \
  /* reduce */ \
  X(stats,             Stats (*)(const T* x, std::int64_t n) noexcept) \
  X(dot,               double (*)(const T* x, const T* y, std::int64_t n) noexcept) \
  /* y[c] (+)= sum over images and pixels of x[n][c][p] */ \
  X(channel_sum,       void (*)(const T* x, std::int64_t images, std::int64_t channels, std::int64_t pixels, T* y, \
      bool add) noexcept) \
  /* norm */ \
  X(channel_affine,    void (*)(const ChannelAffineArgs<T>&) noexcept) \
  /* scale = w(gamma/sqrt(var+eps)), shift = b(beta - mean*gamma/sqrt(var+eps)), n channels; scale or shift may \
     be null */ \
  X(norm_coefficients, void (*)(const T* gamma, const T* beta, const T* mean, const T* var, float eps, \
      Substitute w, Substitute b, T* scale, T* shift, std::int64_t n) noexcept) \
  X(batch_norm_forward, void (*)(const BatchNormArgs<T>&) noexcept) \
  X(batch_norm_backward, void (*)(const BatchNormArgs<T>&) noexcept) \
  X(lrn_forward,       void (*)(const LrnArgs<T>&) noexcept) \
  X(lrn_backward,      void (*)(const LrnArgs<T>&) noexcept) \
  /* filters */ \
  X(template_gate,     void (*)(const TemplateArgs<T>&) noexcept) \
  X(peak_gate,         void (*)(const PeakArgs<T>&) noexcept) \
  X(filter_state,      void (*)(const FilterStateArgs<T>&) noexcept) \
  X(filter_loss,       Tiled<FilterLossArgs<T>>) \
  /* resize: y = x resampled; x (+)= the transpose of it */ \
  X(resize_forward,    void (*)(const ResizeShape&, const T* x, T* y) noexcept) \
  X(resize_backward,   void (*)(const ResizeShape&, const T* y, T* x, bool add) noexcept) \
  /* softmax over rows of n x k */ \
  X(softmax_forward,   void (*)(const T* x, std::int64_t n, std::int64_t k, T* y) noexcept) \
  /* d (+)= y * (s - sum(s*y)) */ \
  X(softmax_backward,  void (*)(const T* y, const T* s, std::int64_t n, std::int64_t k, T* d, bool add) noexcept) \
  X(log_softmax_forward, void (*)(const T* x, std::int64_t n, std::int64_t k, T* y) noexcept) \
  /* d (+)= s - e^y * sum(s) */ \
  X(log_softmax_backward, void (*)(const T* y, const T* s, std::int64_t n, std::int64_t k, T* d, bool add) noexcept) \
  /* row losses -sum_k t_k log softmax(x)_k in double, d = scale * (sum(t)*softmax(x) - t); d may be null; \
     loss: host */ \
  X(cross_entropy,     void (*)(const T* x, const T* target, std::int64_t n, std::int64_t k, T scale, double* loss, \
      T* d) noexcept) \
  /* optim: one pass over a flat block */ \
  X(sgd,               void (*)(const SgdArgs<T>&) noexcept) \
  X(adam,              void (*)(const AdamArgs<T>&) noexcept) \
  /* explain */ \
  /* s = sign(out) fits ? r / stabilised(z) : 0 ; out is read unless the sign is any. s may be r. */ \
  X(relevance_quotient, void (*)(Stabilise, Sign, const T* r, const T* z, const T* out, T* s, \
      std::int64_t n) noexcept) \
  /* whether r is 0 at all outputs that a group of an LRP table explains: then the group gets nothing. A table may \
     always say no. */ \
  X(no_relevance,      bool (*)(Sign, const T* r, const T* out, std::int64_t n) noexcept) \
  /* d (+)= factor * sub(x) * c */ \
  X(relevance_product, void (*)(T factor, Substitute, const T* x, const T* c, T* d, std::int64_t n, \
      bool add) noexcept) \
  /* Rescale (DeepLIFT eq. 11-13): d (+)= s * (y-y0)/(x-x0), or s * slope where |x-x0| < 1e-7; slope may be \
     x0-derivative */ \
  X(rescale_multiplier, void (*)(const T* x, const T* x0, const T* y, const T* y0, const T* slope, const T* s, \
      T* d, std::int64_t n, bool add) noexcept) \
  /* a = s * (max(y,y0) - y0), b = s * (y - max(y,y0)): the shares of the two winners of a pool window */ \
  X(cross_max,         void (*)(const T* y, const T* y0, const T* s, T* a, T* b, std::int64_t n) noexcept) \
  /* z (+)= d > 0 ? p : d < 0 ? q : (p + q)/2 : DeepLIFT's linear rule, by the sign of the input's difference */ \
  X(select_by_sign,    void (*)(const T* d, const T* p, const T* q, T* z, std::int64_t n, bool add) noexcept) \
  /* y = x, but where |x| < 0.5e-7: 1e-7 with x's sign (sgn(0) = +1): DeepLIFT's pseudo-count */ \
  X(pseudo_count,      void (*)(const T* x, T* y, std::int64_t n) noexcept) \
  /* z (+)= x/y where y is not 0, else 0 */ \
  X(safe_divide,       void (*)(const T* x, const T* y, T* z, std::int64_t n, bool add) noexcept)
// clang-format on

/// The choices of slots that are not Tiled (those have Tiled::choice). Null: there is only one way.
template <class T>
struct Choices {
  Choice (*max_pool_forward)(const PoolShape&, bool switches) noexcept = nullptr;
  Choice (*max_pool_scatter)(const PoolShape&) noexcept = nullptr;
  Choice (*avg_pool_forward)(const PoolShape&) noexcept = nullptr;
  Choice (*avg_pool_backward)(const PoolShape&) noexcept = nullptr;
  Choice (*batch_norm_forward)(const BatchNormArgs<T>&) noexcept = nullptr;
  Choice (*batch_norm_backward)(const BatchNormArgs<T>&) noexcept = nullptr;
};

/// One instruction set's kernels.
template <class T>
struct Table {
#define VITRINE_SLOT(name, ...) std::type_identity_t<__VA_ARGS__> name = {};
  VITRINE_KERNEL_SLOTS(VITRINE_SLOT)
#undef VITRINE_SLOT
  std::int32_t lanes = 1;  ///< elements per vector: images per interleaved block
  /// y[i] = philox_normal(key, i), i < n (normal.h): in host memory, the same numbers whatever the instruction set.
  /// Null on devices.
  void (*normals)(std::uint64_t key, std::int64_t n, double* y) noexcept = nullptr;
  /// Whether all three passes of a convolution of this shape read and write interleaved x and y
  /// (ConvArgs::x_interleaved), if the batch is a multiple of `lanes`. Null: never.
  bool (*takes_interleaved)(const ConvShape&) noexcept = nullptr;
  Choices<T> choices{};
};

/// Instruction sets, narrow to wide.
enum class Isa : std::uint8_t { reference, avx2, avx512 };

const char* name(Isa) noexcept;

/// The widest set that this build holds, this CPU has and the operating system saves the registers of.
Isa detected() noexcept;

/// detected(), capped by the environment variable VITRINE_ISA=ref|avx2|avx512, in builds with an environment.
Isa active() noexcept;

/// The table of one set; a set above detected() gives the table of detected().
const Table<real>& table(Isa) noexcept;

/// The reference kernels in any precision: what the self-check compares with.
template <class T>
const Table<T>& reference() noexcept;

}  // namespace kernels

using Kernels = kernels::Table<real>;

}  // namespace vitrine
