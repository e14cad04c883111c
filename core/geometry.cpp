#include "core/geometry.h"

namespace vitrine {
namespace {

AxisGeometry compose(const AxisGeometry& below, const Field& f) noexcept {
  AxisGeometry g = below;
  g.whole = below.whole || f.whole;
  g.size += (f.size - 1) * below.jump;
  g.start += ((f.size - 1) / 2 - f.before) * below.jump;
  g.jump *= f.step;
  return g;
}

// Whether both may meet in one map; `to` becomes the one that sees more.
bool merge(AxisGeometry& to, const AxisGeometry& other) noexcept {
  if (other.whole || to.whole) {
    to.whole = true;
    return true;
  }
  const float difference = to.jump - other.jump;
  if (difference > 1e-3f || difference < -1e-3f) return false;
  if (other.size > to.size) to = other;
  return true;
}

}  // namespace

Status find_geometry(const Context& ctx, const Graph& g, Id value, Arena& book, Geometry& out) noexcept {
  const ArenaScope scope(book);
  Geometry* const of = book.array<Geometry>(g.values.size());
  bool* const known = book.array<bool>(g.values.size());
  if (of == nullptr || known == nullptr)
    return ctx.fail(Status::out_of_arena, "the geometry's working memory does not fit");
  for (std::size_t v = 0; v < g.values.size(); ++v) known[v] = false;
  of[g.input] = {};
  known[g.input] = true;
  for (const Node& node : g.nodes) {
    for (const Id v : node.in) {
      if (!known[v]) continue;
      const Geometry here{compose(of[v].h, node.op->field(g.shape(v), g.shape(node.out), 2)),
                          compose(of[v].w, node.op->field(g.shape(v), g.shape(node.out), 3))};
      if (!known[node.out]) {
        of[node.out] = here;
        known[node.out] = true;
      } else if (!merge(of[node.out].h, here.h) || !merge(of[node.out].w, here.w)) {
        if (ctx.failure != nullptr && ctx.failure->status == Status::ok)
          *ctx.failure = {Status::bad_argument, node.name, "joins maps of different strides", {}, {}, 0};
        return Status::bad_argument;
      }
    }
    if (node.out == value) break;
  }
  if (value >= g.values.size() || !known[value])
    return ctx.fail(Status::bad_argument, "is not reached from the input, so its places see no pixel");
  out = of[value];
  return Status::ok;
}

}  // namespace vitrine
