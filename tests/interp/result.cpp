// Results: their values come back from JSON and files, and no text, however hostile, breaks a page, a chart or a table.
#include "interp/result/result.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "interp/result/write.h"
#include "tests/support/files.h"
#include "tests/support/markup.h"

using namespace vitrine;
using vitrine::test::Folder;
using vitrine::test::hostile;
using vitrine::test::refused;
using vitrine::test::well_formed;

namespace {

Result sample(const std::string& text) {
  Result r;
  r.study = text;
  r.settings = {{"steps", "20"}, {text, text}};
  r.seed = std::numeric_limits<std::uint64_t>::max();
  r.version = "0.1.0 " + text;
  r.model = {"net.safetensors " + text, std::string(64, 'a')};
  r.data = {"partshapes " + text, std::string(64, 'b'), 600};
  r.number("accuracy", {0.1, 600, 0.075, 0.125});
  r.number("no-interval", {1.0 / 3, 7});
  r.number("unknown", {});
  Table& t = r.table("classes", {"class", "accuracy " + text, "n"});
  t.add({text, 0.5, 3});
  t.add({"second", std::numeric_limits<double>::infinity(), std::int64_t{1} << 40});
  t.note = text;
  r.curve("deletion",
          {text, text, text, {{text, {0, 1, 2}, {1, NAN, -3}, {0, 0, -4}, {2, 1, -2}}, {"two", {0}, {5}, {}, {}}}});
  r.curve("embedding", {"e", "x", "y", {{"a", {1, 2}, {3, 4}, {}, {}}}, Curve::points});
  r.map("relevance", {{2, 1, 2, 3}, {1, -2, 3, 0, NAN, 6, 7, 8, 9, 10, 11, 12}});
  r.map("scalar", {{}, {3}});
  r.map("empty", {{0, 4}, {}});
  Picture p(5, 4);
  p.set(1, 2, {9, 8, 7});
  r.picture("sheet", p);
  r.text("First.\n\nSecond: " + text);
  r.claim("holds: " + text, 0.9, 0.5, true);
  r.claim("fails", 0.1, 0.5, false);
  r.claim("not a number", NAN, 0.5, true);
  r.cost = {10, 20, 1.5, std::size_t{1} << 40};
  return r;
}

}  // namespace

TEST_SUITE("interp") {
  TEST_CASE("result: JSON has the keys of the schema, in order, and the values") {
    const auto json = nlohmann::ordered_json::parse(to_json(sample("plain")));
    std::string keys;
    for (const auto& item : json.items()) keys += item.key() + " ";
    CHECK(keys == "schema study settings seed version model data numbers tables curves maps pictures claims cost ");
    CHECK(json["schema"] == "vitrine-result/1");
    CHECK(json["seed"] == std::numeric_limits<std::uint64_t>::max());
    CHECK(json["numbers"]["accuracy"].dump() == R"({"value":0.1,"n":600,"low":0.075,"high":0.125})");
    CHECK(json["numbers"]["unknown"].dump() == R"({"value":null,"n":0,"low":null,"high":null})");
    CHECK(json["tables"]["classes"]["rows"][1].dump() == R"(["second",null,1099511627776])");
    CHECK(json["maps"]["relevance"].dump() == R"({"file":"relevance.npy","shape":[2,1,2,3]})");
    CHECK(json["claims"][0]["holds"] == true);
    CHECK(json["claims"][2].dump() == R"({"statement":"not a number","value":null,"threshold":0.5,"holds":false})");
    CHECK(json["cost"].dump() == R"({"forward":10,"backward":20,"seconds":1.5,"peak_bytes":1099511627776})");
  }

  TEST_CASE("result: written, read and written again is the same, bit for bit") {
    const Folder folder;
    for (const std::string& text : {std::string("plain"), hostile}) {
      const Result r = sample(text);
      write_result(r, folder / "a/deep");
      const Result back = read_result(folder / "a/deep");
      CHECK(to_json(back) == to_json(r));
      CHECK(back.texts().size() == r.texts().size());
      CHECK(back.number("no-interval").value == 1.0 / 3);
      CHECK(std::isnan(back.table("classes").rows[1][1].value.index() == 0
                           ? std::get<double>(back.table("classes").rows[1][1].value)
                           : 0));
      CHECK(back.picture("sheet").pixels() == r.picture("sheet").pixels());
      const std::vector<float>&a = r.map("relevance").data, &b = back.map("relevance").data;
      CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
      write_result(back, folder / "b");
      for (const auto& file : std::filesystem::directory_iterator(folder / "a/deep")) {
        const std::string name = file.path().filename().string();
        const bool same = test::read(folder / ("b/" + name)) == test::read(file.path().string());
        CHECK_MESSAGE(same, name);
      }
    }
  }

  TEST_CASE("result: names are checked, shapes and lengths too") {
    Result r;
    for (const char* const name : {"", ".", "..", "../a", "a/b", "-rf", ".hidden", "a b", "a\nb", "é", "a\"b", "con:"})
      refused([&] { r.number(name, {1}); }, "cannot be a number's name");
    refused([&] { r.number(std::string(121, 'a'), {1}); }, "cannot be");
    refused([&] { r.number(std::string("a\0b", 3), {1}); }, "cannot be");
    r.number(std::string(120, 'a'), {1});
    r.number("layer1.0.conv+relu_2-x", {1});
    refused([&] { r.number("layer1.0.conv+relu_2-x", {1}); }, "two numbers");
    r.map("layer1.0.conv+relu_2-x", {{1}, {1}});
    refused([&] { r.map("m", {{2, 3}, {1}}); }, "shape of (2,3)");
    refused([&] { r.map("m", {{-1}, {}}); }, "shape");
    refused([&] { r.map("m", {{std::int64_t{1} << 40, std::int64_t{1} << 40}, {}}); }, "shape");
    refused([&] { r.table("t", {}); }, "no columns");
    refused([&] { r.table("t", {"a", "b"}).add({1}); }, "2 columns");
    refused([&] { r.curve("c", {"", "", "", {{"s", {1, 2}, {1}, {}, {}}}}); }, "as many");
    refused([&] { r.curve("c", {"", "", "", {{"s", {1}, {1}, {1}, {}}}}); }, "as many");
    refused([&] { (void)r.number("nothing").value; }, "no number by the name");
    for (const std::string& text : {std::string("a/b c"), std::string("../../x"), hostile, std::string(500, 'x'),
                                    std::string(), std::string("..")})
      CHECK(safe_name(make_safe_name(text)));
    CHECK(make_safe_name("/conv1/Conv") == "conv1-Conv");
    Table& first = r.table("first", {"a"});
    for (int k = 0; k < 100; ++k) r.table("more" + std::to_string(k), {"a"});
    first.add({1});
    CHECK(r.table("first").rows.size() == 1);
  }

  TEST_CASE("result: CSV quotes what must be quoted") {
    Table t{{"a,b", "say \"hi\"", "two\nlines"}, {}, {}};
    t.add({1.5, "plain", -0.25});
    t.add({NAN, "\x1b[31m\r\n", 1e300});
    CHECK(to_csv(t) ==
          "\"a,b\",\"say "
          "\"\"hi\"\"\",\"two\nlines\"\r\n1.5,plain,-0.25\r\n,\"\xef\xbf\xbd[31m\xef\xbf\xbd\n\",1e+300\r\n");
  }

  TEST_CASE("result: the page and the charts are well formed and ask for nothing, whatever the texts") {
    const Folder folder;
    for (const std::string& text : {std::string("plain"), hostile}) {
      write_result(sample(text), folder / "r");
      const std::string page = test::read(folder / "r/index.html");
      const bool same = page == to_html(sample(text));
      CHECK(same);
      CHECK(page.starts_with("<!DOCTYPE html>\n"));
      CHECK(well_formed(page.substr(page.find('\n'))) == "");
      for (const char* const never :
           {"<script", "<img src=x", "javascript:", "src=\"http", "href=\"http", "url(", "@import", "\x1b"})
        CHECK_MESSAGE(page.find(never) == std::string::npos, never);
      for (const char* const chart : {"deletion.svg", "embedding.svg"}) {
        const std::string svg = test::read(folder / (std::string("r/") + chart));
        CHECK(well_formed(svg.substr(svg.find('\n'))) == "");
        CHECK(svg.find("<script") == std::string::npos);
      }
      // What a reader must find: the verdicts, the digits, the scale, the files.
      for (const char* const there : {"holds", "fails", "0.3333", "0.075 to 0.125", "classes.csv", "relevance.npy",
                                      "sheet.png", "deletion.svg", "data:image/png;base64,"})
        CHECK_MESSAGE(page.find(there) != std::string::npos, there);
    }
    CHECK(well_formed(to_html(Result{}).substr(15)) == "");
  }

  TEST_CASE("result: maps of every rank and size have a page") {
    Result r;
    r.map("rank1", {{3}, {1, -2, 3}});
    r.map("long1", {{70000}, std::vector<float>(70000, 0.5f)});
    r.map("wide", {{2, 9000}, std::vector<float>(18000, 1)});
    r.map("rank5", {{2, 2, 2, 2, 3}, std::vector<float>(48, -1)});
    r.map("many", {{100, 2, 2}, std::vector<float>(400, 0)});
    r.map("nan", {{2, 2}, {NAN, INFINITY, NAN, -INFINITY}});
    r.map("none", {{3, 0, 2}, {}});
    const std::string page = to_html(r);
    CHECK(well_formed(page.substr(15)) == "");
    CHECK(page.find("[1,1,1]") != std::string::npos);
    CHECK(page.find("The first 48 of 100 planes") != std::string::npos);
    Table& t = r.table("rows", {"a"});
    for (int k = 0; k < 501; ++k) t.add({k});
    CHECK(to_html(r).find("The first 500 of 501 rows") != std::string::npos);
  }

  TEST_CASE("result: what is no result is refused") {
    const Folder folder;
    write_result(sample("plain"), folder / "r");
    const std::string path = folder / "r/result.json", good = test::read(path);
    const auto with = [&](const std::string& from, const std::string& to, const std::string& word) {
      std::string bad = good;
      REQUIRE(bad.find(from) != std::string::npos);
      bad.replace(bad.find(from), from.size(), to);
      test::write(path, bad);
      refused([&] { read_result(folder / "r"); }, word);
    };
    with("vitrine-result/1", "vitrine-result/2", "schema");
    with("\"study\":", "\"studie\":", "lacks the key 'study'");
    with("\"study\":", "\"extra\": 1, \"study\":", "unknown key 'extra'");
    with("\"study\":", "\"study\": \"\", \"study\":", "twice");
    with("\"n\":600", "\"n\":-1", "whole number");
    with("\"n\":600", "\"n\":1.5", "whole number");
    with("\"value\":0.1", "\"value\":\"0.1\"", "accuracy: value: is string");
    with("\"relevance.npy\"", "\"../relevance.npy\"", "is not 'relevance.npy'");
    with("\"sheet.png\"", "\"/etc/passwd\"", "is not 'sheet.png'");
    with("\"width\":5", "\"width\":6", "5 x 4 pixels");
    with("\"accuracy\": {", "\"a/b\": {", "result.json: 'a/b' cannot be");
    with("\"x\": [0,1,2]", "\"x\": [0,1]", "result.json: a series of the curve 'deletion'");
    with("\"mark\": \"lines\"", "\"mark\": \"pies\"", "none of lines");
    with("\"holds\":true", "\"holds\":1", "true or false");
    for (std::size_t length : {std::size_t{0}, std::size_t{1}, good.size() / 2, good.size() - 3}) {
      test::write(path, good.substr(0, length));
      refused([&] { read_result(folder / "r"); }, "is no JSON");
    }
    test::write(path, std::string(200000, '['));
    refused([&] { read_result(folder / "r"); }, "is no JSON");
    test::write(path, std::string(100000, '[') + std::string(100000, ']'));
    refused([&] { read_result(folder / "r"); }, "schema");
    test::write(path, good);
    std::filesystem::remove(folder / "r/relevance.npy");
    refused([&] { read_result(folder / "r"); }, "relevance.npy");
    refused([&] { read_result(folder / "nothing"); }, "result.json");
    refused([&] { write_result(sample(""), folder / "r/result.json"); }, "cannot be made");
  }

  TEST_CASE("result: damaged bytes are read or refused in one sentence, never more") {
    const Folder folder;
    write_result(sample("plain"), folder / "r");
    const std::string path = folder / "r/result.json", good = test::read(path);
    std::mt19937 random(7);
    int accepted = 0;
    for (int k = 0; k < 400; ++k) {
      std::string bad = good;
      for (int changes = 1 + k % 3; changes > 0; --changes) {
        const std::size_t at = random() % bad.size();
        const char byte = "0{}[],:\"-e9n\xff\x00"[random() % 14];
        if (random() % 3 == 0)
          bad.erase(at, 1 + random() % 8);
        else
          bad[at] = byte;
      }
      test::write(path, bad);
      try {
        accepted += read_result(folder / "r").claims().size() < 100 ? 1 : 0;
      } catch (const Error& e) {
        const std::string sentence = e.what();
        const bool names_file = sentence.find((folder / "r").substr(0, 5)) != std::string::npos;
        CHECK_MESSAGE(names_file, sentence);
      }
    }
    CHECK(accepted < 200);
  }

  TEST_CASE("result: a folder that is written again is incomplete until its end") {
    const Folder folder;
    write_result(sample("plain"), folder / "r");
    std::filesystem::remove(folder / "r/sheet.png");
    std::filesystem::create_directories(folder / "r/sheet.png");
    refused([&] { write_result(sample("plain"), folder / "r"); }, "is a folder");
    CHECK_FALSE(std::filesystem::exists(folder / "r/result.json"));
    for (const auto& file : std::filesystem::directory_iterator(folder / "r"))
      CHECK_MESSAGE(file.path().extension() != ".tmp", file.path().string());
  }
}
