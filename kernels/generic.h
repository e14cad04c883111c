// Fills a table with the vector kernels of one instruction set.
#pragma once

#include "kernels/conv/generic.h"
#include "kernels/conv/weights.h"
#include "kernels/eltwise/generic.h"
#include "kernels/explain/generic.h"
#include "kernels/gemm/generic.h"
#include "kernels/norm/generic.h"
#include "kernels/optim/generic.h"
#include "kernels/pool/generic.h"
#include "kernels/reduce/generic.h"
#include "kernels/softmax/generic.h"

namespace vitrine::kernels {
namespace {

template <class S>
VITRINE_INLINE void fill_table(Table<float>& t) {
  using V = typename S::Vec;
  t.gemm.plan = &Gemm<V>::plan;
  t.gemm.pack = &Gemm<V>::pack;
  t.gemm.tile = &Gemm<V>::tile;
  using Forward = Conv<V, true>;
  t.conv_forward.plan = &Forward::plan;
  t.conv_forward.pack = &Forward::pack;
  t.conv_forward.tile = &Forward::tile;
  using Backward = Conv<V, false>;
  t.conv_backward_data.plan = &Backward::plan;
  t.conv_backward_data.pack = &Backward::pack;
  t.conv_backward_data.tile = &Backward::tile;
  t.conv_backward_weights.plan = &WeightGradient<V>::plan;
  t.conv_backward_weights.pack = &WeightGradient<V>::pack;
  t.conv_backward_weights.tile = &WeightGradient<V>::tile;
  t.lanes = V::width;
  t.takes_lanes = &WeightGradient<V>::takes_lanes;
  t.max_pool_forward = &max_pool_forward<V>;
  t.max_pool_gather = &max_pool_gather<V>;
  t.max_pool_scatter = &max_pool_scatter<V>;
  t.avg_pool_forward = &avg_pool_forward<V>;
  t.avg_pool_backward = &avg_pool_backward<V>;
  t.map_forward = &map_forward<V>;
  t.map_backward = &map_backward<V>;
  t.rectify_backward = &rectify_backward<V>;
  t.fill = &fill<V>;
  t.scale = &scale<V>;
  t.multiply = &multiply<V>;
  t.combine = &combine<V>;
  t.substitute = &substitute<V>;
  t.copy = &copy<V>;
  t.dropout = &dropout<V>;
  t.normals = &normals<V>;
  t.stats = &stats<S>;
  t.dot = &dot<S>;
  t.channel_sum = &channel_sum<S>;
  t.channel_affine = &channel_affine<V>;
  t.batch_norm_forward = &batch_norm_forward<V>;
  t.batch_norm_backward = &batch_norm_backward<V>;
  t.softmax_forward = &softmax_forward<V>;
  t.softmax_backward = &softmax_backward<V>;
  t.cross_entropy = &cross_entropy<S>;
  t.sgd = &sgd<V>;
  t.adam = &adam<V>;
  t.relevance_quotient = &relevance_quotient<V>;
  t.no_relevance = &no_relevance<V>;
  t.relevance_product = &relevance_product<V>;
  t.rescale_multiplier = &rescale_multiplier<V>;
  t.cross_max = &cross_max<V>;
  t.select_by_sign = &select_by_sign<V>;
  t.pseudo_count = &pseudo_count<V>;
  t.safe_divide = &safe_divide<V>;
}

}  // namespace
}  // namespace vitrine::kernels
