// A folder of pictures, a class a subfolder.
#include <algorithm>
#include <filesystem>

#include "models/data/pictures.h"

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
    if (folders ? it->is_directory(ignored) : it->is_regular_file(ignored) && is_picture(it->path()))
      out.push_back(it->path());
  if (error) throw Error(folder.string() + ": cannot be read: " + error.message());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

std::unique_ptr<Dataset> open_folder(const std::string& spec, Part part, bool& has_split, PictureFit fit) {
  const std::string folder = take_picture_options("folder", spec, fit);
  std::error_code ignored;
  has_split = fs::is_directory(folder + "/train", ignored);
  fs::path base = folder;
  if (has_split) base /= part == Part::train ? "train" : fs::is_directory(folder + "/test", ignored) ? "test" : "val";

  ByteImages d;
  const std::vector<fs::path> classes = sorted_entries(base, true);
  if (classes.size() < 2)
    throw Error(base.string() + ": has " + std::to_string(classes.size()) +
                " subfolders, expected one a class and at least two");
  d.classes = static_cast<int>(classes.size());
  for (std::size_t k = 0; k < classes.size(); ++k) {
    d.names.push_back(classes[k].filename().string());
    for (const fs::path& file : sorted_entries(classes[k], false))
      append_picture(d, fit, file.string(), static_cast<int>(k));
  }
  if (d.labels.empty()) throw Error(base.string() + ": has no .png, .jpg or .jpeg file in its subfolders");
  finish_pictures(d, fit);
  return make_byte_dataset(std::move(d));
}

}  // namespace vitrine::data
