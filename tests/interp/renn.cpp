// Rules over detections: the language against an evaluator of its own, ReNN on planted worlds, and what its reports
// say.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "interp/model/rule_report.h"
#include "interp/predict/explain.h"
#include "kernels/normal.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "tests/support/files.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

constexpr const char* header = "pattern a\npattern b\npattern c\n";

// Soft truth straight from the definitions, on maps of h x w places 4 pixels apart.
struct World {
  int h = 6, w = 7;
  std::vector<double> p;  // 3 x h x w
  double at(int q, int y, int x) const {
    return y < 0 || y >= h || x < 0 || x >= w ? 0 : p[static_cast<std::size_t>((q * h + y) * w + x)];
  }
  double exists(int q, int y, int x, int top, int bottom, int left, int right,
                const std::function<double(int, int)>& where = {}) const {
    double best = 0;
    for (int v = y + top; v <= y + bottom; ++v)
      for (int u = x + left; u <= x + right; ++u)
        if (at(q, v, u) > 0) best = std::max(best, at(q, v, u) * (where ? where(v, u) : 1));
    return best;
  }
  double count(int q) const {
    double sum = 0;
    for (int y = 0; y < h; ++y)
      for (int x = 0; x < w; ++x) {
        bool top = true;
        for (int v = y - 1; v <= y + 1; ++v)
          for (int u = x - 1; u <= x + 1; ++u)
            if (at(q, v, u) > at(q, y, x)) top = false;
        if (top) sum += at(q, y, x);
      }
    return sum;
  }
};

double at_least(double c, int n) { return 1 / (1 + std::exp(-(c - n + 0.5) / 0.1)); }

// The maps of all rules on given detections.
std::vector<real> rule_maps(const RuleBase& base, const World& world) {
  Model m("rules", {1, static_cast<std::int32_t>(base.patterns.size()), world.h, world.w}, [&](GraphBuilder& g, Id x) {
    Geometry geometry;
    geometry.h.jump = geometry.w.jump = 4;
    return flatten(g, concat(g, build_rules(g, x, base, geometry), "maps"), "flatten");
  });
  Images images{m.image_shape(), {world.p.begin(), world.p.end()}};
  return predict(m, Engine(1), images);
}

World random_world(std::uint64_t seed) {
  World world;
  for (int i = 0; i < 3 * world.h * world.w; ++i)
    world.p.push_back(static_cast<double>(philox_uniform(seed, static_cast<std::uint64_t>(i))));
  return world;
}

// Red and green dots on grey: class 1 where the red one is left of the green one. The class is in no local pattern.
class Dots final : public data::Dataset {
 public:
  Dots(std::int64_t size, std::uint64_t seed) : size_(size), seed_(seed) {}
  std::int64_t size() const override { return size_; }
  Shape image_shape() const override { return {1, 3, 24, 32}; }
  int classes() const override { return 2; }
  int label(std::int64_t i) const override { return x(i, 0) < x(i, 1); }
  std::vector<std::string> point_names() const override { return {"red", "green"}; }
  std::vector<data::PointLabel> points(std::int64_t i) const override {
    return {{0, x(i, 0), y(i, 0)}, {1, x(i, 1), y(i, 1)}};
  }
  void image(std::int64_t i, float* chw) const override {
    for (int c = 0; c < 3; ++c)
      for (int v = 0; v < 24; ++v)
        for (int u = 0; u < 32; ++u) {
          float value = 0.1f * philox_uniform(derive_key(seed_, static_cast<std::uint64_t>(i)),
                                              static_cast<std::uint64_t>(100 + (c * 24 + v) * 32 + u));
          for (int q = 0; q < 2; ++q)
            if (std::hypot(static_cast<float>(u) + 0.5f - x(i, q), static_cast<float>(v) + 0.5f - y(i, q)) < 4 &&
                c == q)
              value = 1;
          chw[(c * 24 + v) * 32 + u] = value;
        }
  }

 private:
  float x(std::int64_t i, int q) const {
    const bool left =
        (philox_word(derive_key(seed_, static_cast<std::uint64_t>(i)), 0) & 1) == static_cast<std::uint32_t>(q);
    return (left ? 5.0f : 21.0f) +
           6 * philox_uniform(derive_key(seed_, static_cast<std::uint64_t>(i)), static_cast<std::uint64_t>(1 + q));
  }
  float y(std::int64_t i, int q) const {
    return 5 + 14 * philox_uniform(derive_key(seed_, static_cast<std::uint64_t>(i)), static_cast<std::uint64_t>(3 + q));
  }
  std::int64_t size_;
  std::uint64_t seed_;
};

data::TrainTest dots(std::int64_t train) {
  return {std::make_unique<Dots>(train, 1), std::make_unique<Dots>(200, 2), ""};
}

RuleBase order_rules() {
  return RuleBase::parse("pattern red\npattern green\nrule order: red if exists green right_of\n", "order.rules");
}

TrainOptions options(const std::string& out, int batch) {
  TrainOptions o;
  o.batch = batch;
  o.optimizer = Optimizer::adam;
  o.out = out;
  o.weight_decay = 0;
  return o;
}

}  // namespace

TEST_CASE("the rule language reads what it documents") {
  const RuleBase base = RuleBase::parse(
      "# comment\npattern disk\npattern square  # another\n\n"
      "rule pair: disk if exists square right_of(8..60) and not exists disk within(20)\n"
      "rule three weight 2: disk if count disk anywhere = 3\n"
      "rule row: disk if exists square right_of same_row(6) where (exists disk right_of(8..))\n"
      "rule alone: square unless exists disk within(20)\nrule plain: square\n",
      "test.rules");
  REQUIRE(base.patterns == std::vector<std::string>({"disk", "square"}));
  REQUIRE(base.rules.size() == 5);
  const RuleCondition& pair = base.rules[0].condition[0];
  CHECK(pair.kind == RuleCondition::all);
  CHECK(pair.parts[0].place.left == 8);
  CHECK(pair.parts[0].place.right == 60);
  CHECK(pair.parts[0].place.strictly_right);
  CHECK(pair.parts[1].kind == RuleCondition::negation);
  CHECK(pair.parts[1].text == "not exists disk within(20)");
  CHECK(base.rules[1].weight == 2);
  CHECK(base.rules[1].condition[0].at_least == 3);
  CHECK(base.rules[1].condition[0].at_most == 3);
  CHECK(base.rules[2].condition[0].parts.size() == 1);
  CHECK(base.rules[2].condition[0].place.top == -6);
  CHECK(base.rules[3].forbids);
  CHECK(base.rules[4].condition.empty());
}

TEST_CASE("mistakes in rules are named with file and line") {
  const auto refused = [](const std::string& line, const std::string& word) {
    test::refused([&] { RuleBase::parse(header + line, "my.rules"); }, word);
    test::refused([&] { RuleBase::parse(header + line, "my.rules"); }, "my.rules:4");
  };
  refused("rule r: d", "expected a pattern: a, b, c");
  refused("rule r a", "expected ':'");
  refused("rule r: a if", "found the end of the line");
  refused("rule r: a if exists b left_of(9..3)", "smaller first");
  refused("rule r: a if exists b near", "expected the end of the line");
  refused("rule r: a if count b within(3) = 1.5", "whole number");
  refused("rule r: a if count b within(3)", "one of = <");
  refused("rule r: a if (exists b", "expected ')'");
  refused("rule r: a if forall b within(3)", "expected 'where'");
  refused("rule a: b", "which is a pattern already");
  refused("rule r weight -1: a", "expected a weight");
  refused("pattern where", "expected a name");
  refused("ruel r: a", "expected 'pattern' or 'rule'");
  refused("rule r: a if " + std::string(200, '(') + "b", "64 deep");
  test::refused([] { RuleBase::parse("# nothing\n", "my.rules"); }, "names no pattern");
  test::refused([] { RuleBase::load("/no/such.rules"); }, "/no/such.rules: cannot be opened");
  test::refused([] { RuleBase::load("/"); }, "is not a file");
  const RuleBase narrow = RuleBase::parse(std::string(header) + "rule r: a if exists b right_of(1..3)", "my.rules");
  test::refused([&] { rule_maps(narrow, random_world(1)); }, "asks for no place");
}

TEST_CASE("rules mean what the definitions say") {
  const auto base = RuleBase::parse(std::string(header) +
                                        "rule right: a if exists b right_of(8..16)\n"
                                        "rule chain: a if exists b right_of where (exists c below(4..8) same_column)\n"
                                        "rule both weight 3: a if exists b above and not exists c within(4)\n"
                                        "rule either: a if exists b left_of or c\n"
                                        "rule clear: a unless exists b within(4)\n"
                                        "rule imp: a if exists b left_of implies exists c left_of\n"
                                        "rule every: a if forall b within(4) where (c)\n"
                                        "rule mid: a if between(b, c)\n"
                                        "rule some: a if count b anywhere >= 5\n"
                                        "rule exact: a if count b = 4\n"
                                        "rule few: a if count c < 6\n",
                                    "test.rules");
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const World o = random_world(seed);
    const std::vector<real> maps = rule_maps(base, o);
    const auto all = 9;  // farther than the map is wide
    for (int y = 0; y < o.h; ++y)
      for (int x = 0; x < o.w; ++x) {
        const double a = o.at(0, y, x), left_b = o.exists(1, y, x, -all, all, -all, -1),
                     left_c = o.exists(2, y, x, -all, all, -all, -1), c = o.at(2, y, x);
        const double right_b = o.exists(1, y, x, -all, all, 1, all), right_c = o.exists(2, y, x, -all, all, 1, all);
        const auto either = [](double p, double q) { return p + q - p * q; };
        const double expected[] = {
            a * o.exists(1, y, x, -all, all, 2, 4),
            a * o.exists(1, y, x, -all, all, 1, all, [&](int v, int u) { return o.exists(2, v, u, 1, 2, 0, 0); }),
            3 * a * o.exists(1, y, x, -all, -1, -all, all) * (1 - o.exists(2, y, x, -1, 1, -1, 1)),
            a * either(left_b, c),
            a * (1 - o.exists(1, y, x, -1, 1, -1, 1)),
            a * either(1 - left_b, left_c),
            a * (1 - o.exists(1, y, x, -1, 1, -1, 1, [&](int v, int u) { return 1 - o.at(2, v, u); })),
            a * either(left_b * right_c, left_c * right_b),
            a * at_least(o.count(1), 5),
            a * at_least(o.count(1), 4) * (1 - at_least(o.count(1), 5)),
            a * (1 - at_least(o.count(2), 6)),
        };
        for (std::size_t r = 0; r < std::size(expected); ++r) {
          CAPTURE(base.rules[r].name);
          CHECK(maps[r * 42 + static_cast<std::size_t>(y * o.w + x)] == doctest::Approx(expected[r]).epsilon(1e-4));
        }
      }
  }
}

TEST_CASE("rule maps move with the detections; names do not matter; a tautology changes nothing") {
  const std::string rule = "rule r: a if exists b right_of(4..8) and not exists c within(4)\n";
  World world;
  world.p.assign(3 * 42, 0);
  world.p[2 * 7 + 2] = 0.9;       // a
  world.p[42 + 3 * 7 + 4] = 0.8;  // b
  World moved = world;
  moved.p.assign(3 * 42, 0);
  moved.p[3 * 7 + 1] = 0.9;
  moved.p[42 + 4 * 7 + 3] = 0.8;
  const auto base = RuleBase::parse(header + rule, "r");
  const std::vector<real> here = rule_maps(base, world), there = rule_maps(base, moved);
  CHECK(here[2 * 7 + 2] == doctest::Approx(0.72));
  CHECK(there[3 * 7 + 1] == here[2 * 7 + 2]);
  const auto renamed = RuleBase::parse(
      "pattern x\npattern y\npattern z\nrule s: x if exists y right_of(4..8) and not exists z within(4)\n", "r");
  CHECK(rule_maps(renamed, world) == here);
  const auto truism = RuleBase::parse(std::string(header) + "rule t: a if b implies b or count c >= 0\n", "r");
  const World random = random_world(5);
  const std::vector<real> same = rule_maps(truism, random);
  for (std::size_t i = 0; i < 42; ++i) CHECK(same[i] >= random.p[i] * 0.99);
}

TEST_CASE("ReNN: the planted rule decides, where detections alone do not; reports and proofs say so" *
          doctest::test_suite("training")) {
  const test::Folder folder;
  const RuleBase rules = order_rules();
  const Job stop;
  const auto data = dots(100);
  RennOptions small;
  small.local_channels = 6;
  const auto trained = [&](bool without) {
    RennOptions o = small;
    o.without_rules = without;
    Model m = make_renn(rules, data.train->image_shape(), 2, o, 1);
    TrainOptions t = options(folder / (without ? "without.safetensors" : "with.safetensors"), 10);
    t.lr = 5e-3;
    const TrainResult r = train_renn(m, Engine(1), data, rules, t, {12, 12, 1}, {}, stop);
    const Model loaded = Model::load(t.out);
    CHECK(loaded.parameters == m.parameters);
    return std::pair{r.test_accuracy, std::move(m)};
  };
  auto [accuracy, model] = trained(false);
  CHECK(accuracy > 0.99);
  CHECK(trained(true).first < 0.65);
  CHECK(rules_of(model).text == rules.text);

  // Without a bias, the score is all relevance, and the rule's and the detections' sum up to it.
  for (const Value& v : model.graph().values)
    if (std::string(v.name) == "global.fc.bias")
      std::fill_n(model.parameters.begin() + v.offset, v.shape.size(), real{0});
  const Engine engine(1);
  Subject subject(model, engine, data.test.get());
  const RuleReport report = report_rules(subject, rules);
  REQUIRE(report.evidence.size() == 3);
  CHECK(report.evidence[0].name == "rule.order");
  CHECK(std::abs(report.to_bias) < 1e-4 * std::abs(report.score));
  CHECK(report.evidence[0].effect > 0.3);
  CHECK(report.evidence[0].share > 0.1);
  CHECK(report.evidence[0].fired == doctest::Approx(0.5).epsilon(0.2));
  CHECK(std::abs(report.evidence[1].effect) < 0.1);
  double shares = 0;
  for (const EvidenceReport& e : report.evidence) shares += e.share;
  CHECK(shares == doctest::Approx(1));
  for (const DetectionQuality& d : report.detections) CHECK(d.located > 0.95);

  std::int64_t positive = 0;
  while (data.test->label(positive) == 0) ++positive;
  Images image{model.image_shape(), std::vector<real>(static_cast<std::size_t>(model.image_shape().size()))};
  data.test->image(positive, image.data.data());
  const auto proofs = prove(model, Engine(1), rules, image);
  REQUIRE(proofs.size() == 1);
  const auto points = data.test->points(positive);
  CHECK(proofs[0].truth > 0.5);
  CHECK(std::abs(proofs[0].x - points[0].x) <= 4);
  CHECK(std::abs(proofs[0].y - points[0].y) <= 4);
  REQUIRE(proofs[0].parts.size() == 1);
  CHECK(proofs[0].parts[0].text == "exists green right_of");
  CHECK(std::abs(proofs[0].parts[0].x - points[1].x) <= 4);

  // As any other model: relevance of the input by the methods there are.
  ExplainRequest request;
  request.method = "deeplift";
  request.objective = Objective::of_class(1);
  const Explanation e = explain(model, Engine(1), image, request);
  double sum = 0;
  for (const real v : e.relevance) sum += static_cast<double>(v);
  CHECK(sum == doctest::Approx(e.score[0] - e.baseline_score[0]).epsilon(1e-3));
}

TEST_CASE("ReNN continues in any stage bit for bit, on any number of threads" * doctest::test_suite("training")) {
  const test::Folder folder;
  const RuleBase rules = order_rules();
  const auto data = dots(20);
  RennOptions small;
  small.local_channels = 4;
  const auto fresh = [&] { return make_renn(rules, data.train->image_shape(), 2, small, 3); };
  const Job never;
  Model whole = fresh();
  TrainOptions o = options(folder / "whole.safetensors", 6);
  train_renn(whole, Engine(1), data, rules, o, {2, 2, 1}, {}, never);
  for (int steps : {3, 9, 17}) {
    CAPTURE(steps);
    Model part = fresh();
    o = options(folder / "part.safetensors", 6);
    bool stop = false;
    int seen = 0;
    train_renn(
        part, Engine(2), data, rules, o, {2, 2, 1}, [&](int, const TrainProgress&) { stop = ++seen >= steps; },
        Job({}, [&] { return stop; }));
    Model again = fresh();
    o.resume = true;
    train_renn(again, Engine(2), data, rules, o, {2, 2, 1}, {}, never);
    CHECK(again.parameters == whole.parameters);
    CHECK(!std::filesystem::exists(o.out + ".state"));
    std::filesystem::remove(o.out);
  }
}

TEST_CASE("ReNN refuses what it cannot learn") {
  const RuleBase rules = order_rules();
  const auto data = dots(4);
  const Job stop;
  test::refused([&] { make_renn(rules, {1, 3, 8, 8}, 2, {}, 1); }, "at least 16 x 16");
  Model m = make_renn(rules, data.train->image_shape(), 2, {}, 1);
  TrainOptions o = options("refused.safetensors", 4);
  o.augment.flip = true;
  test::refused([&] { train_renn(m, Engine(1), data, rules, o, {}, {}, stop); }, "cannot be augmented");
  o.augment.flip = false;
  test::refused([&] { train_renn(m, Engine(1), data, rules, o, {0, 0, 0}, {}, stop); }, "at least one epoch");
  const RuleBase other = RuleBase::parse("pattern blue\n", "r");
  test::refused([&] { pattern_names(*data.train, other); }, "expected one of red, green");
  test::refused(
      [&] {
        rules_of(Model("plain", {1, 1, 4, 4}, [](GraphBuilder& g, Id x) { return flatten(g, x, "f"); }));
      },
      "carries no rules");
}

TEST_SUITE_END();
