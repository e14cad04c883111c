// Interpretable filters [Zhang, Wu, Zhu: Interpretable Convolutional Neural Networks, CVPR 2018]: each map of a high
// layer is gated by a template around its own peak, and a loss during training pulls the filter to one part of one
// category.
//
// Input and output (N,D,n,m): maps that are not negative (after a ReLU). y = x max(M_mu, 0) with mu the map's peak and
// M_mu(i,j) = max(1 - beta slope (|i-a| + |j-b|)/n, -1) (section 3.1). For x >= 0 that is the paper's max(x M, 0).
// The gate is constant almost everywhere, so the gradient is exact; relevance passes it; DeepLIFT's multipliers are
// dy/dx, an element each, and complete.
//
// State, in untrainable parameters, so that it is saved with the model: category (D: the filter's class), statistics
// (classes, D: running class means that the category follows) and slope (D: factor on beta, 1 unless learned).
#pragma once

#include "core/graph.h"

namespace vitrine {

class InterpretableFilters final : public GateOp {
 public:
  std::int32_t classes = 1;
  float beta = 4;  ///< steepness of the templates
  bool centroid =
      false;  ///< the peak is the map's centre of mass, as in the authors' code; else its maximum, as in the paper

  const char* name() const noexcept override { return "interpretable_filters"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("classes", classes);
    v("beta", beta);
    v("centroid", centroid);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  OpTraits traits() const noexcept override { return {.part_filters = true}; }
  Status gate(const Context&, const NodeIO&, const TensorView& x, const TensorView& s,
              const Sink& y) const noexcept override;

  enum State : std::uint8_t { category, statistics, steepness };  ///< places in NodeIO::par
};

Id interpretable_filters(GraphBuilder&, Id x, std::int32_t classes, const char* name = nullptr, bool centroid = false,
                         float beta = 4) noexcept;

/// How the filter loss is computed (README.md in this folder, section 5).
struct FilterLossOptions {
  bool released = true;        ///< the authors' code: weights that stay positive; else the paper's equation 4
  bool all_templates = false;  ///< paper: the whole gradient instead of the target template's part
  bool learn_slopes = false;   ///< the slopes follow the spread of the maps, as in the authors' code
};

/// Follows a batch: statistics, categories and slopes. io: the node's; labels: one class an image.
Status update_filters(const Context&, const InterpretableFilters&, const NodeIO& io,
                      std::span<const std::int32_t> labels, const FilterLossOptions&) noexcept;

/// The loss of each filter over a batch (`loss`: D values; the paper's -MI, 0 for the released weights) and its
/// gradient by the layer's input. Both are overwritten; either may be empty. share: of each class in the training data.
Status filter_loss(const Context&, const InterpretableFilters&, const NodeIO& io, std::span<const std::int32_t> labels,
                   std::span<const double> share, const FilterLossOptions&, const TensorView& loss,
                   const TensorView& gradient) noexcept;

}  // namespace vitrine
