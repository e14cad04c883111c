// A network and its explanation as firmware has them: all memory is one static block, no heap, no exceptions, no
// streams, nothing runs before main. Built with the embedded library's flags and linked without the C++ library.
#include "core/planner.h"
#include "core/run.h"
#include "interp/rules/composite.h"
#include "layers/activation.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/pool.h"
#include "layers/view.h"

extern "C" int puts(const char*);

// What a freestanding program must bring along itself.
extern "C" void __cxa_pure_virtual() { __builtin_trap(); }

namespace {

alignas(64) std::byte graph_memory[12 * 1024], book_memory[24 * 1024], run_memory[48 * 1024];
alignas(64) vitrine::real parameters[4096];
vitrine::real image[14 * 14];

int fail(const char* what) {
  puts(what);
  return 1;
}

}  // namespace

int main() {
  using namespace vitrine;
  Arena graph_arena(graph_memory, sizeof graph_memory), book(book_memory, sizeof book_memory);
  GraphBuilder g(graph_arena, 16, 32);
  const Id x = g.input({1, 1, 14, 14});
  Id h = max_pool(g, relu(g, conv2d(g, x, {.out = 4, .kernel = 5}, "conv1"), "relu1"), {.kernel = 2}, "pool1");
  h = relu(g, conv2d(g, h, {.out = 6, .kernel = 3}, "conv2"), "relu2");
  g.output(linear(g, flatten(g, h, "flatten"), 3, "fc"));
  Graph graph;
  if (g.build(graph) != Status::ok) return fail(g.failure().what);
  if (graph.parameter_size > 4096) return fail("parameters do not fit");
  // Weights would be a table in flash; here they are small numbers of both signs, biases zero.
  std::uint32_t state = 1;
  for (const Value& v : graph.values)
    if (v.kind == ValueKind::parameter && v.init == Init::weight)
      for (std::int64_t i = 0; i < v.shape.size(); ++i) {
        state = state * 1664525u + 1013904223u;
        parameters[v.offset + i] = static_cast<real>(static_cast<std::int32_t>(state >> 16) - 32768) / 65536;
      }
  for (int i = 0; i < 14 * 14; ++i) image[i] = static_cast<real>((i * 7) % 11) / 11;

  Context ctx;
  Failure failure;
  ctx.kernels = &kernels::table(kernels::Isa::reference);
  ctx.failure = &failure;
  const Rule* rules[16];
  if (compose(graph, {Composite::epsilon_plus, {}}, book, {rules, graph.nodes.size()}, &failure) != Status::ok)
    return fail(failure.what);
  PlanRequest request;
  request.graph = &graph;
  request.rules = {rules, graph.nodes.size()};
  request.until = graph.input;
  Plan plan;
  if (make_plan(request, ctx, book, plan) != Status::ok) return fail(failure.what);
  if (plan.bytes() > sizeof run_memory) return fail("the run does not fit");
  Run run(plan, run_memory, parameters);
  if (run.forward(ctx, {image, {1, 1, 14, 14}}) != Status::ok) return fail(failure.what);
  const TensorView logits = run.value(graph.output), seed = run.signal(graph.output);
  for (int k = 0; k < 3; ++k) seed.data[k] = k == 1 ? logits.data[k] : 0;
  if (run.walk_back(ctx) != Status::ok) return fail(failure.what);
  real sum = 0;
  const TensorView relevance = run.signal(graph.input);
  for (std::int64_t i = 0; i < relevance.size(); ++i) sum += relevance.data[i];
  // Without biases all relevance arrives.
  const real gap = sum - logits.data[1], bound = (logits.data[1] < 0 ? -logits.data[1] : logits.data[1]) / 1000;
  if (!(gap < bound && -gap < bound)) return fail("relevance does not sum to the score");
  puts("ok");
  return 0;
}
