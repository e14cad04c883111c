#include "core/host/memory.h"

#include <sys/mman.h>

#include <cstring>
#include <string>
#include <utility>

#include "core/host/error.h"

namespace vitrine {

Memory::Memory(std::size_t bytes, const kernels::Device* device) : bytes_(bytes), device_(device) {
  if (bytes == 0) return;
  if (device != nullptr) {
    data_ = static_cast<std::byte*>(device->allocate(bytes));
    if (data_ == nullptr)
      throw Error(std::string(device->name) + " cannot give " + std::to_string(bytes >> 20) + " MiB of memory; " +
                  std::to_string(device->free_bytes() >> 20) + " MiB are free");
    return;
  }
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw Error("this machine cannot give " + std::to_string(bytes >> 20) + " MiB of memory");
#ifdef MADV_HUGEPAGE
  if (bytes >= (std::size_t{4} << 20)) ::madvise(p, bytes, MADV_HUGEPAGE);
#endif
  data_ = static_cast<std::byte*>(p);
}

Memory::~Memory() {
  if (data_ == nullptr) return;
  if (device_ != nullptr)
    device_->release(data_);
  else
    ::munmap(data_, bytes_);
}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  return *this;
}

void upload(const kernels::Device* device, void* to, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  if (device == nullptr) {
    std::memcpy(to, host, bytes);
    return;
  }
  device->upload(to, host, bytes);
  if (const char* const why = device->failure()) throw Error(std::string(device->name) + ": " + why);
}

void download(const kernels::Device* device, void* host, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (device == nullptr) {
    std::memcpy(host, from, bytes);
    return;
  }
  device->download(host, from, bytes);
  if (const char* const why = device->failure()) throw Error(std::string(device->name) + ": " + why);
}

}  // namespace vitrine
