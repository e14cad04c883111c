// Layer-wise relevance propagation [Bach et al. 2015] as tables. A rule is a few rows; each row names a function of the
// input, of the weights and of the bias (core/op.h, Row). One interpreter runs every table on every affine op:
//
//   z_k = A(w_k) x_k + b_k ;  D_g = sum of z_k over the rows of group g ;  s_g = R / stabilised(D_g)
//   R_in = sum_k share_k * x_k . A(w_k)^T s_g(k)
//
// Rules and defaults follow attribution spec section 3.1; gamma is Zennit's generalised form for inputs of any sign.
#pragma once

#include "core/rule.h"

namespace vitrine {

/// Whether the bias takes part in the denominators. kept: it absorbs its share of relevance; dropped: it does not take
/// part; shared: it takes part and its share is spread evenly over the neuron's inputs (Bach et al.'s toolbox).
enum class BiasMode : std::uint8_t { kept, dropped, shared };

enum class LrpKind : std::uint8_t {
  zero,        ///< LRP-0: epsilon with no guard; 0/0 is 0
  epsilon,     ///< z + epsilon sgn(z)
  gamma,       ///< positive contributions favoured by 1 + gamma; inputs of any sign
  alpha_beta,  ///< alpha times the positive contributions minus beta times the negative ones, alpha - beta = 1
  z_plus,      ///< alpha 1, beta 0
  z_box,       ///< z^B: inputs known to lie in [low, high]
  w_square,    ///< by squared weights
  flat,        ///< evenly
  norm,        ///< epsilon's guard alone, for linear ops without weights: average pool, add
};

struct LrpOptions {
  LrpKind kind = LrpKind::epsilon;
  float epsilon = 1e-6f;  ///< of the epsilon rule
  float gamma = 0.25f, alpha = 2, beta = 1;
  float stabilizer = 1e-6f;  ///< guard of all other rules
  kernels::Stabilise::Mode stabilise = kernels::Stabilise::offset;
  BiasMode bias = BiasMode::kept;
  std::span<const float> low{},
      high{};  ///< z_box: one value a channel, or one for all; network space; must outlive the rule
};

class LrpRule final : public Rule {
 public:
  /// `nonnegative`: the input is known to have no negative element (it comes out of a ReLU), which spares rows.
  LrpRule(const LrpOptions&, bool nonnegative) noexcept;

  /// Null if the options are in their ranges, else why not.
  static const char* check(const LrpOptions&) noexcept;

  const char* name() const noexcept override;
  const char* refuses(const Op&) const noexcept override;
  Need needs(const Op&) const noexcept override;
  bool passes(const Op& op) const noexcept override {
    return op.klass() == OpClass::pointwise || op.klass() == OpClass::custom;
  }
  bool vanishes(const Op&, bool out) const noexcept override;
  bool any_lanes() const noexcept override { return true; }

 protected:
  Status affine(const Context&, const AffineOp&, const Step&) const noexcept override;
  Status pointwise(const Context& ctx, const PointwiseOp&, const Step& s) const noexcept override {
    return pass(ctx, s);
  }
  /// The signal takes all, a gate nothing; of two factors that are no gates, each takes half.
  Status product(const Context&, const ProductOp&, const Step&) const noexcept override;
  Status custom(const Context& ctx, const CustomOp&, const Step& s) const noexcept override { return pass(ctx, s); }

 private:
  /// What a row reads: the input, or how far it is above a bound.
  enum class Source : std::uint8_t { input, above_low, above_high };
  struct TableRow {
    Row row;
    Source source = Source::input;
    float share = 1;
    std::uint8_t group = 0;
  };
  void add(Substitute x, Substitute w, Substitute bias, float share, std::uint8_t group,
           Source source = Source::input) noexcept;
  int rows_of(std::uint8_t group) const noexcept;
  bool reads_forward_output(std::uint8_t group) const noexcept;
  /// The forward output times this is the sum of both groups' denominators, so the second is what the first leaves of
  /// it; 0: it is not.
  float denominators_over_output(const AffineOp&) const noexcept;
  /// The second group's may be taken from `first`, those of the first group.
  Status denominator(const Context&, const AffineOp&, const Step&, std::span<const TensorView> sources,
                     std::uint8_t group, const TensorView& first, const TensorView& z) const noexcept;
  Status share_bias(const Context&, const AffineOp&, const Step&, const TableRow&, const TensorView& s,
                    std::span<bool> written) const noexcept;
  Status report(const Context&, const AffineOp&, const Step&, std::uint8_t group, const TensorView& z,
                const TensorView& s) const noexcept;
  /// out = x - bound; the bound is that of some images, which lie together, and of all others.
  static void above(const Context&, const TensorView& x, const TensorView& bound, const TensorView& out) noexcept;
  Status bounds(const Context&, const TensorView& like, std::span<const float> values, TensorView& out) const noexcept;

  LrpOptions options_;
  TableRow rows_[4];
  std::uint8_t row_count_ = 0, group_count_ = 1;
  kernels::Where where_[2] = {kernels::Where::always, kernels::Where::always};
  kernels::Stabilise stabilise_;
};

/// Whether an op that moves or passes relevance has an output of 0 wherever the input is.
bool keeps_zeros(const Op&) noexcept;

/// Relevance unchanged: for ops whose output has the input's elements one to one. Batch norms and scales, too, for
/// those who want what peers do with a batch norm that they did not merge: it ignores the factor and the shift.
class PassRule final : public Rule {
 public:
  const char* name() const noexcept override { return "pass"; }
  const char* refuses(const Op&) const noexcept override;
  Need needs(const Op& op) const noexcept override {
    return op.klass() == OpClass::route || op.klass() == OpClass::view ? op.vjp_needs(false) : Need{};
  }
  bool passes(const Op& op) const noexcept override {
    return op.klass() != OpClass::route && op.klass() != OpClass::view;
  }
  bool vanishes(const Op& op, bool out) const noexcept override { return out && keeps_zeros(op); }
  bool any_lanes() const noexcept override { return true; }

 protected:
  Status affine(const Context& ctx, const AffineOp&, const Step& s) const noexcept override { return pass(ctx, s); }
  Status pointwise(const Context& ctx, const PointwiseOp&, const Step& s) const noexcept override {
    return pass(ctx, s);
  }
  Status custom(const Context& ctx, const CustomOp&, const Step& s) const noexcept override { return pass(ctx, s); }
};

}  // namespace vitrine
