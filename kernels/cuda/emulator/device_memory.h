// A device's memory as the PTX interpreter sees it: addresses that the host cannot dereference, and a shadow byte per
// byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace vitrine::ptx {

/// The state of a byte.
enum Shadow : std::uint8_t {
  unmapped = 0,
  uninitialised = 1,
  initialised = 2,
  pending = 3,  ///< an asynchronous copy into it has not been waited for
};

/// New shared memory and registers hold this value: a NaN as a float.
inline constexpr std::uint32_t poison = 0x7fa1dead;

/// One reserved range of addresses without pages, so that a host that dereferences a device pointer faults. Data and
/// shadow are stored elsewhere, at fixed distances. Between allocations there is always an unmapped gap.
class DeviceMemory {
 public:
  static DeviceMemory& instance();

  /// Aligned to 256 bytes, not initialised; 0 if the capacity is used up.
  std::uint64_t allocate(std::size_t bytes);
  /// False if nothing was allocated at that address.
  bool release(std::uint64_t address);
  /// The host's memory for an address, or null if [address, address + bytes) is not wholly within one allocation.
  std::byte* data(std::uint64_t address, std::size_t bytes) const noexcept;
  bool contains(std::uint64_t address) const noexcept { return address - base_ < size; }
  void mark(std::uint64_t address, std::size_t bytes, Shadow);
  /// Copies the state of the bytes, too.
  void copy(std::uint64_t to, std::uint64_t from, std::size_t bytes);
  std::size_t free_bytes() const noexcept { return capacity_ - used_; }
  void set_capacity(std::size_t bytes) noexcept { capacity_ = bytes; }
  std::size_t allocations() const noexcept { return blocks_.size(); }
  /// "256 bytes past the end of an allocation of 1024 bytes": what is near an address that is not mapped.
  std::string describe(std::uint64_t address) const;

  // For the interpreter's loads and stores, which check the shadow themselves.
  std::byte* raw(std::uint64_t address) const noexcept { return data_ + (address - base_); }
  std::uint8_t* shadow(std::uint64_t address) const noexcept { return shadow_ + (address - base_); }

  static constexpr std::size_t size = std::size_t{64}
                                      << 30;  ///< of the range of addresses; pages come when they are touched

 private:
  DeviceMemory();
  std::uint64_t base_ = 0;
  std::byte* data_ = nullptr;
  std::uint8_t* shadow_ = nullptr;
  std::size_t capacity_ = std::size_t{8} << 30, used_ = 0;
  std::map<std::uint64_t, std::size_t> blocks_;  // address to bytes
};

}  // namespace vitrine::ptx
