// Vector elementwise kernels.
#pragma once

#include "kernels/normal.h"
#include "kernels/simd/common.h"

namespace vitrine::kernels {
namespace {

/// Calls a C function lane by lane, for functions that are rare in networks and would need long polynomials.
template <class V>
VITRINE_INLINE V per_lane(V v, float (*f)(float)) {
  float lanes[V::width];
  v.store(lanes);
  for (int i = 0; i < V::width; ++i) lanes[i] = f(lanes[i]);
  return V::load(lanes);
}

/// A loop of its own: inlined 16 times into map_backward, GCC 12 loses what the result is to be added to.
__attribute__((noinline)) void power_lanes(float* x, int n, float exponent) noexcept {
  for (int i = 0; i < n; ++i) x[i] = ::powf(x[i], exponent);
}

template <class V>
VITRINE_INLINE V power(V v, float exponent) {
  float lanes[V::width];
  v.store(lanes);
  power_lanes(lanes, V::width, exponent);
  return V::load(lanes);
}

/// e^x - 1 for x <= 0, without cancellation near 0: 2t/(1-t) with t = tanh(x/2).
template <class V>
VITRINE_INLINE V expm1_negative(V x) {
  const V t = tanh(x * V::set(0.5f));
  return (t + t) / (V::set(1) - t);
}

/// The logistic function at twice the argument of tanh in GELU's tanh form.
template <class V>
VITRINE_INLINE V gelu_gate(V x) {
  return sigmoid(V::set(1.5957691216f) * x * V::fma(V::set(0.044715f) * x, x, V::set(1)));
}

template <class V>
VITRINE_INLINE V clip(V x, V low, V high) {
  return V::select(x < low, low, V::select(x > high, high, x));
}

template <class V>
void map_forward(Map map, MapParameters p, const float* x, float* y, std::int64_t n) noexcept {
  const auto each = [&](auto f) __attribute__((always_inline)) {
    stream<V>(n, [&](std::int64_t i, auto step) { store(f(load<V>(x + i, step)), y + i, step); });
  };
  const V a = V::set(p.a), b = V::set(p.b), zero = V::zero(), one = V::set(1), half = V::set(0.5f);
  switch (map) {
    case Map::relu:
      each([&](V v) { return V::max(zero, v); });
      break;
    case Map::leaky_relu:
      each([&](V v) { return V::select(v < zero, a * v, v); });
      break;
    case Map::tanh:
      each([](V v) { return tanh(v); });
      break;
    case Map::sigmoid:
      each([](V v) { return sigmoid(v); });
      break;
    case Map::clip:
      each([&](V v) { return clip(v, a, b); });
      break;
    case Map::elu:
      each([&](V v) { return V::select(v < zero, a * expm1_negative(v), v); });
      break;
    case Map::gelu:
      each([&](V v) { return half * v * per_lane(v * V::set(-0.70710678f), ::erfcf); });
      break;
    case Map::gelu_tanh:
      each([](V v) { return v * gelu_gate(v); });
      break;
    case Map::silu:
      each([](V v) { return v * sigmoid(v); });
      break;
    case Map::hard_sigmoid:
      each([&](V v) { return clip(a * v + b, zero, one); });
      break;
    case Map::hard_swish:
      each([&](V v) {
        const V three = V::set(3);
        return V::select(v < zero - three, zero, V::select(v > three, v, v * (v + three) / V::set(6)));
      });
      break;
    case Map::softplus:
      each([](V v) { return V::max(V::zero(), v) + per_lane(exp(V::zero() - V::abs(v)), ::log1pf); });
      break;
    case Map::softsign:
      each([&](V v) { return v / (one + V::abs(v)); });
      break;
    case Map::threshold:
      each([&](V v) { return V::select((v > a) | v.is_nan(), v, zero); });
      break;
    case Map::abs:
      each([](V v) { return V::abs(v); });
      break;
    case Map::exp:
      each([](V v) { return exp(v); });
      break;
    case Map::log:
      each([](V v) { return per_lane(v, ::logf); });
      break;
    case Map::power:
      each([&](V v) { return power(v, p.a); });
      break;
    case Map::count_:
      break;
  }
}

// Derivatives f'(x).
template <class V>
VITRINE_INLINE V gelu_slope(V x) {
  const V density = V::set(0.39894228f) * exp(V::set(-0.5f) * x * x);
  return V::fma(x, density, V::set(0.5f) * per_lane(x * V::set(-0.70710678f), ::erfcf));
}
template <class V>
VITRINE_INLINE V gelu_tanh_slope(V x) {
  const V one = V::set(1), q = gelu_gate(x), inner = V::set(1.5957691216f) * V::fma(V::set(3 * 0.044715f) * x, x, one);
  return V::fma(x * q * (one - q), inner, q);
}
template <class V>
VITRINE_INLINE V silu_slope(V x) {
  const V one = V::set(1), q = sigmoid(x);
  return q * V::fma(x, one - q, one);
}

template <class V>
void map_backward(Map map, MapParameters p, const float* x, const float* y, const float* s, float* d, std::int64_t n,
                  bool add) noexcept {
  const auto each = [&](const float* v, auto f) __attribute__((always_inline)) {
    stream<V>(
        n, [&](std::int64_t i, auto step) { store(f(load<V>(v + i, step), load<V>(s + i, step)), d + i, add, step); });
  };
  const V a = V::set(p.a), b = V::set(p.b), zero = V::zero(), one = V::set(1), half = V::set(0.5f);
  // A slope of 0 passes nothing, not even infinities.
  const auto times = [&](V slope, V g) __attribute__((always_inline)) {
    return V::select(slope == zero, zero, slope * g);
  };
  switch (map) {
    case Map::relu:
      each(x, [&](V v, V g) { return V::select(v > zero, g, zero); });
      break;
    case Map::leaky_relu:
      each(x, [&](V v, V g) { return V::select(v > zero, g, times(a, g)); });
      break;
    case Map::tanh:
      each(y, [&](V v, V g) { return V::fnma(v, v, one) * g; });
      break;
    case Map::sigmoid:
      each(y, [&](V v, V g) { return v * (one - v) * g; });
      break;
    case Map::clip:
      each(x, [&](V v, V g) { return V::select((v > a) & (v < b), g, zero); });
      break;
    case Map::elu:
      each(x, [&](V v, V g) { return V::select(v > zero, g, times(a * exp(v), g)); });
      break;
    case Map::gelu:
      each(x, [&](V v, V g) { return times(gelu_slope(v), g); });
      break;
    case Map::gelu_tanh:
      each(x, [&](V v, V g) { return times(gelu_tanh_slope(v), g); });
      break;
    case Map::silu:
      each(x, [&](V v, V g) { return times(silu_slope(v), g); });
      break;
    case Map::hard_sigmoid:
      each(x, [&](V v, V g) {
        const V t = a * v + b;
        return V::select((t > zero) & (t < one), times(a, g), zero);
      });
      break;
    case Map::hard_swish:
      each(x, [&](V v, V g) {
        const V three = V::set(3);
        const V inside = times(v / three + half, g);
        return V::select(v > three, g, V::select((v > zero - three) | v.is_nan(), inside, zero));
      });
      break;
    case Map::softplus:
      each(x, [&](V v, V g) { return times(sigmoid(v), g); });
      break;
    case Map::softsign:
      each(x, [&](V v, V g) {
        const V q = one / (one + V::abs(v));
        return times(q * q, g);
      });
      break;
    case Map::threshold:
      each(x, [&](V v, V g) { return V::select((v > a) | v.is_nan(), g, zero); });
      break;
    case Map::abs:
      each(x, [&](V v, V g) { return V::select(v > zero, g, V::select(v < zero, zero - g, zero)); });
      break;
    case Map::exp:
      each(y, [&](V v, V g) { return times(v, g); });
      break;
    case Map::log:
      each(x, [&](V v, V g) { return times(one / v, g); });
      break;
    case Map::power:
      each(x, [&](V v, V g) { return times(a * power(v, p.a - 1), g); });
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

/// The words of `blocks` Philox blocks from `counter` on (see philox.h), one lane per block. Plain loops over lanes,
/// which the compiler vectorises.
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

template <class V>
void normals(std::uint64_t key, std::int64_t n, double* y) noexcept {
  constexpr int lanes = V::width, chunk = 2 * lanes;
  std::uint64_t block = 0;
  for (std::int64_t i = 0; i < n; i += chunk, block += lanes) {
    std::uint32_t words[2 * chunk];
    philox_blocks<lanes>(key, block, words);
    std::uint32_t a[chunk], b[chunk];
    for (int k = 0; k < chunk; ++k) a[k] = words[2 * k], b[k] = words[2 * k + 1];
    double z[chunk];
    for (int k = 0; k < chunk; ++k) z[k] = detail::normal_of(a[k], b[k]);
    const std::int64_t here = smaller<std::int64_t>(chunk, n - i);
    for (std::int64_t k = 0; k < here; ++k) y[i + k] = z[k];
  }
}

}  // namespace
}  // namespace vitrine::kernels
