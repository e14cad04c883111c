#include "layers/interpretable_filters.h"

namespace vitrine {

Status InterpretableFilters::infer(const Context& ctx, std::span<const Shape> in, std::span<const Shape> par,
                                   Shape& out, std::size_t& aux) const noexcept {
  aux = 0;
  if (in.size() != 1 || par.size() != 3)
    return ctx.fail(Status::bad_graph, "takes one input, a category, statistics and a slope");
  if (classes < 1) return ctx.fail(Status::bad_argument, "needs at least one class");
  if (!(beta > 0)) return ctx.fail(Status::bad_argument, "needs beta above 0");
  if (in[0].pixels() > 65536) return ctx.fail(Status::bad_shape, "takes maps of at most 65536 places", in[0], in[0]);
  const Shape each{in[0].c(), 1}, table{classes, in[0].c()};
  if (par[category] != each) return ctx.fail(Status::bad_shape, "has categories of another shape", par[category], each);
  if (par[statistics] != table)
    return ctx.fail(Status::bad_shape, "has statistics of another shape", par[statistics], table);
  if (par[steepness] != each) return ctx.fail(Status::bad_shape, "has slopes of another shape", par[steepness], each);
  out = in[0];
  return Status::ok;
}

Status InterpretableFilters::gate(const Context& ctx, const NodeIO& io, const TensorView& x, const TensorView& s,
                                  const Sink& y) const noexcept {
  const std::int64_t planes = std::int64_t{x.shape.n()} * x.shape.c();
  ctx.ranges(planes, elementwise_grain / x.shape.pixels() + 1, [&](std::int64_t begin, std::int64_t end) noexcept {
    kernels::TemplateArgs<real> a;
    a.channels = x.shape.c();
    a.first = begin;
    a.last = end;
    a.h = x.shape.h();
    a.w = x.shape.w();
    a.beta = beta;
    a.centroid = centroid;
    a.x = x.data;
    a.slope = io.par[steepness].data;
    a.s = s.data;
    a.y = y.data;
    a.add = y.add;
    ctx->template_gate(a);
  });
  return Status::ok;
}

Id interpretable_filters(GraphBuilder& g, Id x, std::int32_t classes, const char* name, bool centroid,
                         float beta) noexcept {
  InterpretableFilters* op = g.make<InterpretableFilters>();
  if (op != nullptr) {
    op->classes = classes;
    op->centroid = centroid;
    op->beta = beta;
  }
  const std::int32_t filters = g.shape(x).c();
  const GraphBuilder::Parameter state[] = {{"category", {filters, 1}, 1, Init::zero, false},
                                           {"statistics", {classes > 0 ? classes : 1, filters}, 2, Init::zero, false},
                                           {"slope", {filters, 1}, 1, Init::one, false}};
  const Id in[] = {x};
  return g.add(op, in, state, name);
}

Status update_filters(const Context& ctx, const InterpretableFilters& op, const NodeIO& io,
                      std::span<const std::int32_t> labels, const FilterLossOptions& o) noexcept {
  const TensorView& x = io.in[0];
  if (labels.size() < static_cast<std::size_t>(x.shape.n()))
    return ctx.fail(Status::bad_argument, "needs a label an image");
  ctx.ranges(x.shape.c(), 8, [&](std::int64_t begin, std::int64_t end) noexcept {
    kernels::FilterStateArgs<real> a;
    a.images = x.shape.n();
    a.channels = x.shape.c();
    a.first = begin;
    a.last = end;
    a.h = x.shape.h();
    a.w = x.shape.w();
    a.classes = op.classes;
    a.beta = op.beta;
    a.slope_rate = o.learn_slopes ? 0.016f : 0.0f;
    a.by_sum = !o.released;
    a.x = x.data;
    a.labels = labels.data();
    a.statistics = io.par[InterpretableFilters::statistics].data;
    a.category = io.par[InterpretableFilters::category].data;
    a.slope = io.par[InterpretableFilters::steepness].data;
    ctx->filter_state(a);
  });
  return Status::ok;
}

Status filter_loss(const Context& ctx, const InterpretableFilters& op, const NodeIO& io,
                   std::span<const std::int32_t> labels, std::span<const double> share, const FilterLossOptions& o,
                   const TensorView& loss, const TensorView& gradient) noexcept {
  const TensorView& x = io.in[0];
  if (labels.size() < static_cast<std::size_t>(x.shape.n()))
    return ctx.fail(Status::bad_argument, "needs a label an image");
  if (share.size() != static_cast<std::size_t>(op.classes))
    return ctx.fail(Status::bad_argument, "needs the share of each of its classes");
  kernels::FilterLossArgs<real> a;
  a.images = x.shape.n();
  a.channels = x.shape.c();
  a.h = x.shape.h();
  a.w = x.shape.w();
  a.classes = op.classes;
  a.beta = op.beta;
  a.centroid = op.centroid;
  a.released = o.released;
  a.all_templates = o.all_templates;
  a.x = x.data;
  a.slope = io.par[InterpretableFilters::steepness].data;
  a.category = io.par[InterpretableFilters::category].data;
  a.labels = labels.data();
  a.share = share.data();
  a.loss = loss.data;
  a.gradient = gradient.data;
  return ctx.run(ctx->filter_loss, a);
}

}  // namespace vitrine
