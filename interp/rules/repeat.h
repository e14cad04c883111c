// What is the same for all images stands once in memory, beside tensors that have it for each image.
#pragma once

#include <algorithm>

#include "core/context.h"

namespace vitrine {

/// body(begin, place in the block, count) for all elements of a tensor of `size` elements, along which a block of
/// `block_size` elements is repeated.
template <class Body>
void for_each_repeat(const Context& ctx, std::int64_t size, std::int64_t block_size, Body body) noexcept {
  ctx.ranges(size, elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    for (std::int64_t next; begin < end; begin = next) {
      const std::int64_t at = begin % block_size;
      next = std::min(end, begin - at + block_size);
      body(begin, at, next - begin);
    }
  });
}

}  // namespace vitrine
