// NumPy's .npy files, read strictly: little-endian numbers in C order, the file exactly as long as its header says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/host/error.h"

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

/// IEEE half precision to single.
float half_to_float(std::uint16_t) noexcept;

}  // namespace vitrine::io
