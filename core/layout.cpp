#include "core/layout.h"

namespace vitrine {
namespace {

// Between an interleaved tensor and the same elements, planar. `into`: into the interleaved one.
void interleave(const Context& ctx, const TensorView& interleaved, real* planar, bool into, bool add) noexcept {
  const std::int64_t block = interleaved.block, size = interleaved.shape.per_image();
  ctx.ranges(interleaved.shape.n() / block, elementwise_grain / (size * block) + 1,
             [&](std::int64_t begin, std::int64_t end) noexcept {
               const std::int64_t first = begin * size * block;
               kernels::CopyArgs<real> a;
               a.size[0] = end - begin;
               a.size[2] = into ? size : block;
               a.size[3] = into ? block : size;
               a.src = (into ? planar : interleaved.data) + first;
               a.dst = (into ? interleaved.data : planar) + first;
               a.src_stride[0] = a.dst_stride[0] = size * block;
               a.src_stride[2] = a.dst_stride[3] = 1;
               a.src_stride[3] = into ? size : block;
               a.dst_stride[2] = into ? block : size;
               a.add = add;
               ctx->copy(a);
             });
}

}  // namespace

void relayout(const Context& ctx, const TensorView& from, const TensorView& to, bool add) noexcept {
  if (from.block == to.block) {
    ctx.ranges(to.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
      ctx->scale(real{1}, from.data + begin, to.data + begin, end - begin, add);
    });
  } else if (to.block > 1) {
    interleave(ctx, to, from.data, true, add);
  } else {
    interleave(ctx, from, to.data, false, add);
  }
}

}  // namespace vitrine
