// Gives every buffer an offset in one block of memory. Buffers whose lifetimes do not overlap may share bytes.
//
//     bytes                                   offset
//     400   a  ----                           c   ::::::::::::    400 .. 500
//     400   b        ----              ->     a,b aaaa  bbbb        0 .. 400
//     100   c  ----------
//             time ->                              time ->
//
// Greedy by size: largest first, each into the lowest gap among the buffers already placed that live at the same time.
//
// Preconditions: lifetimes. Fills in every Buffer::offset and planned_bytes.
#include <algorithm>

#include "core/plan/buffers.h"
#include "core/plan/passes.h"

namespace vitrine::planning {
namespace {

struct Item {
  Buffer* buffer;
  std::size_t order;  // of equal buffers, the first listed is placed first
};

bool overlap(const Buffer& a, const Buffer& b) noexcept { return a.first <= b.last && b.first <= a.last; }

std::size_t lowest_gap(std::span<const Item> placed, const Buffer& b) noexcept {
  std::size_t at = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (const Item& item : placed) {
      const Buffer& other = *item.buffer;
      if (!overlap(other, b) || at + b.bytes <= other.offset || other.offset + other.bytes <= at) continue;
      at = other.offset + other.bytes;
      moved = true;
    }
  }
  return at;
}

// Returns the size of the block.
std::size_t place(std::span<Item> items) noexcept {
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    const Buffer &x = *a.buffer, &y = *b.buffer;
    return x.bytes != y.bytes ? x.bytes > y.bytes : x.first != y.first ? x.first < y.first : a.order < b.order;
  });
  std::size_t total = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Buffer& b = *items[i].buffer;
    b.offset = lowest_gap(items.first(i), b);
    total = std::max(total, b.offset + b.bytes);
  }
  return total;
}

}  // namespace

Status place_buffers(Draft& d, Arena& book) noexcept {
  Plan& plan = d.plan;
  const ArenaScope scope(book);
  std::size_t count = 0;
  for_each_buffer(plan, [&](Buffer&, BufferKind, Id) { ++count; });
  Item* const items = book.array<Item>(count);
  if (items == nullptr) return d.ctx.fail(Status::out_of_arena, "the plan's working memory does not fit");
  count = 0;
  for_each_buffer(plan, [&](Buffer& b, BufferKind, Id) { items[count] = {&b, count}, ++count; });
  plan.planned_bytes = place({items, count});
  for (ValuePlan& value : plan.values) value.memory.offset = plan.values[value.memory_of].memory.offset;
  for (Id v = 0; v < plan.values.size() && plan.request.channels == 1; ++v)
    plan.signals[v].offset = plan.signals[plan.values[v].signal_reuses].offset;
  return Status::ok;
}

}  // namespace vitrine::planning
