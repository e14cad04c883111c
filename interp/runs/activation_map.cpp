#include "interp/runs/activation_map.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "interp/math/resize.h"
#include "interp/runs/feature_maps.h"

namespace vitrine {

ActivationMap::ActivationMap(const AttributionCall& c, const Settings& s, Needs needs, Sign sign)
    : subject_(c.subject),
      node_(s.text("node").empty() ? last_feature_maps(c.subject.model(), c.objective, s.owner())
                                   : c.subject.model().node(s.text("node"))),
      value_(c.subject.model().graph().nodes[node_].out),
      needs_(needs),
      sign_(sign),
      bilinear_(s.text("upsample") == "bilinear"),
      owner_(s.owner()),
      assignment_(c.subject.model()) {
  assignment_.fill_gradient();
  assignment_.override_with(c.rules);
  walk_ = std::make_unique<Walk>(c.subject, c.subject.model(), assignment_.rules, c.objective,
                                 Walk::Options{.until = value_, .keep = {value_}, .demand = c.demand});
  if (!walk_->session().plan().signal(value_).planned())
    throw Error(owner_ + ": node " + model().graph().nodes[node_].name + " does not lead to what is explained",
                Error::usage);
}

Answer ActivationMap::attribute(const Query& q, const Job& job) {
  Answer answer;
  answer.note = "maps of " + std::string(model().graph().nodes[node_].name);
  const std::int64_t each = q.x.shape.per_image(), pixels = q.x.shape.pixels();
  answer.relevance.resize(static_cast<std::size_t>(q.x.size()));
  walk_->in_batches(q.x.shape.n(), job, [&](std::int32_t first, std::int32_t count) {
    const Query part = q.part(first, count);
    if (needs_ == Needs::gradients) {
      walk_->run(part, Walk::Seed::weights);
    } else {
      Scored scored;
      walk_->score(part, scored);
    }
    const HostTensor a = walk_->value(value_);
    std::vector<real> maps(a.data, a.data + a.size()), gradients;
    if (needs_ == Needs::gradients) {
      const HostTensor g = walk_->signal();
      gradients.assign(g.data, g.data + g.size());
    }
    const auto size = static_cast<std::size_t>(a.shape.per_image());
    for (std::int32_t n = 0; n < count; ++n) {
      const std::size_t at = static_cast<std::size_t>(n) * size;
      const NodeMaps one{
          {maps.data() + at, size},
          gradients.empty() ? std::span<const real>{} : std::span<const real>{gradients.data() + at, size},
          a.shape.c(),
          a.shape.pixels()};
      const double images = q.x.shape.n();
      std::vector<double> map = combine(part.part(n, 1), q.targets[static_cast<std::size_t>(first + n)], one,
                                        job.part((first + n) / images, (first + n + 1) / images));
      if (answer.warnings.empty())
        if (std::string why = why_empty(map); !why.empty())
          answer.warnings.push_back("image " + std::to_string(q.first + first + n) + ": " + why);
      if (sign_ == Sign::cut)
        for (double& v : map) v = std::max(v, 0.0);
      const std::vector<double> large = enlarged(map);
      real* const out = answer.relevance.data() + (first + n) * each;
      for (std::int32_t c = 0; c < q.x.shape.c(); ++c)
        std::transform(large.begin(), large.end(), out + c * pixels, [](double v) { return static_cast<real>(v); });
    }
  });
  return answer;
}

std::vector<double> ActivationMap::enlarged(const std::vector<double>& plane) const {
  const Shape from = model().graph().shape(value_), to = model().image_shape();
  return resize_plane(plane, from.h(), from.w(), to.h(), to.w(), bilinear_);
}

// A map that nothing is left of would otherwise look like an answer.
std::string ActivationMap::why_empty(const std::vector<double>& map) const {
  double above = 0, below = 0;
  for (const double v : map) (v > 0 ? above : below) += std::abs(v);
  if (above > 0) return "";
  if (below == 0) return "the map is 0 everywhere: the score does not change with these maps, or they are all 0";
  char text[160];
  std::snprintf(text, sizeof text,
                "the map is negative everywhere (%.3g in all): these maps speak against the target%s", -below,
                sign_ == Sign::cut ? ", and nothing is left above 0" : "");
  return text;
}

std::vector<double> weighted_sum(const NodeMaps& m, std::span<const double> weights) {
  std::vector<double> sum(static_cast<std::size_t>(m.pixels), 0.0);
  for (std::int32_t k = 0; k < m.channels; ++k) {
    const std::span<const real> map = m.map(k);
    const double weight = weights[static_cast<std::size_t>(k)];
    for (std::size_t p = 0; p < sum.size(); ++p) sum[p] += weight * static_cast<double>(map[p]);
  }
  return sum;
}

std::vector<double> WeightedMaps::combine(const Query&, const Target&, const NodeMaps& m, const Job&) {
  std::vector<double> weights;
  for (std::int32_t k = 0; k < m.channels; ++k) weights.push_back(weight_(m.map(k), m.gradient(k)));
  return weighted_sum(m, weights);
}

std::vector<double> MapsTimesGradients::combine(const Query&, const Target&, const NodeMaps& m, const Job&) {
  std::vector<double> sum(static_cast<std::size_t>(m.pixels), 0.0);
  for (std::int32_t k = 0; k < m.channels; ++k) {
    const std::span<const real> a = m.map(k), g = m.gradient(k);
    for (std::size_t p = 0; p < sum.size(); ++p)
      sum[p] += factor_(static_cast<double>(g[p])) * static_cast<double>(a[p]);
  }
  return sum;
}

}  // namespace vitrine
