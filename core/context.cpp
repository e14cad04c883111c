#include "core/context.h"

namespace vitrine {

std::byte* Prepared::find(const Key& key, bool& made) noexcept {
  made = true;
  for (std::size_t i = 0; i < count_; ++i)
    if (entries_[i].key == key) return entries_[i].data;
  made = false;
  std::byte* const data = count_ < entries_.size() ? memory_.allocate(key.bytes) : nullptr;
  if (data != nullptr) entries_[count_++] = {key, data};
  return data;
}

Status Context::fail(Status status, const char* what, Shape found, Shape expected) const noexcept {
  if (failure != nullptr && failure->status == Status::ok) *failure = {status, "", what, found, expected, 0};
  return status;
}

Status Context::temporary(const Shape& shape, TensorView& out) const noexcept {
  out = {scratch->array<real>(static_cast<std::size_t>(shape.size())), shape};
  return out ? Status::ok : fail(Status::out_of_arena, memory_too_small);
}

Status Context::temporary_like(const TensorView& other, TensorView& out) const noexcept {
  const std::int32_t block = other.block;
  const Status s = temporary(other.shape, out);
  out.block = block;
  return s;
}

Status Context::take(const kernels::Work& work, const Prepared::Key* key, TileMemory& m) const noexcept {
  // Any worker may take a tile, also if there are fewer tiles than workers.
  m.workers = work.tiles > 1 ? workers() : 1;
  m.each = (work.scratch_bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
  m.made = work.shared_bytes == 0;
  if (key != nullptr && !m.made) m.shared = prepared->find(*key, m.made);
  if (m.shared == nullptr) m.shared = scratch->allocate(work.shared_bytes);
  m.own = scratch->allocate(m.each * static_cast<std::size_t>(m.workers));
  return m.shared != nullptr && m.own != nullptr ? Status::ok : fail(Status::out_of_arena, memory_too_small);
}

}  // namespace vitrine
