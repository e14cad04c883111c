// Batches, made in the background while the network works on the last one.
//
// Everything is a pure function of (seed, epoch, position): the order comes from a counter-based stream, and so does
// each image's augmentation. Threads and interruptions change nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/host/job.h"
#include "models/data/dataset.h"
#include "models/model.h"

namespace vitrine::data {

struct Augment {
  int shift = 0;         ///< up to this many pixels in both axes, black moving in
  bool flip = false;     ///< left and right, with probability 1/2
  int crop_padding = 0;  ///< pad by this and crop the old size at random: a shift, by the name CIFAR recipes know
  int cutout = 0;  ///< a square of this side, its centre anywhere in the image, is set to 0 after preparation [DeVries
                   ///< & Taylor 2017]
  double label_smoothing = 0;  ///< targets are (1-s) t + s/classes [Szegedy et al. 2016]
  double mixup =
      0;  ///< images and targets are mixed with another of the batch, share ~ Beta(a,a) a batch [Zhang et al. 2018]
};

struct LoaderOptions {
  int batch = 64;
  std::uint64_t seed = 1;
  bool shuffle = false, drop_last = false;
  InputPreparation preparation;
  Augment augment;
  int threads = 1, prefetch = 4;
};

struct Batch {
  int count = 0;
  std::vector<float> images;   ///< (count,C,H,W)
  std::vector<float> targets;  ///< (count,classes)
  std::vector<int> labels;
  std::vector<std::int64_t> indices;
};

class Loader {
 public:
  Loader(const Dataset&, const LoaderOptions&);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Starts an epoch at one of its batches, giving up what is left of the last.
  void start_epoch(int epoch, std::int64_t first_batch = 0);
  /// The next batch; false at the end of the epoch. Rethrows what a background thread met.
  bool next(Batch& out);
  std::int64_t batches() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The sizes of the batches in which a loader gives so many images: full ones, and the last. For PlanRequest::batches.
class BatchSizes {
 public:
  BatchSizes(std::int64_t images, std::int32_t batch) noexcept
      : sizes_{batch, static_cast<std::int32_t>(images % batch)} {}
  std::span<const std::int32_t> span() const noexcept { return {sizes_, sizes_[1] > 0 ? 2u : 1u}; }

 private:
  std::int32_t sizes_[2];
};

/// The images [first, first + count) of a set once, in their order and prepared, a batch at a time; a count of 0: to
/// the end. Reports progress and stops as the job says.
void over_batches(const Dataset&, const InputPreparation&, int batch, const Job&,
                  const std::function<void(Batch&)>& body, std::int64_t first = 0, std::int64_t count = 0);

}  // namespace vitrine::data
