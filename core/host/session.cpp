#include "core/host/session.h"

#include "core/host/text.h"

namespace vitrine {

Geometry geometry_of(const Graph& g, Id value) {
  Memory book(g.values.size() * (sizeof(Geometry) + sizeof(bool)) + 4 * Arena::alignment);
  Arena arena(book.data(), book.bytes());
  Failure failure;
  Context ctx;
  ctx.failure = &failure;
  Geometry out;
  if (find_geometry(ctx, g, value, arena, out) != Status::ok)
    throw Error("places of '" + std::string(g.values[value].name) + "': " + sentence(failure));
  return out;
}

namespace {

PlanRequest with_constant(PlanRequest request, bool constant) {
  request.constant_parameters = constant;
  return request;
}

}  // namespace

Session::Session(const Engine& engine, const PlanRequest& request)
    : device_(engine.device()),
      memory_limit_(engine.memory()),
      context_(engine.context()),
      batches_(request.batches.begin(), request.batches.end()),
      rules_(request.rules.begin(), request.rules.end()),
      seeds_(request.seeds.begin(), request.seeds.end()),
      keep_values_(request.keep_values.begin(), request.keep_values.end()),
      keep_signals_(request.keep_signals.begin(), request.keep_signals.end()) {
  // The plan's records and working memory: a few hundred bytes per node. Pages that nobody touches cost nothing.
  book_ = Memory((std::size_t{1} << 20) + 4096 * (request.graph->nodes.size() + request.graph->values.size()) *
                                              static_cast<std::size_t>(request.channels));
  Arena book(book_.data(), book_.bytes());
  PlanRequest own = request;
  own.batches = batches_;
  own.rules = rules_;
  own.seeds = seeds_;
  own.keep_values = keep_values_;
  own.keep_signals = keep_signals_;
  check([&](const Context& ctx) { return make_plan(own, ctx, book, plan_); });
}

Session::Session(const Engine& engine, const PlanRequest& request, std::span<const real> parameters, bool prepare)
    : Session(engine, with_constant(request, prepare)) {
  if (device_ != nullptr) {
    parameters_ = Memory(parameters.size_bytes(), device_);
    vitrine::upload(device_, parameters_.data(), parameters.data(), parameters.size_bytes());
  }
  make_run(device_ != nullptr ? reinterpret_cast<real*>(parameters_.data()) : const_cast<real*>(parameters.data()),
           nullptr);
}

Session::Session(const Engine& engine, const PlanRequest& request, real* parameters, real* parameter_gradients)
    : Session(engine, request) {
  make_run(parameters, parameter_gradients);
}

// Pages are granted when they are touched, so a run that is too large would be killed in its middle.
void Session::check_memory() const {
  constexpr std::size_t small = std::size_t{64} << 20;
  const std::size_t bytes = plan_.bytes();
  if (device_ != nullptr || (memory_limit_ == 0 && bytes < small)) return;
  const std::size_t free = available_memory(), most = memory_limit_ > 0 ? std::min(free, memory_limit_) : free;
  if (bytes <= most) return;
  const std::int32_t images = plan_.request.batch;
  throw Error("a run of " + std::to_string(images) + (images == 1 ? " image" : " images") + " needs " +
              text_of_bytes(bytes) + " of memory, but " +
              (most == memory_limit_ ? "the limit is " : "this process can have ") + text_of_bytes(most));
}

void Session::make_run(real* parameters, real* parameter_gradients) {
  check_memory();
  for (const Node& node : plan_.request.graph->nodes) draws_ = draws_ || node.op->traits().random;
  memory_ = Memory(plan_.bytes(), device_);
  if (device_ == nullptr) {
    run_ = std::make_unique<Run>(plan_, memory_.data(), parameters, parameter_gradients);
    return;
  }
  run_book_ = Memory(plan_.host_bytes());
  run_ = std::make_unique<Run>(plan_, memory_.data(), run_book_.data(), parameters, parameter_gradients);
}

// The input in memory that the kernels can read.
TensorView Session::placed(const TensorView& input, Memory& memory) {
  if (device_ == nullptr) return input;
  const auto bytes = static_cast<std::size_t>(input.size()) * sizeof(real);
  if (memory.bytes() < bytes) memory = Memory(bytes, device_);
  vitrine::upload(device_, memory.data(), input.data, bytes);
  return {reinterpret_cast<real*>(memory.data()), input.shape};
}

void Session::raise(Status status, Failure failure) {
  if (status == Status::ok) return;
  if (failure.status == Status::ok) failure.status = status;
  // The caller chose the rule or the request; everything else came with the data.
  throw Error(sentence(failure),
              status == Status::no_rule || status == Status::bad_argument ? Error::usage : Error::input);
}

void Session::raise_device_failure() const {
  if (const char* const why = device_->failure()) throw Error(std::string(device_->name) + ": " + why);
}

void Session::forget(Recorded& r) {
  if (r.work != nullptr) device_->forget(r.work);
  r = {};
}

std::int32_t Session::batch_multiple() const noexcept {
  for (const ValuePlan& value : plan_.values)
    if (value.interleaved) return plan_.block;
  return 1;
}

Session::~Session() {
  forget(forward_);
  forget(walk_);
}

template <class F>
void Session::run_recorded(Recorded& r, bool possible, std::int32_t batch, Id first_node, F&& f) {
  if (device_ == nullptr || device_->begin_recording == nullptr || !possible || r.impossible) return check(f);
  // Another batch size or first node is other work, and the run must learn of it.
  const bool same = r.batch == batch && r.first_node == first_node;
  if (!same) {
    forget(r);
    r.batch = batch;
    r.first_node = first_node;
    return check(f);
  }
  if (r.work != nullptr && device_->replay(r.work)) return raise_device_failure();
  if (r.work != nullptr) device_->forget(r.work);
  r.work = nullptr;
  if (device_->begin_recording()) {
    Failure failure;
    Context ctx = context_;
    ctx.failure = &failure;
    const Status status = f(ctx);
    r.work = device_->end_recording();
    raise(status, failure);
    if (r.work != nullptr && device_->replay(r.work)) return raise_device_failure();
  }
  r.impossible = r.work == nullptr;
  check(f);
}

void Session::forward(const TensorView& input, Id first_node) {
  const std::byte* const before = input_.data();
  const TensorView x = placed(input, input_);
  if (input_.data() != before) forget(forward_), forget(walk_);
  const bool possible = plan_.request.observer == nullptr && !(context_.training && draws_);
  run_recorded(forward_, possible, x.shape.n(), first_node,
               [&](const Context& ctx) { return run_->forward(ctx, x, first_node); });
  if (walk_.batch != x.shape.n()) forget(walk_);
}

void Session::give(Id input, const TensorView& value) {
  const Graph& g = *plan_.request.graph;
  const std::size_t k = g.input_index(input);
  given_.resize(g.inputs.size() + 1);  // the last entry is for a value that is no input; the run refuses it
  Given& own = given_[k];
  if (own.memory.bytes() == 0 && k < g.inputs.size())
    own.memory =
        Memory(static_cast<std::size_t>(g.shape(input).with_batch(plan_.request.batch).size()) * sizeof(real), device_);
  check([&](const Context& ctx) {
    return run_->give(ctx, input, {reinterpret_cast<real*>(own.memory.data()), value.shape});
  });
  vitrine::upload(device_, own.memory.data(), value.data, static_cast<std::size_t>(value.size()) * sizeof(real));
  // Recorded work reads the same memory, but for the number of images it had then.
  if (own.images != value.shape.n()) forget(forward_), forget(walk_);
  own.images = value.shape.n();
}

void Session::forward_reference(const TensorView& input) {
  const std::byte* const before = reference_input_.data();
  const TensorView x = placed(input, reference_input_);
  if (reference_input_.data() != before) forget(walk_);
  check([&](const Context& ctx) { return run_->forward_reference(ctx, x); });
}

void Session::walk_back(Ledger* ledger) {
  run_recorded(walk_, plan_.request.observer == nullptr && ledger == nullptr, run_->batch(), 0,
               [&](const Context& ctx) { return run_->walk_back(ctx, ledger); });
}

}  // namespace vitrine
