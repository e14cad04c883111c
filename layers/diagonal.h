// Ops that give each channel one factor and one shift: batch norm in evaluation, scale. Affine, so every rule knows
// them.
#pragma once

#include "core/graph.h"

namespace vitrine {

class DiagonalOp : public AffineOp {
 public:
  Weights weights() const noexcept final { return Weights::diagonal; }
  Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
               const Sink& z) const noexcept final;
  Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                 const Sink& c) const noexcept final;

  /// scale = w(factor) and shift = b(shift), one a channel; a null pointer is not wanted. Also how batch norms are
  /// merged.
  virtual void coefficients(const Context&, const NodeIO&, Substitute w, Substitute b, real* scale,
                            real* shift) const noexcept = 0;

 protected:
  ~DiagonalOp() = default;
};

/// y (+)= scale[c] x + shift[c] for all images; x, scale or shift may be null (0, 1, 0).
void run_channel_affine(const Context&, const TensorView& x, Substitute x_sub, const real* scale, const real* shift,
                        const Sink& y) noexcept;

}  // namespace vitrine
