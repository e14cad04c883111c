// One item of work for tools/bench: sets it up, prints what it is as one JSON line, then runs it once for each line of
// standard input and answers with the seconds that took. The script interleaves it with other programs that answer the
// same way.
#include <sys/resource.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "interp/predict/explain.h"
#include "kernels/normal.h"
#include "layers/loss.h"
#include "models/architectures.h"
#include "models/train/optimizer.h"

namespace vitrine::tools {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

// Of all threads: what a busy neighbour does not add to.
double cpu() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Values like those of images and weights: normal, from a counter.
std::vector<real> noise(std::int64_t n, std::uint64_t key, double scale = 1) {
  std::vector<real> v(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i)
    v[static_cast<std::size_t>(i)] = static_cast<real>(scale * philox_normal(key, static_cast<std::uint64_t>(i)));
  return v;
}

constexpr std::size_t memory_budget = std::size_t{4} << 30;

struct Item {
  Json about;
  std::function<void()> run;
};

std::int64_t number(const Words& w, std::size_t k) {
  if (k >= w.size()) throw Error("bench: too few arguments for " + w[0], Error::usage);
  return std::stoll(w[k]);
}

// Multiply-adds count two, convolutions and linear layers only, as is usual.
double forward_flops(const Graph& g) {
  double flops = 0;
  for (const Node& node : g.nodes) {
    if (node.op->op_class() != OpClass::affine || !static_cast<const AffineOp&>(*node.op).mixes()) continue;
    const bool linear = static_cast<const AffineOp&>(*node.op).weights() == Weights::dense;
    const Shape weight = g.shape(node.par[0]);
    flops += 2.0 * static_cast<double>(weight.size()) * static_cast<double>(linear ? 1 : g.shape(node.out).pixels());
  }
  return flops;
}

Model network(const std::string& name) {
  const Architecture& a = find_architecture(name);
  return make_model(name, a.usual, a.usual_classes, 1);
}

// A kernel called over its own scratch memory, as ops call it.
struct Kernel {
  Memory memory;
  Arena arena;
  Context context;
  explicit Kernel(const Engine& engine)
      : memory(std::size_t{1} << 30), arena(memory.data(), memory.bytes()), context(engine.context()) {
    context.scratch = &arena;
  }
  template <class Slot, class Args>
  void run(const Slot& slot, const Args& args) {
    if (context.run(slot, args) != Status::ok) throw Error("bench: the kernel needs more scratch memory than 1 GiB");
  }
};

Item gemm(const Engine& engine, const Words& w) {
  const std::int64_t m = number(w, 1), n = number(w, 2), k = number(w, 3);
  auto kernel = std::make_shared<Kernel>(engine);
  auto a = std::make_shared<std::vector<real>>(noise(m * k, 1)),
       b = std::make_shared<std::vector<real>>(noise(k * n, 2)), c = std::make_shared<std::vector<real>>(m * n);
  return {{{"flops", 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k)}}, [=] {
            kernels::GemmArgs<real> args;
            args.m = m, args.n = n, args.k = k;
            args.a = a->data(), args.lda = k, args.b = b->data(), args.ldb = n, args.c = c->data(), args.ldc = n;
            kernel->run(kernel->context->gemm, args);
          }};
}

kernels::ConvShape conv_shape(const Words& w) {
  kernels::ConvShape s;
  const auto get = [&](std::size_t k) { return static_cast<std::int32_t>(number(w, k)); };
  s.n = get(2), s.c = get(3), s.h = get(4), s.w = get(5), s.oc = get(6), s.kh = s.kw = get(7),
  s.stride_h = s.stride_w = get(8), s.pad_top = s.pad_left = get(9);
  s.oh = (s.h + 2 * s.pad_top - s.kh) / s.stride_h + 1;
  s.ow = (s.w + 2 * s.pad_left - s.kw) / s.stride_w + 1;
  return s;
}

// conv DIRECTION N C H W OUT KERNEL STRIDE PADDING
Item conv(const Engine& engine, const Words& w) {
  const kernels::ConvShape s = conv_shape(w);
  const std::int64_t xs = std::int64_t{s.n} * s.c * s.h * s.w, ws = std::int64_t{s.oc} * s.c * s.kh * s.kw,
                     ys = std::int64_t{s.n} * s.oc * s.oh * s.ow;
  auto kernel = std::make_shared<Kernel>(engine);
  auto x = std::make_shared<std::vector<real>>(noise(xs, 1)),
       weights = std::make_shared<std::vector<real>>(noise(ws, 2, 0.1)),
       y = std::make_shared<std::vector<real>>(noise(ys, 3));
  const std::string direction = w[1];
  return {{{"flops", 2.0 * static_cast<double>(ws) * s.n * s.oh * s.ow}}, [=] {
            kernels::ConvArgs<real> a;
            a.s = s, a.x = x->data(), a.w = weights->data(), a.y = y->data();
            a.x_out = x->data(), a.w_out = weights->data(), a.y_out = y->data();
            kernel->run(direction == "forward"         ? kernel->context->conv_forward
                        : direction == "backward-data" ? kernel->context->conv_backward_data
                                                       : kernel->context->conv_backward_weights,
                        a);
          }};
}

// gemm and conv over a device's memory: one network of one node could not take as many forms.
struct DeviceKernel {
  Storage a, b, c, scratch;
  template <class Slot, class Args>
  void run(const Engine& engine, const Slot& slot, const Args& args) {
    if (scratch.data() == nullptr) scratch = Storage(engine, slot.plan(args).scratch_bytes / sizeof(real) + 64);
    slot.tile(args, nullptr, reinterpret_cast<std::byte*>(scratch.data()), 0);
    engine.device()->synchronise();
    if (const char* why = engine.device()->failure(); why != nullptr) throw Error(std::string("bench: ") + why);
  }
};

Item on_device(const Engine& engine, const Words& w) {
  auto k = std::make_shared<DeviceKernel>();
  const Kernels& table = *engine.context().kernels;
  if (w[0] == "gemm") {
    const std::int64_t m = number(w, 1), n = number(w, 2), depth = number(w, 3);
    k->a = Storage(engine, noise(m * depth, 1)), k->b = Storage(engine, noise(depth * n, 2)),
    k->c = Storage(engine, static_cast<std::size_t>(m * n));
    kernels::GemmArgs<real> g;
    g.m = m, g.n = n, g.k = depth, g.a = k->a.data(), g.lda = depth, g.b = k->b.data(), g.ldb = n, g.c = k->c.data(),
    g.ldc = n;
    return {{{"flops", 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(depth)}},
            [&engine, &table, k, g] { k->run(engine, table.gemm, g); }};
  }
  const kernels::ConvShape s = conv_shape(w);
  const std::int64_t xs = std::int64_t{s.n} * s.c * s.h * s.w, ws = std::int64_t{s.oc} * s.c * s.kh * s.kw,
                     ys = std::int64_t{s.n} * s.oc * s.oh * s.ow;
  k->a = Storage(engine, noise(xs, 1)), k->b = Storage(engine, noise(ws, 2, 0.1)), k->c = Storage(engine, noise(ys, 3));
  kernels::ConvArgs<real> a;
  a.s = s, a.x = k->a.data(), a.x_out = k->a.data(), a.w = k->b.data(), a.w_out = k->b.data(), a.y = k->c.data(),
  a.y_out = k->c.data();
  const auto& slot = w[1] == "forward"         ? table.conv_forward
                     : w[1] == "backward-data" ? table.conv_backward_data
                                               : table.conv_backward_weights;
  return {{{"flops", 2.0 * static_cast<double>(ws) * s.n * s.oh * s.ow}},
          [&engine, &slot, k, a] { k->run(engine, slot, a); }};
}

// train MODEL BATCH: forward, loss, backward, SGD with momentum.
Item train(const Engine& engine, const Words& w) {
  struct State {
    Model model;
    GradientRule rule{true};
    std::vector<const Rule*> rules;
    std::vector<real> images;
    std::unique_ptr<Mirror> parameters;
    Storage gradients, momentum, targets;
    OptimizerStep optimizer;
    std::vector<double> losses;
    Id logits = no_id;
    std::unique_ptr<Session> session;
  };
  auto s = std::make_shared<State>();
  s->model = network(w.at(1));
  const auto batch = static_cast<std::int32_t>(number(w, 2));
  const Graph& g = s->model.graph();
  s->rules.assign(g.nodes.size(), &s->rule);
  s->parameters = std::make_unique<Mirror>(engine, s->model.parameters);
  s->momentum = Storage(engine, s->model.parameters.size());
  const bool within_walk = OptimizerStep::within_walk(engine, g);
  if (!within_walk) s->gradients = Storage(engine, s->model.parameters.size());
  s->optimizer.parameters = s->parameters->data(), s->optimizer.first = s->momentum.data();
  s->optimizer.momentum = 0.9f, s->optimizer.weight_decay = 5e-4f, s->optimizer.lr = 1e-4f;
  s->optimizer.moving = {{0, static_cast<std::int64_t>(s->model.parameters.size())}};
  s->logits = s->model.logits();
  s->losses.resize(static_cast<std::size_t>(batch));
  PlanRequest request;
  request.graph = &g;
  request.batch = batch;
  request.rules = s->rules;
  request.parameter_gradients = true;
  request.updater = within_walk ? &s->optimizer : nullptr;
  request.seeds = {&s->logits, 1};
  request.keep_values = {&s->logits, 1};
  s->session = std::make_unique<Session>(engine, request, s->parameters->data(), s->gradients.data());
  s->session->context().training = true;
  const Shape in = s->model.image_shape().with_batch(batch), out = g.shape(s->logits).with_batch(batch);
  s->images = noise(in.size(), 1);
  std::vector<real> one_hot(static_cast<std::size_t>(out.size()), 0);
  for (std::int32_t n = 0; n < batch; ++n)
    one_hot[static_cast<std::size_t>(n * out.per_image() + n % out.per_image())] = 1;
  s->targets = Storage(engine, one_hot);
  return {{{"flops", 3.0 * batch * forward_flops(g)}, {"images", batch}, {"planned_bytes", s->session->plan().bytes()}},
          [s, in, out, within_walk] {
            s->session->forward({s->images.data(), in});
            double loss = 0;
            s->session->check([&](const Context& ctx) {
              return cross_entropy(ctx, s->session->run().value(s->logits), {s->targets.data(), out}, s->losses,
                                   s->session->run().signal(s->logits), loss);
            });
            s->session->walk_back();
            if (!within_walk) s->optimizer.update_all(s->session->context(), s->gradients.data());
          }};
}

Item infer(const Engine& engine, const Words& w) {
  struct State {
    Model model;
    Images images;
    std::unique_ptr<Subject> subject;
    std::unique_ptr<Predictor> predictor;
  };
  auto s = std::make_shared<State>();
  s->model = network(w.at(1));
  const auto batch = static_cast<std::int32_t>(number(w, 2));
  s->images.shape = s->model.image_shape().with_batch(batch);
  s->images.data = noise(s->images.shape.size(), 1);
  s->subject = std::make_unique<Subject>(s->model, engine, nullptr, memory_budget);
  s->predictor = std::make_unique<Predictor>(*s->subject);
  return {{{"flops", 1.0 * batch * forward_flops(s->model.graph())}, {"images", batch}},
          [s] { s->predictor->predict(s->images); }};
}

// explain MODEL BATCH METHOD [key=value...]
Item explained(const Engine& engine, const Words& w) {
  auto model = std::make_shared<Model>(network(w.at(1)));
  const auto batch = static_cast<std::int32_t>(number(w, 2));
  ExplainRequest request;
  request.method = w.at(3);
  request.objective = Objective::of_class(0);
  request.images = batch;
  for (std::size_t k = 4; k < w.size(); ++k)
    request.settings[w[k].substr(0, w[k].find('='))] = w[k].substr(w[k].find('=') + 1);
  auto images = std::make_shared<Images>(Images{model->image_shape().with_batch(batch), {}});
  images->data = noise(images->shape.size(), 1);
  auto subject = std::make_shared<Subject>(*model, engine, nullptr, memory_budget);
  auto explainer = std::make_shared<Explainer>(*subject, request);
  return {{{"images", batch}}, [model, subject, images, explainer] { explainer->explain(*images); }};
}

#if defined(__x86_64__)
// Twelve independent chains hide the latency of the multiply-adds; nothing touches memory.
__attribute__((target("avx512f"))) float chains512(std::int64_t n) {
  __m512 x[12], scale = _mm512_set1_ps(0.999f), add = _mm512_set1_ps(0.001f);
  for (int k = 0; k < 12; ++k) x[k] = _mm512_set1_ps(static_cast<float>(k));
  for (std::int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < 12; ++k) x[k] = _mm512_fmadd_ps(x[k], scale, add);
  }
  float sum = 0, lanes[16];
  for (int k = 0; k < 12; ++k) {
    _mm512_storeu_ps(lanes, x[k]);
    for (const float lane : lanes) sum += lane;
  }
  return sum;
}
__attribute__((target("avx2,fma"))) float chains256(std::int64_t n) {
  __m256 x[12], scale = _mm256_set1_ps(0.999f), add = _mm256_set1_ps(0.001f);
  for (int k = 0; k < 12; ++k) x[k] = _mm256_set1_ps(static_cast<float>(k));
  for (std::int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < 12; ++k) x[k] = _mm256_fmadd_ps(x[k], scale, add);
  }
  float sum = 0, lanes[8];
  for (int k = 0; k < 12; ++k) {
    _mm256_storeu_ps(lanes, x[k]);
    for (const float lane : lanes) sum += lane;
  }
  return sum;
}
#endif

volatile float sink;

// peak: multiply-adds in registers, on every thread: the machine's limit.
Item peak(const Engine& engine) {
  constexpr std::int64_t n = 2000000;
  const int threads = engine.threads();
  [[maybe_unused]] const kernels::Isa isa = kernels::active();
  const int width = isa == kernels::Isa::avx512 ? 16 : isa == kernels::Isa::avx2 ? 8 : 0;
  if (width == 0) throw Error("bench: peak is measured for AVX2 and AVX-512 alone");
  return {{{"flops", 2.0 * 12 * width * static_cast<double>(n) * threads}}, [&engine, threads, width] {
            run_tiles(engine.context().parallel, threads, [&]([[maybe_unused]] std::int64_t, int) noexcept {
#if defined(__x86_64__)
              sink = width == 16 ? chains512(n) : chains256(n);
#endif
            });
          }};
}

// bandwidth: a = b + s c over arrays that no cache holds.
Item bandwidth(const Engine& engine) {
  constexpr std::int64_t n = std::int64_t{1} << 24;
  auto a = std::make_shared<std::vector<real>>(n), b = std::make_shared<std::vector<real>>(n, real{1}),
       c = std::make_shared<std::vector<real>>(n, real{2});
  return {{{"bytes", 3.0 * sizeof(real) * static_cast<double>(n)}}, [=, &engine] {
            const Context ctx = engine.context();
            ctx.ranges(n, elementwise_grain, [&](std::int64_t begin, std::int64_t end) noexcept {
              ctx->combine(real{1}, b->data() + begin, real{3}, c->data() + begin, a->data() + begin, end - begin);
            });
          }};
}

// save MODEL FILE: an untrained model, for timing the program from its start.
Item save(const Words& w) {
  network(w.at(1)).save(w.at(2));
  return {{}, [] {}};
}

Item make(const Engine& engine, const Words& w) {
  if (engine.device() != nullptr && !w.empty() && (w[0] == "gemm" || w[0] == "conv")) return on_device(engine, w);
  if (w.empty())
    throw Error(
        "usage: vitrine-bench [--device DEVICE] THREADS peak|bandwidth|gemm|conv|train|infer|explain|save ARGUMENTS...",
        Error::usage);
  if (w[0] == "peak") return peak(engine);
  if (w[0] == "bandwidth") return bandwidth(engine);
  if (w[0] == "save") return save(w);
  if (w[0] == "gemm") return gemm(engine, w);
  if (w[0] == "conv") return conv(engine, w);
  if (w[0] == "train") return train(engine, w);
  if (w[0] == "infer") return infer(engine, w);
  if (w[0] == "explain") return explained(engine, w);
  throw Error("bench: unknown work '" + w[0] + "'", Error::usage);
}

}  // namespace
}  // namespace vitrine::tools

int main(int argc, char** argv) {
  using namespace vitrine;
  using namespace vitrine::tools;
  try {
    Words words(argv + 1, argv + argc);
    std::string device = "cpu";
    if (words.size() >= 2 && words[0] == "--device") device = words[1], words.erase(words.begin(), words.begin() + 2);
    const int threads = words.empty() ? 1 : std::stoi(words[0]);
    if (!words.empty()) words.erase(words.begin());
    const Engine engine(threads, device);
    Item item = make(engine, words);
    item.about["isa"] = kernels::name(kernels::active());
    item.about["threads"] = engine.threads();
    std::cout << item.about.dump() << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
      const double start = now(), cpu_start = cpu();
      item.run();
      const double seconds = now() - start, cpu_seconds = cpu() - cpu_start;
      rusage usage{};
      getrusage(RUSAGE_SELF, &usage);
      std::cout
          << Json{{"seconds", seconds}, {"cpu_seconds", cpu_seconds}, {"peak_bytes", usage.ru_maxrss * 1024}}.dump()
          << std::endl;
    }
  } catch (const std::exception& e) {
    std::cerr << "vitrine-bench: " << e.what() << '\n';
    return 1;
  }
}
