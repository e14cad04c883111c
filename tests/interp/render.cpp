// Charts, colours, pages and the font.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/host/utf8.h"
#include "interp/render/chart.h"
#include "interp/render/font.h"
#include "interp/render/page.h"
#include "interp/render/picture.h"
#include "tests/support/files.h"
#include "tests/support/markup.h"

using namespace vitrine;
using vitrine::test::hostile;
using vitrine::test::refused;
using vitrine::test::well_formed;

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t n = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_SUITE("interp") {
  TEST_CASE("render: ticks are round numbers, with as many decimals as the step needs") {
    CHECK(joined(ticks(0, 1).labels) == "0 0.2 0.4 0.6 0.8 1.0");
    CHECK(joined(ticks(0, 100, 10).labels) == "0 10 20 30 40 50 60 70 80 90 100");
    CHECK(joined(ticks(-0.37, 0.52, 5, true).labels) == "-0.4 -0.2 0 0.2 0.4 0.6");
    CHECK(joined(ticks(3.2, 8.9, 5).labels) == "4 5 6 7 8");
    CHECK(joined(ticks(0, 3e-7, 3).labels) == "0 1e-7 2e-7 3e-7");
    CHECK(joined(ticks(0, 4.5e8, 4).labels) == "0 1e8 2e8 3e8 4e8");
    CHECK(joined(ticks(1e5, 1e5 + 0.04, 4).labels) == "100000.00 100000.01 100000.02 100000.03 100000.04");
    CHECK(joined(ticks(-30, -10, 4).labels) == "-30 -25 -20 -15 -10");
    CHECK(ticks(0, 1).at[3] == 0.6);  // not 0.6000000000000001
  }

  TEST_CASE("render: any range has ticks, in order and inside") {
    const double inf = std::numeric_limits<double>::infinity(), largest = std::numeric_limits<double>::max();
    const std::vector<double> ends = {0,        -0.0, 1,    -1,        5,      5 + 1e-15, 1e-320, 1e-300,
                                      -1e-12,   1e-5, 0.1,  12345.678, 1e15,   1e300,     -1e300, largest,
                                      -largest, inf,  -inf, NAN,       1e-290, 3,         7};
    for (const double low : ends)
      for (const double high : ends)
        for (const int about : {-1, 1, 2, 5, 12})
          for (const bool widen : {false, true}) {
            CAPTURE(low);
            CAPTURE(high);
            const Ticks t = ticks(low, high, about, widen);
            CHECK(std::isfinite(t.low));
            CHECK(std::isfinite(t.high));
            REQUIRE(t.low < t.high);
            REQUIRE(std::isfinite(t.high - t.low));
            CHECK(t.at.size() == t.labels.size());
            CHECK(t.at.size() <= 30);
            CHECK((about < 5 || t.at.size() >= 3));
            if (widen) CHECK(t.at.size() >= 2);
            for (std::size_t k = 0; k < t.at.size(); ++k) {
              CHECK(t.at[k] >= t.low - 1e-6 * (t.high - t.low));
              CHECK(t.at[k] <= t.high + 1e-6 * (t.high - t.low));
              CHECK((k == 0 || t.at[k] > t.at[k - 1]));
              CHECK(t.labels[k].size() < 24);
            }
          }
    CHECK(joined(ticks(0, 0).labels) == "0 0.2 0.4 0.6 0.8 1.0");
    CHECK(ticks(4, 4).low == 2);
    CHECK(ticks(4, 4).high == 6);
  }

  TEST_CASE("render: short numbers") {
    const auto is = [](double v, const char* text) { CHECK(short_number(v) == text); };
    is(0, "0");
    is(-0.0, "0");
    is(1, "1");
    is(-120, "-120");
    is(1234567, "1234567");
    is(12345678, "1.235e7");
    is(1582.3123, "1582.3");
    is(0.33333333, "0.3333");
    is(0.5, "0.5");
    is(1.23e-7, "1.23e-7");
    is(-1e300, "-1e300");
    is(5e-324, "4.941e-324");
    is(1e9, "1e9");
    is(NAN, "\xe2\x80\x93");
    is(-std::numeric_limits<double>::infinity(), "-\xe2\x88\x9e");
    CHECK(px(12.346) == "12.35");
    CHECK(px(-0.001) == "0");
    CHECK(px(3) == "3");
    CHECK(px(NAN) == "0");
    CHECK(px(1e300) == "1000000000");
  }

  TEST_CASE("render: colour maps run evenly from dark to light where they promise it") {
    for (const ColourMap& m : colour_maps()) {
      CHECK(&colour_map(m.name) == &m);
      for (int k = 0; k < 256; ++k) {
        const double low = k / 256.0, high = (k + 1) / 256.0;
        const double step = lightness(m.colour(high)) - lightness(m.colour(low));
        const bool falls = std::string(m.name) == "blue-white-red";
        CHECK_MESSAGE((falls ? -step : step) >= -0.4, m.name << " at " << low);  // 0.4: one level of 255 in one channel
        if (m.diverging) {
          CHECK(std::abs(lightness(m.colour(high)) - lightness(m.colour(-high))) < 7);
          CHECK(m.colour(high).r > m.colour(high).b);
          CHECK(m.colour(-high).b > m.colour(-high).r);
        }
      }
      CHECK(m.colour(7) == m.colour(1));
      CHECK(m.colour(-7) == m.colour(m.diverging ? -1 : 0));
      CHECK(m.colour(NAN) == Rgb{150, 150, 150});
    }
    CHECK(diverging(0) == Rgb{255, 255, 255});
    CHECK(diverging(1) == Rgb{165, 15, 36});
    CHECK(diverging(-0.5) == Rgb{103, 169, 207});
    CHECK(lightness(diverging_dark(0)) < 6);
    CHECK(lightness(diverging_dark(1)) > 80);
    CHECK(lightness(grey(1)) == doctest::Approx(100));
    const std::pair<int, Rgb> published[] = {{0, {0, 34, 78}},       {10, {0, 42, 95}},      {64, {67, 78, 108}},
                                             {128, {125, 124, 120}}, {200, {196, 180, 104}}, {230, {229, 207, 82}}};
    for (const auto& [index, c] : published) {
      const Rgb found = cividis(index / 255.0);
      CHECK(std::max({std::abs(found.r - c.r), std::abs(found.g - c.g), std::abs(found.b - c.b)}) <= 2);
    }
    refused([] { colour_map("rainbow"); }, "expected one of blue-white-red, blue-black-red, cividis, grey");
  }

  TEST_CASE("render: malformed UTF-8 reads as replacements") {
    const auto codes = [](std::string_view s) {
      std::u32string out;
      for (std::size_t at = 0; at < s.size();) out += utf8::next(s, at);
      return out;
    };
    CHECK(codes("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == U"a\u00e9\u20ac\U0001f600");
    CHECK(codes("\xc3") == U"\ufffd");
    CHECK(codes("\xe2\x82") == U"\ufffd\ufffd");
    CHECK(codes("\xc0\xaf") == U"\ufffd\ufffd");                      // overlong /
    CHECK(codes("\xed\xa0\x80") == U"\ufffd\ufffd\ufffd");            // a surrogate
    CHECK(codes("\xf4\x90\x80\x80") == U"\ufffd\ufffd\ufffd\ufffd");  // above U+10FFFF
    CHECK(codes("\x80z\xff") == U"\ufffdz\ufffd");
    CHECK(utf8::valid("a\xffz") == "a\xef\xbf\xbdz");
    CHECK(utf8::printable("a\tb\n\x1b\r\x7f\xc2\x9b") == "a\tb\n\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  }

  TEST_CASE("render: the font has what it promises, and a box for the rest") {
    const auto all = [](char32_t first, char32_t last) {
      for (char32_t c = first; c <= last; ++c) CHECK_MESSAGE(font::covers(c), static_cast<unsigned>(c));
    };
    all(0x20, 0x7e);
    all(0xa0, 0x17f);
    all(0x391, 0x3a1);
    all(0x3a3, 0x3c9);
    all(0x400, 0x45f);
    all(0x2190, 0x21ff);
    all(0x2200, 0x22ff);
    all(0x25a0, 0x25ff);
    for (const char32_t c : U"\u2026\u2212\u2713\u2717\u00d7\u20ac\u201c\u2013\ufffd")
      CHECK((c == 0 || font::covers(c)));
    for (const char32_t c : {U'\u4e2d', U'\U0001f600', U'\u0000', U'\u001b', U'\U0010ffff'})
      CHECK_FALSE(font::covers(c));
    // The box has a width and a picture.
    CHECK(font::width("\xe4\xb8\xad", 20) > 5);
    const font::Line box = font::draw("\xe4\xb8\xad", 20);
    CHECK(std::count_if(box.coverage.begin(), box.coverage.end(), [](int v) { return v > 128; }) > 20);
  }

  TEST_CASE("render: text has the width that it says, at any size, for any bytes") {
    std::string bytes;
    for (int c = 1; c < 256; ++c) bytes += static_cast<char>(c);
    for (const std::string& text :
         {std::string("Ag"), std::string(), std::string(1, '\0'), bytes, hostile, std::string("A\xcc\x8a\xcc\xa7")})
      for (const int size : {-3, 1, 2, 7, 11, 44, 200}) {
        const font::Line line = font::draw(text, size);
        CHECK(line.w >= font::width(text, size));
        CHECK(line.h >= font::line_height(size));
        CHECK(line.coverage.size() == static_cast<std::size_t>(line.w) * static_cast<std::size_t>(line.h));
      }
    CHECK(font::width("iii", 11) < font::width("MMM", 11));
    CHECK(font::width("ab", 11) == font::width("a", 11) + font::width("b", 11));
    CHECK(Picture::text_width("two\nlonger") == Picture::text_width("longer"));
    CHECK(Picture::text_width("abc", 2) > Picture::text_width("abc"));
    // Ink stays within the width, capitals are 8 pixels high from y on.
    Picture p(100, 40);
    p.text(10, 10, "HEM");
    int left = 99, right = 0, top = 99, bottom = 0;
    for (int y = 0; y < p.height(); ++y)
      for (int x = 0; x < p.width(); ++x)
        if (p.get(x, y).r < 160)
          left = std::min(left, x), right = std::max(right, x), top = std::min(top, y), bottom = std::max(bottom, y);
    CHECK(left >= 10);
    CHECK(right < 10 + Picture::text_width("HEM"));
    CHECK(top == 10);
    CHECK(bottom == 17);
    // Partly and wholly outside: clipped.
    for (const int at : {-500, -5, 95, 38, 1000}) p.text(at, at, hostile, {0, 0, 0}, 3);
  }

  TEST_CASE("render: panels of odd sizes are drawn, wrong ones refused") {
    Panel p;
    p.title = hostile;
    p.note = "one\ntwo\nthree";
    for (const auto& [h, w] : {std::pair{1, 1}, {1, 300}, {300, 1}, {28, 28}}) {
      p.h = h;
      p.w = w;
      p.values.assign(static_cast<std::size_t>(h * w), NAN);
      p.values[0] = 1;
      const Picture picture = draw_panels({{p, p}, {p}}, true);
      CHECK(picture.width() > w);
      CHECK(picture.height() > 2 * h);
    }
    p.values.pop_back();
    refused([&] { draw_panels({{p}}, false); }, "1 x 28 x 28 values was given 783");
    refused([] { Picture(0, 3); }, "0 x 3");
    refused([] { Picture(1 << 20, 1 << 20); }, "expected");
    refused([] { Picture(2, 2, std::vector<std::uint8_t>(11)); }, "11 bytes");
  }

  TEST_CASE("render: markup is escaped, balanced, and kept apart from text") {
    Markup m;
    m.open("p", {{"class", "a\"><b>"}}).text("1 < 2 & \"3\"").leaf("br").close();
    CHECK(m.str() == "<p class=\"a&quot;&gt;&lt;b&gt;\">1 &lt; 2 &amp; &quot;3&quot;<br/></p>");
    CHECK(well_formed(m.str()) == "");
    Markup open;
    open.open("div");
    CHECK_THROWS_AS((void)open.str(), std::logic_error);
    CHECK_THROWS_AS(m.add(open), std::logic_error);
    CHECK_THROWS_AS(m.close(), std::logic_error);
    const std::string page = html_page(hostile, m);
    CHECK(well_formed(page.substr(15)) == "");
    CHECK(page.find("<script") == std::string::npos);
    CHECK(data_uri("image/png", {1, 2, 3, 4}) == "data:image/png;base64,AQIDBA==");
    CHECK(data_uri("image/png", {}) == "data:image/png;base64,");
  }

  TEST_CASE("render: charts of any data and texts are well formed, and the same each time") {
    const double inf = std::numeric_limits<double>::infinity(), largest = std::numeric_limits<double>::max();
    std::vector<Curve> curves(1);
    curves.push_back({hostile,
                      hostile,
                      hostile,
                      {{hostile, {1, 2, 3}, {3, NAN, 1}, {2, NAN, -inf}, {4, NAN, 2}}, {"b", {1}, {1}, {}, {}}}});
    curves.push_back({"one point", "x", "y", {{"p", {3}, {-2}, {}, {}}}});
    curves.push_back({"nothing", "x", "y", {{"p", {NAN, 1}, {1, inf}, {}, {}}}});
    curves.push_back({"huge", "x", "y", {{"p", {-largest, largest}, {largest, -largest}, {}, {}}}});
    curves.push_back({"tiny", "x", "y", {{"p", {0, 1e-320}, {1e-310, 3e-310}, {}, {}}}});
    curves.push_back({std::string(3000, 'W'), "", "", std::vector<Series>(60, {"series", {1, 2}, {2, 1}, {}, {}})});
    for (Curve& c : curves)
      for (const Curve::Mark mark : {Curve::lines, Curve::points, Curve::bars}) {
        c.mark = mark;
        const std::string svg = curve_chart(c).str();
        CHECK(well_formed(svg) == "");
        CHECK(svg == curve_chart(c).str());
        for (const char* const never : {"nan", "inf", "e+", "<script"})
          CHECK_MESSAGE(svg.find(never) == std::string::npos, c.title << ": " << never);
      }
    CHECK(well_formed(bar_chart({}).str()) == "");
    const Bars bars{hostile, hostile, {hostile, "b", "c"}, {1, NAN, -largest}, {0, NAN, -inf}, {2, NAN, 0}};
    CHECK(well_formed(bar_chart(bars).str()) == "");
    CHECK(well_formed(matrix_chart({}).str()) == "");
    const HeatTable table{hostile, hostile, hostile, {hostile, "b"}, {"c", hostile}, {1, NAN, -largest, largest}};
    for (const ColourMap& m : colour_maps()) {
      HeatTable t = table;
      t.colours = m.name;
      CHECK(well_formed(matrix_chart(t).str()) == "");
      CHECK(well_formed(colour_scale(m, -1e-300, 1e300).str()) == "");
      CHECK(well_formed(colour_scale(m, 0, 0).str()) == "");
    }
    refused([] { bar_chart({"", "", {"a"}, {}, {}, {}}); }, "1 names");
    refused([] { curve_chart({"", "", "", {{"", {1}, {}, {}, {}}}}); }, "different lengths");
    refused([&] { matrix_chart({"", "", "", {"a"}, {"b"}, {}, "cividis"}); }, "0 values for 1 x 1");
  }

  TEST_CASE("render: a long series keeps its extremes, and its gaps") {
    Series s;
    for (int i = 0; i < 100000; ++i) {
      s.x.push_back(i);
      s.y.push_back(i == 54321 ? 9 : i == 77777 ? -9 : i >= 20000 && i < 30000 ? NAN : 0.5);
    }
    const std::string svg = curve_chart({"", "", "", {s}}).str();
    CHECK(svg.size() < 60000);
    // The axis runs from -10 to 10 over 220 units; 9 and -9 are 11 units off its ends.
    const std::size_t end = svg.rfind("fill=\"none\" stroke=\"#");
    REQUIRE(end != std::string::npos);
    const std::size_t begin = svg.rfind("<path d=\"", end);
    const std::string line = svg.substr(begin, end - begin);
    CHECK(count(line, "M") == 2);  // one gap
    double top = 1e9, bottom = 0;
    for (std::size_t at = line.find(','); at != std::string::npos; at = line.find(',', at + 1)) {
      const double y = std::stod(line.substr(at + 1));
      top = std::min(top, y);
      bottom = std::max(bottom, y);
    }
    CHECK(bottom - top == doctest::Approx(220.0 * 18 / 20));
  }
}
