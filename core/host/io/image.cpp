#include "core/host/io/image.h"

#include <stb_image.h>
#include <stb_image_write.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "core/host/io/file.h"
#include "core/host/io/picture_check.h"

namespace vitrine::io {
namespace {

constexpr int side_limit = 65535;  // JPEG's own

// One axis of a resize: for each output place the first input place and its weights.
struct Taps {
  std::vector<int> first;
  std::vector<std::vector<double>> weights;
};

Taps taps(int from, int to) {
  Taps t;
  const double step = static_cast<double>(from) / to, reach = std::max(1.0, step);
  for (int o = 0; o < to; ++o) {
    const double centre = (o + 0.5) * step;
    const int first = std::max(0, static_cast<int>(std::floor(centre - reach + 0.5))),
              last = std::min(from, static_cast<int>(std::floor(centre + reach + 0.5)));
    std::vector<double> w;
    double total = 0;
    for (int i = first; i < last; ++i) total += w.emplace_back(std::max(0.0, 1 - std::abs((i + 0.5 - centre) / reach)));
    for (double& v : w) v /= total;
    t.first.push_back(first);
    t.weights.push_back(std::move(w));
  }
  return t;
}

}  // namespace

Image parse_image(const std::uint8_t* data, std::size_t bytes, int channels, const std::string& path) {
  if (bytes > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw Error(path + ": is too large for a picture");
  // stb reads other formats, too, and knows one of them by next to nothing: almost any bytes are some TGA.
  const std::string_view head(reinterpret_cast<const char*>(data), std::min<std::size_t>(bytes, 8));
  const bool png = head == "\x89PNG\r\n\x1a\n";
  if (!png && !head.starts_with("\xff\xd8\xff")) throw Error(path + ": is no PNG or JPEG picture");
  if (const std::string damage = png ? png_damage({data, bytes}) : jpeg_damage({data, bytes}); !damage.empty())
    throw Error(path + ": is damaged: " + damage);
  const int length = static_cast<int>(bytes);
  int w = 0, h = 0, c = 0;
  if (stbi_info_from_memory(data, length, &w, &h, &c) == 0)
    throw Error(path + ": is no PNG or JPEG picture: " + stbi_failure_reason());
  if (w < 1 || h < 1 || w > side_limit || h > side_limit || std::int64_t{w} * h > pixel_limit)
    throw Error(path + ": has " + std::to_string(w) + " x " + std::to_string(h) + " pixels, expected at most " +
                std::to_string(side_limit) + " a side and " + std::to_string(pixel_limit) + " in all");
  stbi_uc* const pixels = stbi_load_from_memory(data, length, &w, &h, &c, channels);
  if (pixels == nullptr) throw Error(path + ": is damaged: " + stbi_failure_reason());
  Image image{w, h, channels, {}};
  image.pixels.assign(
      pixels, pixels + static_cast<std::size_t>(w) * static_cast<std::size_t>(h) * static_cast<std::size_t>(channels));
  stbi_image_free(pixels);
  return image;
}

Image read_image(const std::string& path, int channels) {
  const std::vector<std::byte> file = read_file(path);
  return parse_image(reinterpret_cast<const std::uint8_t*>(file.data()), file.size(), channels, path);
}

std::vector<std::uint8_t> encode_png(const Image& image) {
  std::vector<std::uint8_t> encoded;
  const auto append = [](void* context, void* data, int size) {
    auto& out = *static_cast<std::vector<std::uint8_t>*>(context);
    const auto* const bytes = static_cast<const std::uint8_t*>(data);
    out.insert(out.end(), bytes, bytes + size);
  };
  if (stbi_write_png_to_func(append, &encoded, image.w, image.h, image.c, image.pixels.data(), image.w * image.c) == 0)
    throw Error("a picture of " + std::to_string(image.w) + " x " + std::to_string(image.h) +
                " pixels cannot be encoded as PNG");
  return encoded;
}

void write_png(const std::string& path, const Image& image) {
  const std::vector<std::uint8_t> encoded = encode_png(image);
  AtomicFile file(path);
  file.write(encoded.data(), encoded.size());
  file.commit();
}

Image resize(const Image& in, int w, int h) {
  const Taps x = taps(in.w, w), y = taps(in.h, h);
  const auto c = static_cast<std::size_t>(in.c), width = static_cast<std::size_t>(w);
  // Rounded between the passes, as Pillow does: single predictions hang on it.
  const auto rounded = [](double v) { return static_cast<std::uint8_t>(std::clamp(std::floor(v + 0.5), 0.0, 255.0)); };
  std::vector<std::uint8_t> rows(static_cast<std::size_t>(in.h) * width * c);
  for (std::size_t i = 0; i < static_cast<std::size_t>(in.h); ++i)
    for (std::size_t j = 0; j < width; ++j)
      for (std::size_t k = 0; k < c; ++k) {
        double v = 0;
        for (std::size_t t = 0; t < x.weights[j].size(); ++t)
          v += x.weights[j][t] *
               in.pixels[(i * static_cast<std::size_t>(in.w) + static_cast<std::size_t>(x.first[j]) + t) * c + k];
        rows[(i * width + j) * c + k] = rounded(v);
      }
  Image out{w, h, in.c, {}};
  out.pixels.resize(static_cast<std::size_t>(h) * width * c);
  for (std::size_t i = 0; i < static_cast<std::size_t>(h); ++i)
    for (std::size_t j = 0; j < width * c; ++j) {
      double v = 0;
      for (std::size_t t = 0; t < y.weights[i].size(); ++t)
        v += y.weights[i][t] * rows[(static_cast<std::size_t>(y.first[i]) + t) * width * c + j];
      out.pixels[i * width * c + j] = rounded(v);
    }
  return out;
}

}  // namespace vitrine::io
