// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// Element i of stream `key` is a pure function of (key, i), so any thread, device or resumed run draws the same
// numbers.
#pragma once

#include <array>
#include <cstdint>

namespace vitrine {

/// The four 32-bit words of block `counter` of stream `key`.
constexpr std::array<std::uint32_t, 4> philox(std::uint64_t key, std::uint64_t counter) noexcept {
  std::uint32_t c0 = static_cast<std::uint32_t>(counter), c1 = static_cast<std::uint32_t>(counter >> 32), c2 = 0,
                c3 = 0;
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(b);
    c3 = static_cast<std::uint32_t>(a);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

/// Word i of stream `key`: word i % 4 of block i / 4.
constexpr std::uint32_t philox_word(std::uint64_t key, std::uint64_t i) noexcept { return philox(key, i / 4)[i % 4]; }

/// Uniform in [0,1) with 24 bits, exact in float.
constexpr float philox_uniform(std::uint64_t key, std::uint64_t i) noexcept {
  return static_cast<float>(philox_word(key, i) >> 8) * (1.0f / 16777216.0f);
}

/// A new stream, independent of `key`'s other streams: hash of (key, purpose). SplitMix64 finaliser.
constexpr std::uint64_t derive_key(std::uint64_t key, std::uint64_t purpose) noexcept {
  std::uint64_t z = key + 0x9E3779B97F4A7C15u * (purpose + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace vitrine
