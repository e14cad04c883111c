// What kernels of all families share: substitution, storing, elementwise launches, divisions by constants.
#pragma once

#include "kernels/cuda/launch.h"
#include "kernels/kernels.h"

namespace vitrine::kernels::cuda {

/// sub(v). NaN stays NaN under `signs`; a factor of 0 gives 0, also for infinities.
__device__ __forceinline__ float substituted(const Substitute& s, float v) {
  if (s.kind == Substitute::square) return v * v;
  if (s.kind == Substitute::one) return 1.0f;
  if (v != v) return v;
  const float factor = v > 0 ? s.p : s.n;
  return factor == 0 ? 0.0f : factor * v;
}

__device__ __forceinline__ void put(float& to, float value, bool add) { to = add ? to + value : value; }

/// The same, then cut at 0 if `relu`; NaN stays.
__device__ __forceinline__ void put(float& to, float value, bool add, bool relu) {
  if (add) value = to + value;
  to = relu && value < 0 ? 0.0f : value;
}

/// Likewise for four neighbours; `to` is aligned to 16 bytes.
__device__ __forceinline__ void put4(float* to, float4 v, bool add, bool relu = false) {
  if (add) {
    const float4 old = load4(to);
    v = make_float4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w);
  }
  if (relu) v = make_float4(v.x < 0 ? 0.0f : v.x, v.y < 0 ? 0.0f : v.y, v.z < 0 ? 0.0f : v.z, v.w < 0 ? 0.0f : v.w);
  store4(to, v);
}

/// A grid that covers n elements with `block` threads each, capped: kernels stride over what is left. 32 blocks for
/// each of some 132 multiprocessors keep any of today's chips busy.
constexpr unsigned blocks_for(std::int64_t n, int block) {
  const std::int64_t blocks = (n + block - 1) / block;
  return static_cast<unsigned>(blocks < 4224 ? blocks : 4224);
}

constexpr int elementwise_block = 256;

/// f(i) for 0 <= i < n, neighbours in a warp at neighbouring elements.
template <class F>
__global__ void __launch_bounds__(elementwise_block) elementwise_kernel(F f, std::int64_t n) {
  const std::int64_t stride = std::int64_t{gridDim.x} * elementwise_block;
  for (std::int64_t i = std::int64_t{blockIdx.x} * elementwise_block + threadIdx.x; i < n; i += stride) f(i);
}

/// Launches f, a struct of values with `__device__ void operator()(std::int64_t) const`, over n elements.
template <class F>
void for_each(std::int64_t n, const F& f) noexcept {
  if (n > 0) launch(elementwise_kernel<F>, blocks_for(n, elementwise_block), elementwise_block, 0, f, n);
}

/// Quotient and remainder by a divisor that is fixed for a launch: a multiplication and a shift in the place of a
/// division [Granlund & Montgomery 1994]. For 0 <= n < 2^31.
class Divider {
 public:
  Divider() = default;
  explicit constexpr Divider(std::int32_t divisor) : divisor_(static_cast<std::uint32_t>(divisor)) {
    while (shift_ < 31 && (std::uint32_t{1} << shift_) < divisor_) ++shift_;
    // ceil(2^(32 + shift) / divisor) - 2^32, which fits 32 bits.
    multiplier_ = static_cast<std::uint32_t>(
        ((std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift_) - divisor_)) / divisor_ + 1);
  }
  __host__ __device__ std::int32_t divisor() const { return static_cast<std::int32_t>(divisor_); }
  __device__ __forceinline__ std::int32_t quotient(std::int32_t n) const {
    const auto u = static_cast<std::uint32_t>(n);
#ifdef __CUDA_ARCH__
    const std::uint32_t high = __umulhi(u, multiplier_);
#else
    const auto high = static_cast<std::uint32_t>(std::uint64_t{u} * multiplier_ >> 32);
#endif
    return static_cast<std::int32_t>((high + u) >> shift_);
  }
  __device__ __forceinline__ std::int32_t remainder(std::int32_t n, std::int32_t quotient) const {
    return n - quotient * divisor();
  }

 private:
  std::uint32_t divisor_ = 1, multiplier_ = 1, shift_ = 0;
};

/// Element i of planes of `height` x `width`: its plane, row and column. Below 2^31 elements without a division.
class PlaneIndex {
 public:
  PlaneIndex() = default;
  PlaneIndex(std::int64_t planes, std::int32_t height, std::int32_t width)
      : row_(width),
        plane_(static_cast<std::int32_t>(std::int64_t{height} * width)),
        small_(planes * height * width < std::int64_t{1} << 31) {}
  struct At {
    std::int64_t plane;
    std::int32_t row, column;
  };
  __device__ __forceinline__ At operator()(std::int64_t i) const {
    const std::int32_t pixels = plane_.divisor();
    const std::int64_t plane = small_ ? plane_.quotient(static_cast<std::int32_t>(i)) : i / pixels;
    const auto place = static_cast<std::int32_t>(i - plane * pixels);
    const std::int32_t row = row_.quotient(place);
    return {plane, row, row_.remainder(place, row)};
  }

 private:
  Divider row_, plane_;
  bool small_ = true;
};

}  // namespace vitrine::kernels::cuda
