// Chooses among the tables at run time.
#include <type_traits>

#include "kernels/kernels.h"

#ifndef VITRINE_EMBEDDED
#include <cstdlib>
#include <cstring>
#endif

namespace vitrine::kernels {

// Each per-ISA library defines one of these and no other global symbol.
#ifdef VITRINE_HAVE_AVX2
void fill_avx2(Table<float>& table) noexcept;
#endif
#ifdef VITRINE_HAVE_AVX512
void fill_avx512(Table<float>& table) noexcept;
#endif

namespace {

// Unused in builds without an environment.
[[maybe_unused]] constexpr Isa every_isa[] = {Isa::reference, Isa::avx2, Isa::avx512};

#if defined(VITRINE_HAVE_AVX2) || defined(VITRINE_HAVE_AVX512)
template <class T>
Table<T> widened([[maybe_unused]] Isa isa) noexcept {
  Table<T> t = reference<T>();
  if constexpr (std::is_same_v<T, float>) {
#ifdef VITRINE_HAVE_AVX2
    if (isa >= Isa::avx2) fill_avx2(t);
#endif
#ifdef VITRINE_HAVE_AVX512
    if (isa >= Isa::avx512) fill_avx512(t);
#endif
  }
  return t;
}
#endif

}  // namespace

const char* name(Isa isa) noexcept {
  switch (isa) {
    case Isa::reference:
      return "ref";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "unknown";
}

// The compiler's run-time library reads CPUID, and XGETBV for the registers that the operating system saves.
Isa detected() noexcept {
  [[maybe_unused]] constexpr bool vectors = std::is_same_v<real, float>;
#if defined(VITRINE_HAVE_AVX2) || defined(VITRINE_HAVE_AVX512)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#ifdef VITRINE_HAVE_AVX512
  if (vectors && avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return Isa::avx512;
  }
#endif
#ifdef VITRINE_HAVE_AVX2
  if (vectors && avx2) return Isa::avx2;
#endif
  return Isa::reference;
}

Isa active() noexcept {
  const Isa widest = detected();
#ifndef VITRINE_EMBEDDED
  if (const char* cap = std::getenv("VITRINE_ISA")) {
    for (Isa isa : every_isa) {
      if (std::strcmp(cap, name(isa)) == 0 && isa < widest) return isa;
    }
  }
#endif
  return widest;
}

const Table<real>& table(Isa isa) noexcept {
  const Isa widest = detected();
  if (isa > widest) isa = widest;
#if defined(VITRINE_HAVE_AVX2) || defined(VITRINE_HAVE_AVX512)
  if (isa != Isa::reference) {
    static const Table<real> avx2 = widened<real>(Isa::avx2);
    if (isa == Isa::avx2) return avx2;
    static const Table<real> avx512 = widened<real>(Isa::avx512);
    return avx512;
  }
#endif
  return reference<real>();
}

}  // namespace vitrine::kernels
