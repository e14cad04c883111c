#include "models/device.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "core/io/error.h"

namespace vitrine {
namespace {

constexpr const char* module_file = "libvitrine_cuda.so";

// The module, or null and what the loader said last.
void* open_module(std::string& why) {
  std::vector<std::string> places;
  if (const char* const given = std::getenv("VITRINE_CUDA_LIBRARY"); given != nullptr && *given != '\0') {
    places = {given};
  } else {
    Dl_info self;
    if (::dladdr(reinterpret_cast<const void*>(&open_device), &self) != 0 && self.dli_fname != nullptr) {
      const std::filesystem::path folder = std::filesystem::path(self.dli_fname).parent_path();
      // Beside the program or library, and where the build puts it.
      for (const char* const at : {".", "../kernels/cuda", "kernels/cuda"})
        if (const std::filesystem::path file = folder / at / module_file; std::filesystem::exists(file))
          places.push_back(std::filesystem::absolute(file).string());
    }
#ifdef VITRINE_MODULE_FOLDER
    places.push_back(std::string(VITRINE_MODULE_FOLDER "/") + module_file);
#endif
    places.emplace_back(module_file);
  }
  for (const std::string& place : places) {
    if (void* const module = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return module;
    // A module that is there and cannot be used tells more than the places where there is none.
    const std::string said = ::dlerror();
    if (why.empty() || std::filesystem::exists(place)) why = said;
  }
  return nullptr;
}

}  // namespace

const kernels::Device* open_device(const std::string& name) {
  if (name == "cpu") return nullptr;
  int index = 0;
  const std::string digits = name.starts_with("cuda:") ? name.substr(5) : "";
  if (name != "cuda") {
    if (digits.empty() || digits.size() > 4 || digits.find_first_not_of("0123456789") != std::string::npos)
      throw Error("--device " + name + ": expected cpu, cuda or cuda:N", Error::usage);
    index = std::stoi(digits);
  }
  std::string why;
  void* const module = open_module(why);
  if (module == nullptr) throw Error("--device " + name + ": the module for CUDA devices cannot be opened: " + why);
  auto* const open = reinterpret_cast<decltype(vitrine_open_device)*>(::dlsym(module, "vitrine_open_device"));
  if (open == nullptr)
    throw Error("--device " + name + ": the module has no vitrine_open_device: it is of another version");
  const char* reason = "the module does not say why";
  const kernels::Device* const device = open(index, &reason);
  if (device == nullptr) throw Error("--device " + name + ": " + reason);
  return device;
}

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
