#include "models/train/trainer.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
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
  if (model.class_count() == 0)
    throw Error("the network's output is of kind " + std::string(name(model.output_kind())) +
                ": training and evaluation need classes (vitrine import --output-kind says what an output is)");
}

bool is_adam(const TrainOptions& o) { return o.optimizer == Optimizer::adam || o.optimizer == Optimizer::adamw; }

TrainOptions with_defaults(TrainOptions o) {
  if (o.lr == 0) o.lr = is_adam(o) ? 1e-3 : 0.02;
  return o;
}

OptimizerState empty_state(const Model& model, const TrainOptions& o) {
  OptimizerState state;
  if (is_adam(o) || o.momentum > 0) state.first.resize(model.parameters.size());
  if (is_adam(o)) state.second.resize(model.parameters.size());
  if (o.ema > 0) state.average = model.parameters;
  return state;
}

data::LoaderOptions loading(const Model& model, const TrainOptions& o, std::int32_t batch) {
  data::LoaderOptions loading;
  loading.batch = batch;
  loading.seed = derive_key(o.seed, 1);
  loading.shuffle = true;
  loading.preparation = model.preparation;
  loading.augment = o.augment;
  return loading;
}

// The values at which losses start: the logits first, then those of auxiliary heads, each with a loss of its own.
std::vector<Id> heads_of(const Model& model) {
  std::vector<Id> heads = {model.logits()};
  for (const Model::AuxiliaryHead& head : model.auxiliary)
    heads.push_back(model.graph().nodes[model.node(head.node)].out);
  return heads;
}

// One run of training, from its first or its resumed step to the end.
class Training {
 public:
  Training(Model& model, const Engine& engine, const data::TrainTest& data, const TrainOptions& options,
           const std::function<void(const TrainProgress&)>& progress, const Job& job)
      : model_(model),
        engine_(engine),
        data_(data),
        o_(with_defaults(options)),
        progress_(progress),
        job_(job),
        images_(data.train->size()),
        per_epoch_((images_ + o_.batch - 1) / o_.batch),
        total_(per_epoch_ * o_.epochs),
        schedule_(Schedule::parse(o_.schedule, per_epoch_, o_.epochs)),
        print_(fingerprint(model, *data.train, o_)),
        state_(empty_state(model, o_)),
        at_(o_.resume ? load_state(model, state_, print_, o_) : Position{}),
        batch_size_(static_cast<std::int32_t>(std::min<std::int64_t>(o_.batch, images_))),
        parameters_(engine, model.parameters),
        first_(engine, state_.first),
        second_(engine, state_.second),
        average_(engine, state_.average),
        within_walk_(OptimizerStep::within_walk(engine, model.graph())),
        gradients_(engine, within_walk_ ? 0 : model.parameters.size()),
        targets_(engine, static_cast<std::size_t>(batch_size_) * static_cast<std::size_t>(model.classes())),
        heads_(heads_of(model)),
        losses_(static_cast<std::size_t>(batch_size_)),
        loader_(*data.train, loading(model, o_, batch_size_)) {
    optimizer_.optimizer = o_.optimizer;
    optimizer_.momentum = static_cast<float>(o_.momentum);
    optimizer_.weight_decay = static_cast<float>(o_.weight_decay);
    optimizer_.parameters = parameters_.data();
    optimizer_.first = first_.data();
    optimizer_.second = second_.data();
    optimizer_.moving = moving_ranges(model.graph(), o_, static_cast<std::int64_t>(model.parameters.size()));
    make_session();
  }

  TrainResult run() {
    // The state of the last epoch was written, and its model was not: whoever resumes gets the model.
    if (at_.epoch >= o_.epochs) {
      evaluate_model(at_.epoch);
      save_model();
      become_average();
    }
    while (at_.epoch < o_.epochs && !result_.stopped) run_epoch();
    if (result_.stopped) return result_;
    std::error_code ignored;
    std::filesystem::remove(state_path(o_), ignored);
    return result_;
  }

 private:
  void make_session() {
    const std::vector<const Rule*> rules(model_.graph().nodes.size(), &rule_);
    const data::BatchSizes sizes(images_, batch_size_);
    PlanRequest request;
    request.graph = &model_.graph();
    request.batch = batch_size_;
    request.batches = sizes.span();
    request.rules = rules;
    request.parameter_gradients = true;
    request.seeds = heads_;
    request.keep_values = heads_;
    request.observer = o_.hook;
    request.recompute = o_.recompute;
    if (within_walk_) request.updater = &optimizer_;
    session_ = std::make_unique<Session>(engine_, request, parameters_.data(), gradients_.data());
    session_->context().training = true;
  }

  void run_epoch() {
    loader_.start_epoch(at_.epoch, at_.step);
    for (data::Batch batch; loader_.next(batch);) {
      step(batch);
      tell_step();
      if (job_.stopped()) break;
    }
    result_.train_loss = at_.loss_sum / static_cast<double>(std::max<std::int64_t>(1, at_.seen));
    fetch();
    if (at_.step < per_epoch_) {
      save_state(model_, state_, at_, print_, o_);
      save_model();
      result_.stopped = true;
      result_.epochs_done = at_.epoch;
      return;
    }
    evaluate_model(at_.epoch + 1);
    Position next;
    next.epoch = at_.epoch + 1;
    save_state(model_, state_, next, print_, o_);
    save_model();
    tell_epoch();
    at_ = next;
    if (at_.epoch == o_.epochs) become_average();
    result_.stopped = job_.stopped() && at_.epoch < o_.epochs;
  }

  // One batch: forward, losses, and the walk in which the parameters move.
  void step(data::Batch& batch) {
    const std::int64_t t = steps_done();
    const TensorView input{batch.images.data(), model_.image_shape().with_batch(batch.count)};
    session_->context().random_key = derive_key(derive_key(o_.seed, 2), static_cast<std::uint64_t>(t));
    if (o_.hook != nullptr) o_.hook->start_batch(batch, at_.epoch);
    session_->forward(input);
    const HostTensor out = session_->peek(session_->run().value(heads_[0]));
    const double loss = seed_losses(batch, out.shape);
    if (!std::isfinite(loss)) {
      fetch();
      explain_non_finite(model_, engine_, input,
                         "epoch " + std::to_string(at_.epoch + 1) + ", step " + std::to_string(at_.step + 1));
    }
    optimizer_.lr = static_cast<float>(o_.lr * schedule_.factor(t, total_));
    optimizer_.step = t + 1;
    session_->walk_back();
    if (!within_walk_) optimizer_.update_all(session_->context(), gradients_.data());
    if (o_.ema > 0) move_average(t);
    count(batch, out, loss);
  }

  // Writes the signal of every head; returns the weighted sum of their losses.
  double seed_losses(const data::Batch& batch, const Shape& logits) {
    targets_.upload(batch.targets);
    double loss = 0;
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      const float weight = h == 0 ? 1 : model_.auxiliary[h - 1].weight;
      double own = 0;
      session_->check([&](const Context& ctx) {
        return cross_entropy(ctx, session_->run().value(heads_[h]), {targets_.data(), logits}, losses_,
                             session_->run().signal(heads_[h]), own,
                             o_.task_loss ? static_cast<real>(weight) : real{0});
      });
      loss += static_cast<double>(weight) * own;
    }
    return loss;
  }

  void move_average(std::int64_t t) {
    const double decay = std::min(o_.ema, static_cast<double>(1 + t) / static_cast<double>(10 + t));
    const auto keep = static_cast<real>(decay), take = static_cast<real>(1 - decay);
    const Context& ctx = session_->context();
    ctx.ranges(static_cast<std::int64_t>(model_.parameters.size()), elementwise_grain,
               [&](std::int64_t b, std::int64_t e) noexcept {
                 ctx->combine(keep, average_.data() + b, take, parameters_.data() + b, average_.data() + b, e - b);
               });
  }

  void count(const data::Batch& batch, const HostTensor& out, double loss) {
    at_.loss_sum += loss * batch.count;
    at_.seen += batch.count;
    for (int i = 0; i < batch.count; ++i)
      at_.right += argmax(out.data + i * out.shape.per_image(), out.shape.per_image()) ==
                   batch.labels[static_cast<std::size_t>(i)];
    ++at_.step;
    ++done_here_;
  }

  // Steps of the whole training that are done.
  std::int64_t steps_done() const { return at_.epoch * per_epoch_ + at_.step; }

  // The epoch so far.
  TrainProgress state_of_epoch(double seconds) const {
    const auto seen = static_cast<double>(std::max<std::int64_t>(1, at_.seen));
    TrainProgress p{at_.epoch + 1, o_.epochs,           at_.step,
                    per_epoch_,    at_.loss_sum / seen, static_cast<double>(at_.right) / seen};
    p.images_per_second = static_cast<double>(done_here_) * o_.batch / std::max(seconds, 1e-9);
    return p;
  }

  void tell_step() {
    const double seconds = now() - start_;
    TrainProgress p = state_of_epoch(seconds);
    p.seconds_left = seconds / static_cast<double>(done_here_) * static_cast<double>(total_ - steps_done());
    if (progress_) progress_(p);
    job_.progress(static_cast<double>(steps_done()) / static_cast<double>(total_));
  }

  void tell_epoch() {
    TrainProgress p = state_of_epoch(now() - start_);
    p.epoch_done = true;
    p.test_accuracy = result_.test_accuracy;
    if (progress_) progress_(p);
  }

  // From where the kernels work to the vectors that are saved.
  void fetch() {
    for (Mirror* const m : {&parameters_, &first_, &second_, &average_}) m->fetch();
  }

  // What is evaluated and saved as the model is the average, if there is one.
  void swap_average() {
    if (o_.ema > 0) std::swap(model_.parameters, state_.average);
  }

  // Parameters that count or name something (a filter's class) have no average.
  void complete_average() {
    const Graph& g = model_.graph();
    for (const Value& v : g.values)
      if (o_.ema > 0 && v.kind == ValueKind::parameter && !has_average(g, v))
        std::copy_n(model_.parameters.begin() + v.offset, v.shape.size(), state_.average.begin() + v.offset);
  }

  void become_average() {
    if (o_.ema > 0) model_.parameters = state_.average;
  }

  void evaluate_model(int epochs) {
    complete_average();
    swap_average();
    result_.test_accuracy = evaluate(model_, engine_, *data_.test).accuracy;
    swap_average();
    result_.epochs_done = epochs;
    for (const auto& note : {std::pair<std::string, std::string>{"epochs", std::to_string(epochs)},
                             {"test_accuracy", std::to_string(result_.test_accuracy)},
                             {"seed", std::to_string(o_.seed)}}) {
      std::erase_if(model_.notes, [&](const auto& old) { return old.first == note.first; });
      model_.notes.push_back(note);
    }
  }

  void save_model() {
    complete_average();
    swap_average();
    model_.save(o_.out);
    swap_average();
  }

  Model& model_;
  const Engine& engine_;
  const data::TrainTest& data_;
  const TrainOptions o_;
  const std::function<void(const TrainProgress&)>& progress_;
  const Job& job_;
  const std::int64_t images_, per_epoch_, total_;
  const Schedule schedule_;
  const std::string print_;
  const GradientRule rule_{true};
  OptimizerState state_;
  Position at_;
  const std::int32_t batch_size_;
  Mirror parameters_, first_, second_, average_;  // where the kernels work
  OptimizerStep optimizer_;
  const bool within_walk_;
  const Storage gradients_;
  Storage targets_;
  std::vector<Id> heads_;
  std::vector<double> losses_;
  std::unique_ptr<Session> session_;
  data::Loader loader_;
  TrainResult result_;
  const double start_ = now();
  std::int64_t done_here_ = 0;  // steps of this process
};

}  // namespace

TrainResult train(Model& model, const Engine& engine, const data::TrainTest& data, const TrainOptions& options,
                  const std::function<void(const TrainProgress&)>& progress, const Job& job) {
  check_classifier(model);
  if (model.output_kind() == OutputKind::logit)
    throw Error("the network has one logit: training takes networks with an output for each class");
  if (!options.out.empty()) const io::AtomicFile writable(options.out);  // refused before the first epoch, not after it
  if (options.recompute && options.hook != nullptr)
    throw Error("recompute: a loss of inner values watches the whole run, so none of it can be dropped", Error::usage);
  return Training(model, engine, data, options, progress, job).run();
}

namespace {

// ln(1 + e^x), also where e^x overflows.
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// The class that scores speak for, and the loss at the right one, unless they are of classes: the cross-entropy of one
// logit's two classes, or the sum of those of a sigmoid per label.
struct Judged {
  std::size_t best;
  double loss;
};
Judged judge(OutputKind kind, std::span<const real> scores, std::size_t label) {
  if (kind == OutputKind::logit) {
    const auto z = static_cast<double>(scores[0]);
    return {z < 0 ? std::size_t{0} : std::size_t{1}, softplus(label == 1 ? -z : z)};
  }
  double loss = 0;
  for (std::size_t k = 0; kind == OutputKind::sigmoids && k < scores.size(); ++k)
    loss += softplus(k == label ? -static_cast<double>(scores[k]) : static_cast<double>(scores[k]));
  return {static_cast<std::size_t>(argmax(scores.data(), static_cast<std::int64_t>(scores.size()))), loss};
}

// Counts what a batch's scores say, and adds the losses of kinds that no kernel computes. Returns how many are right.
std::int64_t count(OutputKind kind, const data::Batch& batch, const HostTensor& out, EvalResult& result) {
  const auto each = static_cast<std::size_t>(out.shape.per_image());
  const std::size_t classes = result.count.size();
  std::int64_t right = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(batch.count); ++i) {
    const auto label = static_cast<std::size_t>(batch.labels[i]);
    const Judged judged = judge(kind, {out.data + i * each, each}, label);
    if (kind != OutputKind::classes) result.loss += judged.loss;
    ++result.count[label];
    ++result.confusion[label * classes + judged.best];
    result.correct[label] += judged.best == label;
    right += judged.best == label;
  }
  return right;
}

}  // namespace

EvalResult evaluate(const Model& model, const Engine& engine, const data::Dataset& data, const Job& job,
                    std::int64_t images) {
  check_classifier(model);
  const Id logits = model.logits();
  const OutputKind kind = model.output_kind();
  const auto classes = static_cast<std::size_t>(model.class_count());
  if (data.classes() > model.class_count())
    throw Error("the data has " + std::to_string(data.classes()) + " classes, but the network's output is of kind " +
                name(kind) + " with " + std::to_string(model.class_count()));
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
    if (kind == OutputKind::classes) {
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
    }
    right += count(kind, batch, out, result);
    seen += batch.count;
  };
  data::over_batches(data, model.preparation, request.batch, job, body, 0, images);
  result.accuracy = static_cast<double>(right) / static_cast<double>(std::max<std::int64_t>(1, seen));
  result.loss /= static_cast<double>(std::max<std::int64_t>(1, seen));
  return result;
}

}  // namespace vitrine
