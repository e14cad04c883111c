// UTF-8 as it comes from files and command lines: every byte sequence reads as some text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vitrine::utf8 {

/// What stands for bytes that are no UTF-8 (RFC 3629).
constexpr char32_t replacement = 0xfffd;

/// The code point at `at`, which must be less than text.size(); `at` moves behind it. A malformed byte counts as one
/// replacement: overlong forms, surrogates and values above U+10FFFF are malformed.
char32_t next(std::string_view text, std::size_t& at) noexcept;

void append(std::string& text, char32_t code);

/// The text with malformed bytes replaced.
std::string valid(std::string_view text);

/// The text as XML and terminals can take it: also control characters other than tab and newline are replaced.
std::string printable(std::string_view text);

/// The text for one line of a terminal: control characters and malformed bytes as "\x1b". A text that this does not
/// change can be a name in files and messages.
std::string escaped(std::string_view text);

}  // namespace vitrine::utf8
