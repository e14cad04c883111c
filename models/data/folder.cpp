// A folder of pictures, a class a subfolder.
#include <algorithm>
#include <filesystem>

#include "core/host/utf8.h"
#include "models/data/pictures.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

bool is_picture(const fs::path& path) {
  std::string e = path.extension().string();
  std::transform(e.begin(), e.end(), e.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return e == ".png" || e == ".jpg" || e == ".jpeg";
}

// Hidden ones (.git, .DS_Store) are none.
std::vector<fs::path> sorted_entries(const fs::path& folder, bool folders) {
  std::vector<fs::path> out;
  std::error_code error, ignored;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with('.')) continue;
    if (folders ? it->is_directory(ignored) : it->is_regular_file(ignored) && is_picture(it->path()))
      out.push_back(it->path());
  }
  if (error) throw Error(folder.string() + ": cannot be read: " + error.message());
  std::sort(out.begin(), out.end());
  return out;
}

// The names of subfolders that hold pictures.
std::vector<std::string> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::path& sub : sorted_entries(folder, true))
    if (!sorted_entries(sub, false).empty()) names.push_back(sub.filename().string());
  return names;
}

}  // namespace

std::unique_ptr<Dataset> open_folder(const std::string& spec, Part part, bool& has_split, PictureFit fit) {
  const std::string folder = take_picture_options("folder", spec, fit);
  std::error_code ignored;
  has_split = fs::is_directory(folder + "/train", ignored);
  fs::path base = folder;
  if (has_split) base /= part == Part::train ? "train" : fs::is_directory(folder + "/test", ignored) ? "test" : "val";

  // Both parts have the classes of the training part, which the test part may show a few of.
  const fs::path named = has_split ? fs::path(folder) / "train" : base;
  const std::vector<std::string> classes = class_folders(named);
  if (classes.size() < 2)
    throw Error(named.string() + ": has " + std::to_string(classes.size()) +
                (classes.size() == 1 ? " subfolder" : " subfolders") +
                " with pictures (.png, .jpg, .jpeg), expected one a class and at least two");
  for (const std::string& name : class_folders(base))
    if (!std::binary_search(classes.begin(), classes.end(), name))
      throw Error((base / name).string() + ": is no class of the training part");
  ByteImages d;
  d.classes = static_cast<int>(classes.size());
  for (std::size_t k = 0; k < classes.size(); ++k) {
    d.names.push_back(utf8::escaped(classes[k]));
    const fs::path of_class = base / classes[k];
    if (!fs::is_directory(of_class, ignored)) continue;
    for (const fs::path& file : sorted_entries(of_class, false))
      append_picture(d, fit, file.string(), static_cast<int>(k));
  }
  if (d.labels.empty()) throw Error(base.string() + ": has no .png, .jpg or .jpeg file in its subfolders");
  finish_pictures(d, fit);
  return make_byte_dataset(std::move(d));
}

}  // namespace vitrine::data
