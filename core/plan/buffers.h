// Every buffer of a plan, and whose it is: for the passes that place buffers, and for what prints them.
#pragma once

#include "core/plan/plan.h"

namespace vitrine {

enum class BufferKind : std::uint8_t {
  value,
  reference_value,
  signal,
  aux,
  reference_aux,
  recomputed_value,
  recomputed_aux
};

/// Calls f(buffer, kind, id) for every buffer with a place of its own; `id` is a value or, for aux, a node. Values and
/// signals that take the place of another's are left out.
template <class AnyPlan, class F>
void for_each_buffer(AnyPlan& plan, F f) {
  const auto visit = [&](auto& buffer, BufferKind kind, std::size_t id) {
    if (buffer.bytes > 0) f(buffer, kind, static_cast<Id>(id));
  };
  const std::size_t values = plan.values.size(), nodes = plan.nodes.size();
  for (std::size_t v = 0; v < values; ++v)
    if (plan.values[v].memory_of == v) visit(plan.values[v].memory, BufferKind::value, v);
  for (std::size_t v = 0; v < values; ++v) visit(plan.values[v].reference, BufferKind::reference_value, v);
  for (std::size_t k = 0; k < plan.signals.size(); ++k)
    visit(plan.signals[k], BufferKind::signal, k / static_cast<std::size_t>(plan.request.channels));
  for (std::size_t i = 0; i < nodes; ++i) visit(plan.nodes[i].aux, BufferKind::aux, i);
  for (std::size_t i = 0; i < nodes; ++i) visit(plan.nodes[i].reference_aux, BufferKind::reference_aux, i);
  for (std::size_t v = 0; v < values; ++v) visit(plan.values[v].recomputed, BufferKind::recomputed_value, v);
  for (std::size_t i = 0; i < nodes; ++i) visit(plan.nodes[i].recomputed_aux, BufferKind::recomputed_aux, i);
}

/// What happens in one tick of time.
enum class Phase : std::uint8_t { reference, forward, recompute, walk };

/// Calls f(tick, phase, node) for every tick in which a node runs or is walked, in order of time.
template <class F>
void for_each_tick(const Plan& plan, F f) {
  const auto n = static_cast<Id>(plan.nodes.size());
  for (Id i = 0; i < n && plan.request.reference; ++i)
    if (plan.nodes[i].runs()) f(static_cast<std::int32_t>(i), Phase::reference, i);
  for (Id i = 0; i < n; ++i)
    if (plan.nodes[i].runs()) f(plan.nodes[i].forward_at, Phase::forward, i);
  Id end = n;
  for (std::size_t s = plan.segments.size(); s-- > 0;) {
    const auto begin = static_cast<Id>(plan.segments[s]);
    for (Id i = begin; i < end; ++i)
      if (plan.nodes[i].recomputed) f(plan.nodes[i].recompute_at, Phase::recompute, i);
    for (Id i = end; i-- > begin;)
      if (plan.nodes[i].walked) f(plan.nodes[i].walk_at, Phase::walk, i);
    end = begin;
  }
}

}  // namespace vitrine
