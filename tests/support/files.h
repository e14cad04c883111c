// A folder for a test's files, and the check that something is refused in one sentence.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "core/host/error.h"

namespace vitrine::test {

struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / ("vitrine-test-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), {}));
  }
  std::filesystem::path path;
};

inline void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
inline std::string read(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}

inline void refused(const std::function<void()>& f, const std::string& word) {
  try {
    f();
    FAIL("was accepted, expected a sentence with: " << word);
  } catch (const Error& e) {
    CHECK_MESSAGE(std::string(e.what()).find(word) != std::string::npos, e.what());
    CHECK(std::string(e.what()).find('\n') == std::string::npos);
  }
}

}  // namespace vitrine::test
