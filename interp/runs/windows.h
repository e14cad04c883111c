// A network over many copies of an image that differ from it in one window each, computing in every layer no more than
// the window can change: the rest of each map is the image's own. A window of w places changes about (w + kernel - 1) /
// stride places of the next map, so early layers, where maps are large, cost little.
//
// The work is written as a network of its own: every node over crops of its inputs, each crop put together by a node
// `patch` from the image's own map and what has changed, until crops are nearly as large as the map and whole maps go
// on. It is planned, fused and batched like any other. Results differ from those of whole copies by rounding alone.
#pragma once

#include <memory>

#include "models/model.h"

namespace vitrine {

/// Where windows lie along one axis: position i covers [first[i], last[i]).
struct WindowAxis {
  std::vector<std::int32_t> first, last;
};

class WindowedRuns {
 public:
  /// Windows rows x columns, row by row. Null where whole copies are cheaper, or the engine works on a device.
  static std::unique_ptr<WindowedRuns> make(const Model&, const Engine&, const WindowAxis& rows,
                                            const WindowAxis& columns, Id value, std::size_t memory_budget);
  ~WindowedRuns();

  /// The image that the windows are cut from, (1,C,H,W): its own maps are computed and kept.
  void set_image(const TensorView& image);
  /// The value for the image itself.
  HostTensor image_value() const;
  /// The value for windows [first, first + count), count at most batch(), each filled with one colour, a number a
  /// channel.
  HostTensor run(std::int32_t first, std::int32_t count, std::span<const float> fill);
  std::int32_t batch() const noexcept;
  const Session& session() const noexcept;
  /// Multiply-adds of a window over those of a whole copy.
  double share() const noexcept { return share_; }

 private:
  struct Crops;
  class CropBuilder;
  WindowedRuns();
  std::unique_ptr<Crops> crops_;
  double share_ = 1;
};

}  // namespace vitrine
