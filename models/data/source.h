// Images for explanation or prediction that are read when they are needed, so that memory does not grow with their
// number.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/data/dataset.h"
#include "models/data/inputs.h"

namespace vitrine::data {

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual std::int64_t size() const = 0;
  /// What an image is called: its file's name, or # and its number.
  virtual std::string name(std::int64_t i) const = 0;
  /// The images [first, first + count), prepared for the network.
  virtual Images read(std::int64_t first, std::int64_t count) = 0;
  /// The shape of an array over `images` of these images, in the order of the file that they come from.
  virtual std::vector<std::int64_t> array_shape(std::int64_t images) const = 0;
  /// Whether that is (N,H,W,C).
  virtual bool nhwc() const { return false; }
  /// Names the source and its content: two sources with the same identity give the same images.
  virtual std::string identity() const = 0;
  /// Labels of all images; empty if they are not known. Sets that make their images make them all for this.
  virtual std::vector<int> labels() const { return {}; }
};

/// What read_inputs reads (models/data/inputs.h): a .npy or a folder of pictures is read piece by piece. `given`:
/// values of the other inputs, read whole. The model must outlive the source.
std::unique_ptr<ImageSource> open_source(const Model&, std::span<const std::string> inputs, Given& given);

/// The images of a data set, prepared as the model says; an Error if they do not fit it. Both must outlive the source.
std::unique_ptr<ImageSource> open_source(const Model&, const Dataset&, const std::string& spec);

}  // namespace vitrine::data
