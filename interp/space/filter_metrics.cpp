#include "interp/space/filter_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "interp/result/registry.h"
#include "interp/runs/activations.h"

namespace vitrine {
namespace {

// The maps of a node over the images, and where their places are.
struct Maps {
  ActivationStore store;
  Shape shape;  // of one image's maps
  Geometry geometry;
  std::span<const int> labels;
  std::int64_t images = 0;

  explicit Maps(ActivationStore s)
      : store(std::move(s)),
        shape(store.shape(0)),
        geometry(store.geometry(0)),
        labels(store.labels()),
        images(store.images()) {}
  const float* map(std::int64_t n, std::int64_t f) const { return store.map(0, n).data() + f * shape.pixels(); }
  std::int64_t peak(std::int64_t n, std::int64_t f) const {
    const float* const m = map(n, f);
    return std::max_element(m, m + shape.pixels()) - m;
  }
  float x(std::int64_t place) const { return geometry.w.centre(static_cast<std::int32_t>(place % shape.w())); }
  float y(std::int64_t place) const { return geometry.h.centre(static_cast<std::int32_t>(place / shape.w())); }
};

Maps collect(Subject& subject, const std::string& node, const FilterMetricsOptions& o, const Job& job) {
  const Shape shape = subject.model().graph().shape(subject.value(node));
  if (shape.pixels() == 1)
    throw Error("node '" + node + "' makes " + text(shape) + ", expected maps with height and width", Error::usage);
  const Geometry geometry = geometry_of(subject.model().graph(), subject.value(node));
  if (geometry.h.whole || geometry.w.whole)
    throw Error("node '" + node + "' sees the whole image at every place, so its places mean nothing", Error::usage);
  return Maps(ActivationStore::collect(subject, {.nodes = {node}, .images = o.images}, job));
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

namespace {

void check_parts(const data::Dataset& data) {
  if (data.part_names().empty() || data.point_names().empty())
    throw Error(
        "the data set tells no parts, so filters cannot be held against them: expected partshapes[:variant,...]");
}

// What the data set tells, read once.
struct Truth {
  std::vector<std::string> part_names, point_names;
  Shape image;
  std::size_t pixels;
  std::vector<std::uint8_t> parts;  // per image and pixel: the part there
  std::vector<bool> of_object;      // per part
  // Per class and name: images that show the place, with it.
  std::vector<std::vector<std::vector<std::pair<std::int64_t, data::PointLabel>>>> seen;

  Truth(const Maps& maps, const data::Dataset& data)
      : part_names(data.part_names()),
        point_names(data.point_names()),
        image(data.image_shape()),
        pixels(static_cast<std::size_t>(image.pixels())),
        parts(static_cast<std::size_t>(maps.images) * pixels),
        of_object(part_names.size(), false),
        seen(static_cast<std::size_t>(data.classes()),
             std::vector<std::vector<std::pair<std::int64_t, data::PointLabel>>>(point_names.size())) {
    std::vector<std::uint8_t> object(pixels);
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
  }
};

// The part that the filter covers most often, of the images of its category that show it.
void find_part(const Maps& maps, std::int64_t f, const Truth& truth, const FilterMetricsOptions& o, FilterMetrics& m) {
  const float threshold = threshold_of(maps, f, m.category, o.quantile);
  const std::size_t names = truth.part_names.size();
  std::vector<double> shown(names, 0), associated(shown);
  std::vector<std::uint8_t> mask;
  for (std::int64_t n = 0; n < maps.images; ++n) {
    if (maps.labels[static_cast<std::size_t>(n)] != m.category) continue;
    paint(maps, n, f, threshold, o.radius, truth.image, mask);
    const std::uint8_t* const ids = truth.parts.data() + static_cast<std::size_t>(n) * truth.pixels;
    std::vector<double> both(names, 0), area(both);
    double painted = 0;
    for (std::size_t p = 0; p < truth.pixels; ++p) {
      ++area[ids[p]];
      both[ids[p]] += mask[p];
      painted += mask[p];
    }
    for (std::size_t k = 0; k < names; ++k) {
      if (!truth.of_object[k] || area[k] == 0) continue;
      ++shown[k];
      associated[k] += both[k] / (area[k] + painted - both[k]) > o.overlap;
    }
  }
  for (std::size_t k = 0; k < names; ++k)
    if (shown[k] > 0 && associated[k] / shown[k] > m.interpretability) {
      m.interpretability = associated[k] / shown[k];
      m.part = truth.part_names[k];
    }
}

// How steadily the filter's peak is placed against the landmarks of its category, and of the class where it is
// steadiest.
void find_landmark(const Maps& maps, std::int64_t f, const Truth& truth, int strongest, FilterMetrics& m) {
  double best = 1e300, steadiest = 1e300;
  for (std::size_t c = 0; c < truth.seen.size(); ++c) {
    const bool own = static_cast<int>(c) == m.category;
    double sum = 0;
    int count = 0;
    for (std::size_t k = 0; k < truth.point_names.size(); ++k) {
      const double d = instability(maps, f, truth.seen[c][k], truth.image, strongest);
      if (d < 0) continue;
      sum += d;
      ++count;
      if (own && d < steadiest) {
        steadiest = d;
        m.landmark = truth.point_names[k];
      }
    }
    if (count == 0) continue;
    best = std::min(best, sum / count);
    if (own) m.instability = sum / count;
  }
  m.best_instability = best < 1e300 ? best : 0;
}

FilterReport measure(const Maps& maps, const data::Dataset& data, const std::string& node,
                     const FilterMetricsOptions& o, const Job& job) {
  const Truth truth(maps, data);
  FilterReport report;
  report.node = node;
  for (std::int64_t f = 0; f < maps.shape.c(); ++f) {
    job.check();
    job.progress(static_cast<double>(f) / maps.shape.c());
    FilterMetrics& m = report.filters.emplace_back();
    const Category category = find_category(maps, f, data.classes());
    m.category = category.best;
    m.selectivity = category.selectivity;
    if (m.category < 0) {
      ++report.dead;
      continue;
    }
    find_part(maps, f, truth, o, m);
    find_landmark(maps, f, truth, o.strongest, m);
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

std::vector<std::vector<FilterRegion>> regions_of(const Maps& maps, const data::Dataset& data, int per_filter,
                                                  const FilterMetricsOptions& o) {
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

// One row per filter: its strongest images, darkened outside its regions. Every few ranks of part interpretability, so
// that the sheet shows the middle and the end as well as the best.
Picture sheet(const data::Dataset& data, const FilterReport& report,
              const std::vector<std::vector<FilterRegion>>& regions) {
  constexpr std::size_t rows_shown = 16;
  std::vector<std::size_t> order(report.filters.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return report.filters[a].interpretability > report.filters[b].interpretability;
  });
  std::vector<std::vector<Panel>> rows;
  const std::size_t step = std::max<std::size_t>(1, order.size() / rows_shown);
  for (std::size_t rank = 0; rank < order.size() && rows.size() < rows_shown; rank += step) {
    const std::size_t f = order[rank];
    if (regions[f].empty()) continue;
    std::vector<Panel>& row = rows.emplace_back();
    for (const FilterRegion& r : regions[f]) {
      const Shape s = data.image_shape();
      Panel p;
      p.heat = false;
      p.h = s.h();
      p.w = s.w();
      p.channels = s.c() == 3 ? 3 : 1;
      p.values.resize(static_cast<std::size_t>(s.per_image()));
      data.image(r.image, p.values.data());
      for (std::size_t i = 0; i < p.values.size(); ++i)
        if (r.mask[i % static_cast<std::size_t>(s.pixels())] == 0) p.values[i] *= 0.35f;
      p.title = "filter " + std::to_string(f);
      char note[64];
      std::snprintf(note, sizeof note, "%s %.2f", report.filters[f].part.c_str(), report.filters[f].interpretability);
      p.note = note;
      row.push_back(std::move(p));
    }
  }
  return draw_panels(rows, false);
}

}  // namespace

FilterReport measure_filters(Subject& subject, const std::string& node, const FilterMetricsOptions& o, const Job& job) {
  check_parts(subject.data());
  const Maps maps = collect(subject, node, o, job.part(0, 0.6));
  return measure(maps, subject.data(), node, o, job.part(0.6, 1));
}

std::vector<std::vector<FilterRegion>> filter_regions(Subject& subject, const std::string& node, int per_filter,
                                                      const FilterMetricsOptions& o, const Job& job) {
  return regions_of(collect(subject, node, o, job), subject.data(), per_filter, o);
}

Picture filter_sheet(Subject& subject, const FilterReport& report, const FilterMetricsOptions& o, const Job& job) {
  return sheet(subject.data(), report, filter_regions(subject, report.node, 6, o, job));
}

std::string last_interpretable_layer(const Model& model) {
  std::string last;
  for (const Node& node : model.graph().nodes)
    if (node.op->traits().part_filters) last = node.name;
  if (last.empty())
    throw Error("the network has no layer of interpretable filters: name a node with --node", Error::usage);
  return last;
}

namespace methods {
namespace {

constexpr Setting settings[] = {
    {Setting::number, "quantile", "0.995", "a unit is valid above this quantile of its filter's values", "", 0, 1},
    {Setting::number, "radius", "6", "pixels that a valid unit paints around it", "", 0.5, 1000},
    {Setting::number, "overlap", "0.2", "intersection over union above which filter and part are associated", "", 0, 1},
    {Setting::integer, "strongest", "100", "images with the largest peaks that instability is taken over", "", 2, 1e9},
};

Result study(const StudyCall& c, const Settings& s, const Job& job) {
  Subject& subject = c.subject();
  FilterMetricsOptions o;
  o.images = c.images;
  o.quantile = s.number("quantile");
  o.radius = s.number("radius");
  o.overlap = s.number("overlap");
  o.strongest = static_cast<int>(s.integer("strongest"));
  const std::string node = c.nodes.empty() ? last_interpretable_layer(subject.model()) : c.nodes[0];
  const data::Dataset& data = subject.data();
  check_parts(data);
  const Maps maps = collect(subject, node, o, job.part(0, 0.6));
  const FilterReport report = measure(maps, data, node, o, job.part(0.6, 1));

  Result r;
  const auto alive = static_cast<std::int64_t>(report.filters.size()) - report.dead;
  for (const auto& [name, value] : {std::pair<const char*, double>{"part_interpretability", report.interpretability},
                                    {"instability", report.instability},
                                    {"best_instability", report.best_instability},
                                    {"selectivity", report.selectivity},
                                    {"one_part", report.one_part}})
    r.number(name, {value, alive});
  r.number("dead", {static_cast<double>(report.dead), static_cast<std::int64_t>(report.filters.size())});
  Table& t = r.table("filters", {"filter", "category", "selectivity", "part", "part_interpretability", "landmark",
                                 "instability", "best_instability"});
  t.note = "Node " + node +
           ". category: the class with the largest mean peak; selectivity: its share of the mean activation; "
           "part_interpretability: how often the filter covers the part, of the images that show it; instability: "
           "deviation of the distance from the filter's peak to landmarks, in image diagonals.";
  for (std::size_t f = 0; f < report.filters.size(); ++f) {
    const FilterMetrics& m = report.filters[f];
    t.add({f, m.category < 0 ? std::string("dead") : data.class_name(m.category), m.selectivity, m.part,
           m.interpretability, m.landmark, m.instability, m.best_instability});
  }
  r.picture("regions", sheet(data, report, regions_of(maps, data, 6, o)));
  r.text("Regions of filters on their strongest images, brightest where the filter's valid units are.");
  return r;
}

}  // namespace

extern const MethodEntry filter_metrics;
constinit const MethodEntry filter_metrics = {
    .card = {.name = "filter-metrics",
             .summary = "what a layer's filters stand for, against the known parts of a data set",
             .reference = "Zhang, Wu, Zhu 2018",
             .aspect = Aspect::internal_space,
             .of = Of::representation,
             .scope = Scope::global,
             .needs_labels = Labels::parts,
             .backward_calls = "0",
             .output = "table of filters, sheet of regions",
             .faithfulness_metric = "part interpretability",
             .settings = settings},
    .study = study};

}  // namespace methods
}  // namespace vitrine
