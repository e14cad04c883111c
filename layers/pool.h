// Max and average pooling over windows; global and adaptive average pooling. Sizes as in PyTorch: OH =
// floor((H + 2 padding - kernel) / stride) + 1, or ceil with `ceil_mode`, where a window must start inside the padded
// input.
#pragma once

#include "core/graph.h"

namespace vitrine {

/// Where windows lie. Fields as in kernels::PoolShape.
struct Window {
  std::int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  std::int32_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0, dilation_h = 1, dilation_w = 1;
  bool ceil_mode = false;
  void attributes(AttributeVisitor&) noexcept;
  Status infer(const Context&, const Shape& in, Shape& out) const noexcept;
  kernels::PoolShape shape(const Shape& in, const Shape& out) const noexcept;
  Field field(std::size_t axis) const noexcept;
};

/// The maximum of each window; the winner is recorded for the way back. Of places that tie the first wins; places whose
/// channels all agree to within rounding tie, too (kernels::tie_tolerance). Padding never wins.
class MaxPool final : public RouteOp {
 public:
  Window window;

  const char* name() const noexcept override { return "max_pool"; }
  void attributes(AttributeVisitor& v) noexcept override { window.attributes(v); }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status gather(const Context&, const NodeIO&, const TensorView& x, const TensorView& y) const noexcept override;
  Status scatter(const Context&, const NodeIO&, const TensorView& s, const Sink& d) const noexcept override;
  Field field(const Shape&, const Shape&, std::size_t axis) const noexcept override { return window.field(axis); }
  Layouts layouts(const Context&, const Shape&, const Shape&) const noexcept override { return Layouts::same; }
};

/// Shared by the average pools: a linear op whose weights are 1 / (size of the window).
class AveragePool : public AffineOp {
 public:
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
               const Sink& z) const noexcept override;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                 const Sink& c) const noexcept override;
  /// Windows at borders may differ in size, so only sign-wise maps of the weights are a plain rescaling.
  bool accepts(Substitute w) const noexcept override { return w.kind == Substitute::signs; }

 protected:
  virtual kernels::PoolShape shape(const Shape& in, const Shape& out) const noexcept = 0;
  ~AveragePool() = default;
};

class AvgPool final : public AveragePool {
 public:
  Window window;
  bool count_padding = true;  ///< divide by the whole window also where it hangs over the border

  const char* name() const noexcept override { return "avg_pool"; }
  void attributes(AttributeVisitor& v) noexcept override {
    window.attributes(v);
    v("count_padding", count_padding);
  }
  Field field(const Shape&, const Shape&, std::size_t axis) const noexcept override { return window.field(axis); }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;

 protected:
  kernels::PoolShape shape(const Shape& in, const Shape& out) const noexcept override;
};

/// Average over windows that tile the input as evenly as they can; 1 x 1 is global average pooling.
class AdaptiveAvgPool final : public AveragePool {
 public:
  std::int32_t out_h = 1, out_w = 1;

  const char* name() const noexcept override { return "adaptive_avg_pool"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("out_h", out_h);
    v("out_w", out_w);
  }
  Field field(const Shape& in, const Shape& out, std::size_t axis) const noexcept override;
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;

 protected:
  kernels::PoolShape shape(const Shape& in, const Shape& out) const noexcept override;
};

struct PoolOptions {
  std::int32_t kernel = 2, stride = 0, padding = 0;  ///< stride 0: the kernel's size
  bool ceil_mode = false, count_padding = true;
};
Id max_pool(GraphBuilder&, Id x, const PoolOptions&, const char* name = nullptr) noexcept;
Id avg_pool(GraphBuilder&, Id x, const PoolOptions&, const char* name = nullptr) noexcept;
Id adaptive_avg_pool(GraphBuilder&, Id x, std::int32_t out_h, std::int32_t out_w, const char* name = nullptr) noexcept;
Id global_avg_pool(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id global_max_pool(GraphBuilder&, Id x, const char* name = nullptr) noexcept;

}  // namespace vitrine
