// Which way each kernel goes, for whoever wants to know: the host prints it (core/host/report.h), a plan can ask for
// it.
#pragma once

#include "kernels/kernels.h"

namespace vitrine {

/// Is told, before a kernel with several ways runs, which of them it takes and why it passes over better ones.
class Report {
 public:
  /// The next calls are those of this node, in its forward run or in the walk back.
  virtual void at(std::uint32_t /*node*/, bool /*backward*/) noexcept {}
  virtual void chose(const kernels::Choice&, const kernels::GemmArgs<real>&) noexcept {}
  virtual void chose(const kernels::Choice&, const kernels::ConvArgs<real>&) noexcept {}
  virtual void chose(const kernels::Choice&, const kernels::PoolShape&) noexcept {}
  virtual void chose(const kernels::Choice&, const kernels::BatchNormArgs<real>&) noexcept {}
  void chose(const kernels::Choice&, const kernels::FilterLossArgs<real>&) noexcept {}  ///< has one way

 protected:
  ~Report() = default;
};

}  // namespace vitrine
