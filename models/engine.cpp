#include "models/engine.h"

#include <sched.h>
#include <sys/mman.h>

#include <thread>

namespace vitrine {

std::string text(const Shape& s) {
  return "(" + std::to_string(s.n()) + "," + std::to_string(s.c()) + "," + std::to_string(s.h()) + "," + std::to_string(s.w()) + ")";
}

std::string text(std::span<const std::int64_t> dimensions) {
  std::string s = "(";
  for (std::size_t k = 0; k < dimensions.size(); ++k) {
    if (k > 0) s += ',';
    s += std::to_string(dimensions[k]);
  }
  return s + ')';
}

std::string sentence(const Failure& f) {
  std::string s = f.node[0] != '\0' ? std::string(f.node) + ": " : std::string();
  s += f.what[0] != '\0' ? f.what : name(f.status);
  if (f.status == Status::bad_shape) {
    s += ": found " + text(f.found);
    if (f.expected != f.found) s += ", expected " + text(f.expected);
  }
  return s;
}

Memory::Memory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw Error("this machine cannot give " + std::to_string(bytes >> 20) + " MiB of memory");
#ifdef MADV_HUGEPAGE
  if (bytes >= (std::size_t{4} << 20)) ::madvise(p, bytes, MADV_HUGEPAGE);
#endif
  data_ = static_cast<std::byte*>(p);
}

Memory::~Memory() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Geometry geometry_of(const Graph& g, Id value) {
  Memory book(g.values.size() * (sizeof(Geometry) + sizeof(bool)) + 4 * Arena::alignment);
  Arena arena(book.data(), book.bytes());
  Failure failure;
  Context ctx;
  ctx.failure = &failure;
  Geometry out;
  if (find_geometry(ctx, g, value, arena, out) != Status::ok) throw Error("places of '" + std::string(g.values[value].name) + "': " + sentence(failure));
  return out;
}

Engine::Engine(int threads) : kernels_(&kernels::table(kernels::active())) {
  if (threads <= 0) {
    cpu_set_t set;
    threads = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
    if (threads < 1) threads = 1;
  }
  if (threads > 1) pool_ = std::make_unique<ThreadPool>(threads);
}

namespace {

PlanRequest constant(PlanRequest request) {
  request.constant_parameters = true;
  return request;
}

}  // namespace

Session::Session(const Engine& engine, const PlanRequest& request, std::span<const real> parameters)
    : Session(engine, constant(request), const_cast<real*>(parameters.data()), nullptr) {}

Session::Session(const Engine& engine, const PlanRequest& request, real* parameters, real* parameter_gradients)
    : context_(engine.context()) {
  // The plan's arrays and working memory: a few hundred bytes a node. Untouched pages cost nothing.
  book_ = Memory((std::size_t{1} << 20) + 4096 * (request.graph->nodes.size() + request.graph->values.size()) * static_cast<std::size_t>(request.channels));
  Arena book(book_.data(), book_.bytes());
  check([&](const Context& ctx) { return make_plan(request, ctx, book, plan_); });
  memory_ = Memory(plan_.bytes());
  run_ = std::make_unique<Run>(plan_, memory_.data(), parameters, parameter_gradients);
}

void Session::raise(Status status, Failure failure) {
  if (status == Status::ok) return;
  if (failure.status == Status::ok) failure.status = status;
  // A rule that a node refuses was asked for; everything else came with the data.
  throw Error(sentence(failure), status == Status::no_rule || status == Status::bad_argument ? Error::usage : Error::input);
}

void Session::forward(const TensorView& input, Id first_node) {
  check([&](const Context& ctx) { return run_->forward(ctx, input, first_node); });
}

void Session::forward_reference(const TensorView& input) {
  check([&](const Context& ctx) { return run_->forward_reference(ctx, input); });
}

void Session::walk_back(Ledger* ledger) {
  check([&](const Context& ctx) { return run_->walk_back(ctx, ledger); });
}

}  // namespace vitrine
