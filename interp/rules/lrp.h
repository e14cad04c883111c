// Layer-wise relevance propagation [Bach et al. 2015]: the interpreter of the tables in lrp_table.h, at every affine
// op. At other ops all LRP rules do the same: relevance passes activations and gates unchanged, goes to the winners of
// max pools, and follows views. README.md in this folder has the formulas.
#pragma once

#include "core/rule.h"
#include "interp/rules/lrp_table.h"

namespace vitrine {

class LrpRule final : public Rule {
 public:
  /// A table that check() accepts. `nonnegative`: the input is known to have no negative element (it is the output of a
  /// ReLU), which spares rows.
  LrpRule(const LrpTable&, bool nonnegative) noexcept;
  LrpRule(const LrpOptions& options, bool nonnegative) noexcept : LrpRule(lrp_table(options), nonnegative) {}

  const char* name() const noexcept override { return table_.name; }
  const char* refuses(const Op&) const noexcept override;
  Need needs(const Op&) const noexcept override;
  RuleTraits traits(const Op&) const noexcept override;

 protected:
  Status affine(const Context&, const AffineOp&, const Step&) const noexcept override;
  Status activation(const Context& ctx, const ActivationOp&, const Step& s) const noexcept override {
    return pass(ctx, s);
  }
  /// The signal takes all, a gate nothing; of two factors that are no gates, each takes half.
  Status product(const Context&, const ProductOp&, const Step&) const noexcept override;
  Status custom(const Context& ctx, const CustomOp&, const Step& s) const noexcept override { return pass(ctx, s); }

 private:
  /// What the functions of one step at an affine op share.
  struct AffineStep;

  /// LrpTable::output_multiple at this op; 0 if there is no such number.
  float output_multiple(const AffineOp&) const noexcept;
  Status open(AffineStep&) const noexcept;
  Status make_denominators(const AffineStep&, std::size_t group) const noexcept;
  Status send_group(const AffineStep&, std::size_t group) const noexcept;
  Status send_row(const AffineStep&, const LrpGroup&, const LrpRow&, const TensorView& s) const noexcept;
  Status share_bias(const AffineStep&, const LrpGroup&, const LrpRow&, const TensorView& s) const noexcept;
  Status report(const AffineStep&, std::size_t group, const TensorView& s) const noexcept;

  LrpTable table_;
};

/// Relevance unchanged: for ops whose output has the input's elements one to one. Batch norms and scales, too, for
/// those who want what peers do with a batch norm that they did not merge: it ignores the factor and the shift.
class PassRule final : public Rule {
 public:
  const char* name() const noexcept override { return "pass"; }
  const char* refuses(const Op&) const noexcept override;
  Need needs(const Op& op) const noexcept override {
    return op.op_class() == OpClass::route || op.op_class() == OpClass::view ? op.vjp_needs(false) : Need{};
  }
  RuleTraits traits(const Op&) const noexcept override;

 protected:
  Status affine(const Context& ctx, const AffineOp&, const Step& s) const noexcept override { return pass(ctx, s); }
  Status activation(const Context& ctx, const ActivationOp&, const Step& s) const noexcept override {
    return pass(ctx, s);
  }
  Status custom(const Context& ctx, const CustomOp&, const Step& s) const noexcept override { return pass(ctx, s); }
};

}  // namespace vitrine
