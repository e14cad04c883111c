// Devices by name. A GPU's back end is a module of its own, opened when a command asks for it, so that the program
// neither links nor needs any of a GPU's libraries.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/device.h"

namespace vitrine {

/// "cpu" gives null: the host itself. "cuda" and "cuda:N" open libvitrine_cuda.so: the file that the environment
/// variable VITRINE_CUDA_LIBRARY names, or the first found beside the program, where it was installed, and in the
/// library path. An Error says in one sentence what is missing: the module, the driver, or the device. Devices stay
/// open.
const kernels::Device* open_device(const std::string& name);

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

/// Between host memory and where a device's kernels work; plain copies without a device. Both throw the device's first
/// failure.
void upload(const kernels::Device*, void* to, const void* host, std::size_t bytes);
void download(const kernels::Device*, void* host, const void* from, std::size_t bytes);

}  // namespace vitrine
