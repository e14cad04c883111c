#include "interp/runs/batch_size.h"

#include <algorithm>

namespace vitrine {

Fit fit_batch(const Engine& engine, PlanRequest request, std::size_t budget, Demand demand,
              std::size_t extra_per_image) {
  // A batch of `many` pays for preparing weights of this size anew each time: those of a path, or what calls bring
  // again and again.
  constexpr std::int32_t many = 8;
  const std::size_t large = std::size_t{demand.path ? 32u : 160u} << 20;
  // Values beyond this are slower to fetch than the weights that a larger batch spares. Batches of a path all read the
  // same weights.
  const std::size_t useful_bytes = std::size_t{demand.path ? 96u : 384u} << 20;
  // Large images: more at once gain a tenth at most, and take as much more memory each.
  constexpr std::int32_t some = 5;
  const auto planned = [&](std::int32_t batch, bool prepare, auto look) {
    request.batch = batch;
    request.constant_parameters = prepare;
    Session::with_plan(engine, request, look);
  };
  // Smaller batches may need more scratch memory, so a plan for this size alone is a lower bound. It is the faster one.
  const auto bytes_of = [&](std::int32_t batch, bool prepare, bool alone) {
    std::size_t bytes = 0;
    if (alone) request.batches = {&batch, 1};
    planned(batch, prepare,
            [&](const Plan& plan) { bytes = plan.bytes() + static_cast<std::size_t>(batch) * extra_per_image; });
    request.batches = {};
    return bytes;
  };
  std::size_t prepared = 0, each = 0;
  planned(1, true, [&](const Plan& plan) {
    prepared = plan.prepared_bytes;
    each = plan.bytes() - prepared + extra_per_image;
  });
  Fit f{};
  f.prepare = prepared + each <= budget && (demand.images < many || prepared <= large);
  const std::size_t room = (budget - (f.prepare ? prepared : 0)) / each;
  const std::size_t useful = std::max<std::size_t>(demand.images >= many ? some : many / 2, useful_bytes / each);
  f.batch = static_cast<std::int32_t>(std::clamp<std::size_t>(std::min(room, useful), 1, 64));
  // Small batches are of equal size; of large ones vectors across images fill more.
  if (const std::int32_t n = demand.images; n > 0 && (n <= f.batch || f.batch < 2 * many)) {
    const std::int32_t batches = (n - 1) / f.batch + 1;
    f.batch = (n - 1) / batches + 1;
  }
  // Kernels of a larger batch prepare other weights than those of one image, and work with memory that grows otherwise
  // than values do.
  if (f.prepare && demand.images >= many)
    planned(f.batch, true, [&](const Plan& plan) { f.prepare = plan.prepared_bytes <= large; });
  while (f.batch > 1 && (bytes_of(f.batch, f.prepare, true) > budget || bytes_of(f.batch, f.prepare, false) > budget))
    --f.batch;
  return f;
}

}  // namespace vitrine
