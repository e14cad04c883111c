#include "core/host/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
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

namespace {

constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

// The number in a file's line that begins with `key`; without a key, the file's own number.
std::optional<std::size_t> number_in(const std::string& path, const std::string& key = "") {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const char* const first = line.c_str() + key.size();
    char* end = nullptr;
    const unsigned long long value = std::strtoull(first, &end, 10);
    if (end != first) return static_cast<std::size_t>(value);
    return {};
  }
  return {};
}

// What a control group leaves: its limit without what is in use, save pages of files that can be dropped.
std::size_t left_in_group(const std::string& folder, const char* limit_file, const char* usage_file,
                          const char* droppable) {
  const auto limit = number_in(folder + limit_file), usage = number_in(folder + usage_file);
  if (!limit || !usage) return no_limit;
  const std::size_t files = number_in(folder + "/memory.stat", droppable).value_or(0),
                    used = *usage > files ? *usage - files : 0;
  return *limit > used ? *limit - used : 0;
}

// The same for a group and all groups that it is in.
std::size_t left_in_groups(const std::string& root, std::string path, const char* limit_file, const char* usage_file,
                           const char* droppable) {
  std::size_t left = no_limit;
  for (;; path.resize(path.find_last_of('/'))) {
    left = std::min(left, left_in_group(root + path, limit_file, usage_file, droppable));
    if (path.find_last_of('/') == std::string::npos) return left;
  }
}

}  // namespace

std::size_t available_memory() {
  constexpr std::size_t kibibyte = 1024;
  std::size_t left = no_limit;
  if (const auto available = number_in("/proc/meminfo", "MemAvailable:")) left = *available * kibibyte;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty())
      left = std::min(left, left_in_groups("/sys/fs/cgroup", path, "/memory.max", "/memory.current", "inactive_file "));
    else if (("," + controllers + ",").find(",memory,") != std::string::npos)
      left = std::min(left, left_in_groups("/sys/fs/cgroup/memory", path, "/memory.limit_in_bytes",
                                           "/memory.usage_in_bytes", "total_inactive_file "));
  }
  return left;
}

std::string text_of_bytes(std::size_t bytes) {
  const char* const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) value /= 1024, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, value < 100 && unit > 0 ? "%.3g %s" : "%.0f %s", value, units[unit]);
  return text;
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
