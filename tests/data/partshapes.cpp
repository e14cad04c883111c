// PartShapes: golden draws and sentences, agreement with the independent reference in Python, the
// code's algebra, interventions, uniform and independent draws, the ideal observer.
#include "models/data/partshapes.h"
#include "models/data/dataset.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <stdexcept>

#include "models/data/captions.h"
#include "models/data/partshapes_files.h"
#include "models/data/partshapes_truth.h"

using namespace vitrine::data;

TEST_SUITE_BEGIN("data");

namespace {

std::uint64_t fnv1a(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (const std::uint8_t b : bytes) h = (h ^ b) * 0x100000001B3u;
  return h;
}

TaskSpec task(const char* word) { return parse_task_word(word).value(); }

const std::vector<TaskSpec>& all_tasks() {
  static const std::vector<TaskSpec> tasks = [] {
    std::vector<TaskSpec> t;
    for (int i = 0; i < task_count; ++i) t.push_back({static_cast<Task>(i), .5, 3});
    return t;
  }();
  return tasks;
}

// Pixels whose colours or part ids differ.
std::vector<bool> changed(const Sample& a, const Sample& b) {
  const std::size_t plane = a.parts.size();
  std::vector<bool> out(plane);
  for (std::size_t k = 0; k < plane; ++k) {
    out[k] = a.parts[k] != b.parts[k];
    for (std::size_t c = 0; c < 3; ++c) out[k] = out[k] || a.image[c * plane + k] != b.image[c * plane + k];
  }
  return out;
}

// Is (row, column) k within one pixel of a true entry?
bool near(const std::vector<bool>& mask, std::size_t k, int size) {
  const int i = static_cast<int>(k) / size, j = static_cast<int>(k) % size;
  for (int y = std::max(0, i - 1); y <= std::min(size - 1, i + 1); ++y)
    for (int x = std::max(0, j - 1); x <= std::min(size - 1, j + 1); ++x)
      if (mask[static_cast<std::size_t>(y * size + x)]) return true;
  return false;
}

Interventions without(unsigned parts) {
  Interventions change;
  change.remove = parts;
  return change;
}

Interventions with(int variable, int value) {
  Interventions change;
  change.set[static_cast<std::size_t>(variable)] = value;
  return change;
}

// Upper tail of chi-square (Wilson and Hilferty's cube-root normal approximation): good to a few percent at 1e-3.
double chi_square_p(double x, int degrees) {
  const double v = 2. / (9. * degrees);
  return .5 * std::erfc((std::cbrt(x / degrees) - (1 - v)) / std::sqrt(v) / std::sqrt(2.));
}

}  // namespace

TEST_CASE("partshapes: SplitMix64 and seeds") {
  SplitMix64 s(0);
  for (const std::uint64_t expected :
       {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu, 0xf88bb8a8724c81ecu, 0x1b39896a51a8749bu})
    CHECK(s.next() == expected);
  CHECK(seed_of(1, 0, 0) == 0x6e789e6aa1b965f4u);
  CHECK(seed_of(1, 0, 1) == 0x9ff9a75b320b9098u);
  CHECK(seed_of(1, 0, 2) == 0x0757968a0860d22du);
}

TEST_CASE("partshapes: golden draws") {
  const auto close = [](double x) { return doctest::Approx(x).epsilon(0).scale(1).epsilon(1e-6); };
  const Draws d = draw(1, 0, 0);
  CHECK(d.count == 127);
  CHECK(d.cls == 2);
  CHECK(d.bgtex == 1);
  CHECK(d.bgbase == close(.438239));
  CHECK(d.bgper == close(7.603646));
  CHECK(d.bgph == close(.416723));
  CHECK(d.a == close(43.833419));
  CHECK(d.ox == close(.254477));
  CHECK(d.oy == close(.527934));
  CHECK(std::array{d.flip, d.bodyg, d.headc, d.wingc, d.tails, d.legc, d.nd} == std::array{0, 2, 1, 0, 2, 0, 0});
  CHECK(d.keepall == 1);
  CHECK(d.ndel == 2);
  const double f[6] = {.864746, .954668, .628678, .582474, .174835, .174948};
  for (std::size_t i = 0; i < 6; ++i) CHECK(d.f[i] == close(f[i]));
  CHECK(d.kc == std::array{5, 0, 5, 1, 4});
  CHECK(d.kg == 0);

  const Draws e = draw(1, 0, 1);
  CHECK(e.cls == 3);
  CHECK(e.bgtex == 1);
  CHECK(e.a == close(42.962105));
  CHECK(e.ox == close(.369782));
  CHECK(e.oy == close(.403326));
  CHECK(std::array{e.flip, e.bodyg, e.headc, e.wingc, e.tails, e.nd} == std::array{1, 0, 2, 1, 1, 3});
  CHECK(e.keepall == 0);
  CHECK(e.ndel == 4);

  const Draws g = draw(1, 0, 2);
  CHECK(g.cls == 5);
  CHECK(g.a == close(41.52495));
  CHECK(g.ox == close(.750382));
  CHECK(g.oy == close(.40014));
  CHECK(std::array{g.flip, g.headc, g.wingc, g.tails, g.nd} == std::array{1, 1, 2, 1, 1});
}

TEST_CASE("partshapes: golden images") {
  struct Golden {
    std::size_t placed;
    std::array<int, 7> counts;
    int rgb[3][3];  // at (0,0), (32,32), (63,63)
    double mean;
  };
  const Golden goldens[] = {
      {0, {3419, 195, 136, 186, 67, 93, 0}, {{127, 127, 122}, {213, 215, 210}, {101, 105, 104}}, 120.934},
      {3, {3340, 207, 132, 176, 51, 83, 107}, {{88, 84, 82}, {141, 136, 137}, {118, 118, 105}}, 94.784},
      {0, {3460, 189, 141, 165, 56, 85, 0}, {{103, 107, 108}, {213, 221, 224}, {70, 82, 69}}, 95.340}};
  for (int n = 0; n < 3; ++n) {
    CAPTURE(n);
    const Golden& g = goldens[n];
    const Sample s = render({}, 1, 0, n);
    REQUIRE(s.image.size() == 3 * 64 * 64);
    std::array<int, 7> counts{};
    for (const std::uint8_t id : s.parts) ++counts.at(id);
    CHECK(counts == g.counts);
    CHECK(s.placed.size() == g.placed);
    const std::size_t places[3] = {0, 32 * 64 + 32, 63 * 64 + 63};
    for (std::size_t p = 0; p < 3; ++p)
      for (std::size_t c = 0; c < 3; ++c) CHECK(std::abs(s.image[c * 4096 + places[p]] - g.rgb[p][c]) <= 1);
    CHECK(std::abs(std::accumulate(s.image.begin(), s.image.end(), 0.) / 12288 - g.mean) < .002);
  }
}

TEST_CASE("partshapes: byte for byte the reference's images") {
  std::ifstream file(VITRINE_SOURCE_ROOT "/tests/data/partshapes_golden.json");
  REQUIRE(file);
  const auto golden = nlohmann::json::parse(file);
  std::set<std::string> seen;
  for (const auto& row : golden["images"]) {
    const auto name = row["task"].get<std::string>(), argument = row["argument"].get<std::string>();
    const auto spec = parse_task(name, argument);
    CAPTURE(name);
    CAPTURE(argument);
    CAPTURE(row["n"].get<int>());
    REQUIRE(spec);
    seen.insert(name);
    const Sample s = render(*spec, golden["master"], golden["split"], row["n"], golden["size"], golden["samples"]);
    CHECK(s.label == row["label"].get<int>());
    CHECK(fnv1a(s.parts) == std::stoull(row["parts_fnv1a"].get<std::string>(), nullptr, 16));
    CHECK(fnv1a(s.image) == std::stoull(row["image_fnv1a"].get<std::string>(), nullptr, 16));
  }
  CHECK(seen.size() == task_count);

  // Many small ones: rare cases, such as where distractors find room.
  for (const auto& row : golden["series"]) {
    const auto spec = parse_task(row["task"].get<std::string>());
    REQUIRE(spec);
    std::vector<std::uint8_t> images, parts;
    for (int n = 0; n < golden["series_of"]["count"].get<int>(); ++n) {
      const Sample s = render(*spec, golden["master"], golden["split"], n, golden["series_of"]["size"],
                              golden["series_of"]["samples"]);
      images.insert(images.end(), s.image.begin(), s.image.end());
      parts.insert(parts.end(), s.parts.begin(), s.parts.end());
    }
    CHECK(fnv1a(parts) == std::stoull(row["parts_fnv1a"].get<std::string>(), nullptr, 16));
    CHECK(fnv1a(images) == std::stoull(row["images_fnv1a"].get<std::string>(), nullptr, 16));
  }
}

TEST_CASE("partshapes: names of tasks") {
  for (int i = 0; i < task_count; ++i) {
    const Task t = static_cast<Task>(i);
    const auto parsed = parse_task(task_name(t));
    REQUIRE(parsed);
    CHECK(parsed->task == t);
    std::set<std::string> names;
    for (int k = 0; k < task_classes(t); ++k) names.insert(class_name(t, k));
    CHECK(static_cast<int>(names.size()) == task_classes(t));
  }
  CHECK(task("code9c(0.8)").rho == .8);
  CHECK(task("code9c:0.25").rho == .25);
  CHECK(task("bam_graded(4)").grade == 4);
  CHECK(task("bam-graded").task == Task::bam_graded);
  for (const char* wrong : {"", "code", "code9(1)", "code9c(1.5)", "code9c(nan)", "code9c(.5", "code9c()",
                            "code9c:", "bam-graded(0)", "bam-graded(7)", "bam-graded(2x)"}) {
    CAPTURE(wrong);
    CHECK(!parse_task_word(wrong));
  }
  CHECK_THROWS_AS(render({}, 1, 0, 0, 63), vitrine::Error);
  CHECK_THROWS_AS(render({}, 1, 0, 0, 64, 3), vitrine::Error);
  CHECK_THROWS_AS(render({}, 1, 0, 0, 64, 4, with(attribute::flip, 2)), vitrine::Error);
}

TEST_CASE("partshapes: the code is the tetracode") {
  int pairs = 0;
  for (int c = 0; c < 9; ++c)
    for (int d = 0; d < c; ++d) {
      int distance = 0;
      for (std::size_t i = 0; i < 4; ++i) distance += code_word(c)[i] != code_word(d)[i];
      pairs += distance == 3;
    }
  CHECK(pairs == 36);
  for (std::size_t slot = 0; slot < 4; ++slot)
    for (int value = 0; value < 3; ++value) {
      int classes = 0;
      for (int c = 0; c < 9; ++c) classes += code_word(c)[slot] == value;
      CHECK(classes == 3);
    }
  for (int i = 0; i < 81; ++i) {
    const std::array<int, 4> x = {i / 27, i / 9 % 3, i / 3 % 3, i % 3};
    int within = 0;
    for (int c = 0; c < 9; ++c) {
      int distance = 0;
      for (std::size_t k = 0; k < 4; ++k) distance += code_word(c)[k] != x[k];
      within += distance <= 1;
      if (distance <= 1) CHECK(nearest_word(x) == c);
    }
    CHECK(within == 1);
  }
}

TEST_CASE("partshapes: samples are consistent") {
  for (const TaskSpec& spec : all_tasks())
    for (std::int64_t n = 0; n < 8; ++n) {
      CAPTURE(task_name(spec.task));
      CAPTURE(n);
      const Sample s = render(spec, 1, 2, n, 64, 2);
      REQUIRE(s.target.size() == static_cast<std::size_t>(task_classes(spec.task)));
      CHECK(s.target.at(static_cast<std::size_t>(s.label)) == 1);
      CHECK(std::accumulate(s.target.begin(), s.target.end(), 0.f) == 1);
      bool any = false;
      for (std::size_t k = 0; k < s.parts.size(); ++k) {
        any = any || s.object[k] != 0;
        REQUIRE((s.distractor[k] != 0) == (s.parts[k] == part_id::distractor));
        if (s.parts[k] == part_id::distractor || s.parts[k] == part_id::background) REQUIRE(s.object[k] == 0);
        if (s.distractor[k] == 0) continue;
        // Where the list says the distractor is.
        const auto o = std::ranges::find(s.placed, s.distractor[k] - 1, &Sample::Placed::number);
        REQUIRE(o != s.placed.end());
        REQUIRE(std::hypot(static_cast<double>(k % 64) + .5 - o->x, static_cast<double>(k / 64) + .5 - o->y) <
                1.6 * o->r + .75);
      }
      CHECK(any == s.drawn);
      for (std::size_t i = 0; i < 4; ++i) {
        CHECK(s.visible[i] == s.drawn);
        CHECK(std::isnan(s.landmarks[i][0]) == !s.drawn);
        if (!s.drawn) continue;
        // In the middle of parts, legs apart (there is a gap between two).
        const auto at = static_cast<std::size_t>(s.landmarks[i][1]) * 64 + static_cast<std::size_t>(s.landmarks[i][0]);
        if (s.kind == 0 && i != attribute::legs) CHECK(s.parts.at(at) == part_id::head + i);
        CHECK(s.landmarks[i][0] >= 0);
        CHECK(s.landmarks[i][0] < 64);
      }
      CHECK((s.tag >= 0) == (spec.task == Task::code9c));
      CHECK((std::ranges::count(s.parts, part_id::tag) == 49) == (spec.task == Task::code9c));
    }
}

TEST_CASE("partshapes: other sizes show the same scene") {
  for (const int size : {32, 128}) {
    const Sample s = render({}, 1, 0, 0, size), usual = render({}, 1, 0, 0);
    CHECK(s.image.size() == static_cast<std::size_t>(3 * size * size));
    CHECK(s.attr == usual.attr);
    for (const int id : {1, 2, 3, 4, 5}) {
      const double here = static_cast<double>(std::ranges::count(s.parts, id)) / (size * size);
      const double there = static_cast<double>(std::ranges::count(usual.parts, id)) / 4096;
      CHECK(here == doctest::Approx(there).epsilon(.15));
    }
  }
}

TEST_CASE("partshapes: removal changes the removed only") {
  for (std::int64_t n = 0; n < 12; ++n) {
    CAPTURE(n);
    const Sample whole = render({}, 1, 2, n);
    CHECK(render({}, 1, 2, n, 64, 4, Interventions{}).image == whole.image);
    for (unsigned removed = 1; removed < 16; ++removed) {
      const Sample s = render({}, 1, 2, n, 64, 4, without(removed));
      CHECK(s.label == whole.label);
      std::vector<bool> mask(whole.parts.size());
      for (std::size_t k = 0; k < mask.size(); ++k) {
        const int part = whole.parts[k] - part_id::head;
        mask[k] = part >= 0 && part < 4 && (removed >> part & 1) != 0;
        const int left = s.parts[k] - part_id::head;
        REQUIRE(!(left >= 0 && left < 4 && (removed >> left & 1) != 0));
      }
      const std::vector<bool> difference = changed(whole, s);
      CHECK(std::ranges::count(difference, true) > 0);
      for (std::size_t k = 0; k < mask.size(); ++k)
        if (difference[k]) REQUIRE(near(mask, k, 64));
      for (std::size_t i = 0; i < 4; ++i) CHECK(s.visible[i] == ((removed >> i & 1) == 0));
    }
    for (const Sample::Placed& o : whole.placed) {
      Interventions change;
      change.remove_distractors = 1u << o.number;
      const Sample s = render({}, 1, 2, n, 64, 4, change);
      std::vector<bool> mask(whole.parts.size());
      for (std::size_t k = 0; k < mask.size(); ++k) mask[k] = whole.distractor[k] == 1 + o.number;
      const std::vector<bool> difference = changed(whole, s);
      CHECK(std::ranges::count(difference, true) > 0);
      for (std::size_t k = 0; k < mask.size(); ++k)
        if (difference[k]) REQUIRE(near(mask, k, 64));
    }
    Interventions bare;
    bare.no_object = true;
    bare.remove_distractors = 7;
    const Sample s = render({}, 1, 2, n, 64, 4, bare);
    CHECK(std::ranges::count(s.parts, part_id::background) == 4096);
  }
}

TEST_CASE("partshapes: a changed attribute changes nothing else") {
  for (const Task t : {Task::code9, Task::near9, Task::eq2})
    for (std::int64_t n = 0; n < 6; ++n) {
      const Sample before = render({t}, 1, 2, n);
      for (int variable = 0; variable < attribute::count; ++variable)
        for (int value = 0; value < attribute_values(variable); ++value) {
          CAPTURE(n);
          CAPTURE(variable);
          CAPTURE(value);
          const Sample after = render({t}, 1, 2, n, 64, 4, with(variable, value));
          CHECK(after.label == before.label);
          Attributes expected = before.attr;
          expected[static_cast<std::size_t>(variable)] = value;
          CHECK(after.attr == expected);
          CHECK((after.image == before.image) == (after.attr == before.attr));
          using namespace attribute;
          // Colours and patterns move no mask.
          if (variable == wing || variable == tail || variable == headc || variable == wingc || variable == legc ||
              variable == bodyg)
            CHECK(after.parts == before.parts);
        }
      for (int texture = 0; texture < 6; ++texture) {
        Interventions change;
        change.background = texture;
        const Sample after = render({t}, 1, 2, n, 64, 4, change);
        CHECK(after.parts == before.parts);
        CHECK((after.image == before.image) == (texture == before.bgtex));
      }
    }
}

TEST_CASE("partshapes: tags, resolution, noise") {
  const TaskSpec tagged = task("code9c(1)");
  const Sample plain = render({}, 1, 0, 4), with_tag = render(tagged, 1, 0, 4);
  CHECK(with_tag.tag == with_tag.label);
  Interventions change;
  change.tag = Interventions::tag_none;
  CHECK(render(tagged, 1, 0, 4, 64, 4, change).image == plain.image);
  change.tag = with_tag.tag;
  CHECK(render({}, 1, 0, 4, 64, 4, change).image == with_tag.image);
  int agreeing = 0;
  for (std::int64_t n = 0; n < 9000; ++n) {
    const Draws d = draw(1, 0, n);
    agreeing += d.f[4] < .8 || d.cls == static_cast<int>(9 * d.f[5]);
  }
  CHECK(agreeing / 9000. == doctest::Approx(.8 + .2 / 9).epsilon(.02));

  for (const int scale : {2, 4, 8}) {
    Interventions coarse;
    coarse.scale = scale;
    const Sample s = render({}, 1, 0, 4, 64, 4, coarse);
    CHECK(s.parts == plain.parts);
    for (std::size_t k = 0; k < s.image.size(); ++k) {
      const std::size_t f = static_cast<std::size_t>(scale), i = k / 64 % 64, j = k % 64;
      REQUIRE(s.image[k] == s.image[k - (i % f) * 64 - j % f]);
    }
    const auto mean = [](const Sample& x) { return std::accumulate(x.image.begin(), x.image.end(), 0.) / 12288; };
    CHECK(std::abs(mean(s) - mean(plain)) < .1);
  }
  Interventions noisy;
  noisy.sigma = .05;
  const Sample s = render({}, 1, 0, 4, 64, 4, noisy);
  double sum = 0, squares = 0;
  for (std::size_t k = 0; k < s.image.size(); ++k) {
    const double e = (s.image[k] - plain.image[k]) / 255.;
    sum += e;
    squares += e * e;
  }
  CHECK(std::abs(sum / 12288) < .002);
  CHECK(std::sqrt(squares / 12288) == doctest::Approx(.05).epsilon(.03));
}

TEST_CASE("partshapes: removal in training") {
  double entropy = 0;
  for (std::int64_t n = 0; n < 8000; ++n) {
    const Draws d = draw(1, 0, n);
    const int left = d.keepall ? 4 : 4 - d.ndel;
    entropy += left == 0 ? std::log(9) : left == 1 ? std::log(3) : 0;
  }
  CHECK(std::abs(entropy / 8000 - .323) < .0005);  // the specification's figure for these images
  for (std::int64_t n = 0; n < 60; ++n) {
    const Draws d = draw(1, 0, n);
    const Sample s = render({}, 1, 0, n, 64, 1, {}, true);
    const int removed = static_cast<int>(std::ranges::count(s.visible, false));
    CHECK(removed == (d.keepall ? 0 : d.ndel));
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t j = 0; j < 4; ++j)
        if (!s.visible[i] && s.visible[j]) CHECK(d.perm[i] < d.perm[j]);
    const float p = removed == 4 ? 1.f / 9 : removed == 3 ? 1.f / 3 : 1.f;
    CHECK(s.target.at(static_cast<std::size_t>(s.label)) == p);
    CHECK(std::ranges::count(s.target, p) == std::lround(1 / p));
    if (removed == 0) CHECK(s.image == render({}, 1, 0, n, 64, 1).image);
  }
  CHECK(render({Task::near9}, 1, 0, 1, 64, 1, {}, true).image == render({Task::near9}, 1, 0, 1, 64, 1).image);
}

TEST_CASE("partshapes: draws are uniform and independent of the class") {
  constexpr int images = 9000;
  struct Variable {
    const char* name;
    int values;
    std::function<int(const Draws&)> of;
  };
  std::vector<Variable> variables = {
      {"cls", 9, [](const Draws& d) { return d.cls; }},     {"bgtex", 6, [](const Draws& d) { return d.bgtex; }},
      {"flip", 2, [](const Draws& d) { return d.flip; }},   {"bodyg", 3, [](const Draws& d) { return d.bodyg; }},
      {"headc", 3, [](const Draws& d) { return d.headc; }}, {"wingc", 3, [](const Draws& d) { return d.wingc; }},
      {"tails", 3, [](const Draws& d) { return d.tails; }}, {"legc", 2, [](const Draws& d) { return d.legc; }},
      {"nd", 4, [](const Draws& d) { return d.nd; }},       {"keepall", 2, [](const Draws& d) { return d.keepall; }},
      {"ndel", 5, [](const Draws& d) { return d.ndel; }},   {"kg", 3, [](const Draws& d) { return d.kg; }}};
  for (std::size_t i = 0; i < 3; ++i) {
    variables.push_back({"kind", 3, [i](const Draws& d) { return d.distractors[i].kind; }});
    variables.push_back({"col", 6, [i](const Draws& d) { return d.distractors[i].col; }});
    variables.push_back({"pat", 3, [i](const Draws& d) { return d.distractors[i].pat; }});
  }
  for (std::size_t i = 0; i < 6; ++i)
    variables.push_back({"f", 3, [i](const Draws& d) { return static_cast<int>(3 * d.f[i]); }});
  for (std::size_t i = 0; i < 5; ++i) variables.push_back({"kc", 6, [i](const Draws& d) { return d.kc[i]; }});

  std::vector<Draws> all;
  for (int n = 0; n < images; ++n) all.push_back(draw(1, 0, n));
  for (const Variable& v : variables) {
    CAPTURE(v.name);
    std::vector<double> joint(static_cast<std::size_t>(9 * v.values)), marginal(static_cast<std::size_t>(v.values)),
        classes(9);
    for (const Draws& d : all) {
      const int x = v.of(d);
      REQUIRE(x >= 0);
      REQUIRE(x < v.values);
      ++joint[static_cast<std::size_t>(d.cls * v.values + x)];
      ++marginal[static_cast<std::size_t>(x)];
      ++classes[static_cast<std::size_t>(d.cls)];
    }
    double uniform = 0, independent = 0;
    const double expected = static_cast<double>(images) / v.values;
    for (const double m : marginal) uniform += (m - expected) * (m - expected) / expected;
    CHECK(chi_square_p(uniform, v.values - 1) > 1e-3);
    if (std::string_view(v.name) == "cls") continue;
    for (std::size_t c = 0; c < 9; ++c)
      for (std::size_t x = 0; x < marginal.size(); ++x) {
        const double e = classes[c] * marginal[x] / images, o = joint[c * marginal.size() + x];
        independent += (o - e) * (o - e) / e;
      }
    CHECK(chi_square_p(independent, 8 * (v.values - 1)) > 1e-3);
  }
}

TEST_CASE("partshapes: labels are balanced and follow the rules") {
  for (const TaskSpec& spec : all_tasks()) {
    CAPTURE(task_name(spec.task));
    const int classes = task_classes(spec.task), images = 1500;
    std::vector<int> counts(static_cast<std::size_t>(classes));
    for (std::int64_t n = 0; n < images; ++n) {
      const Sample s = render(spec, 1, 0, n, 32, 1);
      ++counts.at(static_cast<std::size_t>(s.label));
      const std::array<int, 4> slots = {s.attr[0], s.attr[1], s.attr[2], s.attr[3]};
      switch (spec.task) {
        case Task::code9:
        case Task::code9c:
          REQUIRE(slots == code_word(s.label));
          break;
        case Task::near9:
          REQUIRE(s.label == nearest_word(slots));
          break;
        case Task::and2:
          REQUIRE(s.label == (slots[0] == 1 && slots[1] == 1));
          break;
        case Task::xor2:
          REQUIRE(s.label == (slots[0] != slots[1]));
          break;
        case Task::eq2:
          REQUIRE(s.label == (s.attr[attribute::headc] == s.attr[attribute::wingc]));
          break;
        case Task::bam_graded:
          REQUIRE(s.drawn == (s.bgtex < 3));
          break;
        case Task::kind3:
          REQUIRE(s.kind == n % 3);
          break;
        default:
          break;
      }
    }
    for (const int count : counts) CHECK(std::abs(count / static_cast<double>(images) - 1. / classes) < .03);
  }
}

TEST_CASE("partshapes: the ideal observer") {
  for (int c = 0; c < 9; ++c)
    for (unsigned visible = 0; visible < 16; ++visible) {
      const auto p = ideal_posterior(code_word(c), visible);
      const int seen = std::popcount(visible), expected = seen == 0 ? 9 : seen == 1 ? 3 : 1;
      CHECK(std::ranges::count_if(p, [](double x) { return x > 0; }) == expected);
      CHECK(std::abs(p[static_cast<std::size_t>(c)] - 1. / expected) < 1e-15);
      CHECK(std::abs(std::accumulate(p.begin(), p.end(), 0.) - 1) < 1e-12);
    }
  const auto check = [](Task t, const std::array<int, 4>& values, int label, const std::array<double, 4>& expected) {
    const auto phi = shapley(slot_game(t, values, label));
    for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(phi[i] - expected[i]) < 1e-12);
  };
  for (const SlotCase& c : slot_cases(Task::code9))
    check(Task::code9, c.values, c.label, {2. / 9, 2. / 9, 2. / 9, 2. / 9});
  int exact = 0, odd_ones = 0;
  for (const SlotCase& c : slot_cases(Task::near9)) {
    std::array<double, 4> expected;
    int odd = -1;
    for (int i = 0; i < 4; ++i)
      if (code_word(c.label)[static_cast<std::size_t>(i)] != c.values[static_cast<std::size_t>(i)]) odd = i;
    expected.fill(odd < 0 ? 2. / 9 : 1. / 3);
    if (odd >= 0) expected[static_cast<std::size_t>(odd)] = -1. / 9;
    ++(odd < 0 ? exact : odd_ones);
    check(Task::near9, c.values, c.label, expected);
  }
  CHECK(exact == 9);
  CHECK(odd_ones == 72);
  const auto v = slot_game(Task::near9, code_word(4), 4);
  const double by_size[5] = {1. / 9, 7. / 27, 5. / 9, 1, 1};
  for (unsigned s = 0; s < 16; ++s) CHECK(std::abs(v[s] - by_size[std::popcount(s)]) < 1e-12);
  for (const SlotCase& c : slot_cases(Task::and2)) {
    const bool square = c.values[0] == 1, striped = c.values[1] == 1;
    check(Task::and2, c.values, c.label,
          square == striped ? std::array{.25, .25, 0., 0.}
          : square          ? std::array{-.15, .65, 0., 0.}
                            : std::array{.65, -.15, 0., 0.});
  }
  for (const SlotCase& c : slot_cases(Task::xor2)) check(Task::xor2, c.values, c.label, {.25, .25, 0, 0});
  const Task single[4] = {Task::head3, Task::wing3, Task::tail3, Task::legs3};
  for (std::size_t i = 0; i < 4; ++i)
    for (const SlotCase& c : slot_cases(single[i])) {
      std::array<double, 4> expected{};
      expected[i] = 2. / 3;
      check(single[i], c.values, c.label, expected);
    }
  CHECK(slot_cases(Task::scene6).empty());
}

TEST_CASE("captions: goldens") {
  const char* const goldens[2][5] = {
      {"this is a pale critter with three dark legs and a green tail", "it has a cyan round head and a rounded tail",
       "this is a pale critter with a green tail and a yellow wing",
       "this is a pale critter with a yellow wing and a rounded green tail",
       "it has dark limbs and a rounded green tail"},
      {"this is a dim critter with a pointed tail and a cyan striped wing", "it has one dark leg and a magenta head",
       "it has a green tail and a magenta square head", "this critter has a pointed tail and one dark leg",
       "a critter with a cyan striped wing and a magenta square head"}};
  for (int n = 0; n < 2; ++n) {
    const auto all = captions(render({}, 1, 0, n).attr, 1, 0, n);
    for (std::size_t j = 0; j < 5; ++j) CHECK(all[j].text == goldens[n][j]);
  }
  CHECK(caption(render({}, 1, 0, 2).attr, 1, 0, 2, 3).text ==
        "this critter has a cyan head and three dark legs facing left");
}

TEST_CASE("captions: words") {
  const auto words = caption_words();
  REQUIRE(words.size() == 41);
  CHECK(std::ranges::is_sorted(words.subspan(1)));
  const std::string text = "it has a cyan round head and a rounded tail";
  const std::vector<int> tokens = caption_tokens(text);
  CHECK(tokens.back() == 0);
  CHECK(caption_text(tokens) == text);
  CHECK(caption_tokens("it has a car").empty());
}

TEST_CASE("captions: every sentence parses to what it said, and that is true") {
  double words = 0, mentions = 0, posterior = 0;
  std::size_t longest = 0;
  std::set<std::string> vocabulary;
  constexpr int images = 2000;
  for (std::int64_t n = 0; n < images; ++n) {
    const Draws d = draw(1, 0, n);
    const auto w = code_word(d.cls);
    const Attributes attr = {w[0], w[1], w[2], w[3], d.headc, d.wingc, d.tails, d.legc, d.bodyg, d.flip};
    for (const Caption& c : captions(attr, 1, 0, n)) {
      CAPTURE(c.text);
      const ParsedCaption p = parse_caption(c.text);
      REQUIRE(p.error == "");
      REQUIRE(p.mentions == c.mentions);
      REQUIRE(true_of(p.mentions, attr));
      const std::vector<int> tokens = caption_tokens(c.text);
      REQUIRE(!tokens.empty());
      for (const int t : tokens) vocabulary.insert(std::string(caption_words()[static_cast<std::size_t>(t)]));
      longest = std::max(longest, tokens.size());
      words += static_cast<double>(tokens.size() - 1);
      mentions += static_cast<double>(p.mentions.size());
      unsigned said = 0;
      for (const Mention& m : p.mentions)
        if (m.variable < 4) said |= 1u << m.variable;
      posterior += ideal_posterior(w, said)[static_cast<std::size_t>(d.cls)];
    }
  }
  CHECK(vocabulary.size() == 41);
  CHECK(longest <= caption_length);
  CHECK(std::abs(words / (5 * images) - 10.9) < .1);
  CHECK(std::abs(mentions / (5 * images) - 3.06) < .05);
  CHECK(std::abs(posterior / (5 * images) - .605) < .01);
}

TEST_CASE("captions: sentences that are not of the language") {
  for (const char* wrong : {"",
                            "it",
                            "foo",
                            "it has a red round head and a wing",
                            "it has a round cyan head and a wing",
                            "it has one legs and a tail",
                            "it has two leg and a tail",
                            "it has dark limbs and one leg",
                            "it has a head and a cyan head",
                            "it has a head and a wing x",
                            "it has a head and a wing facing",
                            "it has a head and a wing facing up",
                            "it has a yellow tail and a wing",
                            "it has a plain head and a wing",
                            "it has a head a wing",
                            "it has one limbs and a wing",
                            "it has limbs and a wing",
                            "this is a critter with a head and a wing",
                            "this is a yellow critter with a head and a wing",
                            "it has dark two legs and a wing",
                            "it has a head and",
                            "it has a head",
                            "It has a head and a wing"}) {
    CAPTURE(wrong);
    const ParsedCaption p = parse_caption(wrong);
    CHECK(p.error != "");
    CHECK(p.mentions.empty());
  }
  const ParsedCaption p = parse_caption("it has a cyan wing and two light legs facing right");
  CHECK(p.error == "");
  using namespace attribute;
  CHECK(p.mentions == std::vector<Mention>{{wingc, 1}, {legs, 1}, {legc, 1}, {flip, 0}});
}

TEST_CASE("as a data set: sizes, masks, and options that are refused") {
  const auto both = open_for_training("partshapes:kind3,train=30,test=12,size=32,samples=2");
  CHECK(both.train->size() == 30);
  CHECK(both.test->size() == 12);
  CHECK(both.train->image_shape() == vitrine::Shape{1, 3, 32, 32});
  CHECK(both.test->class_name(both.test->label(4)) == "house");
  std::vector<std::uint8_t> object(32 * 32), parts(32 * 32);
  REQUIRE(both.test->masks(4, object.data(), parts.data()));
  int inside = 0;
  for (std::size_t i = 0; i < object.size(); ++i) {
    inside += object[i];
    CHECK((object[i] == 1) == part_id::of_object(parts[i]));
  }
  CHECK(inside > 50);
  for (const char* bad : {"partshapes:code8", "partshapes:kind3,removal", "partshapes:size=9", "partshapes:size=40",
                          "partshapes:train=x", "partshapes:code9c(2)"}) {
    CAPTURE(std::string(bad));
    CHECK_THROWS_AS(open_for_training(bad), vitrine::Error);
  }
}

TEST_CASE("PartShapes-det: goldens, boxes, sharing of room") {
  const DetectionSample zero = render_detection(1, 40, 0), one = render_detection(1, 40, 1);
  REQUIRE(zero.objects.size() == 1);
  CHECK(zero.objects[0].kind == 2);
  CHECK(zero.objects[0].box == std::array{33, 26, 69, 58});
  REQUIRE(one.objects.size() == 2);
  CHECK(one.objects[0].kind == 1);
  CHECK(one.objects[0].box == std::array{13, 57, 71, 114});
  CHECK(one.objects[1].kind == 2);
  CHECK(one.objects[1].box == std::array{82, 38, 121, 72});

  // Statistics of the specification: 1, 2, 3 objects in 83, 54, 13 of 150 images; box sides (root area) 32 to 70,
  // median 48.
  std::array<int, 4> counts{};
  std::vector<double> sides;
  for (int n = 0; n < 150; ++n) {
    const DetectionSample s = render_detection(1, 40, n);
    REQUIRE(s.objects.size() <= 3);
    ++counts[s.objects.size()];
    for (std::size_t j = 0; j < s.objects.size(); ++j) {
      const auto& o = s.objects[j];
      sides.push_back(std::sqrt(static_cast<double>((o.box[2] - o.box[0]) * (o.box[3] - o.box[1]))));
      for (const auto& at : o.landmarks) {
        CHECK(at[0] >= static_cast<float>(o.box[0] - 1));
        CHECK(at[1] <= static_cast<float>(o.box[3] + 1));
      }
    }
    for (std::size_t at = 0; at < s.parts.size(); ++at) {
      CHECK_EQ(s.instance[at] != 0, part_id::of_object(s.parts[at]));
    }
  }
  CHECK(counts == std::array{0, 83, 54, 13});
  std::ranges::sort(sides);
  CHECK(std::abs(sides[sides.size() / 2] - 48) < 1.5);
  CHECK(sides.front() > 30);
  CHECK(sides.back() < 72);
  CHECK_THROWS_AS(render_detection(1, 40, 0, 100), vitrine::Error);
}

namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("files: every part is what the generator renders, and the manifest knows each") {
  const auto folder = std::filesystem::temp_directory_path() / "vitrine-partshapes-files";
  std::filesystem::remove_all(folder);
  const std::size_t count =
      write_partshapes("code9,size=32,samples=1,train=3,validation=0,test=2,interventions=2", folder.string());
  CHECK(count == 2 * 10 + 2 * 11);
  const auto manifest = nlohmann::json::parse(read(folder / "manifest.json"));
  CHECK(manifest.at("schema") == "partshapes/1");
  CHECK(manifest.at("files").size() == count);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    CHECK(entry.path().extension() != ".part");

  const std::string images = read(folder / "code9/train/images.bin"), parts = read(folder / "code9/train/parts.bin"),
                    labels = read(folder / "code9/train/labels.i32");
  const std::string attributes = read(folder / "code9/train/attr.i32"),
                    marks = read(folder / "code9/train/landmarks.f32"),
                    sentences = read(folder / "code9/train/captions.txt");
  REQUIRE(images.size() == 20 + 3 * 3 * 32 * 32);
  CHECK(images.substr(0, 8) == std::string("PSH1\3\0\0\0", 8));
  CHECK(marks.size() == 3 * 8 * 4);
  for (int n = 0; n < 3; ++n) {
    const Sample s = render(task("code9"), 1, 0, n, 32, 1);
    CHECK(std::equal(s.image.begin(), s.image.end(), images.begin() + 20 + n * 3072,
                     [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }));
    CHECK(std::equal(s.parts.begin(), s.parts.end(), parts.begin() + 20 + n * 1024,
                     [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }));
    CHECK(labels[static_cast<std::size_t>(4 * n)] == s.label);
    for (std::size_t a = 0; a < 10; ++a) CHECK(attributes[static_cast<std::size_t>(40 * n) + 4 * a] == s.attr[a]);
    CHECK(sentences.find(caption(s.attr, 1, 0, n, 3).text + "\n") != std::string::npos);
  }
  // Row 2 * 16 - 1 of the interventions: image 1 without any part.
  const std::string removed = read(folder / "code9/interventions/remove/images.bin");
  Interventions all;
  all.remove = 15;
  const Sample bare = render(task("code9"), 1, 2, 1, 32, 1, all);
  CHECK(std::equal(bare.image.begin(), bare.image.end(), removed.begin() + 20 + 31 * 3072,
                   [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }));
  CHECK(read(folder / "code9/interventions/remove/index.csv").ends_with("31,1,remove,15\n"));
  const std::string table = read(folder / "code9/test/table.csv");
  CHECK(std::ranges::count(table, '\n') == 3);
  CHECK(std::ranges::count(table.substr(0, table.find('\n')), ',') == 26);

  CHECK(write_partshapes("det,size=64,train=1,validation=0,test=2", folder.string()) == 8);
  CHECK(read(folder / "det/test/boxes.csv").starts_with("n,object,kind,x1,y1,x2,y2\n0,0,"));
  CHECK_THROWS_AS(write_partshapes("det,interventions=1,test=1", folder.string()), vitrine::Error);
  CHECK_THROWS_AS(write_partshapes("kind3,interventions=1,train=1,test=1", folder.string()), vitrine::Error);
  CHECK_THROWS_AS(write_partshapes("code9,train=1", "/proc/no/such/place"), vitrine::Error);
  const auto stopped = folder / "stopped";
  CHECK_THROWS_AS(write_partshapes("code9,train=1", stopped.string(), [] { return true; }), vitrine::Error);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(stopped)) CHECK(!entry.is_regular_file());
  std::filesystem::remove_all(folder);
}

TEST_CASE("as a data set PartShapes tells parts and places; detection does not pass for one") {
  const auto data = vitrine::data::open_for_evaluation("partshapes:kind3,size=32,test=6,samples=1");
  const auto names = data->point_names();
  CHECK(data->part_names().size() == part_id::count);
  for (int n = 0; n < 6; ++n) {
    const Sample s = render(task("kind3"), 1, 2, n, 32, 1);
    const auto points = data->points(n);
    REQUIRE(points.size() >= 4);
    for (std::size_t k = 0; k < 4; ++k) {
      CHECK(points[k].name == s.kind * 4 + static_cast<int>(k));
      CHECK(points[k].x == s.landmarks[k][0]);
    }
    if (s.kind != 0) continue;
    const std::string heads[] = {"head.circle", "head.square", "head.triangle"},
                      tails[] = {"tail.bar", "tail.wedge", "tail.ellipse"};
    std::set<std::string> said;
    for (const auto& p : points) said.insert(names[static_cast<std::size_t>(p.name)]);
    CHECK(said.size() == 12);
    CHECK(said.contains(heads[s.attr[attribute::head]]));
    CHECK(said.contains(tails[s.attr[attribute::tails]]));
  }
  CHECK_THROWS_AS(vitrine::data::open_for_evaluation("partshapes:det"), vitrine::Error);
}

TEST_CASE("relations: the class follows from the places, and from nothing else") {
  for (const char* world : {"order", "count", "pulses"}) {
    CAPTURE(std::string(world));
    const auto data = vitrine::data::open_for_evaluation(std::string("relations:") + world + ",test=300");
    int positive = 0;
    for (std::int64_t n = 0; n < data->size(); ++n) {
      const auto points = data->points(n);
      const int label = data->label(n);
      positive += label;
      if (std::string(world) == "order") {
        REQUIRE(points.size() == 2);
        CHECK(label == (points[0].x < points[1].x));
        CHECK(std::hypot(points[0].x - points[1].x, points[0].y - points[1].y) >= 30);
      } else if (std::string(world) == "count") {
        CHECK(label == (points.size() == 3));
        CHECK(points.size() <= 5);
      } else {
        bool early = false;
        for (std::size_t k = 1; k < points.size(); ++k) early = early || points[k].x - points[k - 1].x < 26;
        CHECK(label == early);
      }
    }
    CHECK(std::abs(positive - 150) < 40);
    std::vector<float> a(static_cast<std::size_t>(data->image_shape().size())), b(a);
    data->image(7, a.data());
    data->image(7, b.data());
    CHECK(a == b);
  }
  CHECK_THROWS_AS(vitrine::data::open_for_evaluation("relations:sideways"), vitrine::Error);
}

TEST_SUITE_END();
