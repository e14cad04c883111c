// Resampling of height and width to a given size. Bilinear resampling is a linear op whose weights are fixed and not
// negative. Nearest resampling repeats (or leaves out) elements and changes none, so it is a view: relevance passes it
// whole, also at elements that are 0.
#pragma once

#include "core/graph.h"

namespace vitrine {

/// How places of the output are found in the input (kernels::ResizeShape).
struct Resampling {
  std::int32_t out_h = 1, out_w = 1;
  bool bilinear = false, align_corners = false, half_pixel = true;
  float step_h = 0, step_w = 0;  ///< input places per step of the output; 0: from the sizes

  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out) const noexcept;
  Field field(const Shape& in, const Shape& out, std::size_t axis) const noexcept;
  kernels::ResizeShape shape(const Shape& in) const noexcept;
};

/// Files of earlier versions also hold the nearest kind under this name (`bilinear` false): it then is an average over
/// one element.
class Upsample final : public AffineOp {
 public:
  Resampling to{.bilinear = true};

  const char* name() const noexcept override { return "upsample"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("out_h", to.out_h);
    v("out_w", to.out_w);
    v("bilinear", to.bilinear);
    v("align_corners", to.align_corners);
    v("half_pixel", to.half_pixel);
    v("step_h", to.step_h);
    v("step_w", to.step_w);
  }
  Field field(const Shape& in, const Shape& out, std::size_t axis) const noexcept override {
    return to.field(in, out, axis);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
               const Sink& z) const noexcept override;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                 const Sink& c) const noexcept override;
  /// The weights at a place may be any, so only sign-wise maps of them are a plain rescaling.
  bool accepts(Substitute w) const noexcept override { return w.kind == Substitute::signs; }
};

class NearestUpsample final : public ViewOp {
 public:
  Resampling to;

  const char* name() const noexcept override { return "upsample_nearest"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("out_h", to.out_h);
    v("out_w", to.out_w);
    v("align_corners", to.align_corners);
    v("half_pixel", to.half_pixel);
    v("step_h", to.step_h);
    v("step_w", to.step_w);
  }
  Field field(const Shape& in, const Shape& out, std::size_t axis) const noexcept override {
    return to.field(in, out, axis);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
};

/// The op of either kind.
Id upsample(GraphBuilder&, Id x, const Resampling&, const char* name = nullptr) noexcept;
Id upsample(GraphBuilder&, Id x, std::int32_t out_h, std::int32_t out_w, bool bilinear = false,
            const char* name = nullptr) noexcept;

}  // namespace vitrine
