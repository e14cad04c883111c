// vitrine predict: a network's outputs as an array, or as what people read.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/host/io/npy.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

struct Options {
  std::string file, output, output_name;
  std::vector<std::string> inputs;
  EngineOptions engine;
};

std::vector<double> softmax(std::span<const real> scores) {
  std::vector<double> p(scores.begin(), scores.end());
  const double top = *std::max_element(p.begin(), p.end());
  double total = 0;
  for (double& v : p) total += v = std::exp(v - top);
  for (double& v : p) v /= total;
  return p;
}

// The three largest, by name.
void print_best(const Model& model, const std::vector<double>& p) {
  std::vector<int> order(p.size());
  for (std::size_t j = 0; j < p.size(); ++j) order[j] = static_cast<int>(j);
  const auto best = order.begin() + std::min<std::ptrdiff_t>(3, std::ssize(order));
  std::partial_sort(order.begin(), best, order.end(),
                    [&](int a, int b) { return p[static_cast<std::size_t>(a)] > p[static_cast<std::size_t>(b)]; });
  for (auto j = order.begin(); j != best; ++j)
    std::printf("  %s %.4f", model.class_name(*j).c_str(), p[static_cast<std::size_t>(*j)]);
}

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

void print_numbers(const Model& model, std::span<const double> y, const char* of_one) {
  for (std::size_t k = 0; k < y.size() && k < 10; ++k)
    std::printf("  %s %.4f", y.size() > 1 ? model.class_name(static_cast<int>(k)).c_str() : of_one, y[k]);
  if (y.size() > 10) std::printf("  and %zu more", y.size() - 10);
}

void print_vector(const Model& model, std::span<const real> y) {
  const Graph& g = model.graph();
  const Scores last = g.nodes[g.values[g.output].producer].op->traits().scores;
  std::vector<double> numbers(y.begin(), y.end());
  switch (model.output_kind()) {
    case OutputKind::classes:
      // Logits and logarithms of probabilities have the same softmax.
      return print_best(model, last == Scores::none || last == Scores::log_probabilities ? softmax(y) : numbers);
    case OutputKind::logit: {
      const bool probability = last == Scores::each_probability;
      const double p = probability ? numbers[0] : sigmoid(numbers[0]),
                   z = probability ? std::log(p / (1 - p)) : numbers[0];
      std::printf("  logit %.4g  probability %.4f (%s) %.4f (%s)", z, p, model.class_name(1).c_str(), 1 - p,
                  model.class_name(0).c_str());
      return;
    }
    case OutputKind::sigmoids:
      if (last == Scores::none)
        for (double& v : numbers) v = sigmoid(v);
      return print_numbers(model, numbers, "probability");
    default:
      return print_numbers(model, numbers, "value");
  }
}

// A dense output: its range, and the share of places at which each of the most frequent channels is the largest.
void print_dense(const Model& model, const Shape& s, std::span<const real> y) {
  const auto [least, largest] = std::minmax_element(y.begin(), y.end());
  std::printf("  (%d,%d,%d) from %.4g to %.4g", s.c(), s.h(), s.w(), static_cast<double>(*least),
              static_cast<double>(*largest));
  if (s.c() == 1 || model.output_kind() == OutputKind::boxes) return;
  std::vector<double> share(static_cast<std::size_t>(s.c()), 0);
  const auto pixels = static_cast<std::size_t>(s.pixels());
  for (std::size_t p = 0; p < pixels; ++p) {
    std::size_t best = 0;
    for (std::size_t c = 1; c < share.size(); ++c)
      if (y[c * pixels + p] > y[best * pixels + p]) best = c;
    share[best] += 1.0 / static_cast<double>(pixels);
  }
  std::printf(", shares of places:");
  print_best(model, share);
}

void write_output(const Model& model, const std::string& path, std::int32_t images, const std::vector<real>& y) {
  const Graph& g = model.graph();
  const std::vector<std::int64_t> shape = model.array_shape(g.output, images);
  const bool turned = model.preparation.nhwc && shape.size() == 4;
  io::write_npy(path, shape, (turned ? moved(y, images, g.shape(g.output), false) : y).data());
}

int run(const Options& o) {
  require_ending({"--output", o.output}, ".npy");
  refuse_same_files({{"--output", o.output}}, files_read(o.file, o.inputs));
  Model model = Model::load(o.file);
  if (!o.output_name.empty()) model.select_output(o.output_name);
  Inputs in = read_inputs(model, o.inputs);
  const Engine engine = o.engine.open();
  Subject subject(model, engine);
  subject.give(std::move(in.given));
  say_main_output(model, o.output_name, "predicted");
  const std::vector<real> y = Predictor(subject).predict(in.images);
  const std::int32_t images = in.images.shape.n();
  if (!o.output.empty()) {
    write_output(model, o.output, images, y);
    return 0;
  }
  const Shape& s = model.graph().shape(model.graph().output);
  const auto each = static_cast<std::size_t>(s.per_image());
  for (std::size_t n = 0; n < static_cast<std::size_t>(images); ++n) {
    const std::span<const real> row(y.data() + n * each, each);
    std::printf("%s", in.names[n].c_str());
    if (model.dense())
      print_dense(model, s, row);
    else
      print_vector(model, row);
    std::printf("\n");
  }
  return 0;
}

}  // namespace

void add_predict(CLI::App& app, int& status) {
  auto* const c = app.add_subcommand("predict", "outputs of a network for images");
  auto o = std::make_shared<Options>();
  c->add_option("FILE", o->file, "model file")->required();
  c->add_option("--input", o->inputs, input_help)->required()->allow_extra_args(false);
  c->add_option("--output", o->output,
                "the output as .npy, of its own shape: (N,K), (N,C,H,W); without it, the best classes are printed");
  c->add_option("--output-name", o->output_name, "of several outputs another than the main one (vitrine inspect)");
  o->engine.add_to(*c);
  c->callback([o, &status] { status = run(*o); });
}

}  // namespace vitrine::tools
