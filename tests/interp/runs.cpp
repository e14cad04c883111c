// What methods run on: objectives, passes, kept activations, scores, edits, ascent, parts; each against a truth that is
// known by construction.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "core/host/io/npy.h"
#include "interp/math/statistics.h"
#include "interp/predict/parts.h"
#include "interp/runs/activations.h"
#include "interp/runs/ascend.h"
#include "interp/runs/edit.h"
#include "interp/runs/pass.h"
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "tests/support/files.h"
#include "tests/support/several_nets.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

namespace {

Model planted(void (*body)(GraphBuilder&)) {
  Model m("planted", body);
  for (const Value& v : m.graph().values)
    if (v.kind == ValueKind::parameter) {
      const test::Values own = test::random_values(v.shape.size(), static_cast<std::uint64_t>(v.offset), 0.4);
      std::copy(own.begin(), own.end(), m.parameters.begin() + v.offset);
    }
  return m;
}

void conv_net(GraphBuilder& g) {
  const Id x = g.input({1, 2, 8, 8});
  Id h = relu(g, conv2d(g, x, {.out = 4, .kernel = 3, .padding = 1}, "conv1"), "relu1");
  h = relu(g, conv2d(g, max_pool(g, h, {.kernel = 2}, "pool"), {.out = 5, .kernel = 3, .padding = 1}, "conv2"),
           "relu2");
  g.output(linear(g, flatten(g, h, "flatten"), 3, "fc"));
}

void norm_net(GraphBuilder& g) {
  const Id x = g.input({1, 2, 6, 6});
  const Id h = relu(g, batch_norm(g, conv2d(g, x, {.out = 3, .kernel = 3, .bias = false}, "conv"), "norm"), "relu");
  g.output(linear(g, flatten(g, h, "flatten"), 3, "fc"));
}

Images noise(const Model& m, std::int32_t n, std::uint64_t seed) {
  const Shape s = m.image_shape().with_batch(n);
  return {s, test::random_values(s.size(), seed)};
}

// Images of noise, with labels in turn.
class Noise final : public data::Dataset {
 public:
  Noise(const Model& m, std::int64_t n, std::uint64_t seed = 5)
      : images_(noise(m, static_cast<std::int32_t>(n), seed)) {}
  std::int64_t size() const override { return images_.shape.n(); }
  Shape image_shape() const override { return images_.shape.with_batch(1); }
  int classes() const override { return 3; }
  int label(std::int64_t i) const override { return static_cast<int>(i % 3); }
  void image(std::int64_t i, float* chw) const override {
    const std::int64_t each = image_shape().size();
    std::copy_n(images_.data.begin() + i * each, each, chw);
  }

 private:
  Images images_;
};

// The values of nodes for one image, by the reference of a plain session.
std::vector<real> value_of(const Model& m, const std::string& node, const Images& x, const Given& given = {}) {
  const Engine engine(1);
  const Id v = m.graph().nodes[m.node(node)].out;
  PlanRequest request;
  request.graph = &m.graph();
  request.batch = x.shape.n();
  request.keep_values = {&v, 1};
  Session session(engine, request, m.parameters);
  given.give(session, 0, x.shape.n());
  session.forward(x.view());
  const HostTensor y = session.download(session.run().value(v));
  return {y.data, y.data + y.size()};
}

double number_at(Subject& subject, const Objective& o, const Images& x) {
  Scorer scorer(subject, o, {});
  return scorer.resolve({.x = x.view(), .objective = &o}).score[0];
}

Explanation by(Subject& subject, const char* method, const Objective& o, const Images& x,
               const std::map<std::string, std::string>& settings = {}, bool ledger = false) {
  ExplainRequest r;
  r.method = method;
  r.settings = settings;
  r.objective = o;
  r.ledger = ledger;
  return Explainer(subject, r).explain(x);
}

// Objectives of a network: a class, a difference, and units, maps and regions of an inner node.
std::vector<Objective> objectives(const Model& m, const std::string& node) {
  const std::int64_t scores = m.graph().shape(m.logits()).per_image();
  const Shape s = m.graph().shape(m.graph().nodes[m.node(node)].out);
  std::vector<Objective> all = {Objective::of_class(0), Objective::unit(m, node), Objective::unit(m, node, 1)};
  if (scores > 1) all.push_back(Objective::contrast({1}, {0}));
  if (s.pixels() > 1) {
    all.push_back(Objective::unit(m, node, 2, 1, 2));
    std::vector<float> mask(static_cast<std::size_t>(s.pixels()), 0);
    mask[1] = 1, mask[3] = 0.5f;
    all.push_back(Objective::region(m, node, 1, mask));
  }
  std::vector<real> direction(static_cast<std::size_t>(s.c()));
  for (std::size_t c = 0; c < direction.size(); ++c) direction[c] = static_cast<real>(c) - 1;
  all.push_back(Objective::direction(m, node, direction));
  return all;
}

double largest(const std::vector<real>& v) {
  double top = 0;
  for (const real x : v) top = std::max(top, std::abs(static_cast<double>(x)));
  return top;
}

}  // namespace

TEST_CASE("a job: shares of parts add up, and stopping throws") {
  std::vector<double> seen;
  const Job job([&](double s) { seen.push_back(s); }, {});
  const Job second = job.part(0.5, 1).part(0.5, 1);
  second.progress(0);
  second.progress(0.5);
  second.progress(1);
  CHECK(seen == std::vector<double>{0.75, 0.875, 1});
  CHECK_NOTHROW(job.check());
  CHECK_NOTHROW(Job().check());
  test::refused([] { Job({}, [] { return true; }).check(); }, "stopped");
  test::refused([] { Job({}, [] { return true; }).part(0, 0.5).quiet().check(); }, "stopped");
}

TEST_CASE("intervals and areas by their published values") {
  // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
  const auto holds = [](std::int64_t k, std::int64_t n, double low, double high) {
    const Interval i = wilson_interval(k, n);
    CHECK(std::abs(i.low - low) < 1e-4);
    CHECK(std::abs(i.high - high) < 1e-4);
  };
  holds(81, 263, 0.2553, 0.3662);
  holds(15, 148, 0.0624, 0.1605);
  holds(0, 20, 0, 0.1611);
  holds(1, 29, 0.0061, 0.1718);
  CHECK(wilson_interval(20, 20).high == 1);
  CHECK(wilson_interval(0, 0).high == 1);
  std::vector<double> absent = {3, 1, 2};
  CHECK(roc_area(std::vector<double>{4, 5}, absent) == 1);
  CHECK(roc_area(std::vector<double>{2}, absent) == doctest::Approx(0.5));
  CHECK(roc_area(std::vector<double>{2, 3}, absent) == doctest::Approx((1.5 + 2.5) / 6));
  CHECK(roc_area(std::vector<double>{}, absent) == 0.5);
  const Mean m = mean_interval(std::vector<double>{1, 2, 3, 4});
  CHECK(m.value == 2.5);
  CHECK(m.high - m.value == doctest::Approx(1.96 * std::sqrt(5.0 / 3) / 2).epsilon(1e-3));
}

TEST_CASE("what is peeked at is the run's own, what is downloaded stays; sizes are checked") {
  const Model m = planted(conv_net);
  const Engine engine(1);
  const Id v = m.logits();
  PlanRequest request;
  request.graph = &m.graph();
  request.keep_values = {&v, 1};
  std::unique_ptr<Session> session;
  {
    const std::vector<Id> gone = {v};  // the session keeps its own copy of the request's arrays
    request.keep_values = gone;
    session = std::make_unique<Session>(engine, request, m.parameters);
  }
  const Images x = noise(m, 1, 1), y = noise(m, 1, 2);
  session->forward(x.view());
  const HostTensor kept = session->download(session->run().value(v));
  const std::vector<real> first(kept.data, kept.data + kept.size());
  session->forward(y.view());
  CHECK(std::equal(first.begin(), first.end(), kept.data));
  const HostTensor now = session->peek(session->run().value(v));
  CHECK(!std::equal(first.begin(), first.end(), now.data));
  test::refused([&] { session->upload(session->run().value(v), std::vector<real>(2)); }, "3 numbers");
  Storage storage(engine, 4);
  test::refused([&] { storage.upload(std::vector<real>(5)); }, "4 numbers");
  std::vector<real> five(5);
  test::refused([&] { storage.download(five); }, "4 numbers");
}

TEST_CASE("objectives as texts") {
  Model m = planted(conv_net);
  m.class_names = {"cat", "t-shirt", "cat-dog"};
  const auto name = [&](const char* text) { return Objective::parse_target(m, text, std::vector<int>{2, 0}).name(); };
  CHECK(name("2") == "class 2");
  CHECK(name("t-shirt") == "class 1");  // a whole name before a difference
  CHECK(name("cat-dog") == "class 2");
  CHECK(name("cat-t-shirt") == "class 0 - class 1");
  CHECK(name("predicted") == "predicted");
  CHECK(name("predicted-label") == "predicted - a class per image");
  test::refused([&] { Objective::parse_target(m, "dog"); }, "--target dog");
  test::refused([&] { Objective::parse_target(m, "label"); }, "--data");
  test::refused([&] { Objective::parse_target(m, "-1"); }, "--target -1");
  test::refused([&] { Objective::of_class(3).check(m, 1); }, "target 3 is no class");
  test::refused([&] { Objective::classes({0, 1}).check(m, 3); }, "2 images");
  CHECK(Objective::parse(m, "conv2").name() == "conv2");
  CHECK(Objective::parse(m, "conv2:4@3,1").name() == "conv2:4@3,1");
  test::refused([&] { Objective::parse(m, "conv9:1"); }, "conv9");
  test::refused([&] { Objective::parse(m, "conv2:5"); }, "channels 0 to 4");
  test::refused([&] { Objective::parse(m, "conv2:1@4,0"); }, "4 x 4");
  test::refused([&] { Objective::parse(m, "conv2:x"); }, "NODE:CHANNEL");
  const test::Folder folder;
  const float mask[16] = {0, 1};
  io::write_npy(folder / "mask.npy", {4, 4}, mask);
  const Objective region = Objective::parse(m, "conv2:1@" + (folder / "mask.npy"));
  const Images x = noise(m, 1, 3);
  const std::vector<real> conv2 = value_of(m, "conv2", x);
  const Engine engine(1);
  Subject subject(m, engine);
  CHECK(number_at(subject, region, x) == doctest::Approx(conv2[16 + 1]).epsilon(1e-5));
  io::write_npy(folder / "small.npy", {2, 2}, mask);
  test::refused([&] { Objective::parse(m, "conv2:1@" + (folder / "small.npy")); }, "the mask has 4 numbers");
  const std::int64_t classes[] = {1, 2};
  io::write_npy(folder / "t.npy", {2}, classes);
  const Explanation e = by(subject, "gradient", Objective::parse_target(m, folder / "t.npy"), noise(m, 2, 4));
  CHECK(e.target == std::vector<int>{1, 2});
}

TEST_CASE("every objective of every kind of network: gradient, relevance and multipliers") {
  struct Case {
    void (*body)(GraphBuilder&);
    const char* node;
  };
  for (const Case& c : {Case{conv_net, "conv2"}, Case{test::unet_net, "up1"}, Case{test::unet_net, "map"},
                        Case{test::one_logit_net, "conv1"}, Case{test::two_by_two_net, "conv2"},
                        Case{test::two_by_two_net, "code_fc"}}) {
    const Model m = planted(c.body);
    const Engine engine(2);
    Subject subject(m, engine);
    if (m.graph().inputs.size() > 1) {
      const Shape side = m.graph().shape(m.graph().inputs[1]);
      subject.give(Given(m, {{1, {side, test::random_values(side.size(), 8)}}}));
    }
    const Images x = noise(m, 1, 7);
    for (const Objective& o : objectives(m, c.node)) {
      CAPTURE(std::string(c.node));
      CAPTURE(o.name());
      const double number = number_at(subject, o, x);
      // The gradient against differences of the number itself, along directions in which no ReLU or pool has a kink.
      const Explanation g = by(subject, "gradient", o, x);
      CHECK(g.score[0] == doctest::Approx(number).epsilon(1e-4));
      int smooth = 0;
      for (std::uint64_t k = 0; k < 8; ++k) {
        const test::Values d = test::random_values(x.shape.size(), 20 + k);
        Images plus = x, minus = x;
        double slope = 0;
        constexpr real h = 1e-3f;
        for (std::size_t i = 0; i < d.size(); ++i) {
          plus.data[i] += h * d[i], minus.data[i] -= h * d[i];
          slope += static_cast<double>(g.relevance[i]) * static_cast<double>(d[i]);
        }
        const double up = (number_at(subject, o, plus) - number) / double{h},
                     down = (number - number_at(subject, o, minus)) / double{h};
        if (std::abs(up - down) > 0.02 * (1 + std::abs(slope))) continue;
        ++smooth;
        CHECK(std::abs(slope - (up + down) / 2) < 0.02 * (1 + std::abs(slope)));
      }
      CHECK(smooth >= 2);
      // LRP: what arrives at the input and what was absorbed is the number.
      const Explanation r = by(subject, "lrp", o, x, {{"composite", "uniform-epsilon"}}, true);
      double absorbed = 0;
      for (const LedgerRow& row : r.ledger) absorbed += row.absorbed_by_bias + row.absorbed_by_stabiliser;
      if (m.graph().inputs.size() == 1)  // other inputs take relevance that is not asked for
        CHECK(r.sum(0) + absorbed == doctest::Approx(number).epsilon(2e-3));
      CHECK(r.score[0] == doctest::Approx(number).epsilon(1e-4));
      // DeepLIFT: complete, also where other inputs are given.
      const Explanation l = by(subject, "deeplift", o, x);
      CHECK(l.sum(0) == doctest::Approx(l.score[0] - l.baseline_score[0]).epsilon(2e-3));
    }
  }
}

TEST_CASE("perturbation and maps take objectives, too") {
  const Model m = planted(conv_net);
  const Engine engine(1);
  Subject subject(m, engine);
  const Images x = noise(m, 1, 7);
  const Objective o = Objective::unit(m, "conv2", 3, 1, 1);
  // One window over everything: the fall is that to the blank image.
  Images blank = x;
  std::fill(blank.data.begin(), blank.data.end(), real{0});
  const Explanation e = by(subject, "occlusion", o, x, {{"window", "8"}, {"stride", "8"}});
  CHECK(e.relevance[5] == doctest::Approx(number_at(subject, o, x) - number_at(subject, o, blank)).epsilon(1e-4));
  // A window that the unit cannot see changes nothing.
  const Explanation far = by(subject, "occlusion", o, x, {{"window", "1"}, {"stride", "1"}});
  CHECK(std::abs(far.relevance[63]) < 1e-6);
  CHECK(largest(far.relevance) > 1e-4);
  CHECK(largest(by(subject, "grad-cam", o, x, {{"node", "relu1"}}).relevance) >= 0);
  test::refused([&] { by(subject, "grad-cam", o, x, {{"node", "relu2"}}); }, "does not lead");
}

TEST_CASE("an objective before a batch norm keeps its value when norms are merged") {
  const Model m = planted(norm_net);
  const Engine engine(1);
  Subject subject(m, engine);
  const Images x = noise(m, 1, 2);
  CHECK(&subject.merged() != &m);
  CHECK(&subject.merged({"conv"}) == &m);  // its only norm has to stay
  CHECK(&subject.merged({"norm"}) == &subject.merged());
  for (const char* node : {"conv", "norm", "relu"}) {
    CAPTURE(std::string(node));
    const Objective o = Objective::unit(m, node, 1, 2, 2);
    CHECK(number_at(subject, o, x) == doctest::Approx(value_of(m, node, x)[16 + 2 * 4 + 2]).epsilon(1e-4));
  }
}

TEST_CASE("methods of one subject share sessions") {
  const Model m = planted(conv_net);
  const Engine engine(1);
  Subject subject(m, engine);
  const Images x = noise(m, 2, 7);
  ExplainRequest r;
  const Explanation alone = explain(m, engine, x, r);
  Explainer gradient(subject, r);
  const std::size_t one = subject.shared_sessions();
  r.method = "input-x-gradient";
  Explainer product(subject, r);
  CHECK(one == 1);
  CHECK(subject.shared_sessions() == 1);
  const Explanation g = gradient.explain(x), p = product.explain(x);
  CHECK(g.relevance == alone.relevance);
  for (std::size_t i = 0; i < x.data.size(); ++i) CHECK(p.relevance[i] == x.data[i] * g.relevance[i]);
  CHECK(gradient.explain(x).relevance == g.relevance);
}

TEST_CASE("activations of a data set: the same in memory, in a file, from the cache, and continued after a stop") {
  const Model m = planted(conv_net);
  const Engine engine(2);
  const Noise data(m, 70);
  const test::Folder folder;
  Probe probe{.nodes = {"relu1", "fc"}, .gradient_of = Objective::of_class(1)};
  Subject subject(m, engine, &data);
  const ActivationStore memory = ActivationStore::collect(subject, probe, {});
  REQUIRE(memory.images() == 70);
  Images one{m.image_shape(), std::vector<real>(static_cast<std::size_t>(m.image_shape().size()))};
  for (const std::int64_t n : {0, 33, 69}) {
    data.image(n, one.data.data());
    const std::vector<real> relu1 = value_of(m, "relu1", one);
    for (std::size_t i = 0; i < relu1.size(); ++i)
      CHECK(memory.map(0, n)[i] == doctest::Approx(relu1[i]).epsilon(1e-4));
    CHECK(memory.labels()[static_cast<std::size_t>(n)] == n % 3);
    const std::span<const real> d = memory.gradient(1, n);
    CHECK(std::vector<real>(d.begin(), d.end()) == std::vector<real>{0, 1, 0});
  }
  std::vector<real> unit(70 * 64);
  memory.unit(0, 2, unit);
  CHECK(unit[64 * 33 + 5] == memory.map(0, 33)[2 * 64 + 5]);
  CHECK(memory.rows(1)(69, 2) == static_cast<double>(memory.map(1, 69)[2]));

  // Stopped after the first batch, then continued: nothing is run twice.
  int asked = 0;
  const Job stopped(
      {}, [&] { return ++asked > 1; }, folder / "cache");
  test::refused([&] { ActivationStore::collect(subject, probe, stopped); }, "stopped");
  const Job cached({}, {}, folder / "cache");
  const std::int64_t before = subject.runs().forward;
  const ActivationStore continued = ActivationStore::collect(subject, probe, cached);
  CHECK(subject.runs().forward - before < 70);
  CHECK(!continued.reused());
  const std::int64_t after = subject.runs().forward;
  const ActivationStore again = ActivationStore::collect(subject, probe, cached);
  CHECK(again.reused());
  CHECK(subject.runs().forward == after);
  Subject tight(m, engine, &data, 1 << 12);  // more than the budget: a nameless file
  const ActivationStore file = ActivationStore::collect(tight, probe, {});
  for (std::int64_t n = 0; n < 70; ++n)
    for (std::size_t node = 0; node < 2; ++node)
      for (const ActivationStore* other : {&continued, &again, &file}) {
        const auto a = memory.map(node, n), b = other->map(node, n);
        CHECK(std::equal(a.begin(), a.end(), b.begin(), [](real u, real v) { return std::abs(u - v) <= 1e-5f; }));
      }
  // Another network, other images, another probe: other files. A damaged one is made anew.
  Model other = planted(conv_net);
  other.parameters[3] += 1;
  Subject changed(other, engine, &data);
  CHECK(!ActivationStore::collect(changed, probe, cached).reused());
  probe.pool = Probe::Pool::maximum;
  const ActivationStore pooled = ActivationStore::collect(subject, probe, cached);
  CHECK(!pooled.reused());
  CHECK(pooled.map(0, 4)[1] == *std::max_element(memory.map(0, 4).begin() + 64, memory.map(0, 4).begin() + 128));
  for (const auto& entry : std::filesystem::directory_iterator(folder / "cache"))
    std::filesystem::resize_file(entry.path(), 1000);
  CHECK(!ActivationStore::collect(subject, probe, cached).reused());
  probe.nodes = {"nowhere"};
  test::refused([&] { ActivationStore::collect(subject, probe, cached); }, "nowhere");
}

TEST_CASE("edits: a silent channel, another map, a direction; everything before them stays") {
  const Model m = planted(conv_net);
  const Engine engine(1);
  const Noise data(m, 3);
  Subject subject(m, engine, &data);
  const Id relu2 = m.node("relu2"), value = subject.value("relu2"), before = subject.value("relu1"),
           scores = m.logits();
  Edit edit({relu2});
  std::vector<std::vector<real>> values, changed;
  const Pass p{.keep = {before, value, scores}, .observer = &edit};
  const auto run = [&](std::vector<std::vector<real>>& to) {
    to.clear();
    pass(subject, p, {}, [&](const PassBatch& b) {
      for (const Id v : p.keep) {
        const HostTensor t = b.session.peek(b.session.run().value(v));
        to.emplace_back(t.data, t.data + t.size());
      }
    });
  };
  run(values);
  edit.ablate(relu2, 1, 2);
  run(changed);
  CHECK(changed[0] == values[0]);
  for (std::size_t i = 0; i < 16; ++i) {
    CHECK(changed[1][i] == values[1][i]);
    CHECK(changed[1][16 + i] == 0);
    CHECK(changed[1][32 + i] == 0);
  }
  CHECK(changed[2] != values[2]);
  const Shape map = m.graph().shape(value);
  const Storage ones(engine, std::vector<real>(static_cast<std::size_t>(map.size()), real{1}));
  edit.clear();
  edit.add(relu2, {ones.data(), map}, 2);
  run(changed);
  for (std::size_t i = 0; i < changed[1].size(); ++i) CHECK(changed[1][i] == values[1][i] + 2);
  edit.clear();
  edit.replace(relu2, {ones.data(), map});
  run(changed);
  for (const real v : changed[1]) CHECK(v == 1);
  edit.clear();
  run(changed);
  CHECK(changed[2] == values[2]);
  edit.ablate(relu2, 4, 2);
  test::refused([&] { run(changed); }, "fewer channels");
}

TEST_CASE("scores of masked images, as logits, probabilities and log odds") {
  const Model m = planted(conv_net);
  const Engine engine(1);
  Subject subject(m, engine);
  const Images x = noise(m, 1, 7);
  const Objective o = Objective::of_class(1);
  Images off = x;
  for (real& v : off.data) v = 0.5f;
  const Segments grid = grid_segments(x.shape, 4, 8);
  REQUIRE(grid.count == 2);
  // Nothing kept, the upper half, everything.
  const std::vector<bool> keep = {false, false, true, false, true, true};
  Images upper = x;
  for (std::size_t i = 0; i < x.data.size(); ++i)
    if (i % 64 >= 32) upper.data[i] = 0.5f;
  for (const Score score : {Score::logit, Score::probability, Score::log_odds}) {
    const Objective by = o.with_score(score);
    const Query q{.x = x.view(), .objective = &by};
    Scorer scorer(subject, by, {});
    const Target target = scorer.resolve(q).target[0];
    const std::vector<double> s = scorer.run_masks(q, target, grid, keep, off.view(), {});
    const auto expected = [&](const Images& image) {
      const std::vector<real> y = value_of(m, "fc", image);
      double total = 0;
      for (const real v : y) total += std::exp(double{v});
      const double probability = std::exp(double{y[1]}) / total;
      return score == Score::logit         ? double{y[1]}
             : score == Score::probability ? probability
                                           : std::log(probability / (1 - probability));
    };
    CHECK(s[0] == doctest::Approx(expected(off)).epsilon(1e-4));
    CHECK(s[1] == doctest::Approx(expected(upper)).epsilon(1e-4));
    CHECK(s[2] == doctest::Approx(expected(x)).epsilon(1e-4));
  }
  test::refused([&] { Objective::unit(m, "conv1").with_score(Score::probability); }, "probability is a class's");
}

TEST_CASE("ascent finds the top of a known hill, inside its box") {
  Model m("linear", [](GraphBuilder& g) {
    const Id x = g.input({1, 1, 2, 2});
    g.output(linear(g, flatten(g, x, "flatten"), 2, "fc"));
  });
  const real w[] = {1, -2, 0, 3, 0, 0, 0, 0};
  for (const Value& v : m.graph().values)
    if (std::string(v.name) == "fc.weight") std::copy_n(w, 8, m.parameters.begin() + v.offset);
  const Engine engine(1);
  Subject subject(m, engine);
  AscendOptions o;
  o.steps = 60;
  o.rate = 0.1;
  o.project = [](int, const TensorView& x) {
    for (std::int64_t i = 0; i < x.size(); ++i) x.data[i] = std::clamp(x.data[i], real{-1}, real{1});
  };
  const Images start{{2, 1, 2, 2}, {0, 0, 0.25f, 0, 0.5f, 0.5f, 0.5f, 0.5f}};
  for (const auto step : {AscendOptions::Step::gradient, AscendOptions::Step::sign, AscendOptions::Step::adam}) {
    o.step = step;
    const Ascent a = ascend(subject, Objective::of_class(0), start, o, {});
    REQUIRE(a.numbers.size() == 61);
    CHECK(a.numbers.back()[0] == doctest::Approx(6).epsilon(0.01));
    CHECK(a.numbers.back()[1] == doctest::Approx(6).epsilon(0.01));
    CHECK(a.x.data[2] == 0.25f);  // no weight, no move
    for (std::size_t k = 1; k < a.numbers.size(); ++k) CHECK(a.numbers[k][0] >= a.numbers[k - 1][0] - 1e-6);
  }
  test::refused([&] { ascend(subject, Objective::of_class(0), start, o, Job({}, [] { return true; })); }, "stopped");
}

TEST_CASE("explanations in parts: one call, shards, and a call that continues give the same bytes") {
  const Model m = planted(conv_net);
  const Engine engine(2);
  const Noise data(m, 150);
  Subject subject(m, engine, &data);
  ExplainRequest r;
  r.method = "lrp";
  r.ledger = true;
  const test::Folder folder;
  const auto source = data::open_source(m, data, "noise");
  std::vector<real> whole;
  explain_in_parts(subject, r, *source, 0, {}, [&](std::int64_t, const Images&, const Explanation& e) {
    whole.insert(whole.end(), e.relevance.begin(), e.relevance.end());
  });
  explain_to_folder(subject, r, *source, 0, folder / "one", {}, {});
  for (std::int64_t k = 2; k >= 0; --k) explain_to_folder(subject, r, *source, 0, folder / "shards", {k, 3}, {});
  // Stopped in the second part: the first stays, and is not made again.
  int parts = 0;
  const auto count = [&](std::int64_t, const Images&, const Explanation&) { ++parts; };
  test::refused(
      [&] {
        explain_to_folder(subject, r, *source, 0, folder / "stopped", {}, Job({}, [&] { return parts > 0; }), count);
      },
      "stopped");
  CHECK(parts == 1);
  explain_to_folder(subject, r, *source, 0, folder / "stopped", {}, {}, count);
  CHECK(parts == 3);
  for (const char* name : {"one", "shards", "stopped"}) {
    CAPTURE(std::string(name));
    const MergedParts merged = merge_parts(folder / name);
    CHECK(merged.images == 150);
    CHECK(io::read_npy(merged.relevance).floats() == whole);
    CHECK(test::read(merged.index) == test::read(folder / "one/relevance.json"));
  }
  // Of something else: refused. A part that is gone: named.
  r.method = "gradient";
  test::refused([&] { explain_to_folder(subject, r, *source, 0, folder / "one", {}, {}); }, "method lrp");
  r.method = "lrp";
  r.settings = {{"composite", "uniform-epsilon"}};
  test::refused([&] { explain_to_folder(subject, r, *source, 0, folder / "one", {}, {}); }, "other settings");
  std::filesystem::remove(folder / "one/part-00001-of-00003.json");
  test::refused([&] { merge_parts(folder / "one"); }, "part-00001-of-00003 is missing");
  test::write(folder / "shards/part-00000-of-00003.json", "{\"schema\":\"vitrine-part/1\"}");
  test::refused([&] { merge_parts(folder / "shards"); }, "part-00000-of-00003.json: lacks a key");
  test::refused([&] { merge_parts(folder / "nowhere"); }, "holds no part");
}

TEST_SUITE_END();
