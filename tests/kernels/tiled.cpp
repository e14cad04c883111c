// Self-check of the matrix product and the convolutions. A sum of k products may err by (k + a few) roundoffs of the
// sum of its terms' magnitudes, in whatever order it is added up.
#include "selfcheck.h"

#include <algorithm>
#include <set>
#include <string>

namespace vitrine::kernels::selfcheck {
namespace {

void sprinkle(Random& r, Floats& f) {
  const float inf = std::numeric_limits<float>::infinity();
  if (f.size() > 0) f[r.in(0, static_cast<int>(f.size()) - 1)] = r.coin() ? inf : -inf;
  if (f.size() > 3) f[r.in(0, static_cast<int>(f.size()) - 1)] = std::numeric_limits<float>::quiet_NaN();
}

template <class T, class U>
GemmArgs<U> retyped(const GemmArgs<T>& g) {
  GemmArgs<U> o;
  o.m = g.m, o.n = g.n, o.k = g.k;
  o.lda = g.lda, o.a_transposed = g.a_transposed, o.a_sub = g.a_sub;
  o.ldb = g.ldb, o.b_transposed = g.b_transposed, o.b_sub = g.b_sub;
  o.bias_sub = g.bias_sub, o.ldc = g.ldc, o.add = g.add;
  return o;
}

/// Whether the next case is one that slow levels leave out.
bool left_out(const Levels& levels) {
  static int cases = 0;
  return cases++ % levels.front().every != 0;
}

void gemm_case(Random& r, const Levels& levels, int m, int n, int k, bool extreme) {
  if (left_out(levels)) return;
  GemmArgs<float> g;
  g.m = m, g.n = n, g.k = k;
  g.a_transposed = r.coin(), g.b_transposed = r.coin(), g.add = r.coin();
  g.a_sub = random_substitute(r), g.b_sub = random_substitute(r), g.bias_sub = random_substitute(r);
  if (r.coin()) g.a_sub = g.b_sub = {};
  g.lda = (g.a_transposed ? m : k) + r.in(0, 3);
  g.ldb = (g.b_transposed ? k : n) + r.in(0, 3);
  g.ldc = n + r.in(0, 3);
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(g.a_transposed);
  CAPTURE(g.b_transposed);
  CAPTURE(g.add);
  CAPTURE(extreme);
  Floats a = random_floats(r, (g.a_transposed ? k : m) * g.lda), b = random_floats(r, (g.b_transposed ? n : k) * g.ldb);
  if (extreme) sprinkle(r, a), sprinkle(r, b);
  const Floats bias = random_floats(r, n, extreme);
  const bool with_bias = r.coin();
  const Floats old = output(r, m * g.ldc, g.add);

  const Doubles da = widened(a), db = widened(b), dbias = widened(bias);
  const Doubles ma = magnitudes(g.a_sub, a), mb = magnitudes(g.b_sub, b), mbias = magnitudes(g.bias_sub, bias);
  Doubles want = widened(old), size = widened(old);
  for (double& v : size) v = std::fabs(v);
  GemmArgs<double> d = retyped<float, double>(g);
  d.a = da.data(), d.b = db.data(), d.bias = with_bias ? dbias.data() : nullptr, d.c = want.data();
  reference<double>().gemm.tile(d, nullptr, nullptr, 0);
  d.a = ma.data(), d.b = mb.data(), d.bias = with_bias ? mbias.data() : nullptr, d.c = size.data();
  d.a_sub = d.b_sub = d.bias_sub = {};
  reference<double>().gemm.tile(d, nullptr, nullptr, 0);

  for (const Level& level : levels) {
    CAPTURE(level.name);
    const auto& kernel = level.table->gemm;
    const auto compute = [&](int cut_m, int cut_n, bool reversed) {
      Floats c(old);
      for (int part = 0; part < 4; ++part) {
        GemmArgs<float> p = g;
        const int i = part / 2 ? cut_m : 0, j = part % 2 ? cut_n : 0;
        p.m = part / 2 ? m - cut_m : cut_m;
        p.n = part % 2 ? n - cut_n : cut_n;
        p.a = a.data() + (g.a_transposed ? i : i * g.lda);
        p.b = b.data() + (g.b_transposed ? j * g.ldb : j);
        p.bias = with_bias ? bias.data() + j : nullptr;
        p.c = c.data() + i * g.ldc + j;
        run(kernel, p, reversed);
      }
      return c;
    };
    const Floats c = compute(m, n, false);
    Floats inside(static_cast<std::int64_t>(m) * n);
    Doubles inside_want, inside_size;
    bool outside = true;
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < g.ldc; ++j) {
        const std::int64_t at = i * g.ldc + j;
        if (j >= n) {
          outside = outside && std::memcmp(&c[at], &old[at], sizeof(float)) == 0;
          continue;
        }
        inside[i * n + j] = c[at];
        inside_want.push_back(want[static_cast<std::size_t>(at)]);
        inside_size.push_back(size[static_cast<std::size_t>(at)]);
      }
    }
    check_all(inside, inside_want,
              [&](std::size_t i) { return ((k + 6) * roundoff + level.product_error) * inside_size[i]; });
    CHECK_MESSAGE(outside, "elements between the rows of C were overwritten");
    CHECK_MESSAGE(c.intact(), "guard words of C were overwritten");
    if (!extreme) {
      CHECK_MESSAGE(c.same_bits(compute(m, n, true)), "the order of tiles matters");
      CHECK_MESSAGE(c.same_bits(compute(m / 2, n / 3, false)), "the cut of C matters");
    }
  }
}

enum class Direction { forward, data, weights };

/// The sizes and flags of `a` without its pointers, in another precision.
template <class U>
ConvArgs<U> retyped(const ConvArgs<float>& a) {
  ConvArgs<U> o;
  o.s = a.s, o.x_sub = a.x_sub, o.w_sub = a.w_sub, o.bias_sub = a.bias_sub, o.add = a.add, o.exact = a.exact,
  o.relu = a.relu;
  return o;
}

/// Binds the pointers of one direction.
template <class U, class P>
void bind(ConvArgs<U>& a, Direction direction, const P* x, const P* w, const P* y, const P* bias, P* out) {
  a.x = direction == Direction::data ? nullptr : x;
  a.w = direction == Direction::weights ? nullptr : w;
  a.y = direction == Direction::forward ? nullptr : y;
  a.bias = direction == Direction::forward ? bias : nullptr;
  a.y_out = direction == Direction::forward ? out : nullptr;
  a.x_out = direction == Direction::data ? out : nullptr;
  a.w_out = direction == Direction::weights ? out : nullptr;
}

template <class U>
const Tiled<ConvArgs<U>>& kernel_of(const Table<U>& t, Direction direction) {
  return direction == Direction::forward ? t.conv_forward
         : direction == Direction::data  ? t.conv_backward_data
                                         : t.conv_backward_weights;
}

/// Winograd's transforms enlarge roundoffs: by the largest sum nearby, not by each result's own terms. Of 900 random
/// cases of the shapes below, in the three directions, the worst erred by 50 roundoffs of it; those along rows stay
/// below 24.
constexpr double winograd_error = 64;

std::string text(const ConvShape& s) {
  const auto pair = [](int a, int b) { return std::to_string(a) + "x" + std::to_string(b); };
  return std::to_string(s.n) + " images, " + std::to_string(s.c) + " of " + pair(s.h, s.w) + " to " +
         std::to_string(s.oc) + " of " + pair(s.oh, s.ow) + ", kernel " + pair(s.kh, s.kw) + ", stride " +
         pair(s.stride_h, s.stride_w) + ", padding " + pair(s.pad_top, s.pad_left) + ", dilation " +
         pair(s.dilation_h, s.dilation_w) + ", groups " + std::to_string(s.groups);
}

std::set<std::string> ways_seen;  // of vector kernels, in one direction
int interleaved_seen = 0;         // cases with interleaved
int filtered_seen = 0;            // cases that do not come out as the direct sum does

void conv_case(Random& r, const Levels& levels, Direction direction, const ConvShape& s, bool extreme,
               bool exact = true, bool ones = false) {
  if (left_out(levels)) return;
  CAPTURE(exact);
  CAPTURE(ones);
  CAPTURE(text(s));
  CAPTURE(extreme);
  ConvArgs<float> a;
  a.s = s;
  a.add = r.coin();
  a.exact = exact;
  a.kept = r.coin();
  a.relu = direction == Direction::forward && r.coin();
  a.x_sub = random_substitute(r), a.w_sub = random_substitute(r), a.bias_sub = random_substitute(r);
  if (r.coin()) a.x_sub = a.w_sub = {};
  if (ones) a.x_sub = a.w_sub = {1, 1, Substitute::one};
  const std::int64_t x_image = std::int64_t{s.c} * s.h * s.w, y_image = std::int64_t{s.oc} * s.oh * s.ow;
  const std::int64_t w_size = std::int64_t{s.oc} * (s.c / s.groups) * s.kh * s.kw;
  Floats x = random_floats(r, s.n * x_image), w = random_floats(r, w_size), y = random_floats(r, s.n * y_image);
  if (extreme) sprinkle(r, x), sprinkle(r, y);
  const Floats bias = random_floats(r, s.oc);
  const bool with_bias = r.coin();
  const Floats old = output(r,
                            direction == Direction::forward ? y.size()
                            : direction == Direction::data  ? x.size()
                                                            : w_size,
                            a.add);

  Doubles want = widened(old), size = widened(old);
  for (double& v : size) v = std::fabs(v);
  const Doubles dx = widened(x), dw = widened(w), dy = widened(y), dbias = widened(bias);
  Doubles mx = magnitudes(a.x_sub, x), mw = magnitudes(a.w_sub, w), my = magnitudes({}, y),
          mbias = magnitudes(a.bias_sub, bias);
  ConvArgs<double> d = retyped<double>(a);
  bind(d, direction, dx.data(), dw.data(), dy.data(), with_bias ? dbias.data() : nullptr, want.data());
  kernel_of(reference<double>(), direction).tile(d, nullptr, nullptr, 0);
  d.x_sub = d.w_sub = d.bias_sub = {};
  d.relu = false;
  bind(d, direction, mx.data(), mw.data(), my.data(), with_bias ? mbias.data() : nullptr, size.data());
  kernel_of(reference<double>(), direction).tile(d, nullptr, nullptr, 0);
  const double terms = direction == Direction::forward ? double(s.c / s.groups) * s.kh * s.kw
                       : direction == Direction::data  ? double(s.oc / s.groups) * s.kh * s.kw
                                                       : double(s.n) * s.oh * s.ow;

  for (const Level& level : levels) {
    CAPTURE(level.name);
    const auto& kernel = kernel_of((*level.table), direction);
    if (kernel.choice != nullptr) ways_seen.insert(kernel.choice(a).way);
    const auto compute = [&](int images, bool reversed, bool direct) {
      Floats out(old);
      for (int first = 0; first < s.n; first += images) {
        ConvArgs<float> p = a;
        p.exact = direct;
        p.s.n = std::min(images, s.n - first);
        const std::int64_t at = first * (direction == Direction::forward ? y_image
                                         : direction == Direction::data  ? x_image
                                                                         : 0);
        bind(p, direction, x.data() + first * x_image, w.data(), y.data() + first * y_image,
             with_bias ? bias.data() : nullptr, out.data() + at);
        run(kernel, p, reversed);
      }
      return out;
    };
    const Floats out = compute(s.n, false, exact);
    const double nearby = exact ? 0 : *std::max_element(size.begin(), size.end());
    const auto error = [&](std::size_t i) {
      return exact ? ((terms + 6) * roundoff + level.product_error) * size[i]
                   : (winograd_error * roundoff + level.product_error) * nearby;
    };
    check_all(out, want, error);
    const bool filtered = !exact && !out.same_bits(compute(s.n, false, true));
    filtered_seen += filtered;
    if (const int lanes = level.table->lanes;
        level.table->takes_interleaved != nullptr && s.n % lanes == 0 && level.table->takes_interleaved(s)) {
      for (int which = 1; which < 4; ++which) {
        ConvArgs<float> p = a;
        p.x_interleaved = which % 2 == 1, p.y_interleaved = which >= 2;
        const bool out_interleaved =
            direction == Direction::forward ? p.y_interleaved : direction == Direction::data && p.x_interleaved;
        const std::int64_t image = direction == Direction::forward ? y_image : x_image;
        const Floats px = p.x_interleaved ? interleaved(x, lanes, x_image) : x,
                     py = p.y_interleaved ? interleaved(y, lanes, y_image) : y;
        Floats given = out_interleaved ? interleaved(old, lanes, image) : old;
        bind(p, direction, px.data(), w.data(), py.data(), with_bias ? bias.data() : nullptr, given.data());
        run(kernel, p, which == 2);
        CHECK(given.intact());
        CHECK_MESSAGE(out.same_bits(out_interleaved ? interleaved(given, lanes, image, true) : given),
                      "interleaved: another result");
        ++interleaved_seen;
      }
    }
    if (!extreme) {
      CHECK_MESSAGE(out.same_bits(compute(s.n, true, exact)), "the order of tiles matters");
      // Filtering of interleaved images needs one.
      const Floats single = compute(1, false, exact);
      const bool across = filtered && single.same_bits(compute(1, false, true));
      if (direction != Direction::weights && across) check_all(single, want, error);
      if (direction != Direction::weights && !across) CHECK_MESSAGE(out.same_bits(single), "the batch cut matters");
    }
  }
}

int taken = 0, summed = 0;  // results that were what the part leaves, and others
int taken_across = 0;       // of results with interleaved, a level each

// A whole and a part that err by 2^-12 of the larger of the part and the result: what is small beside them must be
// summed, and where nothing is needed anything may stand, but nowhere else. The result is one convolution or the sum of
// two.
void difference_case(Random& r, const Levels& levels, const ConvShape& s) {
  if (left_out(levels)) return;
  CAPTURE(text(s));
  const int calls = r.in(1, 2);
  ConvArgs<float> a[2];
  const float factor = r.coin() ? 1 : 2.25f;
  const Sign sign = r.coin() ? Sign::any : r.coin() ? Sign::positive : Sign::negative;
  const std::int64_t y_size = std::int64_t{s.n} * s.oc * s.oh * s.ow;
  const Floats x = random_floats(r, std::int64_t{s.n} * s.c * s.h * s.w),
               w = random_floats(r, std::int64_t{s.oc} * (s.c / s.groups) * s.kh * s.kw), bias = random_floats(r, s.oc);
  const bool with_bias = r.coin();
  Doubles want(static_cast<std::size_t>(y_size)), size = want;
  const Doubles dx = widened(x), dw = widened(w), dbias = widened(bias);
  for (int k = 0; k < calls; ++k) {
    a[k].s = s;
    a[k].exact = r.coin();
    a[k].add = k > 0;
    a[k].x_sub = random_substitute(r), a[k].w_sub = random_substitute(r), a[k].bias_sub = random_substitute(r);
    ConvArgs<double> d = retyped<double>(a[k]);
    bind<double, double>(d, Direction::forward, dx.data(), dw.data(), nullptr, with_bias ? dbias.data() : nullptr,
                         want.data());
    reference<double>().conv_forward.tile(d, nullptr, nullptr, 0);
    d.x_sub = d.w_sub = d.bias_sub = {};
    const Doubles mx = magnitudes(a[k].x_sub, x), mw = magnitudes(a[k].w_sub, w),
                  mbias = magnitudes(a[k].bias_sub, bias);
    bind<double, double>(d, Direction::forward, mx.data(), mw.data(), nullptr, with_bias ? mbias.data() : nullptr,
                         size.data());
    reference<double>().conv_forward.tile(d, nullptr, nullptr, 0);
  }
  const double terms = double(calls) * (s.c / s.groups) * s.kh * s.kw, share = 0x1p-12,
               scale = r.coin()   ? 0.5
                       : r.coin() ? 20
                                  : 1000;
  Floats whole(y_size), part(y_size), needed(y_size);
  for (std::int64_t i = 0; i < y_size; ++i) {
    const auto k = static_cast<std::size_t>(i);
    part[i] =
        (r.in(0, 3) == 0 ? -1 : 1) * static_cast<float>(scale * size[k] * (0.5 + 0.5 * std::fabs(double(r.value()))));
    whole[i] = static_cast<float>(
        (part[i] + want[k] +
         share * std::max(std::fabs(double(part[i])), std::fabs(want[k])) * (r.coin() ? 0.9 : -0.9)) /
        factor);
    needed[i] = r.in(0, 2) == 0 ? 0 : r.value();
    if (needed[i] == 0 && r.coin()) whole[i] = std::numeric_limits<float>::quiet_NaN();
  }
  for (const Level& level : levels) {
    CAPTURE(level.name);
    for (const bool in_place : {false, true}) {
      if (in_place && calls > 1) continue;
      // `layout`: which are interleaved, bit 0 for x, bit 1 for the results.
      const auto compute = [&](bool reversed, int layout) {
        const int lanes = level.table->lanes;
        const auto laid = [&](const Floats& v, bool inner, bool back = false) {
          return inner ? interleaved(v, lanes, v.size() / s.n, back) : v;
        };
        const bool inner = layout >= 2;
        const Floats px = laid(x, layout % 2 == 1), pwhole = laid(whole, inner), ppart = laid(part, inner),
                     pneeded = laid(needed, inner);
        Floats out = in_place ? Floats(ppart) : output(r, y_size, false);
        for (int k = 0; k < calls; ++k) {
          ConvArgs<float> p = a[k];
          p.x_interleaved = layout % 2 == 1, p.y_interleaved = inner;
          bind<float, float>(p, Direction::forward, px.data(), w.data(), nullptr, with_bias ? bias.data() : nullptr,
                             out.data());
          p.known = {pwhole.data(), in_place ? out.data() : ppart.data(), pneeded.data(), factor, sign};
          run(level.table->conv_forward, p, reversed);
        }
        CHECK_MESSAGE(out.intact(), "guard words were overwritten");
        return laid(out, inner, true);
      };
      const auto counts = [&](std::int64_t i) {
        return needed[i] != 0 && (sign == Sign::any || (sign == Sign::positive ? whole[i] > 0 : whole[i] < 0));
      };
      const bool across = s.n % level.table->lanes == 0 && level.table->takes_interleaved != nullptr &&
                          level.table->takes_interleaved(s);
      for (int layout = 0; layout < (across ? 4 : 1); ++layout) {
        CAPTURE(layout);
        const Floats out = compute(false, layout);
        for (std::int64_t i = 0; i < y_size; ++i) {
          if (!counts(i)) continue;
          const auto k = static_cast<std::size_t>(i);
          // `factor * whole - part` may be one operation.
          const bool left =
              std::fabs(out[i] - (factor * whole[i] - part[i])) <= 2 * roundoff * std::fabs(factor * whole[i]);
          ++(left ? taken : summed);
          // What is taken is larger than 1/128 of the part, and so errs by less than 128 times its share.
          const double direct = ((terms + 6) * roundoff + level.product_error) * size[k];
          CHECK(std::fabs(out[i] - want[k]) <= direct + (left ? 130 * share * std::fabs(want[k]) : 0));
        }
        const Floats other = compute(true, layout);
        for (std::int64_t i = 0; i < y_size; ++i) CHECK((!counts(i) || out[i] == other[i]));
        taken_across += layout >= 2;
      }
    }
  }
}

ConvShape shape(int n, int c, int h, int w, int oc, int kh, int kw, int stride, int pad, int dilation = 1,
                int groups = 1) {
  ConvShape s;
  s.n = n, s.c = c, s.h = h, s.w = w, s.oc = oc, s.kh = kh, s.kw = kw, s.groups = groups;
  s.stride_h = s.stride_w = stride, s.pad_top = s.pad_left = pad, s.dilation_h = s.dilation_w = dilation;
  s.oh = (h + 2 * pad - dilation * (kh - 1) - 1) / stride + 1;
  s.ow = (w + 2 * pad - dilation * (kw - 1) - 1) / stride + 1;
  return s;
}

void conv_cases(const Levels& levels, Direction direction) {
  interleaved_seen = 0;
  ways_seen.clear();
  Random r(7 + static_cast<std::uint64_t>(direction));
  const ConvShape fixed[] = {
      shape(9, 1, 28, 28, 6, 5, 5, 1, 2), shape(5, 6, 14, 14, 16, 5, 5, 1, 0), shape(2, 3, 32, 32, 16, 3, 3, 1, 1),
      shape(2, 16, 17, 17, 30, 3, 3, 2, 1), shape(3, 33, 7, 7, 20, 3, 3, 1, 1), shape(1, 70, 9, 8, 61, 3, 3, 1, 1),
      shape(3, 20, 7, 7, 33, 1, 1, 1, 0), shape(2, 9, 14, 14, 12, 1, 1, 2, 0), shape(1, 3, 45, 45, 8, 7, 7, 2, 3),
      shape(2, 12, 13, 19, 12, 3, 3, 1, 1, 1, 12), shape(2, 8, 15, 15, 16, 3, 3, 2, 1, 1, 8),
      shape(1, 8, 16, 16, 12, 3, 3, 1, 2, 2, 4), shape(1, 3, 20, 20, 5, 3, 3, 2, 2, 2),
      shape(1, 2, 6, 6, 3, 6, 6, 1, 0), shape(1, 1, 1, 1, 1, 1, 1, 1, 0), shape(2, 2, 3, 3, 2, 5, 5, 1, 2),
      shape(1, 2, 70, 70, 3, 3, 3, 1, 1), shape(1, 2, 9, 9, 3, 2, 2, 3, 0), shape(1, 260, 3, 5, 3, 1, 1, 1, 0),
      shape(1, 5, 30, 3, 4, 5, 1, 1, 2), shape(1, 4, 5, 40, 40, 1, 7, 1, 3),
      // Few channels, large maps.
      shape(1, 3, 45, 45, 40, 3, 3, 1, 1), shape(1, 3, 50, 61, 33, 7, 7, 2, 3), shape(1, 1, 70, 42, 36, 5, 5, 1, 2),
      shape(1, 2, 64, 64, 33, 11, 11, 4, 2), shape(1, 2, 48, 50, 32, 3, 3, 1, 1, 2),
      shape(1, 3, 43, 95, 34, 3, 2, 3, 0), shape(2, 2, 41, 41, 32, 1, 4, 1, 3),
      // A few columns beside whole vectors.
      shape(1, 300, 7, 7, 120, 1, 1, 1, 0), shape(1, 12, 3, 6, 30, 1, 1, 1, 0), shape(1, 40, 7, 5, 37, 3, 3, 1, 1),
      shape(1, 50, 4, 5, 29, 1, 1, 1, 0),
      // Batches that fill the lanes, of small maps.
      shape(16, 3, 9, 7, 5, 3, 3, 1, 1), shape(29, 6, 12, 12, 16, 5, 5, 1, 0), shape(13, 1, 28, 28, 6, 5, 5, 1, 0),
      shape(16, 5, 8, 10, 17, 3, 3, 2, 1), shape(7, 40, 6, 6, 33, 3, 3, 1, 1), shape(15, 6, 9, 9, 4, 3, 3, 3, 2, 2, 2),
      shape(32, 4, 5, 5, 6, 1, 1, 2, 0), shape(14, 3, 33, 31, 16, 3, 3, 1, 1)};
  for (const ConvShape& s : fixed) conv_case(r, levels, direction, s, false, r.coin());
  const ConvShape winograd[] = {shape(2, 24, 8, 8, 24, 3, 3, 1, 1),    shape(2, 33, 17, 14, 40, 3, 3, 1, 1),
                                shape(3, 64, 9, 30, 25, 3, 3, 1, 0),   shape(17, 24, 10, 9, 40, 3, 3, 1, 2),
                                shape(1, 150, 12, 12, 31, 3, 3, 1, 1), shape(1, 25, 41, 70, 24, 3, 3, 1, 1)};
  for (const ConvShape& s : winograd) {
    conv_case(r, levels, direction, s, false, r.coin());
    conv_case(r, levels, direction, s, false, false);
    // Channels that fill no vector: those that are not there are no ones.
    conv_case(r, levels, direction, s, false, false, true);
  }
  // The same for interleaved images.
  const ConvShape across[] = {
      shape(29, 6, 14, 14, 16, 5, 5, 1, 0), shape(16, 1, 28, 28, 6, 5, 5, 1, 2),  shape(32, 16, 7, 9, 16, 3, 3, 1, 1),
      shape(13, 3, 32, 30, 8, 3, 3, 1, 1),  shape(16, 7, 9, 12, 15, 3, 5, 1, 4),  shape(16, 20, 10, 7, 30, 5, 3, 1, 1),
      shape(16, 5, 6, 40, 9, 1, 3, 1, 0),   shape(14, 40, 5, 11, 20, 3, 5, 1, 2), shape(12, 12, 9, 13, 9, 5, 5, 1, 6)};
  filtered_seen = 0;
  for (const ConvShape& s : across) conv_case(r, levels, direction, s, false, false, r.in(0, 3) == 0);
  for (int i = 0; i < 14; ++i) {
    ConvShape s;
    s.n = 16 * r.in(1, 2) - (r.coin() ? 0 : r.in(1, 4)), s.c = r.in(2, 24), s.oc = r.in(4, 24);
    s.h = r.in(1, 10), s.w = r.in(4, 24), s.kh = r.in(1, 5), s.kw = r.coin() ? 3 : 5;
    s.pad_top = r.in(0, 6), s.pad_left = r.in(0, 6);
    s.oh = s.h + s.pad_top + r.in(0, 6) - s.kh + 1, s.ow = s.w + s.pad_left + r.in(0, 6) - s.kw + 1;
    if (s.oh > 0 && s.ow > 0) conv_case(r, levels, direction, s, false, false);
  }
  for (const Level& level : levels) CHECK((level.table->takes_interleaved == nullptr || filtered_seen > 10));
  for (int i = 0; i < 72; ++i) {
    ConvShape s;
    s.n = i >= 60 ? 16 : r.in(0, 2) == 0 ? r.in(12, 18) : r.in(1, 4), s.groups = r.in(0, 3) == 0 ? r.in(2, 3) : 1;
    s.c = s.groups * r.in(1, 5), s.oc = s.groups * r.in(1, 18);
    s.h = r.in(1, 20), s.w = r.in(1, 36), s.kh = r.in(1, 5), s.kw = r.in(1, 5);
    s.stride_h = r.in(1, 3), s.stride_w = r.in(1, 3), s.dilation_h = r.in(1, 3), s.dilation_w = r.in(1, 3);
    s.pad_top = r.in(0, 3), s.pad_left = r.in(0, 3);
    const int bottom = r.in(0, 3), right = r.in(0, 3);
    const int room_h = s.h + s.pad_top + bottom - (s.kh - 1) * s.dilation_h - 1;
    const int room_w = s.w + s.pad_left + right - (s.kw - 1) * s.dilation_w - 1;
    if (room_h < 0 || room_w < 0) continue;
    s.oh = room_h / s.stride_h + 1, s.ow = room_w / s.stride_w + 1;
    conv_case(r, levels, direction, s, i % 4 == 0);
  }
  // Batches that the lanes divide.
  const ConvShape interleavable[] = {shape(32, 6, 14, 14, 16, 5, 5, 1, 0), shape(16, 1, 28, 28, 6, 5, 5, 1, 2),
                                     shape(16, 80, 4, 4, 20, 3, 3, 1, 1), shape(16, 6, 9, 12, 15, 3, 5, 1, 4),
                                     shape(48, 5, 7, 6, 9, 1, 1, 1, 0), shape(16, 12, 6, 6, 12, 3, 3, 1, 2, 2, 12),
                                     // Linear layers: few channels, and many.
                                     shape(16, 20, 1, 1, 10, 1, 1, 1, 0), shape(48, 130, 1, 1, 75, 1, 1, 1, 0),
                                     shape(32, 300, 1, 1, 280, 1, 1, 1, 0)};
  for (const ConvShape& s : interleavable) conv_case(r, levels, direction, s, false);
  for (const Level& level : levels) CHECK((level.table->takes_interleaved == nullptr || interleaved_seen > 30));
  // Every way that a result with elements can go; forward, two more take difference_case's.
  const std::size_t ways = direction == Direction::forward ? 5 : direction == Direction::data ? 6 : 7;
  for (const Level& level : levels) CHECK((level.table->takes_interleaved == nullptr || ways_seen.size() == ways));
}

}  // namespace

void check_gemm(const Levels& levels) {
  Random r(1);
  for (int i = 0; i < 80; ++i) gemm_case(r, levels, r.in(1, 40), r.in(1, 70), r.in(1, 60), i % 4 == 0);
  for (int i = 0; i < 6; ++i) gemm_case(r, levels, 1, r.in(100, 300), r.in(250, 600), false);
  for (int i = 0; i < 4; ++i) gemm_case(r, levels, 8, r.in(100, 700), r.in(250, 600), i == 0);
  for (int i = 0; i < 3; ++i) gemm_case(r, levels, 131, 290, 300, false);
  for (int k : {0, 1, 255, 256, 257, 513}) gemm_case(r, levels, 5, 37, k, false);
}

void check_conv_forward(const Levels& levels) {
  conv_cases(levels, Direction::forward);
  taken = summed = taken_across = 0;
  Random r(11);
  for (const ConvShape& s :
       {shape(2, 5, 9, 20, 7, 3, 3, 1, 1), shape(1, 30, 14, 14, 40, 3, 3, 1, 1), shape(2, 6, 13, 19, 8, 5, 3, 2, 2),
        shape(1, 8, 11, 33, 12, 3, 3, 1, 2, 2, 4), shape(3, 40, 7, 7, 33, 1, 1, 1, 0),
        shape(1, 3, 30, 70, 4, 7, 7, 2, 3), shape(1, 12, 5, 17, 12, 3, 3, 1, 1, 1, 12),
        shape(1, 70, 28, 36, 130, 1, 1, 1, 0), shape(2, 4, 1, 1, 5, 1, 1, 1, 0), shape(16, 6, 12, 13, 9, 5, 5, 1, 0),
        shape(32, 1, 9, 14, 5, 5, 3, 1, 1), shape(16, 8, 7, 9, 12, 3, 3, 2, 2, 2, 4)})
    for (int i = 0; i < 5; ++i) difference_case(r, levels, s);
  const bool vectors =
      std::any_of(levels.begin(), levels.end(), [](const Level& l) { return l.table->takes_interleaved != nullptr; });
  CHECK((!vectors || (taken > 1000 && summed > 1000 && taken_across > 10)));
}
void check_conv_backward_data(const Levels& levels) { conv_cases(levels, Direction::data); }
void check_conv_backward_weights(const Levels& levels) { conv_cases(levels, Direction::weights); }

}  // namespace vitrine::kernels::selfcheck
