// The safetensors format: a JSON header, then the tensors' bytes. Read strictly (sizes are checked before anything is
// allocated; every byte of the file belongs to exactly one tensor), written atomically.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/host/io/file.h"

namespace vitrine::io {

enum class Dtype : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  ///< in the mapped file

  std::int64_t size() const noexcept;
  std::vector<float> floats() const;  ///< any dtype, converted
};

class Safetensors {
 public:
  /// Maps and checks a file; an Error names it and what is wrong.
  explicit Safetensors(const std::string& path);
  /// Likewise from memory that outlives this object; `path` is for messages.
  Safetensors(std::span<const std::byte> bytes, std::string path);

  const std::vector<TensorEntry>& tensors() const noexcept { return tensors_; }
  /// The tensor of that name, or null.
  const TensorEntry* find(const std::string& name) const noexcept;
  const TensorEntry& tensor(const std::string& name) const;  ///< an Error if there is none
  /// A metadata value; "" if there is none.
  const std::string& metadata(const std::string& key) const;
  const std::string& path() const noexcept { return path_; }

 private:
  void parse(std::span<const std::byte> bytes);
  std::string path_;
  std::vector<MappedFile> file_;  // none or one
  std::vector<TensorEntry> tensors_;
  std::map<std::string, std::size_t> index_;
  std::map<std::string, std::string> metadata_;
};

/// Collects tensors (float32), then writes them in one go.
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(std::string path) : path_(std::move(path)) {}
  void metadata(const std::string& key, const std::string& value) { metadata_[key] = value; }
  /// `data` must stay until commit().
  void add(const std::string& name, const std::vector<std::int64_t>& shape, const float* data);
  void commit();

 private:
  struct Entry {
    std::string name;
    std::vector<std::int64_t> shape;
    const float* data;
    std::size_t bytes;
  };
  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::vector<Entry> entries_;
};

}  // namespace vitrine::io
