// Files read whole or mapped, and written so that nothing half-done is ever seen under the final name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/host/error.h"

namespace vitrine::io {

/// The bytes of a file; an Error if it is missing, unreadable, a folder, or larger than `limit`.
std::vector<std::byte> read_file(const std::string& path, std::size_t limit = std::size_t{1} << 31);

/// Bytes, unpacked if they are gzip (by the first of them). The unpacked size is at most `limit`, and at most 64 times
/// the packed one and 64 MiB, so that no small file fills memory.
std::vector<std::byte> maybe_gunzip(std::vector<std::byte>, const std::string& path,
                                    std::size_t limit = std::size_t{1} << 31);
std::vector<std::byte> read_maybe_gzip(const std::string& path, std::size_t limit = std::size_t{1} << 31);

/// The lines of a text file, without their ends.
std::vector<std::string> read_lines(const std::string& path, std::size_t limit = std::size_t{1} << 28);

/// A file's bytes mapped read-only: pages are loaded when touched.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept : bytes_(other.bytes_) { other.bytes_ = {}; }
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

/// Whether a path is written as a stream: "-" (standard output), or something that is there and neither a file nor a
/// folder (a device, a pipe).
bool is_stream(const std::string& path);

/// Keeps standard output for data: what the program prints there from now on goes to standard error, and what is
/// written to "-" or /dev/stdout goes to where standard output went. For programs that print messages; called once.
void keep_standard_output_for_data();

/// Writes to a temporary file in the same folder; commit() makes it the file, atomically. Without commit nothing
/// remains. If the path is a symbolic link, the file that it points to is replaced, not the link. A stream (is_stream)
/// is opened at the first write and written at once: it is never replaced.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, std::size_t bytes);
  void commit();

 private:
  void open_stream();
  [[noreturn]] void fail(const char* doing);
  std::string path_;    ///< as given, for messages
  std::string target_;  ///< behind symbolic links
  std::string temporary_;
  bool stream_ = false;
  int descriptor_ = -1;
};

}  // namespace vitrine::io
