// Fills a table with the vector kernels of one instruction set.
#pragma once

#include "kernels/conv/ways.h"
#include "kernels/eltwise/generic.h"
#include "kernels/explain/generic.h"
#include "kernels/gemm/ways.h"
#include "kernels/norm/generic.h"
#include "kernels/optim/generic.h"
#include "kernels/pool/generic.h"
#include "kernels/pool/ties.h"
#include "kernels/reduce/generic.h"
#include "kernels/softmax/generic.h"

namespace vitrine::kernels {
namespace {

template <class S>
VITRINE_INLINE void fill_table(Table<float>& t) {
  using V = typename S::Vec;
  t.gemm = by_ways<Gemm<V>, GemmArgs<float>>();
  t.conv_forward = conv_by_ways<ConvForward<V>>();
  t.conv_backward_data = conv_by_ways<ConvBackwardData<V>>();
  t.conv_backward_weights = conv_by_ways<ConvBackwardWeights<V>>();
  t.lanes = V::width;
  t.takes_interleaved = &takes_interleaved<V>;
  t.max_pool_forward = &MaxPoolForward<V>::run;
  t.choices.max_pool_forward = &MaxPoolForward<V>::choice;
  t.max_pool_ties = &max_pool_ties<V>;
  t.max_pool_gather = &max_pool_gather<V>;
  t.max_pool_scatter = &MaxPoolScatter<V>::run;
  t.choices.max_pool_scatter = &MaxPoolScatter<V>::choice;
  t.avg_pool_forward = &avg_pool_forward<V>;
  t.avg_pool_backward = &AvgPoolBackward<V>::run;
  t.choices.avg_pool_backward = &AvgPoolBackward<V>::choice;
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
