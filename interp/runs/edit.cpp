#include "interp/runs/edit.h"

#include <algorithm>

namespace vitrine {

bool Edit::watches(Id node) const noexcept {
  return std::find(watched_.begin(), watched_.end(), node) != watched_.end();
}

Status Edit::after_forward(const Context& ctx, const Graph&, Id node, const NodeIO& io, const NodeIO*) noexcept {
  const std::int64_t each = io.out.shape.per_image(), pixels = io.out.shape.pixels();
  for (const Change& c : changes_) {
    if (c.node != node) continue;
    if (c.kind != Kind::ablate && c.what.shape.per_image() != each)
      return ctx.fail(Status::bad_shape, "is to be changed by values of another shape", c.what.shape, io.out.shape);
    if (c.kind == Kind::ablate && (c.first < 0 || c.first + c.count > io.out.shape.c()))
      return ctx.fail(Status::bad_argument, "has fewer channels than are to be ablated");
    const std::int32_t begin = std::max(0, c.image), end = c.image < 0 ? io.out.shape.n() : c.image + 1;
    if (end > io.out.shape.n()) return ctx.fail(Status::bad_argument, "has no such image to be changed");
    for (std::int32_t n = begin; n < end; ++n) {
      real* const result = io.out.data + n * each;
      if (c.kind == Kind::ablate)
        ctx->fill(real{0}, result + c.first * pixels, c.count * pixels);
      else
        ctx->scale(c.kind == Kind::add ? c.factor : real{1}, c.what.data, result, each, c.kind == Kind::add);
    }
  }
  return Status::ok;
}

}  // namespace vitrine
