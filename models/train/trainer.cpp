#include "models/train/trainer.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/host/io/file.h"
#include "core/host/io/safetensors.h"
#include "kernels/philox.h"
#include "layers/loss.h"

namespace vitrine {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int argmax(const real* x, std::int64_t n) {
  int best = 0;
  for (std::int64_t k = 1; k < n; ++k)
    if (x[k] > x[best]) best = static_cast<int>(k);
  return best;
}

// Names the first node whose result is not finite; it watches all of them.
class NonFiniteFinder final : public Observer {
 public:
  Status after_forward(const Context& ctx, const Graph& g, Id node, const NodeIO& io, const NodeIO*) noexcept override {
    if (ctx->stats(io.out.data, io.out.size()).non_finite == 0) return Status::ok;
    (void)g;
    (void)node;
    return ctx.fail(Status::non_finite, "is the first node whose result is not finite");
  }
};

[[noreturn]] void explain_non_finite(const Model& model, const Engine& engine, const TensorView& input,
                                     const std::string& where) {
  NonFiniteFinder finder;
  PlanRequest request;
  request.graph = &model.graph();
  request.batch = input.shape.n();
  request.batches = {&request.batch, 1};
  request.observer = &finder;
  Session session(engine, request, model.parameters);
  std::string why = "the loss alone is not finite";
  try {
    session.forward(input);
  } catch (const Error& e) {
    why = e.what();
  }
  throw Error("training stopped at " + where + ": " + why + "; a smaller --lr may help");
}

// The optimiser's state: zero to two blocks beside the parameters.
struct OptimizerState {
  std::vector<real> first, second;
  std::vector<real> average;  // of the parameters, where it is asked for
};

struct Position {
  int epoch = 0;          // completed epochs
  std::int64_t step = 0;  // completed steps of the current one
  double loss_sum = 0;    // of the current epoch, so that its mean survives a stop
  std::int64_t seen = 0, right = 0;
};

std::string state_path(const TrainOptions& o) { return o.out + ".state"; }

// What must be equal for a resumed run to be the same run.
std::string fingerprint(const Model& model, const data::Dataset& data, const TrainOptions& o) {
  return nlohmann::json{{"architecture", model.architecture},
                        {"images", data.size()},
                        {"data", data.digest()},
                        {"epochs", o.epochs},
                        {"batch", o.batch},
                        {"optimizer", static_cast<int>(o.optimizer)},
                        {"lr", o.lr},
                        {"momentum", o.momentum},
                        {"weight_decay", o.weight_decay},
                        {"schedule", o.schedule},
                        {"seed", o.seed},
                        {"shift", o.augment.shift},
                        {"flip", o.augment.flip},
                        {"crop_padding", o.augment.crop_padding},
                        {"cutout", o.augment.cutout},
                        {"label_smoothing", o.augment.label_smoothing},
                        {"mixup", o.augment.mixup},
                        {"ema", o.ema},
                        {"task_loss", o.task_loss},
                        {"frozen", o.frozen},
                        {"hook", o.hook != nullptr ? o.hook->describe() : ""}}
      .dump();
}

void save_state(const Model& model, const OptimizerState& state, const Position& at, const std::string& print,
                const TrainOptions& o) {
  io::SafetensorsWriter file(state_path(o));
  file.metadata("vitrine-training", nlohmann::json{{"options", print},
                                                   {"epoch", at.epoch},
                                                   {"step", at.step},
                                                   {"loss_sum", at.loss_sum},
                                                   {"seen", at.seen},
                                                   {"right", at.right}}
                                        .dump());
  const auto block = [&](const char* name, const std::vector<real>& v) {
    if (!v.empty()) file.add(name, {static_cast<std::int64_t>(v.size())}, v.data());
  };
  block("parameters", model.parameters);
  block("first", state.first);
  block("second", state.second);
  block("average", state.average);
  file.commit();
}

// What a moving average can be taken of: weights, and the running statistics that belong to them.
bool has_average(const Graph& g, const Value& v) {
  if (v.trainable) return true;
  for (const Node& node : g.nodes)
    for (const Id p : node.par)
      if (&g.values[p] == &v) return node.op->traits().normaliser;
  return false;
}

// The ranges of the flat block that the optimiser moves: not running statistics, nor what the options freeze.
std::vector<std::pair<std::int64_t, std::int64_t>> moving_ranges(const Graph& g, const TrainOptions& o,
                                                                 std::int64_t size) {
  std::vector<bool> still(g.values.size(), false);
  for (const Value& v : g.values) still[static_cast<std::size_t>(&v - g.values.data())] = !v.trainable;
  for (const std::string& pattern : o.frozen) {
    bool found = false;
    for (const Node& node : g.nodes) {
      if (!matches(pattern.c_str(), node.name)) continue;
      found = true;
      for (const Id p : node.par) still[p] = true;
    }
    if (!found) throw Error("no node to freeze matches '" + pattern + "'", Error::usage);
  }
  std::vector<std::pair<std::int64_t, std::int64_t>> fixed, out;
  for (std::size_t v = 0; v < g.values.size(); ++v)
    if (g.values[v].kind == ValueKind::parameter && still[v])
      fixed.emplace_back(g.values[v].offset, g.values[v].offset + g.values[v].shape.size());
  std::sort(fixed.begin(), fixed.end());
  std::int64_t at = 0;
  for (const auto& [first, last] : fixed) {
    if (first > at) out.emplace_back(at, first);
    at = last;
  }
  if (size > at) out.emplace_back(at, size);
  return out;
}

Position load_state(Model& model, OptimizerState& state, const std::string& print, const TrainOptions& o) {
  const std::string path = state_path(o);
  if (!std::filesystem::exists(path))
    throw Error(path + ": is not there: --resume continues a run that was stopped, and a complete run leaves no state");
  const io::Safetensors file(path);
  Position at;
  try {
    const auto json = nlohmann::json::parse(file.metadata("vitrine-training"));
    if (json.at("options").get<std::string>() != print)
      throw Error(path + ": was made by a run with other options: found " + json.at("options").get<std::string>() +
                      ", expected " + print,
                  Error::usage);
    at = {json.at("epoch"), json.at("step"), json.at("loss_sum"), json.at("seen"), json.at("right")};
  } catch (const nlohmann::json::exception&) {
    throw Error(path + ": is no training state: expected the metadata field 'vitrine-training'");
  }
  const auto block = [&](const char* name, std::vector<real>& v) {
    if (v.empty()) return;
    const std::vector<float> read = file.tensor(name).floats();
    if (read.size() != v.size())
      throw Error(path + ": tensor '" + name + "' has " + std::to_string(read.size()) + " elements, expected " +
                  std::to_string(v.size()));
    std::copy(read.begin(), read.end(), v.begin());
  };
  block("parameters", model.parameters);
  block("first", state.first);
  block("second", state.second);
  block("average", state.average);
  return at;
}

// Losses are of one vector of logits per image.
void check_classifier(const Model& model) {
  const Graph& g = model.graph();
  if (g.inputs.size() > 1)
    throw Error("the network has " + std::to_string(g.inputs.size()) +
                " inputs: training and evaluation take networks with one");
  if (model.dense())
    throw Error("the network's output has shape (N," + text(g.shape(g.output)).substr(3) +
                ": training and evaluation take networks with one vector of classes per image");
}

}  // namespace

TrainResult train(Model& model, const Engine& engine, const data::TrainTest& data, const TrainOptions& given,
                  const std::function<void(const TrainProgress&)>& progress, const Job& job) {
  check_classifier(model);
  if (!given.out.empty()) const io::AtomicFile writable(given.out);  // refused before the first epoch, not after it
  TrainOptions o = given;
  const bool adam = o.optimizer == Optimizer::adam || o.optimizer == Optimizer::adamw;
  if (o.lr == 0) o.lr = adam ? 1e-3 : 0.02;
  if (o.recompute && o.hook != nullptr)
    throw Error("recompute: a loss of inner values watches the whole run, so none of it can be dropped", Error::usage);
  const Graph& g = model.graph();
  const std::int64_t images = data.train->size(), per_epoch = (images + o.batch - 1) / o.batch,
                     total = per_epoch * o.epochs;
  const Schedule schedule = Schedule::parse(o.schedule, per_epoch, o.epochs);
  const std::string print = fingerprint(model, *data.train, o);

  OptimizerState state;
  if (adam || o.momentum > 0) state.first.resize(model.parameters.size());
  if (adam) state.second.resize(model.parameters.size());
  if (o.ema > 0) state.average = model.parameters;
  Position at;
  if (o.resume) at = load_state(model, state, print, o);

  const GradientRule rule(true);
  const std::vector<const Rule*> rules(g.nodes.size(), &rule);
  PlanRequest request;
  request.graph = &g;
  request.batch = static_cast<std::int32_t>(std::min<std::int64_t>(o.batch, images));
  const data::BatchSizes sizes(images, request.batch);
  request.batches = sizes.span();
  request.rules = rules;
  request.parameter_gradients = true;
  // Every head has a loss of its own: the logits first.
  const Id logits = model.logits();
  std::vector<Id> heads = {logits};
  for (const Model::AuxiliaryHead& head : model.auxiliary) heads.push_back(g.nodes[model.node(head.node)].out);
  request.seeds = heads;
  request.keep_values = heads;
  request.observer = o.hook;
  request.recompute = o.recompute;
  // Where the kernels work; the vectors are what is saved.
  Mirror parameters(engine, model.parameters), first(engine, state.first), second(engine, state.second),
      average(engine, state.average);
  const auto fetch = [&] {
    for (Mirror* const m : {&parameters, &first, &second, &average}) m->fetch();
  };
  OptimizerStep optimizer;
  optimizer.optimizer = o.optimizer;
  optimizer.momentum = static_cast<float>(o.momentum), optimizer.weight_decay = static_cast<float>(o.weight_decay);
  optimizer.parameters = parameters.data(), optimizer.first = first.data(), optimizer.second = second.data();
  optimizer.moving = moving_ranges(g, o, static_cast<std::int64_t>(model.parameters.size()));
  const bool within_walk = OptimizerStep::within_walk(engine, g);
  if (within_walk) request.updater = &optimizer;
  const Storage gradients(engine, within_walk ? 0 : model.parameters.size());
  Storage targets(engine, static_cast<std::size_t>(request.batch) * static_cast<std::size_t>(model.classes()));
  Session session(engine, request, parameters.data(), gradients.data());
  session.context().training = true;

  data::LoaderOptions loading;
  loading.batch = request.batch;
  loading.seed = derive_key(o.seed, 1);
  loading.shuffle = true;
  loading.preparation = model.preparation;
  loading.augment = o.augment;
  data::Loader loader(*data.train, loading);

  TrainResult result;
  // What is evaluated and saved as the model is the average, where there is one.
  const auto as_model = [&](const auto& f) {
    if (o.ema > 0) {
      // Parameters that count or name something (a filter's class) have no average.
      for (const Value& v : g.values)
        if (v.kind == ValueKind::parameter && !has_average(g, v))
          std::copy_n(model.parameters.begin() + v.offset, v.shape.size(), state.average.begin() + v.offset);
      std::swap(model.parameters, state.average);
    }
    f();
    if (o.ema > 0) std::swap(model.parameters, state.average);
  };
  const auto evaluate_epochs = [&](int epochs) {
    as_model([&] { result.test_accuracy = evaluate(model, engine, *data.test).accuracy; });
    result.epochs_done = epochs;
    for (const auto& note : {std::pair<std::string, std::string>{"epochs", std::to_string(epochs)},
                             {"test_accuracy", std::to_string(result.test_accuracy)},
                             {"seed", std::to_string(o.seed)}}) {
      std::erase_if(model.notes, [&](const auto& old) { return old.first == note.first; });
      model.notes.push_back(note);
    }
  };
  // The state of the last epoch was written, and its model was not: whoever resumes gets the model.
  if (at.epoch >= o.epochs) {
    evaluate_epochs(at.epoch);
    as_model([&] { model.save(o.out); });
    if (o.ema > 0) model.parameters = state.average;
  }
  data::Batch batch;
  std::vector<double> losses(static_cast<std::size_t>(request.batch));
  const double start = now();
  std::int64_t done_here = 0;
  for (; at.epoch < o.epochs; ++at.epoch, at.step = 0, at.loss_sum = 0, at.seen = at.right = 0) {
    loader.start_epoch(at.epoch, at.step);
    while (loader.next(batch)) {
      const std::int64_t t = at.epoch * per_epoch + at.step;
      const TensorView input{batch.images.data(), model.image_shape().with_batch(batch.count)};
      session.context().random_key = derive_key(derive_key(o.seed, 2), static_cast<std::uint64_t>(t));
      if (o.hook != nullptr) o.hook->start_batch(batch, at.epoch);
      session.forward(input);
      const HostTensor out = session.peek(session.run().value(logits));
      targets.upload(batch.targets);
      double loss = 0;
      for (std::size_t h = 0; h < heads.size(); ++h) {
        const float weight = h == 0 ? 1 : model.auxiliary[h - 1].weight;
        double own = 0;
        session.check([&](const Context& ctx) {
          return cross_entropy(ctx, session.run().value(heads[h]), {targets.data(), out.shape}, losses,
                               session.run().signal(heads[h]), own, o.task_loss ? static_cast<real>(weight) : real{0});
        });
        loss += static_cast<double>(weight) * own;
      }
      if (!std::isfinite(loss)) {
        fetch();
        explain_non_finite(model, engine, input,
                           "epoch " + std::to_string(at.epoch + 1) + ", step " + std::to_string(at.step + 1));
      }
      optimizer.lr = static_cast<float>(o.lr * schedule.factor(t, total));
      optimizer.step = t + 1;
      session.walk_back();
      if (!within_walk) optimizer.update_all(session.context(), gradients.data());

      if (o.ema > 0) {
        const double decay = std::min(o.ema, static_cast<double>(1 + t) / static_cast<double>(10 + t));
        const auto keep = static_cast<real>(decay), take = static_cast<real>(1 - decay);
        session.context().ranges(static_cast<std::int64_t>(model.parameters.size()), elementwise_grain,
                                 [&](std::int64_t b, std::int64_t e) noexcept {
                                   session.context()->combine(keep, average.data() + b, take, parameters.data() + b,
                                                              average.data() + b, e - b);
                                 });
      }

      at.loss_sum += loss * batch.count;
      at.seen += batch.count;
      for (int i = 0; i < batch.count; ++i)
        at.right += argmax(out.data + i * out.shape.per_image(), out.shape.per_image()) ==
                    batch.labels[static_cast<std::size_t>(i)];
      ++at.step;
      ++done_here;
      TrainProgress p{at.epoch + 1,
                      o.epochs,
                      at.step,
                      per_epoch,
                      at.loss_sum / static_cast<double>(at.seen),
                      static_cast<double>(at.right) / static_cast<double>(at.seen)};
      const double seconds = now() - start;
      p.images_per_second = static_cast<double>(done_here) * o.batch / std::max(seconds, 1e-9);
      p.seconds_left = seconds / static_cast<double>(done_here) * static_cast<double>(total - t - 1);
      if (progress) progress(p);
      job.progress(static_cast<double>(t + 1) / static_cast<double>(total));
      if (job.stopped()) break;
    }
    result.train_loss = at.loss_sum / static_cast<double>(std::max<std::int64_t>(1, at.seen));
    fetch();
    if (job.stopped() && at.step < per_epoch) {
      save_state(model, state, at, print, o);
      as_model([&] { model.save(o.out); });
      result.stopped = true;
      result.epochs_done = at.epoch;
      return result;
    }
    evaluate_epochs(at.epoch + 1);
    Position next = at;
    next = {at.epoch + 1, 0, 0, 0, 0};
    save_state(model, state, next, print, o);
    as_model([&] { model.save(o.out); });
    TrainProgress p{
        at.epoch + 1,      o.epochs,
        per_epoch,         per_epoch,
        result.train_loss, static_cast<double>(at.right) / static_cast<double>(std::max<std::int64_t>(1, at.seen))};
    p.epoch_done = true;
    p.test_accuracy = result.test_accuracy;
    p.images_per_second = static_cast<double>(done_here) * o.batch / std::max(now() - start, 1e-9);
    if (progress) progress(p);
    if (job.stopped()) {
      result.stopped = at.epoch + 1 < o.epochs;
      if (result.stopped) return result;
    }
    if (o.ema > 0 && at.epoch + 1 == o.epochs) model.parameters = state.average;
  }
  std::error_code ignored;
  std::filesystem::remove(state_path(o), ignored);
  return result;
}

EvalResult evaluate(const Model& model, const Engine& engine, const data::Dataset& data, const Job& job,
                    std::int64_t images) {
  check_classifier(model);
  const Id logits = model.logits();
  const auto classes = static_cast<std::size_t>(model.classes());
  PlanRequest request;
  request.graph = &model.graph();
  request.batch = static_cast<std::int32_t>(std::clamp<std::int64_t>(data.size(), 1, 128));
  const data::BatchSizes sizes(images > 0 ? std::min(images, data.size()) : data.size(), request.batch);
  request.batches = sizes.span();
  const Id keep[] = {logits};
  request.keep_values = keep;
  Session session(engine, request, model.parameters);
  Storage targets(engine, static_cast<std::size_t>(request.batch) * classes);

  EvalResult result;
  result.correct.resize(classes);
  result.count.resize(classes);
  result.confusion.resize(classes * classes);
  std::vector<double> losses(static_cast<std::size_t>(request.batch));
  std::int64_t right = 0, seen = 0;
  const auto body = [&](data::Batch& batch) {
    session.forward({batch.images.data(), model.image_shape().with_batch(batch.count)});
    const HostTensor out = session.peek(session.run().value(logits));
    double loss = 0;
    if (data.classes() != model.classes()) {  // a set may show fewer classes than the network knows
      batch.targets.assign(static_cast<std::size_t>(out.size()), 0);
      for (std::size_t i = 0; i < batch.labels.size(); ++i)
        batch.targets[i * classes + static_cast<std::size_t>(batch.labels[i])] = 1;
    }
    targets.upload(batch.targets);
    session.check([&](const Context& ctx) {
      return cross_entropy(ctx, session.run().value(logits), {targets.data(), out.shape}, losses, {}, loss);
    });
    result.loss += loss * batch.count;
    for (int i = 0; i < batch.count; ++i) {
      const auto label = static_cast<std::size_t>(batch.labels[static_cast<std::size_t>(i)]);
      const auto best = static_cast<std::size_t>(argmax(out.data + i * out.shape.per_image(), out.shape.per_image()));
      ++result.count[label];
      ++result.confusion[label * classes + best];
      result.correct[label] += best == label;
      right += best == label;
    }
    seen += batch.count;
  };
  data::over_batches(data, model.preparation, request.batch, job, body, 0, images);
  result.accuracy = static_cast<double>(right) / static_cast<double>(std::max<std::int64_t>(1, seen));
  result.loss /= static_cast<double>(std::max<std::int64_t>(1, seen));
  return result;
}

}  // namespace vitrine
