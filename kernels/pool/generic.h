// Vector pools. Vectors run along the outputs of a row whose windows are inside the input; outputs at the borders are
// done one by one. The 2x2 pool of stride 2, by far the most common, has its own loops.
#pragma once

#include "kernels/pool/window.h"
#include "kernels/simd/common.h"
#include "kernels/ways.h"

namespace vitrine::kernels {
namespace {

/// Outputs [first, last) of a row: their windows are inside the input along x.
struct Middle {
  std::int64_t first, last;
};

VITRINE_INLINE Middle middle(const PoolShape& s) {
  if (s.adaptive || s.stride_w > 2) return {0, 0};
  Middle m{ceil_div(s.pad_left, s.stride_w), 0};
  const std::int64_t room = std::int64_t{s.w} - (std::int64_t{s.kw} - 1) * s.dilation_w - 1 + s.pad_left;
  m.last = room < 0 ? 0 : smaller<std::int64_t>(s.ow, room / s.stride_w + 1);
  m.first = smaller<std::int64_t>(m.first, s.ow);
  if (m.last < m.first) m.last = m.first;
  return m;
}

VITRINE_INLINE bool is_2x2(const PoolShape& s) {
  return !s.adaptive && s.kh == 2 && s.kw == 2 && s.stride_h == 2 && s.stride_w == 2 && s.pad_top == 0 &&
         s.pad_left == 0 && s.dilation_h == 1 && s.dilation_w == 1 && 2 * s.oh <= s.h && 2 * s.ow <= s.w;
}

/// Elements p[0], p[stride], ... for n outputs; reads nothing beyond the last.
template <class V>
VITRINE_INLINE V load_strided(const float* p, std::int64_t stride, std::int64_t n) {
  if (stride == 1) return V::load_n(p, n);
  const std::int64_t length = 2 * n - 1;
  return V::even(V::load_n(p, smaller<std::int64_t>(length, V::width)),
                 V::load_n(p + (length > V::width ? V::width : 0), larger<std::int64_t>(0, length - V::width)));
}

template <class V>
VITRINE_INLINE void take_larger(V v, V tap, V& best, V& at) {
  const auto wins = (v > best) | (v.is_nan() & !best.is_nan());
  best = V::select(wins, v, best);
  at = V::select(wins, tap, at);
}

template <class V>
void max_pool_2x2(const PoolShape& s, const float* x, float* y, Switch* switches) noexcept {
  for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w) {
    for (std::int64_t i = 0; i < s.oh; ++i, y += s.ow, switches += switches ? s.ow : 0) {
      const float *top = x + 2 * i * s.w, *bottom = top + s.w;
      for (std::int64_t j = 0; j < s.ow; j += V::width) {
        const std::int64_t n = smaller<std::int64_t>(V::width, s.ow - j),
                           n1 = larger<std::int64_t>(0, 2 * n - V::width);
        const std::int64_t second = n1 > 0 ? V::width : 0;
        const V a = V::load_n(top + 2 * j, 2 * n), b = V::load_n(top + 2 * j + second, n1);
        const V c = V::load_n(bottom + 2 * j, 2 * n), d = V::load_n(bottom + 2 * j + second, n1);
        V best = V::even(a, b), at = V::zero();
        take_larger(V::odd(a, b), V::set(1), best, at);
        take_larger(V::even(c, d), V::set(2), best, at);
        take_larger(V::odd(c, d), V::set(3), best, at);
        best.store_n(y + j, n);
        if (switches) at.store_u16_n(switches + j, n);
      }
    }
  }
}

/// The larger of two, NaN if one is.
template <class V>
VITRINE_INLINE V larger_of(V a, V b) {
  return V::select(b.is_nan(), b, V::max(b, a));  // max gives its second operand if either is NaN
}

VITRINE_INLINE void max_of_window(const PoolShape& s, const float* x, const Window& a, const Window& b, float& y,
                                  Switch* to) {
  float best = 0;
  Switch at = 0;
  bool any = false;
  for (std::int64_t ty = a.first; ty < a.last; ++ty) {
    const float* row = x + (a.begin + ty * a.dilation) * s.w + b.begin;
    for (std::int64_t tx = b.first; tx < b.last; ++tx) {
      const float v = row[tx * b.dilation];
      if (any && !(v > best) && !(v != v && best == best)) continue;
      any = true;
      best = v;
      at = static_cast<Switch>(ty * b.span + tx);
    }
  }
  y = best;
  if (to) *to = at;
}

/// For interleaved images: every vector is one pixel of V::width images. Calls body(window along y, along x) for every
/// output of every plane, with x moved to the plane.
template <class V, class X, class F>
VITRINE_INLINE void over_windows(const PoolShape& s, X* x, F&& body) {
  for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w * V::width)
    for (std::int64_t i = 0; i < s.oh; ++i) {
      const Window a = window_y(s, i);
      for (std::int64_t j = 0; j < s.ow; ++j) body(x, a, window_x(s, j));
    }
}

template <class V>
void max_pool_interleaved(const PoolShape& s, const float* x, float* y, Switch* switches) noexcept {
  const auto store_winner = [&](V best, V at) __attribute__((always_inline)) {
    best.store(y);
    y += V::width;
    if (!switches) return;
    at.store_u16_n(switches, V::width);
    switches += V::width;
  };
  if (is_2x2(s)) {
    for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w * V::width)
      for (std::int64_t i = 0; i < s.oh; ++i) {
        const float *top = x + 2 * i * s.w * V::width, *bottom = top + s.w * V::width;
        for (std::int64_t j = 0; j < s.ow && !switches; ++j, top += 2 * V::width, bottom += 2 * V::width, y += V::width)
          larger_of(larger_of(V::load(top), V::load(top + V::width)),
                    larger_of(V::load(bottom), V::load(bottom + V::width)))
              .store(y);
        for (std::int64_t j = 0; j < s.ow && switches; ++j, top += 2 * V::width, bottom += 2 * V::width) {
          V best = V::load(top), at = V::zero();
          take_larger(V::load(top + V::width), V::set(1), best, at);
          take_larger(V::load(bottom), V::set(2), best, at);
          take_larger(V::load(bottom + V::width), V::set(3), best, at);
          store_winner(best, at);
        }
      }
    return;
  }
  over_windows<V>(
      s, x, [&](const float* plane, const Window& a, const Window& b) __attribute__((always_inline)) {
        V best = V::zero(), at = V::zero();
        for (std::int64_t ty = a.first; ty < a.last; ++ty) {
          const float* const row = plane + ((a.begin + ty * a.dilation) * s.w + b.begin) * V::width;
          for (std::int64_t tx = b.first; tx < b.last; ++tx) {
            const V v = V::load(row + tx * b.dilation * V::width), tap = V::set(static_cast<float>(ty * b.span + tx));
            if (ty == a.first && tx == b.first) {
              best = v;
              at = tap;
            } else {
              take_larger(v, tap, best, at);
            }
          }
        }
        store_winner(best, at);
      });
}

template <class V>
void max_pool_scatter_interleaved(const PoolShape& s, const float* y, const Switch* switches, float* x,
                                  bool add) noexcept {
  const std::int64_t size = s.planes * s.h * s.w * V::width;
  const bool tiled = is_2x2(s) && 2 * s.oh == s.h && 2 * s.ow == s.w;  // every input is written exactly once
  if (!add && !tiled)
    for (std::int64_t k = 0; k < size; k += V::width) V::zero().store(x + k);
  if (tiled) {
    for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w * V::width)
      for (std::int64_t i = 0; i < s.oh; ++i) {
        float *top = x + 2 * i * s.w * V::width, *bottom = top + s.w * V::width;
        for (std::int64_t j = 0; j < s.ow;
             ++j, y += V::width, switches += V::width, top += 2 * V::width, bottom += 2 * V::width) {
          const V v = V::load(y), at = V::load_u16_n(switches, V::width), z = V::zero();
          store(V::select(at == z, v, z), top, add, Whole{});
          store(V::select(at == V::set(1), v, z), top + V::width, add, Whole{});
          store(V::select(at == V::set(2), v, z), bottom, add, Whole{});
          store(V::select(at == V::set(3), v, z), bottom + V::width, add, Whole{});
        }
      }
    return;
  }
  over_windows<V>(
      s, x, [&](float* plane, const Window& a, const Window& b) __attribute__((always_inline)) {
        const V v = V::load(y), at = V::load_u16_n(switches, V::width);
        y += V::width;
        switches += V::width;
        for (std::int64_t ty = a.first; ty < a.last; ++ty) {
          float* const row = plane + ((a.begin + ty * a.dilation) * s.w + b.begin) * V::width;
          for (std::int64_t tx = b.first; tx < b.last; ++tx)
            store(V::select(at == V::set(static_cast<float>(ty * b.span + tx)), v, V::zero()),
                  row + tx * b.dilation * V::width, true, Whole{});
        }
      });
}

template <class V>
void max_pool_rows(const PoolShape& s, const float* x, float* y, Switch* switches) noexcept {
  const Middle mid = middle(s);
  for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w) {
    for (std::int64_t i = 0; i < s.oh; ++i, y += s.ow, switches += switches ? s.ow : 0) {
      const Window a = window_y(s, i);
      for (std::int64_t j = 0; j < s.ow; ++j) {
        if (j == mid.first && a.first < a.last) j = mid.last;
        if (j < s.ow) max_of_window(s, x, a, window_x(s, j), y[j], switches ? switches + j : nullptr);
      }
      if (a.first >= a.last) continue;
      for (std::int64_t j = mid.first; j < mid.last; j += V::width) {
        const std::int64_t n = smaller<std::int64_t>(V::width, mid.last - j);
        V best = V::zero(), at = V::zero();
        for (std::int64_t ty = a.first; ty < a.last; ++ty) {
          const float* row = x + (a.begin + ty * a.dilation) * s.w + j * s.stride_w - s.pad_left;
          for (std::int64_t tx = 0; tx < s.kw; ++tx) {
            const V v = load_strided<V>(row + tx * s.dilation_w, s.stride_w, n);
            const V tap = V::set(static_cast<float>(ty * s.kw + tx));
            if (ty == a.first && tx == 0) {
              best = v;
              at = tap;
            } else {
              take_larger(v, tap, best, at);
            }
          }
        }
        best.store_n(y + j, n);
        if (switches) at.store_u16_n(switches + j, n);
      }
    }
  }
}

/// Calls f(input place in its plane or -1, output index) for every output of every plane, with x moved to the plane.
template <class X, class F>
VITRINE_INLINE void for_each_winner(const PoolShape& s, X* x, const Switch* switches, F f) {
  const bool simple = !s.adaptive && s.pad_top == 0 && s.pad_left == 0 &&
                      (s.oh - 1) * s.stride_h + (s.kh - 1) * s.dilation_h < s.h &&
                      (s.ow - 1) * s.stride_w + (s.kw - 1) * s.dilation_w < s.w;
  std::int64_t o = 0;
  for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w) {
    for (std::int64_t i = 0; i < s.oh; ++i) {
      const Window a = window_y(s, i);
      for (std::int64_t j = 0; j < s.ow; ++j, ++o) {
        if (simple) {
          const std::uint32_t at = switches[o], k = static_cast<std::uint32_t>(s.kw);
          f(x,
            (a.begin + std::int64_t{at / k} * s.dilation_h) * s.w + j * s.stride_w +
                std::int64_t{at % k} * s.dilation_w,
            o);
        } else {
          f(x, winner(s, a, window_x(s, j), switches[o]), o);
        }
      }
    }
  }
}

template <class V>
void max_pool_gather(const PoolShape& s, const float* x, const Switch* switches, float* y) noexcept {
  for_each_winner(
      s, x, switches, [&](const float* plane, std::int64_t at, std::int64_t o) __attribute__((always_inline)) {
        y[o] = at < 0 ? 0.0f : plane[at];
      });
}

/// Writes a row of outputs back to the pairs of inputs they came from: even from `a`, odd from `b`.
template <class V>
VITRINE_INLINE void store_pairs(V a, V b, float* x, std::int64_t n, bool add) {
  const Part low{smaller<std::int64_t>(V::width, 2 * n)}, high{larger<std::int64_t>(0, 2 * n - V::width)};
  store(V::zip_low(a, b), x, add, low);
  if (high.n > 0) store(V::zip_high(a, b), x + V::width, add, high);
}

/// Zeroes what 2x2 windows do not cover: a last odd column and the rows below.
template <class V>
VITRINE_INLINE void zero_rest(const PoolShape& s, float* x) {
  for (std::int64_t i = 0; i < s.h; ++i) {
    const std::int64_t from = i < 2 * s.oh ? 2 * s.ow : 0;
    stream<V>(s.w - from, [&](std::int64_t j, auto step) { store(V::zero(), x + i * s.w + from + j, step); });
  }
}

template <class V>
void max_pool_scatter_2x2(const PoolShape& s, const float* y, const Switch* switches, float* x, bool add) noexcept {
  for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w) {
    if (!add) zero_rest<V>(s, x);
    for (std::int64_t i = 0; i < s.oh; ++i, y += s.ow, switches += s.ow) {
      for (std::int64_t j = 0; j < s.ow; j += V::width) {
        const std::int64_t n = smaller<std::int64_t>(V::width, s.ow - j);
        const V v = V::load_n(y + j, n), at = V::load_u16_n(switches + j, n), z = V::zero();
        float* to = x + 2 * i * s.w + 2 * j;
        store_pairs(V::select(at == z, v, z), V::select(at == V::set(1), v, z), to, n, add);
        store_pairs(V::select(at == V::set(2), v, z), V::select(at == V::set(3), v, z), to + s.w, n, add);
      }
    }
  }
}

template <class V>
void max_pool_scatter_windows(const PoolShape& s, const float* y, const Switch* switches, float* x, bool add) noexcept {
  if (!add) {
    stream<V>(s.planes * s.h * s.w, [&](std::int64_t i, auto step) { store(V::zero(), x + i, step); });
  }
  for_each_winner(
      s, x, switches, [&](float* plane, std::int64_t at, std::int64_t o) __attribute__((always_inline)) {
        if (at >= 0) plane[at] += y[o];
      });
}

template <class V>
VITRINE_INLINE float sum_of_window(const PoolShape& s, const float* x, const Window& a, const Window& b) {
  V lanes = V::zero();
  float sum = 0;
  const std::int64_t n = b.last - b.first;
  for (std::int64_t ty = a.first; ty < a.last; ++ty) {
    const float* row = x + (a.begin + ty * a.dilation) * s.w + b.begin + b.first * b.dilation;
    if (b.dilation == 1 && n >= 4) {
      stream<V>(n, [&](std::int64_t j, auto step) { lanes = lanes + load<V>(row + j, step); });
    } else {
      for (std::int64_t tx = 0; tx < n; ++tx) sum += row[tx * b.dilation];
    }
  }
  return sum + lanes.sum();
}

template <class V>
void avg_pool_forward(const PoolShape& s, const float* x, float* y) noexcept {
  const Middle mid = middle(s);
  for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w) {
    for (std::int64_t i = 0; i < s.oh; ++i, y += s.ow) {
      const Window a = window_y(s, i);
      const bool wide = mid.last - mid.first >= 4;
      for (std::int64_t j = 0; j < s.ow; ++j) {
        if (wide && j == mid.first) j = mid.last;
        if (j >= s.ow) break;
        const Window b = window_x(s, j);
        const std::int64_t count = divisor(s, a, b);
        y[j] = count ? sum_of_window<V>(s, x, a, b) / static_cast<float>(count) : 0.0f;
      }
      for (std::int64_t j = mid.first; wide && j < mid.last; j += V::width) {
        const std::int64_t n = smaller<std::int64_t>(V::width, mid.last - j), count = divisor(s, a, window_x(s, j));
        V sum = V::zero();
        for (std::int64_t ty = a.first; ty < a.last; ++ty) {
          const float* row = x + (a.begin + ty * a.dilation) * s.w + j * s.stride_w - s.pad_left;
          for (std::int64_t tx = 0; tx < s.kw; ++tx)
            sum = sum + load_strided<V>(row + tx * s.dilation_w, s.stride_w, n);
        }
        (count ? sum / V::set(static_cast<float>(count)) : V::zero()).store_n(y + j, n);
      }
    }
  }
}

template <class V>
void avg_pool_backward_2x2(const PoolShape& s, const float* y, float* x, bool add) noexcept {
  for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w) {
    if (!add) zero_rest<V>(s, x);
    for (std::int64_t i = 0; i < s.oh; ++i, y += s.ow) {
      for (std::int64_t j = 0; j < s.ow; j += V::width) {
        const std::int64_t n = smaller<std::int64_t>(V::width, s.ow - j);
        const V v = V::load_n(y + j, n) * V::set(0.25f);
        store_pairs(v, v, x + 2 * i * s.w + 2 * j, n, add);
        store_pairs(v, v, x + (2 * i + 1) * s.w + 2 * j, n, add);
      }
    }
  }
}

template <class V>
void avg_pool_backward_windows(const PoolShape& s, const float* y, float* x, bool add) noexcept {
  if (!add) {
    stream<V>(s.planes * s.h * s.w, [&](std::int64_t i, auto step) { store(V::zero(), x + i, step); });
  }
  for (std::int64_t p = 0; p < s.planes; ++p, x += std::int64_t{s.h} * s.w) {
    for (std::int64_t i = 0; i < s.oh; ++i, y += s.ow) {
      const Window a = window_y(s, i);
      for (std::int64_t j = 0; j < s.ow; ++j) {
        const Window b = window_x(s, j);
        const std::int64_t count = divisor(s, a, b), n = b.last - b.first;
        if (!count) continue;
        const float v = y[j] / static_cast<float>(count);
        for (std::int64_t ty = a.first; ty < a.last; ++ty) {
          float* row = x + (a.begin + ty * a.dilation) * s.w + b.begin + b.first * b.dilation;
          if (b.dilation == 1 && n >= V::width / 2) {
            stream<V>(n, [&](std::int64_t k, auto step) { store(V::set(v), row + k, true, step); });
          } else {
            for (std::int64_t k = 0; k < n; ++k) row[k * b.dilation] += v;
          }
        }
      }
    }
  }
}

// The ways of the pools that have several, best first (kernels/ways.h).

inline const char* refuses_planar(const PoolShape& s) noexcept { return s.block > 1 ? nullptr : does_not_apply; }
inline const char* refuses_other_than_2x2(const PoolShape& s) noexcept {
  return is_2x2(s) ? nullptr : "the windows are not 2x2 of stride 2 within the map";
}
inline const char* takes_all_pools(const PoolShape&) noexcept { return nullptr; }

template <class V>
struct MaxPoolForward {
  static constexpr Way<PoolShape, void (*)(const PoolShape&, const float*, float*, Switch*) noexcept> ways[] = {
      {"interleaved", &refuses_planar, &max_pool_interleaved<V>},
      {"2x2", &refuses_other_than_2x2, &max_pool_2x2<V>},
      {"along rows", &takes_all_pools, &max_pool_rows<V>},
  };
  static void run(const PoolShape& s, const float* x, float* y, Switch* switches) noexcept {
    choose(ways, s).kernel(s, x, y, switches);
  }
  static Choice choice(const PoolShape& s, bool) noexcept { return explain_choice("max_pool_forward", ways, s); }
};

template <class V>
struct MaxPoolScatter {
  static constexpr Way<PoolShape, void (*)(const PoolShape&, const float*, const Switch*, float*, bool) noexcept>
      ways[] = {
          {"interleaved", &refuses_planar, &max_pool_scatter_interleaved<V>},
          {"2x2", &refuses_other_than_2x2, &max_pool_scatter_2x2<V>},
          {"by switches", &takes_all_pools, &max_pool_scatter_windows<V>},
  };
  static void run(const PoolShape& s, const float* y, const Switch* switches, float* x, bool add) noexcept {
    choose(ways, s).kernel(s, y, switches, x, add);
  }
  static Choice choice(const PoolShape& s) noexcept { return explain_choice("max_pool_scatter", ways, s); }
};

template <class V>
struct AvgPoolBackward {
  static constexpr Way<PoolShape, void (*)(const PoolShape&, const float*, float*, bool) noexcept> ways[] = {
      {"2x2", &refuses_other_than_2x2, &avg_pool_backward_2x2<V>},
      {"by windows", &takes_all_pools, &avg_pool_backward_windows<V>},
  };
  static void run(const PoolShape& s, const float* y, float* x, bool add) noexcept {
    choose(ways, s).kernel(s, y, x, add);
  }
  static Choice choice(const PoolShape& s) noexcept { return explain_choice("avg_pool_backward", ways, s); }
};

}  // namespace
}  // namespace vitrine::kernels
