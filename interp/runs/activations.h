// Activations of a data set, collected once and kept: what units, layers and directions are studied from.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/host/job.h"
#include "interp/math/matrix.h"
#include "interp/runs/objective.h"

namespace vitrine {

struct Probe {
  enum class Pool : std::uint8_t { maps, maximum, mean };
  std::vector<std::string> nodes;
  Pool pool = Pool::maps;  ///< whole maps, or one number per channel
  /// Also the gradient of this number with respect to each node's value, pooled alike (by the mean for `maximum`).
  std::optional<Objective> gradient_of{};
  std::int64_t images = 0;  ///< the first so many; 0: all
};

/// Values of nodes for all images of a data set. With a cache folder (Job::cache) they are one file there, named by a
/// hash of parameters, data, probe and instruction set: later calls map it instead of running the network, and a call
/// that was killed is continued after its last complete batch. Without one they are in memory, or in a nameless
/// temporary file if they exceed the subject's memory budget. Either way memory use does not grow with the number of
/// images.
class ActivationStore {
 public:
  /// Throws a usage Error for unknown nodes, an Error if the file cannot be written.
  static ActivationStore collect(Subject&, const Probe&, const Job&);
  ~ActivationStore();
  ActivationStore(ActivationStore&&) noexcept;

  std::int64_t images() const noexcept;
  /// Of one image's value as it is stored: (1,C,H,W), or (1,C,1,1) if it is pooled.
  Shape shape(std::size_t node) const noexcept;
  /// An image's value, (C,H,W).
  std::span<const real> map(std::size_t node, std::int64_t image) const;
  /// The gradient there; an Error if the probe asked for none.
  std::span<const real> gradient(std::size_t node, std::int64_t image) const;
  /// One channel for all images: images x H x W numbers.
  void unit(std::size_t node, std::int32_t channel, std::span<real> out) const;
  /// images x (C*H*W).
  Matrix rows(std::size_t node) const;
  /// Where the node's places are in the input (core/geometry.h).
  const Geometry& geometry(std::size_t node) const;
  std::span<const int> labels() const noexcept;
  /// Whether the values came from an earlier call's file.
  bool reused() const noexcept;

 private:
  struct State;
  explicit ActivationStore(std::unique_ptr<State>);
  std::unique_ptr<State> state_;
};

}  // namespace vitrine
