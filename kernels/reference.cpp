// Assembles the reference tables.
#include "kernels/conv/ref.h"
#include "kernels/eltwise/ref.h"
#include "kernels/explain/ref.h"
#include "kernels/filters/ref.h"
#include "kernels/gemm/ref.h"
#include "kernels/kernels.h"
#include "kernels/norm/ref.h"
#include "kernels/optim/ref.h"
#include "kernels/pool/ref.h"
#include "kernels/reduce/ref.h"
#include "kernels/resize/ref.h"
#include "kernels/softmax/ref.h"

namespace vitrine::kernels {
namespace {

template <class T>
constexpr Table<T> reference_table() noexcept {
  Table<T> t;
  t.gemm = {&ref::gemm_plan<T>, &ref::gemm_pack<T>, &ref::gemm_tile<T>};
  t.conv_forward = {&ref::conv_plan<T>, &ref::conv_pack<T>, &ref::conv_forward_tile<T>};
  t.conv_backward_data = {&ref::conv_plan<T>, &ref::conv_pack<T>, &ref::conv_backward_data_tile<T>};
  t.conv_backward_weights = {&ref::conv_plan<T>, &ref::conv_pack<T>, &ref::conv_backward_weights_tile<T>};
  t.max_pool_forward = &ref::max_pool_forward<T>;
  t.max_pool_ties = &ref::max_pool_ties<T>;
  t.max_pool_gather = &ref::max_pool_gather<T>;
  t.max_pool_scatter = &ref::max_pool_scatter<T>;
  t.avg_pool_forward = &ref::avg_pool_forward<T>;
  t.avg_pool_backward = &ref::avg_pool_backward<T>;
  t.map_forward = &ref::map_forward<T>;
  t.map_backward = &ref::map_backward<T>;
  t.rectify_backward = &ref::rectify_backward<T>;
  t.fill = &ref::fill<T>;
  t.scale = &ref::scale<T>;
  t.multiply = &ref::multiply<T>;
  t.combine = &ref::combine<T>;
  t.substitute = &ref::substitute<T>;
  t.copy = &ref::copy<T>;
  t.dropout = &ref::dropout<T>;
  t.normals = &ref::normals;
  t.stats = &ref::stats<T>;
  t.dot = &ref::dot<T>;
  t.channel_sum = &ref::channel_sum<T>;
  t.channel_affine = &ref::channel_affine<T>;
  t.norm_coefficients = &ref::norm_coefficients<T>;
  t.batch_norm_forward = &ref::batch_norm_forward<T>;
  t.batch_norm_backward = &ref::batch_norm_backward<T>;
  t.lrn_forward = &ref::lrn_forward<T>;
  t.lrn_backward = &ref::lrn_backward<T>;
  t.template_gate = &ref::template_gate<T>;
  t.peak_gate = &ref::peak_gate<T>;
  t.filter_state = &ref::filter_state<T>;
  t.filter_loss = {&ref::filter_loss_plan<T>, &ref::filter_loss_pack<T>, &ref::filter_loss_tile<T>};
  t.resize_forward = &ref::resize_forward<T>;
  t.resize_backward = &ref::resize_backward<T>;
  t.softmax_forward = &ref::softmax_forward<T>;
  t.softmax_backward = &ref::softmax_backward<T>;
  t.log_softmax_forward = &ref::log_softmax_forward<T>;
  t.log_softmax_backward = &ref::log_softmax_backward<T>;
  t.cross_entropy = &ref::cross_entropy<T>;
  t.sgd = &ref::sgd<T>;
  t.adam = &ref::adam<T>;
  t.relevance_quotient = &ref::relevance_quotient<T>;
  t.no_relevance = &ref::no_relevance<T>;
  t.relevance_product = &ref::relevance_product<T>;
  t.rescale_multiplier = &ref::rescale_multiplier<T>;
  t.cross_max = &ref::cross_max<T>;
  t.select_by_sign = &ref::select_by_sign<T>;
  t.pseudo_count = &ref::pseudo_count<T>;
  t.safe_divide = &ref::safe_divide<T>;
  return t;
}

/// Constant-initialised: usable before main, and no guard is needed in the embedded build.
template <class T>
constexpr Table<T> reference_slots = reference_table<T>();

}  // namespace

template <class T>
const Table<T>& reference() noexcept {
  return reference_slots<T>;
}

#ifdef VITRINE_EMBEDDED
template const Table<real>& reference<real>() noexcept;
#else
template const Table<float>& reference<float>() noexcept;
template const Table<double>& reference<double>() noexcept;
#endif

}  // namespace vitrine::kernels
