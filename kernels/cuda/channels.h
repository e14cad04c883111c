// Sums over all images and pixels of each channel, which batch norm and biases need: a block sums a part of one
// channel.
#pragma once

#include "kernels/cuda/reduce.h"

namespace vitrine::kernels::cuda {

/// Channels [first, first + gridDim.x / splits) of images x channels x pixels: element q of a channel, in the order of
/// memory.
struct ChannelExtent {
  std::int64_t channels, pixels, count;  ///< count: images times pixels
  std::int32_t first, splits;
  Divider by_pixels;
  __device__ __forceinline__ std::int64_t element(std::int64_t channel, std::int64_t q) const {
    const std::int64_t image = by_pixels.quotient(static_cast<std::int32_t>(q));
    return (image * channels + channel) * pixels + q - image * pixels;
  }
};

/// Terms: value_count, and add(channel, element, values). Block c * splits + s writes the sums of part s of channel
/// first + c.
template <class Terms>
__global__ void __launch_bounds__(reduce_block) channel_reduce_kernel(Terms terms, ChannelExtent e, double* out) {
  const auto part = static_cast<std::int32_t>(blockIdx.x) % e.splits,
             channel = static_cast<std::int32_t>(blockIdx.x) / e.splits + e.first;
  double v[Terms::value_count] = {};
  for (std::int64_t q = std::int64_t{part} * reduce_block + threadIdx.x; q < e.count;
       q += std::int64_t{e.splits} * reduce_block)
    terms.add(channel, e.element(channel, q), v);
#pragma unroll
  for (int k = 0; k < Terms::value_count; ++k) {
    const double total = block_reduce<reduce_block>(v[k], Sum());
    if (threadIdx.x == 0) out[std::int64_t{blockIdx.x} * Terms::value_count + k] = total;
  }
}

class ChannelSplit {
 public:
  ChannelSplit(std::int64_t images, std::int64_t channels, std::int64_t pixels, std::int64_t first, std::int64_t last)
      : blocks_(last - first) {
    const std::int64_t count = images * pixels;
    e_ = {channels,
          pixels,
          count,
          static_cast<std::int32_t>(first),
          parts_for(count, 1024 / (blocks_ > 0 ? blocks_ : 1)),
          Divider(static_cast<std::int32_t>(pixels > 0 ? pixels : 1))};
    blocks_ *= e_.splits;
  }
  int splits() const { return e_.splits; }
  /// The sums, [channel - first][split][value], in the workspace, followed by `more` bytes. Null after a failure.
  template <class Terms>
  double* reduce(const Terms& terms, std::size_t more) const noexcept {
    if (e_.count >= std::int64_t{1} << 31) fail("a channel has more than 2^31 elements");
    auto* const memory = static_cast<double*>(workspace(bytes<Terms>() + more));
    if (!memory || failed() || blocks_ <= 0) return nullptr;
    launch(channel_reduce_kernel<Terms>, static_cast<unsigned>(blocks_), reduce_block, 0, terms, e_, memory);
    return memory;
  }
  template <class Terms>
  std::size_t bytes() const {
    return static_cast<std::size_t>(blocks_) * Terms::value_count * sizeof(double);
  }

 private:
  ChannelExtent e_;
  std::int64_t blocks_;
};

}  // namespace vitrine::kernels::cuda
