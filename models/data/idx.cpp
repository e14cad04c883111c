// MNIST's IDX format: a big-endian magic number (type and dimensions), sizes, bytes [LeCun et al.,
// yann.lecun.com/exdb/mnist].
#include <filesystem>

#include "core/host/io/file.h"
#include "models/data/sources.h"

namespace vitrine::data {

Idx parse_idx(std::vector<std::byte> raw, const std::string& path, std::size_t dimensions) {
  const auto big_endian = [&](std::size_t at) {
    std::int64_t v = 0;
    for (std::size_t k = 0; k < 4; ++k) v = v << 8 | std::to_integer<std::int64_t>(raw[at + k]);
    return v;
  };
  const std::size_t header = 4 + 4 * dimensions;
  if (raw.size() < header)
    throw Error(path + ": has " + std::to_string(raw.size()) + " bytes, too few for an IDX header of " +
                std::to_string(header));
  if (const std::int64_t magic = big_endian(0); magic != 0x800 + static_cast<std::int64_t>(dimensions))
    throw Error(path + ": has IDX magic number " + std::to_string(magic) + ", expected " +
                std::to_string(0x800 + dimensions) + " (bytes in " + std::to_string(dimensions) + " dimensions)");
  Idx idx;
  std::uint64_t need = 1;
  for (std::size_t k = 0; k < dimensions; ++k) {
    const std::int64_t d = big_endian(4 + 4 * k);
    idx.shape.push_back(d);
    if (d != 0 && need > (std::uint64_t{1} << 40) / static_cast<std::uint64_t>(d))
      throw Error(path + ": says that it has more than 2^40 elements");
    need *= static_cast<std::uint64_t>(d);
  }
  if (need != raw.size() - header)
    throw Error(path + ": its IDX header promises " + std::to_string(need) + " bytes of data, found " +
                std::to_string(raw.size() - header));
  raw.erase(raw.begin(), raw.begin() + static_cast<std::ptrdiff_t>(header));
  idx.bytes = std::move(raw);
  return idx;
}

namespace {

// The first of these names, plain or .gz, that is there.
std::string find(const std::string& folder, const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const std::string& name : names)
    for (const char* ending : {"", ".gz"})
      if (const std::string path = folder + "/" + name + ending; std::filesystem::exists(path, ignored)) return path;
  throw Error(folder + ": has neither " + names[0] + " nor " + names[0] + ".gz");
}

}  // namespace

std::unique_ptr<Dataset> open_idx(const std::string& folder, Part part, bool fashion) {
  std::vector<std::string> stems = {part == Part::train ? "train" : "t10k"};
  if (part == Part::train) stems.push_back("train10k");
  const auto path = [&](const char* kind) {
    std::vector<std::string> names;
    for (const std::string& stem : stems) names.push_back(stem + kind);
    return find(folder, names);
  };
  const std::string image_path = path("-images-idx3-ubyte"), label_path = path("-labels-idx1-ubyte");
  Idx images = parse_idx(io::read_maybe_gzip(image_path), image_path, 3);
  const Idx labels = parse_idx(io::read_maybe_gzip(label_path), label_path, 1);
  if (images.shape[0] != labels.shape[0])
    throw Error(image_path + ": has " + std::to_string(images.shape[0]) + " images, but " + label_path + " has " +
                std::to_string(labels.shape[0]) + " labels");
  if (images.shape[0] == 0 || images.shape[1] < 1 || images.shape[2] < 1 || images.shape[1] > 4096 ||
      images.shape[2] > 4096)
    throw Error(image_path + ": has " + std::to_string(images.shape[0]) + " images of " +
                std::to_string(images.shape[1]) + " x " + std::to_string(images.shape[2]) +
                ", expected some of 1 to 4096 pixels a side");
  ByteImages d;
  d.shape = {1, 1, static_cast<std::int32_t>(images.shape[1]), static_cast<std::int32_t>(images.shape[2])};
  d.pixels.resize(images.bytes.size());
  for (std::size_t i = 0; i < d.pixels.size(); ++i) d.pixels[i] = std::to_integer<std::uint8_t>(images.bytes[i]);
  d.classes = 10;
  for (std::size_t i = 0; i < labels.bytes.size(); ++i) {
    d.labels.push_back(std::to_integer<int>(labels.bytes[i]));
    if (d.labels.back() > 9)
      throw Error(label_path + ": label " + std::to_string(i) + " is " + std::to_string(d.labels.back()) +
                  ", expected 0 to 9");
  }
  // Means and deviations of the training images.
  if (fashion) {
    d.names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
               "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
    d.suggested = {{0.2860f}, {0.3530f}};
  } else {
    d.suggested = {{0.1307f}, {0.3081f}};
  }
  return make_byte_dataset(std::move(d));
}

}  // namespace vitrine::data
