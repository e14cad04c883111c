#include "core/host/io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace vitrine::io {
namespace {

std::string why() { return std::strerror(errno); }

// An open file that closes itself.
struct Descriptor {
  // O_NONBLOCK: opening a pipe that nobody writes would wait for ever.
  explicit Descriptor(const std::string& path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd < 0) throw Error(path + ": cannot be opened: " + why());
    struct stat s {};
    if (::fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) {
      ::close(fd);
      throw Error(path + ": is not a file" + (S_ISDIR(s.st_mode) ? " but a folder" : ""));
    }
    size = static_cast<std::size_t>(s.st_size);
  }
  ~Descriptor() { ::close(fd); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
  std::size_t size = 0;
};

// Where standard output went when the program started.
int standard_output = STDOUT_FILENO;

bool is_standard_output(const std::string& path) {
  return path == "-" || path == "/dev/stdout" || path == "/dev/fd/1" || path == "/proc/self/fd/1";
}

// The file behind symbolic links, which need not be there.
std::string behind_links(std::string path) {
  constexpr int most_links = 40;  // as the kernel follows
  std::error_code none;
  for (int k = 0; k < most_links && std::filesystem::is_symlink(path, none); ++k) {
    const std::filesystem::path to = std::filesystem::read_symlink(path, none);
    if (none) break;
    path = (std::filesystem::path(path).parent_path() / to).string();
  }
  return path;
}

}  // namespace

bool is_stream(const std::string& path) {
  struct stat s {};
  return is_standard_output(path) || (::stat(path.c_str(), &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode));
}

void keep_standard_output_for_data() {
  const int kept = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (kept < 0 || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) throw Error("standard output cannot be written: " + why());
  standard_output = kept;
}

std::vector<std::byte> read_file(const std::string& path, std::size_t limit) {
  const Descriptor file(path);
  if (file.size > limit)
    throw Error(path + ": has " + std::to_string(file.size) + " bytes, expected at most " + std::to_string(limit));
  std::vector<std::byte> out(file.size);
  for (std::size_t at = 0; at < out.size();) {
    const ssize_t n = ::read(file.fd, out.data() + at, out.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(path + ": cannot be read: " + why());
    if (n == 0) throw Error(path + ": became shorter while it was read");
    at += static_cast<std::size_t>(n);
  }
  return out;
}

std::vector<std::byte> maybe_gunzip(std::vector<std::byte> raw, const std::string& path, std::size_t limit) {
  if (raw.size() < 2 || raw[0] != std::byte{0x1f} || raw[1] != std::byte{0x8b}) return raw;
  z_stream z{};
  if (::inflateInit2(&z, 15 + 16) != Z_OK) throw Error(path + ": out of memory while unpacking gzip");
  // Data compresses by a factor of ten or so; a file that unpacks to far more is made to fill memory.
  limit = std::min(limit, (std::size_t{64} << 20) + 64 * raw.size());
  std::vector<std::byte> out;
  z.next_in = reinterpret_cast<Bytef*>(raw.data());
  z.avail_in = static_cast<uInt>(raw.size());
  int result = Z_OK;
  while (result != Z_STREAM_END) {
    if (out.size() >= limit) {
      ::inflateEnd(&z);
      throw Error(path + ": unpacks to more than " + std::to_string(limit) + " bytes");
    }
    const std::size_t at = out.size();
    out.resize(std::min(limit, at + std::max<std::size_t>(std::size_t{1} << 16, at)));
    z.next_out = reinterpret_cast<Bytef*>(out.data() + at);
    z.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size() - at, 1u << 30));
    const uInt room = z.avail_out;
    result = ::inflate(&z, Z_NO_FLUSH);
    out.resize(at + (room - z.avail_out));
    if (result == Z_BUF_ERROR || (result == Z_OK && z.avail_in == 0 && z.avail_out > 0)) {
      ::inflateEnd(&z);
      throw Error(path + ": gzip data ends too early");
    }
    if (result != Z_OK && result != Z_STREAM_END) {
      ::inflateEnd(&z);
      throw Error(path + ": gzip data is damaged");
    }
  }
  const uInt left = z.avail_in;
  ::inflateEnd(&z);
  if (left > 0) throw Error(path + ": has " + std::to_string(left) + " bytes after its gzip data");
  return out;
}

std::vector<std::byte> read_maybe_gzip(const std::string& path, std::size_t limit) {
  return maybe_gunzip(read_file(path, limit), path, limit);
}

std::vector<std::string> read_lines(const std::string& path, std::size_t limit) {
  const std::vector<std::byte> bytes = read_file(path, limit);
  std::istringstream text(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    while (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(std::move(line));
  }
  return lines;
}

MappedFile::MappedFile(const std::string& path) {
  const Descriptor file(path);
  if (file.size == 0) return;
  void* p = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (p == MAP_FAILED) throw Error(path + ": cannot be mapped: " + why());
  bytes_ = {static_cast<const std::byte*>(p), file.size};
}

MappedFile::~MappedFile() {
  if (bytes_.data() != nullptr) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), stream_(is_stream(path_)) {
  if (stream_) return;
  struct stat s {};
  if (::stat(path_.c_str(), &s) == 0 && S_ISDIR(s.st_mode)) throw Error(path_ + ": cannot be written: is a folder");
  target_ = behind_links(path_);
  temporary_ = target_ + ".XXXXXX";
  descriptor_ = ::mkstemp(temporary_.data());
  if (descriptor_ < 0) throw Error(path_ + ": cannot be written: " + why());
  // mkstemp makes private files; a result is as readable as any other file of this user.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(descriptor_, 0666 & ~mask) != 0) fail("cannot be given its permissions");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!stream_) ::unlink(temporary_.c_str());
}

void AtomicFile::open_stream() {
  descriptor_ = is_standard_output(path_) ? ::fcntl(standard_output, F_DUPFD_CLOEXEC, 3)
                                          : ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw Error(path_ + ": cannot be written: " + why());
}

void AtomicFile::fail(const char* doing) {
  const std::string reason = why();
  ::close(descriptor_);
  descriptor_ = -1;
  if (!stream_) ::unlink(temporary_.c_str());
  throw Error(path_ + ": " + doing + ": " + reason);
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const auto* p = static_cast<const char*>(data);
  if (stream_ && descriptor_ < 0) open_stream();
  while (bytes > 0) {
    const ssize_t n = ::write(descriptor_, p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("cannot be written");
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void AtomicFile::commit() {
  if (stream_) {
    if (descriptor_ < 0) open_stream();
    const int fd = descriptor_;
    descriptor_ = -1;
    if (::close(fd) != 0) throw Error(path_ + ": cannot be written: " + why());
    return;
  }
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail("cannot be written");
  const int fd = descriptor_;
  if (::close(fd) != 0) {
    descriptor_ = -1;
    ::unlink(temporary_.c_str());
    throw Error(path_ + ": cannot be written: " + why());
  }
  descriptor_ = -1;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const std::string reason = why();
    ::unlink(temporary_.c_str());
    throw Error(path_ + ": cannot be written: " + reason);
  }
}

}  // namespace vitrine::io
