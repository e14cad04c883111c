#include "interp/render/page.h"

#include <openssl/evp.h>

#include <charconv>
#include <cmath>
#include <stdexcept>

#include "core/host/utf8.h"

namespace vitrine {
namespace {

void escape(std::string& out, std::string_view text) {
  for (const char c : utf8::printable(text)) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
}

constexpr Literal page_style = R"(
:root{color-scheme:light dark;--ground:#fff;--ink:#1d1f23;--soft:#5c626b;--line:#dcdfe4;--band:#f5f6f8;--link:#0b5cad;
--good:#0a6b3d;--bad:#a4161a}
@media(prefers-color-scheme:dark){:root{--ground:#16181d;--ink:#e4e6ea;--soft:#a0a6b0;--line:#34383f;--band:#1e2127;
--link:#7ab8f5;--good:#63c796;--bad:#ff8f8a}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem 1rem 4rem;max-width:66rem;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:.2rem 0 .6rem}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.5rem 0;max-width:46rem;white-space:pre-line}
a{color:var(--link)}
small,figcaption,.note{color:var(--soft);font-size:.875rem}
dl{display:grid;grid-template-columns:fit-content(40%) 1fr;gap:.15rem 1rem;margin:.6rem 0;font-size:.9375rem}
dt{color:var(--soft);min-width:0}dd{margin:0;min-width:0}
code{font:.8125rem/1.4 ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.9375rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .75rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);overflow-wrap:normal;
max-width:28rem}
td.text{overflow-wrap:break-word}
th{font-weight:600;background:var(--band);vertical-align:bottom;max-width:14rem;overflow-wrap:break-word}
.number{text-align:right}td.number{white-space:nowrap}
.good{color:var(--good);font-weight:600;white-space:nowrap}.bad{color:var(--bad);font-weight:600;white-space:nowrap}
figure{margin:.6rem 0 1.2rem}
figure>svg{display:block;width:100%;max-width:30rem;height:auto}
figure>img{display:block;max-width:100%;height:auto}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,28rem),1fr));gap:1rem 2rem}
.planes{display:flex;flex-wrap:wrap;gap:.5rem;margin:.4rem 0}
.planes div{font-size:.75rem;color:var(--soft);line-height:1.3;max-width:100%}
.planes img{display:block;image-rendering:pixelated;max-width:100%;height:auto;border:1px solid var(--line)}
figure.scale>svg{max-width:20rem}
@media(max-width:34rem){table{font-size:.875rem}th,td{padding:.25rem .45rem}}
)";

}  // namespace

std::string px(double v) noexcept {
  if (!std::isfinite(v)) return "0";
  const double hundredths = std::nearbyint(std::min(std::max(v, -1e9), 1e9) * 100);
  char buffer[32];
  std::string out(buffer,
                  std::to_chars(buffer, buffer + sizeof buffer, hundredths / 100, std::chars_format::fixed, 2).ptr);
  while (out.back() == '0') out.pop_back();
  if (out.back() == '.') out.pop_back();
  return out == "-0" ? "0" : out;
}

void Markup::tag(Literal element, Attributes attributes, const char* end) {
  out_ += '<';
  out_ += element.text;
  for (const Attribute& a : attributes) {
    out_ += ' ';
    out_ += a.name.text;
    out_ += "=\"";
    escape(out_, a.value);
    out_ += '"';
  }
  out_ += end;
}

Markup& Markup::open(Literal element, Attributes attributes) {
  tag(element, attributes, ">");
  open_.push_back(element.text);
  return *this;
}

Markup& Markup::close() {
  if (open_.empty()) throw std::logic_error("Markup: no element is open");
  out_ += "</";
  out_ += open_.back();
  out_ += ">";
  open_.pop_back();
  return *this;
}

Markup& Markup::leaf(Literal element, Attributes attributes) {
  tag(element, attributes, "/>");
  return *this;
}

Markup& Markup::text(std::string_view text) {
  escape(out_, text);
  return *this;
}

Markup& Markup::element(Literal name, Attributes attributes, std::string_view content) {
  open(name, attributes);
  text(content);
  return close();
}

Markup& Markup::style(Literal css) {
  open("style");
  out_ += css.text;
  return close();
}

Markup& Markup::add(const Markup& part) {
  out_ += part.str();
  return *this;
}

const std::string& Markup::str() const {
  if (!open_.empty()) throw std::logic_error(std::string("Markup: <") + open_.back() + "> is not closed");
  return out_;
}

std::string html_page(const std::string& title, const Markup& body) {
  Markup page;
  page.open("html", {{"lang", "en"}}).open("head");
  page.leaf("meta", {{"charset", "utf-8"}});
  page.leaf("meta", {{"http-equiv", "Content-Security-Policy"},
                     {"content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'"}});
  page.leaf("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  page.element("title", title).style(page_style).close();
  page.open("body").add(body).close().close();
  return "<!DOCTYPE html>\n" + page.str() + "\n";
}

std::string data_uri(Literal media_type, const std::vector<unsigned char>& bytes) {
  std::vector<unsigned char> encoded(4 * ((bytes.size() + 2) / 3) + 1);
  const int n = ::EVP_EncodeBlock(encoded.data(), bytes.data(), static_cast<int>(bytes.size()));
  return std::string("data:") + media_type.text + ";base64," + std::string(encoded.begin(), encoded.begin() + n);
}

}  // namespace vitrine
