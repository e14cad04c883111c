// Self-check of the elementwise kernels, reductions, softmax, optimisers and explanation rules.
#include "kernels/normal.h"
#include "selfcheck.h"

namespace vitrine::kernels::selfcheck {
namespace {

/// Sizes that a device shares among several blocks, and, for sums, in several kernels.
constexpr std::initializer_list<int> long_rows = {4097, 20011};

/// f(random, n, kernels, extreme) for sizes around the vector widths, with ordinary and with extreme values.
template <class F>
void for_sizes(std::uint64_t seed, const Levels& levels, F f,
               std::initializer_list<int> sizes = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 100, 257, 1000},
               int rounds = 6) {
  for (int n : sizes) {
    for (int round = 0; round < rounds; ++round) {
      CAPTURE(n);
      CAPTURE(round);
      for (const Level& level : levels) {
        CAPTURE(level.name);
        Random r(seed * 7919 + static_cast<std::uint64_t>(n * 10 + round));
        f(r, n, *level.table, round % 2 == 1);
      }
    }
  }
}

const Table<double>& truth() { return reference<double>(); }

double size_of(double v) { return std::fabs(v); }

/// For bounds of kernels that choose among operands: where the result is finite, a non-finite one was not chosen.
double chosen(double v) { return std::isfinite(v) ? std::fabs(v) : 0; }

/// Bound of `roundoffs` operations on a value, plus the addition to old content.
auto relative(const Doubles& want, const Doubles& old, bool add, double roundoffs) {
  return [&want, &old, add, roundoffs](std::size_t i) {
    return roundoff * (roundoffs * (size_of(want[i]) + (add ? size_of(old[i]) : 0)) +
                       (add ? size_of(want[i]) + size_of(old[i]) : 0));
  };
}

/// Unary and binary maps: compute(table, inputs..., output, add) in float and in double, and twice in two ranges.
template <class F>
void check_map(std::uint64_t seed, const Levels& levels, int inputs, double roundoffs, bool adds, F call) {
  for_sizes(seed, levels, [&](Random& r, int n, const Kernels& k, bool extreme) {
    std::vector<Floats> x;
    std::vector<Doubles> d;
    for (int i = 0; i < inputs; ++i) {
      x.push_back(random_floats(r, n, extreme));
      d.push_back(widened(x.back()));
    }
    const bool add = adds && r.coin();
    const Floats old = output(r, n, add);
    const Doubles before = widened(old);
    Floats got(old), cut(old);
    Doubles want(before);
    const Random options = r;
    std::vector<const float*> px;
    std::vector<const double*> pd;
    for (int i = 0; i < inputs; ++i)
      px.push_back(x[static_cast<std::size_t>(i)].data()), pd.push_back(d[static_cast<std::size_t>(i)].data());
    Random a = options, b = options, c = options, e = options;
    call(a, k, px, got.data(), std::int64_t{n}, add);
    call(b, truth(), pd, want.data(), std::int64_t{n}, add);
    check_all(got, want, relative(want, before, add, roundoffs));
    const int first = n / 3;
    call(c, k, px, cut.data(), std::int64_t{first}, add);
    for (auto& p : px) p += first;
    call(e, k, px, cut.data() + first, std::int64_t{n - first}, add);
    CHECK_MESSAGE(cut.same_bits(got), "the cut into ranges matters");
  });
}

MapParameters parameters(Map map) {
  switch (map) {
    case Map::clip:
      return {-0.25f, 0.75f};
    case Map::hard_sigmoid:
      return {1.0f / 6, 0.5f};
    case Map::power:
      return {-0.5f, 0};
    default:
      return {0.1f, 0};
  }
}

}  // namespace

void check_map_forward(const Levels& levels) {
  for (int m = 0; m < static_cast<int>(Map::count_); ++m) {
    CAPTURE(m);
    const Map map = static_cast<Map>(m);
    for_sizes(20, levels, [map](Random& r, int n, const Kernels& k, bool extreme) {
      const Floats x = random_floats(r, n, extreme);
      Floats y = output(r, n, false), cut = output(r, n, false);
      const Doubles d = widened(x);
      Doubles want(d);
      truth().map_forward(map, parameters(map), d.data(), want.data(), n);
      k.map_forward(map, parameters(map), x.data(), y.data(), n);
      // A product with a steep gate has the gate's argument rounded; a*x + b cancels, where only 1 is a measure.
      const double relative = map < Map::clip ? 8 : 40, absolute = map == Map::hard_sigmoid ? 4 : 0;
      check_all(y, want, [&](std::size_t i) { return roundoff * (relative * size_of(want[i]) + absolute); });
      k.map_forward(map, parameters(map), x.data(), cut.data(), n / 3);
      k.map_forward(map, parameters(map), x.data() + n / 3, cut.data() + n / 3, n - n / 3);
      CHECK_MESSAGE(cut.same_bits(y), "the cut into ranges matters");
    });
  }
  // Elementary functions over their whole range: 4 units in the last place, 2 of them roundoffs each.
  const std::int64_t n = 40001;
  for (Map map : {Map::tanh, Map::sigmoid, Map::elu, Map::softplus}) {
    Floats x(n), y(n);
    for (std::int64_t i = 0; i < n; ++i) x[i] = (static_cast<float>(i) - 20000.0f) * (i % 2 ? 0.005f : 1e-5f);
    const Doubles d = widened(x);
    Doubles want(d);
    truth().map_forward(map, {1, 0}, d.data(), want.data(), n);
    for (const Level& level : levels) {
      CAPTURE(level.name);
      level.table->map_forward(map, {1, 0}, x.data(), y.data(), n);
      check_all(y, want, [&](std::size_t i) { return 8 * roundoff * size_of(want[i]); });
    }
  }
}

void check_map_backward(const Levels& levels) {
  for (int m = 0; m < static_cast<int>(Map::count_); ++m) {
    CAPTURE(m);
    for_sizes(21, levels, [m](Random& r, int n, const Kernels& k, bool extreme) {
      const Map map = static_cast<Map>(m);
      // The slope alone may leave the range of float where its product with the signal does not.
      extreme = extreme && map < Map::exp;
      const Floats x = random_floats(r, n, extreme), s = random_floats(r, n, extreme);
      Floats y(n);
      reference<float>().map_forward(map, parameters(map), x.data(), y.data(), n);
      const bool add = r.coin();
      Floats got = output(r, n, add);
      const Doubles dx = widened(x), dy = widened(y), ds = widened(s), old = widened(got);
      Doubles want(old);
      truth().map_backward(map, parameters(map), dx.data(), dy.data(), ds.data(), want.data(), n, add);
      k.map_backward(map, parameters(map), x.data(), y.data(), s.data(), got.data(), n, add);
      // 1 - y*y cancels: its error is absolute, a roundoff of 1 and of y*y each. Slopes without a bound do not.
      check_all(got, want, [&](std::size_t i) {
        return roundoff * ((map < Map::clip ? 4 : 64) * chosen(map < Map::exp ? ds[i] : want[i]) +
                           2 * (add ? size_of(old[i]) + size_of(want[i]) : 0));
      });
      if (!add) {
        Floats place(s);
        k.map_backward(map, parameters(map), x.data(), y.data(), place.data(), place.data(), n, false);
        CHECK_MESSAGE(place.same_bits(got), "in place: another result");
      }
    });
  }
}

void check_rectify_backward(const Levels& levels) {
  for (Rectify rule : {Rectify::deconvnet, Rectify::guided}) {
    check_map(22, levels, 2, 0, true, [rule](Random&, const auto& t, const auto& x, auto* d, std::int64_t n, bool add) {
      t.rectify_backward(rule, x[0], x[1], d, n, add);
    });
  }
}

void check_fill(const Levels& levels) {
  check_map(23, levels, 0, 0, false,
            [](Random& r, const auto& t, const auto&, auto* y, std::int64_t n, bool) { t.fill(r.extreme(), y, n); });
}

void check_scale(const Levels& levels) {
  check_map(24, levels, 1, 1, true, [](Random& r, const auto& t, const auto& x, auto* y, std::int64_t n, bool add) {
    t.scale(r.value(), x[0], y, n, add);
  });
  // More than one element for each of the most threads that a device starts.
  const std::int64_t n = 1200007;
  Floats x(n), y(n);
  for (std::int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(i);
  for (const Level& level : levels) {
    y.poison();
    level.table->scale(0.5f, x.data(), y.data(), n, false);
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < n; ++i) wrong += !(y[i] == 0.5f * static_cast<float>(i));
    CHECK(wrong == 0);
  }
}

void check_multiply(const Levels& levels) {
  check_map(25, levels, 2, 1, true, [](Random&, const auto& t, const auto& x, auto* z, std::int64_t n, bool add) {
    t.multiply(x[0], x[1], z, n, add);
  });
}

void check_combine(const Levels& levels) {
  for_sizes(26, levels, [](Random& r, int n, const Kernels& k, bool extreme) {
    const Floats x = random_floats(r, n, extreme), y = random_floats(r, n, extreme);
    const float a = r.value(), b = r.value();
    Floats z = output(r, n, false);
    const Doubles dx = widened(x), dy = widened(y);
    Doubles want(dx);
    truth().combine(a, dx.data(), b, dy.data(), want.data(), n);
    k.combine(a, x.data(), b, y.data(), z.data(), n);
    check_all(z, want, [&](std::size_t i) { return 2 * roundoff * (size_of(a * dx[i]) + size_of(b * dy[i])); });
  });
}

void check_substitute(const Levels& levels) {
  check_map(27, levels, 1, 1, true, [](Random& r, const auto& t, const auto& x, auto* y, std::int64_t n, bool add) {
    t.substitute(random_substitute(r), x[0], y, n, add);
  });
}

void check_copy(const Levels& levels) {
  Random cases(28);
  for (int i = 0; i < 120; ++i) {
    const bool add = cases.coin();
    // A dense destination and source, each with its own order of dimensions and some room in the rows.
    std::int64_t size[4], total[2] = {1, 1};
    CopyArgs<float> c;
    for (int d = 0; d < 4; ++d) c.size[d] = size[d] = cases.in(1, d < 2 ? 3 : 25);
    std::int64_t* strides[2] = {c.src_stride, c.dst_stride};
    for (int side = 0; side < 2; ++side) {
      int order[4] = {3, 2, 1, 0};
      for (int d = 3; d > 0 && cases.coin(); --d) std::swap(order[d], order[cases.in(0, d)]);
      for (int d : order) {
        strides[side][d] = total[side];
        total[side] *= size[d] + cases.in(0, 1);
      }
    }
    // Some dimensions backwards, and some whose elements are all added to one.
    const bool sums = add && cases.coin();
    std::int64_t begin[2] = {0, 0};
    for (int side = 0; side < 2; ++side)
      for (int j = 0; j < 4; ++j) {
        if (sums && side == 1 && cases.in(0, 2) == 0) strides[side][j] = 0;
        if (cases.in(0, 4) > 0) continue;
        begin[side] += (size[j] - 1) * strides[side][j];
        strides[side][j] *= -1;
      }
    CAPTURE(i);
    CAPTURE(add);
    CAPTURE(sums);
    const Floats src = random_floats(cases, total[0], !sums), old = random_floats(cases, total[1]);
    const Doubles d_src = widened(src), m_src = magnitudes({}, src);
    Doubles want = widened(old), room = magnitudes({}, old);
    CopyArgs<double> d;
    for (int j = 0; j < 4; ++j)
      d.size[j] = c.size[j], d.src_stride[j] = c.src_stride[j], d.dst_stride[j] = c.dst_stride[j];
    d.src = d_src.data() + begin[0], d.dst = want.data() + begin[1], d.add = add;
    truth().copy(d);
    d.src = m_src.data() + begin[0], d.dst = room.data() + begin[1];
    truth().copy(d);
    const double terms = sums ? static_cast<double>(size[0] * size[1] * size[2] * size[3]) : 1;
    for (const Level& level : levels) {
      CAPTURE(level.name);
      Floats dst(old);
      c.src = src.data() + begin[0], c.dst = dst.data() + begin[1], c.add = add;
      level.table->copy(c);
      check_all(dst, want, [&](std::size_t j) {
        return sums ? terms * roundoff * room[j] : add ? roundoff * size_of(want[j]) : 0.0;
      });
    }
  }
}

void check_dropout(const Levels& levels) {
  for_sizes(29, levels, [](Random& r, int n, const Kernels& k, bool extreme) {
    const Floats x = random_floats(r, n, extreme);
    const std::uint64_t key = r.next(), first = r.coin() ? r.next() >> 20 : 0xFFFFFFF0u;
    const float p = r.coin() ? 0.5f : 0.3f;
    const bool add = r.coin();
    const Floats old = output(r, n, add);
    Floats got(old), cut(old);
    const Doubles dx = widened(x), before = widened(old);
    Doubles want(before);
    truth().dropout(p, key, first, dx.data(), want.data(), n, add);
    k.dropout(p, key, first, x.data(), got.data(), n, add);
    check_all(got, want, relative(want, before, add, 4));
    const int part = n / 3;
    k.dropout(p, key, first, x.data(), cut.data(), part, add);
    k.dropout(p, key, first + static_cast<std::uint64_t>(part), x.data() + part, cut.data() + part, n - part, add);
    CHECK_MESSAGE(cut.same_bits(got), "the cut into ranges matters");
  });
}

void check_normals(const Levels& levels) {
  for_sizes(31, levels, [](Random& r, int n, const Kernels& k, bool) {
    const std::uint64_t key = r.next();
    std::vector<double> got(static_cast<std::size_t>(n) + 1, 7);
    k.normals(key, n, got.data());
    for (int i = 0; i < n; ++i) {
      const auto j = static_cast<std::uint64_t>(i);
      CHECK_MESSAGE(got[static_cast<std::size_t>(i)] == philox_normal(key, j), "another number than alone");
      const double u = (philox_word(key, 2 * j) + 1.0) / 4294967297.0, v = philox_word(key, 2 * j + 1) / 4294967296.0;
      CHECK(std::fabs(got[static_cast<std::size_t>(i)] -
                      std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v)) <= 1e-14);
    }
    CHECK(got.back() == 7);
  });
  // The ends of both words' ranges, where a random draw hardly comes.
  for (const std::uint32_t a : {0u, 1u, 0x7FFFFFFFu, 0xB504F333u, 0xFFFFFFFEu, 0xFFFFFFFFu})
    for (const std::uint32_t b : {0u, 1u, 0x1FFFFFFFu, 0x20000000u, 0x40000000u, 0x60000000u, 0x80000000u, 0xA0000000u,
                                  0xC0000000u, 0xE0000000u, 0xFFFFFFFFu}) {
      const double u = (a + 1.0) / 4294967297.0, v = b / 4294967296.0;
      CHECK(std::fabs(detail::normal_of(a, b) - std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v)) <=
            1e-14);
    }
}

void check_stats(const Levels& levels) {
  const auto one = [](Random& r, int n, const Kernels& k, bool extreme) {
    const Floats x = random_floats(r, n, extreme);
    const Doubles d = widened(x);
    const Stats got = k.stats(x.data(), n), want = truth().stats(d.data(), n);
    const double bound = 4 * (n + 1) * DBL_EPSILON * want.abs_sum;
    CHECK(std::fabs(got.sum - want.sum) <= bound);
    CHECK(std::fabs(got.abs_sum - want.abs_sum) <= bound);
    CHECK(got.abs_max == want.abs_max);
    CHECK(got.non_finite == want.non_finite);
  };
  for_sizes(30, levels, one);
  for_sizes(30, levels, one, long_rows, 2);
}

void check_dot(const Levels& levels) {
  const auto one = [](Random& r, int n, const Kernels& k, bool extreme) {
    const Floats x = random_floats(r, n, extreme), y = random_floats(r, n, extreme);
    const Doubles dx = widened(x), dy = widened(y), mx = magnitudes({}, x), my = magnitudes({}, y);
    const double got = k.dot(x.data(), y.data(), n), want = truth().dot(dx.data(), dy.data(), n);
    const double size = truth().dot(mx.data(), my.data(), n);
    if (std::isfinite(want)) {
      CHECK(std::fabs(got - want) <= 4 * (n + 1) * DBL_EPSILON * size);
    } else {
      CHECK((std::isnan(want) ? std::isnan(got) : got == want));
    }
  };
  for_sizes(31, levels, one);
  for_sizes(31, levels, one, long_rows, 2);
}

void check_channel_sum(const Levels& levels) {
  const auto one = [](Random& r, int pixels, const Kernels& k, bool extreme) {
    const int images = r.in(1, 3), channels = r.in(1, 5);
    const Floats x = random_floats(r, std::int64_t{images} * channels * pixels, extreme);
    const bool add = r.coin();
    Floats y = output(r, channels, add);
    Doubles want = widened(y), size = magnitudes({}, y);
    const Doubles d = widened(x), m = magnitudes({}, x);
    truth().channel_sum(d.data(), images, channels, pixels, want.data(), add);
    truth().channel_sum(m.data(), images, channels, pixels, size.data(), add);
    k.channel_sum(x.data(), images, channels, pixels, y.data(), add);
    check_all(y, want, [&](std::size_t i) { return (images * pixels + 1) * roundoff * size[i]; });
  };
  for_sizes(32, levels, one);
  for_sizes(32, levels, one, long_rows, 2);
}

// The exponent's argument x - max is rounded once, and an absolute error there is a relative one of the result.
void check_softmax_forward(const Levels& levels) {
  for_sizes(33, levels, [](Random& r, int k, const Kernels& t, bool extreme) {
    const int n = r.in(1, 5);
    Floats x = random_floats(r, std::int64_t{n} * k, extreme);
    for (std::int64_t i = 0; i < x.size() && !extreme; ++i) x[i] *= 30;
    const Doubles d = widened(x);
    Doubles want(d);
    truth().softmax_forward(d.data(), n, k, want.data());
    Floats y = output(r, x.size(), false);
    t.softmax_forward(x.data(), n, k, y.data());
    check_all(y, want, [&](std::size_t i) { return (k + 110 + 8) * roundoff * size_of(want[i]); });
  });
  // More rows than a device starts warps.
  const std::int64_t rows = 17001;
  Floats x(2 * rows), y(2 * rows);
  for (std::int64_t i = 0; i < rows; ++i) x[2 * i] = 0, x[2 * i + 1] = static_cast<float>(i % 7);
  const Doubles d = widened(x);
  Doubles want(d);
  truth().softmax_forward(d.data(), rows, 2, want.data());
  for (const Level& level : levels) {
    y.poison();
    level.table->softmax_forward(x.data(), rows, 2, y.data());
    check_all(y, want, [&](std::size_t i) { return 120 * roundoff * size_of(want[i]); });
  }
}

void check_softmax_backward(const Levels& levels) {
  for_sizes(34, levels, [](Random& r, int k, const Kernels& t, bool extreme) {
    const int n = r.in(1, 5);
    const Floats y = random_floats(r, std::int64_t{n} * k), s = random_floats(r, y.size(), extreme);
    const bool add = r.coin();
    Floats got = output(r, y.size(), add);
    const Doubles dy = widened(y), ds = widened(s), old = widened(got);
    Doubles want(old);
    truth().softmax_backward(dy.data(), ds.data(), n, k, want.data(), add);
    t.softmax_backward(y.data(), s.data(), n, k, got.data(), add);
    check_all(got, want, [&](std::size_t i) {
      double size = size_of(ds[i]);
      const std::size_t width = static_cast<std::size_t>(k), row = i / width * width;
      for (std::size_t j = row; j < row + width; ++j) size += size_of(dy[j] * ds[j]);
      return (k + 4) * roundoff * (size_of(dy[i]) * size) +
             (add ? 2 * roundoff * (size_of(old[i]) + size_of(want[i])) : 0);
    });
  });
}

void check_log_softmax_forward(const Levels& levels) {
  for_sizes(46, levels, [](Random& r, int k, const Kernels& t, bool) {
    const int n = r.in(1, 5);
    Floats x = random_floats(r, std::int64_t{n} * k);
    for (std::int64_t i = 0; i < x.size(); ++i) x[i] *= 60;
    const Doubles d = widened(x);
    Doubles want(d);
    truth().log_softmax_forward(d.data(), n, k, want.data());
    Floats y = output(r, x.size(), false);
    t.log_softmax_forward(x.data(), n, k, y.data());
    check_all(y, want, [&](std::size_t i) { return 2 * roundoff * (size_of(want[i]) + size_of(d[i])); });
  });
}

void check_log_softmax_backward(const Levels& levels) {
  for_sizes(47, levels, [](Random& r, int k, const Kernels& t, bool) {
    const int n = r.in(1, 5);
    const Floats y = random_floats(r, std::int64_t{n} * k), s = random_floats(r, y.size());
    const bool add = r.coin();
    Floats got = output(r, y.size(), add);
    const Doubles dy = widened(y), ds = widened(s), old = widened(got);
    Doubles want(old);
    truth().log_softmax_backward(dy.data(), ds.data(), n, k, want.data(), add);
    t.log_softmax_backward(y.data(), s.data(), n, k, got.data(), add);
    check_all(got, want,
              [&](std::size_t i) { return 4 * roundoff * (size_of(want[i]) + (add ? size_of(old[i]) : 0) + 1); });
  });
}

void check_cross_entropy(const Levels& levels) {
  for_sizes(35, levels, [](Random& r, int k, const Kernels& t, bool extreme) {
    const int n = r.in(1, 4);
    Floats x = random_floats(r, std::int64_t{n} * k), target(x.size());
    const bool soft = r.coin();
    for (int i = 0; i < n && k > 0; ++i) {
      const int label = r.in(0, k - 1);
      for (int j = 0; j < k; ++j) {
        target[i * k + j] = soft ? std::fabs(r.value()) : j == label ? 1.0f : 0.0f;
        x[i * k + j] *= 20;
        if (extreme && !soft && j != label && r.in(0, 5) == 0) x[i * k + j] = -std::numeric_limits<float>::infinity();
      }
      if (extreme && i == 0) x[i * k + label] = std::numeric_limits<float>::quiet_NaN();
    }
    const float scale = 0.25f;
    const Doubles dx = widened(x), dt = widened(target);
    Doubles want_d(dx), want_loss(static_cast<std::size_t>(n)), loss(want_loss), again(want_loss);
    truth().cross_entropy(dx.data(), dt.data(), n, k, scale, want_loss.data(), want_d.data());
    Floats d = output(r, x.size(), false);
    t.cross_entropy(x.data(), target.data(), n, k, scale, loss.data(), d.data());
    std::vector<double> sums(static_cast<std::size_t>(n), 0.0);
    for (std::size_t i = 0; i < dt.size(); ++i) sums[i / static_cast<std::size_t>(k)] += dt[i];
    check_all(d, want_d, [&](std::size_t i) {
      const double p = (want_d[i] / scale) + dt[i];
      return scale * roundoff * (130.0 + k) * (size_of(p) + size_of(dt[i]));
    });
    t.cross_entropy(x.data(), target.data(), n, k, scale, again.data(), nullptr);
    for (int i = 0; i < n; ++i) {
      const std::size_t at = static_cast<std::size_t>(i);
      CHECK((std::isnan(want_loss[at]) ? std::isnan(loss[at])
                                       : std::fabs(loss[at] - want_loss[at]) <= 100 * roundoff * (1 + sums[at])));
      CHECK((std::memcmp(&again[at], &loss[at], sizeof(double)) == 0));
    }
  });
}

void check_sgd(const Levels& levels) {
  for_sizes(36, levels, [](Random& r, int n, const Kernels& k, bool) {
    Floats value = random_floats(r, n), grad = random_floats(r, n), buffer = random_floats(r, n);
    Doubles dv = widened(value), dg = widened(grad), db = widened(buffer);
    const bool momentum = r.coin();
    SgdArgs<float> a;
    SgdArgs<double> d;
    a.n = d.n = n;
    a.lr = d.lr = 0.1f;
    a.weight_decay = d.weight_decay = r.coin() ? 0.01f : 0;
    a.momentum = d.momentum = momentum ? 0.9f : 0;
    a.nesterov = d.nesterov = momentum && r.coin();
    a.value = value.data(), a.grad = grad.data(), a.momentum_buffer = momentum ? buffer.data() : nullptr;
    d.value = dv.data(), d.grad = dg.data(), d.momentum_buffer = momentum ? db.data() : nullptr;
    truth().sgd(d);
    k.sgd(a);
    check_all(value, dv, [](std::size_t) { return 8 * roundoff * 4; });
    check_all(buffer, db, [](std::size_t) { return 4 * roundoff * 4; });
    CHECK(grad.intact());
  });
}

void check_adam(const Levels& levels) {
  for_sizes(37, levels, [](Random& r, int n, const Kernels& k, bool) {
    Floats value = random_floats(r, n), grad = random_floats(r, n), m = random_floats(r, n), v = random_floats(r, n);
    for (std::int64_t i = 0; i < n; ++i) v[i] = v[i] * v[i];
    Doubles dv = widened(value), dg = widened(grad), dm = widened(m), d2 = widened(v);
    const Doubles before = dv;
    AdamArgs<float> a;
    AdamArgs<double> d;
    a.n = d.n = n;
    a.lr = d.lr = 0.01f;
    a.weight_decay = d.weight_decay = r.coin() ? 0.01f : 0;
    a.decoupled = d.decoupled = r.coin();
    a.step = d.step = r.in(1, 1000);
    a.value = value.data(), a.grad = grad.data(), a.m = m.data(), a.v = v.data();
    d.value = dv.data(), d.grad = dg.data(), d.m = dm.data(), d.v = d2.data();
    truth().adam(d);
    k.adam(a);
    // 1 - beta rounds once: a relative error of roundoff / (1 - beta2) at most, here exact by subtraction of
    // neighbours.
    check_all(m, dm, [](std::size_t) { return 6 * roundoff * 2; });
    check_all(v, d2, [](std::size_t) { return 6 * roundoff * 4; });
    // The update may be large where v is small: its own relative error counts, through m and the root of v.
    check_all(value, dv, [&](std::size_t i) {
      const double update = size_of(dv[i] - before[i]) + 1e-4;
      const double root = std::sqrt(d2[i]) + 1e-8;
      return 4 * roundoff * 2 + 24 * roundoff * update + 0.2 * 12 * roundoff / root;
    });
  });
}

void check_relevance_quotient(const Levels& levels) {
  for (Stabilise::Mode mode : {Stabilise::offset, Stabilise::clip}) {
    for (Sign sign : {Sign::any, Sign::positive, Sign::negative}) {
      for (float eps : {0.0f, 1e-6f, 0.25f}) {
        const Stabilise st{eps, mode};
        check_map(38, levels, 3, 3, false, [=](Random&, const auto& t, const auto& x, auto* s, std::int64_t n, bool) {
          t.relevance_quotient(st, sign, x[0], x[1], sign == Sign::any ? nullptr : x[2], s, n);
        });
      }
    }
  }
  for (const Level& level : levels) {
    CAPTURE(level.name);
    Random r(39);
    Floats s = random_floats(r, 37), z = random_floats(r, 37), apart(37);
    level.table->relevance_quotient({}, Sign::any, s.data(), z.data(), nullptr, apart.data(), 37);
    level.table->relevance_quotient({}, Sign::any, s.data(), z.data(), nullptr, s.data(), 37);
    CHECK(s.same_bits(apart));
  }
}

void check_no_relevance(const Levels& levels) {
  for_sizes(43, levels, [&](Random& r, int n, const Kernels& k, bool extreme) {
    const bool host = k.normals != nullptr;  // devices may always say no
    const Floats out = random_floats(r, n, extreme);
    for (Sign sign : {Sign::any, Sign::positive, Sign::negative}) {
      const auto speaks = [&](int i) {
        return sign == Sign::any ||
               (sign == Sign::positive ? out[static_cast<std::size_t>(i)] > 0 : out[static_cast<std::size_t>(i)] < 0);
      };
      const float* const signs = sign == Sign::any ? nullptr : out.data();
      // Relevance everywhere but where the group speaks.
      Floats rel(static_cast<std::size_t>(n));
      for (int i = 0; i < n; ++i) rel[static_cast<std::size_t>(i)] = speaks(i) ? (r.coin() ? 0.0f : -0.0f) : 1.0f;
      if (host) CHECK(k.no_relevance(sign, rel.data(), signs, n));
      if (n == 0) continue;
      const int at = r.in(0, n - 1);
      for (const float value : {1e-30f, -3.0f, std::numeric_limits<float>::quiet_NaN()}) {
        rel[static_cast<std::size_t>(at)] = value;
        CHECK((!k.no_relevance(sign, rel.data(), signs, n) || (host && !speaks(at))));
        if (host) CHECK(k.no_relevance(sign, rel.data(), signs, n) == !speaks(at));
      }
    }
  });
}

void check_relevance_product(const Levels& levels) {
  check_map(40, levels, 2, 3, true, [](Random& r, const auto& t, const auto& x, auto* d, std::int64_t n, bool add) {
    t.relevance_product(0.75f, random_substitute(r), x[0], x[1], d, n, add);
  });
}

void check_rescale_multiplier(const Levels& levels) {
  for_sizes(41, levels, [](Random& r, int n, const Kernels& k, bool extreme) {
    Floats x = random_floats(r, n, extreme), x0 = random_floats(r, n), y = random_floats(r, n),
           y0 = random_floats(r, n);
    for (std::int64_t i = 0; i < n; ++i) {
      if (r.in(0, 3) == 0) x[i] = x0[i];
    }
    const Floats slope = random_floats(r, n), s = random_floats(r, n, extreme);
    const bool add = r.coin();
    Floats got = output(r, n, add);
    const Doubles dx = widened(x), dx0 = widened(x0), dy = widened(y), dy0 = widened(y0), dslope = widened(slope),
                  ds = widened(s);
    const Doubles old = widened(got);
    Doubles want(old);
    truth().rescale_multiplier(dx.data(), dx0.data(), dy.data(), dy0.data(), dslope.data(), ds.data(), want.data(), n,
                               add);
    k.rescale_multiplier(x.data(), x0.data(), y.data(), y0.data(), slope.data(), s.data(), got.data(), n, add);
    check_all(got, want, relative(want, old, add, 5));
  });
}

void check_cross_max(const Levels& levels) {
  for_sizes(42, levels, [](Random& r, int n, const Kernels& k, bool extreme) {
    const Floats y = random_floats(r, n, extreme), y0 = random_floats(r, n), s = random_floats(r, n);
    Floats a = output(r, n, false), b = output(r, n, false);
    const Doubles dy = widened(y), dy0 = widened(y0), ds = widened(s);
    Doubles want_a(dy), want_b(dy);
    truth().cross_max(dy.data(), dy0.data(), ds.data(), want_a.data(), want_b.data(), n);
    k.cross_max(y.data(), y0.data(), s.data(), a.data(), b.data(), n);
    check_all(a, want_a, [&](std::size_t i) { return 2 * roundoff * size_of(want_a[i]); });
    check_all(b, want_b, [&](std::size_t i) { return 2 * roundoff * size_of(want_b[i]); });
  });
}

void check_select_by_sign(const Levels& levels) {
  for_sizes(43, levels, [](Random& r, int n, const Kernels& k, bool extreme) {
    const Floats d = random_floats(r, n, extreme), p = random_floats(r, n, extreme), q = random_floats(r, n, extreme);
    const bool add = r.coin();
    Floats z = output(r, n, add);
    const Doubles dd = widened(d), dp = widened(p), dq = widened(q), old = widened(z);
    Doubles want(old);
    truth().select_by_sign(dd.data(), dp.data(), dq.data(), want.data(), n, add);
    k.select_by_sign(d.data(), p.data(), q.data(), z.data(), n, add);
    check_all(z, want, [&](std::size_t i) {
      return 2 * roundoff * (chosen(dp[i]) + chosen(dq[i]) + (add ? size_of(old[i]) : 0));
    });
  });
}

void check_pseudo_count(const Levels& levels) {
  check_map(44, levels, 1, 0, false,
            [](Random&, const auto& t, const auto& x, auto* y, std::int64_t n, bool) { t.pseudo_count(x[0], y, n); });
}

void check_safe_divide(const Levels& levels) {
  check_map(45, levels, 2, 1, true, [](Random&, const auto& t, const auto& x, auto* z, std::int64_t n, bool add) {
    t.safe_divide(x[0], x[1], z, n, add);
  });
}

}  // namespace vitrine::kernels::selfcheck
