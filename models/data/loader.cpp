#include "models/data/loader.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numbers>
#include <numeric>
#include <thread>

#include "kernels/philox.h"
#include "models/prepare.h"

namespace vitrine::data {

namespace {

// Gamma(a, 1) by Marsaglia & Tsang 2000; for a < 1 by their boost a + 1 with a uniform's power.
double gamma_draw(std::uint64_t key, double a) {
  const double base = a < 1 ? a + 1 : a, d = base - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  std::uint64_t draw = 0;
  const auto uniform = [&] { return (static_cast<double>(philox_word(key, draw++)) + 0.5) / 4294967296.0; };
  const double boost = a < 1 ? std::pow(uniform(), 1 / a) : 1;
  for (;;) {
    const double radius = std::sqrt(-2 * std::log(uniform())), x = radius * std::cos(2 * std::numbers::pi * uniform());
    const double v = (1 + c * x) * (1 + c * x) * (1 + c * x);
    if (v > 0 && std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return boost * d * v;
  }
}

double beta_draw(std::uint64_t key, double a) {
  const double x = gamma_draw(derive_key(key, 0), a), y = gamma_draw(derive_key(key, 1), a);
  return x + y > 0 ? x / (x + y) : 0.5;
}

}  // namespace

struct Loader::State {
  const Dataset& data;
  LoaderOptions o;
  std::int64_t batches = 0;

  std::mutex mutex;
  std::condition_variable work, ready;
  std::shared_ptr<const std::vector<std::int64_t>> order;
  int epoch = 0;
  std::uint64_t generation = 0;           // of the epoch: late batches of a given-up one are thrown away
  std::int64_t to_make = 0, to_give = 0;  // next batch that a thread takes, next that is asked for
  std::map<std::int64_t, Batch> done;
  std::exception_ptr failure;  // of the first batch that met one
  std::int64_t failed_at = 0;
  bool quit = false;
  std::vector<std::thread> threads;

  State(const Dataset& d, const LoaderOptions& options) : data(d), o(options) {
    batches = o.drop_last ? data.size() / o.batch : (data.size() + o.batch - 1) / o.batch;
    to_make = to_give = batches;
  }

  void make(std::int64_t index, int of_epoch, const std::vector<std::int64_t>& in_order, Batch& b) const {
    const Shape s = data.image_shape();
    const std::int64_t first = index * o.batch, pixels = s.pixels();
    b.count = static_cast<int>(std::min<std::int64_t>(o.batch, data.size() - first));
    b.images.resize(static_cast<std::size_t>(b.count * s.per_image()));
    b.targets.resize(static_cast<std::size_t>(b.count) * static_cast<std::size_t>(data.classes()));
    b.labels.resize(static_cast<std::size_t>(b.count));
    b.indices.resize(static_cast<std::size_t>(b.count));
    std::vector<float> raw(static_cast<std::size_t>(s.per_image()));
    const bool augmented = o.augment.shift > 0 || o.augment.flip || o.augment.crop_padding > 0;
    for (int k = 0; k < b.count; ++k) {
      const std::int64_t i = in_order[static_cast<std::size_t>(first + k)];
      b.indices[static_cast<std::size_t>(k)] = i;
      b.labels[static_cast<std::size_t>(k)] = data.label(i);
      data.target(i, b.targets.data() + static_cast<std::ptrdiff_t>(k) * data.classes());
      float* const out = b.images.data() + k * s.per_image();
      data.image(i, augmented ? raw.data() : out);
      if (augmented) {
        const std::uint64_t key =
            derive_key(derive_key(o.seed, 1 + static_cast<std::uint64_t>(of_epoch)), static_cast<std::uint64_t>(i));
        const int reach = o.augment.shift + o.augment.crop_padding;
        const auto offset = [&](std::uint64_t draw) {
          return reach == 0
                     ? 0
                     : static_cast<int>(philox_word(key, draw) % static_cast<std::uint32_t>(2 * reach + 1)) - reach;
        };
        const int dy = offset(0), dx = offset(1);
        const bool flip = o.augment.flip && (philox_word(key, 2) & 1) != 0;
        for (std::int32_t c = 0; c < s.c(); ++c)
          for (std::int32_t y = 0; y < s.h(); ++y)
            for (std::int32_t x = 0; x < s.w(); ++x) {
              const std::int32_t from_y = y + dy, from_x = (flip ? s.w() - 1 - x : x) + dx;
              const bool inside = from_y >= 0 && from_y < s.h() && from_x >= 0 && from_x < s.w();
              out[c * pixels + y * s.w() + x] =
                  inside ? raw[static_cast<std::size_t>(c * pixels + from_y * s.w() + from_x)] : 0;
            }
      }
      prepare(o.preparation, s, out);
      if (o.augment.cutout > 0) {
        const std::uint64_t key =
            derive_key(derive_key(o.seed, 1 + static_cast<std::uint64_t>(of_epoch)), static_cast<std::uint64_t>(i));
        const auto centre = [&](std::uint64_t draw, std::int32_t size) {
          return static_cast<int>(philox_word(key, draw) % static_cast<std::uint32_t>(size));
        };
        const int top = centre(4, s.h()) - o.augment.cutout / 2, left = centre(5, s.w()) - o.augment.cutout / 2;
        for (std::int32_t c = 0; c < s.c(); ++c)
          for (int y = std::max(0, top); y < std::min(s.h(), top + o.augment.cutout); ++y)
            for (int x = std::max(0, left); x < std::min(s.w(), left + o.augment.cutout); ++x)
              out[c * pixels + y * s.w() + x] = 0;
      }
    }
    const auto classes = static_cast<std::size_t>(data.classes());
    if (o.augment.label_smoothing > 0)
      for (float& t : b.targets)
        t = static_cast<float>((1 - o.augment.label_smoothing) * static_cast<double>(t) +
                               o.augment.label_smoothing / static_cast<double>(classes));
    if (o.augment.mixup > 0) mix(b, index, of_epoch);
  }

  // Each image with its partner from the other end of the (shuffled) batch.
  void mix(Batch& b, std::int64_t index, int of_epoch) const {
    const std::uint64_t key = derive_key(derive_key(derive_key(o.seed, 2), static_cast<std::uint64_t>(of_epoch)),
                                         static_cast<std::uint64_t>(index));
    const auto share = static_cast<float>(beta_draw(key, o.augment.mixup));
    const auto blend = [&](std::vector<float>& v) {
      const std::size_t each = v.size() / static_cast<std::size_t>(b.count);
      for (std::size_t k = 0; 2 * k < static_cast<std::size_t>(b.count); ++k) {
        float* const first = v.data() + k * each;
        float* const second = v.data() + (static_cast<std::size_t>(b.count) - 1 - k) * each;
        for (std::size_t e = 0; e < each; ++e) {
          const float x = first[e], y = second[e];
          first[e] = share * x + (1 - share) * y;
          second[e] = share * y + (1 - share) * x;
        }
      }
    };
    blend(b.images);
    blend(b.targets);
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      work.wait(lock, [&] { return quit || (to_make < batches && to_make < to_give + o.prefetch && !failure); });
      if (quit) return;
      const std::int64_t index = to_make++;
      const std::uint64_t mine = generation;
      const int of_epoch = epoch;
      const auto in_order = order;
      lock.unlock();
      Batch b;
      std::exception_ptr met;
      try {
        make(index, of_epoch, *in_order, b);
      } catch (...) {
        met = std::current_exception();
      }
      lock.lock();
      if (mine != generation) continue;
      if (met && (!failure || index < failed_at)) failure = met, failed_at = index;
      if (!met) done.emplace(index, std::move(b));
      ready.notify_all();
    }
  }
};

Loader::Loader(const Dataset& data, const LoaderOptions& options) : state_(std::make_unique<State>(data, options)) {
  for (int t = 0; t < std::max(1, options.threads); ++t) state_->threads.emplace_back([s = state_.get()] { s->run(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->quit = true;
  }
  state_->work.notify_all();
  for (std::thread& t : state_->threads) t.join();
}

std::int64_t Loader::batches() const noexcept { return state_->batches; }

void Loader::start_epoch(int epoch, std::int64_t first_batch) {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  std::vector<std::int64_t> order(static_cast<std::size_t>(s.data.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (s.o.shuffle) {
    // Fisher and Yates; 64 bits a draw make the bias of the remainder negligible.
    const std::uint64_t key = derive_key(derive_key(s.o.seed, 0), static_cast<std::uint64_t>(epoch));
    for (std::size_t i = order.size(); i > 1; --i) {
      const std::uint64_t draw = std::uint64_t{philox_word(key, 2 * i)} << 32 | philox_word(key, 2 * i + 1);
      std::swap(order[i - 1], order[draw % i]);
    }
  }
  s.order = std::make_shared<const std::vector<std::int64_t>>(std::move(order));
  s.epoch = epoch;
  ++s.generation;
  s.done.clear();
  s.failure = nullptr;
  s.to_make = s.to_give = first_batch;
  s.work.notify_all();
}

bool Loader::next(Batch& out) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.to_give >= s.batches) return false;
  // Batches before a failure are still given: whoever took them finishes them.
  s.ready.wait(lock, [&] { return (s.failure && s.to_give >= s.failed_at) || s.done.contains(s.to_give); });
  if (!s.done.contains(s.to_give)) std::rethrow_exception(s.failure);
  out = std::move(s.done.extract(s.to_give).mapped());
  ++s.to_give;
  s.work.notify_all();
  return true;
}

namespace {

// Some images of a set, as a set.
class Range final : public Dataset {
 public:
  Range(const Dataset& all, std::int64_t first, std::int64_t count) : all_(all), first_(first), count_(count) {}
  std::int64_t size() const override { return count_; }
  Shape image_shape() const override { return all_.image_shape(); }
  int classes() const override { return all_.classes(); }
  int label(std::int64_t i) const override { return all_.label(first_ + i); }
  void image(std::int64_t i, float* chw) const override { all_.image(first_ + i, chw); }
  void target(std::int64_t i, float* distribution) const override { all_.target(first_ + i, distribution); }

 private:
  const Dataset& all_;
  std::int64_t first_, count_;
};

}  // namespace

void over_batches(const Dataset& data, const InputPreparation& preparation, int batch, const Job& job,
                  const std::function<void(Batch&)>& body, std::int64_t first, std::int64_t count) {
  const std::int64_t rest = std::max<std::int64_t>(0, data.size() - first);
  const Range range(data, first, count > 0 ? std::min(count, rest) : rest);
  LoaderOptions o;
  o.batch = batch;
  o.preparation = preparation;
  Loader loader(range, o);
  loader.start_epoch(0);
  std::int64_t done = 0;
  for (Batch b; loader.next(b);) {
    job.check();
    for (std::int64_t& index : b.indices) index += first;
    body(b);
    done += b.count;
    job.progress(static_cast<double>(done) / static_cast<double>(range.size()));
  }
}

}  // namespace vitrine::data
