// Support for the kernel self-check: guarded buffers, seeded values, comparison with the double reference.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace vitrine::kernels::selfcheck {

/// Half a unit in the last place of 1: the largest relative error of one float operation.
constexpr double roundoff = FLT_EPSILON / 2.0;

/// A table under test: an instruction set's, or a device's that takes operands in host memory (staged.h).
struct Level {
  std::string name;
  const Kernels* table;
  double product_error = 0;  ///< relative error of every product in a sum, where operands are rounded before
  int every = 1;             ///< of the cases of matrix products and convolutions only every n-th, where they are slow
};
using Levels = std::vector<Level>;

/// One function a slot, named after it; the main loop calls them through VITRINE_KERNEL_SLOTS, so a slot without a
/// check does not link.
#define VITRINE_DECLARE_CHECK(name, ...) void check_##name(const Levels& levels);
VITRINE_KERNEL_SLOTS(VITRINE_DECLARE_CHECK)
#undef VITRINE_DECLARE_CHECK
void check_normals(const Levels& levels);

/// SplitMix64: the same cases on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  int in(int low, int high) { return low + static_cast<int>(next() % static_cast<std::uint64_t>(high - low + 1)); }
  bool coin() { return next() % 2 == 0; }
  float value() {
    // Signed, some exact zeros, magnitudes of 2^-8 to 2.
    const int kind = in(0, 15);
    if (kind == 0) return 0;
    const float v = static_cast<float>(in(-1000000, 1000000)) * 1e-6f;
    return kind == 1 ? v / 256 : kind == 2 ? v * 2 : v;
  }
  /// value(), or now and then what breaks careless kernels.
  float extreme() {
    constexpr float inf = std::numeric_limits<float>::infinity();
    constexpr float special[] = {inf,    -inf,    std::numeric_limits<float>::quiet_NaN(),
                                 1e-40f, -1e-40f, FLT_MIN,
                                 1e18f,  -1e18f,  0.0f,
                                 -0.0f,  88.0f,   -88.0f,
                                 1e-8f};
    return in(0, 3) == 0 ? special[in(0, 12)] : value();
  }

 private:
  std::uint64_t state_;
};

/// n elements one element off any alignment, with guard words on both sides.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t n = 0)
      : n_(n), memory_(static_cast<std::size_t>(n) + 2 * guard_elements + 64 / sizeof(T) + 1) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    offset_ = (64 - address % 64) % 64 / sizeof(T) + 1 + guard_elements;
    std::memset(static_cast<void*>(memory_.data()), guard_pattern, memory_.size() * sizeof(T));
  }
  // The start within the memory depends on its address.
  Guarded(const Guarded& o) : Guarded(o.n_) { std::memcpy(data(), o.data(), bytes()); }
  Guarded& operator=(const Guarded&) = delete;
  T* data() { return memory_.data() + offset_; }
  const T* data() const { return memory_.data() + offset_; }
  std::int64_t size() const { return n_; }
  std::size_t bytes() const { return static_cast<std::size_t>(n_) * sizeof(T); }
  T& operator[](std::int64_t i) { return data()[i]; }
  const T& operator[](std::int64_t i) const { return data()[i]; }
  void poison() { std::memset(static_cast<void*>(data()), 0xff, bytes()); }
  bool intact() const {
    const auto* p = reinterpret_cast<const unsigned char*>(memory_.data());
    const std::size_t begin = offset_ * sizeof(T), end = begin + bytes();
    for (std::size_t i = 0; i < memory_.size() * sizeof(T); ++i) {
      if ((i < begin || i >= end) && p[i] != guard_pattern) return false;
    }
    return true;
  }
  bool same_bits(const Guarded& o) const { return n_ == o.n_ && std::memcmp(data(), o.data(), bytes()) == 0; }

 private:
  static constexpr std::size_t guard_elements = 32;
  static constexpr unsigned char guard_pattern = 0xA5;
  std::int64_t n_;
  std::size_t offset_ = 0;
  std::vector<T> memory_;
};

/// Images of `size` elements, interleaved in blocks of `lanes`, or (`back`) planar again.
template <class T>
Guarded<T> interleaved(const Guarded<T>& from, std::int64_t lanes, std::int64_t size, bool back = false) {
  Guarded<T> to(from.size());
  for (std::int64_t i = 0; i < from.size(); ++i) {
    const std::int64_t image = i / size, place = (image / lanes * size + i % size) * lanes + image % lanes;
    back ? to[i] = from[place] : to[place] = from[i];
  }
  return to;
}

using Floats = Guarded<float>;
using Doubles = std::vector<double>;

inline Floats random_floats(Random& r, std::int64_t n, bool extreme = false) {
  Floats f(n);
  for (std::int64_t i = 0; i < n; ++i) f[i] = extreme ? r.extreme() : r.value();
  return f;
}

inline Doubles widened(const Floats& f) {
  Doubles d(static_cast<std::size_t>(f.size()));
  for (std::size_t i = 0; i < d.size(); ++i) d[i] = static_cast<double>(f[static_cast<std::int64_t>(i)]);
  return d;
}

/// Output buffer: old content that is added to, or NaN that must vanish.
inline Floats output(Random& r, std::int64_t n, bool add) {
  Floats f = random_floats(r, n);
  if (!add) f.poison();
  return f;
}

/// `want` within `bound`, where results below the normal range may be flushed, and NaN and overflow agree.
inline bool agrees(float got, double want, double bound) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return static_cast<double>(got) == want;
  if (std::fabs(want) + bound > static_cast<double>(FLT_MAX) && std::isinf(got)) return (got > 0) == (want > 0);
  return std::fabs(static_cast<double>(got) - want) <= bound + static_cast<double>(FLT_MIN);
}

/// Checks every element, reports the first that is wrong. bound(i) is the error allowed.
template <class Bound>
void check_all(const Floats& got, const Doubles& want, Bound bound) {
  std::int64_t wrong = 0, first = -1;
  for (std::int64_t i = 0; i < got.size(); ++i) {
    if (!agrees(got[i], want[static_cast<std::size_t>(i)], bound(static_cast<std::size_t>(i)))) {
      if (wrong++ == 0) first = i;
    }
  }
  std::string message;
  if (wrong > 0) {
    message = std::to_string(wrong) + " of " + std::to_string(got.size()) + " wrong; element " + std::to_string(first) +
              " is " + std::to_string(got[first]) + ", should be " +
              std::to_string(want[static_cast<std::size_t>(first)]) + " within " +
              std::to_string(bound(static_cast<std::size_t>(first)) * 1e9) + "e-9";
  }
  CHECK_MESSAGE(wrong == 0, message);
  CHECK_MESSAGE(got.intact(), "guard words of the output were overwritten");
}

inline Substitute random_substitute(Random& r) {
  const Substitute all[] = {
      {}, {1, 0}, {0, 1}, {1, -1}, {1.25f, 1}, {0, 0}, {1, 1, Substitute::square}, {1, 1, Substitute::one}};
  return all[r.in(0, 7)];
}

/// |sub(v)| of every element: what error bounds of sums are made of.
inline Doubles magnitudes(const Substitute& sub, const Floats& f) {
  Doubles d = widened(f), m(d.size());
  reference<double>().substitute(sub, d.data(), m.data(), f.size(), false);
  for (double& v : m) v = std::fabs(v);
  return m;
}

/// Runs a tiled kernel in guarded memory whose content is NaN before every tile.
template <class Args>
void run(const Tiled<Args>& kernel, const Args& args, bool reversed = false) {
  const Work work = kernel.plan(args), again = kernel.plan(args);
  CHECK(work.tiles == again.tiles);
  CHECK(work.shared_bytes == again.shared_bytes);
  CHECK(work.scratch_bytes == again.scratch_bytes);
  constexpr std::size_t guard = 64;
  const auto memory = [](std::size_t bytes) {
    const std::size_t all = (bytes + 2 * guard + 63) / 64 * 64 + 64;
    std::unique_ptr<std::byte[], void (*)(void*)> p(static_cast<std::byte*>(std::aligned_alloc(64, all)), std::free);
    std::memset(p.get(), 0xff, all);
    return p;
  };
  const auto guarded = [](const std::byte* p, std::size_t bytes) {
    bool ok = true;
    for (std::size_t i = 0; i < guard; ++i)
      ok = ok && p[i] == std::byte{0xff} && p[guard + bytes + i] == std::byte{0xff};
    return ok;
  };
  const auto shared = memory(work.shared_bytes), scratch = memory(work.scratch_bytes);
  for (std::int64_t part = 0; part < work.parts && work.shared_bytes > 0; ++part)
    kernel.pack(args, shared.get() + guard, part);
  for (std::int64_t i = 0; i < work.tiles; ++i) {
    if (work.scratch_bytes < (1u << 20)) std::memset(scratch.get() + guard, 0xff, work.scratch_bytes);
    kernel.tile(args, shared.get() + guard, scratch.get() + guard, reversed ? work.tiles - 1 - i : i);
  }
  CHECK_MESSAGE(guarded(shared.get(), work.shared_bytes), "shared memory was overrun");
  CHECK_MESSAGE(guarded(scratch.get(), work.scratch_bytes), "scratch memory was overrun");
}

}  // namespace vitrine::kernels::selfcheck
