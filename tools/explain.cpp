// vitrine explain: maps of single inputs as arrays, pictures and ledgers.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>

#include "core/host/io/file.h"
#include "core/host/io/npy.h"
#include "interp/predict/parts.h"
#include "interp/render/picture.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

constexpr std::size_t lines_shown = 20;

struct Options {
  std::string file, data, output, image, ledger, composite, target, objective,
      score = "logit", output_name, baseline = "zero", shard, features, features_out;
  std::vector<std::string> inputs, methods, settings, rules;
  std::int64_t images = 0, pictures = 8;
  bool shared_scale = false, preview = false;
  EngineOptions engine;
};

void print_ledger(const std::vector<LedgerRow>& ledger) {
  std::printf("%-18s %-12s %-14s %12s %12s %12s %12s %12s %9s %7s\n", "node", "op", "rule", "sum out", "sum in",
              "to bias", "to guard", "unplaced", "|in|/|out|", "ms");
  for (const LedgerRow& r : ledger)
    std::printf("%-18s %-12s %-14s %12.5g %12.5g %12.4g %12.4g %12.4g %9.3g %7.3f\n", r.node.c_str(), r.op.c_str(),
                r.rule.c_str(), r.out.sum, r.in.sum, r.absorbed_by_bias, r.absorbed_by_stabiliser, r.unplaced(),
                r.out.abs_sum > 0 ? r.in.abs_sum / r.out.abs_sum : 0.0, 1e3 * r.seconds);
}

std::string fixed(double v) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, "%.4g", v);
  return buffer;
}

// Whether standard output is a terminal that shows colours (https://no-color.org).
bool shows_pictures() {
  const char *const no_color = std::getenv("NO_COLOR"), *const term = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         std::strcmp(term, "dumb") != 0;
}

Score score_of(const std::string& name) {
  return name == "probability" ? Score::probability : name == "log-odds" ? Score::log_odds : Score::logit;
}

// The target as a reader calls it.
std::string target_name(const Model& model, const ExplainRequest& request, int target) {
  return target >= 0 ? model.class_name(target) : request.objective.name();
}

// One run of the command: what all methods share, and what is collected for the picture.
class Command {
 public:
  Command(const Options& o, const Model& model, const Engine& engine) : o_(o), model_(model), subject_(model, engine) {
    if (o.inputs.empty() == o.data.empty()) throw Error("name what is explained: --input or --data", Error::usage);
    if (!o.data.empty()) {
      data_ = data::open_for_evaluation(o.data, picture_fit(model));
      source_ = data::open_source(model, *data_, o.data);
    } else {
      Given given;
      source_ = data::open_source(model, o.inputs, given);
      subject_.give(std::move(given));
    }
    images_ = o.images > 0 ? std::min(o.images, source_->size()) : source_->size();
    panels_.resize(static_cast<std::size_t>(std::min(o.pictures, images_)));
    picture_paths_ = picture_paths();
  }

  int run() {
    const bool to_folder = !o_.output.empty() && !o_.output.ends_with(".npy") && !io::is_stream(o_.output);
    if (o_.methods.size() > 1 && !o_.output.empty() && !to_folder)
      throw Error("--output " + o_.output + ": several methods need a folder, not a .npy file", Error::usage);
    if (!o_.features_out.empty()) check_features_out(to_folder);
    if (o_.methods.size() > 1 && !o_.ledger.empty()) throw Error("--ledger takes one method", Error::usage);
    const Shard shard = parse_shard();
    if (!o_.shard.empty() && !to_folder)
      throw Error("--shard is for explanations into a folder: --output DIR", Error::usage);
    std::vector<ExplainRequest> requests;
    for (const std::string& method : o_.methods) requests.push_back(request_for(method));
    say_what_is_explained();
    // All are checked before the first runs.
    for (const ExplainRequest& r : requests) Explainer(subject_, r);
    for (const ExplainRequest& r : requests) {
      ledger_.clear();
      targets_.clear();
      scores_.clear();
      const Progress progress(r.method);
      if (to_folder) {
        const std::string folder =
            requests.size() > 1 ? (std::filesystem::path(o_.output) / r.method).string() : o_.output;
        explain_to_folder(subject_, r, *source_, images_, folder, shard, progress.job(),
                          [&](std::int64_t part, const Images& x, const Explanation& e) { take(r, part, x, e); });
        std::printf("parts: %s\n", folder.c_str());
      } else {
        to_array(r, progress.job());
      }
      finish_ledger(r);
    }
    write_features();
    draw();
    return 0;
  }

 private:
  // Which of several outputs is meant, and that a final activation is left out: neither shows in a map.
  void say_what_is_explained() const {
    if (!o_.objective.empty()) return;
    say_main_output(model_, o_.output_name, "explained");
    if (const std::string last = model_.final_activation(); !last.empty() && o_.score == "logit")
      std::fprintf(stderr, "vitrine: the logit is explained, the score before the final %s (--score probability)\n",
                   last.c_str());
  }

  Shard parse_shard() const {
    if (o_.shard.empty()) return {};
    const std::size_t slash = o_.shard.find('/');
    double i = 0, n = 0;
    if (slash == std::string::npos || !parse_number(o_.shard.substr(0, slash), i) ||
        !parse_number(o_.shard.substr(slash + 1), n) || i != std::floor(i) || n != std::floor(n) || n < 1 || n > 1e6 ||
        i < 0 || i > n)
      throw Error("--shard " + o_.shard + ": expected i/n with i from 0 to n - 1 (or from 1 to n)", Error::usage);
    return {static_cast<std::int64_t>(i) % static_cast<std::int64_t>(n), static_cast<std::int64_t>(n)};
  }

  ExplainRequest request_for(const std::string& method) const {
    ExplainRequest r;
    r.method = find_method(method).card.name;
    r.settings = parse_assignments(o_.settings);
    if (!o_.features.empty() && !r.settings.emplace("features", o_.features).second)
      throw Error("--features and --set features= both say what the features are: name one", Error::usage);
    for (const std::string& rule : o_.rules) r.rules.push_back(parse_rule_choice(rule));
    if (!o_.composite.empty()) r.composite = read_composite(o_.composite);
    r.ledger = !o_.ledger.empty();
    r.images = static_cast<std::int32_t>(std::min<std::int64_t>(images_, 64));
    if (!o_.objective.empty() && !o_.target.empty())
      throw Error("--objective and --target both say what is explained: name one", Error::usage);
    const std::vector<int> labels =
        o_.target.find("label") != std::string::npos ? source_->labels() : std::vector<int>();
    r.objective = o_.objective.empty() ? Objective::parse_target(model_, o_.target, labels)
                                       : Objective::parse(model_, o_.objective);
    r.objective = r.objective.with_score(score_of(o_.score));
    if (o_.baseline.ends_with(".npy"))
      r.baseline.images = read_images(model_, o_.baseline).images;
    else
      r.baseline.kind = o_.baseline;
    return r;
  }

  void to_array(const ExplainRequest& r, const Job& job) {
    std::optional<io::NpyWriter> output;
    if (!o_.output.empty()) output.emplace(o_.output, source_->array_shape(images_));
    explain_in_parts(subject_, r, *source_, images_, job,
                     [&](std::int64_t part, const Images& x, const Explanation& e) {
                       if (output) {
                         const std::vector<float> relevance = in_file_order(*source_, e);
                         output->append(relevance.data(), relevance.size());
                       }
                       take(r, part, x, e);
                     });
    if (output) output->commit();
  }

  // Lines, the ledger and panels of one part.
  void take(const ExplainRequest& r, std::int64_t part, const Images& x, const Explanation& e) {
    const std::int64_t first = Parts(images_, model_.image_shape()).first(part);
    add_ledger(ledger_, e.ledger);
    add_features(e);
    for (const std::string& w : e.warnings)
      if (warned_.insert(r.method).second) std::fprintf(stderr, "vitrine: %s: %s\n", r.method.c_str(), w.c_str());
    if (!o_.ledger.empty()) {
      targets_.insert(targets_.end(), e.target.begin(), e.target.end());
      scores_.insert(scores_.end(), e.score.begin(), e.score.end());
    }
    for (std::size_t n = 0; n < e.target.size(); ++n) {
      const std::size_t image = static_cast<std::size_t>(first) + n;
      if (o_.ledger != "-" && image < lines_shown) print_line(r, e, n, image);
      if (image < panels_.size()) add_panels(r, x, e, n, image);
    }
    if (o_.ledger != "-" && first <= static_cast<std::int64_t>(lines_shown) &&
        first + static_cast<std::int64_t>(e.target.size()) > static_cast<std::int64_t>(lines_shown))
      std::printf("... and %lld more\n", static_cast<long long>(images_ - static_cast<std::int64_t>(lines_shown)));
  }

  void print_line(const ExplainRequest& r, const Explanation& e, std::size_t n, std::size_t image) const {
    std::printf("%s  %s  target %s  score %s  sum of relevance %s",
                source_->name(static_cast<std::int64_t>(image)).c_str(), r.method.c_str(),
                target_name(model_, r, e.target[n]).c_str(), fixed(e.score[n]).c_str(), fixed(e.sum(n)).c_str());
    if (!e.baseline_score.empty()) {
      const double difference = e.score[n] - e.baseline_score[n], gap = e.sum(n) - difference;
      std::printf("  score - baseline %s", fixed(difference).c_str());
      if (e.complete)
        std::printf("  completeness gap %s (%s of it)", fixed(gap).c_str(),
                    fixed(std::abs(difference) > 0 ? std::abs(gap / difference) : 0).c_str());
    }
    if (!e.note.empty() && (n == 0 || e.features.empty())) std::printf("  %s", e.note.c_str());
    if (n < e.standard_errors.size() && !e.standard_errors[n].empty())
      std::printf("  standard errors up to %s",
                  fixed(*std::max_element(e.standard_errors[n].begin(), e.standard_errors[n].end())).c_str());
    std::printf("\n");
  }

  void add_panels(const ExplainRequest& r, const Images& x, const Explanation& e, std::size_t n, std::size_t image) {
    const TensorView one = x.view().images(static_cast<std::int32_t>(n), 1);
    std::vector<Panel>& row = panels_[image];
    if (row.empty()) {
      Panel& p = row.emplace_back();
      p.title = source_->name(static_cast<std::int64_t>(image));
      p.heat = false;
      p.h = one.shape.h();
      p.w = one.shape.w();
      p.channels = one.shape.c() == 3 ? 3 : 1;
      p.values = unprepared(model_, one);
    }
    Panel& p = row.emplace_back();
    p.title = r.method;
    p.h = e.shape.h();
    p.w = e.shape.w();
    p.channels = e.shape.c();
    const auto each = static_cast<std::size_t>(e.shape.per_image());
    p.values.assign(e.relevance.begin() + static_cast<std::ptrdiff_t>(n * each),
                    e.relevance.begin() + static_cast<std::ptrdiff_t>((n + 1) * each));
    p.note = target_name(model_, r, e.target[n]) + "\nscore " + fixed(e.score[n]) + ", sum " + fixed(e.sum(n));
  }

  // A folder's finished parts are not explained again, so their values would be missing.
  void check_features_out(bool to_folder) const {
    if (o_.methods.size() > 1) throw Error("--features-out takes one method", Error::usage);
    if (to_folder) throw Error("--features-out: goes with --output R.npy, not with a folder", Error::usage);
    const std::span<const Setting> settings = find_method(o_.methods[0]).card.settings;
    if (std::none_of(settings.begin(), settings.end(),
                     [](const Setting& s) { return s.name == std::string("features"); }))
      throw Error("--features-out: method " + o_.methods[0] + " gives features no values", Error::usage);
  }

  // Features may be another number in each image: rows are filled up with 0.
  void add_features(const Explanation& e) {
    if (o_.features_out.empty()) return;
    feature_values_.insert(feature_values_.end(), e.features.begin(), e.features.end());
  }

  void write_features() const {
    if (o_.features_out.empty()) return;
    std::size_t most = 0;
    for (const std::vector<double>& row : feature_values_) most = std::max(most, row.size());
    std::vector<float> all;
    for (const std::vector<double>& row : feature_values_) {
      all.insert(all.end(), row.begin(), row.end());
      all.resize(all.size() + most - row.size(), 0.0f);
    }
    io::write_npy(o_.features_out, {static_cast<std::int64_t>(feature_values_.size()), static_cast<std::int64_t>(most)},
                  all.data());
  }

  void finish_ledger(const ExplainRequest& r) const {
    if (o_.ledger == "-") return print_ledger(ledger_);
    if (o_.ledger.empty()) return;
    const std::string json = ledger_json(ledger_, r.method, targets_, scores_);
    io::AtomicFile file(o_.ledger);
    file.write(json.data(), json.size());
    file.commit();
  }

  void draw() {
    std::string image = o_.image;
    // Without --output the picture is the result.
    if (image.empty() && o_.output.empty() && o_.ledger.empty() && o_.features_out.empty())
      image = (o_.inputs.empty() ? std::string("data") : std::filesystem::path(o_.inputs[0]).stem().string()) + "." +
              o_.methods[0] + ".png";
    if (image.empty() && !o_.preview) return;
    if (!picture_paths_.empty()) return draw_each();
    std::erase_if(panels_, [](const auto& row) { return row.empty(); });  // of parts that were complete already
    if (panels_.empty()) return;
    const Picture picture = draw_panels(panels_, o_.shared_scale);
    if (o_.preview || (o_.image.empty() && shows_pictures()))
      std::printf("%s", picture.to_terminal(std::min(100, terminal_columns(stdout))).c_str());
    if (image.empty()) return;
    picture.save_png(image);
    std::printf("picture: %s", image.c_str());
    if (static_cast<std::int64_t>(panels_.size()) < images_)
      std::printf(" (the first %zu of %lld images)", panels_.size(), static_cast<long long>(images_));
    std::printf("\n");
  }

  // The names of a picture per image; none if --image is no pattern.
  std::vector<std::string> picture_paths() const {
    std::vector<std::string> paths;
    std::set<std::string> seen;
    for (std::size_t i = 0; i < panels_.size() && o_.image.find('{') != std::string::npos; ++i) {
      std::string stem = std::filesystem::path(source_->name(static_cast<std::int64_t>(i))).stem().string();
      std::replace(stem.begin(), stem.end(), '/', '_');
      const std::pair<std::string, std::string> words[] = {{"{name}", stem}, {"{number}", std::to_string(i)}};
      std::string path = o_.image;
      for (const auto& [key, value] : words)
        for (std::size_t at = path.find(key); at != std::string::npos; at = path.find(key, at + value.size()))
          path.replace(at, key.size(), value);
      if (!seen.insert(path).second)
        throw Error("--image " + o_.image + ": gives " + path + " for two images: {number} tells them apart",
                    Error::usage);
      paths.push_back(path);
    }
    return paths;
  }

  void draw_each() const {
    std::size_t drawn = 0;
    for (std::size_t i = 0; i < panels_.size(); ++i) {
      if (panels_[i].empty()) continue;  // of a part that was complete already
      draw_panels({panels_[i]}, o_.shared_scale).save_png(picture_paths_[i]);
      ++drawn;
    }
    std::printf("pictures: %zu of %lld images, %s\n", drawn, static_cast<long long>(images_), o_.image.c_str());
  }

  const Options& o_;
  const Model& model_;
  Subject subject_;
  std::unique_ptr<data::Dataset> data_;
  std::unique_ptr<data::ImageSource> source_;
  std::int64_t images_ = 0;
  std::vector<std::vector<Panel>> panels_;  // per image: the picture, then a map per method
  std::vector<std::string> picture_paths_;
  std::vector<LedgerRow> ledger_;
  std::vector<std::vector<double>> feature_values_;
  std::set<std::string> warned_;  // methods: the first warning of each is printed
  std::vector<int> targets_;
  std::vector<double> scores_;
};

int run(const Options& o) {
  require_ending({"--image", o.image}, ".png");
  if (o.ledger != "-") require_ending({"--ledger", o.ledger}, ".json");
  std::vector<NamedFile> read = files_read(o.file, o.inputs);
  read.push_back({"--composite", o.composite});
  read.push_back({"--features", o.features.ends_with(".npy") ? o.features : ""});
  read.push_back({"--baseline", o.baseline.ends_with(".npy") ? o.baseline : ""});
  read.push_back({"--target", o.target.ends_with(".npy") ? o.target : ""});
  require_ending({"--features-out", o.features_out}, ".npy");
  refuse_same_files({{"--output", o.output},
                     {"--features-out", o.features_out},
                     {"--image", o.image},
                     {"--ledger", o.ledger == "-" ? "" : o.ledger}},
                    read);
  Model model = Model::load(o.file);
  if (!o.output_name.empty()) model.select_output(o.output_name);
  const Engine engine = o.engine.open();
  return Command(o, model, engine).run();
}

}  // namespace

void add_explain(CLI::App& app, int& status) {
  auto* const c = app.add_subcommand("explain", "why a network answers as it does: relevance of every input element");
  auto o = std::make_shared<Options>();
  c->add_option("FILE", o->file, "model file")->required();
  c->add_option("--input", o->inputs, input_help)->allow_extra_args(false);
  c->add_option("--data", o->data, "instead: the test part of a data set, as for train");
  c->add_option("--images", o->images, "the first so many; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  c->add_option("--method", o->methods, "method (vitrine methods lists them); give several to compare pictures")
      ->required()
      ->allow_extra_args(false);
  c->add_option("--set", o->settings, "key=value: a setting of the method")->allow_extra_args(false);
  c->add_option("--composite", o->composite,
                "C.json: the rules of method lrp by node, op and place (vitrine rules --composite NAME prints one)");
  c->add_option("--rule", o->rules,
                "NODE-PATTERN=rule[:key=value,...]: the rule at nodes whose name matches; later ones win")
      ->allow_extra_args(false);
  c->add_option("--target", o->target,
                "class number or name, predicted, label (of --data), A-B for a difference, or a .npy of one class "
                "number per image; of one logit also positive or negative. Usually the predicted class, or the logit");
  c->add_option("--score", o->score, "of the target: its logit, or what a softmax or sigmoid makes of it")
      ->check(CLI::IsMember({"logit", "probability", "log-odds"}))
      ->capture_default_str();
  c->add_option("--output-name", o->output_name, "of several outputs another than the main one (vitrine inspect)");
  c->add_option(
      "--objective", o->objective,
      "instead: NODE[:channel[@row,column]], any unit, map or position of a node; or NODE:channel@MASK.npy, a "
      "region of a dense output");
  c->add_option("--baseline", o->baseline,
                "zero, mean, blur or B.npy: what deeplift and integrated-gradients compare with")
      ->capture_default_str();
  c->add_option("--features", o->features,
                "what Shapley values, surrogates and feature ablation are of: pixels, grid:H,W or FILE.npy");
  c->add_option("--features-out", o->features_out, "V.npy: the features' values, (N,F)");
  c->add_option("--output", o->output,
                "R.npy: relevance of the input's shape, raw; or a folder, which is written in parts (vitrine merge)");
  c->add_option("--shard", o->shard, "i/n: of a folder's parts, every n-th from the i-th on");
  c->add_option("--image", o->image,
                "picture as .png, beside its input; with {name} or {number} in it, a picture per image");
  c->add_option("--pictures", o->pictures, "how many images are drawn, from the first on")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}))
      ->capture_default_str();
  c->add_flag("--preview", o->preview, "the picture as text on the terminal, whatever NO_COLOR and TERM say");
  c->add_flag("--shared-scale", o->shared_scale, "one colour scale for all maps of an image");
  c->add_option("--ledger", o->ledger, "what each op did to the relevance, as JSON; - prints a table");
  o->engine.add_to(*c);
  c->callback([o, &status] { status = run(*o); });
}

}  // namespace vitrine::tools
