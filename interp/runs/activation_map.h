// Class activation maps: the maps A_k of a node, put together to one map that is enlarged to the image's extent and the
// same at every channel. A method says how; everything else is here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "interp/runs/one_walk.h"

namespace vitrine {

/// One image's maps at the node, and the gradients of the score there (empty unless the method asks for them).
struct NodeMaps {
  std::span<const real> maps, gradients;
  std::int32_t channels = 0;
  std::int64_t pixels = 0;

  std::span<const real> map(std::int32_t k) const { return maps.subspan(static_cast<std::size_t>(k * pixels), size()); }
  std::span<const real> gradient(std::int32_t k) const {
    return gradients.subspan(static_cast<std::size_t>(k * pixels), size());
  }

 private:
  std::size_t size() const { return static_cast<std::size_t>(pixels); }
};

class ActivationMap : public Attribution {
 public:
  /// The settings that all of them have: node, upsample.
  static constexpr Setting node_setting = {Setting::text, "node", "",
                                           "whose maps are put together (default: the last feature maps, which "
                                           "everything that is explained passes through)"};
  static constexpr Setting upsample_setting = {Setting::choice, "upsample", "bilinear",
                                               "from the node's extent to the image's", "bilinear|nearest"};
  static constexpr Setting usual_settings[] = {node_setting, upsample_setting};

  Answer attribute(const Query&, const Job&) override;

 protected:
  /// What a method needs of the network: a forward run, or a walk back to the node, too.
  enum class Needs : std::uint8_t { maps, gradients };
  /// Whether negative values of the map become 0.
  enum class Sign : std::uint8_t { kept, cut };
  ActivationMap(const AttributionCall&, const Settings&, Needs, Sign);

  /// The map of one image, of the node's extent. `image`: the image, its objective, and its target.
  virtual std::vector<double> combine(const Query& image, const Target&, const NodeMaps&, const Job&) = 0;

  Subject& subject() noexcept { return subject_; }
  const Model& model() const noexcept { return subject_.model(); }
  Id node() const noexcept { return node_; }
  /// A plane of the node's extent at the image's.
  std::vector<double> enlarged(const std::vector<double>& plane) const;

 private:
  std::string why_empty(const std::vector<double>& map) const;

  Subject& subject_;
  Id node_, value_;
  Needs needs_;
  Sign sign_;
  bool bilinear_;
  std::string owner_;
  Assignment assignment_;
  std::unique_ptr<Walk> walk_;
};

/// The sum of all maps, each times its weight.
std::vector<double> weighted_sum(const NodeMaps&, std::span<const double> weights);

/// The weight of a map, from its values and its gradients.
using MapWeight = double (*)(std::span<const real> map, std::span<const real> gradient);

/// max(0, sum_k w(A_k, g_k) A_k), or without the cut.
class WeightedMaps : public ActivationMap {
 public:
  WeightedMaps(const AttributionCall& c, const Settings& s, MapWeight weight, Sign sign = Sign::cut)
      : ActivationMap(c, s, Needs::gradients, sign), weight_(weight) {}

 private:
  std::vector<double> combine(const Query&, const Target&, const NodeMaps&, const Job&) override;
  MapWeight weight_;
};

/// max(0, sum_k f(g_k) A_k), place by place.
class MapsTimesGradients final : public ActivationMap {
 public:
  using Factor = double (*)(double gradient);
  MapsTimesGradients(const AttributionCall& c, const Settings& s, Factor factor)
      : ActivationMap(c, s, Needs::gradients, Sign::cut), factor_(factor) {}

 private:
  std::vector<double> combine(const Query&, const Target&, const NodeMaps&, const Job&) override;
  Factor factor_;
};

/// Makers of methods that are one formula.
template <MapWeight weight>
std::unique_ptr<Attribution> make_weighted_maps(const AttributionCall& c, const Settings& s) {
  return std::make_unique<WeightedMaps>(c, s, weight);
}
template <MapsTimesGradients::Factor factor>
std::unique_ptr<Attribution> make_maps_times_gradients(const AttributionCall& c, const Settings& s) {
  return std::make_unique<MapsTimesGradients>(c, s, factor);
}

}  // namespace vitrine
