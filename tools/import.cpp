// vitrine import, vitrine export: networks from and to other frameworks.
#include <cstdio>
#include <filesystem>

#include "core/host/io/file.h"
#include "core/host/utf8.h"
#include "models/architectures.h"
#include "models/onnx/onnx.h"
#include "models/state_dict.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

struct Options {
  std::string in, out, architecture, map, mean, std, order, classes, input_name, output_name, output_kind;
  std::vector<std::string> images;
  double scale = 1;
  int resize = -1;
};

std::vector<float> numbers(const std::string& option, const std::string& text, std::size_t channels) {
  std::vector<float> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find_first_of(",;", at), text.size());
    double v = 0;
    if (!parse_number(text.substr(at, end - at), v))
      throw Error(option + " " + text + ": expected numbers separated by commas", Error::usage);
    out.push_back(static_cast<float>(v));
    at = end + 1;
  }
  if (out.size() == 1) out.resize(channels, out[0]);
  if (out.size() != channels)
    throw Error(option + " " + text + ": has " + std::to_string(out.size()) + " numbers, expected one or " +
                    std::to_string(channels) + " (one a channel)",
                Error::usage);
  return out;
}

Shape image_shape(const std::string& text) {
  const std::vector<float> d = numbers("--input", text, 3);
  for (const float v : d)
    if (v != static_cast<float>(static_cast<int>(v)) || v < 1 || v > (1 << 20))
      throw Error("--input " + text + ": expected channels, height and width", Error::usage);
  return {1, static_cast<std::int32_t>(d[0]), static_cast<std::int32_t>(d[1]), static_cast<std::int32_t>(d[2])};
}

// A name a line; of a table with tabs, the last column.
std::vector<std::string> read_class_names(const std::string& path) {
  std::vector<std::string> names;
  for (std::string line : io::read_lines(path)) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    if (!line.empty()) names.push_back(line.substr(line.rfind('\t') + 1));
  }
  return names;
}

void refuse_pickle(const std::string& path) {
  const std::string e = std::filesystem::path(path).extension().string();
  if (e != ".pt" && e != ".pth" && e != ".pkl" && e != ".ckpt" && e != ".bin" && e != ".th") return;
  throw Error(path +
                  ": is a pickle, which can run any code when it is read. Convert it once: python3 -c \"import torch, "
                  "safetensors.torch as s; "
                  "s.save_file({k: v.contiguous() for k, v in torch.load('" +
                  path + "', map_location='cpu', weights_only=True).items()}, 'weights.safetensors')\"",
              Error::usage);
}

// What --input says of the main input (C,H,W) and of others (NAME=C,H,W), and which are the main ones.
onnx::ImportOptions import_options(const Options& o) {
  onnx::ImportOptions options;
  options.input = o.input_name;
  options.output = o.output_name;
  for (const std::string& text : o.images) {
    const std::size_t equals = text.rfind('=');
    const Shape shape = image_shape(text.substr(equals == std::string::npos ? 0 : equals + 1));
    if (equals == std::string::npos)
      options.image = shape;
    else
      options.images[text.substr(0, equals)] = shape;
  }
  if (!o.in.ends_with(".onnx") && !options.images.empty())
    throw Error("--input NAME=C,H,W: is for the inputs of an .onnx file", Error::usage);
  return options;
}

// What an output is taken for, and which of several is meant.
void print_outputs(const Model& model) {
  const Graph& g = model.graph();
  const std::string last = model.final_activation();
  if (!last.empty() || model.output_kind() != OutputKind::classes)
    std::printf("output '%s' is of kind %s%s (--output-kind says otherwise)\n", g.values[g.output].name,
                name(model.output_kind()), last.empty() ? "" : (" after " + last).c_str());
  if (g.outputs.size() < 2) return;
  std::string all;
  for (const Id v : g.outputs) all += (all.empty() ? "" : ", ") + std::string(g.values[v].name);
  std::printf("of the outputs %s, '%s' is predicted and explained (--output-name takes another)\n", all.c_str(),
              g.values[g.output].name);
}

void name_classes(Model& model, const std::string& path) {
  model.class_names = read_class_names(path);
  for (std::string& name : model.class_names) name = utf8::escaped(name);
  if (model.class_names.empty()) throw Error(path + ": names no classes");
  if (!model.can_name(model.class_names.size()))
    throw Error(path + ": names " + std::to_string(model.class_names.size()) + " classes, but the network has " +
                (model.class_count() > 0 ? std::to_string(model.class_count())
                                         : "an output of kind " + std::string(name(model.output_kind()))));
}

int run(const Options& o) {
  if (!o.out.ends_with(".safetensors") && !io::is_stream(o.out))
    throw Error("--out " + o.out + ": expected a name that ends in .safetensors", Error::usage);
  refuse_same_files({{"--out", o.out}},
                    {{"the file that is imported", o.in}, {"--classes", o.classes}, {"--map", o.map}});
  refuse_pickle(o.in);
  const onnx::ImportOptions options = import_options(o);
  const std::optional<Shape>& image = options.image;
  Model model;
  if (o.in.ends_with(".onnx")) {
    if (!o.architecture.empty() || !o.map.empty())
      throw Error("--model and --map are for .safetensors state dicts: an .onnx file says itself what network it is",
                  Error::usage);
    model = onnx::import_file(o.in, options);
  } else if (!o.architecture.empty()) {
    StateDictOptions s{o.architecture, image, {}};
    if (!o.map.empty()) s.names = read_name_map(o.map);
    model = import_state_dict(o.in, s);
  } else if (o.in.ends_with(".safetensors")) {
    model = Model::load(o.in);  // to change what travels with it; a state dict says itself that --model is needed
  } else {
    throw Error(o.in + ": expected an .onnx file, or a .safetensors state dict with --model", Error::usage);
  }
  if (!o.in.ends_with(".onnx")) {
    if (!o.input_name.empty()) model.select_input(o.input_name);
    if (!o.output_name.empty()) model.select_output(o.output_name);
  }
  InputPreparation& p = model.preparation;
  const auto channels = static_cast<std::size_t>(model.image_shape().c());
  if (!(o.scale > 0)) throw Error("--scale: expected a number above 0", Error::usage);
  if (!o.mean.empty() || !o.std.empty() || o.scale != 1) {
    // Given in the units that pixels have after the scale: 1 for [0,1], 255 for [0,255].
    p.mean = o.mean.empty() ? std::vector<float>(channels, 0) : numbers("--mean", o.mean, channels);
    p.std = o.std.empty() ? std::vector<float>(channels, 1) : numbers("--std", o.std, channels);
    for (float& v : p.mean) v /= static_cast<float>(o.scale);
    for (float& v : p.std) {
      v /= static_cast<float>(o.scale);
      if (!(v > 0)) throw Error("--std " + o.std + ": expected numbers above 0", Error::usage);
    }
  }
  if (!o.output_kind.empty()) model.choose_output_kind(*output_kind_of(o.output_kind));
  if (!o.order.empty()) p.bgr = o.order == "bgr";
  if (o.resize >= 0) p.resize = o.resize;
  if (!o.classes.empty()) name_classes(model, o.classes);
  model.save(o.out);
  for (const auto& [key, value] : model.notes)
    if (key == "left out" || key == "run in float") std::printf("%s: %s\n", key.c_str(), value.c_str());
  std::printf("%s: %zu ops, %lld parameters, input %s, %s; written to %s\n", model.architecture.c_str(),
              model.graph().nodes.size(), static_cast<long long>(model.parameter_count()),
              text(model.image_shape()).c_str(), model.output_description().c_str(), o.out.c_str());
  print_outputs(model);
  return 0;
}

}  // namespace

void add_import(CLI::App& app, int& status) {
  auto* const c = app.add_subcommand("import", "a network made elsewhere, as a model file with all that belongs to it");
  auto o = std::make_shared<Options>();
  c->add_option("IN", o->in, "an .onnx file, or a .safetensors state dict with --model")->required();
  c->add_option("--out", o->out, "model file to write, FILE.safetensors")->required();
  c->add_option("--model", o->architecture, "architecture of a state dict (vitrine models lists them)");
  c->add_option("--map", o->map, "JSON object: beginnings of the state dict's names, and what stands for them here");
  c->add_option("--input", o->images,
                "C,H,W of an image, where the file leaves them open or the architecture's usual ones are not meant; "
                "NAME=C,H,W for another input of several")
      ->allow_extra_args(false);
  c->add_option("--input-name", o->input_name, "of several inputs, the one that is explained; else the first");
  c->add_option("--output-name", o->output_name,
                "of several outputs, the one that is meant by default; else the one that looks most like classes");
  c->add_option("--output-kind", o->output_kind,
                "what the output's numbers are, where the graph does not tell: classes, one logit of two classes, a "
                "sigmoid per label, numbers, maps, or rows of boxes")
      ->check(CLI::IsMember({"classes", "logit", "sigmoids", "regression", "dense", "boxes"}));
  c->add_option("--scale", o->scale, "what a white pixel is to the network before --mean and --std: 1 or 255")
      ->capture_default_str();
  c->add_option("--mean", o->mean, "taken from pixels: one number, or one a channel in the network's order");
  c->add_option("--std", o->std, "pixels are divided by it: one number, or one a channel");
  c->add_option("--order", o->order, "rgb or bgr")->check(CLI::IsMember({"rgb", "bgr"}));
  c->add_option("--resize", o->resize,
                "the shorter side of pictures before their centre is cut out; 0: pictures are stretched")
      ->check(CLI::Range(0, 1 << 15));
  c->add_option("--classes", o->classes, "file of class names, one a line (the last column, where there are tabs)");
  c->callback([o, &status] { status = run(*o); });
}

void add_export(CLI::App& app, int& status) {
  struct ExportOptions {
    std::string file, out;
  };
  auto* const c = app.add_subcommand("export", "a network for other frameworks");
  auto o = std::make_shared<ExportOptions>();
  c->add_option("FILE", o->file, "model file")->required();
  c->add_option("--out", o->out, "NAME.onnx, or NAME.safetensors for a state dict under torchvision's names")
      ->required();
  c->callback([o, &status] {
    refuse_same_files({{"--out", o->out}}, files_read(o->file, {}));
    const Model model = Model::load(o->file);
    if (o->out.ends_with(".onnx"))
      onnx::export_file(model, o->out);
    else if (o->out.ends_with(".safetensors"))
      export_state_dict(model, o->out);
    else
      throw Error("--out " + o->out + ": expected a name that ends in .onnx or .safetensors", Error::usage);
    std::printf("written to %s\n", o->out.c_str());
    status = 0;
  });
}

}  // namespace vitrine::tools
