#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/host/io/file.h"
#include "core/host/io/npy.h"
#include "interp/render/picture.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

struct Options {
  std::string file, input, output, image, ledger, composite, target = "predicted", baseline = "zero";
  std::vector<std::string> methods, settings, rules;
  bool shared_scale = false;
  EngineOptions engine;
};

nlohmann::json stats_json(const kernels::Stats& s) {
  return {{"sum", s.sum}, {"abs_sum", s.abs_sum}, {"abs_max", s.abs_max}, {"non_finite", s.non_finite}};
}

nlohmann::json ledger_json(const Explanation& e, const std::string& method) {
  nlohmann::json rows = nlohmann::json::array();
  for (const LedgerRow& r : e.ledger)
    rows.push_back({{"node", r.node},
                    {"op", r.op},
                    {"rule", r.rule},
                    {"out", stats_json(r.out)},
                    {"in", stats_json(r.in)},
                    {"absorbed_by_bias", r.absorbed_by_bias},
                    {"absorbed_by_stabiliser", r.absorbed_by_stabiliser},
                    {"unplaced", r.unplaced()},
                    {"seconds", r.seconds},
                    {"bytes", r.bytes}});
  nlohmann::json images = nlohmann::json::array();
  for (std::size_t n = 0; n < e.target.size(); ++n) images.push_back({{"target", e.target[n]}, {"score", e.score[n]}});
  return {{"schema", "vitrine-ledger/1"}, {"method", method}, {"images", images}, {"nodes", rows}};
}

void print_ledger(const Explanation& e) {
  std::printf("%-18s %-12s %-14s %12s %12s %12s %12s %12s %9s %7s\n", "node", "op", "rule", "sum out", "sum in",
              "to bias", "to guard", "unplaced", "|in|/|out|", "ms");
  for (const LedgerRow& r : e.ledger)
    std::printf("%-18s %-12s %-14s %12.5g %12.5g %12.4g %12.4g %12.4g %9.3g %7.3f\n", r.node.c_str(), r.op.c_str(),
                r.rule.c_str(), r.out.sum, r.in.sum, r.absorbed_by_bias, r.absorbed_by_stabiliser, r.unplaced(),
                r.out.abs_sum > 0 ? r.in.abs_sum / r.out.abs_sum : 0.0, 1e3 * r.seconds);
}

double sum(const Explanation& e, std::size_t n) {
  const auto each = static_cast<std::size_t>(e.shape.per_image());
  double s = 0;
  for (std::size_t i = n * each; i < (n + 1) * each; ++i) s += e.relevance[i];
  return s;
}

std::string fixed(double v) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, "%.4g", v);
  return buffer;
}

Panel picture_of(const Model& model, const Inputs& in, std::int32_t n) {
  const TensorView image = in.images.view().images(n, 1);
  Panel p;
  p.title = in.names[static_cast<std::size_t>(n)];
  p.heat = false;
  p.h = image.shape.h();
  p.w = image.shape.w();
  p.channels = image.shape.c() == 3 ? 3 : 1;
  p.values = unprepared(model, image);
  return p;
}

void report(const Model& model, const Inputs& in, const Explanation& e, const std::string& method) {
  for (std::size_t n = 0; n < e.target.size() && n < 20; ++n) {
    std::printf("%s  %s  target %s  score %s  sum of relevance %s", in.names[n].c_str(), method.c_str(),
                model.class_name(e.target[n]).c_str(), fixed(e.score[n]).c_str(), fixed(sum(e, n)).c_str());
    if (!e.baseline_score.empty()) {
      const double difference = e.score[n] - e.baseline_score[n], gap = sum(e, n) - difference;
      std::printf("  score - baseline %s", fixed(difference).c_str());
      if (e.complete)
        std::printf("  completeness gap %s (%s of it)", fixed(gap).c_str(),
                    fixed(std::abs(difference) > 0 ? std::abs(gap / difference) : 0).c_str());
    }
    std::printf("\n");
  }
  if (e.target.size() > 20) std::printf("... and %zu more\n", e.target.size() - 20);
}

int run(const Options& o) {
  const Model model = Model::load(o.file);
  ExplainRequest request;
  request.settings = parse_assignments(o.settings);
  for (const std::string& rule : o.rules) request.rules.push_back(parse_rule_choice(rule));
  if (!o.composite.empty()) request.composite = read_composite(o.composite);
  request.ledger = !o.ledger.empty();
  request.objective = Objective::parse_target(model, o.target);
  if (o.methods.size() > 1 && (!o.output.empty() || !o.ledger.empty()))
    throw Error("--output and --ledger take one method; several are for pictures", Error::usage);
  const Inputs in = read_images(model, o.input);
  if (o.baseline.ends_with(".npy"))
    request.baseline.images = read_images(model, o.baseline).images;
  else
    request.baseline.kind = o.baseline;

  const Engine engine = o.engine.open();
  std::vector<std::vector<Panel>> panels;
  const std::int32_t shown = std::min<std::int32_t>(in.images.shape.n(), 8);
  for (std::int32_t n = 0; n < shown; ++n) panels.push_back({picture_of(model, in, n)});
  for (const std::string& method : o.methods) {
    request.method = method;
    const Explanation e = explain(model, engine, in.images, request, Job({}, [] { return stop_requested.load(); }));
    if (!o.output.empty()) {
      // Of the input's shape and order.
      const Shape& s = e.shape;
      const std::vector<std::int64_t> shape =
          in.file_shape.empty() ? std::vector<std::int64_t>{s.n(), s.c(), s.h(), s.w()} : in.file_shape;
      const std::vector<float> r = in.nhwc ? moved(e.relevance, s.n(), s, false) : e.relevance;
      io::write_npy(o.output, shape, r.data());
    }
    if (o.ledger == "-") {
      print_ledger(e);
    } else if (!o.ledger.empty()) {
      io::AtomicFile file(o.ledger);
      const std::string json = ledger_json(e, method).dump(1) + "\n";
      file.write(json.data(), json.size());
      file.commit();
    }
    if (o.ledger != "-") report(model, in, e, method);
    for (std::int32_t n = 0; n < shown; ++n) {
      Panel p;
      p.title = method;
      p.h = e.shape.h();
      p.w = e.shape.w();
      p.channels = e.shape.c();
      const auto k = static_cast<std::size_t>(n);
      const std::int64_t each = e.shape.per_image();
      p.values.assign(e.relevance.begin() + n * each, e.relevance.begin() + (n + 1) * each);
      p.note = model.class_name(e.target[k]) + "\nscore " + fixed(e.score[k]) + ", sum " + fixed(sum(e, k));
      panels[k].push_back(std::move(p));
    }
  }
  std::string image = o.image;
  // Without --output the picture is the result.
  if (image.empty() && o.output.empty() && o.ledger.empty())
    image = std::filesystem::path(o.input).stem().string() + "." + o.methods[0] + ".png";
  if (!image.empty()) {
    const Picture picture = draw_panels(panels, o.shared_scale);
    picture.save_png(image);
    if (o.image.empty() && ::isatty(1)) std::printf("%s", picture.to_terminal(100).c_str());
    std::printf("picture: %s\n", image.c_str());
  }
  return 0;
}

}  // namespace

void add_explain(CLI::App& app, int& status) {
  auto* const c = app.add_subcommand("explain", "why a network answers as it does: relevance of every input element");
  auto o = std::make_shared<Options>();
  c->add_option("FILE", o->file, "model file")->required();
  c->add_option("--input", o->input, "X.npy (N,C,H,W, as the network takes it), a picture, or a folder of pictures")
      ->required();
  c->add_option("--method", o->methods, "method (vitrine methods lists them); give several to compare pictures")
      ->required()
      ->allow_extra_args(false);
  c->add_option("--set", o->settings, "key=value: a setting of the method")->allow_extra_args(false);
  c->add_option("--composite", o->composite,
                "C.json: the rules of method lrp by node, op and place (vitrine rules --composite NAME prints one)");
  c->add_option("--rule", o->rules,
                "NODE-PATTERN=rule[:key=value,...]: the rule at nodes whose name matches; later ones win")
      ->allow_extra_args(false);
  c->add_option("--target", o->target, "class number, or 'predicted'")->capture_default_str();
  c->add_option("--baseline", o->baseline,
                "zero, mean, blur or B.npy: what deeplift and integrated-gradients compare with")
      ->capture_default_str();
  c->add_option("--output", o->output, "relevance as .npy, of the input's shape, raw");
  c->add_option("--image", o->image, "picture as .png, beside its input");
  c->add_flag("--shared-scale", o->shared_scale, "one colour scale for all maps of an image");
  c->add_option("--ledger", o->ledger, "what each op did to the relevance, as JSON; - prints a table");
  o->engine.add_to(*c);
  c->callback([o, &status] { status = run(*o); });
}

}  // namespace vitrine::tools
