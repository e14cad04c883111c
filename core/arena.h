// A bump allocator over memory that the caller owns: the only allocator below the host tier. It never frees single
// blocks; `mark` and `rewind` give scopes, `peak` tells how large the memory had to be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace vitrine {

class Arena {
 public:
  static constexpr std::size_t alignment = 64;  ///< of every block, relative to the address 0: one AVX-512 register

  constexpr Arena() noexcept = default;
  Arena(std::byte* memory, std::size_t bytes) noexcept : memory_(memory), capacity_(bytes) {}

  /// `bytes` bytes, aligned; nullptr if they do not fit (the arena is then unchanged). Zero bytes give a valid pointer.
  std::byte* allocate(std::size_t bytes) noexcept;

  /// `count` uninitialised objects of a trivial type, or nullptr.
  template <class T>
  T* array(std::size_t count) noexcept {
    static_assert(std::is_trivially_destructible_v<T>);
    if (count > capacity_ / sizeof(T) + 1) return nullptr;
    return reinterpret_cast<T*>(allocate(count * sizeof(T)));
  }

  /// One object that is never destroyed, or nullptr.
  template <class T, class... Args>
  T* create(Args&&... args) noexcept {
    static_assert(std::is_trivially_destructible_v<T>);
    std::byte* p = allocate(sizeof(T));
    return p != nullptr ? ::new (p) T{std::forward<Args>(args)...} : nullptr;
  }

  /// The memory not yet used, as an arena of its own (to measure what a step takes).
  Arena rest() const noexcept { return {memory_ + used_, capacity_ - used_}; }

  std::size_t mark() const noexcept { return used_; }
  void rewind(std::size_t mark) noexcept { used_ = mark; }
  std::size_t peak() const noexcept { return peak_; }
  std::size_t capacity() const noexcept { return capacity_; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t capacity_ = 0, used_ = 0, peak_ = 0;
};

/// Gives back, at the end of a scope, what was allocated in it.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) noexcept : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  std::size_t mark_;
};

}  // namespace vitrine
