// Reversed networks: the gradient with another way back through rectifiers [Zeiler & Fergus 2014; Springenberg et al.
// 2015; Mahendran & Vedaldi 2016]. README.md in this folder, section 4.
#pragma once

#include "core/rule.h"

namespace vitrine {

/// deconvnet: a rectifier passes the positive part of the signal. guided: only where its input was positive, too.
class RectifyRule final : public Rule {
 public:
  /// `strict`: activations that are no rectifiers (tanh, sigmoid) are refused; else they use the gradient, as peers do.
  RectifyRule(kernels::Rectify kind, bool strict) noexcept : kind_(kind), strict_(strict) {}
  const char* name() const noexcept override {
    return kind_ == kernels::Rectify::guided ? "guided-backprop" : "deconvnet";
  }
  const char* refuses(const Op&) const noexcept override;
  Need needs(const Op&) const noexcept override;
  RuleTraits traits(const Op&) const noexcept override { return {.any_layout = true}; }

 protected:
  Status pointwise(const Context&, const PointwiseOp&, const Step&) const noexcept override;
  Status custom(const Context& ctx, const CustomOp&, const Step& s) const noexcept override { return pass(ctx, s); }

 private:
  kernels::Rectify kind_;
  bool strict_;
};

}  // namespace vitrine
