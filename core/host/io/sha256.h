// SHA-256 [FIPS 180-4]: what names a file, a network or a data set by its content.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace vitrine::io {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  void add(const void* data, std::size_t bytes);
  void add(std::string_view text) { add(text.data(), text.size()); }
  /// 64 hexadecimal digits. Nothing may be added after that.
  std::string hexadecimal();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Of a file's bytes, read in pieces; an Error if the file cannot be read.
std::string sha256_of_file(const std::string& path);

}  // namespace vitrine::io
