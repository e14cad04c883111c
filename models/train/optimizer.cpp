#include "models/train/optimizer.h"

#include <algorithm>

namespace vitrine {

Optimizer parse_optimizer(const std::string& name) {
  if (name == "sgd") return Optimizer::sgd;
  if (name == "nesterov") return Optimizer::nesterov;
  if (name == "adam") return Optimizer::adam;
  if (name == "adamw") return Optimizer::adamw;
  throw Error("unknown optimizer '" + name + "': expected sgd, nesterov, adam or adamw", Error::usage);
}

bool OptimizerStep::within_walk(const Engine& engine, const Graph& g) {
  std::vector<int> readers(g.values.size(), 0);
  for (const Node& node : g.nodes)
    for (const Id p : node.par) ++readers[p];
  return engine.device() == nullptr && std::all_of(readers.begin(), readers.end(), [](int n) { return n <= 1; });
}

Status OptimizerStep::update(const Context& ctx, const Graph& g, Id parameter, const TensorView& gradient) noexcept {
  const std::int64_t begin = g.values[parameter].offset;
  for (const auto& [from, to] : moving)
    if (begin >= from && begin < to) move(ctx, begin, begin + gradient.size(), gradient.data);
  return Status::ok;
}

void OptimizerStep::update_all(const Context& ctx, const real* gradients) const noexcept {
  for (const auto& [from, to] : moving) move(ctx, from, to, gradients + from);
}

void OptimizerStep::move(const Context& ctx, std::int64_t begin, std::int64_t end,
                         const real* gradients) const noexcept {
  ctx.ranges(end - begin, elementwise_grain, [&](std::int64_t from, std::int64_t to) noexcept {
    const std::int64_t at = begin + from, n = to - from;
    real* const own = first == nullptr ? nullptr : first + at;
    if (optimizer == Optimizer::adam || optimizer == Optimizer::adamw) {
      kernels::AdamArgs<real> a{parameters + at, gradients + from, own, second + at, n, lr};
      a.weight_decay = weight_decay;
      a.step = step;
      a.decoupled = optimizer == Optimizer::adamw;
      ctx->adam(a);
    } else {
      ctx->sgd(
          {parameters + at, gradients + from, own, n, lr, momentum, weight_decay, optimizer == Optimizer::nesterov});
    }
  });
}

}  // namespace vitrine
