#include "models/data/dataset.h"

#include <algorithm>

#include "core/host/io/sha256.h"
#include "models/data/sources.h"

namespace vitrine::data {
namespace {

constexpr const char* known =
    "mnist:DIR, fashion:DIR, cifar10:DIR, folder:DIR, list:FILE.csv, npy:X,Y, relations[:variant,...] or "
    "partshapes[:variant,...]";

class Subset final : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> of, std::vector<std::int64_t> indices)
      : of_(std::move(of)), indices_(std::move(indices)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(indices_.size()); }
  Shape image_shape() const override { return of_->image_shape(); }
  int classes() const override { return of_->classes(); }
  std::string class_name(int k) const override { return of_->class_name(k); }
  int label(std::int64_t i) const override { return of_->label(at(i)); }
  void image(std::int64_t i, float* chw) const override { of_->image(at(i), chw); }
  void target(std::int64_t i, float* t) const override { of_->target(at(i), t); }
  bool masks(std::int64_t i, std::uint8_t* object, std::uint8_t* parts) const override {
    return of_->masks(at(i), object, parts);
  }
  std::vector<std::string> part_names() const override { return of_->part_names(); }
  std::vector<std::string> point_names() const override { return of_->point_names(); }
  std::vector<PointLabel> points(std::int64_t i) const override { return of_->points(at(i)); }
  Preprocessing suggested() const override { return of_->suggested(); }

 private:
  std::int64_t at(std::int64_t i) const { return indices_[static_cast<std::size_t>(i)]; }
  std::shared_ptr<const Dataset> of_;
  std::vector<std::int64_t> indices_;
};

class ByteDataset final : public Dataset {
 public:
  explicit ByteDataset(ByteImages d) : d_(std::move(d)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(d_.labels.size()); }
  Shape image_shape() const override { return d_.shape; }
  int classes() const override { return d_.classes; }
  std::string class_name(int k) const override {
    const auto i = static_cast<std::size_t>(k);
    return i < d_.names.size() ? d_.names[i] : std::to_string(k);
  }
  int label(std::int64_t i) const override { return d_.labels[static_cast<std::size_t>(i)]; }
  void image(std::int64_t i, float* chw) const override {
    const std::int64_t n = d_.shape.per_image();
    const std::uint8_t* const p = d_.pixels.data() + i * n;
    for (std::int64_t k = 0; k < n; ++k) chw[k] = static_cast<float>(p[k]) / 255;
  }
  Preprocessing suggested() const override { return d_.suggested; }

 private:
  ByteImages d_;
};

struct Spec {
  std::string kind, rest;
};

Spec split(const std::string& spec) {
  const std::size_t colon = spec.find(':');
  return {spec.substr(0, colon), colon == std::string::npos ? "" : spec.substr(colon + 1)};
}

std::unique_ptr<Dataset> open(const std::string& spec, Part part, bool& has_split, const PictureFit& fit) {
  const auto [kind, rest] = split(spec);
  has_split = true;
  if (kind == "partshapes") return open_partshapes(rest, part);
  if (kind == "relations") return open_relations(rest, part);
  if (kind != "mnist" && kind != "fashion" && kind != "cifar10" && kind != "folder" && kind != "list" && kind != "npy")
    throw Error("unknown data set '" + spec + "': expected " + known, Error::usage);
  if (rest.empty()) throw Error("data set '" + spec + "' names no place: expected " + known, Error::usage);
  if (kind == "mnist" || kind == "fashion") return open_idx(rest, part, kind == "fashion");
  if (kind == "cifar10") return open_cifar10(rest, part);
  if (kind == "folder") return open_folder(rest, part, has_split, fit);
  if (kind == "npy") return open_npy(rest, part, has_split);
  has_split = false;
  return open_list(rest, fit);
}

}  // namespace

void Dataset::target(std::int64_t i, float* distribution) const {
  std::fill_n(distribution, classes(), 0.0f);
  distribution[label(i)] = 1;
}

std::string digest_of_text(const std::string& kind, const std::string& spec, bool train) {
  io::Sha256 hash;
  hash.add(kind + ":" + spec + (train ? "|train" : "|test"));
  return hash.hexadecimal();
}

std::string Dataset::digest() const {
  io::Sha256 hash;
  std::vector<float> image_values(static_cast<std::size_t>(image_shape().per_image()));
  for (std::int64_t i = 0; i < size(); ++i) {
    const std::int32_t class_of = label(i);
    image(i, image_values.data());
    hash.add(&class_of, sizeof class_of);
    hash.add(image_values.data(), image_values.size() * sizeof(float));
  }
  return hash.hexadecimal();
}

std::unique_ptr<Dataset> make_byte_dataset(ByteImages d) { return std::make_unique<ByteDataset>(std::move(d)); }

std::unique_ptr<Dataset> tenth(std::shared_ptr<const Dataset> all, bool test) {
  std::vector<std::int64_t> seen(static_cast<std::size_t>(all->classes()), 0), indices;
  for (std::int64_t i = 0; i < all->size(); ++i)
    if ((seen[static_cast<std::size_t>(all->label(i))]++ % 10 == 9) == test) indices.push_back(i);
  return std::make_unique<Subset>(std::move(all), std::move(indices));
}

TrainTest open_for_training(const std::string& spec) {
  TrainTest out;
  bool has_split = true;
  out.train = open(spec, Part::train, has_split, {});
  if (has_split) {
    out.test = open(spec, Part::test, has_split, {});
  } else {
    const std::shared_ptr<const Dataset> all = std::move(out.train);
    out.train = tenth(all, false);
    out.test = tenth(all, true);
    out.note = spec + ": has no split of its own, so every tenth image of each class is kept for testing";
  }
  if (out.train->size() == 0 || out.test->size() == 0)
    throw Error(spec + ": has " + std::to_string(out.train->size()) + " training and " +
                std::to_string(out.test->size()) + " test images, expected at least one of each");
  if (out.train->image_shape() != out.test->image_shape())
    throw Error(spec + ": its training and test images differ in shape");
  return out;
}

std::unique_ptr<Dataset> open_for_evaluation(const std::string& spec, const PictureFit& fit) {
  bool has_split = true;
  auto out = open(spec, Part::test, has_split, fit);
  if (out->size() == 0) throw Error(spec + ": has no images");
  return out;
}

}  // namespace vitrine::data
