#include "models/data/pictures.h"

#include <charconv>

#include "core/host/io/image.h"
#include "models/prepare.h"

namespace vitrine::data {

std::string take_picture_options(const std::string& kind, const std::string& spec, PictureFit& fit) {
  std::string rest = spec;
  for (std::size_t comma; (comma = rest.rfind(',')) != std::string::npos;) {
    const std::string option = rest.substr(comma + 1);
    const char* const end = option.data() + option.size();
    if (option == "grey") {
      fit.channels = 1;
    } else if (option.starts_with("size=")) {
      const auto h = std::from_chars(option.data() + 5, end, fit.height);
      const auto w = h.ptr != end && *h.ptr == 'x' ? std::from_chars(h.ptr + 1, end, fit.width) : h;
      if (h.ec != std::errc{} || w.ec != std::errc{} || w.ptr != end || fit.height < 1 || fit.width < 1 ||
          fit.height > 4096 || fit.width > 4096)
        throw Error("data set " + kind + ": option '" + option + "': expected size=HxW with 1 to 4096 pixels a side",
                    Error::usage);
    } else if (option.starts_with("shorter=")) {
      const auto s = std::from_chars(option.data() + 8, end, fit.shorter);
      if (s.ec != std::errc{} || s.ptr != end || fit.shorter < 0 || fit.shorter > 4096)
        throw Error("data set " + kind + ": option '" + option + "': expected shorter=N with 0 to 4096 pixels",
                    Error::usage);
    } else {
      break;  // a comma of the name's own
    }
    rest.resize(comma);
  }
  return rest;
}

void append_picture(ByteImages& d, PictureFit& fit, const std::string& path, int label) {
  io::Image image = io::read_image(path, fit.channels);
  if (fit.height == 0) fit.height = image.h, fit.width = image.w;
  image = vitrine::fit(image, fit.width, fit.height, fit.shorter);
  const std::size_t plane = static_cast<std::size_t>(fit.height) * static_cast<std::size_t>(fit.width),
                    c = static_cast<std::size_t>(fit.channels);
  for (std::size_t channel = 0; channel < c; ++channel)
    for (std::size_t p = 0; p < plane; ++p) d.pixels.push_back(image.pixels[p * c + channel]);
  d.labels.push_back(label);
}

void finish_pictures(ByteImages& d, const PictureFit& fit) {
  d.shape = {1, fit.channels, fit.height, fit.width};
  d.suggested = {std::vector<float>(static_cast<std::size_t>(fit.channels), 0.5f),
                 std::vector<float>(static_cast<std::size_t>(fit.channels), 0.25f)};
}

}  // namespace vitrine::data
