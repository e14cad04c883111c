#include "interp/space/filter_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/data/loader.h"

namespace vitrine {
namespace {

// The maps of a node over the images, and where their places lie.
struct Maps {
  Shape shape;  // of one image's maps
  Geometry geometry;
  std::vector<float> values;  // images x filters x places
  std::vector<int> labels;
  std::int64_t images = 0;
  const float* map(std::int64_t n, std::int64_t f) const {
    return values.data() + (n * shape.c() + f) * shape.pixels();
  }
  std::int64_t peak(std::int64_t n, std::int64_t f) const {
    const float* const m = map(n, f);
    return std::max_element(m, m + shape.pixels()) - m;
  }
  float x(std::int64_t place) const { return geometry.w.centre(static_cast<std::int32_t>(place % shape.w())); }
  float y(std::int64_t place) const { return geometry.h.centre(static_cast<std::int32_t>(place / shape.w())); }
};

Maps collect(const Model& model, const Engine& engine, const data::Dataset& data, const std::string& name,
             const FilterMetricsOptions& o) {
  if (data.image_shape() != model.image_shape())
    throw Error("the data has images of " + text(data.image_shape()) + ", but the network takes " +
                text(model.image_shape()));
  const Id node = model.node(name), value = model.graph().nodes[node].out;
  Maps maps;
  maps.shape = model.graph().shape(value);
  if (maps.shape.pixels() == 1)
    throw Error("node '" + name + "' makes " + text(maps.shape) + ", expected maps with height and width",
                Error::usage);
  maps.geometry = geometry_of(model.graph(), value);
  if (maps.geometry.h.whole || maps.geometry.w.whole)
    throw Error("node '" + name + "' sees the whole image at every place, so its places mean nothing", Error::usage);

  maps.images = o.images > 0 ? std::min(o.images, data.size()) : data.size();
  maps.values.resize(static_cast<std::size_t>(maps.images * maps.shape.per_image()));
  PlanRequest request;
  request.graph = &model.graph();
  request.batch = 32;
  const Id keep[] = {value};
  const Id seeds[] = {value};
  request.keep_values = keep;
  request.seeds = seeds;  // nothing after the node is run
  Session session(engine, request, model.parameters);
  data::over_batches(data, model.preparation, request.batch, [&](data::Batch& batch) {
    if (o.stop && o.stop()) throw Error("stopped");
    const auto done = static_cast<std::int64_t>(maps.labels.size());
    const auto count = static_cast<std::int32_t>(std::min<std::int64_t>(batch.count, maps.images - done));
    session.forward({batch.images.data(), model.image_shape().with_batch(count)});
    const HostTensor v = session.download(session.run().value(value));
    std::copy_n(v.data, v.size(), maps.values.begin() + done * maps.shape.per_image());
    maps.labels.insert(maps.labels.end(), batch.labels.begin(), batch.labels.begin() + count);
    if (o.progress) o.progress(static_cast<double>(done + count) / static_cast<double>(maps.images));
    return done + count < maps.images;
  });
  return maps;
}

// Rank q (m-1), interpolated.
float quantile(std::vector<float>& v, double q) {
  const double rank = q * static_cast<double>(v.size() - 1);
  const auto low = static_cast<std::size_t>(rank);
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(low), v.end());
  const float a = v[low];
  if (low + 1 >= v.size()) return a;
  const float b = *std::min_element(v.begin() + static_cast<std::ptrdiff_t>(low) + 1, v.end());
  return a + static_cast<float>(rank - static_cast<double>(low)) * (b - a);
}

// What a filter's valid units paint.
void paint(const Maps& maps, std::int64_t n, std::int64_t f, float threshold, double radius, const Shape& image,
           std::vector<std::uint8_t>& mask) {
  mask.assign(static_cast<std::size_t>(image.pixels()), 0);
  const float* const m = maps.map(n, f);
  for (std::int64_t p = 0; p < maps.shape.pixels(); ++p) {
    if (!(m[p] > threshold)) continue;
    const double cx = static_cast<double>(maps.x(p)), cy = static_cast<double>(maps.y(p));
    for (std::int32_t y = std::max(0, static_cast<std::int32_t>(cy - radius)); y < image.h() && y < cy + radius; ++y)
      for (std::int32_t x = std::max(0, static_cast<std::int32_t>(cx - radius)); x < image.w() && x < cx + radius; ++x)
        if ((x + 0.5 - cx) * (x + 0.5 - cx) + (y + 0.5 - cy) * (y + 0.5 - cy) <= radius * radius)
          mask[static_cast<std::size_t>(y) * static_cast<std::size_t>(image.w()) + static_cast<std::size_t>(x)] = 1;
  }
}

struct Category {
  int best = -1;
  double selectivity = 0;
};

Category find_category(const Maps& maps, std::int64_t f, int classes) {
  std::vector<double> peak(static_cast<std::size_t>(classes), 0), total(peak), count(peak);
  for (std::int64_t n = 0; n < maps.images; ++n) {
    const auto c = static_cast<std::size_t>(maps.labels[static_cast<std::size_t>(n)]);
    const float* const m = maps.map(n, f);
    peak[c] += *std::max_element(m, m + maps.shape.pixels());
    total[c] += std::accumulate(m, m + maps.shape.pixels(), 0.0);
    ++count[c];
  }
  for (std::size_t c = 0; c < peak.size(); ++c)
    if (count[c] > 0) peak[c] /= count[c], total[c] /= count[c];
  const auto best = static_cast<std::size_t>(std::max_element(peak.begin(), peak.end()) - peak.begin());
  const double all = std::accumulate(total.begin(), total.end(), 0.0);
  if (!(peak[best] > 0) || !(all > 0)) return {};
  return {static_cast<int>(best), total[best] / all};
}

float threshold_of(const Maps& maps, std::int64_t f, int category, double q) {
  std::vector<float> all;
  for (std::int64_t n = 0; n < maps.images; ++n)
    if (maps.labels[static_cast<std::size_t>(n)] == category)
      all.insert(all.end(), maps.map(n, f), maps.map(n, f) + maps.shape.pixels());
  return quantile(all, q);
}

// The deviation of the distance between the filter's peak and a place, over the images with the strongest peaks;
// negative: fewer than two images show it.
double instability(const Maps& maps, std::int64_t f, const std::vector<std::pair<std::int64_t, data::PointLabel>>& seen,
                   const Shape& image, int strongest) {
  std::vector<std::pair<float, double>> distances;
  const double diagonal = std::hypot(static_cast<double>(image.w()), static_cast<double>(image.h()));
  for (const auto& [n, point] : seen) {
    const std::int64_t p = maps.peak(n, f);
    if (!(maps.map(n, f)[p] > 0)) continue;
    distances.emplace_back(
        maps.map(n, f)[p],
        std::hypot(static_cast<double>(point.x - maps.x(p)), static_cast<double>(point.y - maps.y(p))) / diagonal);
  }
  std::stable_sort(distances.begin(), distances.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  if (distances.size() > static_cast<std::size_t>(strongest)) distances.resize(static_cast<std::size_t>(strongest));
  if (distances.size() < 2) return -1;
  double mean = 0, square = 0;
  for (const auto& d : distances) mean += d.second / static_cast<double>(distances.size());
  for (const auto& d : distances) square += (d.second - mean) * (d.second - mean);
  return std::sqrt(square / static_cast<double>(distances.size() - 1));
}

}  // namespace

FilterReport measure_filters(const Model& model, const Engine& engine, const data::Dataset& data,
                             const std::string& node, const FilterMetricsOptions& o) {
  const std::vector<std::string> part_names = data.part_names(), point_names = data.point_names();
  if (part_names.empty() || point_names.empty())
    throw Error(
        "the data set tells no parts, so filters cannot be held against them: expected partshapes[:variant,...]");
  const Maps maps = collect(model, engine, data, node, o);
  const Shape image = data.image_shape();
  const auto pixels = static_cast<std::size_t>(image.pixels());
  const int classes = data.classes();

  // The truth, read once: masks of all images, and the places of each class by name.
  std::vector<std::uint8_t> parts(static_cast<std::size_t>(maps.images) * pixels), object(pixels);
  std::vector<std::vector<std::vector<std::pair<std::int64_t, data::PointLabel>>>> seen(
      static_cast<std::size_t>(classes),
      std::vector<std::vector<std::pair<std::int64_t, data::PointLabel>>>(point_names.size()));
  std::vector<bool> of_object(part_names.size(), false);
  for (std::int64_t n = 0; n < maps.images; ++n) {
    std::uint8_t* const ids = parts.data() + static_cast<std::size_t>(n) * pixels;
    if (!data.masks(n, object.data(), ids)) throw Error("the data set has no masks of parts");
    for (std::size_t p = 0; p < pixels; ++p)
      if (object[p] != 0) of_object[ids[p]] = true;
    for (const data::PointLabel& point : data.points(n))
      if (point_names[static_cast<std::size_t>(point.name)].find('.') == std::string::npos)
        seen[static_cast<std::size_t>(maps.labels[static_cast<std::size_t>(n)])][static_cast<std::size_t>(point.name)]
            .emplace_back(n, point);
  }

  FilterReport report;
  report.node = node;
  std::vector<std::uint8_t> mask;
  for (std::int64_t f = 0; f < maps.shape.c(); ++f) {
    if (o.stop && o.stop()) throw Error("stopped");
    FilterMetrics& m = report.filters.emplace_back();
    const Category category = find_category(maps, f, classes);
    m.category = category.best;
    m.selectivity = category.selectivity;
    if (m.category < 0) {
      ++report.dead;
      continue;
    }
    const float threshold = threshold_of(maps, f, m.category, o.quantile);
    std::vector<double> shown(part_names.size(), 0), associated(shown);
    for (std::int64_t n = 0; n < maps.images; ++n) {
      if (maps.labels[static_cast<std::size_t>(n)] != m.category) continue;
      paint(maps, n, f, threshold, o.radius, image, mask);
      const std::uint8_t* const ids = parts.data() + static_cast<std::size_t>(n) * pixels;
      std::vector<double> both(part_names.size(), 0), area(both);
      double painted = 0;
      for (std::size_t p = 0; p < pixels; ++p) {
        ++area[ids[p]];
        both[ids[p]] += mask[p];
        painted += mask[p];
      }
      for (std::size_t k = 0; k < part_names.size(); ++k) {
        if (!of_object[k] || area[k] == 0) continue;
        ++shown[k];
        associated[k] += both[k] / (area[k] + painted - both[k]) > o.overlap;
      }
    }
    for (std::size_t k = 0; k < part_names.size(); ++k)
      if (shown[k] > 0 && associated[k] / shown[k] > m.interpretability) {
        m.interpretability = associated[k] / shown[k];
        m.part = part_names[k];
      }
    double best = 1e300, steadiest = 1e300;
    for (int c = 0; c < classes; ++c) {
      double sum = 0;
      int count = 0;
      for (std::size_t k = 0; k < point_names.size(); ++k) {
        const double d = instability(maps, f, seen[static_cast<std::size_t>(c)][k], image, o.strongest);
        if (d < 0) continue;
        sum += d;
        ++count;
        if (c == m.category && d < steadiest) {
          steadiest = d;
          m.landmark = point_names[k];
        }
      }
      if (count == 0) continue;
      best = std::min(best, sum / count);
      if (c == m.category) m.instability = sum / count;
    }
    m.best_instability = best < 1e300 ? best : 0;
    report.interpretability += m.interpretability;
    report.instability += m.instability;
    report.best_instability += m.best_instability;
    report.selectivity += m.selectivity;
    report.one_part += m.interpretability > 0.5;
  }
  const double alive = std::max(1.0, static_cast<double>(report.filters.size()) - report.dead);
  for (double* mean :
       {&report.interpretability, &report.instability, &report.best_instability, &report.selectivity, &report.one_part})
    *mean /= alive;
  return report;
}

std::vector<std::vector<FilterRegion>> filter_regions(const Model& model, const Engine& engine,
                                                      const data::Dataset& data, const std::string& node,
                                                      int per_filter, const FilterMetricsOptions& o) {
  const Maps maps = collect(model, engine, data, node, o);
  std::vector<std::vector<FilterRegion>> out(static_cast<std::size_t>(maps.shape.c()));
  for (std::int64_t f = 0; f < maps.shape.c(); ++f) {
    const int category = find_category(maps, f, data.classes()).best;
    if (category < 0) continue;
    const float threshold = threshold_of(maps, f, category, o.quantile);
    std::vector<std::pair<float, std::int64_t>> order;
    for (std::int64_t n = 0; n < maps.images; ++n)
      if (maps.labels[static_cast<std::size_t>(n)] == category) order.emplace_back(maps.map(n, f)[maps.peak(n, f)], n);
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (std::size_t k = 0; k < order.size() && k < static_cast<std::size_t>(per_filter); ++k) {
      const auto [peak, n] = order[k];
      const std::int64_t p = maps.peak(n, f);
      FilterRegion& r = out[static_cast<std::size_t>(f)].emplace_back(FilterRegion{n, peak, maps.x(p), maps.y(p), {}});
      paint(maps, n, f, threshold, o.radius, data.image_shape(), r.mask);
    }
  }
  return out;
}

}  // namespace vitrine
