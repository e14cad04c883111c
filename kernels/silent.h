// A kernel table that does nothing, for dry runs that only count memory. Functions of tiled kernels that read sizes
// alone stay real: plan, key and choice.
#pragma once

#include "kernels/kernels.h"

namespace vitrine::kernels {
namespace detail {

template <class F>
struct Silence;

template <class R, class... A>
struct Silence<R (*)(A...) noexcept> {
  static R call(A...) noexcept { return R(); }
  static constexpr R (*of(R (*)(A...) noexcept) noexcept)(A...) noexcept { return &call; }
};

template <class Args>
struct Silence<Tiled<Args>> {
  static void pack(const Args&, std::byte*, std::int64_t) noexcept {}
  static void tile(const Args&, const std::byte*, std::byte*, std::int64_t) noexcept {}
  static constexpr Tiled<Args> of(const Tiled<Args>& real) noexcept {
    return {real.plan, &pack, &tile, real.key, real.choice};
  }
};

}  // namespace detail

template <class T>
constexpr Table<T> silenced(const Table<T>& real) noexcept {
  Table<T> t;
#define VITRINE_SILENCE(name, ...) t.name = detail::Silence<std::type_identity_t<__VA_ARGS__>>::of(real.name);
  VITRINE_KERNEL_SLOTS(VITRINE_SILENCE)
#undef VITRINE_SILENCE
  t.lanes = real.lanes;
  t.takes_interleaved = real.takes_interleaved;
  t.choices = real.choices;
  return t;
}

}  // namespace vitrine::kernels
