#include "core/host/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/host/io/npy.h"

namespace vitrine::io {
namespace {

constexpr std::size_t header_limit = 100'000'000;  // as in the reference implementation

struct DtypeName {
  const char* name;
  Dtype dtype;
  std::size_t bytes;
};
constexpr DtypeName dtypes[] = {{"F64", Dtype::f64, 8},     {"F32", Dtype::f32, 4}, {"F16", Dtype::f16, 2},
                                {"BF16", Dtype::bf16, 2},   {"I64", Dtype::i64, 8}, {"I32", Dtype::i32, 4},
                                {"I16", Dtype::i16, 2},     {"I8", Dtype::i8, 1},   {"U8", Dtype::u8, 1},
                                {"BOOL", Dtype::boolean, 1}};

template <class From>
void convert(std::span<const std::byte> bytes, std::vector<float>& out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    From v;
    std::memcpy(&v, bytes.data() + i * sizeof v, sizeof v);
    out[i] = static_cast<float>(v);
  }
}

// JSON keeps the last of equal keys and nests without bound; a header may do neither.
nlohmann::json parse_header(const char* begin, const char* end, const std::string& path) {
  std::vector<std::set<std::string>> seen;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    if (depth > 8) throw Error(path + ": safetensors header nests deeper than 8 levels");
    if (event == nlohmann::json::parse_event_t::object_start) seen.emplace_back();
    if (event == nlohmann::json::parse_event_t::object_end) seen.pop_back();
    if (event == nlohmann::json::parse_event_t::key && !seen.back().insert(value.get<std::string>()).second)
      throw Error(path + ": safetensors header has the key '" + value.get<std::string>() + "' twice");
    return true;
  };
  try {
    return nlohmann::json::parse(begin, end, watch);
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": safetensors header is no JSON: " + e.what());
  }
}

}  // namespace

std::int64_t TensorEntry::size() const noexcept {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) n *= d;
  return n;
}

std::vector<float> TensorEntry::floats() const {
  std::vector<float> out(static_cast<std::size_t>(size()));
  switch (dtype) {
    case Dtype::f64:
      convert<double>(bytes, out);
      break;
    case Dtype::f32:
      convert<float>(bytes, out);
      break;
    case Dtype::i64:
      convert<std::int64_t>(bytes, out);
      break;
    case Dtype::i32:
      convert<std::int32_t>(bytes, out);
      break;
    case Dtype::i16:
      convert<std::int16_t>(bytes, out);
      break;
    case Dtype::i8:
      convert<std::int8_t>(bytes, out);
      break;
    case Dtype::u8:
    case Dtype::boolean:
      convert<std::uint8_t>(bytes, out);
      break;
    case Dtype::f16:
    case Dtype::bf16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        std::uint16_t h;
        std::memcpy(&h, bytes.data() + 2 * i, 2);
        out[i] = dtype == Dtype::f16 ? half_to_float(h) : std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16);
      }
      break;
  }
  return out;
}

Safetensors::Safetensors(const std::string& path) : path_(path) {
  file_.emplace_back(path);
  parse(file_.back().bytes());
}

Safetensors::Safetensors(std::span<const std::byte> bytes, std::string path) : path_(std::move(path)) { parse(bytes); }

void Safetensors::parse(std::span<const std::byte> all) {
  const auto fail = [&](const std::string& what) -> void { throw Error(path_ + ": " + what); };
  if (all.size() < 8)
    fail("is no safetensors file: it has " + std::to_string(all.size()) + " bytes, expected at least 8");
  std::uint64_t length = 0;
  std::memcpy(&length, all.data(), 8);
  if (length > header_limit || length > all.size() - 8)
    fail("says that its safetensors header has " + std::to_string(length) + " bytes, but " +
         std::to_string(all.size() - 8) + " follow");
  const char* const text = reinterpret_cast<const char*>(all.data()) + 8;
  if (length == 0 || text[0] != '{') fail("is no safetensors file: its header does not begin with '{'");
  const nlohmann::json header = parse_header(text, text + length, path_);
  const std::span<const std::byte> body = all.subspan(8 + static_cast<std::size_t>(length));
  std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;
  try {
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        for (const auto& [key, text_value] : value.items()) metadata_[key] = text_value.get<std::string>();
        continue;
      }
      if (!value.is_object() || value.size() != 3)
        fail("tensor '" + name + "' lacks dtype, shape or data_offsets, or has more");
      TensorEntry t;
      t.name = name;
      const std::string type = value.at("dtype").get<std::string>();
      const auto* const entry =
          std::find_if(std::begin(dtypes), std::end(dtypes), [&](const DtypeName& d) { return type == d.name; });
      if (entry == std::end(dtypes)) fail("tensor '" + name + "' has unknown dtype '" + type + "'");
      t.dtype = entry->dtype;
      std::uint64_t need = entry->bytes;
      if (value.at("shape").size() > 16) fail("tensor '" + name + "' has more than 16 dimensions");
      for (const auto& d : value.at("shape")) {
        if (!d.is_number_unsigned()) fail("tensor '" + name + "' has a shape with something that is no size");
        const auto size = d.get<std::uint64_t>();
        if (size != 0 && need > (std::uint64_t{1} << 60) / size)
          fail("tensor '" + name + "' has a shape of more elements than memory could hold");
        need *= size;
        t.shape.push_back(static_cast<std::int64_t>(size));
      }
      const auto& offsets = value.at("data_offsets");
      if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
          !offsets[1].is_number_unsigned())
        fail("tensor '" + name + "' has data_offsets that are no two sizes");
      const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
      if (begin > end || end > body.size())
        fail("tensor '" + name + "' lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) +
             ", but the file has " + std::to_string(body.size()) + " bytes of data");
      if (end - begin != need)
        fail("tensor '" + name + "' has " + std::to_string(end - begin) + " bytes, but its shape needs " +
             std::to_string(need));
      t.bytes = body.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
      spans.emplace_back(begin, end);
      tensors_.push_back(std::move(t));
    }
  } catch (const nlohmann::json::exception& e) {
    fail(std::string("safetensors header is malformed: ") + e.what());
  }
  std::sort(spans.begin(), spans.end());
  std::uint64_t at = 0;
  for (const auto& [begin, end] : spans) {
    if (begin != at)
      fail("has tensors that overlap or leave a gap at byte " + std::to_string(std::min(at, begin)) + " of its data");
    at = end;
  }
  if (at != body.size()) fail("has " + std::to_string(body.size() - at) + " bytes of data that belong to no tensor");
  // In the order in which they lie in the file, as their writer gave them.
  std::stable_sort(tensors_.begin(), tensors_.end(),
                   [](const TensorEntry& a, const TensorEntry& b) { return a.bytes.data() < b.bytes.data(); });
  for (std::size_t k = 0; k < tensors_.size(); ++k) index_[tensors_[k].name] = k;
}

const TensorEntry* Safetensors::find(const std::string& name) const noexcept {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

const TensorEntry& Safetensors::tensor(const std::string& name) const {
  if (const TensorEntry* t = find(name)) return *t;
  throw Error(path_ + ": has no tensor '" + name + "'");
}

const std::string& Safetensors::metadata(const std::string& key) const {
  static const std::string none;
  const auto it = metadata_.find(key);
  return it == metadata_.end() ? none : it->second;
}

void SafetensorsWriter::add(const std::string& name, const std::vector<std::int64_t>& shape, const float* data) {
  std::size_t n = sizeof(float);
  for (const std::int64_t d : shape) n *= static_cast<std::size_t>(d);
  entries_.push_back({name, shape, data, n});
}

void SafetensorsWriter::commit() {
  nlohmann::ordered_json header;
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  std::size_t at = 0;
  for (const Entry& e : entries_) {
    header[e.name] = {{"dtype", "F32"}, {"shape", e.shape}, {"data_offsets", {at, at + e.bytes}}};
    at += e.bytes;
  }
  std::string text = header.dump();
  while (text.size() % 8 != 0) text += ' ';
  const std::uint64_t length = text.size();
  AtomicFile file(path_);
  file.write(&length, 8);
  file.write(text.data(), text.size());
  for (const Entry& e : entries_) file.write(e.data, e.bytes);
  file.commit();
}

}  // namespace vitrine::io
