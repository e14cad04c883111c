// A folder of a test's own, gone at its end.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

namespace vitrine::test {

struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / ("vitrine-test-" + std::to_string(::getpid()))) { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  std::size_t files() const { return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), {})); }
  std::filesystem::path path;
};

}  // namespace vitrine::test
