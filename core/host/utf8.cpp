#include "core/host/utf8.h"

namespace vitrine::utf8 {

char32_t next(std::string_view text, std::size_t& at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at++);
  if (first < 0x80) return first;
  const int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  if (first < 0xc2 || first > 0xf4 || text.size() - at < static_cast<std::size_t>(more)) return replacement;
  char32_t code = first & (0x3fu >> more);
  for (int k = 0; k < more; ++k) {
    const unsigned char c = byte(at + static_cast<std::size_t>(k));
    if ((c & 0xc0u) != 0x80) return replacement;
    code = code << 6 | (c & 0x3fu);
  }
  constexpr char32_t smallest[] = {0, 0x80, 0x800, 0x10000};
  if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return replacement;
  at += static_cast<std::size_t>(more);
  return code;
}

void append(std::string& text, char32_t code) {
  const auto trail = [&](int shift) { text += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0 | code >> 6);
    trail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0 | code >> 12);
    trail(6);
    trail(0);
  } else {
    text += static_cast<char>(0xf0 | code >> 18);
    trail(12);
    trail(6);
    trail(0);
  }
}

std::string valid(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) append(out, next(text, at));
  return out;
}

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next(text, at);
    const bool control = (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7f && c < 0xa0);
    append(out, control || c == 0xfffe || c == 0xffff ? replacement : c);
  }
  return out;
}

namespace {

void append_escaped(std::string& out, std::string_view bytes) {
  constexpr const char* digits = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
  }
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t c = next(text, at);
    const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0), malformed = c == replacement && at == begin + 1;
    const std::string_view bytes = text.substr(begin, at - begin);
    if (control || malformed)
      append_escaped(out, bytes);
    else
      out += bytes;
  }
  return out;
}

}  // namespace vitrine::utf8
