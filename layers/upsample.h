// Nearest or bilinear resampling of height and width to a given size: a linear op whose weights are fixed and not
// negative.
#pragma once

#include "core/graph.h"

namespace vitrine {

class Upsample final : public AffineOp {
 public:
  std::int32_t out_h = 1, out_w = 1;
  bool bilinear = false, align_corners = false, half_pixel = true;  ///< kernels::ResizeShape
  float step_h = 0, step_w = 0;  ///< input places a step of the output; 0: from the sizes

  const char* name() const noexcept override { return "upsample"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("out_h", out_h);
    v("out_w", out_w);
    v("bilinear", bilinear);
    v("align_corners", align_corners);
    v("half_pixel", half_pixel);
    v("step_h", step_h);
    v("step_w", step_w);
  }
  Field field(const Shape& in, const Shape& out, std::size_t axis) const noexcept override;
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
               const Sink& z) const noexcept override;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                 const Sink& c) const noexcept override;
  /// The weights at a place may be any, so only sign-wise maps of them are a plain rescaling.
  bool accepts(Substitute w) const noexcept override { return w.kind == Substitute::signs; }

 private:
  kernels::ResizeShape shape(const Shape& in) const noexcept;
};

Id upsample(GraphBuilder&, Id x, std::int32_t out_h, std::int32_t out_w, bool bilinear = false,
            const char* name = nullptr) noexcept;

}  // namespace vitrine
