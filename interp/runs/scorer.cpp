#include "interp/runs/scorer.h"

#include <algorithm>
#include <cmath>

namespace vitrine {

Scorer::Scorer(Subject& subject, const Objective& objective, Options options)
    : subject_(subject),
      model_(subject.merged(objective.kept_nodes())),
      options_(options),
      value_(objective.value(model_)) {
  each_ = model_.graph().shape(value_).per_image();
}

void Scorer::make_session() {
  if (session_) return;
  PlanRequest request;
  request.graph = &model_.graph();
  request.keep_values = {&value_, 1};
  if (value_ != model_.graph().output) request.seeds = {&value_, 1};  // nothing after the value runs
  const std::size_t input_bytes = static_cast<std::size_t>(model_.image_shape().size()) * sizeof(real);
  const Fit f = fit_batch(subject_.engine(), request, subject_.memory_budget(), options_.demand,
                          options_.prepare ? input_bytes : 0);
  request.batch = f.batch;
  session_ = std::make_shared<Session>(subject_.engine(), request, model_.parameters, options_.prepare && f.prepare);
}

std::int32_t Scorer::batch() {
  if (windows_) return windows_->batch();
  make_session();
  return session_->plan().request.batch;
}

std::vector<double> Scorer::scores(std::int64_t image, const TensorView& x, const Target& target) {
  give_others(subject_, *session_, {.x = x, .first = image, .one_image = true});
  session_->forward(x);
  subject_.count(x.shape.n(), 0, *session_);
  const HostTensor out = session_->peek(session_->run().value(value_));
  std::vector<double> s;
  for (std::int32_t n = 0; n < out.shape.n(); ++n) s.push_back(target.number(out.data + n * each_));
  return s;
}

Scored Scorer::resolve(const Query& q) {
  make_session();
  Scored scored;
  const auto forward = [&](const TensorView& images, auto&& body) {
    for (std::int32_t first = 0; first < images.shape.n(); first += batch()) {
      const TensorView part = images.images(first, std::min(batch(), images.shape.n() - first));
      give_others(subject_, *session_, {.x = part, .first = q.first + first});
      session_->forward(part);
      subject_.count(session_->run().batch(), 0, *session_);
      const HostTensor out = session_->peek(session_->run().value(value_));
      for (std::int32_t n = 0; n < out.shape.n(); ++n) body(first + n, out.data + n * each_);
    }
  };
  forward(q.x, [&](std::int32_t n, const real* value) {
    scored.target.push_back(q.targets.empty()
                                ? q.objective->target(model_, q.first + n, {value, static_cast<std::size_t>(each_)})
                                : q.targets[static_cast<std::size_t>(n)]);
    scored.score.push_back(scored.target.back().number(value));
  });
  if (q.baseline)
    forward(q.baseline, [&](std::int32_t n, const real* value) {
      scored.baseline.push_back(scored.target[static_cast<std::size_t>(n)].number(value));
    });
  return scored;
}

void Scorer::run(std::int64_t image, const Target& target, std::int32_t count, const Job& job,
                 const std::function<void(std::int32_t, const TensorView&)>& fill,
                 const std::function<void(std::int32_t, std::span<const double>)>& use) {
  make_session();
  const Shape shape = model_.image_shape().with_batch(batch());
  inputs_.resize(static_cast<std::size_t>(shape.size()));
  in_batches(count, batch(), job, [&](std::int32_t first, std::int32_t number) {
    const TensorView x{inputs_.data(), shape.with_batch(number)};
    fill(first, x);
    use(first, scores(image, x, target));
  });
}

void Scorer::set_windows(WindowAxis rows, WindowAxis columns, bool only_what_changes) {
  rows_ = std::move(rows);
  columns_ = std::move(columns);
  windows_ = only_what_changes
                 ? WindowedRuns::make(model_, subject_.engine(), rows_, columns_, value_, subject_.memory_budget())
                 : nullptr;
}

double Scorer::run_windows(const Query& q, const Target& target, std::span<const float> fill, const Job& job,
                           const std::function<void(std::int32_t, std::span<const double>)>& use) {
  const TensorView& image = q.x;
  const auto across = static_cast<std::int32_t>(columns_.first.size()),
             windows = static_cast<std::int32_t>(rows_.first.size()) * across;
  if (windows_) {
    windows_->set_image(image);
    const double own = target.number(windows_->image_value().data);
    in_batches(windows, batch(), job, [&](std::int32_t first, std::int32_t count) {
      const HostTensor out = windows_->run(first, count, fill);
      subject_.count(count, 0, windows_->session());
      std::vector<double> s;
      for (std::int32_t n = 0; n < count; ++n) s.push_back(target.number(out.data + n * each_));
      use(first, s);
    });
    return own;
  }
  make_session();
  const double own = scores(q.first, image, target)[0];
  const std::int64_t pixels = image.shape.pixels();
  run(
      q.first, target, windows, job,
      [&](std::int32_t first, const TensorView& x) {
        for (std::int32_t k = 0; k < x.shape.n(); ++k) {
          const auto row = static_cast<std::size_t>((first + k) / across),
                     column = static_cast<std::size_t>((first + k) % across);
          real* const copy = x.data + k * image.shape.per_image();
          std::copy(image.data, image.data + image.shape.per_image(), copy);
          // Where strides are larger than windows the last window can be empty.
          for (std::int32_t c = 0; c < image.shape.c(); ++c)
            for (std::int32_t i = rows_.first[row]; i < rows_.last[row]; ++i)
              for (std::int32_t j = columns_.first[column]; j < columns_.last[column]; ++j)
                copy[c * pixels + std::int64_t{i} * image.shape.w() + j] =
                    static_cast<real>(fill[static_cast<std::size_t>(c)]);
        }
      },
      use);
  return own;
}

std::vector<double> Scorer::run_masks(const Query& q, const Target& target, const Segments& segments,
                                      const std::vector<bool>& keep, const TensorView& off, const Job& job) {
  const TensorView& image = q.x;
  const auto features = static_cast<std::size_t>(segments.count);
  const auto masks = static_cast<std::int32_t>(keep.size() / features);
  const std::int64_t pixels = image.shape.pixels();
  std::vector<double> out(static_cast<std::size_t>(masks));
  run(
      q.first, target, masks, job,
      [&](std::int32_t first, const TensorView& x) {
        for (std::int32_t k = 0; k < x.shape.n(); ++k) {
          const std::size_t row = static_cast<std::size_t>(first + k) * features;
          real* const copy = x.data + k * image.shape.per_image();
          for (std::int64_t i = 0; i < image.shape.per_image(); ++i) {
            const auto segment = static_cast<std::size_t>(segments.label[static_cast<std::size_t>(i % pixels)]);
            copy[i] = keep[row + segment] ? image.data[i] : off.data[i];
          }
        }
      },
      [&](std::int32_t first, std::span<const double> scores) {
        std::copy(scores.begin(), scores.end(), out.begin() + first);
      });
  return out;
}

}  // namespace vitrine
