// Self-check of normalisations and resampling.
#include "selfcheck.h"

namespace vitrine::kernels::selfcheck {
namespace {

const Table<double>& truth() { return reference<double>(); }

struct Extent {
  int images, channels, pixels;
  std::int64_t size() const { return std::int64_t{images} * channels * pixels; }
};

template <class F>
void for_extents(std::uint64_t seed, const Levels& levels, F f) {
  // The last one is shared among several blocks by a device.
  for (int pixels : {1, 3, 8, 15, 16, 17, 33, 49, 196, 2501}) {
    for (int round = 0; round < (pixels > 1000 ? 2 : 6); ++round) {
      CAPTURE(pixels);
      CAPTURE(round);
      for (const Level& level : levels) {
        CAPTURE(level.name);
        Random r(seed * 7919 + static_cast<std::uint64_t>(pixels * 10 + round));
        const Extent e{r.in(1, 4), r.in(1, 6), pixels};
        f(r, e, *level.table);
      }
    }
  }
}

double largest(const Doubles& d) {
  double m = 0;
  for (double v : d) m = std::max(m, std::fabs(v));
  return m;
}

Floats positive_floats(Random& r, std::int64_t n) {
  Floats f = random_floats(r, n);
  for (std::int64_t i = 0; i < n; ++i) f[i] = 0.1f + std::fabs(f[i]);
  return f;
}

}  // namespace

void check_channel_affine(const Levels& levels) {
  for_extents(60, levels, [](Random& r, const Extent& e, const Kernels& k) {
    const Floats x = random_floats(r, e.size()), scale = random_floats(r, e.channels),
                 shift = random_floats(r, e.channels);
    const bool add = r.coin(), with_scale = r.coin(), with_shift = r.coin(), with_x = r.in(0, 3) > 0;
    const Floats old = output(r, e.size(), add);
    Floats got(old), cut(old);
    const Doubles dx = widened(x), dscale = widened(scale), dshift = widened(shift), before = widened(old);
    Doubles want(before);
    const auto fill = [&](auto& a, const auto* px, const auto* pscale, const auto* pshift, auto* y) {
      a.planes = std::int64_t{e.images} * e.channels;
      a.channels = e.channels;
      a.pixels = e.pixels;
      a.x = with_x ? px : nullptr;
      a.scale = with_scale ? pscale : nullptr;
      a.shift = with_shift ? pshift : nullptr;
      a.y = y;
      a.add = add;
    };
    ChannelAffineArgs<float> a;
    ChannelAffineArgs<double> d;
    a.x_sub = d.x_sub = random_substitute(r);
    fill(a, x.data(), scale.data(), shift.data(), got.data());
    fill(d, dx.data(), dscale.data(), dshift.data(), want.data());
    k.channel_affine(a);
    truth().channel_affine(d);
    check_all(got, want, [&](std::size_t i) {
      return 4 * roundoff * (8 + std::fabs(want[i]) + (add ? std::fabs(before[i]) : 0));
    });
    a.y = cut.data();
    a.planes = std::int64_t{e.images} * e.channels / 2;
    k.channel_affine(a);
    a.first = a.planes;
    a.planes = std::int64_t{e.images} * e.channels - a.first;
    k.channel_affine(a);
    CHECK_MESSAGE(cut.same_bits(got), "the cut into planes matters");
  });
}

void check_norm_coefficients(const Levels& levels) {
  for_extents(61, levels, [](Random& r, const Extent& e, const Kernels& k) {
    const int n = e.pixels;
    const Floats gamma = random_floats(r, n), beta = random_floats(r, n), mean = random_floats(r, n),
                 var = positive_floats(r, n);
    const Doubles g = widened(gamma), b = widened(beta), m = widened(mean), v = widened(var);
    const Substitute w = random_substitute(r), s = random_substitute(r);
    Floats scale = output(r, n, false), shift = output(r, n, false);
    Doubles want_scale(g.size()), want_shift(g.size());
    k.norm_coefficients(gamma.data(), beta.data(), mean.data(), var.data(), 1e-5f, w, s, scale.data(), shift.data(), n);
    truth().norm_coefficients(g.data(), b.data(), m.data(), v.data(), 1e-5f, w, s, want_scale.data(), want_shift.data(),
                              n);
    check_all(scale, want_scale, [&](std::size_t i) { return 12 * roundoff * std::fabs(want_scale[i]); });
    // The shift is a difference, then perhaps squared.
    check_all(shift, want_shift, [&](std::size_t i) {
      const double size = std::fabs(b[i]) + std::fabs(m[i] * g[i]) / std::sqrt(v[i]);
      return 16 * roundoff * (size + size * size);
    });
    k.norm_coefficients(gamma.data(), beta.data(), mean.data(), var.data(), 1e-5f, w, s, nullptr, shift.data(), n);
    k.norm_coefficients(gamma.data(), beta.data(), mean.data(), var.data(), 1e-5f, w, s, scale.data(), nullptr, n);
  });
}

void check_batch_norm_forward(const Levels& levels) {
  for_extents(62, levels, [](Random& r, const Extent& e, const Kernels& k) {
    Floats x = random_floats(r, e.size());
    const float offset = r.coin() ? 30.0f : 0.0f;  // a mean far from 0 must not eat the variance
    for (std::int64_t i = 0; i < x.size(); ++i) x[i] += offset;
    const Floats gamma = random_floats(r, e.channels), beta = random_floats(r, e.channels),
                 residual = random_floats(r, e.size());
    const bool with_residual = r.coin(), relu = r.coin();
    Floats running_mean = random_floats(r, e.channels), running_var = positive_floats(r, e.channels);
    Floats y = output(r, e.size(), false), mean = output(r, e.channels, false), inv = output(r, e.channels, false);
    const Doubles dx = widened(x), dgamma = widened(gamma), dbeta = widened(beta);
    Doubles drm = widened(running_mean), drv = widened(running_var), dy(dx.size()), dmean(dgamma.size()),
            dinv(dgamma.size());
    const auto fill = [&](auto& a, const auto* px, const auto* g, const auto* b, auto* m, auto* v, auto* out, auto* rm,
                          auto* rv) {
      a.images = e.images, a.channels = e.channels, a.pixels = e.pixels, a.last = e.channels;
      a.eps = 1e-3f;
      a.x = px, a.gamma = g, a.beta = b, a.mean = m, a.inv_std = v, a.y = out, a.running_mean = rm, a.running_var = rv;
    };
    BatchNormArgs<float> a;
    BatchNormArgs<double> d;
    fill(a, x.data(), gamma.data(), beta.data(), mean.data(), inv.data(), y.data(), running_mean.data(),
         running_var.data());
    fill(d, dx.data(), dgamma.data(), dbeta.data(), dmean.data(), dinv.data(), dy.data(), drm.data(), drv.data());
    const Doubles wide_residual = widened(residual);
    a.relu = d.relu = relu;
    if (with_residual) a.residual = residual.data(), d.residual = wide_residual.data();
    const std::int64_t middle = e.channels / 2;
    a.last = middle;
    k.batch_norm_forward(a);
    a.first = middle, a.last = e.channels;
    k.batch_norm_forward(a);
    truth().batch_norm_forward(d);
    const double n = e.images * e.pixels, size = largest(dx);
    check_all(mean, dmean, [&](std::size_t) { return (n + 2) * roundoff * size; });
    check_all(inv, dinv, [&](std::size_t i) { return (n + 8) * roundoff * dinv[i] * (1 + dinv[i] * dinv[i] * size); });
    check_all(running_mean, drm, [&](std::size_t) { return (n + 4) * roundoff * (size + 3); });
    check_all(running_var, drv, [&](std::size_t) { return (n + 8) * roundoff * (4 + 2 * size); });
    check_all(y, dy, [&](std::size_t i) {
      const std::size_t c = i / static_cast<std::size_t>(e.pixels) % static_cast<std::size_t>(e.channels);
      return (n + 16) * roundoff *
             (std::fabs(dgamma[c]) * dinv[c] * (size + 3) * (1 + dinv[c] * dinv[c]) + std::fabs(dy[i]) + 2);
    });
  });
}

void check_batch_norm_backward(const Levels& levels) {
  for_extents(63, levels, [](Random& r, const Extent& e, const Kernels& k) {
    const Floats x = random_floats(r, e.size()), dy = random_floats(r, e.size()), gamma = random_floats(r, e.channels);
    Floats mean = random_floats(r, e.channels), inv = positive_floats(r, e.channels);
    const bool constant = r.coin(), add = r.coin(), with_dx = r.in(0, 3) > 0, with_parameters = r.coin();
    Floats dx = output(r, e.size(), add), dgamma = output(r, e.channels, add), dbeta = output(r, e.channels, !add);
    const Doubles wx = widened(x), wdy = widened(dy), wgamma = widened(gamma);
    Doubles wmean = widened(mean), winv = widened(inv), want_dx = widened(dx), want_dgamma = widened(dgamma),
            want_dbeta = widened(dbeta);
    const auto fill = [&](auto& a, const auto* px, const auto* pdy, const auto* g, auto* m, auto* v, auto* out,
                          auto* dg, auto* db) {
      a.images = e.images, a.channels = e.channels, a.pixels = e.pixels, a.last = e.channels;
      a.x = px, a.dy = pdy, a.gamma = g, a.mean = m, a.inv_std = v, a.dx = with_dx ? out : nullptr;
      a.dgamma = with_parameters ? dg : nullptr, a.dbeta = with_parameters ? db : nullptr;
      a.add_dx = add, a.add_dgamma = add, a.add_dbeta = !add, a.constant = constant;
    };
    BatchNormArgs<float> a;
    BatchNormArgs<double> d;
    fill(a, x.data(), dy.data(), gamma.data(), mean.data(), inv.data(), dx.data(), dgamma.data(), dbeta.data());
    fill(d, wx.data(), wdy.data(), wgamma.data(), wmean.data(), winv.data(), want_dx.data(), want_dgamma.data(),
         want_dbeta.data());
    k.batch_norm_backward(a);
    truth().batch_norm_backward(d);
    const double n = e.images * e.pixels;
    const auto close = [&](double size) { return [size, n](std::size_t) { return (n + 16) * roundoff * size; }; };
    if (with_dx) check_all(dx, want_dx, close(4 * 3 * (4 + 2 * 16 * 9)));
    if (with_dx && !add) {
      Floats place(dy);
      a.dy = a.dx = place.data();
      a.dgamma = a.dbeta = nullptr;
      k.batch_norm_backward(a);
      CHECK_MESSAGE(place.same_bits(dx), "in place: another result");
    }
    if (with_parameters) {
      check_all(dgamma, want_dgamma, close(2 * 4 * 3 * n + 2));
      check_all(dbeta, want_dbeta, close(2 * n + 2));
    }
  });
}

namespace {

template <class Args, class T>
void fill_lrn(Args& a, const Extent& e, int size, float alpha, const T* x, const T* x0) {
  a.images = e.images, a.channels = e.channels, a.pixels = e.pixels, a.size = size, a.alpha = alpha, a.beta = 0.75f,
  a.bias = 1.5f;
  a.x = x, a.x0 = x0;
}

}  // namespace

void check_lrn_forward(const Levels& levels) {
  for_extents(64, levels, [](Random& r, const Extent& e, const Kernels& k) {
    const Floats x = random_floats(r, e.size());
    const Doubles dx = widened(x);
    Floats y = output(r, e.size(), false);
    Doubles want(dx);
    LrnArgs<float> a;
    LrnArgs<double> d;
    const int size = r.in(1, 5);
    fill_lrn(a, e, size, 0.5f, x.data(), x.data());
    fill_lrn(d, e, size, 0.5f, dx.data(), dx.data());
    a.y = y.data(), d.y = want.data();
    k.lrn_forward(a);
    truth().lrn_forward(d);
    check_all(y, want, [&](std::size_t i) { return 16 * roundoff * std::fabs(want[i]); });
  });
}

void check_lrn_backward(const Levels& levels) {
  for_extents(65, levels, [](Random& r, const Extent& e, const Kernels& k) {
    const Floats x = random_floats(r, e.size()), other = random_floats(r, e.size()), s = random_floats(r, e.size());
    const bool add = r.coin(), gradient = r.coin();
    const Doubles dx = widened(x), dother = widened(other), ds = widened(s);
    Floats d = output(r, e.size(), add), scratch = output(r, e.channels, false);
    Doubles want = widened(d), wide_scratch(static_cast<std::size_t>(e.channels));
    LrnArgs<float> a;
    LrnArgs<double> b;
    const int size = r.in(1, 5);
    fill_lrn(a, e, size, 0.5f, x.data(), gradient ? x.data() : other.data());
    fill_lrn(b, e, size, 0.5f, dx.data(), gradient ? dx.data() : dother.data());
    a.s = s.data(), a.d = d.data(), a.add = add, a.scratch = scratch.data();
    b.s = ds.data(), b.d = want.data(), b.add = add, b.scratch = wide_scratch.data();
    k.lrn_backward(a);
    truth().lrn_backward(b);
    check_all(d, want, [&](std::size_t i) { return 64 * roundoff * (4 + std::fabs(want[i])); });
    CHECK(scratch.intact());
  });
}

namespace {

ResizeShape random_resize(Random& r) {
  ResizeShape s;
  s.planes = r.in(1, 3);
  s.h = r.in(1, 7), s.w = r.in(1, 7), s.oh = r.in(1, 12), s.ow = r.in(1, 12);
  s.bilinear = r.coin();
  s.align_corners = r.in(0, 2) == 0;
  s.half_pixel = r.coin();
  if (r.in(0, 3) == 0) s.step_h = 0.5f;
  return s;
}

}  // namespace

void check_resize_forward(const Levels& levels) {
  Random cases(66);
  for (int i = 0; i < 200; ++i) {
    const ResizeShape s = random_resize(cases);
    const Floats x = random_floats(cases, s.planes * s.h * s.w);
    const Doubles dx = widened(x);
    Doubles want(static_cast<std::size_t>(s.planes * s.oh * s.ow));
    truth().resize_forward(s, dx.data(), want.data());
    for (const Level& level : levels) {
      Floats y = output(cases, s.planes * s.oh * s.ow, false);
      level.table->resize_forward(s, x.data(), y.data());
      check_all(y, want, [](std::size_t) { return 8 * roundoff * 2; });
    }
  }
  // By hand: two pixels to four, as PyTorch and ONNX Runtime give them.
  const float two[] = {0, 4};
  float four[4];
  const auto resized = [&](bool bilinear, bool align_corners, bool half_pixel) {
    reference<float>().resize_forward({1, 1, 2, 1, 4, bilinear, align_corners, half_pixel, 0, 0}, two, four);
    return std::vector<float>(four, four + 4);
  };
  CHECK(resized(true, false, true) == std::vector<float>{0, 1, 3, 4});
  CHECK(resized(true, false, false) == std::vector<float>{0, 2, 4, 4});
  CHECK(resized(true, true, true)[1] == doctest::Approx(4.0 / 3));
  CHECK(resized(false, false, true) == std::vector<float>{0, 0, 4, 4});
  CHECK(resized(false, false, false) == std::vector<float>{0, 0, 4, 4});
}

void check_resize_backward(const Levels& levels) {
  Random cases(67);
  for (int i = 0; i < 200; ++i) {
    const ResizeShape s = random_resize(cases);
    const Floats y = random_floats(cases, s.planes * s.oh * s.ow);
    const bool add = cases.coin();
    const Floats old = output(cases, s.planes * s.h * s.w, add);
    const Doubles dy = widened(y);
    Doubles want = widened(old);
    truth().resize_backward(s, dy.data(), want.data(), add);
    for (const Level& level : levels) {
      Floats x(old);
      level.table->resize_backward(s, y.data(), x.data(), add);
      check_all(x, want, [&](std::size_t) { return roundoff * (s.oh * s.ow + 8) * 4; });
    }
  }
}

}  // namespace vitrine::kernels::selfcheck
