// The inside of explain.h: what a method is, and the pieces that several methods share.
#pragma once

#include "interp/predict/explain.h"

namespace vitrine {

/// Nodes and weights of a quadrature on [0,1], weights summing to 1 (attribution spec 2.4).
struct Quadrature {
  std::vector<double> at, weight;
};
Quadrature make_quadrature(const std::string& rule, int steps);

/// One explanation method, bound to a model.
class Method {
 public:
  virtual ~Method() = default;
  /// Writes the relevance of `x` (all images at once, any number), for one target class an image. `baseline` has x's
  /// shape; methods without a baseline ignore it.
  virtual void attribute(const TensorView& x, std::span<const int> targets, const TensorView& baseline,
                         real* relevance) = 0;
  /// Whether attribute() meets the scores on its way: it then takes `predicted` for a target and fills `scored`. Other
  /// methods are told the targets.
  virtual bool scores_inputs() const { return false; }
  static constexpr int predicted = -1;
  struct Scored {
    std::vector<int> target;              ///< an image
    std::vector<double> score, baseline;  ///< the target's logit, at the image and at its baseline
  };
  Scored scored;
  virtual bool complete() const { return false; }
  virtual bool has_baseline() const { return false; }
  std::vector<LedgerRow> ledger;
};

/// How many images come together, as far as is known (0: it is not), and whether a method makes them of one.
struct Together {
  std::int32_t images = 0;
  bool path = false;
};

/// A session for one walk from the logits to `until`, in batches that fit the budget.
class Walk {
 public:
  struct Options {
    Id until = no_id;           ///< default: the input
    std::vector<Id> keep = {};  ///< values that stay readable
    bool reference = false, one_reference = false, ledger = false;
    int channels = 1;
    Observer* observer = nullptr;
    std::int32_t batch = 0;  ///< 0: as many as fit
    Together together{};
  };
  Walk(const Model&, const Engine&, const std::vector<const Rule*>& rules, Options, std::size_t budget);

  /// Runs one batch (at most batch()) forward and back, with `reference` an image each (one_reference: the first is
  /// that of all). The seed is `seed(logit)` at each image's target, else 0. Where a target is Method::predicted it is
  /// the class of the largest logit. Appends to `scored` unless that is null.
  enum class Seed { one, logit };
  void run(const TensorView& x, const TensorView* reference, std::span<const int> targets, Seed,
           Method::Scored* scored = nullptr);
  /// Forward alone, of one batch and its baselines: appends to `scored`.
  void score(const TensorView& x, const TensorView& baseline, std::span<const int> targets, Method::Scored& scored);
  std::int32_t batch() const noexcept { return options_.batch; }
  /// Batches that this divides run fastest.
  std::int32_t lanes() const noexcept;
  HostTensor signal(int channel = 0) const {
    return session_->download(session_->run().signal(options_.until, channel));
  }
  Session& session() noexcept { return *session_; }
  void collect(std::vector<LedgerRow>&) const;

 private:
  /// What is asked for, or the class of the largest logit of image n.
  static int target_of(const HostTensor& logits, std::int32_t n, int asked);
  void run_reference(const TensorView& images);

  const Model& model_;
  Options options_;
  Id logits_;
  std::vector<const Rule*> rules_;
  std::unique_ptr<Session> session_;
  std::vector<LedgerLine> lines_;
  std::vector<real> seed_;
  std::vector<real> reference_;  ///< one_reference: the image that the session's reference run has seen
};

/// A network with its batch norms merged into the layers before them: one copy, made when first asked for, for all who
/// ask.
class Merged {
 public:
  explicit Merged(const Model& model) noexcept : model_(model) {}
  Merged(const Merged&) = delete;
  /// The network itself where there are none to merge.
  const Model& model();

 private:
  const Model& model_;
  std::unique_ptr<const Model> copy_;
};

/// How many images a session takes at once, and whether its weights are kept prepared for the kernels.
struct Fit {
  std::int32_t batch;
  bool prepare;
};
/// As fits the budget in bytes, but no larger a batch than is any faster: 1 to 64 images, of which each takes `beside`
/// bytes more than the plan knows of. Of many images a small share is spent on preparing large weights anew for each
/// batch, so that they need not be kept.
Fit fit(const Engine&, PlanRequest, std::size_t budget, Together together = {}, std::size_t beside = 0);

/// What methods are made from.
struct MethodContext {
  const Model& model;
  const Engine& engine;
  const ExplainRequest& request;
  Merged& merged;  ///< of the explained model
  Together together{};
  /// The same over the merged network.
  MethodContext over_merged() const { return {merged.model(), engine, request, merged, together}; }
};

// One file a family: walks.cpp (gradient, LRP, DeepLIFT, reversed networks), wrappers.cpp (integrated gradients,
// SmoothGrad), maps.cpp (Grad-CAM), occlusion.cpp.
std::unique_ptr<Method> make_walk_method(const MethodContext&, const std::string& name, const Settings&);
std::unique_ptr<Method> make_integrated_gradients(const MethodContext&, const Settings&);
std::unique_ptr<Method> make_smoothgrad(const MethodContext&, const Settings&);
std::unique_ptr<Method> make_grad_cam(const MethodContext&, const Settings&, bool guided);
std::unique_ptr<Method> make_occlusion(const MethodContext&, const Settings&);

/// Any method by name.
std::unique_ptr<Method> make_method(const MethodContext&, const std::string& name,
                                    const std::map<std::string, std::string>& settings);

/// Calls body(first, count) for batches of at most `batch` images of n, reporting progress and honouring stop.
void in_batches(const MethodContext&, std::int32_t n, std::int32_t batch,
                const std::function<void(std::int32_t, std::int32_t)>& body);
/// The same for a walk: batches of at most its size, cut where its vectors end (Walk::lanes); the images that fill none
/// come last.
void in_batches(const MethodContext&, std::int32_t n, const Walk&,
                const std::function<void(std::int32_t, std::int32_t)>& body);

extern const std::span<const Setting> deeplift_settings, reversed_settings, integrated_settings, smoothgrad_settings,
    grad_cam_settings, guided_grad_cam_settings, occlusion_settings;

}  // namespace vitrine
