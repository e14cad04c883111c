// Shared by the reference kernels. They are naive on purpose: one loop nest each, in the order of the definition, sums
// kept in T (in double where the contract says so), and nothing in common with the fast kernels.
#pragma once

#include <cmath>

#include "kernels/kernels.h"

namespace vitrine::kernels::ref {

/// sub(v). NaN stays NaN under `signs`; a factor of 0 gives 0, also for infinities.
template <class T>
constexpr T substituted(const Substitute& s, T v) noexcept {
  if (s.kind == Substitute::square) return v * v;
  if (s.kind == Substitute::one) return T(1);
  if (v != v) return v;
  const T factor = v > 0 ? T(s.p) : T(s.n);
  return factor == 0 ? T(0) : factor * v;
}

template <class T>
constexpr void put(T& to, T value, bool add) noexcept {
  to = add ? to + value : value;
}

}  // namespace vitrine::kernels::ref
