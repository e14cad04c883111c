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
  Layouts layouts(const Context&, const Shape&, const Shape&) const noexcept override { return Layouts::follows; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
};

/// Ops that keep the order of elements and change the shape alone.
class ReshapeOp : public ViewOp {
 public:
  Status forward(const Context&, const NodeIO&) const noexcept final;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept final;
  Layouts layouts(const Context&, const Shape&, const Shape&) const noexcept final { return Layouts::both; }

 protected:
  ~ReshapeOp() = default;
};

/// (N,C,H,W) to (N,CHW,1,1).
class Flatten final : public ReshapeOp {
 public:
  const char* name() const noexcept override { return "flatten"; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
};

/// The same elements of each image as (c,h,w).
class Reshape final : public ReshapeOp {
 public:
  std::int32_t c = 1, h = 1, w = 1;

  const char* name() const noexcept override { return "reshape"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("c", c);
    v("h", h);
    v("w", w);
  }
  Field field(const Shape&, const Shape&, std::size_t) const noexcept override { return {1, 1, 0, true}; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
};

/// Dimensions 1, 2, 3 of the result are dimensions d1, d2, d3 of the input: 2, 3, 1 makes NHWC of NCHW; 3, 1, 2 is the
/// way back.
class Transpose final : public ViewOp {
 public:
  std::int32_t d1 = 1, d2 = 2, d3 = 3;

  const char* name() const noexcept override { return "transpose"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("d1", d1);
    v("d2", d2);
    v("d3", d3);
  }
  /// Height and width may come from anywhere.
  Field field(const Shape&, const Shape&, std::size_t axis) const noexcept override {
    return {1, 1, 0, (axis == 2 ? d2 : d3) != static_cast<std::int32_t>(axis)};
  }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;

 private:
  void copy(const Context&, const TensorView& straight, const TensorView& moved, bool there, bool add) const noexcept;
};

/// Elements start, start + step, ... (count of them) of one axis (1 channels, 2 height, 3 width).
class Slice final : public ViewOp {
 public:
  std::int32_t axis = 1, start = 0, count = 1, step = 1;

  const char* name() const noexcept override { return "slice"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("axis", axis);
    v("start", start);
    v("count", count);
    v("step", step);
  }
  Field field(const Shape&, const Shape&, std::size_t of) const noexcept override {
    return static_cast<std::size_t>(axis) == of ? Field{1, static_cast<float>(step), -static_cast<float>(start), false}
                                                : Field{};
  }
  Layouts layouts(const Context&, const Shape&, const Shape&) const noexcept override { return Layouts::follows; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;

 private:
  void copy(const Context&, const TensorView& whole, const TensorView& part, bool out_of, bool add) const noexcept;
};

/// Zeros around (or, with negative sizes, a crop of) channels (front, back), height and width.
class Pad final : public ViewOp {
 public:
  std::int32_t front = 0, back = 0, top = 0, left = 0, bottom = 0, right = 0;

  const char* name() const noexcept override { return "pad"; }
  void attributes(AttributeVisitor& v) noexcept override {
    v("front", front);
    v("back", back);
    v("top", top);
    v("left", left);
    v("bottom", bottom);
    v("right", right);
  }
  Field field(const Shape&, const Shape&, std::size_t axis) const noexcept override {
    return {1, 1, static_cast<float>(axis == 2 ? top : left), false};
  }
  Layouts layouts(const Context&, const Shape&, const Shape&) const noexcept override { return Layouts::follows; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;

 private:
  void copy(const Context&, const TensorView& inner, const TensorView& outer, bool outwards, bool add) const noexcept;
};

/// Any view of an image's elements that strides describe: dimension k has `size[k]` elements, `stride[k]` apart (0
/// repeats an element, below 0 goes backwards), from element `start` on; the result is their list as (c,h,w). Two
/// elements of the result are the same element of the input only along strides of 0. Permutations of up to six
/// dimensions, depth to space and back, tiling, expansion and reversal are such views.
class StridedView final : public ViewOp {
 public:
  static constexpr std::size_t dimensions = 6;
  std::int32_t c = 1, h = 1, w = 1, start = 0;
  std::int32_t size[dimensions] = {1, 1, 1, 1, 1, 1}, stride[dimensions] = {};

  const char* name() const noexcept override { return "strided_view"; }
  void attributes(AttributeVisitor& v) noexcept override;
  Field field(const Shape&, const Shape&, std::size_t) const noexcept override { return {1, 1, 0, true}; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;

 private:
  void copy(const Context&, const TensorView& whole, const TensorView& view, bool out_of, bool add) const noexcept;
};

/// In training, drops elements with probability p and scales the rest by 1/(1-p); else the identity. Which elements is
/// a pure function of (the run's random key, node, element), so the way back needs no mask.
class Dropout final : public ViewOp {
 public:
  float p = 0.5f;

  const char* name() const noexcept override { return "dropout"; }
  OpTraits traits() const noexcept override { return {.random = true}; }
  void attributes(AttributeVisitor& v) noexcept override { v("p", p); }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
               std::size_t& aux) const noexcept override;
  Status forward(const Context&, const NodeIO&) const noexcept override;
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;

 private:
  void move(const Context&, const NodeIO&, const real* from, real* to, std::int64_t n, bool add) const noexcept;
};

Id concat(GraphBuilder&, std::span<const Id> parts, const char* name = nullptr, std::int32_t axis = 1) noexcept;
Id flatten(GraphBuilder&, Id x, const char* name = nullptr) noexcept;
Id reshape(GraphBuilder&, Id x, std::int32_t c, std::int32_t h, std::int32_t w, const char* name = nullptr) noexcept;
Id transpose(GraphBuilder&, Id x, std::int32_t d1, std::int32_t d2, std::int32_t d3,
             const char* name = nullptr) noexcept;
Id slice(GraphBuilder&, Id x, std::int32_t axis, std::int32_t start, std::int32_t count, std::int32_t step,
         const char* name = nullptr) noexcept;
Id pad_channels(GraphBuilder&, Id x, std::int32_t front, std::int32_t back, const char* name = nullptr) noexcept;
Id pad(GraphBuilder&, Id x, std::int32_t top, std::int32_t left, std::int32_t bottom, std::int32_t right,
       const char* name = nullptr) noexcept;
/// The view with these sizes and strides (at most six), as (c,h,w).
Id strided_view(GraphBuilder&, Id x, std::span<const std::int32_t> size, std::span<const std::int32_t> stride,
                std::int32_t start, const Shape& result, const char* name = nullptr) noexcept;
Id dropout(GraphBuilder&, Id x, float p, const char* name = nullptr) noexcept;

}  // namespace vitrine
