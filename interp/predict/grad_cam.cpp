// Grad-CAM and guided Grad-CAM [Selvaraju et al. 2017, eq. 1 and 2]: maps A_k of a node, each weighted by the mean of
// its gradient.
//
//   L(y,x) = max(0, sum_k w_k A_k(y,x)),  w_k = mean over (y,x) of d s / d A_k(y,x)
//
// enlarged to the image's extent, the same at every channel; guided: times guided backprop.
#include <algorithm>

#include "interp/math/resize.h"
#include "interp/runs/feature_maps.h"
#include "interp/runs/one_walk.h"

namespace vitrine::methods {
namespace {

constexpr Setting node_setting = {
    Setting::text, "node", "",
    "whose maps are weighted (default: the last feature maps, which everything that is explained passes through)"};
constexpr Setting upsample_setting = {Setting::choice, "upsample", "bilinear", "from the node's extent to the image's",
                                      "bilinear|nearest"};
constexpr Setting settings[] = {node_setting, upsample_setting};
constexpr Setting guided_settings[] = {
    node_setting,
    upsample_setting,
    {Setting::choice, "other", "refuse", "guided backprop at activations that are no rectifiers", "refuse|gradient"},
};

class GradCam final : public Attribution {
 public:
  GradCam(const AttributionCall& c, const Settings& s, std::unique_ptr<Attribution> guided)
      : bilinear_(s.text("upsample") == "bilinear"), guided_(std::move(guided)), assignment_(c.subject.model()) {
    const Model& model = c.subject.model();
    const Id node =
        s.text("node").empty() ? last_feature_maps(model, c.objective, s.owner()) : model.node(s.text("node"));
    value_ = model.graph().nodes[node].out;
    note_ = "maps of " + std::string(model.graph().nodes[node].name);
    assignment_.fill_gradient();
    assignment_.override_with(c.rules);
    walk_ = std::make_unique<Walk>(c.subject, model, assignment_.rules, c.objective,
                                   Walk::Options{.until = value_, .keep = {value_}, .demand = c.demand});
    if (!walk_->session().plan().signal(value_).planned())
      throw Error(s.owner() + ": node " + model.graph().nodes[node].name + " does not lead to what is explained",
                  Error::usage);
  }

  Answer attribute(const Query& q, const Job& job) override {
    Answer answer;
    answer.note = note_;
    answer.relevance.resize(static_cast<std::size_t>(q.x.size()));
    if (guided_) answer.relevance = guided_->attribute(q, job.part(0, 0.5)).relevance;
    walk_->in_batches(q.x.shape.n(), job.part(guided_ ? 0.5 : 0, 1), [&](std::int32_t first, std::int32_t count) {
      walk_->run(q.part(first, count), Walk::Seed::weights);
      const HostTensor a = walk_->value(value_), s = walk_->signal();
      for (std::int32_t n = 0; n < count; ++n) {
        weigh(a, s, n);
        const std::vector<double> large =
            resize_plane(map_, a.shape.h(), a.shape.w(), q.x.shape.h(), q.x.shape.w(), bilinear_);
        real* const out = answer.relevance.data() + (first + n) * q.x.shape.per_image();
        for (std::int32_t c = 0; c < q.x.shape.c(); ++c)
          for (std::size_t p = 0; p < large.size(); ++p) {
            real& r = out[static_cast<std::size_t>(c) * large.size() + p];
            r = static_cast<real>(guided_ ? r * large[p] : large[p]);
          }
      }
    });
    return answer;
  }

 private:
  // The map of image n, before it is enlarged.
  void weigh(const HostTensor& a, const HostTensor& s, std::int32_t n) {
    const std::int64_t pixels = a.shape.pixels();
    map_.assign(static_cast<std::size_t>(pixels), 0.0);
    for (std::int32_t k = 0; k < a.shape.c(); ++k) {
      const real *const activation = a.data + (std::int64_t{n} * a.shape.c() + k) * pixels,
                        *const slope = s.data + (std::int64_t{n} * a.shape.c() + k) * pixels;
      double weight = 0;
      for (std::int64_t p = 0; p < pixels; ++p) weight += slope[p];
      weight /= static_cast<double>(pixels);
      for (std::int64_t p = 0; p < pixels; ++p) map_[static_cast<std::size_t>(p)] += weight * activation[p];
    }
    for (double& v : map_) v = std::max(v, 0.0);
  }

  bool bilinear_;
  std::string note_;
  std::unique_ptr<Attribution> guided_;
  Assignment assignment_;
  Id value_ = no_id;
  std::unique_ptr<Walk> walk_;
  std::vector<double> map_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<GradCam>(c, s, nullptr);
}

std::unique_ptr<Attribution> make_guided(const AttributionCall& c, const Settings& s) {
  AttributionCall guided = c;
  guided.settings = {{"other", s.text("other")}};
  return std::make_unique<GradCam>(c, s, make_attribution("guided-backprop", guided));
}

}  // namespace

extern const MethodEntry grad_cam;
constinit const MethodEntry grad_cam = {.card = {.name = "grad-cam",
                                                 .summary = "maps of a node weighted by their mean gradients",
                                                 .reference = "Selvaraju et al. 2017",
                                                 .of = Of::representation,
                                                 .promises = {.class_sensitivity = true},
                                                 .faithfulness_metric = "pointing-game",
                                                 .takes_rules = true,
                                                 .settings = settings},
                                        .attribution = make};

extern const MethodEntry guided_grad_cam;
constinit const MethodEntry guided_grad_cam = {.card = {.name = "guided-grad-cam",
                                                        .summary = "Grad-CAM times guided backprop",
                                                        .reference = "Selvaraju et al. 2017",
                                                        .promises = {.class_sensitivity = true},
                                                        .forward_calls = "2",
                                                        .backward_calls = "2",
                                                        .faithfulness_metric = "pointing-game",
                                                        .settings = guided_settings},
                                               .attribution = make_guided};

}  // namespace vitrine::methods
