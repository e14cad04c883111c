// Class activation maps: Grad-CAM and guided Grad-CAM [Selvaraju et al. 2017]. Attribution spec section 11.
#include <algorithm>
#include <cmath>

#include "interp/predict/method.h"

namespace vitrine {
namespace {

constexpr Setting grad_cam_list[] = {
    {Setting::text, "node", "",
     "whose maps are weighted (default: the last activation, else convolution, that still has an extent)"},
    {Setting::choice, "upsample", "bilinear", "from the node's extent to the image's", "bilinear|nearest"},
};
constexpr Setting guided_grad_cam_list[] = {
    grad_cam_list[0],
    grad_cam_list[1],
    {Setting::choice, "other", "refuse", "guided backprop at activations that are no rectifiers", "refuse|gradient"},
};

// One plane of h x w to H x W, half-pixel centres, clamped at the borders.
void upsample(const std::vector<double>& from, std::int32_t h, std::int32_t w, std::int32_t H, std::int32_t W,
              bool bilinear, std::vector<double>& to) {
  to.resize(static_cast<std::size_t>(H) * static_cast<std::size_t>(W));
  const auto at = [&](std::int32_t y, std::int32_t x) {
    return from[static_cast<std::size_t>(std::clamp(y, 0, h - 1)) * static_cast<std::size_t>(w) +
                static_cast<std::size_t>(std::clamp(x, 0, w - 1))];
  };
  for (std::int32_t Y = 0; Y < H; ++Y)
    for (std::int32_t X = 0; X < W; ++X) {
      double& out = to[static_cast<std::size_t>(Y) * static_cast<std::size_t>(W) + static_cast<std::size_t>(X)];
      if (!bilinear) {
        out =
            at(static_cast<std::int32_t>(std::int64_t{Y} * h / H), static_cast<std::int32_t>(std::int64_t{X} * w / W));
        continue;
      }
      const double y = std::max(0.0, (Y + 0.5) * h / H - 0.5), x = std::max(0.0, (X + 0.5) * w / W - 0.5);
      const auto y0 = static_cast<std::int32_t>(y), x0 = static_cast<std::int32_t>(x);
      const double fy = y - y0, fx = x - x0;
      out = (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x0 + 1)) +
            fy * ((1 - fx) * at(y0 + 1, x0) + fx * at(y0 + 1, x0 + 1));
    }
}

Id default_node(const Model& model) {
  const Graph& g = model.graph();
  Id activation = no_id, conv = no_id;
  for (Id i = 0; i < g.nodes.size(); ++i) {
    if (g.shape(g.nodes[i].out).pixels() <= 1) continue;
    if (g.nodes[i].op->klass() == OpClass::pointwise) activation = i;
    if (matches("conv*", g.nodes[i].op->name())) conv = i;
  }
  if (activation == no_id && conv == no_id)
    throw Error("grad-cam: no node of this network has maps of more than one pixel", Error::usage);
  return conv == no_id || (activation != no_id && activation > conv) ? activation : conv;
}

class GradCam final : public Method {
 public:
  GradCam(const MethodContext& c, const Settings& s, std::unique_ptr<Method> guided)
      : context_(c), bilinear_(s.text("upsample") == "bilinear"), guided_(std::move(guided)), assignment_(c.model) {
    const Id node = s.text("node").empty() ? default_node(c.model) : c.model.node(s.text("node"));
    value_ = c.model.graph().nodes[node].out;
    RuleSet set(assignment_.arena());
    assignment_.fill(set.make<GradientRule>());
    assignment_.override_with(c.request.rules);
    walk_ = std::make_unique<Walk>(c.model, c.engine, assignment_.rules,
                                   Walk::Options{.until = value_, .keep = {value_}, .together = context_.together},
                                   c.request.memory_budget);
    if (walk_->session().plan().signals[value_] == not_planned)
      throw Error(s.owner() + ": node " + s.text("node") + " does not lead to the output", Error::usage);
  }

  void attribute(const TensorView& x, std::span<const int> targets, const TensorView& baseline,
                 real* relevance) override {
    if (guided_) guided_->attribute(x, targets, baseline, relevance);
    std::vector<double> map, large;
    in_batches(context_, x.shape.n(), *walk_, [&](std::int32_t first, std::int32_t count) {
      walk_->run(x.images(first, count), nullptr,
                 targets.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), Walk::Seed::one);
      const HostTensor a = walk_->session().download(walk_->session().run().value(value_)), s = walk_->signal();
      const std::int64_t pixels = a.shape.pixels();
      for (std::int32_t n = 0; n < count; ++n) {
        map.assign(static_cast<std::size_t>(pixels), 0.0);
        for (std::int32_t k = 0; k < a.shape.c(); ++k) {
          const real *const activation = a.data + (std::int64_t{n} * a.shape.c() + k) * pixels,
                            *const slope = s.data + (std::int64_t{n} * a.shape.c() + k) * pixels;
          double weight = 0;
          for (std::int64_t p = 0; p < pixels; ++p) weight += slope[p];
          weight /= static_cast<double>(pixels);
          for (std::int64_t p = 0; p < pixels; ++p) map[static_cast<std::size_t>(p)] += weight * activation[p];
        }
        for (double& v : map) v = std::max(v, 0.0);
        upsample(map, a.shape.h(), a.shape.w(), x.shape.h(), x.shape.w(), bilinear_, large);
        real* const out = relevance + (first + n) * x.shape.per_image();
        for (std::int32_t c = 0; c < x.shape.c(); ++c)
          for (std::size_t p = 0; p < large.size(); ++p) {
            real& r = out[static_cast<std::size_t>(c) * large.size() + p];
            r = static_cast<real>(guided_ ? r * large[p] : large[p]);
          }
      }
    });
  }

 private:
  MethodContext context_;
  bool bilinear_;
  std::unique_ptr<Method> guided_;
  Assignment assignment_;
  Id value_ = no_id;
  std::unique_ptr<Walk> walk_;
};

}  // namespace

const std::span<const Setting> grad_cam_settings = grad_cam_list, guided_grad_cam_settings = guided_grad_cam_list;

std::unique_ptr<Method> make_grad_cam(const MethodContext& c, const Settings& s, bool guided) {
  return std::make_unique<GradCam>(c, s,
                                   guided ? make_method(c, "guided-backprop", {{"other", s.text("other")}}) : nullptr);
}

}  // namespace vitrine
