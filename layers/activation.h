// Elementwise activations y_i = f(x_i). A new one is a functor in kernels/eltwise, an entry of kernels::Map and a line here.
#pragma once

#include "core/graph.h"

namespace vitrine {

class Activation : public PointwiseOp {
 public:
  const char* name() const noexcept override { return name_; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept override;
  Status evaluate(const Context&, const TensorView& x, const TensorView& y) const noexcept override;
  Status slope(const Context&, const TensorView& x, const TensorView& y, const TensorView& s, const Sink& d) const noexcept override;
  Need vjp_needs(bool) const noexcept override { return need_; }

  float a = 0;  ///< the function's parameter, where it has one

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
};

/// x where x > 0, else a*x (0 < a < 1).
class LeakyRelu final : public Activation {
 public:
  constexpr LeakyRelu() noexcept : Activation(kernels::Map::leaky_relu, "leaky_relu", {true, false, false}) { a = 0.01f; }
  void attributes(AttributeVisitor& v) noexcept override { v("slope", a); }
};

class Tanh final : public Activation {
 public:
  constexpr Tanh() noexcept : Activation(kernels::Map::tanh, "tanh", {false, true, false}) {}
};

class Sigmoid final : public Activation {
 public:
  constexpr Sigmoid() noexcept : Activation(kernels::Map::sigmoid, "sigmoid", {false, true, false}) {}
};

Id relu(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id leaky_relu(GraphBuilder&, Id x, float slope = 0.01f, const char* name = nullptr) noexcept;
Id tanh(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id sigmoid(GraphBuilder&, Id x, const char* name = nullptr) noexcept;

}  // namespace vitrine
