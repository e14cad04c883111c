// PartShapes against the numbers of its specification (C12.2, C12.9), and the properties that make it a ground truth.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdlib>

#include "models/data/partshapes.h"
#include "models/data/dataset.h"

using namespace vitrine::data::partshapes;

TEST_SUITE_BEGIN("data");

TEST_CASE("SplitMix64 and the seeds of images") {
  SplitMix64 s(0);
  for (const std::uint64_t expected : {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu, 0xf88bb8a8724c81ecu, 0x1b39896a51a8749bu}) CHECK(s.next() == expected);
  CHECK(seed_of(1, 0, 0) == 0x6e789e6aa1b965f4u);
  CHECK(seed_of(1, 0, 1) == 0x9ff9a75b320b9098u);
  CHECK(seed_of(1, 0, 2) == 0x0757968a0860d22du);
}

TEST_CASE("golden draws, label counts, pixels and means of the first three images") {
  struct Golden {
    int cls;
    double a, ox, oy;
    int flip, nd;
    std::array<int, 7> counts;
    std::array<int, 9> rgb;
    double mean;
  };
  const Golden goldens[] = {
      {2, 43.833419, .254477, .527934, 0, 0, {3419, 195, 136, 186, 67, 93, 0}, {127, 127, 122, 213, 215, 210, 101, 105, 104}, 120.934},
      {3, 42.962105, .369782, .403326, 1, 3, {3340, 207, 132, 176, 51, 83, 107}, {88, 84, 82, 141, 136, 137, 118, 118, 105}, 94.784},
      {5, 41.52495, .750382, .40014, 1, 1, {3460, 189, 141, 165, 56, 85, 0}, {103, 107, 108, 213, 221, 224, 70, 82, 69}, 95.340}};
  for (std::uint64_t n = 0; n < 3; ++n) {
    CAPTURE(n);
    const Golden& g = goldens[n];
    const Draws d = draw(1, 0, n, 64);
    CHECK(d.count == 127);
    CHECK(d.cls == g.cls);
    CHECK(std::abs(d.a - g.a) < 1e-5);
    CHECK(std::abs(d.ox - g.ox) < 1e-6);
    CHECK(std::abs(d.oy - g.oy) < 1e-6);
    CHECK(d.flip == g.flip);
    CHECK(d.nd == g.nd);
    const Sample s = render({Task::code9}, 1, 0, n);
    CHECK(s.label == g.cls);
    std::array<int, part_ids> counts{};
    for (const std::uint8_t p : s.parts) ++counts[p];
    for (std::size_t k = 0; k < 7; ++k) CHECK(counts[k] == g.counts[k]);
    double mean = 0;
    for (const std::uint8_t v : s.image) mean += v;
    CHECK(std::abs(mean / static_cast<double>(s.image.size()) - g.mean) < 1e-3);
    const std::size_t places[] = {0, 32 * 64 + 32, 63 * 64 + 63};
    for (std::size_t k = 0; k < 3; ++k)
      for (std::size_t c = 0; c < 3; ++c) CHECK(std::abs(s.image[c * 4096 + places[k]] - g.rgb[3 * k + c]) <= 1);
  }
}

TEST_CASE("the code: words differ in three slots, every value is in three classes, every combination is near one word") {
  for (int a = 0; a < 9; ++a)
    for (int b = 0; b < a; ++b) {
      int distance = 0;
      for (std::size_t i = 0; i < 4; ++i) distance += code_word(a)[i] != code_word(b)[i];
      CHECK(distance == 3);
    }
  for (std::size_t slot = 0; slot < 4; ++slot)
    for (int value = 0; value < 3; ++value) {
      int classes = 0;
      for (int c = 0; c < 9; ++c) classes += code_word(c)[slot] == value;
      CHECK(classes == 3);
    }
  for (int combination = 0; combination < 81; ++combination) {
    const std::array<int, 4> v = {combination / 27, combination / 9 % 3, combination / 3 % 3, combination % 3};
    int near = 0;
    for (int c = 0; c < 9; ++c) {
      int distance = 0;
      for (std::size_t i = 0; i < 4; ++i) distance += code_word(c)[i] != v[i];
      near += distance <= 1;
    }
    CHECK(near == 1);
  }
}

TEST_CASE("interventions change what they name and nothing else") {
  for (const std::uint64_t n : {1u, 4u, 7u}) {
    const Sample whole = render({Task::code9}, 1, 2, n);
    CHECK(render({Task::code9}, 1, 2, n, 64, 4, {}).image == whole.image);
    for (std::size_t part = 0; part < 4; ++part) {
      Interventions change;
      change.remove[part] = true;
      const Sample less = render({Task::code9}, 1, 2, n, 64, 4, change);
      CHECK_FALSE(less.visible[part]);
      int changed = 0;
      for (int y = 0; y < 64; ++y)
        for (int x = 0; x < 64; ++x) {
          bool near = false;  // within a pixel of the part's mask
          for (int j = std::max(0, y - 1); j <= std::min(63, y + 1); ++j)
            for (int i = std::max(0, x - 1); i <= std::min(63, x + 1); ++i) near = near || whole.parts[static_cast<std::size_t>(j * 64 + i)] == 2 + part;
          for (std::size_t c = 0; c < 3; ++c) {
            const std::size_t at = c * 4096 + static_cast<std::size_t>(y * 64 + x);
            const bool differs = whole.image[at] != less.image[at];
            changed += differs;
            CHECK((!differs || near));
          }
        }
      CHECK(changed > 0);
    }
    Interventions other;
    other.set[tail] = (whole.slots[tail] + 1) % 3;
    CHECK(render({Task::code9}, 1, 2, n, 64, 4, other).parts == whole.parts);
    CHECK(render({Task::code9}, 1, 2, n, 64, 4, other).image != whole.image);
    Interventions gone;
    gone.no_object = true;
    for (const std::uint8_t p : render({Task::code9}, 1, 2, n, 64, 4, gone).parts) CHECK((p == 0 || p == 6));
  }
}

TEST_CASE("labels and soft targets follow the tasks' rules") {
  std::array<int, 9> near{};
  int full = 0;
  for (std::uint64_t n = 0; n < 300; ++n) {
    const auto sample = [&](Task t, bool removal = false) { return render({t}, 1, 0, n, 32, 1, {}, removal); };
    const Sample near9 = sample(Task::near9);
    int agree = 0;
    for (std::size_t i = 0; i < 4; ++i) agree += near9.slots[i] == code_word(near9.label)[i];
    CHECK(agree >= 3);
    ++near[static_cast<std::size_t>(near9.label)];
    const Sample and2 = sample(Task::and2), xor2 = sample(Task::xor2), eq2 = sample(Task::eq2), code = sample(Task::code9, true);
    CHECK(and2.label == (and2.slots[head] == 1 && and2.slots[wing] == 1));
    CHECK(xor2.label == (xor2.slots[head] != xor2.slots[wing]));
    CHECK(eq2.label == (eq2.headc == eq2.wingc));
    CHECK(sample(Task::kind3).label == static_cast<int>(n % 3));
    float total = 0;
    int visible = 0, positive = 0;
    for (const float t : code.target) total += t, positive += t > 0;
    for (const bool v : code.visible) visible += v;
    CHECK(std::abs(total - 1) < 1e-6);
    CHECK(positive == (visible == 0 ? 9 : visible == 1 ? 3 : 1));
    full += visible == 4;
  }
  for (const int count : near) CHECK(count > 10);
  CHECK(full > 100);  // half of the images keep everything, and a tenth of the others too
  CHECK(full < 240);
}

TEST_CASE("categorical draws are uniform, and independent of the class") {
  constexpr int images = 3000;
  std::array<int, 6> texture{};
  std::array<std::array<int, 3>, 9> head_by_class{};
  for (std::uint64_t n = 0; n < images; ++n) {
    const Draws d = draw(1, 0, n, 64);
    ++texture[static_cast<std::size_t>(d.bgtex)];
    ++head_by_class[static_cast<std::size_t>(d.cls)][static_cast<std::size_t>(d.headc)];
  }
  double chi = 0;
  for (const int count : texture) chi += (count - images / 6.0) * (count - images / 6.0) / (images / 6.0);
  CHECK(chi < 20.5);  // p > 1e-3 at 5 degrees of freedom
  chi = 0;
  for (const auto& row : head_by_class)
    for (const int count : row) chi += (count - images / 27.0) * (count - images / 27.0) / (images / 27.0);
  CHECK(chi < 54.1);  // p > 1e-3 at 26
}

TEST_CASE("as a data set: sizes, masks, and options that are refused") {
  const auto both = vitrine::data::open_for_training("partshapes:kind3,train=30,test=12,size=32,samples=2");
  CHECK(both.train->size() == 30);
  CHECK(both.test->size() == 12);
  CHECK(both.train->image_shape() == vitrine::Shape{1, 3, 32, 32});
  CHECK(both.test->class_name(both.test->label(4)) == "house");
  std::vector<std::uint8_t> object(32 * 32), parts(32 * 32);
  REQUIRE(both.test->masks(4, object.data(), parts.data()));
  int inside = 0;
  for (std::size_t i = 0; i < object.size(); ++i) {
    inside += object[i];
    CHECK((object[i] == 1) == (parts[i] >= 1 && parts[i] != 6 && parts[i] != 7));
  }
  CHECK(inside > 50);
  for (const char* bad : {"partshapes:code8", "partshapes:kind3,removal", "partshapes:size=9", "partshapes:train=x", "partshapes:code9c(2)"}) {
    CAPTURE(std::string(bad));
    CHECK_THROWS_AS(vitrine::data::open_for_training(bad), vitrine::Error);
  }
}

TEST_SUITE_END();
