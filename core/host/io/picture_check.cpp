#include "core/host/io/picture_check.h"

#include <zlib.h>

#include <string_view>

namespace vitrine::io {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::size_t big_endian(Bytes at, std::size_t count) {
  std::size_t value = 0;
  for (std::size_t k = 0; k < count; ++k) value = value << 8 | at[k];
  return value;
}

// The tables of one segment: each a byte, 16 counts of codes by length, and a value per code.
std::string table_damage(Bytes segment) {
  constexpr std::size_t lengths = 16, most_codes = 256;
  while (!segment.empty()) {
    if (segment.size() < 1 + lengths) return "a Huffman table ends too early";
    std::size_t codes = 0, taken = 0;  // of the codes of the present length
    for (std::size_t length = 1; length <= lengths; ++length) {
      const std::size_t count = segment[length];
      codes += count;
      taken = 2 * taken + count;
      if (taken > std::size_t{1} << length || codes > most_codes)
        return "a Huffman table has more codes than there are";
    }
    if (segment.size() < 1 + lengths + codes) return "a Huffman table ends too early";
    segment = segment.subspan(1 + lengths + codes);
  }
  return "";
}

// Where the next marker after coded data is: 0xff, but neither a stuffed byte nor a restart.
std::size_t after_coded_data(Bytes file, std::size_t at) {
  for (; at + 1 < file.size(); ++at)
    if (file[at] == 0xff && file[at + 1] != 0 && file[at + 1] != 0xff && (file[at + 1] & 0xf8) != 0xd0) return at;
  return file.size();
}

}  // namespace

std::string png_damage(Bytes file) {
  constexpr std::size_t signature = 8, size_and_name = 8, checksum = 4;
  for (std::size_t at = signature; at + size_and_name <= file.size();) {
    const std::size_t size = big_endian(file.subspan(at, 4), 4), left = file.size() - at - size_and_name;
    if (size > left || left - size < checksum)
      return "has a chunk of " + std::to_string(size) + " bytes, " + std::to_string(left) + " are left";
    const Bytes named = file.subspan(at + 4, 4 + size);
    const std::string_view name(reinterpret_cast<const char*>(named.data()), 4);
    const auto found = static_cast<std::size_t>(::crc32_z(0, named.data(), named.size()));
    if (found != big_endian(file.subspan(at + size_and_name + size, checksum), checksum))
      return "the checksum of chunk " + std::string(name) + " is wrong";
    if (name == "IEND") return "";
    at += size_and_name + size + checksum;
  }
  return "ends too early";
}

std::string jpeg_damage(Bytes file) {
  constexpr std::size_t most_scans = 100;  // progressive encoders make about ten
  constexpr std::uint8_t huffman_tables = 0xc4, start_of_scan = 0xda, end_of_image = 0xd9;
  std::size_t at = 2, scans = 0;
  while (at + 4 <= file.size()) {
    const std::uint8_t marker = file[at + 1];
    if (file[at] != 0xff || marker == 0xff || marker == 0) {  // decoders look for the next marker, too
      ++at;
      continue;
    }
    if (marker == end_of_image) break;
    const std::size_t size = big_endian(file.subspan(at + 2, 2), 2);
    if (size < 2 || at + 2 + size > file.size()) return "a segment ends too early";
    const Bytes segment = file.subspan(at + 4, size - 2);
    at += 2 + size;
    if (marker == huffman_tables)
      if (std::string damage = table_damage(segment); !damage.empty()) return damage;
    if (marker != start_of_scan) continue;
    if (++scans > most_scans) return "has more than " + std::to_string(most_scans) + " scans";
    at = after_coded_data(file, at);
  }
  return scans > 0 ? "" : "has no scan";
}

}  // namespace vitrine::io
