#include "core/host/device.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "core/host/error.h"

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
      // A program that was found by PATH is known by its bare name here: then the kernel knows where it is.
      std::error_code unknown;
      std::filesystem::path file = self.dli_fname;
      if (!file.has_parent_path()) file = std::filesystem::read_symlink("/proc/self/exe", unknown);
      const std::filesystem::path folder = std::filesystem::weakly_canonical(file, unknown).parent_path();
      // Beside the program or library, and where the build puts it.
      for (const char* const at : {".", "../kernels/cuda", "kernels/cuda"})
        if (const auto module = folder / at / module_file; folder.is_absolute() && std::filesystem::exists(module))
          places.push_back(module.string());
    }
#ifdef VITRINE_MODULE_FOLDER
    places.push_back(std::string(VITRINE_MODULE_FOLDER "/") + module_file);
#endif
  }
  for (const std::string& place : places) {
    if (void* const module = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return module;
    // A module that is there and cannot be used tells more than the places where there is none.
    const std::string said = ::dlerror();
    if (why.empty() || std::filesystem::exists(place)) why = said;
  }
  if (why.empty()) why = std::string(module_file) + " is not beside the program";
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

}  // namespace vitrine
