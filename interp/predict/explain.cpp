#include "interp/predict/explain.h"

#include <algorithm>
#include <cmath>

#include "interp/predict/method.h"
#include "models/merge.h"

namespace vitrine {
namespace {

std::span<const MethodEntry> entries() {
  // A function-local table: the settings live in other files, whose order of initialisation is not ours to choose.
  static const MethodEntry list[] = {
      {"gradient", "derivative of the target's logit", "Simonyan et al. 2014", false, true, {}},
      {"input-x-gradient", "input times gradient", "Shrikumar et al. 2016", false, true, {}},
      {"integrated-gradients", "mean gradient along the path from a baseline, times the difference",
       "Sundararajan et al. 2017", true, true, integrated_settings},
      {"smoothgrad", "any method, averaged over noisy copies of the input", "Smilkov et al. 2017", true, true,
       smoothgrad_settings},
      {"guided-backprop", "gradient rectified by signal and input", "Springenberg et al. 2015", false, true,
       reversed_settings},
      {"deconvnet", "gradient rectified by signal", "Zeiler & Fergus 2014", false, true, reversed_settings},
      {"grad-cam", "maps of a node weighted by their mean gradients", "Selvaraju et al. 2017", false, true,
       grad_cam_settings},
      {"guided-grad-cam", "Grad-CAM times guided backprop", "Selvaraju et al. 2017", false, false,
       guided_grad_cam_settings},
      {"occlusion", "fall of the score when windows are replaced", "Zeiler & Fergus 2014", false, false,
       occlusion_settings},
      {"deeplift", "differences from a baseline, by multipliers", "Shrikumar et al. 2017", true, true,
       deeplift_settings},
      {"lrp", "layer-wise relevance propagation by a composite of rules", "Bach et al. 2015", false, true,
       lrp_settings},
  };
  return list;
}

const MethodEntry& find(const std::string& name) {
  std::string known;
  for (const MethodEntry& e : entries()) {
    if (name == e.name) return e;
    known += (known.empty() ? "" : ", ") + std::string(e.name);
  }
  throw Error("unknown method '" + name + "': expected one of " + known, Error::usage);
}

Images make_baseline(const Images& x, const ExplainRequest& request) {
  Images b{x.shape, std::vector<real>(x.data.size(), 0)};
  const std::int64_t each = x.shape.per_image(), pixels = x.shape.pixels();
  if (request.baseline_images) {
    const Images& given = *request.baseline_images;
    if (given.shape.with_batch(1) != x.shape.with_batch(1) || (given.shape.n() != 1 && given.shape.n() != x.shape.n()))
      throw Error("the baseline has shape " + text(given.shape) + ", expected " + text(x.shape) + " or " +
                      text(x.shape.with_batch(1)),
                  Error::input);
    for (std::int32_t n = 0; n < x.shape.n(); ++n)
      std::copy_n(given.data.begin() + (given.shape.n() == 1 ? 0 : n * each), each, b.data.begin() + n * each);
    return b;
  }
  if (request.baseline == "zero") return b;
  if (request.baseline == "mean") {
    for (std::int64_t plane = 0; plane < std::int64_t{x.shape.n()} * x.shape.c(); ++plane) {
      double sum = 0;
      for (std::int64_t p = 0; p < pixels; ++p) sum += x.data[static_cast<std::size_t>(plane * pixels + p)];
      std::fill_n(b.data.begin() + plane * pixels, pixels, static_cast<real>(sum / static_cast<double>(pixels)));
    }
    return b;
  }
  if (request.baseline != "blur")
    throw Error("unknown baseline '" + request.baseline + "': expected zero, mean, blur or a .npy file", Error::usage);
  // Gaussian of an eighth of the shorter side, cut at 3 sigma, edges repeated; rows, then columns.
  const std::int32_t H = x.shape.h(), W = x.shape.w();
  const double sigma = std::max(1.0, std::min(H, W) / 8.0);
  const auto radius = static_cast<std::int32_t>(std::ceil(3 * sigma));
  std::vector<double> kernel;
  double total = 0;
  for (std::int32_t d = -radius; d <= radius; ++d)
    total += kernel.emplace_back(std::exp(-0.5 * d * d / (sigma * sigma)));
  std::vector<double> rows(static_cast<std::size_t>(pixels));
  for (std::int64_t plane = 0; plane < std::int64_t{x.shape.n()} * x.shape.c(); ++plane) {
    const real* const in = x.data.data() + plane * pixels;
    for (std::int32_t i = 0; i < H; ++i)
      for (std::int32_t j = 0; j < W; ++j) {
        double v = 0;
        for (std::int32_t d = -radius; d <= radius; ++d)
          v += kernel[static_cast<std::size_t>(d + radius)] * in[i * W + std::clamp(j + d, 0, W - 1)];
        rows[static_cast<std::size_t>(i * W + j)] = v / total;
      }
    for (std::int32_t i = 0; i < H; ++i)
      for (std::int32_t j = 0; j < W; ++j) {
        double v = 0;
        for (std::int32_t d = -radius; d <= radius; ++d)
          v += kernel[static_cast<std::size_t>(d + radius)] *
               rows[static_cast<std::size_t>(std::clamp(i + d, 0, H - 1) * W + j)];
        b.data[static_cast<std::size_t>(plane * pixels + i * W + j)] = static_cast<real>(v / total);
      }
  }
  return b;
}

void check_images(const Model& model, const Images& x) {
  const Shape expected = model.image_shape();
  if (x.shape.with_batch(1) != expected || x.shape.n() < 1)
    throw Error("the input has shape " + text(x.shape) + ", but the network takes (N," + text(expected).substr(3));
  unsigned bad = 0;  // without branches: the compiler makes vectors of it
  for (const real v : x.data) bad |= static_cast<unsigned>(!(v * 0 == 0));
  for (std::size_t i = 0; bad != 0 && i < x.data.size(); ++i)
    if (!std::isfinite(x.data[i]))
      throw Error("the input is not finite at element " + std::to_string(i) +
                  ": relevance of NaN or infinity has no meaning");
}

}  // namespace

std::span<const MethodEntry> method_entries() { return entries(); }

void in_batches(const MethodContext& c, std::int32_t n, std::int32_t batch,
                const std::function<void(std::int32_t, std::int32_t)>& body) {
  for (std::int32_t first = 0; first < n; first += batch) {
    if (c.request.stop && c.request.stop()) throw Error("stopped");
    body(first, std::min(batch, n - first));
  }
}

void in_batches(const MethodContext& c, std::int32_t n, const Walk& walk,
                const std::function<void(std::int32_t, std::int32_t)>& body) {
  const std::int32_t first = n < walk.lanes() ? 0 : n - n % walk.lanes();
  in_batches(c, first, walk.batch() < walk.lanes() ? walk.batch() : walk.batch() - walk.batch() % walk.lanes(), body);
  in_batches(c, n - first, walk.batch(), [&](std::int32_t begin, std::int32_t count) { body(first + begin, count); });
}

std::unique_ptr<Method> make_method(const MethodContext& c, const std::string& name,
                                    const std::map<std::string, std::string>& given) {
  const MethodEntry& entry = find(name);
  std::map<std::string, std::string> own = given;
  if (name == "smoothgrad") std::erase_if(own, [](const auto& pair) { return pair.first.starts_with("of."); });
  const Settings s("method " + name, entry.settings, own);
  if (!c.request.rules.empty() && !entry.takes_rules)
    throw Error("method " + name + " walks with fixed rules: it takes no --rule", Error::usage);
  if (c.request.composite != nullptr && name != "lrp" && name != "smoothgrad")
    throw Error("method " + name + " takes no --composite: it is for method lrp", Error::usage);
  if (name == "integrated-gradients") return make_integrated_gradients(c, s);
  if (name == "smoothgrad") return make_smoothgrad(c, s);
  if (name == "grad-cam" || name == "guided-grad-cam") return make_grad_cam(c, s, name == "guided-grad-cam");
  if (name == "occlusion") return make_occlusion(c, s);
  return make_walk_method(c, name, s);
}

const Model& Merged::model() {
  if (!copy_ && has_mergeable_batch_norm(model_)) copy_ = std::make_unique<const Model>(merge_batch_norms(model_));
  return copy_ ? *copy_ : model_;
}

Predictor::Predictor(const Model& model, const Engine& engine, std::size_t budget)
    : Predictor(model, engine, no_id, budget) {}

Predictor::Predictor(const Model& model, const Engine& engine, Id value, std::size_t budget, bool prepare)
    : model_(model), merged_(std::make_unique<Merged>(model)), value_(value) {
  // An inner value has its id in this graph alone.
  const Model& own = value == no_id || value == model.logits() ? merged_->model() : model;
  if (value == no_id) value_ = own.graph().output;
  if (value == model.logits()) value_ = own.logits();
  PlanRequest request;
  request.graph = &own.graph();
  request.keep_values = {&value_, 1};
  const Fit f = fit(engine, request, budget);
  request.batch = f.batch;
  session_ = std::make_unique<Session>(engine, request, own.parameters, prepare && f.prepare);
}

Predictor::~Predictor() = default;

std::vector<real> Predictor::predict(const Images& x, const Given& given) {
  check_images(model_, x);
  given.check_images(model_, x.shape.n());
  const std::int32_t batch = session_->plan().request.batch;
  std::vector<real> out;
  for (std::int32_t first = 0; first < x.shape.n(); first += batch) {
    const std::int32_t count = std::min(batch, x.shape.n() - first);
    given.give(*session_, first, count);
    session_->forward(x.view().images(first, count));
    const HostTensor y = session_->download(session_->run().value(value_));
    out.insert(out.end(), y.data, y.data + y.size());
  }
  return out;
}

Explainer::Explainer(const Model& model, const Engine& engine, ExplainRequest request)
    : model_(model),
      engine_(engine),
      request_(std::move(request)),
      merged_(std::make_unique<Merged>(model_)),
      method_(make_method({model_, engine_, request_, *merged_, {request_.images, false}}, request_.method,
                          request_.settings)) {
  const int classes = static_cast<int>(model.graph().shape(model.logits()).per_image());
  if (request_.target && (*request_.target < 0 || *request_.target >= classes))
    throw Error(
        "target " + std::to_string(*request_.target) + " is no class: expected 0 to " + std::to_string(classes - 1),
        Error::usage);
  if (!method_->has_baseline() && (request_.baseline_images || request_.baseline != "zero"))
    throw Error("method " + request_.method + " has no baseline", Error::usage);
}

Explainer::~Explainer() = default;

// Scores come from the logits, also where the network ends in a softmax. One forward run beside a method's many is not
// worth weights prepared for it.
std::vector<real> Explainer::scores(const Images& x) {
  if (!scores_)
    scores_ = std::make_unique<Predictor>(merged_->model(), engine_, merged_->model().logits(), request_.memory_budget,
                                          false);
  return scores_->predict(x);
}

Explanation Explainer::explain(const Images& x) {
  check_images(model_, x);
  const auto classes = static_cast<std::size_t>(model_.graph().shape(model_.logits()).per_image());
  Explanation e;
  e.shape = x.shape;
  const auto images = static_cast<std::size_t>(x.shape.n());
  if (method_->scores_inputs()) {
    e.target.assign(images, request_.target.value_or(Method::predicted));
  } else {
    const std::vector<real> all = scores(x);
    for (std::size_t n = 0; n < images; ++n) {
      const real* const row = all.data() + n * classes;
      e.target.push_back(request_.target ? *request_.target
                                         : static_cast<int>(std::max_element(row, row + classes) - row));
      e.score.push_back(row[e.target.back()]);
    }
  }
  Images baseline;
  if (method_->has_baseline()) {
    baseline = make_baseline(x, request_);
    const std::vector<real> at = method_->scores_inputs() ? std::vector<real>() : scores(baseline);
    for (std::size_t n = 0; n < images && !at.empty(); ++n)
      e.baseline_score.push_back(at[n * classes + static_cast<std::size_t>(e.target[n])]);
  }
  e.relevance.resize(x.data.size());
  method_->ledger.clear();
  method_->attribute(x.view(), e.target, baseline.view(), e.relevance.data());
  if (method_->scores_inputs()) {
    e.target = method_->scored.target;
    e.score = method_->scored.score;
    e.baseline_score = method_->scored.baseline;
  }
  e.complete = method_->complete();
  for (LedgerRow& row : method_->ledger)
    if (!row.node.empty()) e.ledger.push_back(std::move(row));
  if (request_.ledger && e.ledger.empty())
    throw Error("method " + request_.method + " does not walk once over the graph, so it has no ledger", Error::usage);
  return e;
}

Explanation explain(const Model& model, const Engine& engine, const Images& x, const ExplainRequest& request) {
  ExplainRequest own = request;
  own.images = x.shape.n();
  return Explainer(model, engine, own).explain(x);
}

std::vector<real> predict(const Model& model, const Engine& engine, const Images& x, std::size_t budget) {
  return Predictor(model, engine, budget).predict(x);
}

}  // namespace vitrine
