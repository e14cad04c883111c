#include "layers/rule_embedded.h"

#include "layers/pool.h"
#include "layers/view.h"

namespace vitrine {

Status AffineMap::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                        std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (!(factor - factor == 0) || !(shift - shift == 0))
    return ctx.fail(Status::bad_argument, "needs a finite factor and shift");
  out = in[0];
  return Status::ok;
}

void AffineMap::coefficients(const Context& ctx, const NodeIO& io, Substitute w, Substitute b, real* scale,
                             real* shift_out) const noexcept {
  const auto fill = [&](Substitute sub, real v, real* out) {
    const real positive = v > 0 ? v : real{0}, negative = v < 0 ? v : real{0};
    const real mapped = sub.kind == Substitute::one ? real{1}
                        : sub.kind == Substitute::square
                            ? v * v
                            : static_cast<real>(sub.p) * positive + static_cast<real>(sub.n) * negative;
    ctx->fill(mapped, out, io.in[0].shape.c());
  };
  if (scale != nullptr) fill(w, factor, scale);
  if (shift_out != nullptr) fill(b, shift, shift_out);
}

Status LocalMaximum::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                           std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || !par.empty()) return ctx.fail(Status::bad_graph, "takes one input and no parameter");
  if (radius < 1) return ctx.fail(Status::bad_argument, "needs a radius of at least 1");
  out = in[0];
  return Status::ok;
}

Status LocalMaximum::gate(const Context& ctx, const NodeIO&, const TensorView& x, const TensorView& s,
                          const Sink& y) const noexcept {
  ctx.ranges(std::int64_t{x.shape.n()} * x.shape.c(), elementwise_grain / x.shape.pixels() + 1,
             [&](std::int64_t begin, std::int64_t end) noexcept {
               kernels::PeakArgs<real> a;
               a.first = begin;
               a.last = end;
               a.h = x.shape.h();
               a.w = x.shape.w();
               a.radius = radius;
               a.x = x.data;
               a.s = s.data;
               a.y = y.data;
               a.add = y.add;
               ctx->peak_gate(a);
             });
  return Status::ok;
}

Id affine_map(GraphBuilder& g, Id x, float factor, float shift, const char* name) noexcept {
  AffineMap* op = g.make<AffineMap>();
  if (op != nullptr) op->factor = factor, op->shift = shift;
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

Id local_maximum(GraphBuilder& g, Id x, std::int32_t radius, const char* name) noexcept {
  LocalMaximum* op = g.make<LocalMaximum>();
  if (op != nullptr) op->radius = radius;
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

namespace {

// NAME.suffix, cut to what fits.
struct Named {
  char text[256] = {};
  Named(const char* name, const char* suffix) noexcept {
    std::size_t n = 0;
    for (const char* s : {name, suffix})
      for (; *s != '\0' && n + 1 < sizeof text; ++s) text[n++] = *s;
  }
};

template <class Pool>
Id pool(GraphBuilder& g, Id x, std::int32_t h, std::int32_t w, const char* name) noexcept {
  Pool* op = g.make<Pool>();
  if (op != nullptr) op->window.kernel_h = h, op->window.kernel_w = w;
  const Id in[] = {x};
  return g.add(op, in, {}, name);
}

}  // namespace

Id shifted_max(GraphBuilder& g, Id x, const OffsetBox& b, const char* name) noexcept {
  const std::int32_t h = b.bottom - b.top + 1, w = b.right - b.left + 1;
  const Id moved = pad(g, x, -b.top, -b.left, b.bottom, b.right, Named(name, ".shifted").text);
  return pool<MaxPool>(g, pool<MaxPool>(g, moved, h, 1, Named(name, ".rows").text), 1, w, name);
}

Id shifted_sum(GraphBuilder& g, Id x, const OffsetBox& b, const char* name) noexcept {
  const std::int32_t h = b.bottom - b.top + 1, w = b.right - b.left + 1;
  const Id moved = pad(g, x, -b.top, -b.left, b.bottom, b.right, Named(name, ".shifted").text);
  return affine_map(g, pool<AvgPool>(g, moved, h, w, Named(name, ".mean").text),
                    static_cast<float>(h) * static_cast<float>(w), 0, name);
}

}  // namespace vitrine
