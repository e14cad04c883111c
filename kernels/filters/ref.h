// Reference kernels of interpretable filters and of other gates that depend on the map itself.
#pragma once

#include "kernels/ref.h"

namespace vitrine::kernels::ref {

/// Whether a value is the larger one `largest` but for rounding.
template <class T>
bool ties_with(T value, T largest) noexcept {
  return largest - value < T(tie_tolerance) * (largest < 0 ? -largest : largest);
}

/// The place of a map's peak: the first that ties with its maximum (tie_tolerance), or the rounded centre of mass of
/// its positive part (the first place if that is empty).
template <class T>
std::int32_t map_peak(const T* x, std::int32_t h, std::int32_t w, bool centroid) noexcept {
  const std::int32_t n = h * w;
  if (!centroid) {
    std::int32_t best = 0;
    for (std::int32_t p = 1; p < n; ++p)
      if (x[p] > x[best]) best = p;
    for (std::int32_t p = 0; p < best; ++p)
      if (ties_with(x[p], x[best])) return p;
    return best;
  }
  double mass = 0, row = 0, column = 0;
  for (std::int32_t p = 0; p < n; ++p) {
    const double v = x[p] > 0 ? static_cast<double>(x[p]) : 0;
    mass += v;
    row += v * (p / w);
    column += v * (p % w);
  }
  if (!(mass > 1e-9)) return 0;
  return static_cast<std::int32_t>(row / mass + 0.5) * w + static_cast<std::int32_t>(column / mass + 0.5);
}

/// M_mu at `distance` rows and columns from the peak: max(1 - steepness distance, -1), steepness = beta/side.
constexpr double template_at(std::int32_t distance, double steepness) noexcept {
  const double m = 1 - steepness * distance;
  return m > -1 ? m : -1;
}

/// Calls body(place, M_mu(place)) for all places of a map.
template <class Body>
void over_template(std::int32_t h, std::int32_t w, std::int32_t peak, double steepness, Body&& body) noexcept {
  const std::int32_t a = peak / w, b = peak % w;
  std::int32_t p = 0;
  for (std::int32_t i = 0; i < h; ++i) {
    const std::int32_t rows = i < a ? a - i : i - a;
    for (std::int32_t j = 0; j < w; ++j, ++p) body(p, template_at(rows + (j < b ? b - j : j - b), steepness));
  }
}

constexpr std::int32_t longer(std::int32_t h, std::int32_t w) noexcept { return h > w ? h : w; }

template <class T>
void template_gate(const TemplateArgs<T>& a) noexcept {
  const std::int32_t pixels = a.h * a.w, side = longer(a.h, a.w);
  for (std::int64_t plane = a.first; plane < a.last; ++plane) {
    const std::int64_t at = plane * pixels;
    const std::int32_t peak = map_peak(a.x + at, a.h, a.w, a.centroid);
    const double beta = static_cast<double>(a.beta) * static_cast<double>(a.slope[plane % a.channels]);
    over_template(a.h, a.w, peak, beta / side, [&](std::int32_t p, double m) noexcept {
      put(a.y[at + p], m > 0 ? static_cast<T>(m) * a.s[at + p] : T(0), a.add);
    });
  }
}

template <class T>
void peak_gate(const PeakArgs<T>& a) noexcept {
  const auto from = [&](std::int32_t i) { return i > a.radius ? i - a.radius : 0; };
  const auto to = [&](std::int32_t i, std::int32_t size) { return a.radius < size - 1 - i ? i + a.radius : size - 1; };
  for (std::int64_t plane = a.first; plane < a.last; ++plane) {
    const T* const x = a.x + plane * a.h * a.w;
    for (std::int32_t i = 0; i < a.h; ++i)
      for (std::int32_t j = 0; j < a.w; ++j) {
        const std::int64_t at = plane * a.h * a.w + i * a.w + j;
        bool first = true;
        for (std::int32_t u = from(i); u <= to(i, a.h); ++u)
          for (std::int32_t v = from(j); v <= to(j, a.w); ++v) {
            if (u == i && v == j) continue;
            const bool before = u < i || (u == i && v < j);
            const T here = x[i * a.w + j], there = x[u * a.w + v];
            if (before ? there >= here || ties_with(there, here) : there > here && !ties_with(here, there))
              first = false;
          }
        put(a.y[at], first ? a.s[at] : T(0), a.add);
      }
  }
}

template <class T>
void filter_state(const FilterStateArgs<T>& a) noexcept {
  const std::int32_t pixels = a.h * a.w, side = longer(a.h, a.w);
  for (std::int64_t f = a.first; f < a.last; ++f) {
    for (std::int32_t c = 0; c < a.classes; ++c) {
      double sum = 0;
      std::int64_t count = 0;
      for (std::int64_t n = 0; n < a.images; ++n) {
        if (a.labels[n] != c) continue;
        const T* const x = a.x + (n * a.channels + f) * pixels;
        double v = a.by_sum ? 0 : static_cast<double>(x[0]);
        for (std::int32_t p = 0; p < pixels; ++p)
          v = a.by_sum ? v + static_cast<double>(x[p]) : static_cast<double>(x[p]) > v ? static_cast<double>(x[p]) : v;
        sum += v;
        ++count;
      }
      if (count == 0) continue;
      T& mean = a.statistics[c * a.channels + f];
      const double now = sum / static_cast<double>(count);
      mean = static_cast<T>(mean == T(0) ? (now > 0.1 ? now : 0.1) : 0.9 * static_cast<double>(mean) + 0.1 * now);
    }
    std::int32_t best = 0;
    for (std::int32_t c = 1; c < a.classes; ++c)
      if (a.statistics[c * a.channels + f] > a.statistics[best * a.channels + f]) best = c;
    a.category[f] = static_cast<T>(best);
    if (a.slope_rate == 0) continue;
    // The spread of the map around its peak, weighted by how well the template fits.
    double weighted = 0, scores = 0;
    const double beta = static_cast<double>(a.beta) * static_cast<double>(a.slope[f]);
    for (std::int64_t n = 0; n < a.images; ++n) {
      if (a.labels[n] != best) continue;
      const T* const x = a.x + (n * a.channels + f) * pixels;
      const std::int32_t peak = map_peak(x, a.h, a.w, true);
      double mass = 0, square = 0, score = 0;
      over_template(a.h, a.w, peak, beta / side, [&](std::int32_t p, double m) noexcept {
        const double v = static_cast<double>(x[p]), dy = p / a.w - peak / a.w, dx = p % a.w - peak % a.w;
        mass += v;
        square += v * (dy * dy + dx * dx);
        score += v * m;
      });
      if (!(mass > 1e-9) || !(score > 0)) continue;
      weighted += score * std::sqrt(square / mass);
      scores += score;
    }
    if (!(weighted > 1e-9) || side < 2) continue;
    // w* = clip(3/sigma, 1.5, 3) in the coordinates -1 ... 1, which makes beta = 2 w n/(n-1).
    const double w = 3 * scores / weighted, clipped = w < 1.5 ? 1.5 : w > 3 ? 3 : w;
    const double goal = 2 * clipped * side / (side - 1) / static_cast<double>(a.beta);
    a.slope[f] = static_cast<T>(static_cast<double>(a.slope[f]) +
                                static_cast<double>(a.slope_rate) * (goal - static_cast<double>(a.slope[f])));
  }
}

template <class T>
Work filter_loss_plan(const FilterLossArgs<T>& a) noexcept {
  const std::size_t images = static_cast<std::size_t>(a.images),
                    places = static_cast<std::size_t>(a.h) * static_cast<std::size_t>(a.w);
  return {a.channels, images * static_cast<std::size_t>(a.channels) * sizeof(std::int32_t),
          (a.released ? 3 * images : (places + 1) * images + places + 1 + images) * sizeof(double)};
}

/// The peaks of all maps: the released code's log Z reads those of other images and filters.
template <class T>
void filter_loss_pack(const FilterLossArgs<T>& a, std::byte* shared, std::int64_t) noexcept {
  auto* const peaks = reinterpret_cast<std::int32_t*>(shared);
  for (std::int64_t plane = 0; plane < a.images * a.channels; ++plane)
    peaks[plane] = map_peak(a.x + plane * a.h * a.w, a.h, a.w, a.centroid);
}

inline double log_sum_exp(const double* x, std::int64_t n) noexcept {
  double top = 0, sum = 0;
  for (std::int64_t i = 0; i < n; ++i) top = i == 0 || x[i] > top ? x[i] : top;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - top);
  return top + std::log(sum);
}

/// [Zhang et al. 2018, eq. 3 and 4]: -MI of maps and templates and its gradient; sums are over the batch, not the data.
template <class T>
void filter_loss_paper(const FilterLossArgs<T>& a, const std::int32_t* peaks, double* scratch,
                       std::int64_t f) noexcept {
  const std::int32_t places = a.h * a.w, side = longer(a.h, a.w);
  const std::int64_t templates = std::int64_t{places} + 1, images = a.images;
  const double beta = static_cast<double>(a.beta) * static_cast<double>(a.slope[f]), tau = 0.5 / places,
               prior = 1.0 / static_cast<double>(templates);
  double *const s = scratch, *const log_z = s + templates * images, *const log_p = log_z + templates;
  const auto map = [&](std::int64_t n) { return a.x + (n * a.channels + f) * places; };
  // body(place, T(place)): the positive template around place t, or, at t = places, the negative one.
  const auto over = [&](std::int64_t t, auto&& body) {
    if (t < places)
      return over_template(a.h, a.w, static_cast<std::int32_t>(t), beta / side,
                           [&](std::int32_t p, double m) noexcept { body(p, tau * m); });
    for (std::int32_t p = 0; p < places; ++p) body(p, -tau);
  };
  for (std::int64_t t = 0; t < templates; ++t) {
    for (std::int64_t n = 0; n < images; ++n) {
      double sum = 0;
      const T* const x = map(n);
      over(t, [&](std::int32_t p, double v) noexcept { sum += static_cast<double>(x[p]) * v; });
      s[t * images + n] = sum;
    }
    log_z[t] = log_sum_exp(s + t * images, images);
  }
  double information = 0;
  for (std::int64_t n = 0; n < images; ++n) {
    double top = s[n] - log_z[0], sum = 0;
    for (std::int64_t t = 1; t < templates; ++t)
      top = s[t * images + n] - log_z[t] > top ? s[t * images + n] - log_z[t] : top;
    for (std::int64_t t = 0; t < templates; ++t) sum += std::exp(s[t * images + n] - log_z[t] - top);
    log_p[n] = std::log(prior) + top + std::log(sum);
    for (std::int64_t t = 0; t < templates; ++t) {
      const double log_q = s[t * images + n] - log_z[t];
      information += prior * std::exp(log_q) * (log_q - log_p[n]);
    }
  }
  if (a.loss) a.loss[f] = static_cast<T>(-information);
  if (!a.gradient) return;
  const auto weight = [&](std::int64_t t, std::int64_t n) {
    const double log_q = s[t * images + n] - log_z[t];
    return -prior * std::exp(log_q) * (log_q - log_p[n]);
  };
  for (std::int64_t n = 0; n < images; ++n) {
    T* const g = a.gradient + (n * a.channels + f) * places;
    for (std::int32_t p = 0; p < places; ++p) g[p] = T(0);
    if (!a.all_templates) {
      const std::int64_t target =
          a.labels[n] == static_cast<std::int32_t>(a.category[f]) ? peaks[n * a.channels + f] : std::int64_t{places};
      const double k = weight(target, n);
      over(target, [&](std::int32_t p, double v) noexcept { g[p] = static_cast<T>(k * v); });
      continue;
    }
    for (std::int64_t t = 0; t < templates; ++t) {
      const double k = weight(t, n);
      over(t, [&](std::int32_t p, double v) noexcept { g[p] += static_cast<T>(k * v); });
    }
  }
}

/// The authors' code: positive images are pulled up where their template is positive, negative ones down everywhere.
template <class T>
void filter_loss_released(const FilterLossArgs<T>& a, const std::int32_t* peaks, double* scratch,
                          std::int64_t f) noexcept {
  constexpr double temperature = 0.5;
  const std::int32_t places = a.h * a.w, side = longer(a.h, a.w), own = static_cast<std::int32_t>(a.category[f]);
  const std::int64_t images = a.images;
  double *const s = scratch, *const foreign = s + images, *const mean = foreign + images;
  const auto beta_of = [&](std::int64_t k) { return static_cast<double>(a.beta) * static_cast<double>(a.slope[k]); };
  const std::int64_t other = a.channels - 1 - f;
  for (std::int64_t n = 0; n < images; ++n) {
    const T* const x = a.x + (n * a.channels + f) * places;
    const std::int32_t mine = peaks[n * a.channels + f], theirs = peaks[(images - 1 - n) * a.channels + other];
    s[n] = foreign[n] = mean[n] = 0;
    over_template(a.h, a.w, mine, beta_of(f) / side, [&](std::int32_t p, double m) noexcept {
      s[n] += static_cast<double>(x[p]) * m;
      mean[n] += static_cast<double>(x[p]);
    });
    over_template(a.h, a.w, theirs, beta_of(other) / side,
                  [&](std::int32_t p, double m) noexcept { foreign[n] += static_cast<double>(x[p]) * m; });
    s[n] /= places;
    foreign[n] /= places;
    mean[n] /= places;
  }
  const auto log_mean = [&](const double* v, double sign) {
    double top = sign * v[0], sum = 0;
    for (std::int64_t n = 1; n < images; ++n) top = sign * v[n] > top ? sign * v[n] : top;
    for (std::int64_t n = 0; n < images; ++n) sum += std::exp((sign * v[n] - top) / temperature);
    return top + temperature * std::log(sum / static_cast<double>(images));
  };
  const double log_z = log_mean(foreign, 1), log_zn = log_mean(mean, -1);
  // Weights relative to their mean: a common factor cancels, so the largest exponent is subtracted. s and mean become
  // the weights.
  double top = -1e300, top_n = -1e300, sum = 0, sum_n = 0;
  std::int64_t count = 0;
  for (std::int64_t n = 0; n < images; ++n) {
    const bool positive = a.labels[n] == own;
    count += positive;
    if (positive && s[n] > top) top = s[n];
    if (!positive && -mean[n] > top_n) top_n = -mean[n];
  }
  for (std::int64_t n = 0; n < images; ++n) {
    if (a.labels[n] == own)
      sum += s[n] = std::exp((s[n] - top) / temperature) * (s[n] - log_z + temperature);
    else
      sum_n += mean[n] = std::exp((-mean[n] - top_n) / temperature) * (-mean[n] - log_zn + temperature);
  }
  const double share = a.share[own], balance = a.classes < 2 ? 1 : 0.5;
  const double up = a.classes < 2 ? 1 : balance / (share > 1e-6 ? share : 1e-6),
               down = a.classes < 2 ? 1 : balance / (1 - share > 1e-6 ? 1 - share : 1e-6);
  const std::int64_t rest = images - count;
  if (a.loss) a.loss[f] = static_cast<T>(0);
  if (!a.gradient) return;
  for (std::int64_t n = 0; n < images; ++n) {
    T* const g = a.gradient + (n * a.channels + f) * places;
    const bool positive = a.labels[n] == own;
    double k = positive ? (sum > 0 ? -up * s[n] * static_cast<double>(count) / sum : 0)
                        : (sum_n > 0 ? down * mean[n] * static_cast<double>(rest) / sum_n : 0);
    if (!(k > -1e30 && k < 1e30)) k = 0;
    over_template(a.h, a.w, peaks[n * a.channels + f], beta_of(f) / side,
                  [&](std::int32_t p, double m) noexcept { g[p] = static_cast<T>(positive ? k * m : k); });
  }
}

template <class T>
void filter_loss_tile(const FilterLossArgs<T>& a, const std::byte* shared, std::byte* scratch,
                      std::int64_t f) noexcept {
  const auto* const peaks = reinterpret_cast<const std::int32_t*>(shared);
  auto* const memory = reinterpret_cast<double*>(scratch);
  if (a.released)
    filter_loss_released(a, peaks, memory, f);
  else
    filter_loss_paper(a, peaks, memory, f);
}

}  // namespace vitrine::kernels::ref
