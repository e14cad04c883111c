// Elementwise activations y_i = f(x_i). A new one is a functor in kernels/eltwise, an entry of kernels::Map and a line
// here.
#pragma once

#include "core/graph.h"

namespace vitrine {

class Activation : public PointwiseOp {
 public:
  const char* name() const noexcept override { return name_; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status evaluate(const Context&, const NodeIO&, const TensorView& x, const TensorView& y) const noexcept override;
  Status slope(const Context&, const NodeIO&, const TensorView& x, const TensorView& y, const TensorView& s,
               const Sink& d) const noexcept override;
  Need vjp_needs(bool) const noexcept override { return need_; }
  bool vjp_in_place() const noexcept override { return true; }
  Layouts layouts(const Context&, const Shape&, const Shape&) const noexcept override { return Layouts::same; }

  kernels::MapParameters parameters;  ///< of the function, where it has some

 protected:
  constexpr Activation(kernels::Map map, const char* name, Need need) noexcept : map_(map), name_(name), need_(need) {}
  ~Activation() = default;

 private:
  kernels::Map map_;
  const char* name_;
  Need need_;  // of x and y, the one that the derivative is cheapest in
};

/// max(x, 0). Its derivative at 0 is 0.
class Relu final : public Activation {
 public:
  constexpr Relu() noexcept : Activation(kernels::Map::relu, "relu", {false, true, false}) {}
  bool rectifier() const noexcept override { return true; }
  EpilogueRole epilogue_role() const noexcept override { return EpilogueRole::relu; }
};

/// x where x > 0, else a*x (0 < a < 1).
class LeakyRelu final : public Activation {
 public:
  constexpr LeakyRelu() noexcept : Activation(kernels::Map::leaky_relu, "leaky_relu", {true, false, false}) {
    parameters.a = 0.01f;
  }
  void attributes(AttributeVisitor& v) noexcept override { v("slope", parameters.a); }
};

class Tanh final : public Activation {
 public:
  constexpr Tanh() noexcept : Activation(kernels::Map::tanh, "tanh", {false, true, false}) {}
};

class Sigmoid final : public Activation {
 public:
  constexpr Sigmoid() noexcept : Activation(kernels::Map::sigmoid, "sigmoid", {false, true, false}) {}
  bool nonnegative() const noexcept override { return true; }
  OpTraits traits() const noexcept override { return {.scores = Scores::each_probability}; }
};

/// min(max(x, low), high); low 0 and high 6 is ReLU6. Its derivative at the ends is 0.
class Clip final : public Activation {
 public:
  constexpr Clip() noexcept : Activation(kernels::Map::clip, "clip", {true, false, false}) { parameters = {0, 6}; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("low", parameters.a);
    v("high", parameters.b);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  bool nonnegative() const noexcept override { return parameters.a >= 0; }
};

/// x where x > 0, else alpha (e^x - 1) [Clevert et al. 2016].
class Elu final : public Activation {
 public:
  constexpr Elu() noexcept : Activation(kernels::Map::elu, "elu", {true, false, false}) { parameters.a = 1; }
  void attributes(AttributeVisitor& v) noexcept override { v("alpha", parameters.a); }
};

/// x times the normal distribution function at x [Hendrycks & Gimpel 2016].
class Gelu final : public Activation {
 public:
  constexpr Gelu() noexcept : Activation(kernels::Map::gelu, "gelu", {true, false, false}) {}
};

/// GELU in its approximation by tanh.
class GeluTanh final : public Activation {
 public:
  constexpr GeluTanh() noexcept : Activation(kernels::Map::gelu_tanh, "gelu_tanh", {true, false, false}) {}
};

/// x sigmoid(x), also called swish.
class Silu final : public Activation {
 public:
  constexpr Silu() noexcept : Activation(kernels::Map::silu, "silu", {true, false, false}) {}
};

/// clip(alpha x + beta, 0, 1). PyTorch's has alpha 1/6, ONNX's default is 0.2; beta 1/2.
class HardSigmoid final : public Activation {
 public:
  constexpr HardSigmoid() noexcept : Activation(kernels::Map::hard_sigmoid, "hard_sigmoid", {true, false, false}) {
    parameters = {1.0f / 6, 0.5f};
  }
  void attributes(AttributeVisitor& v) noexcept override {
    v("alpha", parameters.a);
    v("beta", parameters.b);
  }
  bool nonnegative() const noexcept override { return true; }
  OpTraits traits() const noexcept override { return {.scores = Scores::each_probability}; }
};

/// x clip(x/6 + 1/2, 0, 1) [Howard et al. 2019].
class HardSwish final : public Activation {
 public:
  constexpr HardSwish() noexcept : Activation(kernels::Map::hard_swish, "hard_swish", {true, false, false}) {}
};

/// log(1 + e^x).
class Softplus final : public Activation {
 public:
  constexpr Softplus() noexcept : Activation(kernels::Map::softplus, "softplus", {true, false, false}) {}
  bool nonnegative() const noexcept override { return true; }
};

/// x / (1 + |x|).
class Softsign final : public Activation {
 public:
  constexpr Softsign() noexcept : Activation(kernels::Map::softsign, "softsign", {true, false, false}) {}
};

/// x where x > theta, else 0.
class Threshold final : public Activation {
 public:
  constexpr Threshold() noexcept : Activation(kernels::Map::threshold, "threshold", {true, false, false}) {
    parameters.a = 1;
  }
  void attributes(AttributeVisitor& v) noexcept override { v("theta", parameters.a); }
  bool nonnegative() const noexcept override { return parameters.a >= 0; }
};

/// |x|. Its derivative at 0 is 0.
class Abs final : public Activation {
 public:
  constexpr Abs() noexcept : Activation(kernels::Map::abs, "abs", {true, false, false}) {}
  bool nonnegative() const noexcept override { return true; }
};

/// e^x.
class Exp final : public Activation {
 public:
  constexpr Exp() noexcept : Activation(kernels::Map::exp, "exp", {false, true, false}) {}
  bool nonnegative() const noexcept override { return true; }
};

/// The natural logarithm; NaN below 0.
class Log final : public Activation {
 public:
  constexpr Log() noexcept : Activation(kernels::Map::log, "log", {true, false, false}) {}
};

/// x to a given power; NaN below 0 unless the exponent is a whole number. 1/2 is the square root, -1 the reciprocal.
class Power final : public Activation {
 public:
  constexpr Power() noexcept : Activation(kernels::Map::power, "power", {true, false, false}) { parameters.a = 2; }
  void attributes(AttributeVisitor& v) noexcept override { v("exponent", parameters.a); }
};

/// x where x > 0, else a slope of its own for each channel times x: PReLU [He et al. 2015]. The slopes are parameters.
class PRelu final : public PointwiseOp {
 public:
  const char* name() const noexcept override { return "prelu"; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status evaluate(const Context&, const NodeIO&, const TensorView& x, const TensorView& y) const noexcept override;
  Status slope(const Context&, const NodeIO&, const TensorView& x, const TensorView& y, const TensorView& s,
               const Sink& d) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
  Need vjp_needs(bool) const noexcept override { return {true, false, false}; }
};

Id relu(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id leaky_relu(GraphBuilder&, Id x, float slope = 0.01f, const char* name = nullptr) noexcept;
Id tanh(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id sigmoid(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id clip(GraphBuilder&, Id x, float low, float high, const char* name = nullptr) noexcept;
Id elu(GraphBuilder&, Id x, float alpha = 1, const char* name = nullptr) noexcept;
Id gelu(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id gelu_tanh(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id silu(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id hard_sigmoid(GraphBuilder&, Id x, float alpha = 1.0f / 6, float beta = 0.5f, const char* name = nullptr) noexcept;
Id hard_swish(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id softplus(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id softsign(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id threshold(GraphBuilder&, Id x, float theta, const char* name = nullptr) noexcept;
Id abs(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id exp(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id log(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id power(GraphBuilder&, Id x, float exponent, const char* name = nullptr) noexcept;
Id prelu(GraphBuilder&, Id x, const char* name = nullptr) noexcept;

}  // namespace vitrine
