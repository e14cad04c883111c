// The ways of a kernel: an ordered list of algorithms, the best first. The first one that does not refuse a call takes
// it. Every refusal has a reason, which reports print (Choice in kernels.h). All back ends choose by such lists and
// nowhere else.
#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace vitrine::kernels {
namespace {

/// One way. `Kernel`: Tiled<Args>, or a function.
template <class Args, class Kernel = Tiled<Args>>
struct Way {
  const char* name;
  /// Why this way cannot, or should not, take the call; null: it takes it. Reports omit the reason "" (does_not_apply).
  const char* (*refuses)(const Args&) noexcept;
  Kernel kernel;
};

/// The reason of a way that is meant for other calls.
constexpr const char* does_not_apply = "";

/// The first way that takes the call; null: none.
template <class Ways, class Args>
auto find_way(const Ways& ways, const Args& a) noexcept -> decltype(&ways[0]) {
  for (const auto& way : ways)
    if (way.refuses(a) == nullptr) return &way;
  return nullptr;
}

/// The way that a call takes. The last of a list must refuse nothing.
template <class Ways, class Args>
const auto& choose(const Ways& ways, const Args& a) noexcept {
  const auto* chosen = &ways[0];
  for (const auto& way : ways) {
    chosen = &way;
    if (way.refuses(a) == nullptr) break;
  }
  return *chosen;
}

/// The same choice with its reasons, for reports.
template <class Ways, class Args>
Choice explain_choice(const char* kernel, const Ways& ways, const Args& a) noexcept {
  Choice c;
  c.kernel = kernel;
  for (const auto& way : ways) {
    c.way = way.name;
    const char* const reason = way.refuses(a);
    if (reason == nullptr) break;
    if (*reason != '\0' && c.passed < Choice::max_passed) c.refusals[c.passed++] = {way.name, reason};
  }
  return c;
}

/// A slot of the table that chooses by a list: List::kernel is its name, List::ways the list. Each step chooses again,
/// by the same sizes and flags.
template <class List, class Args>
struct ByWays {
  static Work plan(const Args& a) noexcept { return choose(List::ways, a).kernel.plan(a); }
  static void pack(const Args& a, std::byte* shared, std::int64_t part) noexcept {
    choose(List::ways, a).kernel.pack(a, shared, part);
  }
  static void tile(const Args& a, const std::byte* shared, std::byte* scratch, std::int64_t index) noexcept {
    choose(List::ways, a).kernel.tile(a, shared, scratch, index);
  }
  static Choice choice(const Args& a) noexcept { return explain_choice(List::kernel, List::ways, a); }
};

template <class List, class Args>
constexpr Tiled<Args> by_ways() noexcept {
  using Slot = ByWays<List, Args>;
  return {&Slot::plan, &Slot::pack, &Slot::tile, nullptr, &Slot::choice};
}

/// Packed weights of a convolution: the batch does not matter.
inline PackKey conv_key(const ConvArgs<float>& a) noexcept {
  PackKey key{a.w, a.w_sub, a.s, a.exact};
  key.shape.n = 1;
  return key;
}

template <class List>
constexpr Tiled<ConvArgs<float>> conv_by_ways() noexcept {
  Tiled<ConvArgs<float>> slot = by_ways<List, ConvArgs<float>>();
  slot.key = &conv_key;
  return slot;
}

}  // namespace
}  // namespace vitrine::kernels
