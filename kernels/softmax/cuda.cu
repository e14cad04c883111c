// Softmax and cross-entropy on a CUDA device: one warp per row, its lanes side by side along the row. A row that holds
// NaN or +inf, or nothing but -inf, gives NaN throughout: the largest element ignores NaN, the sum of exponentials does
// not.
#include "kernels/cuda/reduce.h"

namespace vitrine::kernels::cuda {

constexpr int softmax_block = 128, softmax_rows = softmax_block / 32;

/// Calls body(row, lane) for every row of this warp, with all lanes together.
template <class Body>
__device__ __forceinline__ void for_rows(std::int64_t n, Body body) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (std::int64_t row = std::int64_t{blockIdx.x} * softmax_rows + threadIdx.x / 32; row < n;
       row += std::int64_t{gridDim.x} * softmax_rows)
    body(row, lane);
}

__device__ __forceinline__ float row_max(const float* x, std::int64_t k, int lane) {
  float m = -INFINITY;
  for (std::int64_t j = lane; j < k; j += 32) m = x[j] > m ? x[j] : m;
  return warp_reduce(m, Maximum());
}

__global__ void __launch_bounds__(softmax_block)
    softmax_forward_kernel(const float* x, std::int64_t n, std::int64_t k, float* y) {
  for_rows(n, [=](std::int64_t row, int lane) {
    const float* const from = x + row * k;
    float* const to = y + row * k;
    const float m = row_max(from, k, lane);
    float sum = 0;
    for (std::int64_t j = lane; j < k; j += 32) {
      const float e = expf(from[j] - m);
      to[j] = e;
      sum += e;
    }
    sum = warp_reduce(sum, Sum());
    for (std::int64_t j = lane; j < k; j += 32) to[j] /= sum;
  });
}

__global__ void __launch_bounds__(softmax_block)
    softmax_backward_kernel(const float* y, const float* s, std::int64_t n, std::int64_t k, float* d, bool add) {
  for_rows(n, [=](std::int64_t row, int lane) {
    const std::int64_t at = row * k;
    float sum = 0;
    for (std::int64_t j = lane; j < k; j += 32) sum += s[at + j] * y[at + j];
    sum = warp_reduce(sum, Sum());
    for (std::int64_t j = lane; j < k; j += 32) put(d[at + j], y[at + j] * (s[at + j] - sum), add);
  });
}

/// log(sum of e^(x - m)), in double.
__device__ __forceinline__ double log_sum_above(const float* x, std::int64_t k, int lane, double m) {
  double sum = 0;
  for (std::int64_t j = lane; j < k; j += 32) sum += exp(static_cast<double>(x[j]) - m);
  return log(warp_reduce(sum, Sum()));
}

__global__ void __launch_bounds__(softmax_block)
    log_softmax_forward_kernel(const float* x, std::int64_t n, std::int64_t k, float* y) {
  for_rows(n, [=](std::int64_t row, int lane) {
    const float* const from = x + row * k;
    const double m = static_cast<double>(row_max(from, k, lane)), log_sum = m + log_sum_above(from, k, lane, m);
    for (std::int64_t j = lane; j < k; j += 32)
      y[row * k + j] = static_cast<float>(static_cast<double>(from[j]) - log_sum);
  });
}

__global__ void __launch_bounds__(softmax_block)
    log_softmax_backward_kernel(const float* y, const float* s, std::int64_t n, std::int64_t k, float* d, bool add) {
  for_rows(n, [=](std::int64_t row, int lane) {
    const std::int64_t at = row * k;
    double sum = 0;
    for (std::int64_t j = lane; j < k; j += 32) sum += static_cast<double>(s[at + j]);
    sum = warp_reduce(sum, Sum());
    for (std::int64_t j = lane; j < k; j += 32)
      put(d[at + j], static_cast<float>(static_cast<double>(s[at + j]) - exp(static_cast<double>(y[at + j])) * sum),
          add);
  });
}

/// One pass for the loss and one for its gradient, while the row is in the cache. `loss` is the device's.
__global__ void __launch_bounds__(softmax_block)
    cross_entropy_kernel(const float* x, const float* target, std::int64_t n, std::int64_t k, float scale, double* loss,
                         float* d) {
  for_rows(n, [=](std::int64_t row, int lane) {
    const float *const from = x + row * k, *const goal = target + row * k;
    const double m = static_cast<double>(row_max(from, k, lane)), log_sum = log_sum_above(from, k, lane, m);
    double l = 0, t = 0;
    for (std::int64_t j = lane; j < k; j += 32) {
      const double g = static_cast<double>(goal[j]);
      t += g;
      // A class with target 0 adds nothing, even if its probability is 0.
      if (g != 0) l -= g * (static_cast<double>(from[j]) - m - log_sum);
    }
    l = warp_reduce(l, Sum());
    t = warp_reduce(t, Sum());
    if (lane == 0) loss[row] = k > 0 ? l : 0.0;
    if (!d) return;
    for (std::int64_t j = lane; j < k; j += 32)
      d[row * k + j] = scale * static_cast<float>(t * exp(static_cast<double>(from[j]) - m - log_sum) -
                                                  static_cast<double>(goal[j]));
  });
}

namespace {

template <class... P, class... A>
void launch_rows(void (*kernel)(P...), std::int64_t n, A... args) noexcept {
  if (n > 0) launch(kernel, blocks_for(n, softmax_rows), softmax_block, 0, args...);
}

void softmax_forward(const float* x, std::int64_t n, std::int64_t k, float* y) noexcept {
  launch_rows(softmax_forward_kernel, n, x, n, k, y);
}
void softmax_backward(const float* y, const float* s, std::int64_t n, std::int64_t k, float* d, bool add) noexcept {
  launch_rows(softmax_backward_kernel, n, y, s, n, k, d, add);
}
void log_softmax_forward(const float* x, std::int64_t n, std::int64_t k, float* y) noexcept {
  launch_rows(log_softmax_forward_kernel, n, x, n, k, y);
}
void log_softmax_backward(const float* y, const float* s, std::int64_t n, std::int64_t k, float* d, bool add) noexcept {
  launch_rows(log_softmax_backward_kernel, n, y, s, n, k, d, add);
}

void cross_entropy(const float* x, const float* target, std::int64_t n, std::int64_t k, float scale, double* loss,
                   float* d) noexcept {
  if (n <= 0) return;
  const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(double);
  auto* const rows = static_cast<double*>(workspace(bytes));
  if (!rows) return;
  launch_rows(cross_entropy_kernel, n, x, target, n, k, scale, rows, d);
  download(loss, rows, bytes);
}

}  // namespace

void fill_softmax(Table<float>& t) noexcept {
  t.softmax_forward = &softmax_forward;
  t.softmax_backward = &softmax_backward;
  t.log_softmax_forward = &log_softmax_forward;
  t.log_softmax_backward = &log_softmax_backward;
  t.cross_entropy = &cross_entropy;
}

}  // namespace vitrine::kernels::cuda
