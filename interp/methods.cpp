// The list of methods: one line each. A method's file defines its entry under this name (interp/README.md says how).
#define VITRINE_METHODS(X) \
  X(gradient)              \
  X(input_x_gradient)      \
  X(integrated_gradients)  \
  X(smoothgrad)            \
  X(guided_backprop)       \
  X(deconvnet)             \
  X(grad_cam)              \
  X(guided_grad_cam)       \
  X(cam)                   \
  X(grad_cam_plus_plus)    \
  X(xgrad_cam)             \
  X(hires_cam)             \
  X(layer_cam)             \
  X(score_cam)             \
  X(ablation_cam)          \
  X(eigen_cam)             \
  X(occlusion)             \
  X(feature_ablation)      \
  X(shapley)               \
  X(kernel_shap)           \
  X(sampling_shapley)      \
  X(deep_shap)             \
  X(gradient_shap)         \
  X(lime)                  \
  X(deeplift)              \
  X(lrp)                   \
  X(evaluation)            \
  X(filter_metrics)        \
  X(rule_report)

#include "interp/result/registry.h"

namespace vitrine {
namespace methods {

#define VITRINE_DECLARE(name) extern const MethodEntry name;
VITRINE_METHODS(VITRINE_DECLARE)

#define VITRINE_LIST(name) &name,
constinit const MethodEntry* const list[] = {VITRINE_METHODS(VITRINE_LIST)};

}  // namespace methods

std::span<const MethodEntry* const> method_entries() { return methods::list; }

}  // namespace vitrine
