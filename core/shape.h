// Shapes and views: what every tensor is to the layers. Neither owns memory.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/kernels.h"

namespace vitrine {

/// Four dimensions, NCHW for images; a vector of k features is (N,k,1,1), a linear layer's weight (out,in,1,1).
struct Shape {
  std::array<std::int32_t, 4> d{1, 1, 1, 1};
  constexpr Shape() noexcept = default;
  constexpr Shape(std::int32_t n, std::int32_t c, std::int32_t h = 1, std::int32_t w = 1) noexcept : d{n, c, h, w} {}
  constexpr std::int32_t n() const noexcept { return d[0]; }
  constexpr std::int32_t c() const noexcept { return d[1]; }
  constexpr std::int32_t h() const noexcept { return d[2]; }
  constexpr std::int32_t w() const noexcept { return d[3]; }
  constexpr std::int64_t pixels() const noexcept { return std::int64_t{d[2]} * d[3]; }
  constexpr std::int64_t per_image() const noexcept { return d[1] * pixels(); }
  constexpr std::int64_t size() const noexcept { return d[0] * per_image(); }
  constexpr Shape with_batch(std::int32_t batch) const noexcept { return {batch, d[1], d[2], d[3]}; }
  friend constexpr bool operator==(const Shape&, const Shape&) = default;
};

/// Elements of someone's memory, dense, in the order of the shape. data == nullptr: no tensor here.
struct TensorView {
  real* data = nullptr;
  Shape shape{};
  /// Images stored interleaved, (n/block, c, h, w, block); 1: planar (core/layout.h). Only ops that say so
  /// (Op::layouts) meet interleaved views; to work element by element the layout does not matter.
  std::int32_t block = 1;
  constexpr explicit operator bool() const noexcept { return data != nullptr; }
  constexpr std::int64_t size() const noexcept { return shape.size(); }
  /// The images [first, first + count): multiples of `block`.
  constexpr TensorView images(std::int32_t first, std::int32_t count) const noexcept {
    return {data + first * shape.per_image(), shape.with_batch(count), block};
  }
};

/// Where a signal or gradient is to be written: `add` false overwrites (the first writer), true accumulates.
struct Sink : TensorView {
  bool add = false;
};

}  // namespace vitrine
