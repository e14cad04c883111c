// Conversion between the two layouts of a batch: planar, (n, c, h, w), where neighbours in memory are pixels of one
// plane, and interleaved, (n/b, c, h, w, b), where they are the same pixel of b images (b: lanes per vector). Kernels
// whose vectors hold one pixel of several images read and write interleaved pixels, so planar operands are converted
// before and after.
#pragma once

#include "kernels/gemm/micro.h"

namespace vitrine::kernels {
namespace {

/// Interleaves pixels [first, last) of `images` planes, `image_step` elements from plane to plane: pixel p becomes the
/// vector at to + place[p - first] * width, one lane per image. Absent images are 0; pixels with a negative place are
/// left out. Prefetches by hand, since the hardware prefetcher does not follow so many streams.
template <class V>
void interleave(const Substitute& sub, const float* from, std::int64_t image_step, std::int64_t images,
                std::int64_t first, std::int64_t last, const std::int32_t* place, float* to) {
  const bool raw = is_raw(sub);
  const Substitution<V> map(sub);
  for (std::int64_t p = first; p < last; p += V::width) {
    const std::int64_t n = smaller<std::int64_t>(V::width, last - p);
    const std::int32_t* const at = place + (p - first);
    const auto transpose_and_store = [&](V(&v)[V::width], auto whole) __attribute__((always_inline)) {
      if (!raw) unroll<V::width>([&](auto i) __attribute__((always_inline)) { v[i] = map(v[i]); });
      transpose_square(v);
      unroll<V::width>([&](auto i) __attribute__((always_inline)) {
        if ((whole || i < n) && at[i] >= 0) v[i].store(to + std::int64_t{at[i]} * V::width);
      });
    };
    V v[V::width];
    if (images == V::width && n == V::width) {
      unroll<V::width>([&](auto i) __attribute__((always_inline)) {
        __builtin_prefetch(from + i * image_step + p + 4 * V::width);
        v[i] = V::load(from + i * image_step + p);
      });
      transpose_and_store(v, std::true_type{});
    } else {
      unroll<V::width>([&](auto i) __attribute__((always_inline)) {
        v[i] = i < images ? V::load_n(from + i * image_step + p, n) : V::zero();
      });
      transpose_and_store(v, std::false_type{});
    }
  }
}

/// The reverse: pixel vectors at from + p * width, p < count, to `images` planes.
template <class V>
void deinterleave(const float* from, std::int64_t count, float* to, std::int64_t image_step, std::int64_t images,
                  bool add, bool relu) {
  for (std::int64_t p = 0; p < count; p += V::width) {
    const std::int64_t n = smaller<std::int64_t>(V::width, count - p);
    V v[V::width];
    if (images == V::width && n == V::width) {
      unroll<V::width>([&](auto i) __attribute__((always_inline)) { v[i] = V::load(from + (p + i) * V::width); });
      unroll<V::width>([&](auto i) __attribute__((always_inline)) {
        __builtin_prefetch(to + i * image_step + p + 2 * V::width, 1);
      });
      transpose_square(v);
      unroll<V::width>([&](auto i) __attribute__((always_inline)) {
        store(v[i], to + i * image_step + p, add, relu, Whole{});
      });
    } else {
      unroll<V::width>([&](auto i) __attribute__((always_inline)) {
        v[i] = i < n ? V::load(from + (p + i) * V::width) : V::zero();
      });
      transpose_square(v);
      unroll<V::width>([&](auto i) __attribute__((always_inline)) {
        if (i < images) store(v[i], to + i * image_step + p, add, relu, Part{n});
      });
    }
  }
}

/// Like interleave(), for pixels that are interleaved already: substitutes them and moves them to their places.
template <class V>
void place_interleaved(const Substitute& sub, const float* from, std::int64_t first, std::int64_t last,
                       const std::int32_t* place, float* to) {
  const bool raw = is_raw(sub);
  const Substitution<V> map(sub);
  for (std::int64_t p = first; p < last; ++p) {
    const std::int64_t at = place[p - first];
    if (at < 0) continue;
    const V v = V::load(from + p * V::width);
    (raw ? v : map(v)).store(to + at * V::width);
  }
}

}  // namespace
}  // namespace vitrine::kernels
