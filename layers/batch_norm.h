// Batch normalisation [Ioffe & Szegedy 2015], a channel each: y = weight (x - mean) / sqrt(var + eps) + bias. In
// training (Context::training) mean and variance are the batch's, and the running ones follow them; in evaluation they
// are the running ones, and the op is affine: explained as it is, or merged into the convolution before it
// (models/merge.h). Parameters as in PyTorch: weight, bias, and the untrained running_mean and running_var.
#pragma once

#include "layers/diagonal.h"

namespace vitrine {

class BatchNorm final : public DiagonalOp {
 public:
  float eps = 1e-5f;
  float momentum = 0.1f;  ///< of the running statistics: running += momentum * (batch's - running)

  const char* name() const noexcept override { return "batch_norm"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("eps", eps);
    v("momentum", momentum);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
  bool takes_epilogue() const noexcept override { return true; }
  bool vjp_in_place() const noexcept override { return true; }
  OpTraits traits() const noexcept override { return {.normaliser = true}; }
  Layouts layouts(const Context&, const Shape&, const Shape&) const noexcept override { return Layouts::same; }
  /// A training run's way back is planned with parameter gradients: it reads the input and the batch's statistics.
  Need vjp_needs(bool parameters) const noexcept override { return {parameters, false, parameters}; }
  void coefficients(const Context&, const NodeIO&, Substitute w, Substitute b, real* scale,
                    real* shift) const noexcept override;

 private:
  kernels::BatchNormArgs<real> arguments(const NodeIO&) const noexcept;
};

Id batch_norm(GraphBuilder&, Id x, const char* name = nullptr, float eps = 1e-5f, float momentum = 0.1f) noexcept;

}  // namespace vitrine
