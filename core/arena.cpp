#include "core/arena.h"

namespace vitrine {

std::byte* Arena::allocate(std::size_t bytes) noexcept {
  const std::uintptr_t base = reinterpret_cast<std::uintptr_t>(memory_);
  const std::uintptr_t start = (base + used_ + alignment - 1) / alignment * alignment;
  const std::size_t offset = start - base;
  if (memory_ == nullptr || offset > capacity_ || bytes > capacity_ - offset) return nullptr;
  used_ = offset + bytes;
  if (used_ > peak_) peak_ = used_;
  return memory_ + offset;
}

}  // namespace vitrine
