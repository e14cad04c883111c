// Whether HTML or SVG is well formed, by the rules of XML that this library's writer keeps; and a text that tries to
// break it.
#pragma once

#include <string>
#include <vector>

namespace vitrine::test {

/// Markup, quotes, entities, an escape code, malformed UTF-8 (a lone lead byte, a surrogate), and a two-byte letter.
inline const std::string hostile =
    "<script>alert(1)</script> \"'&amp;\n\x1b[31m \xff\xc3 \xed\xa0\x80 ]]> --> \xc3\xa9<img src=x onerror=alert(2)>";

/// "" if elements are balanced, attributes quoted, entities known and control characters absent; else what is wrong.
inline std::string well_formed(const std::string& text) {
  std::vector<std::string> open;
  const auto at_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  };
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')
      return "a control character at " + std::to_string(i);
    if (c == '>') return "a lone > at " + std::to_string(i);
    if (c == '&') {
      const std::string entity = text.substr(i, text.find(';', i) - i + 1);
      if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;" && entity != "&#39;")
        return "the entity " + entity.substr(0, 20);
    }
    if (c != '<') {
      ++i;
      continue;
    }
    const bool closing = text[++i] == '/';
    if (closing) ++i;
    std::string name;
    while (i < text.size() && at_name(text[i])) name += text[i++];
    if (name.empty()) return "a < without a name at " + std::to_string(i);
    bool quoted = false, empty = false;
    for (; i < text.size() && (quoted || text[i] != '>'); ++i) {
      if (text[i] == '"') quoted = !quoted;
      if (text[i] == '<' || text[i] == '\'') return "a raw character in <" + name;
      empty = text[i] == '/' && !quoted;
    }
    if (i++ == text.size()) return "<" + name + " has no end";
    if (closing) {
      if (open.empty() || open.back() != name) return "</" + name + "> closes nothing";
      open.pop_back();
    } else if (!empty) {
      open.push_back(name);
      // A style sheet's > and & are no markup.
      if (name == "style") i = text.find("</style>", i);
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

}  // namespace vitrine::test
