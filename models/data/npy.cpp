// Arrays from NumPy as a data set: the images are taken as they are.
#include <algorithm>
#include <cmath>

#include "core/host/io/npy.h"
#include "models/data/sources.h"

namespace vitrine::data {
namespace {

class NpyDataset final : public Dataset {
 public:
  NpyDataset(Shape shape, std::vector<float> images, std::vector<int> labels, int classes)
      : shape_(shape), images_(std::move(images)), labels_(std::move(labels)), classes_(classes) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(labels_.size()); }
  Shape image_shape() const override { return shape_; }
  int classes() const override { return classes_; }
  int label(std::int64_t i) const override { return labels_[static_cast<std::size_t>(i)]; }
  void image(std::int64_t i, float* chw) const override {
    std::copy_n(images_.data() + i * shape_.per_image(), shape_.per_image(), chw);
  }

 private:
  Shape shape_;
  std::vector<float> images_;
  std::vector<int> labels_;
  int classes_;
};

std::vector<std::string> split(const std::string& spec) {
  std::vector<std::string> out(1);
  for (const char c : spec)
    if (c == ',')
      out.emplace_back();
    else
      out.back() += c;
  return out;
}

}  // namespace

std::unique_ptr<Dataset> open_npy(const std::string& spec, Part part, bool& has_split) {
  const std::vector<std::string> files = split(spec);
  if ((files.size() != 2 && files.size() != 4) || std::find(files.begin(), files.end(), "") != files.end())
    throw Error("data set 'npy:" + spec + "': expected npy:X,Y or npy:X,Y,XTEST,YTEST", Error::usage);
  has_split = files.size() == 4;
  const std::size_t first = has_split && part == Part::test ? 2 : 0;
  const io::NpyArray x = io::read_npy(files[first]), y = io::read_npy(files[first + 1]);
  if (x.shape.size() != 4)
    throw Error(files[first] + ": has " + std::to_string(x.shape.size()) + " dimensions, expected 4: (N,C,H,W)");
  for (std::size_t k = 0; k < 4; ++k)
    if (x.shape[k] < 1 || x.shape[k] > (1 << 24))
      throw Error(files[first] + ": has a dimension of " + std::to_string(x.shape[k]) + ", expected 1 to 16777216");
  if (y.shape.size() != 1 || y.shape[0] != x.shape[0] || y.kind == 'f')
    throw Error(files[first + 1] + ": is no list of " + std::to_string(x.shape[0]) +
                " whole numbers, one label an image of " + files[first]);
  std::vector<int> labels;
  int classes = 0;
  for (const std::int64_t label : y.integers()) {
    if (label < 0 || label > 100000)
      throw Error(files[first + 1] + ": label " + std::to_string(labels.size()) + " is " + std::to_string(label) +
                  ", expected 0 to 100000");
    labels.push_back(static_cast<int>(label));
    classes = std::max(classes, labels.back() + 1);
  }
  const auto d = [&](std::size_t k) { return static_cast<std::int32_t>(x.shape[k]); };
  std::vector<float> values = x.floats();
  if (x.kind != 'f')
    for (float& v : values) v /= 255;  // bytes are pixels
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw Error(files[first] + ": image " + std::to_string(i / (values.size() / labels.size())) + " holds " +
                  std::to_string(values[i]) + ", expected finite numbers");
  return std::make_unique<NpyDataset>(Shape{1, d(1), d(2), d(3)}, std::move(values), std::move(labels),
                                      std::max(2, classes));
}

}  // namespace vitrine::data
