// What a picture file must keep to before a decoder sees it: stb_image trusts more of a file than it should.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace vitrine::io {

/// Why a PNG file's chunks are damaged (sizes, checksums), as the end of a sentence; empty if they are not.
std::string png_damage(std::span<const std::uint8_t> file);

/// Likewise a JPEG file: Huffman tables of more codes than there are, which stb_image writes beyond its arrays for, and
/// more scans than any encoder makes, each of which goes over the whole picture.
std::string jpeg_damage(std::span<const std::uint8_t> file);

}  // namespace vitrine::io
