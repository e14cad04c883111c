#include <algorithm>
#include <filesystem>

#include "core/io/image.h"
#include "core/io/npy.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

namespace fs = std::filesystem;

std::string lower_extension(const fs::path& path) {
  std::string e = path.extension().string();
  std::transform(e.begin(), e.end(), e.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return e;
}

bool is_picture(const fs::path& path) {
  const std::string e = lower_extension(path);
  return e == ".png" || e == ".jpg" || e == ".jpeg";
}

// One picture, resized to the network's extent and prepared as the model says.
void append_picture(const Model& model, const fs::path& path, Inputs& in) {
  const Shape s = model.image_shape();
  if (s.c() != 1 && s.c() != 3) throw Error(path.string() + ": a picture has 1 or 3 channels, but the network takes " + std::to_string(s.c()));
  io::Image image = io::read_image(path.string(), s.c());
  if (image.w != s.w() || image.h != s.h()) image = io::resize(image, s.w(), s.h());
  const InputPreparation& p = model.preparation;
  for (std::int32_t c = 0; c < s.c(); ++c)
    for (std::int64_t i = 0; i < s.pixels(); ++i) {
      const float v = static_cast<float>(image.pixels[static_cast<std::size_t>(i * s.c() + c)]) / 255;
      const auto k = static_cast<std::size_t>(c);
      in.images.data.push_back(p.mean.empty() ? v : (v - p.mean[k]) / p.std[k]);
    }
  in.names.push_back(path.filename().string());
}

}  // namespace

Inputs read_inputs(const Model& model, const std::string& path) {
  Inputs in;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    std::vector<fs::path> files;
    std::error_code error;
    for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
      if (it->is_regular_file(ignored) && is_picture(it->path())) files.push_back(it->path());
    if (error) throw Error(path + ": cannot be read: " + error.message());
    std::sort(files.begin(), files.end());
    if (files.empty()) throw Error(path + ": has no .png, .jpg or .jpeg file");
    for (const fs::path& f : files) append_picture(model, f, in);
  } else if (lower_extension(path) == ".npy") {
    const io::NpyArray array = io::read_npy(path);
    const Shape s = model.image_shape();
    const auto& d = array.shape;
    const auto describe = [&] {
      std::string t = "(";
      for (std::size_t k = 0; k < d.size(); ++k) t += (k ? "," : "") + std::to_string(d[k]);
      return t + ")";
    };
    if (d.size() != 4 || d[0] < 1 || d[0] > (1 << 24) || d[1] != s.c() || d[2] != s.h() || d[3] != s.w())
      throw Error(path + ": has shape " + describe() + ", expected (N," + text(s).substr(3));
    if (array.kind != 'f') throw Error(path + ": holds whole numbers, expected float32 as the network takes it (prepared, not pixels)");
    in.images.data = array.floats();
    for (std::int64_t n = 0; n < d[0]; ++n) in.names.push_back("#" + std::to_string(n));
  } else if (is_picture(path)) {
    append_picture(model, path, in);
  } else {
    throw Error(path + ": is neither a .npy file, a .png or .jpg picture, nor a folder of pictures", fs::exists(path, ignored) ? Error::usage : Error::input);
  }
  in.images.shape = model.image_shape().with_batch(static_cast<std::int32_t>(in.names.size()));
  return in;
}

std::vector<float> unprepared(const Model& model, const TensorView& image) {
  const InputPreparation& p = model.preparation;
  std::vector<float> out(image.data, image.data + image.size());
  if (p.mean.empty()) {
    // Values of unknown range: stretched to [0,1] for showing.
    const auto [low, high] = std::minmax_element(out.begin(), out.end());
    const float a = *low, range = *high > *low ? *high - *low : 1;
    for (float& v : out) v = (v - a) / range;
    return out;
  }
  for (std::int32_t c = 0; c < image.shape.c(); ++c)
    for (std::int64_t i = 0; i < image.shape.pixels(); ++i) {
      float& v = out[static_cast<std::size_t>(c * image.shape.pixels() + i)];
      v = v * p.std[static_cast<std::size_t>(c)] + p.mean[static_cast<std::size_t>(c)];
    }
  return out;
}

std::map<std::string, std::string> parse_assignments(const std::vector<std::string>& list) {
  std::map<std::string, std::string> out;
  for (const std::string& pair : list) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) throw Error("--set '" + pair + "': expected key=value", Error::usage);
    if (!out.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second) throw Error("--set: '" + pair.substr(0, equals) + "' is set twice", Error::usage);
  }
  return out;
}

}  // namespace vitrine::tools
