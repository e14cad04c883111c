#include "models/data/inputs.h"

#include <algorithm>
#include <filesystem>

#include "core/host/io/image.h"
#include "core/host/io/npy.h"
#include "core/host/utf8.h"
#include "models/prepare.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

std::string lower_extension(const fs::path& path) {
  std::string e = path.extension().string();
  std::transform(e.begin(), e.end(), e.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return e;
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
  in.names.push_back(utf8::escaped(path.filename().string()));
}

// Whether an array of these dimensions holds images of shape s; of a vector or a length the last ones may be left out.
bool fits(const std::vector<std::int64_t>& d, const Shape& s) {
  if (d.size() < 2 || d.size() > 4 || (d.size() < 4 && s.w() != 1) || (d.size() < 3 && s.h() != 1)) return false;
  for (std::size_t k = 1; k < d.size(); ++k)
    if (d[k] != s.d[k]) return false;
  return true;
}

std::string expected_shapes(const Shape& s) {
  const std::string all = "(N," + text(s).substr(3);
  if (s.pixels() == 1) return all + " or (N," + std::to_string(s.c()) + ")";
  return s.w() == 1 ? all + " or (N," + std::to_string(s.c()) + "," + std::to_string(s.h()) + ")" : all;
}

// An array for one input. `nhwc`: whether it may be, and then whether it is, (N,H,W,C).
Images read_array(const std::string& path, const Shape& s, bool& nhwc, std::vector<std::int64_t>& shape) {
  const io::NpyArray array = io::read_npy(path);
  const auto& d = array.shape;
  const bool may_turn = nhwc;
  // A network from a file that takes (N,H,W,C) takes that; (N,C,H,W) is taken by all.
  nhwc = nhwc && d.size() == 4 && d[1] == s.h() && d[2] == s.w() && d[3] == s.c();
  if (d.empty() || d[0] < 1 || d[0] > (1 << 24) || !(nhwc || fits(d, s)))
    throw Error(path + ": has shape " + text(d) + ", expected " + expected_shapes(s) +
                (may_turn ? " or (N,H,W,C) of it" : ""));
  if (array.kind != 'f')
    throw Error(path + ": holds whole numbers, expected float32 as the network takes it (prepared, not pixels)");
  shape = d;
  Images images{s.with_batch(static_cast<std::int32_t>(d[0])), array.floats()};
  if (nhwc) images.data = moved(images.data, d[0], s, true);
  return images;
}

// The names of inputs for a sentence.
std::string names_of(const Graph& g) {
  std::string s;
  for (const Id v : g.inputs) s += (s.empty() ? "" : ", ") + std::string(g.values[v].name);
  return s;
}

// Splits NAME=X; without a name it is the main input's.
std::pair<Id, std::string> split(const Graph& g, const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) return {g.input, text};
  const std::string name = text.substr(0, equals);
  if (const Id v = g.find_input(name.c_str()); v != no_id) return {v, text.substr(equals + 1)};
  std::error_code ignored;
  if (g.inputs.size() == 1 || fs::exists(text, ignored)) return {g.input, text};
  throw Error("--input " + text + ": no input is called '" + name + "': the inputs are " + names_of(g), Error::usage);
}

}  // namespace

bool is_picture(const std::string& path) {
  const std::string e = lower_extension(path);
  return e == ".png" || e == ".jpg" || e == ".jpeg";
}

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

Inputs read_images(const Model& model, const std::string& path) {
  Inputs in;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    std::vector<fs::path> files;
    std::error_code error;
    for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
      if (it->is_regular_file(ignored) && is_picture(it->path().string())) files.push_back(it->path());
    if (error) throw Error(path + ": cannot be read: " + error.message());
    std::sort(files.begin(), files.end());
    if (files.empty()) throw Error(path + ": has no .png, .jpg or .jpeg file");
    for (const fs::path& f : files) append_picture(model, f, in);
  } else if (lower_extension(path) == ".npy") {
    in.nhwc = model.preparation.nhwc;
    in.images = read_array(path, model.image_shape(), in.nhwc, in.file_shape);
    for (std::int32_t n = 0; n < in.images.shape.n(); ++n) in.names.push_back("#" + std::to_string(n));
  } else if (is_picture(path)) {
    append_picture(model, path, in);
  } else {
    throw Error(path + ": is neither a .npy file, a .png or .jpg picture, nor a folder of pictures",
                fs::exists(path, ignored) ? Error::usage : Error::input);
  }
  in.images.shape = model.image_shape().with_batch(static_cast<std::int32_t>(in.names.size()));
  return in;
}

Inputs read_inputs(const Model& model, std::span<const std::string> inputs) {
  const Graph& g = model.graph();
  std::vector<bool> seen(g.inputs.size(), false);
  std::vector<GivenInput> given;
  std::string main;
  for (const std::string& text : inputs) {
    const auto [v, path] = split(g, text);
    const std::size_t k = g.input_index(v);
    if (seen[k])
      throw Error("--input " + text + ": input '" + g.values[v].name + "' is there already" +
                      (g.inputs.size() > 1 ? "; the inputs are " + names_of(g) : ""),
                  Error::usage);
    seen[k] = true;
    if (v == g.input) {
      main = path;
      continue;
    }
    if (lower_extension(path) != ".npy")
      throw Error("--input " + text + ": expected a .npy file: pictures are for the main input '" +
                      g.values[g.input].name + "'",
                  Error::usage);
    bool nhwc = model.preparation.nhwc;
    std::vector<std::int64_t> shape;
    given.push_back({k, read_array(path, g.shape(v), nhwc, shape)});
  }
  if (!seen[g.input_index(g.input)])
    throw Error(std::string("the main input '") + g.values[g.input].name + "' is missing: --input X", Error::usage);
  Inputs in = read_images(model, main);
  in.given = Given(model, std::move(given));
  in.given.check_images(model, in.images.shape.n());
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

}  // namespace vitrine::data
