// What a convolution, its transpose and a linear layer share: the kernel's three passes over views; and of the first
// two the geometry of the kernel, and the checks of it.
#pragma once

#include "core/graph.h"

namespace vitrine {

/// y (+)= conv(x, w) + bias with the row's substitutions, then cut at 0 where `relu`; `bias` may be null.
Status convolve(const Context&, const kernels::ConvShape&, const TensorView& x, const TensorView& w,
                const TensorView* bias, const Row&, const Sink& y, bool relu = false) noexcept;
/// x (+)= conv^T(y, w).
Status convolve_t(const Context&, const kernels::ConvShape&, const TensorView& y, const TensorView& w, Substitute w_sub,
                  const Sink& x) noexcept;
/// w (+)= sum over images of x (*) y.
Status convolve_weights(const Context&, const kernels::ConvShape&, const TensorView& x, const TensorView& y,
                        const Sink& w) noexcept;

class ConvolutionOp : public AffineOp {
 public:
  std::int32_t out = 1, kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1,
               groups = 1;
  std::int32_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  bool bias = true;

  void attributes(AttributeVisitor&) noexcept override;
  Weights weights() const noexcept final { return Weights::spatial; }

 protected:
  /// One input, attributes in their ranges, channels that divide by the groups, parameters of the right shapes.
  Status check(const Context&, std::span<const Shape> in, std::span<const Shape> par,
               const Shape& weight) const noexcept;
  /// The convolution from `large` to `small`: forward from input to output, transposed from output to input.
  kernels::ConvShape shape(const Shape& large, const Shape& small) const noexcept;
  /// d_weight (+)= sum of large (*) small; d_bias (+)= channel sums of d_out.
  Status weight_gradient(const Context&, const TensorView& large, const TensorView& small, const TensorView& d_out,
                         std::span<const Sink> d_par) const noexcept;
  ~ConvolutionOp() = default;
};

}  // namespace vitrine
