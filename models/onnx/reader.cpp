#include "models/onnx/reader.h"

#include <charconv>
#include <cstring>
#include <filesystem>
#include <functional>

#include "core/host/io/file.h"
#include "core/host/io/npy.h"

namespace vitrine::onnx {
namespace {

// No weight of a classifier comes near this; more is a damaged or hostile file.
constexpr std::int64_t element_limit = std::int64_t{1} << 31;

int element_bytes(std::int32_t type) {
  switch (type) {
    case pb::TensorProto::FLOAT:
    case pb::TensorProto::INT32:
      return 4;
    case pb::TensorProto::DOUBLE:
    case pb::TensorProto::INT64:
      return 8;
    case pb::TensorProto::FLOAT16:
    case pb::TensorProto::BFLOAT16:
    case pb::TensorProto::INT16:
    case pb::TensorProto::UINT16:
      return 2;
    case pb::TensorProto::INT8:
    case pb::TensorProto::UINT8:
    case pb::TensorProto::BOOL:
      return 1;
    default:
      return 0;
  }
}

bool is_floating(std::int32_t type) {
  return type == pb::TensorProto::FLOAT || type == pb::TensorProto::DOUBLE || type == pb::TensorProto::FLOAT16 ||
         type == pb::TensorProto::BFLOAT16;
}

float bfloat(std::uint16_t v) {
  const std::uint32_t bits = std::uint32_t{v} << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

template <class T>
T load(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

void from_raw(std::int32_t type, const char* raw, std::int64_t n, Constant& c) {
  for (std::int64_t k = 0; k < n; ++k) {
    const char* const p = raw + k * element_bytes(type);
    switch (type) {
      case pb::TensorProto::FLOAT:
        c.f.push_back(load<float>(p));
        break;
      case pb::TensorProto::DOUBLE:
        c.f.push_back(static_cast<float>(load<double>(p)));
        break;
      case pb::TensorProto::FLOAT16:
        c.f.push_back(io::half_to_float(load<std::uint16_t>(p)));
        break;
      case pb::TensorProto::BFLOAT16:
        c.f.push_back(bfloat(load<std::uint16_t>(p)));
        break;
      case pb::TensorProto::INT64:
        c.i.push_back(load<std::int64_t>(p));
        break;
      case pb::TensorProto::INT32:
        c.i.push_back(load<std::int32_t>(p));
        break;
      case pb::TensorProto::INT16:
        c.i.push_back(load<std::int16_t>(p));
        break;
      case pb::TensorProto::UINT16:
        c.i.push_back(load<std::uint16_t>(p));
        break;
      case pb::TensorProto::INT8:
        c.i.push_back(load<std::int8_t>(p));
        break;
      default:
        c.i.push_back(load<std::uint8_t>(p));
        break;
    }
  }
}

// External data lies in a file beside the model: a plain relative path that stays in the folder, links resolved.
std::vector<std::byte> external_bytes(const pb::TensorProto& t, const std::string& path, const std::string& folder,
                                      std::int64_t bytes) {
  namespace fs = std::filesystem;
  std::string location;
  std::int64_t offset = 0, length = bytes;
  for (const auto& entry : t.external_data())
    if (entry.key() == "location") location = entry.value();
  const auto refuse = [&](const std::string& why) {
    throw Error(path + ": tensor '" + t.name() + "' has its data in '" + location + "', " + why);
  };
  for (const auto& entry : t.external_data()) {
    if (entry.key() != "offset" && entry.key() != "length") continue;
    const std::string& digits = entry.value();
    std::int64_t& value = entry.key() == "offset" ? offset : length;
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (problem != std::errc{} || end != digits.data() + digits.size())
      refuse("at an " + entry.key() + " of '" + digits + "', which is no number");
  }
  if (length != bytes)
    refuse("of a length of " + std::to_string(length) + " bytes, expected " + std::to_string(bytes) + " for its shape");
  if (folder.empty()) refuse("and no folder to look for it in");
  const fs::path relative(location);
  if (location.empty() || relative.is_absolute()) refuse("expected a file beside the model");
  for (const fs::path& part : relative)
    if (part == "..") refuse("which leaves the model's folder");
  std::error_code error;
  const fs::path root = fs::canonical(folder, error), file = fs::canonical(fs::path(folder) / relative, error);
  if (error) refuse("which cannot be found");
  const fs::path inside = file.lexically_relative(root);
  if (inside.empty() || *inside.begin() == "..") refuse("which leaves the model's folder");
  const io::MappedFile mapped(file.string());
  const auto all = static_cast<std::int64_t>(mapped.bytes().size());
  if (offset < 0 || offset > all || bytes > all - offset)
    refuse("which has " + std::to_string(all) + " bytes, expected " + std::to_string(bytes) + " from " +
           std::to_string(offset) + " on");
  const auto part = mapped.bytes().subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
  return {part.begin(), part.end()};
}

}  // namespace

std::string text(const Dims& d) {
  std::string s = "(";
  for (std::size_t k = 0; k < d.size(); ++k) {
    if (k > 0) s += ',';
    s += d[k] == batch_marker ? std::string("N") : std::to_string(d[k]);
  }
  return s + ")";
}

namespace {

// The numbers of a tensor that has them in fields of its own; `check` refuses another number of them.
void read_fields(const pb::TensorProto& t, const std::function<void(std::int64_t, const char*)>& check, Constant& c) {
  const std::int32_t type = t.data_type();
  switch (type) {
    case pb::TensorProto::FLOAT:
      check(t.float_data_size(), "numbers");
      c.f.assign(t.float_data().begin(), t.float_data().end());
      break;
    case pb::TensorProto::DOUBLE:
      check(t.double_data_size(), "numbers");
      for (const double v : t.double_data()) c.f.push_back(static_cast<float>(v));
      break;
    case pb::TensorProto::INT64:
      check(t.int64_data_size(), "numbers");
      c.i.assign(t.int64_data().begin(), t.int64_data().end());
      break;
    default:
      check(t.int32_data_size(), "numbers");
      for (const std::int32_t v : t.int32_data()) {
        if (type == pb::TensorProto::FLOAT16)
          c.f.push_back(io::half_to_float(static_cast<std::uint16_t>(v)));
        else if (type == pb::TensorProto::BFLOAT16)
          c.f.push_back(bfloat(static_cast<std::uint16_t>(v)));
        else
          c.i.push_back(v);
      }
  }
}

}  // namespace

Constant read_tensor(const pb::TensorProto& t, const std::string& path, const std::string& folder) {
  const auto fail = [&](const std::string& why) { throw Error(path + ": tensor '" + t.name() + "' " + why); };
  Constant c;
  std::int64_t n = 1;
  if (t.dims_size() > 8) fail("has " + std::to_string(t.dims_size()) + " dimensions, expected at most 8");
  for (const std::int64_t d : t.dims()) {
    if (d < 0 || d > element_limit || (n *= d) > element_limit) fail("has an impossible shape");
    c.dims.push_back(d);
  }
  const std::int32_t type = t.data_type();
  const int each = element_bytes(type);
  if (each == 0) fail("is of element type " + std::to_string(type) + ", expected a float or integer type");
  c.is_float = is_floating(type);
  const auto check = [&](std::int64_t found, const char* unit) {
    if (found != n)
      fail("holds " + std::to_string(found) + " " + unit + ", expected " + std::to_string(n) + " for its shape " +
           text(c.dims));
  };
  const auto reserve = [&] {
    if (c.is_float)
      c.f.reserve(static_cast<std::size_t>(n));
    else
      c.i.reserve(static_cast<std::size_t>(n));
  };
  if (t.data_location() == pb::TensorProto::EXTERNAL) {
    const std::vector<std::byte> raw = external_bytes(t, path, folder, n * each);
    reserve();
    from_raw(type, reinterpret_cast<const char*>(raw.data()), n, c);
    return c;
  }
  if (t.has_raw_data()) {
    const auto bytes = static_cast<std::int64_t>(t.raw_data().size());
    if (bytes != n * each)
      fail("holds " + std::to_string(bytes) + " bytes, expected " + std::to_string(n * each) + " for its shape " +
           text(c.dims));
    reserve();
    from_raw(type, t.raw_data().data(), n, c);
    return c;
  }
  read_fields(t, check, c);
  return c;
}

const pb::AttributeProto* Node::find(const char* attribute) const {
  if (proto != nullptr)
    for (const pb::AttributeProto& a : proto->attribute())
      if (a.name() == attribute) return &a;
  return nullptr;
}

std::int64_t Node::integer(const char* attribute, std::int64_t initial) const {
  const auto* a = find(attribute);
  return a != nullptr ? a->i() : initial;
}

float Node::number(const char* attribute, float initial) const {
  const auto* a = find(attribute);
  return a != nullptr ? a->f() : initial;
}

std::string Node::text(const char* attribute, const std::string& initial) const {
  const auto* a = find(attribute);
  return a != nullptr ? a->s() : initial;
}

Dims Node::integers(const char* attribute, Dims initial) const {
  const auto* a = find(attribute);
  return a != nullptr ? Dims(a->ints().begin(), a->ints().end()) : std::move(initial);
}

}  // namespace vitrine::onnx
