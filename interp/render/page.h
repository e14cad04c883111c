// HTML and SVG, written so that no text can become markup.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace vitrine {

/// A text that stands in the source code. Element and attribute names, style sheets: what is markup by itself.
struct Literal {
  consteval Literal(const char* source) : text(source) {}
  const char* text;
};

/// A number as an attribute: at most two decimals, never with an exponent or a locale's comma; NaN and infinity are 0.
std::string px(double) noexcept;

/// Part of a document: elements, of which those open() must be closed, and texts. Every text and attribute value is
/// escaped; malformed UTF-8 and control characters become U+FFFD, so that the document stays well-formed XML. Markup
/// can come only from literals and from other Markup.
class Markup {
 public:
  struct Attribute {
    Literal name;
    std::string value;
  };
  using Attributes = std::initializer_list<Attribute>;

  Markup& open(Literal element, Attributes = {});
  Markup& close();
  /// An element without content: <name/>.
  Markup& leaf(Literal element, Attributes = {});
  Markup& text(std::string_view);
  /// open, text, close.
  Markup& element(Literal name, Attributes, std::string_view text);
  Markup& element(Literal name, std::string_view text) { return element(name, {}, text); }
  Markup& style(Literal css);
  /// Appends another part; a logic_error if it has open elements.
  Markup& add(const Markup&);
  bool empty() const noexcept { return out_.empty(); }
  /// A logic_error if elements are open.
  const std::string& str() const;

 private:
  void tag(Literal element, Attributes, const char* end);
  std::string out_;
  std::vector<const char*> open_;
};

/// A whole HTML document around a body. It is self-contained: its style sheet is within, light or dark as the reader's
/// system is, and a policy in its head forbids the browser any request, script or frame.
std::string html_page(const std::string& title, const Markup& body);

/// A picture file as a data: URI.
std::string data_uri(Literal media_type, const std::vector<unsigned char>& bytes);

}  // namespace vitrine
