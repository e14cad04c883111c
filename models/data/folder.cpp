// A folder of pictures, a class a subfolder.
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "core/io/image.h"
#include "models/data/sources.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

bool is_picture(const fs::path& path) {
  std::string e = path.extension().string();
  std::transform(e.begin(), e.end(), e.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return e == ".png" || e == ".jpg" || e == ".jpeg";
}

std::vector<fs::path> sorted_entries(const fs::path& folder, bool folders) {
  std::vector<fs::path> out;
  std::error_code error, ignored;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (folders ? it->is_directory(ignored) : it->is_regular_file(ignored) && is_picture(it->path())) out.push_back(it->path());
  if (error) throw Error(folder.string() + ": cannot be read: " + error.message());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

std::unique_ptr<Dataset> open_folder(const std::string& spec, Part part, bool& has_split) {
  // DIR[,size=HxW][,grey]
  std::string folder = spec;
  int height = 0, width = 0, channels = 3;
  for (std::size_t comma; (comma = folder.rfind(',')) != std::string::npos;) {
    const std::string option = folder.substr(comma + 1);
    if (option == "grey") {
      channels = 1;
    } else if (option.starts_with("size=")) {
      const char *begin = option.data() + 5, *const end = option.data() + option.size();
      const auto h = std::from_chars(begin, end, height);
      const auto w = h.ptr != end && *h.ptr == 'x' ? std::from_chars(h.ptr + 1, end, width) : h;
      if (h.ec != std::errc{} || w.ec != std::errc{} || w.ptr != end || height < 1 || width < 1 || height > 4096 || width > 4096)
        throw Error("data set folder: option '" + option + "': expected size=HxW with 1 to 4096 pixels a side", Error::usage);
    } else {
      break;  // a comma of the folder's own name
    }
    folder.resize(comma);
  }
  std::error_code ignored;
  has_split = fs::is_directory(folder + "/train", ignored);
  fs::path base = folder;
  if (has_split) base /= part == Part::train ? "train" : fs::is_directory(folder + "/test", ignored) ? "test" : "val";

  ByteImages d;
  const std::vector<fs::path> classes = sorted_entries(base, true);
  if (classes.size() < 2) throw Error(base.string() + ": has " + std::to_string(classes.size()) + " subfolders, expected one a class and at least two");
  d.classes = static_cast<int>(classes.size());
  for (std::size_t k = 0; k < classes.size(); ++k) {
    d.names.push_back(classes[k].filename().string());
    for (const fs::path& file : sorted_entries(classes[k], false)) {
      io::Image image = io::read_image(file.string(), channels);
      if (height == 0) height = image.h, width = image.w;  // the first picture decides
      if (image.h != height || image.w != width) image = io::resize(image, width, height);
      const std::size_t plane = static_cast<std::size_t>(height) * static_cast<std::size_t>(width), c = static_cast<std::size_t>(channels);
      for (std::size_t channel = 0; channel < c; ++channel)
        for (std::size_t p = 0; p < plane; ++p) d.pixels.push_back(image.pixels[p * c + channel]);
      d.labels.push_back(static_cast<int>(k));
    }
  }
  if (d.labels.empty()) throw Error(base.string() + ": has no .png, .jpg or .jpeg file in its subfolders");
  d.shape = {1, channels, height, width};
  // Pixels centred on grey: a preparation that fits pictures of unknown statistics.
  d.suggested = {std::vector<float>(static_cast<std::size_t>(channels), 0.5f), std::vector<float>(static_cast<std::size_t>(channels), 0.25f)};
  return make_byte_dataset(std::move(d));
}

}  // namespace vitrine::data
