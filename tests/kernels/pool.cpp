// Self-check of the pools.
#include "selfcheck.h"

namespace vitrine::kernels::selfcheck {
namespace {

using Switches = Guarded<Switch>;

PoolShape random_shape(Random& r, bool average) {
  PoolShape s;
  s.planes = r.in(1, 4);
  s.h = r.in(1, 24), s.w = r.in(1, 45);
  s.adaptive = r.in(0, 4) == 0;
  s.count_padding = r.coin();
  if (s.adaptive) {
    s.oh = r.in(1, s.h), s.ow = r.in(1, s.w);
    return s;
  }
  if (r.in(0, 3) == 0) {
    s.h += 2, s.w += 2;
    s.kh = s.kw = s.stride_h = s.stride_w = 2;
    s.oh = s.h / 2, s.ow = s.w / 2;
    return s;
  }
  s.kh = r.in(1, std::min(5, s.h)), s.kw = r.in(1, std::min(5, s.w));
  s.stride_h = r.in(1, 3), s.stride_w = r.in(1, 3);
  if (r.in(0, 3) == 0) s.dilation_h = s.dilation_w = 2;
  s.pad_top = r.in(0, s.kh / 2), s.pad_left = r.in(0, s.kw / 2);
  s.pad_bottom = r.in(0, s.kh / 2), s.pad_right = r.in(0, s.kw / 2);
  const int up = r.coin() ? 1 : 0;  // ceil mode
  const int room_h = s.h + s.pad_top + s.pad_bottom - (s.kh - 1) * s.dilation_h - 1;
  const int room_w = s.w + s.pad_left + s.pad_right - (s.kw - 1) * s.dilation_w - 1;
  if (room_h < 0 || room_w < 0) return random_shape(r, average);
  s.oh = (room_h + up * (s.stride_h - 1)) / s.stride_h + 1;
  s.ow = (room_w + up * (s.stride_w - 1)) / s.stride_w + 1;
  return s;
}

template <class F>
void for_shapes(std::uint64_t seed, const Levels& levels, bool average, F f) {
  Random r(seed);
  for (int i = 0; i < 200; ++i) {
    const PoolShape s = random_shape(r, average);
    CAPTURE(s.planes);
    CAPTURE(s.h);
    CAPTURE(s.w);
    CAPTURE(s.oh);
    CAPTURE(s.ow);
    CAPTURE(s.kh);
    CAPTURE(s.kw);
    CAPTURE(s.stride_h);
    CAPTURE(s.stride_w);
    CAPTURE(s.pad_top);
    CAPTURE(s.pad_left);
    CAPTURE(s.pad_bottom);
    CAPTURE(s.pad_right);
    CAPTURE(s.dilation_h);
    CAPTURE(s.adaptive);
    CAPTURE(s.count_padding);
    const std::int64_t in = s.planes * s.h * s.w, out = s.planes * s.oh * s.ow;
    Random values(seed * 1000 + static_cast<std::uint64_t>(i));
    for (const Level& level : levels) {
      CAPTURE(level.name);
      Random same = values;
      f(same, s, in, out, *level.table, i % 3 == 0);
    }
  }
}

Switches winners(const PoolShape& s, const Floats& x, std::int64_t out) {
  Switches at(out);
  const Doubles d = widened(x);
  Doubles y(static_cast<std::size_t>(out));
  reference<double>().max_pool_forward(s, d.data(), y.data(), at.data());
  return at;
}

// With images blocked, the bits of the same pool with images outermost.
template <class F>
void for_interleaved(std::uint64_t seed, const Levels& levels, F f) {
  for_shapes(seed, levels, false,
             [&](Random& r, PoolShape s, std::int64_t in, std::int64_t out, const Kernels& k, bool extreme) {
               if (k.takes_interleaved == nullptr) return;
               PoolShape blocked = s;
               blocked.block = k.lanes;
               s.planes *= k.lanes;
               f(r, s, blocked, in, out, k, extreme);
             });
}

void check_interleaved(const Levels& levels) {
  for_interleaved(16, levels,
                  [](Random& r, const PoolShape& s, const PoolShape& blocked, std::int64_t in, std::int64_t out,
                     const Kernels& k, bool extreme) {
                    // Planes of one image are its channels: from image to image `in` and `out` elements.
                    Floats x = random_floats(r, in * k.lanes, extreme), y(out * k.lanes), z(out * k.lanes);
                    Switches at(out * k.lanes), z_at(out * k.lanes);
                    k.max_pool_forward(s, x.data(), y.data(), at.data());
                    const Floats x_interleaved = interleaved(x, k.lanes, in);
                    k.max_pool_forward(blocked, x_interleaved.data(), z.data(), z_at.data());
                    CHECK(interleaved(z, k.lanes, out, true).same_bits(y));
                    CHECK(interleaved(z_at, k.lanes, out, true).same_bits(at));
                    CHECK((z.intact() && z_at.intact()));
                    z.poison();
                    k.max_pool_forward(blocked, x_interleaved.data(), z.data(), nullptr);
                    CHECK(interleaved(z, k.lanes, out, true).same_bits(y));

                    const bool add = r.coin();
                    const Floats signal = random_floats(r, out * k.lanes);
                    Floats d = output(r, in * k.lanes, add), d_interleaved = interleaved(d, k.lanes, in);
                    k.max_pool_scatter(s, signal.data(), at.data(), d.data(), add);
                    k.max_pool_scatter(blocked, interleaved(signal, k.lanes, out).data(), z_at.data(),
                                       d_interleaved.data(), add);
                    CHECK(d_interleaved.intact());
                    const Floats back = interleaved(d_interleaved, k.lanes, in, true);
                    std::int64_t differ = 0;
                    for (std::int64_t i = 0; i < d.size(); ++i) differ += !(d[i] == back[i]);
                    CHECK(differ == 0);
                  });
}

}  // namespace

void check_max_pool_forward(const Levels& levels) {
  for_shapes(11, levels, false,
             [](Random& r, const PoolShape& s, std::int64_t in, std::int64_t out, const Kernels& k, bool extreme) {
               Floats x = random_floats(r, in, extreme);
               if (r.coin()) {
                 for (std::int64_t i = 0; i < in; ++i) x[i] = std::round(2 * x[i]);  // ties
               }
               const Doubles d = widened(x);
               Doubles want(static_cast<std::size_t>(out));
               Switches want_at(out), at(out);
               reference<double>().max_pool_forward(s, d.data(), want.data(), want_at.data());
               Floats y = output(r, out, false);
               k.max_pool_forward(s, x.data(), y.data(), at.data());
               check_all(y, want, [](std::size_t) { return 0.0; });
               CHECK(at.same_bits(want_at));
               CHECK(at.intact());
               Floats alone = output(r, out, false);
               k.max_pool_forward(s, x.data(), alone.data(), nullptr);
               CHECK(alone.same_bits(y));
             });
}

// Maps with places that tie but for rounding, some in all channels and some in all but one; extreme values, NaN and
// infinities; images planar and interleaved.
void check_max_pool_ties(const Levels& levels) {
  for_shapes(17, levels, false, [](Random& r, PoolShape s, std::int64_t, std::int64_t, const Kernels& k, bool extreme) {
    const std::int32_t channels = r.in(1, 5), images = r.in(1, 3);
    const bool interleave = k.takes_interleaved != nullptr && r.coin();
    const std::int64_t n = interleave ? k.lanes : images, pixels = std::int64_t{s.h} * s.w;
    s.planes = n * channels;
    const std::int64_t in = s.planes * pixels, out = s.planes * s.oh * s.ow;
    Floats x = random_floats(r, in, extreme);
    for (std::int64_t i = 0; i < in; ++i) {
      const std::int64_t place = i % pixels;
      // Columns in pairs: equal but for rounding, save one channel of every third row.
      const bool differs = place / s.w % 3 == 0 && i / pixels % channels == channels - 1;
      if (place % s.w % 2 == 1 && !differs && r.in(0, 9) > 0) x[i] = x[i - 1] * (1 + 1e-7f * r.in(-2, 2));
    }
    Switches at = winners(s, x, out), want = at, blocked_at = at;
    const Doubles d = widened(x);
    Doubles y(static_cast<std::size_t>(out)), most(static_cast<std::size_t>(n));
    Floats pooled(out), largest(n);
    reference<double>().max_pool_forward(s, d.data(), y.data(), nullptr);
    k.max_pool_forward(s, x.data(), pooled.data(), nullptr);
    reference<double>().max_pool_ties(s, channels, d.data(), y.data(), most.data(), want.data());
    if (!interleave) {
      k.max_pool_ties(s, channels, x.data(), pooled.data(), largest.data(), at.data());
      CHECK(at.same_bits(want));
      CHECK((at.intact() && largest.intact()));
      return;
    }
    PoolShape blocked = s;
    blocked.block = k.lanes;
    blocked.planes = channels;
    const std::int64_t per_image_in = in / n, per_image_out = out / n;
    Switches moved = interleaved(at, k.lanes, per_image_out);
    k.max_pool_ties(blocked, channels, interleaved(x, k.lanes, per_image_in).data(),
                    interleaved(pooled, k.lanes, per_image_out).data(), largest.data(), moved.data());
    CHECK(interleaved(moved, k.lanes, per_image_out, true).same_bits(want));
    CHECK((moved.intact() && largest.intact()));
  });
}

void check_max_pool_gather(const Levels& levels) {
  for_shapes(12, levels, false,
             [](Random& r, const PoolShape& s, std::int64_t in, std::int64_t out, const Kernels& k, bool extreme) {
               const Switches at = winners(s, random_floats(r, in), out);
               const Floats x = random_floats(r, in, extreme);
               const Doubles d = widened(x);
               Doubles want(static_cast<std::size_t>(out));
               reference<double>().max_pool_gather(s, d.data(), at.data(), want.data());
               Floats y = output(r, out, false);
               k.max_pool_gather(s, x.data(), at.data(), y.data());
               check_all(y, want, [](std::size_t) { return 0.0; });
             });
}

void check_max_pool_scatter(const Levels& levels) {
  check_interleaved(levels);
  for_shapes(13, levels, false,
             [](Random& r, const PoolShape& s, std::int64_t in, std::int64_t out, const Kernels& k, bool extreme) {
               const Switches at = winners(s, random_floats(r, in), out);
               const Floats y = random_floats(r, out, extreme);
               const bool add = r.coin();
               Floats x = output(r, in, add);
               Doubles want = widened(x), size = magnitudes({}, x);
               const Doubles d = widened(y), m = magnitudes({}, y);
               reference<double>().max_pool_scatter(s, d.data(), at.data(), want.data(), add);
               reference<double>().max_pool_scatter(s, m.data(), at.data(), size.data(), add);
               k.max_pool_scatter(s, y.data(), at.data(), x.data(), add);
               check_all(x, want, [&](std::size_t i) { return (s.kh * s.kw + 1) * roundoff * size[i]; });
             });
}

void check_avg_pool_forward(const Levels& levels) {
  for_shapes(14, levels, true,
             [](Random& r, const PoolShape& s, std::int64_t in, std::int64_t out, const Kernels& k, bool extreme) {
               const Floats x = random_floats(r, in, extreme);
               const Doubles d = widened(x), m = magnitudes({}, x);
               Doubles want(static_cast<std::size_t>(out)), size(want);
               reference<double>().avg_pool_forward(s, d.data(), want.data());
               reference<double>().avg_pool_forward(s, m.data(), size.data());
               Floats y = output(r, out, false);
               k.avg_pool_forward(s, x.data(), y.data());
               const double terms = s.adaptive ? double(s.h) * s.w : double(s.kh) * s.kw;
               check_all(y, want, [&](std::size_t i) { return (terms + 2) * roundoff * size[i]; });
             });
}

void check_avg_pool_backward(const Levels& levels) {
  for_shapes(15, levels, true,
             [](Random& r, const PoolShape& s, std::int64_t in, std::int64_t out, const Kernels& k, bool extreme) {
               const Floats y = random_floats(r, out, extreme);
               const bool add = r.coin();
               Floats x = output(r, in, add);
               Doubles want = widened(x), size = magnitudes({}, x);
               const Doubles d = widened(y), m = magnitudes({}, y);
               reference<double>().avg_pool_backward(s, d.data(), want.data(), add);
               reference<double>().avg_pool_backward(s, m.data(), size.data(), add);
               k.avg_pool_backward(s, y.data(), x.data(), add);
               const double terms = s.adaptive ? double(s.oh) * s.ow : double(s.kh) * s.kw;
               check_all(x, want, [&](std::size_t i) { return (terms + 3) * roundoff * size[i]; });
             });
}

}  // namespace vitrine::kernels::selfcheck
