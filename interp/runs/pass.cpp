#include "interp/runs/pass.h"

#include <algorithm>

namespace vitrine {

std::int64_t pass_images(const Subject& subject, const Pass& p) {
  const std::int64_t size = subject.data().size(), end = p.images > 0 ? std::min(p.images, size) : size;
  return std::max<std::int64_t>(0, end - p.first);
}

void pass(Subject& subject, const Pass& p, const Job& job, const std::function<void(const PassBatch&)>& body) {
  const Model& model = subject.model();
  const std::int64_t images = pass_images(subject, p);
  if (images == 0) return;
  PlanRequest request;
  request.graph = &model.graph();
  request.rules = p.rules;
  request.keep_values = p.keep;
  // Without seeds: walks start at the last kept value, and nothing runs that no kept value needs.
  std::vector<Id> seeds = p.seeds;
  if (seeds.empty() && !p.rules.empty() && !p.keep.empty()) seeds = {p.keep.back()};
  if (seeds.empty() && p.only_kept) seeds = p.keep;
  request.seeds = seeds;
  request.until = p.until;
  request.keep_signals = p.keep_signals;
  request.observer = p.observer;
  const std::size_t image_bytes = static_cast<std::size_t>(model.image_shape().size()) * sizeof(real);
  const Demand demand{static_cast<std::int32_t>(std::min<std::int64_t>(images, 1 << 20)), false};
  const Fit f = fit_batch(subject.engine(), request, subject.memory_budget(), demand, image_bytes);
  request.batch = std::min<std::int32_t>(32, f.batch);  // more are no faster, and take more memory
  Session session(subject.engine(), request, model.parameters, f.prepare);
  std::int64_t done = 0;
  data::over_batches(
      subject.data(), model.preparation, request.batch, job,
      [&](data::Batch& batch) {
        const TensorView input{batch.images.data(), model.image_shape().with_batch(batch.count)};
        session.forward(input);
        subject.count(batch.count, 0, session);
        body({batch, session, input, done});
        done += batch.count;
      },
      p.first, images);
}

std::vector<Target> walk_from(const PassBatch& b, const Model& model, const Objective& objective, Id from,
                              bool relevance) {
  const HostTensor out = b.session.peek(b.session.run().value(from));
  const std::int64_t each = out.shape.per_image();
  std::vector<real> seeds(static_cast<std::size_t>(out.size()), real{0});
  std::vector<Target> targets;
  for (std::int32_t n = 0; n < out.shape.n(); ++n) {
    const std::span<const real> row{out.data + n * each, static_cast<std::size_t>(each)};
    targets.push_back(objective.target(model, b.batch.indices[static_cast<std::size_t>(n)], row));
    targets.back().seed(row.data(), relevance, seeds.data() + n * each);
  }
  b.session.upload(b.session.run().signal(from), seeds);
  b.session.walk_back();
  return targets;
}

}  // namespace vitrine
