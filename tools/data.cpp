#include <cstdio>
#include <filesystem>

#include "core/host/io/image.h"
#include "interp/render/picture.h"
#include "models/data/dataset.h"
#include "models/data/partshapes_files.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

struct Options {
  std::string spec, out, sheet;
  int pictures = 16;
  bool files = false;
};

Panel panel(const data::Dataset& data, std::int64_t i) {
  const Shape s = data.image_shape();
  Panel p;
  p.title = std::to_string(i);
  p.note = data.class_name(data.label(i));
  p.heat = false;
  p.h = s.h();
  p.w = s.w();
  p.channels = s.c() == 3 ? 3 : 1;
  p.values.resize(static_cast<std::size_t>(s.per_image()));
  data.image(i, p.values.data());
  return p;
}

int run(const Options& o) {
  if (o.files) {
    if (o.out.empty()) throw Error("--files needs --out DIR", Error::usage);
    if (o.spec != "partshapes" && !o.spec.starts_with("partshapes:"))
      throw Error(o.spec + ": --files belongs to partshapes", Error::usage);
    const auto written = data::write_partshapes(o.spec.size() > 11 ? o.spec.substr(11) : "", o.out,
                                                [] { return stop_requested.load(); });
    std::printf("%zu files and manifest.json in %s\n", written, o.out.c_str());
    return 0;
  }
  const auto data = data::open_for_evaluation(o.spec);
  const Shape s = data->image_shape();
  std::printf("%s: %lld test images of %s, %d classes\n", o.spec.c_str(), static_cast<long long>(data->size()),
              text(s).c_str(), data->classes());
  const std::int64_t count = std::min<std::int64_t>(o.pictures, data->size());
  if (!o.out.empty()) {
    if (s.c() != 1 && s.c() != 3)
      throw Error(o.spec + ": images of " + std::to_string(s.c()) + " channels are no pictures: expected 1 or 3");
    std::error_code error;
    std::filesystem::create_directories(o.out, error);
    if (error) throw Error(o.out + ": cannot be made: " + error.message());
    std::vector<float> chw(static_cast<std::size_t>(s.per_image()));
    for (std::int64_t i = 0; i < count; ++i) {
      data->image(i, chw.data());
      io::Image image{s.w(), s.h(), s.c(), std::vector<std::uint8_t>(chw.size())};
      for (std::int64_t p = 0; p < s.pixels(); ++p)
        for (std::int32_t c = 0; c < s.c(); ++c)
          image.pixels[static_cast<std::size_t>(p * s.c() + c)] = static_cast<std::uint8_t>(
              std::clamp(chw[static_cast<std::size_t>(c * s.pixels() + p)] * 255 + 0.5f, 0.0f, 255.0f));
      char name[32];
      std::snprintf(name, sizeof name, "%05lld.png", static_cast<long long>(i));
      io::write_png(o.out + "/" + name, image);
    }
    std::printf("%lld pictures in %s\n", static_cast<long long>(count), o.out.c_str());
  }
  if (!o.sheet.empty()) {
    std::vector<std::vector<Panel>> rows;
    for (std::int64_t i = 0; i < count; ++i) {
      if (i % 6 == 0) rows.emplace_back();
      rows.back().push_back(panel(*data, i));
    }
    draw_panels(rows, false).save_png(o.sheet);
    std::printf("contact sheet: %s\n", o.sheet.c_str());
  }
  return 0;
}

}  // namespace

void add_data(CLI::App& app, int& status) {
  auto* const c = app.add_subcommand("data", "look at a data set: its size, pictures, a contact sheet");
  auto o = std::make_shared<Options>();
  c->add_option("SPEC", o->spec, "data set, as for train")->required();
  c->add_option("--out", o->out, "folder for pictures of the test part, as .png");
  c->add_flag(
      "--files", o->files,
      "partshapes: all images of all parts with masks, attributes, landmarks, captions and tables, for other programs");
  c->add_option("--sheet", o->sheet, "one picture with all of them and their classes, as .png");
  c->add_option("--pictures", o->pictures, "how many")->capture_default_str()->check(CLI::Range(1, 1000000));
  c->callback([o, &status] { status = run(*o); });
}

}  // namespace vitrine::tools
