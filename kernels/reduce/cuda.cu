// Reductions on a CUDA device, in double.
#include "kernels/cuda/channels.h"
#include "kernels/cuda/reduce.h"

namespace vitrine::kernels::cuda {

struct StatsTerms {
  static constexpr int value_count = 4;  // sum, sum of magnitudes, number that is not finite; largest magnitude
  const float* x;
  __device__ void add(std::int64_t i, double (&v)[value_count]) const {
    const float f = x[i];
    if (!(f - f == 0)) {
      v[2] += 1;
      return;
    }
    const double d = static_cast<double>(f), a = d < 0 ? -d : d;
    v[0] += d;
    v[1] += a;
    v[3] = a > v[3] ? a : v[3];
  }
  static __device__ double join(int k, double a, double b) { return k == 3 ? Maximum()(a, b) : a + b; }
};

struct DotTerms {
  static constexpr int value_count = 1;
  const float *x, *y;
  __device__ void add(std::int64_t i, double (&v)[value_count]) const {
    v[0] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  }
  static __device__ double join(int, double a, double b) { return a + b; }
};

/// The partial values of another kernel's blocks, as terms.
template <class Terms>
struct PartTerms {
  static constexpr int value_count = Terms::value_count;
  const double* parts;
  __device__ void add(std::int64_t i, double (&v)[value_count]) const {
#pragma unroll
    for (int k = 0; k < value_count; ++k) v[k] = Terms::join(k, v[k], parts[i * value_count + k]);
  }
  static __device__ double join(int k, double a, double b) { return Terms::join(k, a, b); }
};

/// Block b writes the values of its terms to out[b]; all start at 0.
template <class Terms>
__global__ void __launch_bounds__(reduce_block) reduce_kernel(Terms terms, std::int64_t n, double* out) {
  double v[Terms::value_count] = {};
  const std::int64_t stride = std::int64_t{gridDim.x} * reduce_block;
  for (std::int64_t i = std::int64_t{blockIdx.x} * reduce_block + threadIdx.x; i < n; i += stride) terms.add(i, v);
#pragma unroll
  for (int k = 0; k < Terms::value_count; ++k) {
    const double total = block_reduce<reduce_block>(v[k], [k](double a, double b) { return Terms::join(k, a, b); });
    if (threadIdx.x == 0) out[std::int64_t{blockIdx.x} * Terms::value_count + k] = total;
  }
}

struct ChannelSumTerms {
  static constexpr int value_count = 1;
  const float* x;
  __device__ void add(std::int32_t, std::int64_t i, double (&v)[value_count]) const {
    v[0] += static_cast<double>(x[i]);
  }
};

struct StoreChannelSum {
  const double* parts;
  int splits;
  float* y;
  bool add;
  __device__ void operator()(std::int64_t c) const {
    double sum = 0;
    for (int s = 0; s < splits; ++s) sum += parts[c * splits + s];
    put(y[c], static_cast<float>(sum), add);
  }
};

namespace {

/// Reduces n terms on the device and fetches the values.
template <class Terms>
void reduced(const Terms& terms, std::int64_t n, double (&values)[Terms::value_count]) noexcept {
  for (double& v : values) v = 0;
  if (n <= 0) return;
  const int parts = parts_for(n, 1024);
  auto* const memory = static_cast<double*>(workspace(static_cast<std::size_t>(parts + 1) * sizeof values));
  if (!memory) return;
  double* const total = memory + parts * Terms::value_count;
  if (parts == 1) {
    launch(reduce_kernel<Terms>, 1, reduce_block, 0, terms, n, total);
  } else {
    launch(reduce_kernel<Terms>, static_cast<unsigned>(parts), reduce_block, 0, terms, n, memory);
    launch(reduce_kernel<PartTerms<Terms>>, 1, reduce_block, 0, PartTerms<Terms>{memory}, std::int64_t{parts}, total);
  }
  download(values, total, sizeof values);
}

Stats stats(const float* x, std::int64_t n) noexcept {
  double v[4];
  reduced(StatsTerms{x}, n, v);
  return {v[0], v[1], v[3], static_cast<std::int64_t>(v[2])};
}

double dot(const float* x, const float* y, std::int64_t n) noexcept {
  double v[1];
  reduced(DotTerms{x, y}, n, v);
  return v[0];
}

void channel_sum(const float* x, std::int64_t images, std::int64_t channels, std::int64_t pixels, float* y,
                 bool add) noexcept {
  const ChannelSplit split(images, channels, pixels, 0, channels);
  double* const parts = split.reduce(ChannelSumTerms{x}, 0);
  if (parts) for_each(channels, StoreChannelSum{parts, split.splits(), y, add});
}

}  // namespace

void fill_reduce(Table<float>& t) noexcept {
  t.stats = &stats;
  t.dot = &dot;
  t.channel_sum = &channel_sum;
}

}  // namespace vitrine::kernels::cuda
