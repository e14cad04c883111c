#include "models/inside/renn.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/geometry.h"
#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/init.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"
#include "models/train/schedule.h"

namespace vitrine {
namespace {

constexpr std::int32_t step = 4;  // pixels between places of the local network

// Kernels and pools along the axes that the input has: a series has height 1.
struct Axes {
  bool flat;
  Id conv(GraphBuilder& g, Id x, std::int32_t out, std::int32_t kernel, const char* name) const {
    Conv2d* op = g.make<Conv2d>();
    if (op != nullptr) {
      op->out = out;
      op->kernel_w = kernel;
      op->pad_left = op->pad_right = kernel / 2;
      if (!flat) op->kernel_h = kernel, op->pad_top = op->pad_bottom = kernel / 2;
    }
    const GraphBuilder::Parameter p[] = {{"weight", {out, g.shape(x).c(), flat ? 1 : kernel, kernel}, 4, Init::weight},
                                         {"bias", {out, 1}, 1, Init::zero}};
    const Id in[] = {x};
    return g.add(op, in, p, name);
  }
  Id pool(GraphBuilder& g, Id x, const char* name) const {
    MaxPool* op = g.make<MaxPool>();
    if (op != nullptr) {
      op->window.kernel_w = op->window.stride_w = 2;
      if (!flat) op->window.kernel_h = op->window.stride_h = 2;
    }
    const Id in[] = {x};
    return g.add(op, in, {}, name);
  }
};

}  // namespace

Model make_renn(const RuleBase& rules, Shape image, int classes, const RennOptions& o, std::uint64_t seed) {
  const Axes axes{image.h() == 1};
  if (image.w() < 16 || (!axes.flat && image.h() < 16))
    throw Error("renn takes images of at least 16 x 16 pixels, or series of at least 1 x 16: found " + text(image),
                Error::usage);
  Model m("renn", image, [&](GraphBuilder& g, Id x) {
    const std::int32_t few = o.local_channels, many = 2 * o.local_channels;
    Id h = relu(g, axes.conv(g, x, few, 5, "local.conv1"), "local.relu1");
    h = axes.pool(g, h, "local.pool1");
    h = relu(g, axes.conv(g, h, many, 3, "local.conv2"), "local.relu2");
    h = relu(g, axes.conv(g, h, many, 3, "local.conv3"), "local.relu3");
    h = axes.pool(g, h, "local.pool2");
    h = axes.conv(g, h, static_cast<std::int32_t>(rules.patterns.size()), 1, "local.score");
    const Id detections = sigmoid(g, h, "detections");
    std::vector<Id> evidence;
    for (std::size_t q = 0; q < rules.patterns.size(); ++q)
      evidence.push_back(
          slice(g, detections, 1, static_cast<std::int32_t>(q), 1, 1, ("direct." + rules.patterns[q]).c_str()));
    if (!o.without_rules && !rules.rules.empty()) {
      Geometry geometry;
      geometry.h.jump = axes.flat ? 1 : step;
      geometry.w.jump = step;
      const std::vector<Id> maps = build_rules(g, detections, rules, geometry);
      evidence.insert(evidence.end(), maps.begin(), maps.end());
    }
    h = flatten(g, global_max_pool(g, concat(g, evidence, "evidence"), "global.pool"), "global.flatten");
    if (o.hidden > 0) h = relu(g, linear(g, h, o.hidden, "global.hidden"), "global.relu");
    return linear(g, h, classes, "global.fc");
  });
  initialise(m.graph(), Initialiser::kaiming_normal, seed, m.parameters.data());
  m.notes = {{"rules", rules.text}};
  return m;
}

RuleBase rules_of(const Model& m) {
  for (const auto& [key, value] : m.notes)
    if (key == "rules") return RuleBase::parse(value, "the model's rules");
  throw Error("the model carries no rules: expected one that 'vitrine train renn' made", Error::usage);
}

std::vector<int> pattern_names(const data::Dataset& data, const RuleBase& rules) {
  const std::vector<std::string> known = data.point_names();
  std::vector<int> names;
  for (const std::string& p : rules.patterns) {
    const auto it = std::find(known.begin(), known.end(), p);
    if (it == known.end()) {
      std::string list;
      for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
      throw Error("the rules name the pattern '" + p + "', of which the data tells no places: " +
                      (list.empty() ? "it tells none at all" : "expected one of " + list),
                  Error::usage);
    }
    names.push_back(static_cast<int>(it - known.begin()));
  }
  return names;
}

void local_targets(const data::Dataset& data, std::int64_t image, const RuleBase& rules, std::span<const int> names,
                   const Geometry& geometry, const Shape& maps, float* targets) {
  std::fill_n(targets, maps.per_image(), 0.0f);
  for (const data::PointLabel& point : data.points(image))
    for (std::size_t q = 0; q < rules.patterns.size(); ++q) {
      if (names[q] != point.name) continue;
      const auto nearest = [](float at, const AxisGeometry& axis, std::int32_t size) {
        return std::clamp(static_cast<std::int32_t>(std::lround((at - axis.start) / axis.jump)), 0, size - 1);
      };
      const std::int32_t i = nearest(point.y, geometry.h, maps.h()), j = nearest(point.x, geometry.w, maps.w());
      for (std::int32_t y = std::max(0, i - 2); y <= std::min(maps.h() - 1, i + 2); ++y)
        for (std::int32_t x = std::max(0, j - 2); x <= std::min(maps.w() - 1, j + 2); ++x) {
          const std::int32_t square = (y - i) * (y - i) + (x - j) * (x - j);
          float& t = targets[static_cast<std::int64_t>(q) * maps.pixels() + y * maps.w() + x];
          if (square <= 4) t = std::max(t, std::exp(-0.5f * static_cast<float>(square)));
        }
    }
}

LocalTargets::LocalTargets(const Engine& engine, const Model& model, const data::Dataset& train, const RuleBase& rules,
                           double weight, int batch)
    : data_(train), rules_(rules), weight_(weight), names_(pattern_names(train, rules)) {
  const Graph& g = model.graph();
  detections_ = model.node("detections");
  below_ = model.node("local.score");
  maps_ = g.shape(g.nodes[detections_].out);
  geometry_ = geometry_of(g, g.nodes[detections_].out);
  targets_.resize(static_cast<std::size_t>(maps_.with_batch(batch).size()));
  targets_there_ = Storage(engine, targets_.size());
  difference_ = Storage(engine, targets_.size());
}

void LocalTargets::start_batch(const data::Batch& batch, int) {
  for (int n = 0; n < batch.count; ++n)
    local_targets(data_, batch.indices[static_cast<std::size_t>(n)], rules_, names_, geometry_, maps_,
                  targets_.data() + n * maps_.per_image());
  targets_there_.upload(targets_);
}

std::string LocalTargets::describe() const {
  return "local targets, weight " + std::to_string(weight_) + ", rules " + rules_.text;
}

Status LocalTargets::after_forward(const Context& ctx, const Graph&, Id node, const NodeIO& io,
                                   const NodeIO*) noexcept {
  // d BCE(sigmoid(z), t)/dz = sigmoid(z) - t.
  if (node == detections_)
    ctx->combine(real{1}, io.out.data, real{-1}, targets_there_.data(), difference_.data(), io.out.size());
  return Status::ok;
}

Status LocalTargets::before_step(const Context& ctx, const Graph&, Id node,
                                 std::span<const TensorView> signals) noexcept {
  if (node == below_)
    ctx->scale(static_cast<real>(weight_ / signals[0].shape.n()), difference_.data(), signals[0].data,
               signals[0].size(), true);
  return Status::ok;
}

TrainResult train_renn(Model& model, const Engine& engine, const data::TrainTest& data, const RuleBase& rules,
                       const TrainOptions& given, const RennSchedule& schedule,
                       const std::function<void(int, const TrainProgress&)>& progress, const Job& job) {
  if (given.augment.shift > 0 || given.augment.flip || given.augment.crop_padding > 0)
    throw Error("renn learns where patterns are, so its images cannot be augmented", Error::usage);
  const int epochs[] = {schedule.local_epochs, schedule.global_epochs, schedule.joint_epochs};
  int last = -1;
  for (int s = 0; s < 3; ++s) {
    if (epochs[s] == 0) continue;
    last = s;
    (void)Schedule::parse(given.schedule, 1000, epochs[s]);  // refused here, not when the stages before are done
  }
  if (last < 0) throw Error("renn needs at least one epoch in one of its stages", Error::usage);
  const bool adam = given.optimizer == Optimizer::adam || given.optimizer == Optimizer::adamw;
  const double lr = given.lr > 0 ? given.lr : adam ? 1e-3 : 0.02;
  TrainResult result;
  for (int s = 0; s <= last; ++s) {
    if (epochs[s] == 0) continue;
    TrainOptions o = given;
    o.epochs = epochs[s];
    o.lr = s == 0 ? lr : s == 1 ? 10 * lr : lr / 10;
    if (s < last)
      o.out = given.out.substr(0, given.out.size() - std::string(".safetensors").size()) + ".stage" +
              std::to_string(s + 1) + ".safetensors";
    const bool state = std::filesystem::exists(o.out + ".state");
    if (given.resume && !state && s < last && std::filesystem::exists(o.out)) {
      // This stage is complete.
      const Model done = Model::load(o.out);
      if (done.parameters.size() != model.parameters.size()) throw Error(o.out + ": is a stage of another network");
      model.parameters = done.parameters;
      continue;
    }
    o.resume = given.resume && state;
    LocalTargets local(engine, model, *data.train, rules, s == 2 ? 0.1 : 1, o.batch);
    o.hook = s == 1 ? nullptr : &local;
    o.task_loss = s != 0;
    if (s == 0) o.frozen = {"global.*"};
    if (s == 1) o.frozen = {"local.*"};
    result = train(
        model, engine, data, o,
        [&, s](const TrainProgress& p) {
          if (progress) progress(s + 1, p);
        },
        job.part(static_cast<double>(s) / (last + 1), static_cast<double>(s + 1) / (last + 1)));
    if (result.stopped) return result;
  }
  for (int s = 1; s <= last; ++s) {
    std::error_code ignored;
    std::filesystem::remove(given.out.substr(0, given.out.size() - std::string(".safetensors").size()) + ".stage" +
                                std::to_string(s) + ".safetensors",
                            ignored);
  }
  return result;
}

}  // namespace vitrine
