// Interpretable filters and other gates that depend on the map itself, on a CUDA device. Sums over a map are in double.
// One block per map; one thread per filter, element or template.
#include "kernels/cuda/reduce.h"

namespace vitrine::kernels::cuda {

constexpr int map_block = 128;

/// M_mu at `distance` rows and columns from the peak: max(1 - steepness distance, -1), steepness = beta/side.
__device__ __forceinline__ double template_value(std::int32_t distance, double steepness) {
  const double m = 1 - steepness * distance;
  return m > -1 ? m : -1.0;
}

/// Maps of h x w, and the templates around their places.
struct MapShape {
  std::int32_t h, w, places, side;
  Divider by_width;
  MapShape(std::int32_t h_, std::int32_t w_) : h(h_), w(w_), places(h_ * w_), side(h_ > w_ ? h_ : w_), by_width(w_) {}
  __device__ double at(std::int32_t place, std::int32_t peak, double steepness) const {
    const std::int32_t a = by_width.quotient(place), b = by_width.quotient(peak);
    const std::int32_t rows = a - b, columns = by_width.remainder(place, a) - by_width.remainder(peak, b);
    return template_value((rows < 0 ? -rows : rows) + (columns < 0 ? -columns : columns), steepness);
  }
};

/// A place and its value; the larger value wins, of equal ones the first place.
struct Candidate {
  float value;
  std::int32_t place;
};
__device__ __forceinline__ Candidate better(Candidate a, Candidate b) {
  return b.value > a.value || (b.value == a.value && b.place < a.place) ? b : a;
}

/// Whether a value is the larger one `largest` but for rounding.
__device__ __forceinline__ bool ties_with(float value, float largest) {
  return largest - value < tie_tolerance * fabsf(largest);
}

/// The best of all threads' candidates.
__device__ inline Candidate block_best(Candidate best) {
  VITRINE_SHARED(winners, Candidate[map_block / 32]);
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2)
    best = better(best, {shuffle_xor(best.value, bits), shuffle_xor(best.place, bits)});
  if (threadIdx.x % 32 == 0) winners[threadIdx.x / 32] = best;
  sync_threads();
  best = winners[0];
#pragma unroll
  for (int w = 1; w < map_block / 32; ++w) best = better(best, winners[w]);
  sync_threads();  // before the next call overwrites the winners
  return best;
}

/// The place of a map's peak, for all threads of a block of map_block: the first that ties with its maximum, or the
/// rounded centre of mass of its positive part (the first place if that is empty).
__device__ inline std::int32_t block_peak(const MapShape& shape, const float* x, bool centroid) {
  const auto t = static_cast<std::int32_t>(threadIdx.x);
  if (!centroid) {
    Candidate best = {x[0], 0};
    for (std::int32_t p = t; p < shape.places; p += map_block) best = better(best, {x[p], p});
    best = block_best(best);
    // Of the places that tie with the maximum the first: candidates of one value.
    Candidate first = {0, best.place};
    for (std::int32_t p = t; p < best.place && first.place == best.place; p += map_block)
      if (ties_with(x[p], best.value)) first.place = p;
    return block_best(first).place;
  }
  double mass = 0, row = 0, column = 0;
  for (std::int32_t p = t; p < shape.places; p += map_block) {
    const double v = x[p] > 0 ? static_cast<double>(x[p]) : 0.0;
    const std::int32_t r = shape.by_width.quotient(p);
    mass += v;
    row += v * r;
    column += v * shape.by_width.remainder(p, r);
  }
  mass = block_reduce<map_block>(mass, Sum());
  row = block_reduce<map_block>(row, Sum());
  column = block_reduce<map_block>(column, Sum());
  if (!(mass > 1e-9)) return 0;
  return static_cast<std::int32_t>(row / mass + 0.5) * shape.w + static_cast<std::int32_t>(column / mass + 0.5);
}

__global__ void __launch_bounds__(map_block) template_gate_kernel(TemplateArgs<float> a, MapShape shape) {
  for (std::int64_t plane = a.first + blockIdx.x; plane < a.last; plane += gridDim.x) {
    const std::int64_t at = plane * shape.places;
    const std::int32_t peak = block_peak(shape, a.x + at, a.centroid);
    const double steepness =
        static_cast<double>(a.beta) * static_cast<double>(a.slope[plane % a.channels]) / shape.side;
    for (auto p = static_cast<std::int32_t>(threadIdx.x); p < shape.places; p += map_block) {
      const double m = shape.at(p, peak, steepness);
      put(a.y[at + p], m > 0 ? static_cast<float>(m) * a.s[at + p] : 0.0f, a.add);
    }
  }
}

struct PeakGate {
  PeakArgs<float> a;
  PlaneIndex index;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const std::int64_t start = (a.first + at.plane) * a.h * a.w, own = start + at.row * a.w + at.column;
    const float here = a.x[own];
    const std::int32_t top = at.row > a.radius ? at.row - a.radius : 0,
                       left = at.column > a.radius ? at.column - a.radius : 0;
    const std::int32_t bottom = a.radius < a.h - 1 - at.row ? at.row + a.radius : a.h - 1,
                       right = a.radius < a.w - 1 - at.column ? at.column + a.radius : a.w - 1;
    bool first = true;
    for (std::int32_t u = top; u <= bottom; ++u) {
      for (std::int32_t v = left; v <= right; ++v) {
        if (u == at.row && v == at.column) continue;
        const float there = a.x[start + u * a.w + v];
        const bool before = u < at.row || (u == at.row && v < at.column);
        if (before ? there >= here || ties_with(there, here) : there > here && !ties_with(here, there)) first = false;
      }
    }
    put(a.y[own], first ? a.s[own] : 0.0f, a.add);
  }
};

// --- Filter state. Sums over maps come first, one block per map; then one thread per filter goes through the images.

/// The map of image blockIdx.x / filters and filter first + blockIdx.x % filters.
struct FilterMaps {
  std::int64_t channels, first, filters;
  __device__ std::int64_t image() const { return blockIdx.x / filters; }
  __device__ std::int64_t filter() const { return first + blockIdx.x % filters; }
  __device__ std::int64_t plane() const { return image() * channels + filter(); }
};

/// Each map's maximum or sum.
__global__ void __launch_bounds__(map_block)
    map_value_kernel(FilterMaps maps, MapShape shape, const float* x, bool by_sum, double* values) {
  x += maps.plane() * shape.places;
  double v = by_sum ? 0.0 : static_cast<double>(x[0]);
  for (auto p = static_cast<std::int32_t>(threadIdx.x); p < shape.places; p += map_block) {
    const double here = static_cast<double>(x[p]);
    v = by_sum ? v + here : here > v ? here : v;
  }
  v = by_sum ? block_reduce<map_block>(v, Sum()) : block_reduce<map_block>(v, Maximum());
  if (threadIdx.x == 0) values[blockIdx.x] = v;
}

struct FilterStatistics {
  FilterStateArgs<float> a;  // labels are the device's
  const double* values;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t f = a.first + i, filters = a.last - a.first;
    for (std::int32_t c = 0; c < a.classes; ++c) {
      double sum = 0;
      std::int64_t count = 0;
      for (std::int64_t n = 0; n < a.images; ++n) {
        if (a.labels[n] != c) continue;
        sum += values[n * filters + i];
        ++count;
      }
      if (count == 0) continue;
      float& mean = a.statistics[c * a.channels + f];
      const double now = sum / static_cast<double>(count);
      mean = static_cast<float>(mean == 0 ? (now > 0.1 ? now : 0.1) : 0.9 * static_cast<double>(mean) + 0.1 * now);
    }
    std::int32_t best = 0;
    for (std::int32_t c = 1; c < a.classes; ++c)
      if (a.statistics[c * a.channels + f] > a.statistics[best * a.channels + f]) best = c;
    a.category[f] = static_cast<float>(best);
  }
};

/// For each map of the filter's own class: mass, mass times square distance from the peak, and the template's score.
__global__ void __launch_bounds__(map_block)
    map_spread_kernel(FilterMaps maps, MapShape shape, FilterStateArgs<float> a, double* spread) {
  const std::int64_t f = maps.filter();
  if (a.labels[maps.image()] != static_cast<std::int32_t>(a.category[f])) return;  // the whole block
  const float* const x = a.x + maps.plane() * shape.places;
  const std::int32_t peak = block_peak(shape, x, true), peak_row = shape.by_width.quotient(peak),
                     peak_column = shape.by_width.remainder(peak, peak_row);
  const double steepness = static_cast<double>(a.beta) * static_cast<double>(a.slope[f]) / shape.side;
  double mass = 0, square = 0, score = 0;
  for (auto p = static_cast<std::int32_t>(threadIdx.x); p < shape.places; p += map_block) {
    const std::int32_t row = shape.by_width.quotient(p);
    const double v = static_cast<double>(x[p]), dy = row - peak_row,
                 dx = shape.by_width.remainder(p, row) - peak_column;
    mass += v;
    square += v * (dy * dy + dx * dx);
    score += v * shape.at(p, peak, steepness);
  }
  mass = block_reduce<map_block>(mass, Sum());
  square = block_reduce<map_block>(square, Sum());
  score = block_reduce<map_block>(score, Sum());
  if (threadIdx.x != 0) return;
  spread[3 * blockIdx.x] = mass;
  spread[3 * blockIdx.x + 1] = square;
  spread[3 * blockIdx.x + 2] = score;
}

struct FilterSlope {
  FilterStateArgs<float> a;
  const double* spread;
  std::int32_t side;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t f = a.first + i, filters = a.last - a.first;
    double weighted = 0, scores = 0;
    for (std::int64_t n = 0; n < a.images; ++n) {
      if (a.labels[n] != static_cast<std::int32_t>(a.category[f])) continue;
      const double* const s = spread + 3 * (n * filters + i);
      if (!(s[0] > 1e-9) || !(s[2] > 0)) continue;
      weighted += s[2] * sqrt(s[1] / s[0]);
      scores += s[2];
    }
    if (!(weighted > 1e-9) || side < 2) return;
    // w* = clip(3/sigma, 1.5, 3) in the coordinates -1 ... 1, which makes beta = 2 w n/(n-1).
    const double w = 3 * scores / weighted, clipped = w < 1.5 ? 1.5 : w > 3 ? 3.0 : w;
    const double goal = 2 * clipped * side / (side - 1) / static_cast<double>(a.beta);
    a.slope[f] = static_cast<float>(static_cast<double>(a.slope[f]) +
                                    static_cast<double>(a.slope_rate) * (goal - static_cast<double>(a.slope[f])));
  }
};

// --- The filter loss.

/// Its memory, all of it in the scratch of the tile: planes are image * channels + filter.
struct LossMemory {
  std::int32_t* labels;  ///< images
  std::int32_t* peaks;   ///< planes
  double* share;         ///< classes
  double* sums;   ///< released: planes of own score, foreign score, mean (3 each); paper: [template][plane], then their
                  ///< weights
  double* log_z;  ///< paper: [template][filter]
  double* weight;  ///< released: planes; paper: information of each plane
};

__global__ void __launch_bounds__(map_block)
    map_peak_kernel(MapShape shape, const float* x, bool centroid, std::int32_t* peaks) {
  const std::int32_t peak = block_peak(shape, x + std::int64_t{blockIdx.x} * shape.places, centroid);
  if (threadIdx.x == 0) peaks[blockIdx.x] = peak;
}

__device__ __forceinline__ double loss_steepness(const FilterLossArgs<float>& a, const MapShape& shape,
                                                 std::int64_t f) {
  return static_cast<double>(a.beta) * static_cast<double>(a.slope[f]) / shape.side;
}

__global__ void __launch_bounds__(map_block)
    released_scores_kernel(FilterLossArgs<float> a, MapShape shape, LossMemory m) {
  const std::int64_t plane = blockIdx.x, n = plane / a.channels, f = plane % a.channels, other = a.channels - 1 - f;
  const float* const x = a.x + plane * shape.places;
  const std::int32_t mine = m.peaks[plane], theirs = m.peaks[(a.images - 1 - n) * a.channels + other];
  const double own_slope = loss_steepness(a, shape, f), other_slope = loss_steepness(a, shape, other);
  double own = 0, foreign = 0, mean = 0;
  for (auto p = static_cast<std::int32_t>(threadIdx.x); p < shape.places; p += map_block) {
    const double v = static_cast<double>(x[p]);
    own += v * shape.at(p, mine, own_slope);
    foreign += v * shape.at(p, theirs, other_slope);
    mean += v;
  }
  own = block_reduce<map_block>(own, Sum());
  foreign = block_reduce<map_block>(foreign, Sum());
  mean = block_reduce<map_block>(mean, Sum());
  if (threadIdx.x != 0) return;
  m.sums[3 * plane] = own / shape.places;
  m.sums[3 * plane + 1] = foreign / shape.places;
  m.sums[3 * plane + 2] = mean / shape.places;
}

/// log of the mean of e^(sign v / temperature) over the images, times the temperature. `v` steps by `stride`.
__device__ inline double log_mean(const double* v, std::int64_t images, std::int64_t stride, double sign,
                                  double temperature) {
  double top = sign * v[0], sum = 0;
  for (std::int64_t n = 1; n < images; ++n) top = sign * v[n * stride] > top ? sign * v[n * stride] : top;
  for (std::int64_t n = 0; n < images; ++n) sum += exp((sign * v[n * stride] - top) / temperature);
  return top + temperature * log(sum / static_cast<double>(images));
}

/// What every map's template is multiplied with: positive images are pulled up where their template is positive,
/// negative ones down everywhere.
struct ReleasedWeights {
  FilterLossArgs<float> a;
  LossMemory m;
  __device__ void operator()(std::int64_t f) const {
    constexpr double temperature = 0.5;
    const auto own = static_cast<std::int32_t>(a.category[f]);
    const std::int64_t stride = 3 * a.channels;
    double* const s = m.sums + 3 * f;
    double* const mean = s + 2;
    const double log_z = log_mean(s + 1, a.images, stride, 1, temperature),
                 log_zn = log_mean(mean, a.images, stride, -1, temperature);
    // Weights over their mean: a common factor cancels, so the largest exponent is taken out.
    double top = -1e300, top_n = -1e300, sum = 0, sum_n = 0;
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < a.images; ++n) {
      const bool positive = m.labels[n] == own;
      count += positive;
      if (positive && s[n * stride] > top) top = s[n * stride];
      if (!positive && -mean[n * stride] > top_n) top_n = -mean[n * stride];
    }
    for (std::int64_t n = 0; n < a.images; ++n) {
      const double v = s[n * stride], u = -mean[n * stride];
      double& weight = m.weight[n * a.channels + f];
      if (m.labels[n] == own)
        sum += weight = exp((v - top) / temperature) * (v - log_z + temperature);
      else
        sum_n += weight = exp((u - top_n) / temperature) * (u - log_zn + temperature);
    }
    const double share = m.share[own], balance = a.classes < 2 ? 1.0 : 0.5;
    const double up = a.classes < 2 ? 1.0 : balance / (share > 1e-6 ? share : 1e-6),
                 down = a.classes < 2 ? 1.0 : balance / (1 - share > 1e-6 ? 1 - share : 1e-6);
    for (std::int64_t n = 0; n < a.images; ++n) {
      double& weight = m.weight[n * a.channels + f];
      double k = m.labels[n] == own ? (sum > 0 ? -up * weight * static_cast<double>(count) / sum : 0.0)
                                    : (sum_n > 0 ? down * weight * static_cast<double>(a.images - count) / sum_n : 0.0);
      if (!(k > -1e30 && k < 1e30)) k = 0;
      weight = k;
    }
    if (a.loss) a.loss[f] = 0;
  }
};

struct ReleasedGradient {
  FilterLossArgs<float> a;
  MapShape shape;
  PlaneIndex index;
  LossMemory m;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const std::int64_t n = at.plane / a.channels, f = at.plane % a.channels;
    const double k = m.weight[at.plane];
    const bool positive = m.labels[n] == static_cast<std::int32_t>(a.category[f]);
    const std::int32_t place = at.row * a.w + at.column;
    a.gradient[i] =
        static_cast<float>(positive ? k * shape.at(place, m.peaks[at.plane], loss_steepness(a, shape, f)) : k);
  }
};

/// T(place) of template t: the positive one around place t, or, at t = places, the negative one.
__device__ __forceinline__ double paper_template(const MapShape& shape, std::int64_t t, std::int32_t place,
                                                 double steepness) {
  const double tau = 0.5 / shape.places;
  return t < shape.places ? tau * shape.at(place, static_cast<std::int32_t>(t), steepness) : -tau;
}

/// A block a map, a thread a template.
__global__ void __launch_bounds__(map_block)
    paper_scores_kernel(FilterLossArgs<float> a, MapShape shape, LossMemory m) {
  const std::int64_t plane = blockIdx.x, planes = gridDim.x;
  const float* const x = a.x + plane * shape.places;
  const double steepness = loss_steepness(a, shape, plane % a.channels);
  for (std::int64_t t = threadIdx.x; t <= shape.places; t += map_block) {
    double sum = 0;
    for (std::int32_t p = 0; p < shape.places; ++p)
      sum += static_cast<double>(x[p]) * paper_template(shape, t, p, steepness);
    m.sums[t * planes + plane] = sum;
  }
}

struct PaperLogZ {
  FilterLossArgs<float> a;
  LossMemory m;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t t = i / a.channels, f = i % a.channels;
    const double* const s = m.sums + t * a.images * a.channels + f;
    double top = s[0], z = 0;
    for (std::int64_t n = 1; n < a.images; ++n) top = s[n * a.channels] > top ? s[n * a.channels] : top;
    for (std::int64_t n = 0; n < a.images; ++n) z += exp(s[n * a.channels] - top);
    m.log_z[i] = top + log(z);
  }
};

/// For each map its part of the mutual information; its scores become the weights of the templates in the gradient.
struct PaperInformation {
  FilterLossArgs<float> a;
  LossMemory m;
  std::int64_t templates;
  __device__ void operator()(std::int64_t plane) const {
    const std::int64_t planes = a.images * a.channels, f = plane % a.channels;
    const double prior = 1.0 / static_cast<double>(templates);
    double* const s = m.sums + plane;
    double top = s[0] - m.log_z[f], sum = 0, information = 0;
    for (std::int64_t t = 1; t < templates; ++t) {
      const double q = s[t * planes] - m.log_z[t * a.channels + f];
      top = q > top ? q : top;
    }
    for (std::int64_t t = 0; t < templates; ++t) sum += exp(s[t * planes] - m.log_z[t * a.channels + f] - top);
    const double log_p = log(prior) + top + log(sum);
    for (std::int64_t t = 0; t < templates; ++t) {
      const double log_q = s[t * planes] - m.log_z[t * a.channels + f], part = prior * exp(log_q) * (log_q - log_p);
      information += part;
      s[t * planes] = -part;
    }
    m.weight[plane] = information;
  }
};

struct PaperLoss {
  FilterLossArgs<float> a;
  LossMemory m;
  __device__ void operator()(std::int64_t f) const {
    double information = 0;
    for (std::int64_t n = 0; n < a.images; ++n) information += m.weight[n * a.channels + f];
    a.loss[f] = static_cast<float>(-information);
  }
};

struct PaperGradient {
  FilterLossArgs<float> a;
  MapShape shape;
  PlaneIndex index;
  LossMemory m;
  __device__ void operator()(std::int64_t i) const {
    const auto at = index(i);
    const std::int64_t planes = a.images * a.channels, n = at.plane / a.channels, f = at.plane % a.channels;
    const double steepness = loss_steepness(a, shape, f);
    const std::int32_t place = at.row * a.w + at.column;
    if (!a.all_templates) {
      const std::int64_t target =
          m.labels[n] == static_cast<std::int32_t>(a.category[f]) ? m.peaks[at.plane] : shape.places;
      a.gradient[i] =
          static_cast<float>(m.sums[target * planes + at.plane] * paper_template(shape, target, place, steepness));
      return;
    }
    float g = 0;
    for (std::int64_t t = 0; t <= shape.places; ++t)
      g += static_cast<float>(m.sums[t * planes + at.plane] * paper_template(shape, t, place, steepness));
    a.gradient[i] = g;
  }
};

namespace {

void template_gate(const TemplateArgs<float>& a) noexcept {
  if (a.last > a.first)
    launch(template_gate_kernel, blocks_for(a.last - a.first, 1), map_block, 0, a, MapShape(a.h, a.w));
}

void peak_gate(const PeakArgs<float>& a) noexcept {
  const std::int64_t planes = a.last - a.first;
  for_each(planes * a.h * a.w, PeakGate{a, PlaneIndex(planes, a.h, a.w)});
}

void filter_state(const FilterStateArgs<float>& args) noexcept {
  FilterStateArgs<float> a = args;
  const std::int64_t filters = a.last - a.first, maps = a.images * filters;
  if (maps <= 0) return;
  const auto count = static_cast<std::size_t>(maps);
  auto* const values = static_cast<double*>(
      workspace(count * 4 * sizeof(double) + static_cast<std::size_t>(a.images) * sizeof(std::int32_t)));
  if (!values) return;
  double* const spread = values + maps;
  auto* const labels = reinterpret_cast<std::int32_t*>(spread + 3 * maps);
  upload(labels, a.labels, static_cast<std::size_t>(a.images) * sizeof(std::int32_t));
  a.labels = labels;
  const MapShape shape(a.h, a.w);
  const FilterMaps extent{a.channels, a.first, filters};
  launch(map_value_kernel, static_cast<unsigned>(maps), map_block, 0, extent, shape, a.x, a.by_sum, values);
  for_each(filters, FilterStatistics{a, values});
  if (a.slope_rate == 0) return;
  launch(map_spread_kernel, static_cast<unsigned>(maps), map_block, 0, extent, shape, a, spread);
  for_each(filters, FilterSlope{a, spread, shape.side});
}

/// Lays out the memory of the loss from `scratch` on; the bytes are its size.
LossMemory loss_memory(const FilterLossArgs<float>& a, std::byte* scratch, std::size_t* bytes) noexcept {
  const std::size_t images = static_cast<std::size_t>(a.images), channels = static_cast<std::size_t>(a.channels),
                    planes = images * channels;
  const std::size_t templates = static_cast<std::size_t>(a.h) * static_cast<std::size_t>(a.w) + 1;
  std::size_t at = 0;
  const auto take = [&](std::size_t size) {
    const std::size_t begin = at;
    at += (size + 7) / 8 * 8;
    return scratch + begin;
  };
  LossMemory m;
  m.sums = reinterpret_cast<double*>(take((a.released ? 3 * planes : templates * planes) * sizeof(double)));
  m.log_z = reinterpret_cast<double*>(take((a.released ? 0 : templates * channels) * sizeof(double)));
  m.weight = reinterpret_cast<double*>(take(planes * sizeof(double)));
  m.share = reinterpret_cast<double*>(take(static_cast<std::size_t>(a.classes) * sizeof(double)));
  m.peaks = reinterpret_cast<std::int32_t*>(take(planes * sizeof(std::int32_t)));
  m.labels = reinterpret_cast<std::int32_t*>(take(images * sizeof(std::int32_t)));
  *bytes = at;
  return m;
}

Work filter_loss_plan(const FilterLossArgs<float>& a) noexcept {
  std::size_t bytes = 0;
  loss_memory(a, nullptr, &bytes);
  return {1, 0, bytes};
}

void filter_loss_pack(const FilterLossArgs<float>&, std::byte*, std::int64_t) noexcept {}

void filter_loss(const FilterLossArgs<float>& a, const std::byte*, std::byte* scratch, std::int64_t) noexcept {
  const std::int64_t planes = a.images * a.channels;
  if (planes <= 0) return;
  std::size_t bytes = 0;
  const LossMemory m = loss_memory(a, scratch, &bytes);
  upload(m.labels, a.labels, static_cast<std::size_t>(a.images) * sizeof(std::int32_t));
  const MapShape shape(a.h, a.w);
  const PlaneIndex index(planes, a.h, a.w);
  const auto blocks = static_cast<unsigned>(planes);
  launch(map_peak_kernel, blocks, map_block, 0, shape, a.x, a.centroid, m.peaks);
  if (a.released) {
    upload(m.share, a.share, static_cast<std::size_t>(a.classes) * sizeof(double));
    launch(released_scores_kernel, blocks, map_block, 0, a, shape, m);
    for_each(a.channels, ReleasedWeights{a, m});
    if (a.gradient) for_each(planes * shape.places, ReleasedGradient{a, shape, index, m});
    return;
  }
  const std::int64_t templates = std::int64_t{shape.places} + 1;
  launch(paper_scores_kernel, blocks, map_block, 0, a, shape, m);
  for_each(templates * a.channels, PaperLogZ{a, m});
  for_each(planes, PaperInformation{a, m, templates});
  if (a.loss) for_each(a.channels, PaperLoss{a, m});
  if (a.gradient) for_each(planes * shape.places, PaperGradient{a, shape, index, m});
}

}  // namespace

void fill_filters(Table<float>& t) noexcept {
  t.template_gate = &template_gate;
  t.peak_gate = &peak_gate;
  t.filter_state = &filter_state;
  t.filter_loss = {&filter_loss_plan, &filter_loss_pack, &filter_loss};
}

}  // namespace vitrine::kernels::cuda
