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

// What the numbers of the main output are.
enum class Kind { scores, log_probabilities, probabilities, each_probability, logit, numbers };

Kind kind_of(const Model& model) {
  const Graph& g = model.graph();
  const Op& op = *g.nodes[g.values[g.output].producer].op;
  switch (op.traits().scores) {
    case Scores::probabilities:
      return Kind::probabilities;
    case Scores::log_probabilities:
      return Kind::log_probabilities;
    case Scores::each_probability:
      return Kind::each_probability;
    case Scores::none:
      break;
  }
  // Behind another activation they are neither logits nor scores, unless someone has named classes.
  const bool activated = is_activation(op);
  if (activated && model.class_names.empty()) return Kind::numbers;
  return model.classes() > 1 ? Kind::scores : Kind::logit;
}

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

void print_vector(const Model& model, Kind kind, std::span<const real> y) {
  switch (kind) {
    case Kind::probabilities:
      return print_best(model, {y.begin(), y.end()});
    case Kind::scores:
    case Kind::log_probabilities:  // whose softmax they are
      return print_best(model, softmax(y));
    case Kind::logit:
      std::printf("  logit %.4g  probability %.4f", static_cast<double>(y[0]), 1 / (1 + std::exp(-double{y[0]})));
      return;
    case Kind::each_probability:
    case Kind::numbers:
      for (std::size_t k = 0; k < y.size() && k < 10; ++k)
        std::printf("  %s %.4f",
                    y.size() > 1            ? model.class_name(static_cast<int>(k)).c_str()
                    : kind == Kind::numbers ? "value"
                                            : "probability",
                    static_cast<double>(y[k]));
      if (y.size() > 10) std::printf("  and %zu more", y.size() - 10);
  }
}

// A dense output: its range, and the share of places at which each of the most frequent channels is the largest.
void print_dense(const Model& model, const Shape& s, std::span<const real> y) {
  const auto [least, largest] = std::minmax_element(y.begin(), y.end());
  std::printf("  (%d,%d,%d) from %.4g to %.4g", s.c(), s.h(), s.w(), static_cast<double>(*least),
              static_cast<double>(*largest));
  if (s.c() == 1) return;
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
  Model model = Model::load(o.file);
  if (!o.output_name.empty()) model.select_output(o.output_name);
  Inputs in = read_inputs(model, o.inputs);
  const Engine engine = o.engine.open();
  Subject subject(model, engine);
  subject.give(std::move(in.given));
  const std::vector<real> y = Predictor(subject).predict(in.images);
  const std::int32_t images = in.images.shape.n();
  if (!o.output.empty()) {
    write_output(model, o.output, images, y);
    return 0;
  }
  const Kind kind = kind_of(model);
  const Shape& s = model.graph().shape(model.graph().output);
  const auto each = static_cast<std::size_t>(s.per_image());
  for (std::size_t n = 0; n < static_cast<std::size_t>(images); ++n) {
    const std::span<const real> row(y.data() + n * each, each);
    std::printf("%s", in.names[n].c_str());
    if (model.dense())
      print_dense(model, s, row);
    else
      print_vector(model, kind, row);
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
