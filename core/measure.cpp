#include "core/measure.h"

#include "core/run.h"
#include "kernels/silent.h"

namespace vitrine {
namespace {

// As many workers as the real threads, and no work.
class Idle final : public Parallel {
 public:
  explicit Idle(int workers) noexcept : workers_(workers) {}
  int workers() const noexcept override { return workers_; }
  void run(std::int64_t, TileBody) noexcept override {}

 private:
  int workers_;
};

// An address that no program has, aligned as any tensor.
std::byte* nowhere() noexcept { return reinterpret_cast<std::byte*>(std::uintptr_t{1} << (8 * sizeof(void*) - 16)); }
Arena endless() noexcept { return {nowhere(), ~std::size_t{0} / 4}; }

Status run_dry(const Context& ctx, Run& dry, std::int32_t batch) noexcept {
  const PlanRequest& q = dry.plan().request;
  const TensorView input{reinterpret_cast<real*>(nowhere()), q.graph->shape(q.graph->input).with_batch(batch)};
  for (const Id v : q.graph->inputs)
    if (v != q.graph->input) VITRINE_TRY(dry.give(ctx, v, {input.data, q.graph->shape(v).with_batch(batch)}));
  if (q.reference) VITRINE_TRY(dry.forward_reference(ctx, q.one_reference ? input.images(0, 1) : input));
  VITRINE_TRY(dry.forward(ctx, input));
  Ledger ledger;
  return q.rules.empty() ? Status::ok : dry.walk_back(ctx, q.ledger ? &ledger : nullptr);
}

// Every size up to the largest; of large batches a sample, both of sizes that vectors divide and of others.
Status run_all_sizes(const Context& ctx, Run& dry) noexcept {
  const std::int32_t largest = dry.plan().request.batch, step = 1 + largest / 1024;
  for (std::int32_t batch = largest; batch > 0; batch -= step) {
    VITRINE_TRY(run_dry(ctx, dry, batch));
    const std::int32_t whole = batch - batch % ctx->lanes;
    if (step > 1 && whole > 0 && whole < batch) VITRINE_TRY(run_dry(ctx, dry, whole));
  }
  return Status::ok;
}

// A run of a plan without its memory.
struct DryRun {
  DryRun(const Context& outer, Arena& book, const Plan& plan, Report* report) noexcept
      : silent(kernels::silenced(*outer.kernels)),
        idle(outer.workers()),
        ctx(outer),
        // A node's weights are prepared at most forward and back, for two sets of rows in each of an LRP table's
        // groups.
        most(plan.request.constant_parameters ? 12 * plan.request.graph->nodes.size() : 0),
        entries(book.array<Prepared::Entry>(most)),
        run(plan, {nowhere(), endless(), book.rest(), {{entries, most}, endless()}}, reinterpret_cast<real*>(nowhere()),
            reinterpret_cast<real*>(nowhere())) {
    ctx.kernels = &silent;
    ctx.parallel = &idle;
    ctx.report = report;
  }
  DryRun(const DryRun&) = delete;
  Status check() const noexcept {
    return entries != nullptr ? Status::ok : ctx.fail(Status::out_of_arena, "the plan's working memory does not fit");
  }

  Kernels silent;
  Idle idle;
  Context ctx;
  std::size_t most;
  Prepared::Entry* entries;
  Run run;
};

}  // namespace

Status measure_scratch(const Context& ctx, Arena& book, Plan& plan) noexcept {
  const ArenaScope scope(book);
  DryRun dry(ctx, book, plan, nullptr);  // nobody asks which way these calls go: the caller makes others
  VITRINE_TRY(dry.check());
  if (plan.request.batches.empty()) VITRINE_TRY(run_all_sizes(dry.ctx, dry.run));
  for (const std::int32_t batch : plan.request.batches) VITRINE_TRY(run_dry(dry.ctx, dry.run, batch));
  const RunMemory& memory = dry.run.memory();
  plan.scratch_bytes = memory.scratch.peak();
  plan.book_bytes = memory.book.peak();
  plan.prepared_bytes = memory.prepared.peak();
  plan.prepared_count = memory.prepared.count();
  return Status::ok;
}

Status tell_ways(const Context& ctx, Arena& book, const Plan& plan, Report& report) noexcept {
  const ArenaScope scope(book);
  DryRun dry(ctx, book, plan, &report);
  VITRINE_TRY(dry.check());
  std::int32_t largest = plan.request.batches.empty() ? plan.request.batch : 0;
  for (const std::int32_t batch : plan.request.batches) largest = batch > largest ? batch : largest;
  return run_dry(dry.ctx, dry.run, largest);
}

}  // namespace vitrine
