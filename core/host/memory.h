// Memory of the host or of a device, and copies between the two.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/device.h"

namespace vitrine {

/// Memory where a device's kernels work; without a device, zero-initialised pages of the host, huge ones where the
/// system has them, since touching fresh small pages costs far more than the work on them. Kept until the end.
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes,
                  const kernels::Device* device = nullptr);  ///< throws Error where there is no such memory
  ~Memory();
  Memory(Memory&& other) noexcept { *this = static_cast<Memory&&>(other); }
  Memory& operator=(Memory&&) noexcept;
  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  const kernels::Device* device_ = nullptr;
};

/// Bytes that this process can still take: what the system calls available, or less where a control group (cgroup v1 or
/// v2) limits it. Where nothing says, the largest size.
std::size_t available_memory();

/// "931 MiB", "3.64 TiB".
std::string text_of_bytes(std::size_t bytes);

/// Between host memory and where a device's kernels work; plain copies without a device. Both throw the device's first
/// failure.
void upload(const kernels::Device*, void* to, const void* host, std::size_t bytes);
void download(const kernels::Device*, void* host, const void* from, std::size_t bytes);

}  // namespace vitrine
