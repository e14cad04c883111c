#include "models/data/source.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "core/host/io/npy.h"
#include "core/host/io/sha256.h"
#include "core/host/utf8.h"
#include "models/prepare.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

std::vector<std::int64_t> planar_shape(const Model& model, std::int64_t images) {
  const Shape s = model.image_shape();
  return {images, s.c(), s.h(), s.w()};
}

// What has been read whole.
class WholeSource final : public ImageSource {
 public:
  WholeSource(const Model& model, Inputs in) : model_(model), in_(std::move(in)) {
    io::Sha256 hash;
    hash.add(in_.images.data.data(), in_.images.data.size() * sizeof(real));
    identity_ = hash.hexadecimal();
  }
  std::int64_t size() const override { return in_.images.shape.n(); }
  std::string name(std::int64_t i) const override { return in_.names[static_cast<std::size_t>(i)]; }
  Images read(std::int64_t first, std::int64_t count) override {
    const TensorView part =
        in_.images.view().images(static_cast<std::int32_t>(first), static_cast<std::int32_t>(count));
    return {part.shape, {part.data, part.data + part.size()}};
  }
  std::vector<std::int64_t> array_shape(std::int64_t images) const override {
    std::vector<std::int64_t> shape = in_.file_shape.empty() ? planar_shape(model_, images) : in_.file_shape;
    shape[0] = images;
    return shape;
  }
  bool nhwc() const override { return in_.nhwc; }
  std::string identity() const override { return identity_; }

 private:
  const Model& model_;
  Inputs in_;
  std::string identity_;
};

// Rows of an array file.
class ArraySource final : public ImageSource {
 public:
  ArraySource(const Model& model, const std::string& path)
      : shape_(model.image_shape()), reader_(path), nhwc_(model.preparation.nhwc && in_nhwc(reader_.shape(), shape_)) {
    const auto& d = reader_.shape();
    const bool planar = d.size() == 4 && d[1] == shape_.c() && d[2] == shape_.h() && d[3] == shape_.w();
    const bool vector = d.size() == 2 && shape_.pixels() == 1 && d[1] == shape_.c();
    const bool line = d.size() == 3 && shape_.w() == 1 && d[1] == shape_.c() && d[2] == shape_.h();
    if (d.empty() || d[0] < 1 || d[0] > (1 << 24) || !(nhwc_ || planar || vector || line))
      throw Error(path + ": has shape " + text(d) + ", expected (N," + text(shape_).substr(3) +
                  (model.preparation.nhwc ? " or (N,H,W,C) of it" : ""));
    if (reader_.kind() != 'f')
      throw Error(path + ": holds whole numbers, expected float32 as the network takes it (prepared, not pixels)");
  }
  std::int64_t size() const override { return reader_.shape()[0]; }
  std::string name(std::int64_t i) const override { return "#" + std::to_string(i); }
  Images read(std::int64_t first, std::int64_t count) override {
    Images images{shape_.with_batch(static_cast<std::int32_t>(count)), reader_.rows(first, count)};
    if (nhwc_) images.data = moved(images.data, count, shape_, true);
    return images;
  }
  std::vector<std::int64_t> array_shape(std::int64_t images) const override {
    std::vector<std::int64_t> shape = reader_.shape();
    shape[0] = images;
    return shape;
  }
  bool nhwc() const override { return nhwc_; }
  std::string identity() const override { return io::sha256_of_file(reader_.path()); }

 private:
  static bool in_nhwc(const std::vector<std::int64_t>& d, const Shape& s) {
    return d.size() == 4 && d[1] == s.h() && d[2] == s.w() && d[3] == s.c();
  }
  Shape shape_;
  io::NpyReader reader_;
  bool nhwc_;
};

// Pictures of a folder, in the order of their names.
class PictureSource final : public ImageSource {
 public:
  PictureSource(const Model& model, std::vector<std::string> files) : model_(model), files_(std::move(files)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  std::string name(std::int64_t i) const override { return utf8::escaped(fs::path(file(i)).filename().string()); }
  Images read(std::int64_t first, std::int64_t count) override {
    Images images{model_.image_shape().with_batch(static_cast<std::int32_t>(count)), {}};
    for (std::int64_t i = first; i < first + count; ++i) {
      const Images one = read_images(model_, file(i)).images;
      images.data.insert(images.data.end(), one.data.begin(), one.data.end());
    }
    return images;
  }
  std::vector<std::int64_t> array_shape(std::int64_t images) const override { return planar_shape(model_, images); }
  std::string identity() const override {
    io::Sha256 hash;
    for (const std::string& f : files_) {
      hash.add(fs::path(f).filename().string());
      hash.add(io::sha256_of_file(f));
    }
    return hash.hexadecimal();
  }

 private:
  const std::string& file(std::int64_t i) const { return files_[static_cast<std::size_t>(i)]; }
  const Model& model_;
  std::vector<std::string> files_;
};

class DatasetSource final : public ImageSource {
 public:
  DatasetSource(const Model& model, const Dataset& data, std::string spec)
      : model_(model), data_(data), spec_(std::move(spec)) {
    if (data.image_shape() != model.image_shape())
      throw Error(spec_ + ": has images of " + text(data.image_shape()) + ", but the network takes " +
                  text(model.image_shape()));
  }
  std::int64_t size() const override { return data_.size(); }
  std::string name(std::int64_t i) const override { return "#" + std::to_string(i); }
  Images read(std::int64_t first, std::int64_t count) override {
    const Shape s = model_.image_shape();
    Images images{s.with_batch(static_cast<std::int32_t>(count)), {}};
    images.data.resize(static_cast<std::size_t>(images.shape.size()));
    for (std::int64_t i = 0; i < count; ++i) {
      real* const to = images.data.data() + i * s.per_image();
      data_.image(first + i, to);
      prepare(model_.preparation, s, to);
    }
    data_.release(first, count);
    return images;
  }
  std::vector<std::int64_t> array_shape(std::int64_t images) const override { return planar_shape(model_, images); }
  std::string identity() const override { return data_.digest(); }
  std::vector<int> labels() const override {
    std::vector<int> all;
    for (std::int64_t i = 0; i < data_.size(); ++i) {
      all.push_back(data_.label(i));
      data_.release(i, 1);
    }
    return all;
  }

 private:
  const Model& model_;
  const Dataset& data_;
  std::string spec_;
};

std::vector<std::string> picture_files(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error, ignored;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->is_regular_file(ignored) && is_picture(it->path().string())) files.push_back(it->path().string());
  if (error) throw Error(folder + ": cannot be read: " + error.message());
  std::sort(files.begin(), files.end());
  if (files.empty()) throw Error(folder + ": has no .png, .jpg or .jpeg file");
  return files;
}

}  // namespace

std::unique_ptr<ImageSource> open_source(const Model& model, std::span<const std::string> inputs, Given& given) {
  std::error_code ignored;
  // Of a network with one input, what can be large is read piece by piece.
  if (model.graph().inputs.size() == 1 && inputs.size() == 1) {
    const std::string& path = inputs[0];
    if (fs::is_directory(path, ignored)) return std::make_unique<PictureSource>(model, picture_files(path));
    if (path.ends_with(".npy") && fs::exists(path, ignored)) return std::make_unique<ArraySource>(model, path);
  }
  Inputs in = read_inputs(model, inputs);
  given = std::move(in.given);
  return std::make_unique<WholeSource>(model, std::move(in));
}

std::unique_ptr<ImageSource> open_source(const Model& model, const Dataset& data, const std::string& spec) {
  return std::make_unique<DatasetSource>(model, data, spec);
}

}  // namespace vitrine::data
