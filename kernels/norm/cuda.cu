// Normalisations on a CUDA device.
#include "kernels/cuda/channels.h"

namespace vitrine::kernels::cuda {

struct ChannelAffine {
  ChannelAffineArgs<float> a;
  PlaneIndex index;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t c = (a.first + index(i).plane) % a.channels, at = a.first * a.pixels + i;
    const float scale = a.scale ? a.scale[c] : 1.0f, shift = a.shift ? a.shift[c] : 0.0f;
    put(a.y[at], a.x ? scale * substituted(a.x_sub, a.x[at]) + shift : shift, a.add);
  }
};

struct NormCoefficients {
  const float *gamma, *beta, *mean, *var;
  float eps;
  Substitute w, b;
  float *scale, *shift;
  __device__ void operator()(std::int64_t c) const {
    const float s = gamma[c] / sqrtf(var[c] + eps);
    if (scale) scale[c] = substituted(w, s);
    if (shift) shift[c] = substituted(b, beta[c] - mean[c] * s);
  }
};

/// In double one pass is enough: squares of floats are exact, and a sum of them loses digits only where the variance is
/// below what floats could distinguish from 0.
struct MomentTerms {
  static constexpr int value_count = 2;
  const float* x;
  __device__ void add(std::int32_t, std::int64_t i, double (&v)[value_count]) const {
    const double d = static_cast<double>(x[i]);
    v[0] += d;
    v[1] += d * d;
  }
};

struct StoreMoments {
  BatchNormArgs<float> a;
  const double* parts;
  int splits;
  __device__ void operator()(std::int64_t i) const {
    double sum = 0, squares = 0;
    for (int s = 0; s < splits; ++s) {
      sum += parts[(i * splits + s) * 2];
      squares += parts[(i * splits + s) * 2 + 1];
    }
    const std::int64_t c = a.first + i;
    const double count = static_cast<double>(a.images * a.pixels), mean = sum / count, around = squares - sum * mean;
    const double deviations = around > 0 ? around : around < 0 ? 0.0 : around;  // NaN stays
    const double var = deviations / count, unbiased = count > 1 ? deviations / (count - 1) : var,
                 m = static_cast<double>(a.momentum);
    a.mean[c] = static_cast<float>(mean);
    a.inv_std[c] = static_cast<float>(1 / sqrt(var + static_cast<double>(a.eps)));
    a.running_mean[c] = static_cast<float>((1 - m) * static_cast<double>(a.running_mean[c]) + m * mean);
    a.running_var[c] = static_cast<float>((1 - m) * static_cast<double>(a.running_var[c]) + m * unbiased);
  }
};

/// Element i of channels [first, last): its channel and its place.
struct BatchNormIndex {
  std::int64_t channels, first, last, pixels;
  PlaneIndex index;
  explicit BatchNormIndex(const BatchNormArgs<float>& a)
      : channels(a.channels),
        first(a.first),
        last(a.last),
        pixels(a.pixels),
        index(a.images * (a.last - a.first), 1, static_cast<std::int32_t>(a.pixels)) {}
  struct At {
    std::int64_t channel, element;
  };
  __device__ At operator()(std::int64_t i) const {
    const auto at = index(i);
    const std::int64_t image = at.plane / (last - first), c = first + at.plane - image * (last - first);
    return {c, (image * channels + c) * pixels + at.column};
  }
};

struct BatchNormApply {
  BatchNormArgs<float> a;
  BatchNormIndex index;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    float v = a.gamma[at.channel] * a.inv_std[at.channel] * (a.x[at.element] - a.mean[at.channel]) + a.beta[at.channel];
    if (a.residual) v += a.residual[at.element];
    a.y[at.element] = a.relu && v < 0 ? 0.0f : v;
  }
};

struct GradientTerms {
  static constexpr int value_count = 2;  // sums of dy, and of dy times the normalised x
  const float *x, *dy, *mean, *inv_std;
  __device__ void add(std::int32_t c, std::int64_t i, double (&v)[value_count]) const {
    const double d = static_cast<double>(dy[i]);
    v[0] += d;
    v[1] += d * ((static_cast<double>(x[i]) - static_cast<double>(mean[c])) * static_cast<double>(inv_std[c]));
  }
};

/// dgamma, dbeta, and the two means that dx needs.
struct StoreGradients {
  BatchNormArgs<float> a;
  const double* parts;
  int splits;
  float* means;
  __device__ void operator()(std::int64_t i) const {
    double sum = 0, product = 0;
    for (int s = 0; s < splits; ++s) {
      sum += parts[(i * splits + s) * 2];
      product += parts[(i * splits + s) * 2 + 1];
    }
    const std::int64_t c = a.first + i;
    const double count = static_cast<double>(a.images * a.pixels);
    if (a.dgamma) put(a.dgamma[c], static_cast<float>(product), a.add_dgamma);
    if (a.dbeta) put(a.dbeta[c], static_cast<float>(sum), a.add_dbeta);
    means[2 * i] = a.constant ? 0.0f : static_cast<float>(sum / count);
    means[2 * i + 1] = a.constant ? 0.0f : static_cast<float>(product / count);
  }
};

struct BatchNormBackward {
  BatchNormArgs<float> a;
  BatchNormIndex index;
  const float* means;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const std::int64_t c = at.channel;
    const float inv = a.inv_std[c], normalised = (a.x[at.element] - a.mean[c]) * inv;
    const float* const mean = means + 2 * (c - a.first);
    put(a.dx[at.element], a.gamma[c] * inv * (a.dy[at.element] - mean[0] - normalised * mean[1]), a.add_dx);
  }
};

/// q_c at one place of an image, in double, since differences of its powers are taken.
__device__ inline double lrn_sum(const LrnArgs<float>& a, const float* x, std::int64_t c) {
  const std::int64_t before = (a.size - 1) / 2, after = a.size - 1 - before;
  const std::int64_t from = c > before ? c - before : 0, to = c + after < a.channels - 1 ? c + after : a.channels - 1;
  double q = 0;
  for (std::int64_t k = from; k <= to; ++k) {
    const double v = static_cast<double>(x[k * a.pixels]);
    q += v * v;
  }
  return static_cast<double>(a.bias) + static_cast<double>(a.alpha) / a.size * q;
}

/// The offset of channel 0 at element i's place, and i's channel.
struct LrnPlace {
  std::int64_t start, channel;
  __device__ LrnPlace(const LrnArgs<float>& a, const PlaneIndex& index, std::int64_t i) {
    const auto at = index(i);
    channel = at.plane % a.channels;
    start = (at.plane - channel) * a.pixels + at.column;
  }
};

struct LrnForward {
  LrnArgs<float> a;
  PlaneIndex index;
  __device__ void operator()(std::int64_t i) const {
    const LrnPlace place(a, index, i);
    const double q = lrn_sum(a, a.x + place.start, place.channel);
    a.y[i] = static_cast<float>(static_cast<double>(a.x[i]) * pow(q, -static_cast<double>(a.beta)));
  }
};

/// One thread per element of d. It computes again the signal at each q that the element takes part in: `size` times the
/// work of sharing them, but no memory between threads.
struct LrnBackward {
  LrnArgs<float> a;
  PlaneIndex index;
  __device__ void operator()(std::int64_t i) const {
    const LrnPlace place(a, index, i);
    const float *const x = a.x + place.start, *const x0 = a.x0 + place.start, *const s = a.s + place.start;
    const std::int64_t c = place.channel, before = (a.size - 1) / 2, after = a.size - 1 - before;
    const double beta = static_cast<double>(a.beta);
    double sum = 0, own = 0;
    for (std::int64_t k = c > after ? c - after : 0; k <= c + before && k < a.channels; ++k) {
      const double q = lrn_sum(a, x, k), q0 = lrn_sum(a, x0, k);
      const double v = pow(q, -beta), v0 = pow(q0, -beta), dq = q - q0, middle = 0.5 * (q + q0);
      // For close values the quotient loses its digits; the slope between them has an error of second order.
      const double slope = fabs(dq) > 1e-5 * middle ? (v - v0) / dq : -beta * pow(middle, -beta - 1);
      const double signal = static_cast<double>(s[k * a.pixels]);
      sum += signal * 0.5 * (static_cast<double>(x[k * a.pixels]) + static_cast<double>(x0[k * a.pixels])) * slope *
             static_cast<double>(a.alpha) / a.size;
      if (k == c) own = signal * 0.5 * (v + v0);
    }
    const double both = static_cast<double>(x[c * a.pixels]) + static_cast<double>(x0[c * a.pixels]);
    put(a.d[i], static_cast<float>(own + sum * both), a.add);
  }
};

namespace {

void channel_affine(const ChannelAffineArgs<float>& a) noexcept {
  for_each(a.planes * a.pixels, ChannelAffine{a, PlaneIndex(a.planes, 1, static_cast<std::int32_t>(a.pixels))});
}

void norm_coefficients(const float* gamma, const float* beta, const float* mean, const float* var, float eps,
                       Substitute w, Substitute b, float* scale, float* shift, std::int64_t n) noexcept {
  for_each(n, NormCoefficients{gamma, beta, mean, var, eps, w, b, scale, shift});
}

void batch_norm_forward(const BatchNormArgs<float>& a) noexcept {
  const ChannelSplit split(a.images, a.channels, a.pixels, a.first, a.last);
  const double* const parts = split.reduce(MomentTerms{a.x}, 0);
  if (!parts) return;
  for_each(a.last - a.first, StoreMoments{a, parts, split.splits()});
  for_each(a.images * (a.last - a.first) * a.pixels, BatchNormApply{a, BatchNormIndex(a)});
}

void batch_norm_backward(const BatchNormArgs<float>& a) noexcept {
  const ChannelSplit split(a.images, a.channels, a.pixels, a.first, a.last);
  double* const parts = split.reduce(GradientTerms{a.x, a.dy, a.mean, a.inv_std},
                                     static_cast<std::size_t>(a.last - a.first) * 2 * sizeof(float));
  if (!parts) return;
  auto* const means = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(parts) + split.bytes<GradientTerms>());
  for_each(a.last - a.first, StoreGradients{a, parts, split.splits(), means});
  if (a.dx) for_each(a.images * (a.last - a.first) * a.pixels, BatchNormBackward{a, BatchNormIndex(a), means});
}

PlaneIndex lrn_index(const LrnArgs<float>& a) {
  return PlaneIndex(a.images * a.channels, 1, static_cast<std::int32_t>(a.pixels));
}

void lrn_forward(const LrnArgs<float>& a) noexcept {
  for_each(a.images * a.channels * a.pixels, LrnForward{a, lrn_index(a)});
}
void lrn_backward(const LrnArgs<float>& a) noexcept {
  for_each(a.images * a.channels * a.pixels, LrnBackward{a, lrn_index(a)});
}

}  // namespace

void fill_norm(Table<float>& t) noexcept {
  t.channel_affine = &channel_affine;
  t.norm_coefficients = &norm_coefficients;
  t.batch_norm_forward = &batch_norm_forward;
  t.batch_norm_backward = &batch_norm_backward;
  t.lrn_forward = &lrn_forward;
  t.lrn_backward = &lrn_backward;
}

}  // namespace vitrine::kernels::cuda
