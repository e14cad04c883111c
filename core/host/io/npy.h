// NumPy's .npy files, read strictly: little-endian numbers in C order, the file exactly as long as its header says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "core/host/io/file.h"

namespace vitrine::io {

struct NpyArray {
  std::vector<std::int64_t> shape;
  char kind = 'f';  ///< 'f' float, 'i' signed, 'u' unsigned, 'b' bool
  int bytes = 4;    ///< of one element
  std::vector<std::byte> data;

  std::int64_t size() const noexcept;
  std::vector<float> floats() const;           ///< any kind, converted
  std::vector<std::int64_t> integers() const;  ///< whole numbers only: an Error for floats
};

/// Formats 1.0 to 3.0; f2, f4, f8, i1..i8, u1..u8, bool. An Error names the file and what is wrong.
NpyArray read_npy(const std::string& path);
/// Likewise from memory; `path` is for messages.
NpyArray parse_npy(const std::byte* data, std::size_t bytes, const std::string& path);

void write_npy(const std::string& path, const std::vector<std::int64_t>& shape, const float* data);
void write_npy(const std::string& path, const std::vector<std::int64_t>& shape, const std::int64_t* data);

/// A file whose rows (along its first dimension) are read when they are asked for, so that memory does not grow with
/// it.
class NpyReader {
 public:
  /// Reads the header; errors as read_npy.
  explicit NpyReader(const std::string& path);
  const std::vector<std::int64_t>& shape() const noexcept { return array_.shape; }
  char kind() const noexcept { return array_.kind; }
  const std::string& path() const noexcept { return path_; }
  /// The rows [first, first + count), converted.
  std::vector<float> rows(std::int64_t first, std::int64_t count);

 private:
  void read(void* to, std::size_t bytes, std::size_t at);
  std::string path_;
  std::ifstream file_;
  NpyArray array_;  // without data
  std::size_t body_ = 0;
};

/// A file of float32 that is written piece by piece, and appears whole when it is committed.
class NpyWriter {
 public:
  NpyWriter(const std::string& path, const std::vector<std::int64_t>& shape);
  /// In all, as many numbers as the shape has.
  void append(const float* data, std::size_t count);
  void commit();

 private:
  AtomicFile file_;
};

/// IEEE half precision to single.
float half_to_float(std::uint16_t) noexcept;

}  // namespace vitrine::io
