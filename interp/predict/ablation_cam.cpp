// Ablation-CAM [Desai & Ramaswamy 2020, eq. 2]: no gradients. The weight of a map is the part of the score that is lost
// without it.
//
//   L = max(0, sum_k w_k A_k),  w_k = (s - s(A_k = 0)) / s
#include <algorithm>

#include "interp/runs/activation_map.h"
#include "interp/runs/edit.h"

namespace vitrine::methods {
namespace {

class AblationCam final : public ActivationMap {
 public:
  AblationCam(const AttributionCall& c, const Settings& s)
      : ActivationMap(c, s, Needs::maps, Sign::cut), edit_({node()}), value_(c.objective.value(model())) {
    PlanRequest request;
    request.graph = &model().graph();
    request.keep_values = {&value_, 1};
    request.observer = &edit_;
    if (value_ != model().graph().output) request.seeds = {&value_, 1};  // nothing after the value runs
    const Fit f = fit_batch(subject().engine(), request, subject().memory_budget());
    request.batch = std::min(f.batch, model().graph().shape(model().graph().nodes[node()].out).c() + 1);
    session_ = std::make_unique<Session>(subject().engine(), request, model().parameters, f.prepare);
  }

 private:
  // Copies of the image in a batch, each without another map; the very first with all of them.
  std::vector<double> combine(const Query& q, const Target& target, const NodeMaps& m, const Job& job) override {
    const std::int64_t each = q.x.shape.per_image();
    std::vector<double> scores;
    in_batches(m.channels + 1, session_->plan().request.batch, job, [&](std::int32_t first, std::int32_t count) {
      inputs_.resize(static_cast<std::size_t>(count * each));
      edit_.clear();
      for (std::int32_t n = 0; n < count; ++n) {
        std::copy_n(q.x.data, each, inputs_.begin() + n * each);
        if (first + n > 0) edit_.ablate_in(n, node(), first + n - 1, 1);
      }
      const TensorView x{inputs_.data(), q.x.shape.with_batch(count)};
      give_others(subject(), *session_, {.x = x, .first = q.first, .one_image = true});
      session_->forward(x);
      subject().count(count, 0, *session_);
      const HostTensor out = session_->peek(session_->run().value(value_));
      for (std::int32_t n = 0; n < count; ++n) scores.push_back(target.number(out.data + n * out.shape.per_image()));
    });
    std::vector<double> weights;
    for (std::int32_t k = 0; k < m.channels; ++k)
      weights.push_back(scores[0] != 0 ? (scores[0] - scores[static_cast<std::size_t>(k) + 1]) / scores[0] : 0);
    return weighted_sum(m, weights);
  }

  Edit edit_;
  Id value_;
  std::unique_ptr<Session> session_;
  std::vector<real> inputs_;
};

std::unique_ptr<Attribution> make(const AttributionCall& c, const Settings& s) {
  return std::make_unique<AblationCam>(c, s);
}

}  // namespace

extern const MethodEntry ablation_cam;
constinit const MethodEntry ablation_cam = {
    .card = {.name = "ablation-cam",
             .summary = "maps of a node weighted by what the score loses without them",
             .reference = "Desai & Ramaswamy 2020",
             .of = Of::representation,
             .promises = {.class_sensitivity = true},
             .forward_calls = "2 + channels of the node",
             .backward_calls = "0",
             .faithfulness_metric = "pointing-game",
             .settings = ActivationMap::usual_settings},
    .attribution = make};

}  // namespace vitrine::methods
