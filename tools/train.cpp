#include <cstdio>
#include <filesystem>

#include "models/architectures.h"
#include "models/inside/interpretable.h"
#include "models/inside/renn.h"
#include "models/train/trainer.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

std::string clock(double seconds) {
  char buffer[32];
  const auto s = static_cast<long>(seconds + 0.5);
  std::snprintf(buffer, sizeof buffer, "%ld:%02ld", s / 60, s % 60);
  return buffer;
}

// A line per epoch, and on a terminal a status line within it.
void show(StatusLine& line, const TrainProgress& p) {
  if (p.epoch_done) {
    line.clear();
    std::printf("epoch %d/%d  loss %.4f  train accuracy %.4f  test accuracy %.4f  %.0f images/s\n", p.epoch, p.epochs,
                p.loss, p.accuracy, p.test_accuracy, p.images_per_second);
    std::fflush(stdout);
    return;
  }
  if (!line.due()) return;
  char numbers[96];
  std::snprintf(numbers, sizeof numbers, "loss %.4f  accuracy %.4f  %s left  %.0f images/s", p.loss, p.accuracy,
                clock(p.seconds_left).c_str(), p.images_per_second);
  line.show("epoch " + std::to_string(p.epoch) + "/" + std::to_string(p.epochs),
            static_cast<double>(p.step) / static_cast<double>(p.steps), numbers);
}

struct Options {
  std::string model, data;
  TrainOptions train;
  std::string optimizer = "nesterov";
  EngineOptions engine;
  std::string rules;
  RennOptions renn;
  RennSchedule stages;
  bool optimizer_given = false;
  InterpretableOptions interpretable;
  std::string filter_loss = "released", filter_peak = "maximum";
};

int run(Options& o) {
  const bool renn = o.model == "renn";
  if (!renn && o.train.epochs < 1) throw Error("--epochs 0: expected at least 1", Error::usage);
  if (renn && !o.optimizer_given) o.optimizer = "adam";
  o.train.optimizer = parse_optimizer(o.optimizer);
  if (!o.train.out.ends_with(".safetensors"))
    throw Error("--out " + o.train.out + ": expected a name that ends in .safetensors", Error::usage);
  if (renn != !o.rules.empty())
    throw Error(renn ? "renn needs --rules FILE" : "--rules belongs to the model renn", Error::usage);
  if (renn && !o.interpretable.nodes.empty()) throw Error("--interpretable and renn do not go together", Error::usage);
  if (!renn) find_architecture(o.model);
  const std::filesystem::path folder = std::filesystem::path(o.train.out).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder))
    throw Error("--out " + o.train.out + ": the folder " + folder.string() + " does not exist");
  const data::TrainTest data = data::open_for_training(o.data);
  if (!data.note.empty()) std::printf("%s\n", data.note.c_str());
  const Engine engine = o.engine.open();
  const RuleBase rules = renn ? RuleBase::load(o.rules) : RuleBase{};
  Model model = renn ? make_renn(rules, data.train->image_shape(), data.train->classes(), o.renn, o.train.seed)
                     : make_model(o.model, data.train->image_shape(), data.train->classes(), o.train.seed);
  const auto suggested = data.train->suggested();
  model.preparation.mean = suggested.mean;
  model.preparation.std = suggested.std;
  for (int k = 0; k < data.train->classes(); ++k) model.class_names.push_back(data.train->class_name(k));
  std::unique_ptr<FilterTraining> filters;
  if (!o.interpretable.nodes.empty()) {
    o.interpretable.loss.released = o.filter_loss == "released";
    o.interpretable.centroid = o.filter_peak == "centroid";
    model = with_interpretable_filters(model, o.interpretable, o.train.seed);
    filters = std::make_unique<FilterTraining>(engine, model, *data.train, o.interpretable, o.train.batch);
    o.train.hook = filters.get();
  }
  std::printf("%s: %lld parameters, %lld training and %lld test images of %s, %d classes, %s\n", o.model.c_str(),
              static_cast<long long>(model.parameter_count()), static_cast<long long>(data.train->size()),
              static_cast<long long>(data.test->size()), text(model.image_shape()).c_str(), model.classes(),
              describe(engine).c_str());
  StatusLine line(stdout);
  int stage = 0;
  const auto show_stage = [&](int s, const TrainProgress& p) {
    if (s != stage)
      std::printf("%s\n", s == 1   ? "stage 1: the local network on local targets"
                          : s == 2 ? "stage 2: the global network"
                                   : "stage 3: all, through the rules");
    stage = s;
    show(line, p);
  };
  const Job job({}, [] { return stop_requested.load(); });
  const TrainResult result =
      renn ? train_renn(model, engine, data, rules, o.train, o.stages, show_stage, job)
           : train(
                 model, engine, data, o.train, [&](const TrainProgress& p) { show(line, p); }, job);
  if (result.stopped) {
    line.clear();
    std::printf("stopped; the state is saved, and --resume continues from here\n");
    return 130;
  }
  std::printf("test accuracy %.4f after %d epochs; written to %s\n", result.test_accuracy, result.epochs_done,
              o.train.out.c_str());
  return 0;
}

}  // namespace

void add_train(CLI::App& app, int& status) {
  auto* const c = app.add_subcommand("train", "train a network and write it, ready to use, to one file");
  auto o = std::make_shared<Options>();
  c->add_option("MODEL", o->model, "architecture (vitrine models lists them), or renn")->required();
  c->add_option("--data", o->data,
                "mnist:DIR, fashion:DIR, cifar10:DIR, folder:DIR, list:FILE.csv, npy:X,Y, relations[:variant,...] or "
                "partshapes[:variant,...]")
      ->required();
  c->add_option("--out", o->train.out, "model file to write, FILE.safetensors")->required();
  c->add_option("--epochs", o->train.epochs, "passes over the training images")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000));
  c->add_option("--batch", o->train.batch, "images a step")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  c->add_option("--optimizer", o->optimizer, "sgd, nesterov, adam or adamw")->capture_default_str();
  c->add_option("--lr", o->train.lr, "learning rate (default 0.02 for sgd and nesterov, 0.001 for adam and adamw)")
      ->check(within(1e-12, 1e6));
  c->add_option("--momentum", o->train.momentum, "of sgd and nesterov")
      ->capture_default_str()
      ->check(within(0.0, 0.9999));
  c->add_option("--weight-decay", o->train.weight_decay, "L2 (decoupled for adamw)")
      ->capture_default_str()
      ->check(within(0.0, 10.0));
  c->add_option("--schedule", o->train.schedule,
                "constant, step[:EPOCHS[,GAMMA]], cosine or one-cycle, each with +warmup[:EPOCHS]")
      ->capture_default_str();
  c->add_option("--shift", o->train.augment.shift, "augment: shift by up to this many pixels")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 15));
  c->add_flag("--flip", o->train.augment.flip, "augment: mirror left and right at random");
  c->add_option("--crop-padding", o->train.augment.crop_padding, "augment: pad by this much and crop at random")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 15));
  c->add_option("--cutout", o->train.augment.cutout, "augment: a square of this side is blanked")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 15));
  c->add_option("--label-smoothing", o->train.augment.label_smoothing,
                "share of every target that is spread over all classes")
      ->capture_default_str()
      ->check(within(0.0, 0.9));
  c->add_option("--mixup", o->train.augment.mixup, "augment: mix pairs of images, share from Beta(a,a)")
      ->capture_default_str()
      ->check(within(0.0, 100.0));
  c->add_option("--ema", o->train.ema, "decay of a moving average of the parameters, which becomes the model")
      ->capture_default_str()
      ->check(within(0.0, 0.999999));
  c->add_option("--rules", o->rules, "renn: file of patterns and rules (README)");
  c->add_flag("--without-rules", o->renn.without_rules, "renn: the same network without its rules, to compare");
  c->add_option("--hidden", o->renn.hidden, "renn: units of a hidden layer in the global network")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 16));
  c->add_option("--local-epochs", o->stages.local_epochs, "renn: stage 1, the local network")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000));
  c->add_option("--joint-epochs", o->stages.joint_epochs, "renn: stage 3, end to end through the rules")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000));
  c->add_option(
      "--interpretable", o->interpretable.nodes,
      "make the filters after this node interpretable; NODE+conv: after a 3x3 convolution of their own on top of it");
  c->add_option("--filter-weight", o->interpretable.weight,
                "filter loss: its gradient's size over the task's in the first epoch; 0: gates alone")
      ->capture_default_str()
      ->check(within(0.0, 100.0));
  c->add_option("--filter-loss", o->filter_loss,
                "weights of the authors' code, or the paper's equation (slow on large maps)")
      ->capture_default_str()
      ->check(CLI::IsMember({"released", "paper"}));
  c->add_option("--filter-peak", o->filter_peak, "where a map's template stands: its maximum or its centre of mass")
      ->capture_default_str()
      ->check(CLI::IsMember({"maximum", "centroid"}));
  c->add_flag("--filter-slopes", o->interpretable.loss.learn_slopes,
              "templates' steepness follows the maps, as in the authors' code");
  c->add_option("--seed", o->train.seed, "same seed, same numbers")->check(seed_range())->capture_default_str();
  o->engine.add_to(*c);
  c->add_flag("--recompute", o->train.recompute,
              "less memory, a third more time: most values are computed again on the way back; the same numbers");
  c->add_flag("--resume", o->train.resume, "continue from FILE.state, bit for bit");
  c->callback([o, c, &status] {
    o->optimizer_given = c->count("--optimizer") > 0;
    o->stages.global_epochs = o->train.epochs;
    status = run(*o);
  });
}

void add_eval(CLI::App& app, int& status) {
  struct EvalOptions {
    std::string file, data;
    EngineOptions engine;
  };
  auto* const c = app.add_subcommand("eval", "accuracy of a model on a data set's test part");
  auto o = std::make_shared<EvalOptions>();
  c->add_option("FILE", o->file, "model file")->required();
  c->add_option("--data", o->data, "data set, as for train")->required();
  o->engine.add_to(*c);
  c->callback([o, &status] {
    const Model model = Model::load(o->file);
    const auto data = data::open_for_evaluation(o->data, picture_fit(model));
    if (data->image_shape() != model.image_shape())
      throw Error(o->data + ": has images of " + text(data->image_shape()) + ", but the network takes " +
                  text(model.image_shape()));
    if (model.class_count() > 0 && data->classes() > model.class_count())
      throw Error(o->data + ": has " + std::to_string(data->classes()) + " classes, but the network knows " +
                  std::to_string(model.class_count()));
    const Progress progress("eval");
    const EvalResult r = evaluate(model, o->engine.open(), *data, progress.job());
    std::printf("accuracy %.4f  loss %.4f  images %lld\n", r.accuracy, r.loss, static_cast<long long>(data->size()));
    for (std::size_t k = 0; k < r.count.size(); ++k)
      if (r.count[k] > 0)
        std::printf("  %-20s %.4f  (%lld of %lld)\n", model.class_name(static_cast<int>(k)).c_str(),
                    static_cast<double>(r.correct[k]) / static_cast<double>(r.count[k]),
                    static_cast<long long>(r.correct[k]), static_cast<long long>(r.count[k]));
    status = 0;
  });
}

}  // namespace vitrine::tools
