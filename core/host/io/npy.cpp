#include "core/host/io/npy.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace vitrine::io {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and copied as they are");

// The header is a Python dictionary literal with three known keys; this reads that and nothing else.
class Header {
 public:
  Header(std::string text, const std::string& path) : text_(std::move(text)), path_(path) {}

  void read(NpyArray& a) {
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        const std::string type = quoted();
        descr = true;
        read_type(type, a);
      } else if (key == "fortran_order" && !order) {
        order = true;
        const std::string value = word();
        if (value == "True")
          throw Error(path_ + ": is in Fortran order, expected C order (save with numpy.ascontiguousarray)");
        if (value != "False") bad("fortran_order is neither True nor False");
      } else if (key == "shape" && !shape) {
        shape = true;
        expect('(');
        while (!accept(')')) {
          a.shape.push_back(number());
          if (!accept(',')) {
            expect(')');
            break;
          }
        }
      } else {
        bad("has an unexpected or repeated key '" + key + "'");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip();
    if (at_ != text_.size()) bad("has text after its dictionary");
    if (!descr || !order || !shape) bad("lacks descr, fortran_order or shape");
  }

 private:
  [[noreturn]] void bad(const std::string& what) { throw Error(path_ + ": .npy header " + what); }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool accept(char c) {
    skip();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) bad(std::string("lacks a '") + c + "' at place " + std::to_string(at_));
  }
  std::string quoted() {
    skip();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"'))
      bad("lacks a quoted name at place " + std::to_string(at_));
    const char q = text_[at_++];
    const std::size_t end = text_.find(q, at_);
    if (end == std::string::npos) bad("has a name without end");
    const std::string s = text_.substr(at_, end - at_);
    at_ = end + 1;
    return s;
  }
  std::string word() {
    skip();
    const std::size_t begin = at_;
    while (at_ < text_.size() && ((text_[at_] >= 'a' && text_[at_] <= 'z') || (text_[at_] >= 'A' && text_[at_] <= 'Z')))
      ++at_;
    return text_.substr(begin, at_ - begin);
  }
  std::int64_t number() {
    skip();
    std::int64_t v = 0;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      if (v > (std::int64_t{1} << 56)) bad("has a size that is too large");
      v = v * 10 + (text_[at_++] - '0');
    }
    if (at_ == begin) bad("has a shape with something that is no number at place " + std::to_string(at_));
    return v;
  }
  void read_type(const std::string& type, NpyArray& a) {
    const bool good = type.size() == 3 && (type[0] == '<' || (type[0] == '|' && type[2] == '1')) &&
                      ((type[1] == 'f' && (type[2] == '2' || type[2] == '4' || type[2] == '8')) ||
                       ((type[1] == 'i' || type[1] == 'u') &&
                        (type[2] == '1' || type[2] == '2' || type[2] == '4' || type[2] == '8')) ||
                       (type[1] == 'b' && type[2] == '1'));
    if (!good)
      throw Error(path_ + ": has elements of type '" + type +
                  "', expected little-endian float, integer or bool ('<f4', '<i8', '|u1', ...)");
    a.kind = type[1];
    a.bytes = type[2] - '0';
  }

  std::string text_;
  const std::string& path_;
  std::size_t at_ = 0;
};

template <class From, class To>
void convert(const std::vector<std::byte>& data, std::vector<To>& out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    From v;
    std::memcpy(&v, data.data() + i * sizeof v, sizeof v);
    out[i] = static_cast<To>(v);
  }
}

template <class To>
void convert_integers(const NpyArray& a, std::vector<To>& out) {
  const bool u = a.kind == 'u';
  switch (a.bytes) {
    case 1:
      u || a.kind == 'b' ? convert<std::uint8_t>(a.data, out) : convert<std::int8_t>(a.data, out);
      break;
    case 2:
      u ? convert<std::uint16_t>(a.data, out) : convert<std::int16_t>(a.data, out);
      break;
    case 4:
      u ? convert<std::uint32_t>(a.data, out) : convert<std::int32_t>(a.data, out);
      break;
    default:
      u ? convert<std::uint64_t>(a.data, out) : convert<std::int64_t>(a.data, out);
      break;
  }
}

std::string header_of(const std::vector<std::int64_t>& shape, const char* type) {
  std::string text = std::string("{'descr': '") + type + "', 'fortran_order': False, 'shape': (";
  for (const std::int64_t d : shape) text += std::to_string(d) + ", ";
  if (shape.size() > 1) text.resize(text.size() - 2);
  text += "), }";
  while ((10 + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  const auto length = static_cast<std::uint16_t>(text.size());
  return std::string("\x93NUMPY\x01\x00", 8) + std::string(reinterpret_cast<const char*>(&length), 2) + text;
}

void write(const std::string& path, const std::vector<std::int64_t>& shape, const char* type, const void* data,
           std::size_t element) {
  std::size_t count = 1;
  for (const std::int64_t d : shape) count *= static_cast<std::size_t>(d);
  const std::string header = header_of(shape, type);
  AtomicFile file(path);
  file.write(header.data(), header.size());
  file.write(data, count * element);
  file.commit();
}

// Where the header's text begins in a file that starts with `data`, and how long it is.
struct HeaderPlace {
  std::size_t start, length;
};
HeaderPlace place_of_header(const std::byte* data, std::size_t bytes, const std::string& path) {
  if (bytes < 10 || std::memcmp(data, "\x93NUMPY", 6) != 0)
    throw Error(path + ": is no .npy file: it does not begin with \\x93NUMPY");
  const int major = std::to_integer<int>(data[6]);
  if (major < 1 || major > 3) throw Error(path + ": has .npy format " + std::to_string(major) + ", expected 1, 2 or 3");
  HeaderPlace place{static_cast<std::size_t>(major == 1 ? 10 : 12), 0};
  if (bytes < place.start) throw Error(path + ": ends within its .npy header");
  for (std::size_t k = place.start; k-- > 8;) place.length = place.length << 8 | std::to_integer<std::size_t>(data[k]);
  return place;
}

// Reads type and shape, and checks them against the bytes that follow the header.
NpyArray parse_header(std::string text, std::size_t body, const std::string& path) {
  NpyArray a;
  Header(std::move(text), path).read(a);
  if (a.shape.size() > 32)
    throw Error(path + ": has " + std::to_string(a.shape.size()) + " dimensions, expected at most 32");
  std::uint64_t need = static_cast<std::uint64_t>(a.bytes);
  for (const std::int64_t d : a.shape) {
    if (d != 0 && need > (std::uint64_t{1} << 60) / static_cast<std::uint64_t>(d))
      throw Error(path + ": has a shape of more elements than memory could hold");
    need *= static_cast<std::uint64_t>(d);
  }
  if (need != body)
    throw Error(path + ": its shape needs " + std::to_string(need) + " bytes of data, found " + std::to_string(body));
  return a;
}

}  // namespace

float half_to_float(std::uint16_t h) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16, exponent = (h >> 10) & 0x1fu,
                      mantissa = h & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float small = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -small : small;
}

std::int64_t NpyArray::size() const noexcept {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) n *= d;
  return n;
}

std::vector<float> NpyArray::floats() const {
  std::vector<float> out(static_cast<std::size_t>(size()));
  if (kind != 'f')
    convert_integers(*this, out);
  else if (bytes == 8)
    convert<double>(data, out);
  else if (bytes == 4)
    convert<float>(data, out);
  else
    for (std::size_t i = 0; i < out.size(); ++i) {
      std::uint16_t h;
      std::memcpy(&h, data.data() + 2 * i, 2);
      out[i] = half_to_float(h);
    }
  return out;
}

std::vector<std::int64_t> NpyArray::integers() const {
  if (kind == 'f') throw Error("an array of floats was found where whole numbers were expected");
  std::vector<std::int64_t> out(static_cast<std::size_t>(size()));
  convert_integers(*this, out);
  return out;
}

NpyArray parse_npy(const std::byte* data, std::size_t bytes, const std::string& path) {
  const auto [start, length] = place_of_header(data, bytes, path);
  if (length > bytes - start || length > (1u << 20))
    throw Error(path + ": says that its .npy header has " + std::to_string(length) + " bytes, but " +
                std::to_string(bytes - start) + " follow");
  NpyArray a =
      parse_header(std::string(reinterpret_cast<const char*>(data) + start, length), bytes - start - length, path);
  a.data.assign(data + start + length, data + bytes);
  return a;
}

NpyArray read_npy(const std::string& path) {
  const MappedFile file(path);
  return parse_npy(file.bytes().data(), file.bytes().size(), path);
}

NpyReader::NpyReader(const std::string& path) : path_(path), file_(path, std::ios::binary) {
  file_.seekg(0, std::ios::end);
  const auto bytes = static_cast<std::size_t>(std::max<std::streamoff>(0, file_.tellg()));
  if (!file_) throw Error(path + ": cannot be read");
  std::vector<std::byte> begin(std::min<std::size_t>(bytes, 12));
  read(begin.data(), begin.size(), 0);
  const auto [start, length] = place_of_header(begin.data(), begin.size(), path);
  if (length > bytes - start || length > (1u << 20))
    throw Error(path + ": says that its .npy header has " + std::to_string(length) + " bytes, but " +
                std::to_string(bytes - start) + " follow");
  std::string text(length, '\0');
  read(text.data(), length, start);
  array_ = parse_header(std::move(text), bytes - start - length, path);
  body_ = start + length;
}

void NpyReader::read(void* to, std::size_t bytes, std::size_t at) {
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(at));
  file_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
  if (static_cast<std::size_t>(file_.gcount()) != bytes) throw Error(path_ + ": ends before its data does");
}

std::vector<float> NpyReader::rows(std::int64_t first, std::int64_t count) {
  NpyArray part = array_;
  part.shape[0] = count;
  const std::size_t each =
      static_cast<std::size_t>(part.size() / std::max<std::int64_t>(1, count)) * static_cast<std::size_t>(part.bytes);
  part.data.resize(each * static_cast<std::size_t>(count));
  read(part.data.data(), part.data.size(), body_ + each * static_cast<std::size_t>(first));
  return part.floats();
}

NpyWriter::NpyWriter(const std::string& path, const std::vector<std::int64_t>& shape) : file_(path) {
  const std::string header = header_of(shape, "<f4");
  file_.write(header.data(), header.size());
}

void NpyWriter::append(const float* data, std::size_t count) { file_.write(data, count * sizeof(float)); }
void NpyWriter::commit() { file_.commit(); }

void write_npy(const std::string& path, const std::vector<std::int64_t>& shape, const float* data) {
  write(path, shape, "<f4", data, 4);
}
void write_npy(const std::string& path, const std::vector<std::int64_t>& shape, const std::int64_t* data) {
  write(path, shape, "<i8", data, 8);
}

}  // namespace vitrine::io
