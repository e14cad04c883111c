#include <algorithm>
#include <filesystem>

#include "core/host/io/image.h"
#include "core/host/io/npy.h"
#include "models/prepare.h"
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
  if (s.c() != 1 && s.c() != 3)
    throw Error(path.string() + ": a picture has 1 or 3 channels, but the network takes " + std::to_string(s.c()));
  const io::Image image = fit(io::read_image(path.string(), s.c()), s.w(), s.h(), model.preparation.resize);
  const std::size_t first = in.images.data.size();
  in.images.data.resize(first + static_cast<std::size_t>(s.per_image()));
  prepare(model.preparation, image, in.images.data.data() + first);
  in.names.push_back(path.filename().string());
}

}  // namespace

std::vector<float> moved(const std::vector<float>& from, std::int64_t images, const Shape& s, bool to_nchw) {
  std::vector<float> to(from.size());
  const std::int64_t pixels = s.pixels(), channels = s.c();
  for (std::int64_t n = 0; n < images; ++n)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t p = 0; p < pixels; ++p) {
        const auto planar = static_cast<std::size_t>((n * channels + c) * pixels + p),
                   interleaved = static_cast<std::size_t>((n * pixels + p) * channels + c);
        if (to_nchw)
          to[planar] = from[interleaved];
        else
          to[interleaved] = from[planar];
      }
  return to;
}

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
    const auto fits = [&](std::int64_t a, std::int64_t b, std::int64_t c) {
      return d.size() == 4 && d[1] == a && d[2] == b && d[3] == c;
    };
    // A network from a file that takes (N,H,W,C) takes that; (N,C,H,W) is taken by all.
    in.nhwc = model.preparation.nhwc && fits(s.h(), s.w(), s.c());
    const bool vector = s.pixels() == 1 && d.size() == 2 && d[1] == s.c();
    if (d.empty() || d[0] < 1 || d[0] > (1 << 24) || !(in.nhwc || vector || fits(s.c(), s.h(), s.w())))
      throw Error(path + ": has shape " + text(d) + ", expected (N," + text(s).substr(3) +
                  (model.preparation.nhwc ? " or (N,H,W,C) of it" : ""));
    if (array.kind != 'f')
      throw Error(path + ": holds whole numbers, expected float32 as the network takes it (prepared, not pixels)");
    in.file_shape = d;
    in.images.data = array.floats();
    if (in.nhwc) in.images.data = moved(in.images.data, d[0], s, true);
    for (std::int64_t n = 0; n < d[0]; ++n) in.names.push_back("#" + std::to_string(n));
  } else if (is_picture(path)) {
    append_picture(model, path, in);
  } else {
    throw Error(path + ": is neither a .npy file, a .png or .jpg picture, nor a folder of pictures",
                fs::exists(path, ignored) ? Error::usage : Error::input);
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
  const std::int32_t channels = image.shape.c();
  const std::int64_t pixels = image.shape.pixels();
  for (std::int32_t c = 0; c < channels; ++c) {
    const std::int64_t to = p.bgr ? channels - 1 - c : c;
    for (std::int64_t i = 0; i < pixels; ++i)
      out[static_cast<std::size_t>(to * pixels + i)] =
          image.data[c * pixels + i] * p.std[static_cast<std::size_t>(c)] + p.mean[static_cast<std::size_t>(c)];
  }
  return out;
}

void EngineOptions::add_to(CLI::App& app) {
  app.add_option("--threads", threads, "of the CPU; 0: one a core")->capture_default_str()->check(CLI::Range(0, 1024));
  app.add_option("--device", device, "cpu, cuda or cuda:N (the N-th GPU)")->capture_default_str();
}

std::string describe(const Engine& engine) {
  if (engine.device() != nullptr) return engine.device()->name;
  return std::to_string(engine.threads()) + (engine.threads() == 1 ? " thread, " : " threads, ") +
         kernels::name(kernels::active()) + " kernels";
}

std::map<std::string, std::string> parse_assignments(const std::vector<std::string>& list) {
  std::map<std::string, std::string> out;
  for (const std::string& pair : list) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error("--set '" + pair + "': expected key=value", Error::usage);
    if (!out.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second)
      throw Error("--set: '" + pair.substr(0, equals) + "' is set twice", Error::usage);
  }
  return out;
}

}  // namespace vitrine::tools
