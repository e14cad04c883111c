// Vector elementwise kernels.
#pragma once

#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

template <class V>
void map_forward(Map map, float a, const float* x, float* y, std::int64_t n) noexcept {
  const auto each = [&](auto f) __attribute__((always_inline)) {
    stream<V>(n, [&](std::int64_t i, auto step) { store(f(load<V>(x + i, step)), y + i, step); });
  };
  switch (map) {
    case Map::relu:
      each([](V v) { return V::max(V::zero(), v); });
      break;
    case Map::leaky_relu:
      each([a](V v) { return V::select(v < V::zero(), V::set(a) * v, v); });
      break;
    case Map::tanh:
      each([](V v) { return tanh(v); });
      break;
    case Map::sigmoid:
      each([](V v) { return sigmoid(v); });
      break;
    case Map::count_:
      break;
  }
}

template <class V>
void map_backward(Map map, float a, const float* x, const float* y, const float* s, float* d, std::int64_t n,
                  bool add) noexcept {
  const auto each = [&](const float* v, auto f) __attribute__((always_inline)) {
    stream<V>(
        n, [&](std::int64_t i, auto step) { store(f(load<V>(v + i, step), load<V>(s + i, step)), d + i, add, step); });
  };
  switch (map) {
    case Map::relu:
      each(x, [](V v, V g) { return V::select(v > V::zero(), g, V::zero()); });
      break;
    case Map::leaky_relu:
      each(x, [a](V v, V g) { return V::select(v > V::zero(), g, V::set(a) * g); });
      break;
    case Map::tanh:
      each(y, [](V v, V g) { return V::fnma(v, v, V::set(1)) * g; });
      break;
    case Map::sigmoid:
      each(y, [](V v, V g) { return v * (V::set(1) - v) * g; });
      break;
    case Map::count_:
      break;
  }
}

template <class V>
void rectify_backward(Rectify rule, const float* x, const float* s, float* d, std::int64_t n, bool add) noexcept {
  const bool guided = rule == Rectify::guided;
  stream<V>(n, [&](std::int64_t i, auto step) {
    V v = V::max(V::zero(), load<V>(s + i, step));
    if (guided) v = V::select(load<V>(x + i, step) > V::zero(), v, V::zero());
    store(v, d + i, add, step);
  });
}

template <class V>
void fill(float value, float* y, std::int64_t n) noexcept {
  stream<V>(n, [&](std::int64_t i, auto step) { store(V::set(value), y + i, step); });
}

template <class V>
void scale(float a, const float* x, float* y, std::int64_t n, bool add) noexcept {
  const V f = V::set(a);
  stream<V>(n, [&](std::int64_t i, auto step) { store(f * load<V>(x + i, step), y + i, add, step); });
}

template <class V>
void multiply(const float* x, const float* y, float* z, std::int64_t n, bool add) noexcept {
  stream<V>(n,
            [&](std::int64_t i, auto step) { store(load<V>(x + i, step) * load<V>(y + i, step), z + i, add, step); });
}

template <class V>
void combine(float a, const float* x, float b, const float* y, float* z, std::int64_t n) noexcept {
  const V fa = V::set(a), fb = V::set(b);
  stream<V>(
      n, [&](std::int64_t i, auto step) { store(fa * load<V>(x + i, step) + fb * load<V>(y + i, step), z + i, step); });
}

template <class V>
void substitute(Substitute s, const float* x, float* y, std::int64_t n, bool add) noexcept {
  const Substitution<V> sub(s);
  stream<V>(n, [&](std::int64_t i, auto step) { store(sub(load<V>(x + i, step)), y + i, add, step); });
}

template <class V>
void copy(const CopyArgs<float>& c) noexcept {
  const bool rows = c.src_stride[3] == 1 && c.dst_stride[3] == 1;
  for (std::int64_t i = 0; i < c.size[0]; ++i) {
    for (std::int64_t j = 0; j < c.size[1]; ++j) {
      const float* src = c.src + i * c.src_stride[0] + j * c.src_stride[1];
      float* dst = c.dst + i * c.dst_stride[0] + j * c.dst_stride[1];
      if (!c.add && c.dst_stride[3] == 1 && c.src_stride[2] == 1 && c.size[3] > 1) {
        transpose<V>(Substitute{}, src, c.src_stride[3], c.size[3], c.size[2], dst, c.dst_stride[2]);
        continue;
      }
      for (std::int64_t k = 0; k < c.size[2]; ++k, src += c.src_stride[2], dst += c.dst_stride[2]) {
        if (rows) {
          stream<V>(c.size[3], [&](std::int64_t l, auto step) { store(load<V>(src + l, step), dst + l, c.add, step); });
          continue;
        }
        for (std::int64_t l = 0; l < c.size[3]; ++l) {
          float& to = dst[l * c.dst_stride[3]];
          to = c.add ? to + src[l * c.src_stride[3]] : src[l * c.src_stride[3]];
        }
      }
    }
  }
}

/// The words of `blocks` Philox blocks from `counter` on (see philox.h), one lane a block. Plain loops over lanes: the
/// compiler makes them vectors.
template <int Lanes>
VITRINE_INLINE void philox_blocks(std::uint64_t key, std::uint64_t counter, std::uint32_t (&out)[4 * Lanes]) {
  std::uint32_t c0[Lanes], c1[Lanes], c2[Lanes], c3[Lanes];
  for (int l = 0; l < Lanes; ++l) {
    const std::uint64_t c = counter + static_cast<std::uint64_t>(l);
    c0[l] = static_cast<std::uint32_t>(c);
    c1[l] = static_cast<std::uint32_t>(c >> 32);
    c2[l] = c3[l] = 0;
  }
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    for (int l = 0; l < Lanes; ++l) {
      const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0[l], b = std::uint64_t{0xCD9E8D57u} * c2[l];
      c0[l] = static_cast<std::uint32_t>(b >> 32) ^ c1[l] ^ k0;
      c2[l] = static_cast<std::uint32_t>(a >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<std::uint32_t>(b);
      c3[l] = static_cast<std::uint32_t>(a);
    }
  }
  for (int l = 0; l < Lanes; ++l) {
    out[4 * l] = c0[l];
    out[4 * l + 1] = c1[l];
    out[4 * l + 2] = c2[l];
    out[4 * l + 3] = c3[l];
  }
}

template <class V>
void dropout(float p, std::uint64_t key, std::uint64_t first, const float* x, float* y, std::int64_t n,
             bool add) noexcept {
  constexpr int lanes = V::width, chunk = 4 * lanes;
  const V factor = V::set(1 / (1 - p)), threshold = V::set(p);
  std::uint64_t block = first / 4;
  std::int64_t skip = static_cast<std::int64_t>(first % 4);
  for (std::int64_t i = 0; i < n; block += lanes) {
    std::uint32_t words[chunk];
    philox_blocks<lanes>(key, block, words);
    float uniform[chunk];
    for (int l = 0; l < chunk; ++l) {
      uniform[l] = static_cast<float>(static_cast<std::int32_t>(words[l] >> 8)) * (1.0f / 16777216.0f);
    }
    const std::int64_t here = smaller(n - i, chunk - skip);
    stream<V>(here, [&](std::int64_t j, auto step) {
      const V v = load<V>(x + i + j, step) * factor;
      store(V::select(load<V>(uniform + skip + j, step) < threshold, V::zero(), v), y + i + j, add, step);
    });
    i += here;
    skip = 0;
  }
}

}  // namespace
}  // namespace vitrine::kernels
