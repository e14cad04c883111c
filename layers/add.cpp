#include "layers/add.h"

namespace vitrine {
namespace {

// The weight of every term is 1: what a substitution makes of it.
real weight(Substitute w) noexcept { return w.kind == Substitute::signs ? w.p : 1; }

}  // namespace

Status Add::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                  std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() < 2 || !par.empty()) return ctx.fail(Status::bad_graph, "takes two or more inputs and no parameter");
  for (const Shape& s : in)
    if (s != in[0]) return ctx.fail(Status::bad_shape, "adds tensors of different shapes", s, in[0]);
  out = in[0];
  return Status::ok;
}

Status Add::apply(const Context& ctx, const NodeIO&, std::span<const TensorView> x, const Row& row,
                  const Sink& z) const noexcept {
  const real w = weight(row.w);
  const Substitute scaled{static_cast<float>(w) * row.x.p, static_cast<float>(w) * row.x.n, row.x.kind};
  ctx.ranges(z.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    if (row.x.kind == Substitute::signs && x.size() == 2 && row.x.p == row.x.n && !z.add) {
      ctx->combine(w * row.x.p, x[0].data + begin, w * row.x.p, x[1].data + begin, z.data + begin, end - begin);
      return;
    }
    for (std::size_t k = 0; k < x.size(); ++k)
      ctx->substitute(scaled, x[k].data + begin, z.data + begin, end - begin, z.add || k > 0);
  });
  return Status::ok;
}

Status Add::apply_t(const Context& ctx, const NodeIO&, Substitute w, const TensorView& s, std::size_t,
                    const Sink& c) const noexcept {
  if (c.data == s.data && !c.add && weight(w) == 1) return Status::ok;  // it lies there
  ctx.ranges(c.size(), elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
    ctx->scale(weight(w), s.data + begin, c.data + begin, end - begin, c.add);
  });
  return Status::ok;
}

Id add(GraphBuilder& g, std::span<const Id> terms, const char* name) noexcept {
  return g.add(g.make<Add>(), terms, {}, name);
}

Id add(GraphBuilder& g, Id a, Id b, const char* name) noexcept {
  const Id terms[] = {a, b};
  return add(g, terms, name);
}

}  // namespace vitrine
