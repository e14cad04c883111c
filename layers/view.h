// Ops that move elements and change none: every rule passes through them.
#pragma once

#include "core/graph.h"

namespace vitrine {

/// Joins tensors along one axis (1 channels, 2 height, 3 width); the other sizes agree.
class Concat final : public ViewOp {
 public:
  std::int32_t axis = 1;

  const char* name() const noexcept override { return "concat"; }
  void attributes(AttributeVisitor& v) noexcept override { v("axis", axis); }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink> d_par) const noexcept override;
};

/// (N,C,H,W) to (N,CHW,1,1).
class Flatten final : public ViewOp {
 public:
  const char* name() const noexcept override { return "flatten"; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink> d_par) const noexcept override;
};

/// Zeros around (or, with negative sizes, a crop of) height and width.
class Pad final : public ViewOp {
 public:
  std::int32_t top = 0, left = 0, bottom = 0, right = 0;

  const char* name() const noexcept override { return "pad"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("top", top);
    v("left", left);
    v("bottom", bottom);
    v("right", right);
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink> d_par) const noexcept override;

 private:
  void copy(const Context&, const TensorView& inner, const TensorView& outer, bool outwards, bool add) const noexcept;
};

/// In training, drops elements with probability p and scales the rest by 1/(1-p); else the identity. Which elements is a
/// pure function of (the run's random key, node, element), so the way back needs no mask.
class Dropout final : public ViewOp {
 public:
  float p = 0.5f;

  const char* name() const noexcept override { return "dropout"; }
  void attributes(AttributeVisitor& v) noexcept override { v("p", p); }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out, std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in, std::span<const Sink> d_par) const noexcept override;

 private:
  void move(const Context&, const NodeIO&, const real* from, real* to, std::int64_t n, bool add) const noexcept;
};

Id concat(GraphBuilder&, std::span<const Id> parts, const char* name = nullptr, std::int32_t axis = 1) noexcept;
Id flatten(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id pad(GraphBuilder&, Id x, std::int32_t top, std::int32_t left, std::int32_t bottom, std::int32_t right, const char* name = nullptr) noexcept;
Id dropout(GraphBuilder&, Id x, float p, const char* name = nullptr) noexcept;

}  // namespace vitrine
