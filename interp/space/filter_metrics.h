// What the filters of a layer stand for, measured against known parts: part interpretability and location instability
// [Zhang, Wu, Zhu, "Interpretable Convolutional Neural Networks", CVPR 2018, section 4].
#pragma once

#include <string>
#include <vector>

#include "core/host/job.h"
#include "interp/render/picture.h"
#include "interp/runs/subject.h"

namespace vitrine {

struct FilterMetricsOptions {
  std::int64_t images = 0;  ///< the first so many; 0: all
  double quantile = 0.995;  ///< a unit is valid above this quantile of its filter's values
  double radius = 6;        ///< pixels: each valid unit paints a disc around its centre
  double overlap = 0.2;     ///< intersection over union above which filter and part are associated
  int strongest = 100;      ///< images with the largest peaks that instability is taken over
};

struct FilterMetrics {
  int category = -1;       ///< the class with the largest mean peak; -1: the filter is dead on these images
  double selectivity = 0;  ///< share of the filter's mean activation (a class's mean sum) that its category receives
  std::string part;        ///< the part it is associated with most often, within its category
  double interpretability = 0;  ///< P_f: how often, of the images that show the part
  std::string landmark;         ///< the place of its category that its peak keeps the steadiest distance to
  double instability = 0;       ///< mean over its category's landmarks of the deviation of that distance, in diagonals
  double best_instability = 0;  ///< the smallest such mean over all categories
};

struct FilterReport {
  std::string node;
  std::vector<FilterMetrics> filters;
  // Means over the filters that are not dead:
  double interpretability = 0, instability = 0, best_instability = 0, selectivity = 0;
  double one_part =
      0;  ///< share of filters that are associated with one part on more than half of the images that show it
  int dead = 0;
};

/// Measures the maps of a node over the subject's data, which must tell parts. Categories are taken from the data alike
/// for every network, so an ordinary one can be compared with an interpretable one. Throws an Error if the set tells no
/// parts or the node has no maps. Costs one forward run of all images; the node's maps are kept as ActivationStore
/// says.
FilterReport measure_filters(Subject&, const std::string& node, const FilterMetricsOptions& = {}, const Job& = {});

/// The regions of one filter: for the images of its category with the largest peaks, the image and where valid units
/// are (1 inside a disc of `radius`, else 0; H x W).
struct FilterRegion {
  std::int64_t image;
  float peak, x, y;  ///< the largest activation and the centre of its unit, in pixels
  std::vector<std::uint8_t> mask;
};
std::vector<std::vector<FilterRegion>> filter_regions(Subject&, const std::string& node, int per_filter,
                                                      const FilterMetricsOptions& = {}, const Job& = {});

/// The regions as a picture, a row per filter, from the most to the least interpretable.
Picture filter_sheet(Subject&, const FilterReport&, const FilterMetricsOptions& = {}, const Job& = {});

/// The last layer of interpretable filters; a usage Error if the network has none.
std::string last_interpretable_layer(const Model&);

}  // namespace vitrine
