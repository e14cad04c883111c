// Local response normalisation across channels [Krizhevsky et al. 2012, section 3.3], in the form of ONNX and PyTorch:
// y_c = x_c (bias + alpha/size * sum over the size channels around c of x^2)^-beta.
//
// Its derivative is whole. Relevance and reversed signals pass it unchanged (README.md, section 4). DeepLIFT's
// multipliers are complete: see kernels::LrnArgs.
#pragma once

#include "core/graph.h"

namespace vitrine {

class LocalResponseNorm final : public CustomOp {
 public:
  std::int32_t size = 5;
  float alpha = 1e-4f, beta = 0.75f, bias = 1;

  const char* name() const noexcept override { return "local_response_norm"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("size", size);
    v("alpha", alpha);
    v("beta", beta);
    v("bias", bias);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
  Need vjp_needs(bool) const noexcept override { return {true, false, false}; }
  bool passes() const noexcept override { return true; }
  bool has_multipliers() const noexcept override { return true; }
  Status multipliers(const Context&, const NodeIO&, const NodeIO& reference, const TensorView& m,
                     std::span<const Sink> d_in) const noexcept override;

 private:
  Status back(const Context&, const TensorView& x, const TensorView& x0, const TensorView& s,
              const Sink& d) const noexcept;
};

Id local_response_norm(GraphBuilder&, Id x, std::int32_t size, const char* name = nullptr, float alpha = 1e-4f,
                       float beta = 0.75f, float bias = 1) noexcept;

}  // namespace vitrine
