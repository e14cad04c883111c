// Pictures listed in a table: a header with the columns "file" and "class_index" (or "label"), values separated by
// commas.
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "core/host/io/file.h"
#include "models/data/pictures.h"

namespace vitrine::data {
namespace {

std::vector<std::string> split_line(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      fields.emplace_back();
    else
      fields.back() += c;
  }
  return fields;
}

}  // namespace

std::unique_ptr<Dataset> open_list(const std::string& spec, PictureFit fit) {
  namespace fs = std::filesystem;
  const std::string path = take_picture_options("list", spec, fit);
  const fs::path folder = fs::path(path).parent_path();
  ByteImages d;
  std::ptrdiff_t file = -1, label = -1;
  std::int64_t number = 0;
  for (const std::string& line : io::read_lines(path)) {
    if (++number == 1) {
      const std::vector<std::string> header = split_line(line);
      const auto column = [&](const char* name) {
        const auto it = std::find(header.begin(), header.end(), name);
        return it != header.end() ? it - header.begin() : std::ptrdiff_t{-1};
      };
      file = column("file");
      label = column("class_index") >= 0 ? column("class_index") : column("label");
      if (file < 0 || label < 0)
        throw Error(path + ": its first line is '" + line +
                    "', expected the columns 'file' and 'class_index' (or 'label')");
    } else if (!line.empty()) {
      const std::vector<std::string> fields = split_line(line);
      if (static_cast<std::ptrdiff_t>(fields.size()) <= std::max(file, label))
        throw Error(path + ": line " + std::to_string(number) + " has " + std::to_string(fields.size()) + " fields");
      const std::string& text = fields[static_cast<std::size_t>(label)];
      int k = -1;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), k);
      if (error != std::errc{} || end != text.data() + text.size() || k < 0 || k >= (1 << 20))
        throw Error(path + ": line " + std::to_string(number) + " has a class of '" + text +
                    "', expected a number of at least 0");
      // Beside the table, or in its folder "images".
      const std::string& name = fields[static_cast<std::size_t>(file)];
      std::error_code ignored;
      const fs::path beside = folder / name;
      append_picture(d, fit, (fs::exists(beside, ignored) ? beside : folder / "images" / name).string(), k);
      d.classes = std::max(d.classes, k + 1);
    }
  }
  if (d.labels.empty()) throw Error(path + ": lists no picture");
  finish_pictures(d, fit);
  return make_byte_dataset(std::move(d));
}

}  // namespace vitrine::data
