// Data sets by name: mnist:DIR, fashion:DIR, cifar10:DIR, folder:DIR, list:FILE.csv, npy:X,Y and the built-in relations
// and partshapes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/host/error.h"
#include "core/shape.h"

namespace vitrine::data {

/// Per channel, in units of [0,1] pixels; empty: images are taken as they are.
struct Preprocessing {
  std::vector<float> mean, std;
};

/// A named place of an image: the centre of a part, in pixels (x to the right, y down).
struct PointLabel {
  int name;  ///< index in Dataset::point_names
  float x, y;
};

/// Images with labels. Reading is thread-safe: loaders read from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  virtual Shape image_shape() const = 0;  ///< (1,C,H,W)
  virtual int classes() const = 0;
  virtual std::string class_name(int k) const { return std::to_string(k); }
  virtual int label(std::int64_t i) const = 0;
  /// C*H*W values: pixels in [0,1], or numbers as stored where the set is npy.
  virtual void image(std::int64_t i, float* chw) const = 0;
  /// A distribution over the classes; one-hot unless the set has soft targets.
  virtual void target(std::int64_t i, float* distribution) const;
  /// Where the object is (1) and which part (ids of the set), H*W each; false where the set has no masks.
  virtual bool masks(std::int64_t, std::uint8_t* /*object*/, std::uint8_t* /*parts*/) const { return false; }
  /// Names of the part ids in `masks`; empty where the set has none.
  virtual std::vector<std::string> part_names() const { return {}; }
  /// Names of the places that `points` tells: parts ("head") and parts of a kind ("head.square"); empty where it tells
  /// none.
  virtual std::vector<std::string> point_names() const { return {}; }
  virtual std::vector<PointLabel> points(std::int64_t) const { return {}; }
  virtual Preprocessing suggested() const { return {}; }
  /// The images [first, first + count) will not be asked for soon: a set that keeps what it has made may drop them.
  /// Nobody may be reading from the set.
  virtual void release(std::int64_t /*first*/, std::int64_t /*count*/) const {}
  /// SHA-256 of all images and labels, as hexadecimal digits: what caches and results know the set by. Sets that are
  /// made from a text, or read from files, may hash these instead.
  virtual std::string digest() const;
};

struct TrainTest {
  std::unique_ptr<Dataset> train, test;
  std::string note;  ///< what a user should know of the split; may be empty
};

/// Both parts of a data set. A set without a split of its own gives every tenth image of each class to the test part,
/// and says so in `note`. A usage Error lists the known kinds.
TrainTest open_for_training(const std::string& spec);

/// How sets of picture files bring them to one extent, unless their spec says otherwise.
struct PictureFit {
  int height = 0, width = 0;  ///< 0: the first picture's
  int shorter = 0;            ///< as InputPreparation::resize
  int channels = 3;
};

/// The test part; all of a set that has no split.
std::unique_ptr<Dataset> open_for_evaluation(const std::string& spec, const PictureFit& = {});

}  // namespace vitrine::data
