// Readers of foreign files: what they accept, and that anything cut short, too long or lying is one sentence.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/host/io/file.h"
#include "core/host/io/image.h"
#include "core/host/io/npy.h"
#include "core/host/io/picture_check.h"
#include "core/host/io/safetensors.h"
#include "core/host/utf8.h"
#include "models/data/loader.h"
#include "models/model.h"
#include "models/prepare.h"
#include "tests/support/files.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("io");

namespace {

std::string header(const std::string& text) {
  const std::uint64_t n = text.size();
  std::string s(8, '\0');
  std::memcpy(s.data(), &n, 8);
  return s + text;
}

std::string npy_file(const std::string& dictionary, const std::string& data) {
  std::string text = dictionary;
  while ((10 + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(text.size()) + '\0' + text + data;
}

}  // namespace

TEST_CASE("npy: round trip, other types, and every way to be wrong") {
  const Folder folder;
  const std::string path = folder / "a.npy";
  const float values[] = {1, -2.5f, 3e-20f, 4, 5, 6};
  io::write_npy(path, {2, 3}, values);
  const io::NpyArray a = io::read_npy(path);
  CHECK(a.shape == std::vector<std::int64_t>{2, 3});
  CHECK(a.floats() == std::vector<float>(std::begin(values), std::end(values)));
  refused([&] { (void)a.integers(); }, "whole numbers");
  const std::string whole = read(path);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    write(path, whole.substr(0, n));
    CHECK_THROWS_AS(io::read_npy(path), Error);
  }
  write(path, whole + "x");
  refused([&] { io::read_npy(path); }, "needs 24 bytes of data, found 25");

  const auto parse = [&](const std::string& dictionary, const std::string& data) {
    write(path, npy_file(dictionary, data));
    return io::read_npy(path);
  };
  CHECK(parse("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", "\x01\xff\x80").floats() ==
        std::vector<float>{1, 255, 128});
  CHECK(parse("{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }", std::string("\xff\xff\x02\x01", 4))
            .integers() == std::vector<std::int64_t>{-1, 258});
  CHECK(parse("{'descr': '<f2', 'fortran_order': False, 'shape': (4,), }",
              std::string("\x00\x3c\x00\xc0\x01\x00\x00\x7c", 8))
            .floats() == std::vector<float>{1, -2, 0x1p-24f, INFINITY});
  CHECK(
      parse("{'shape': (), 'fortran_order': False, 'descr': '<f8'}", std::string("\0\0\0\0\0\0\xf8\x3f", 8)).floats() ==
      std::vector<float>{1.5f});
  refused([&] { parse("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "abcd"); }, "Fortran");
  refused([&] { parse("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "abcd"); }, "'>f4'");
  refused([&] { parse("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "abcd"); }, "'|O'");
  refused([&] { parse("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", "abcd"); },
          "memory");
  refused([&] { parse("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "abcd"); }, "no number");
  refused([&] { parse("{'descr': '<f4', 'fortran_order': False}", "abcd"); }, "lacks");
  refused([&] { parse("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "abcd"); },
          "repeated");
  refused([&] { io::read_npy(folder / "missing.npy"); }, "missing.npy");
  refused([&] { io::read_npy(folder.path.string()); }, "folder");
}

TEST_CASE("safetensors: round trip and every way to be wrong") {
  const Folder folder;
  const std::string path = folder / "a.safetensors";
  const float a[] = {1, 2, 3, 4}, b[] = {5};
  io::SafetensorsWriter writer(path);
  writer.metadata("note", "a \"quoted\" line\n");
  writer.add("first", {2, 2}, a);
  writer.add("second", {1}, b);
  writer.commit();
  CHECK(folder.files() == 1);
  {
    const io::Safetensors file(path);
    REQUIRE(file.tensors().size() == 2);
    CHECK(file.tensors()[0].name == "first");
    CHECK(file.tensor("first").shape == std::vector<std::int64_t>{2, 2});
    CHECK(file.tensor("first").floats() == std::vector<float>{1, 2, 3, 4});
    CHECK(file.metadata("note") == "a \"quoted\" line\n");
    CHECK(file.metadata("other").empty());
    CHECK(file.find("third") == nullptr);
    refused([&] { (void)file.tensor("third"); }, "no tensor 'third'");
  }
  const std::string whole = read(path);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    write(path, whole.substr(0, n));
    CHECK_THROWS_AS(io::Safetensors{path}, Error);
  }
  const auto bad = [&](const std::string& json, const std::string& data, const std::string& word) {
    write(path, header(json) + data);
    refused([&] { io::Safetensors file(path); }, word);
  };
  bad(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcde", "belong to no tensor");
  bad(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "abcd", "its shape needs 8");
  bad(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9]}})", "abcd", "bytes 0 to 9");
  bad(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "abcd", "bytes 4 to 0");
  bad(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", "abcd", "F33");
  bad(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "abcd", "no size");
  bad(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})", "abcd", "memory");
  bad(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
      "abcd", "overlap");
  bad(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
      "abcd", "gap");
  bad(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
      "abcd", "twice");
  bad(R"({"__metadata__":{"k":1}})", "", "malformed");
  bad(R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}", "", "nests");
  bad("{", "", "no JSON");
  bad("[]", "", "'{'");
  write(path, std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  refused([&] { io::Safetensors file(path); }, "header has");
  // Halves, brain floats and bytes are widened.
  write(path, header(R"({"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                     R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},)"
                     R"("u":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})") +
                  std::string("\x00\x3e\xc0\x3f\x07\xff", 6));
  const io::Safetensors halves(path);
  CHECK(halves.tensor("h").floats() == std::vector<float>{1.5f});
  CHECK(halves.tensor("b").floats() == std::vector<float>{1.5f});
  CHECK(halves.tensor("u").floats() == std::vector<float>{7, 255});
}

TEST_CASE("a link's target is replaced, not the link; what is no file is written through") {
  namespace fs = std::filesystem;
  const Folder folder;
  const std::string target = folder / "target.bin", link = folder / "link.bin", chain = folder / "chain.bin";
  const auto put = [](const std::string& path, const std::string& text) {
    io::AtomicFile file(path);
    file.write(text.data(), text.size());
    file.commit();
  };
  write(target, "old");
  fs::create_symlink("target.bin", link);
  fs::create_symlink(link, chain);
  put(chain, "new");
  CHECK(fs::is_symlink(chain));
  CHECK(fs::is_symlink(link));
  CHECK(read(target) == "new");
  fs::create_symlink("later.bin", folder / "dangling.bin");
  put(folder / "dangling.bin", "made");
  CHECK(read(folder / "later.bin") == "made");

  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  { const io::AtomicFile unused(pipe); }  // nothing waits for a reader before there is something to write
  const int reader = ::open(pipe.c_str(), O_RDWR);
  REQUIRE(reader >= 0);
  put(pipe, "through");
  char got[8] = {};
  CHECK(::read(reader, got, sizeof got) == 7);
  CHECK(std::string(got) == "through");
  ::close(reader);
  CHECK(fs::is_fifo(pipe));

  put("/dev/null", "nothing");
  CHECK(fs::is_character_file("/dev/null"));
  CHECK(io::is_stream("-"));
  CHECK(!io::is_stream(target));
  CHECK(!io::is_stream(folder.path.string()));
  if (fs::is_character_file("/dev/full")) refused([&] { put("/dev/full", "x"); }, "/dev/full: cannot be written");
}

TEST_CASE("files appear whole or not at all") {
  const Folder folder;
  const std::string path = folder / "a.bin";
  {
    io::AtomicFile file(path);
    file.write("half", 4);
  }
  CHECK(folder.files() == 0);
  {
    io::AtomicFile file(path);
    file.write("whole", 5);
    file.commit();
  }
  CHECK(read(path) == "whole");
  CHECK(folder.files() == 1);
  refused([&] { io::AtomicFile file(folder / "no/a.bin"); }, "no/a.bin");
  refused([&] { io::AtomicFile file(folder.path.string()); }, "is a folder");
  refused([&] { io::read_file(path, 3); }, "at most 3");
  // gzip of "hello", cut at every length.
  const std::string gz(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00\x00\x00", 25);
  write(path, gz);
  CHECK(io::read_maybe_gzip(path).size() == 5);
  refused([&] { io::read_maybe_gzip(path, 4); }, "at most 4");
  write(path, gz + "x");
  refused([&] { io::read_maybe_gzip(path); }, "after its gzip data");
  for (std::size_t n = 2; n < gz.size(); ++n) {
    write(path, gz.substr(0, n));
    CHECK_THROWS_AS(io::read_maybe_gzip(path), Error);
  }
  std::string damaged = gz;
  damaged[12] ^= 0x55;
  write(path, damaged);
  CHECK_THROWS_AS(io::read_maybe_gzip(path), Error);
}

TEST_CASE("pictures: round trip, damage, resizing") {
  const Folder folder;
  const std::string path = folder / "a.png";
  io::Image image{5, 4, 3, std::vector<std::uint8_t>(60)};
  for (std::size_t i = 0; i < 60; ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 4);
  io::write_png(path, image);
  CHECK(io::read_image(path, 3).pixels == image.pixels);
  CHECK(io::read_image(path, 1).pixels.size() == 20);
  const std::string whole = read(path);
  for (std::size_t n = 0; n + 16 < whole.size(); ++n) {
    write(path, whole.substr(0, n));
    CHECK_THROWS_AS(io::read_image(path, 3), Error);
  }
  std::string claims = whole;
  claims[33] = '\x7e';  // of the length of the chunk behind the header
  write(path, claims);
  refused([&] { (void)io::read_image(path, 3); }, "are left");
  // Other formats that stb would read: a TGA has no mark of its own.
  write(path, std::string("\0\0\3\0\0\0\0\0\0\0\0\0\2\0\2\0\x8\0abcd", 22));
  refused([&] { (void)io::read_image(path, 1); }, "no PNG or JPEG");
  const io::Image flat = io::resize({7, 5, 1, std::vector<std::uint8_t>(35, 77)}, 13, 3);
  CHECK(flat.pixels == std::vector<std::uint8_t>(39, 77));
  // Halving weighs four neighbours 1 3 3 1, as Pillow's BILINEAR does when it shrinks.
  CHECK(io::resize({8, 1, 1, {0, 0, 80, 80, 160, 160, 240, 240}}, 4, 1).pixels ==
        std::vector<std::uint8_t>{11, 80, 160, 229});
}

TEST_CASE("what comes from files does not command a terminal") {
  CHECK(utf8::escaped("plain, \u00e4\u4e2d\U0001f600") == "plain, \u00e4\u4e2d\U0001f600");
  CHECK(utf8::escaped("\x1b[31mred\n\x7f") == "\\x1b[31mred\\x0a\\x7f");
  CHECK(utf8::escaped("\xc2\x9b") == "\\xc2\\x9b");    // a control character of two bytes
  CHECK(utf8::escaped("\xc2\xa0") == "\xc2\xa0");      // the first that is none
  CHECK(utf8::escaped("a\xff\xc3") == "a\\xff\\xc3");  // no UTF-8
}

TEST_CASE("Huffman tables of more codes than there are, scans without end, wrong checksums") {
  const auto jpeg = [](const std::vector<std::uint8_t>& counts) {
    std::vector<std::uint8_t> file = {0xff, 0xd8, 0xff, 0xc4};
    std::size_t codes = 0;
    for (const std::uint8_t n : counts) codes += n;
    const std::size_t size = 2 + 17 + codes;
    file.push_back(static_cast<std::uint8_t>(size >> 8)), file.push_back(static_cast<std::uint8_t>(size));
    file.push_back(0);
    for (std::size_t k = 0; k < 16; ++k) file.push_back(k < counts.size() ? counts[k] : 0);
    file.resize(file.size() + codes);
    file.insert(file.end(), {0xff, 0xda, 0, 2, 0xff, 0xd9});
    return file;
  };
  CHECK(io::jpeg_damage(jpeg({0, 1, 5, 1, 1, 1, 1, 1, 1})).empty());  // the usual table of luminance
  CHECK(io::jpeg_damage(jpeg({2})).empty());
  CHECK(io::jpeg_damage(jpeg({1, 1, 2})).empty());
  for (const std::vector<std::uint8_t>& counts : {std::vector<std::uint8_t>{3}, {1, 3}, {1, 1, 3}, {2, 1}, {0, 0, 9}})
    CHECK(io::jpeg_damage(jpeg(counts)) == "a Huffman table has more codes than there are");
  std::vector<std::uint8_t> scans = {0xff, 0xd8};
  for (int k = 0; k < 101; ++k) scans.insert(scans.end(), {0xff, 0xda, 0, 2, 1, 0xff, 0, 0xff, 0xd0, 7});
  CHECK(io::jpeg_damage(scans) == "has more than 100 scans");
  scans.resize(2 + 100 * 10);
  CHECK(io::jpeg_damage(scans).empty());
  scans.resize(2);
  CHECK(io::jpeg_damage(scans) == "has no scan");

  std::vector<std::uint8_t> png = io::encode_png({2, 2, 1, {1, 2, 3, 4}});
  CHECK(io::png_damage(png).empty());
  for (std::size_t at = 8; at < png.size(); ++at) {
    png[at] ^= 1;
    CHECK(!io::png_damage(png).empty());
    png[at] ^= 1;
  }
}

TEST_CASE("model files: round trip and hostile metadata") {
  const Folder folder;
  const std::string source = VITRINE_SOURCE_ROOT "/tests/golden/maps/residual/model.safetensors",
                    path = folder / "m.safetensors";
  Model m = Model::load(source);
  m.class_names = {"a", "b", "c", "d"};
  m.preparation = {{0.1f, 0.2f, 0.3f}, {1, 2, 3}};
  m.save(path);
  const Model again = Model::load(path);
  CHECK(model_to_json(again) == model_to_json(m));
  CHECK(again.parameters == m.parameters);
  CHECK(again.class_name(2) == "c");

  const std::string good = read(path);
  const auto bad = [&](const std::string& from, const std::string& to, const std::string& word) {
    std::string text = good;
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(from.size() == to.size());  // so that offsets stay
    text.replace(at, from.size(), to);
    write(path, text);
    refused([&] { Model::load(path); }, word);
    refused([&] { Model::load(path); }, "m.safetensors");
  };
  bad(R"(\"op\":\"conv2d\")", R"(\"op\":\"conv9d\")", "unknown op 'conv9d'");
  bad(R"(\"kernel_h\":3)", R"(\"kernel_x\":3)", "lacks the attribute 'kernel_h'");
  bad(R"(\"kernel_h\":3)", R"(\"kernel_h\":5)", "weight of another shape");
  bad(R"(\"stride_h\":1)", R"(\"stride_h\":0)", "stride");
  bad(R"(\"bias\":true)", R"(\"bias\":null)", "not true or false");
  bad(R"(\"in\":[\"input\"])", R"(\"in\":[\"addxx\"])", "'addxx', which no earlier node makes");
  bad(R"(vitrine/1)", R"(vitrine/9)", "vitrine/9");
  bad(R"(\"output\":\"fc\")", R"(\"output\":\"fx\")", "'fx' is no node");
  bad(R"(\"classes\":[\"a\",)", R"(\"classes\":[      )", "names 3 classes");
  bad(R"(\"conv1.weight\")", R"(\"conv1.weighx\")", "lacks the tensor 'conv1.weighx'");
  bad(R"("vitrine")", R"("vitrinX")", "no network");
  std::string text = good;
  const float nan = NAN;
  std::memcpy(text.data() + text.size() - 4, &nan, 4);
  write(path, text);
  refused([&] { Model::load(path); }, "not finite");
}

TEST_CASE("IDX, CIFAR, folders and arrays as data sets") {
  const Folder folder;
  const auto big = [](std::initializer_list<std::uint32_t> words) {
    std::string s;
    for (const std::uint32_t w : words)
      for (int k = 24; k >= 0; k -= 8) s += static_cast<char>(w >> k & 0xff);
    return s;
  };
  for (const char* stem : {"train", "t10k"}) {
    write(folder / (std::string(stem) + "-images-idx3-ubyte"),
          big({0x803, 2, 2, 3}) + std::string("\x00\x33\x66\x99\xcc\xff\x01\x02\x03\x04\x05\x06", 12));
    write(folder / (std::string(stem) + "-labels-idx1-ubyte"), big({0x801, 2}) + "\x07\x03");
  }
  const std::string spec = "mnist:" + folder.path.string();
  const auto both = data::open_for_training(spec);
  CHECK(both.train->size() == 2);
  CHECK(both.train->image_shape() == Shape{1, 1, 2, 3});
  CHECK(both.train->label(0) == 7);
  float pixels[6];
  both.train->image(0, pixels);
  CHECK(pixels[1] == doctest::Approx(0.2));
  CHECK(pixels[5] == 1);
  float target[10];
  both.train->target(1, target);
  CHECK(target[3] == 1);
  CHECK(target[7] == 0);
  write(folder / "train-labels-idx1-ubyte", big({0x801, 3}) + "\x01\x02\x03");
  refused([&] { data::open_for_training(spec); }, "2 images");
  write(folder / "train-labels-idx1-ubyte", big({0x801, 2}) + "\x01\x0a");
  refused([&] { data::open_for_training(spec); }, "label 1 is 10");
  write(folder / "train-labels-idx1-ubyte", big({0x803, 2}) + "\x01\x02");
  refused([&] { data::open_for_training(spec); }, "magic");
  write(folder / "train-images-idx3-ubyte", big({0x803, 0xffffffff, 0xffffffff, 0xffffffff}));
  refused([&] { data::open_for_training(spec); }, "2^40");
  refused([&] { data::open_for_training("fashion:/nowhere"); }, "train-images-idx3-ubyte");

  refused([&] { data::open_for_training("cifar10:" + folder.path.string()); }, "data_batch_1.bin");
  write(folder / "data_batch_2.bin", std::string(3073, '\1') + std::string(3073, '\2'));
  write(folder / "test_batch.bin", std::string(3073, '\3'));
  const auto cifar = data::open_for_training("cifar10:" + folder.path.string());
  CHECK(cifar.train->size() == 2);
  CHECK(cifar.test->label(0) == 3);
  CHECK(cifar.test->class_name(3) == "cat");
  write(folder / "test_batch.bin", std::string(3072, '\3'));
  refused([&] { data::open_for_training("cifar10:" + folder.path.string()); }, "multiple of 3073");

  for (const char* name : {"zebra", "ant"}) {
    std::filesystem::create_directories(folder / (std::string("set/") + name));
    for (int i = 0; i < 10; ++i)
      io::write_png(folder / (std::string("set/") + name + "/" + std::to_string(i) + ".png"),
                    {4, 4, 3, std::vector<std::uint8_t>(48, name[0] == 'z' ? 255 : 0)});
  }
  const auto pictures = data::open_for_training("folder:" + (folder / "set") + ",size=6x5");
  CHECK(pictures.train->size() == 18);
  CHECK(pictures.test->size() == 2);
  CHECK_FALSE(pictures.note.empty());
  CHECK(pictures.train->class_name(0) == "ant");
  CHECK(pictures.train->image_shape() == Shape{1, 3, 6, 5});
  CHECK(data::open_for_evaluation("folder:" + (folder / "set") + ",grey")->image_shape() == Shape{1, 1, 4, 4});
  refused([&] { data::open_for_training("folder:" + (folder / "set/ant")); }, "0 subfolders");

  std::vector<float> x(40 * 12);
  std::vector<std::int64_t> y(40);
  for (std::size_t i = 0; i < 40; ++i) y[i] = static_cast<std::int64_t>(i % 4), x[i * 12] = static_cast<float>(i);
  io::write_npy(folder / "x.npy", {40, 1, 3, 4}, x.data());
  io::write_npy(folder / "y.npy", {40}, y.data());
  const std::string arrays = "npy:" + (folder / "x.npy") + "," + (folder / "y.npy");
  const auto split = data::open_for_training(arrays);
  CHECK(split.train->size() == 36);
  CHECK(split.test->size() == 4);
  CHECK(split.train->classes() == 4);
  CHECK(data::open_for_evaluation(arrays)->size() == 40);
  refused([&] { data::open_for_training("npy:" + (folder / "y.npy") + "," + (folder / "y.npy")); }, "expected 4");
  refused([&] { data::open_for_training("npy:" + (folder / "x.npy")); }, "npy:X,Y");
  refused([&] { data::open_for_training("imagenet:x"); }, "partshapes");
}

TEST_CASE("pictures for networks: the shorter side, the centre, the order of channels; lists of pictures") {
  // 6 x 3 pixels whose red is the column: the shorter side is 3 already, so the centre 2 x 2 starts at column 2 and row
  // 0 (half a row goes to the even one).
  io::Image wide{6, 3, 3, {}};
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 6; ++x)
      wide.pixels.insert(wide.pixels.end(), {static_cast<std::uint8_t>(10 * x), static_cast<std::uint8_t>(y), 51});
  const io::Image centre = fit(wide, 2, 2, 3);
  REQUIRE(centre.pixels.size() == 12);
  CHECK(centre.pixels[0] == 20);
  CHECK(centre.pixels[1] == 0);
  CHECK(centre.pixels[3] == 30);
  CHECK(centre.pixels[7] == 1);
  CHECK(fit(wide, 6, 3, 0).pixels == wide.pixels);
  CHECK(fit(wide, 4, 4, 0).w == 4);
  const io::Image tall = fit({3, 9, 1, std::vector<std::uint8_t>(27, 9)}, 4, 4, 4);
  CHECK(tall.pixels == std::vector<std::uint8_t>(16, 9));

  InputPreparation p{{0.1f, 0.2f, 0.3f}, {1, 2, 4}};
  p.bgr = true;
  float chw[12];
  prepare(p, centre, chw);
  CHECK(chw[0] == doctest::Approx(51.0 / 255 - 0.1));        // blue first
  CHECK(chw[8] == doctest::Approx((20.0 / 255 - 0.3) / 4));  // red last
  CHECK(chw[9] == doctest::Approx((30.0 / 255 - 0.3) / 4));

  const Folder folder;
  std::filesystem::create_directories(folder / "images");
  io::write_png(folder / "images/a.png", wide);
  io::write_png(folder / "b.png", wide);
  write(folder / "list.csv", "id,file,class_index\r\n1,a.png,4\r\n2,\"b.png\",0");
  const auto set = data::open_for_evaluation("list:" + (folder / "list.csv"), {2, 2, 3, 3});
  CHECK(set->size() == 2);
  CHECK(set->classes() == 5);
  CHECK(set->label(0) == 4);
  CHECK(set->image_shape() == Shape{1, 3, 2, 2});
  float pixels[12];
  set->image(1, pixels);
  CHECK(pixels[0] == doctest::Approx(20.0 / 255));
  CHECK(data::open_for_evaluation("list:" + (folder / "list.csv") + ",size=3x5,grey")->image_shape() ==
        Shape{1, 1, 3, 5});
  const auto bad = [&](const std::string& text, const std::string& word) {
    write(folder / "bad.csv", text);
    refused([&] { data::open_for_evaluation("list:" + (folder / "bad.csv")); }, word);
  };
  bad("name,class_index\na.png,1\n", "'file'");
  bad("file,label\n", "lists no picture");
  bad("file,label\na.png\n", "line 2 has 1 fields");
  bad("file,label\na.png,cat\n", "class of 'cat'");
  bad("file,label\nc.png,1\n", "c.png");
}

TEST_CASE("loaders: every image once, the same for any number of threads, from any place; augmentation by hand") {
  class Counted final : public data::Dataset {
   public:
    std::int64_t size() const override { return 23; }
    Shape image_shape() const override { return {1, 1, 3, 4}; }
    int classes() const override { return 2; }
    int label(std::int64_t i) const override { return static_cast<int>(i % 2); }
    void image(std::int64_t i, float* chw) const override {
      if (i == bad) throw Error("picture 5 is damaged");
      for (int k = 0; k < 12; ++k) chw[k] = static_cast<float>(i * 100 + k);
    }
    std::int64_t bad = -1;
  };
  Counted set;
  data::LoaderOptions o;
  o.batch = 5;
  o.shuffle = true;
  o.augment.shift = 1;
  o.augment.flip = true;
  const auto epoch = [&](int threads, int number, std::int64_t first = 0) {
    o.threads = threads;
    data::Loader loader(set, o);
    loader.start_epoch(number, first);
    std::vector<data::Batch> all;
    for (data::Batch b; loader.next(b);) all.push_back(b);
    return all;
  };
  const auto one = epoch(1, 3), three = epoch(3, 3), rest = epoch(2, 3, 2), other = epoch(1, 4);
  REQUIRE(one.size() == 5);
  CHECK(one.back().count == 3);
  std::vector<int> seen(23, 0);
  for (std::size_t k = 0; k < 5; ++k) {
    CHECK(one[k].images == three[k].images);
    CHECK(one[k].indices == three[k].indices);
    for (const std::int64_t i : one[k].indices) ++seen[static_cast<std::size_t>(i)];
    if (k >= 2) CHECK(rest[k - 2].images == one[k].images);
  }
  CHECK(seen == std::vector<int>(23, 1));
  CHECK(other[0].indices != one[0].indices);
  // Every augmented image is a shift (with zeros moving in) and perhaps a mirror of its original.
  int moved = 0;
  for (const data::Batch& b : one)
    for (int k = 0; k < b.count; ++k) {
      const auto i = b.indices[static_cast<std::size_t>(k)];
      bool explained = false;
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx)
          for (const bool flip : {false, true}) {
            bool equal = true;
            for (int y = 0; y < 3; ++y)
              for (int x = 0; x < 4; ++x) {
                const int fy = y + dy, fx = (flip ? 3 - x : x) + dx;
                const float expected =
                    fy < 0 || fy > 2 || fx < 0 || fx > 3 ? 0 : static_cast<float>(i * 100 + fy * 4 + fx);
                equal = equal && b.images[static_cast<std::size_t>(k * 12 + y * 4 + x)] == expected;
              }
            explained = explained || equal;
            moved += equal && (dy != 0 || dx != 0 || flip);
          }
      CHECK(explained);
    }
  CHECK(moved > 10);

  o.augment = {};
  o.shuffle = false;
  o.preparation = {{2}, {4}};
  CHECK(epoch(1, 0)[0].images[1] == doctest::Approx((1 - 2) / 4.0));
  // Cutout: a square of zeros, cut at the borders, and nothing else.
  const auto plain = epoch(1, 0);
  o.augment.cutout = 2;
  const auto cut = epoch(2, 0);
  int blanked = 0;
  for (std::size_t k = 0; k < plain.size(); ++k)
    for (int n = 0; n < plain[k].count; ++n) {
      int top = 3, bottom = -1, left = 4, right = -1, zeros = 0;
      for (int y = 0; y < 3; ++y)
        for (int x = 0; x < 4; ++x) {
          const auto at = static_cast<std::size_t>(n * 12 + y * 4 + x);
          if (cut[k].images[at] == plain[k].images[at]) continue;
          CHECK(cut[k].images[at] == 0);
          ++zeros;
          top = std::min(top, y), bottom = std::max(bottom, y), left = std::min(left, x), right = std::max(right, x);
        }
      CHECK((zeros == 0 || (bottom - top < 2 && right - left < 2)));
      blanked += zeros;
    }
  CHECK(blanked > 30);
  // Smoothed targets sum to 1 and keep their class; mixed ones are a blend of a pair, as their images are.
  o.augment = {};
  o.augment.label_smoothing = 0.2;
  const auto smooth = epoch(1, 0);
  CHECK(smooth[0].targets[0] == doctest::Approx(0.9));
  CHECK(smooth[0].targets[1] == doctest::Approx(0.1));
  o.augment = {};
  o.augment.mixup = 1;
  const auto mixed = epoch(1, 0), again = epoch(3, 0);
  CHECK(mixed[0].images == again[0].images);
  const float share = (mixed[0].images[0] - plain[0].images[48]) / (plain[0].images[0] - plain[0].images[48]);
  CHECK(share > 0);
  CHECK(share < 1);
  for (std::size_t e = 0; e < 12; ++e) {
    CHECK(mixed[0].images[e] == doctest::Approx(share * plain[0].images[e] + (1 - share) * plain[0].images[48 + e]));
    CHECK(mixed[0].images[48 + e] ==
          doctest::Approx(share * plain[0].images[48 + e] + (1 - share) * plain[0].images[e]));
  }
  for (std::size_t t = 0; t < 2; ++t)
    CHECK(mixed[0].targets[t] == doctest::Approx(share * plain[0].targets[t] + (1 - share) * plain[0].targets[8 + t]));
  o.augment = {};
  set.bad = 7;
  data::Loader loader(set, o);
  loader.start_epoch(0);
  data::Batch b;
  CHECK(loader.next(b));
  CHECK_THROWS_AS(loader.next(b), Error);
  set.bad = -1;
  loader.start_epoch(1);  // goes on after a failure, and may be left in the middle
  CHECK(loader.next(b));
}

TEST_SUITE_END();
