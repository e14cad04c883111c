// Self-check of interpretable filters' kernels.
#include "selfcheck.h"

namespace vitrine::kernels::selfcheck {
namespace {

const Table<double>& truth() { return reference<double>(); }

template <class F>
void for_maps(std::uint64_t seed, const Levels& levels, F f) {
  for (int round = 0; round < 24; ++round)
    for (const Level& level : levels) {
      CAPTURE(round);
      CAPTURE(level.name);
      Random r(seed * 7919 + static_cast<std::uint64_t>(round));
      f(r, r.in(1, 5), r.in(1, 6), r.in(1, 9), r.in(1, 9), *level.table);
    }
}

// Maps after a ReLU; half of them have places that are equal but for rounding.
Floats maps(Random& r, std::int64_t n) {
  Floats x = random_floats(r, n);
  const bool ties = r.coin();
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = std::max(0.0f, x[i]);
    if (ties) x[i] = std::round(2 * x[i]) * (1 + 1e-7f * static_cast<float>(r.in(-2, 2)));
  }
  return x;
}

std::vector<std::int32_t> labels(Random& r, int images, int classes) {
  std::vector<std::int32_t> l;
  for (int n = 0; n < images; ++n) l.push_back(r.in(0, classes - 1));
  return l;
}

Floats near_one(Random& r, std::int64_t n) {
  Floats f = random_floats(r, n);
  for (std::int64_t i = 0; i < n; ++i) f[i] = 1 + f[i] / 4;
  return f;
}

}  // namespace

void check_template_gate(const Levels& levels) {
  for_maps(80, levels, [](Random& r, int images, int channels, int h, int w, const Kernels& k) {
    const std::int64_t planes = std::int64_t{images} * channels, n = planes * h * w;
    const Floats x = r.coin() ? maps(r, n) : random_floats(r, n), s = random_floats(r, n),
                 slope = near_one(r, channels);
    const bool add = r.coin(), centroid = r.coin();
    const Floats old = output(r, n, add);
    Floats got(old);
    const Doubles dx = widened(x), ds = widened(s), dslope = widened(slope), before = widened(old);
    Doubles want(before);
    const auto fill = [&](auto& a, const auto* px, const auto* ps, const auto* pslope, auto* y) {
      a.channels = channels, a.h = h, a.w = w, a.last = planes, a.centroid = centroid, a.add = add;
      a.x = px, a.s = ps, a.slope = pslope, a.y = y;
    };
    TemplateArgs<float> a;
    TemplateArgs<double> d;
    fill(a, x.data(), s.data(), slope.data(), got.data());
    fill(d, dx.data(), ds.data(), dslope.data(), want.data());
    a.last = planes / 2;
    k.template_gate(a);
    a.first = planes / 2, a.last = planes;
    k.template_gate(a);
    truth().template_gate(d);
    check_all(got, want,
              [&](std::size_t i) { return 4 * roundoff * (std::fabs(ds[i]) + (add ? std::fabs(before[i]) : 0)); });
  });
  // More maps than a device starts blocks: the block that comes to a second map must not mix the two.
  const std::int64_t planes = 4300;
  Floats x(2 * planes), y(2 * planes), slope(1);
  slope[0] = 0.25f;
  for (std::int64_t i = 0; i < planes; ++i) x[2 * i + i % 2] = 1, x[2 * i + (i + 1) % 2] = 0.5f;
  for (const Level& level : levels) {
    y.poison();
    TemplateArgs<float> a;
    a.h = 1, a.w = 2, a.last = planes, a.x = a.s = x.data(), a.slope = slope.data(), a.y = y.data();
    level.table->template_gate(a);
    // At the peak 1; beside it 1 - 4 * 0.25/2 = 1/2.
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < 2 * planes; ++i) wrong += !(y[i] == (x[i] == 1 ? 1.0f : 0.25f));
    CHECK(wrong == 0);
  }
  // Of equal ones the first is the peak: 1 - 4 * 0.25/4 * distance.
  Floats flat(4), gate(4);
  for (std::int64_t i = 0; i < 4; ++i) flat[i] = 1;
  for (const Level& level : levels) {
    gate.poison();
    TemplateArgs<float> a;
    a.h = 1, a.w = 4, a.x = a.s = flat.data(), a.slope = slope.data(), a.y = gate.data();
    level.table->template_gate(a);
    CHECK((gate[0] == 1 && gate[1] == 0.75f && gate[2] == 0.5f && gate[3] == 0.25f));
  }
}

void check_peak_gate(const Levels& levels) {
  for_maps(81, levels, [](Random& r, int images, int channels, int h, int w, const Kernels& k) {
    const std::int64_t planes = std::int64_t{images} * channels, n = planes * h * w;
    Floats x = random_floats(r, n);
    for (std::int64_t i = 0; i < n; ++i) x[i] = std::round(x[i] * 3);  // many ties
    const Floats s = random_floats(r, n);
    const bool add = r.coin();
    const Floats old = output(r, n, add);
    Floats got(old);
    const Doubles dx = widened(x), ds = widened(s), before = widened(old);
    Doubles want(before);
    const int radius = r.in(0, 3);
    const auto fill = [&](auto& a, const auto* px, const auto* ps, auto* y) {
      a.h = h, a.w = w, a.last = planes, a.radius = radius, a.add = add;
      a.x = px, a.s = ps, a.y = y;
    };
    PeakArgs<float> a;
    PeakArgs<double> d;
    fill(a, x.data(), s.data(), got.data());
    fill(d, dx.data(), ds.data(), want.data());
    a.last = planes / 2;
    k.peak_gate(a);
    a.first = planes / 2, a.last = planes;
    k.peak_gate(a);
    truth().peak_gate(d);
    check_all(got, want,
              [&](std::size_t i) { return 2 * roundoff * (std::fabs(ds[i]) + (add ? std::fabs(before[i]) : 0)); });
  });
}

void check_filter_state(const Levels& levels) {
  for_maps(82, levels, [](Random& r, int images, int channels, int h, int w, const Kernels& k) {
    const int classes = r.in(1, 4);
    const Floats x = maps(r, std::int64_t{images} * channels * h * w);
    const auto l = labels(r, images, classes);
    Floats statistics = maps(r, std::int64_t{classes} * channels), category = output(r, channels, false),
           slope = near_one(r, channels);
    const Doubles dx = widened(x);
    Doubles dstatistics = widened(statistics), dcategory(static_cast<std::size_t>(channels)), dslope = widened(slope);
    const bool by_sum = r.coin();
    const auto fill = [&](auto& a, const auto* px, auto* ps, auto* pc, auto* pw) {
      a.images = images, a.channels = channels, a.last = channels, a.h = h, a.w = w, a.classes = classes,
      a.by_sum = by_sum, a.slope_rate = 0.1f;
      a.x = px, a.labels = l.data(), a.statistics = ps, a.category = pc, a.slope = pw;
    };
    FilterStateArgs<float> a;
    FilterStateArgs<double> d;
    fill(a, x.data(), statistics.data(), category.data(), slope.data());
    fill(d, dx.data(), dstatistics.data(), dcategory.data(), dslope.data());
    k.filter_state(a);
    truth().filter_state(d);
    check_all(statistics, dstatistics, [&](std::size_t i) { return 8 * roundoff * (1 + std::fabs(dstatistics[i])); });
    for (int f = 0; f < channels; ++f) {
      const auto at = [&](int c) { return statistics[c * channels + f]; };
      int best = 0;
      for (int c = 1; c < classes; ++c) best = at(c) > at(best) ? c : best;
      CHECK(category[f] == static_cast<float>(best));
    }
    check_all(slope, dslope, [&](std::size_t i) { return 64 * roundoff * (1 + std::fabs(dslope[i])); });
  });
}

void check_filter_loss(const Levels& levels) {
  for_maps(83, levels, [](Random& r, int images, int channels, int h, int w, const Kernels& k) {
    const int classes = r.in(1, 3);
    const std::int64_t n = std::int64_t{images} * channels * h * w;
    const Floats x = maps(r, n), slope = near_one(r, channels);
    Floats category(channels);
    for (int f = 0; f < channels; ++f) category[f] = static_cast<float>(r.in(0, classes - 1));
    const auto l = labels(r, images, classes);
    const Doubles dx = widened(x), dslope = widened(slope), dcategory = widened(category),
                  share(static_cast<std::size_t>(classes), 1.0 / classes);
    Floats loss = output(r, channels, false), gradient = output(r, n, false);
    Doubles dloss(static_cast<std::size_t>(channels)), dgradient(dx.size());
    const bool released = r.coin(), all = r.coin(), centroid = r.coin();
    const auto fill = [&](auto& a, const auto* px, const auto* ps, const auto* pc, auto* pl, auto* pg) {
      a.images = images, a.channels = channels, a.h = h, a.w = w, a.classes = classes, a.released = released,
      a.all_templates = all, a.centroid = centroid;
      a.x = px, a.slope = ps, a.category = pc, a.labels = l.data(), a.share = share.data(), a.loss = pl,
      a.gradient = pg;
    };
    FilterLossArgs<float> a;
    FilterLossArgs<double> d;
    fill(a, x.data(), slope.data(), category.data(), loss.data(), gradient.data());
    fill(d, dx.data(), dslope.data(), dcategory.data(), dloss.data(), dgradient.data());
    run(k.filter_loss, a, r.coin());
    run(truth().filter_loss, d);
    check_all(loss, dloss, [&](std::size_t i) { return 4 * roundoff * (std::fabs(dloss[i]) + 1e-9); });
    // The whole gradient is a sum over all templates in float, whose terms are at most tau = 1/(2 places) times the
    // prior.
    const double terms = all && !released ? h * w + 1 : 1, place = all && !released ? 1.0 / (h * w) : 0;
    check_all(gradient, dgradient,
              [&](std::size_t i) { return 4 * terms * roundoff * (std::fabs(dgradient[i]) + place) + 1e-12; });
    a.loss = nullptr, a.gradient = nullptr;
    run(k.filter_loss, a);
  });
}

}  // namespace vitrine::kernels::selfcheck
