// A network in a test: built, planned and run with few words, in the precision of the build (float or double).
#pragma once

#include <doctest/doctest.h>
#include <memory>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "core/planner.h"
#include "core/run.h"
#include "interp/rules/composite.h"
#include "interp/rules/deeplift.h"
#include "kernels/normal.h"

namespace vitrine::test {

using Values = std::vector<real>;

inline Values random_values(std::int64_t n, std::uint64_t seed, double scale = 1) {
  Values v(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i)
    v[static_cast<std::size_t>(i)] = static_cast<real>(scale * philox_normal(seed, static_cast<std::uint64_t>(i)));
  return v;
}

inline double sum(const Values& v) {
  double s = 0;
  for (const real x : v) s += x;
  return s;
}

inline double dot(const Values& a, const Values& b) {
  double s = 0;
  for (std::size_t i = 0; i < a.size(); ++i) s += static_cast<double>(a[i]) * b[i];
  return s;
}

inline double max_abs(const Values& v) {
  double m = 0;
  for (const real x : v) m = std::isnan(x) ? INFINITY : std::max(m, std::abs(static_cast<double>(x)));
  return m;
}

/// max |a - b| / max |b|, infinite for NaN or unequal sizes.
inline double difference(const Values& a, const Values& b) {
  if (a.size() != b.size()) return INFINITY;
  double d = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double e = std::abs(static_cast<double>(a[i]) - b[i]);
    d = std::isnan(e) ? INFINITY : std::max(d, e);
  }
  return d / std::max(max_abs(b), 1e-30);
}

/// What rounding may cost: tight in double, looser in float.
inline double tolerance(double in_double = 1e-9, double in_float = 2e-5) {
  return sizeof(real) == 8 ? in_double : in_float;
}

inline const Kernels& kernel_table() { return kernels::table(kernels::active()); }

class Net {
 public:
  Net(Shape image, const std::function<Id(GraphBuilder&, Id)>& body, std::uint64_t seed = 1)
      : Net([&](GraphBuilder& g) { g.output(body(g, g.input(image))); }, seed) {}
  /// With any inputs and outputs.
  explicit Net(const std::function<void(GraphBuilder&)>& body, std::uint64_t seed = 1)
      : memory_(std::size_t{4} << 20), arena_(memory_.data(), memory_.size()) {
    GraphBuilder g(arena_, 256, 1024);
    body(g);
    const Status s = g.build(graph);
    REQUIRE_MESSAGE(s == Status::ok, g.failure().node << ": " << g.failure().what);
    parameters = random_values(graph.parameter_size, seed, 0.4);
    for (const Value& v : graph.values)  // no variance is negative
      if (v.kind == ValueKind::parameter && std::string(v.name).ends_with(".running_var"))
        for (std::int64_t i = 0; i < v.shape.size(); ++i)
          parameters[static_cast<std::size_t>(v.offset + i)] =
              real{0.5} + std::abs(parameters[static_cast<std::size_t>(v.offset + i)]);
  }

  Context context(Failure* failure = nullptr) const {
    Context ctx;
    ctx.kernels = &kernel_table();
    ctx.failure = failure;
    return ctx;
  }
  Id node(const char* name) const {
    const Id i = graph.find(name);
    REQUIRE(i != no_id);
    return i;
  }
  Values& parameter(const char*) = delete;
  void set_parameter(const char* name, const Values& v) {
    for (const Value& value : graph.values)
      if (std::string(value.name) == name) {
        REQUIRE(static_cast<std::size_t>(value.shape.size()) == v.size());
        std::copy(v.begin(), v.end(), parameters.begin() + value.offset);
        return;
      }
    FAIL("no parameter " << name);
  }
  /// All biases zero.
  void drop_biases() {
    for (const Value& value : graph.values)
      if (value.kind == ValueKind::parameter && std::string(value.name).ends_with(".bias"))
        std::fill_n(parameters.begin() + value.offset, value.shape.size(), real{0});
  }
  Shape image(std::int32_t batch) const { return graph.shape(graph.input).with_batch(batch); }
  Shape result(std::int32_t batch) const { return graph.shape(graph.output).with_batch(batch); }

  Graph graph{};
  Values parameters;

 private:
  std::vector<std::byte> memory_;
  Arena arena_;
};

/// One planned run with one rule a node.
class Walked {
 public:
  struct Options {
    std::int32_t batch = 1;
    int channels = 1;
    bool reference = false, parameter_gradients = false, ledger = false;
    Observer* observer = nullptr;
    std::vector<Id> keep{};
    Parallel* parallel = nullptr;
    bool training = false;
    bool recompute = false;
    bool one_reference = false;
    std::vector<Id> seeds{};
    Updater* updater = nullptr;
    std::vector<std::int32_t> batches{};
  };
  Walked(Net& net, const std::vector<const Rule*>& rules, Options o)
      : net_(net), rules_(rules), options_(std::move(o)), book_(std::size_t{4} << 20) {
    PlanRequest q;
    q.graph = &net.graph;
    q.batch = options_.batch;
    q.batches = options_.batches;
    q.rules = rules_;
    q.channels = options_.channels;
    q.reference = options_.reference;
    q.one_reference = options_.one_reference;
    q.parameter_gradients = options_.parameter_gradients;
    q.until = net.graph.input;
    q.seeds = options_.seeds;
    q.keep_values = options_.keep;
    q.keep_signals = options_.keep;
    q.ledger = options_.ledger;
    q.observer = options_.observer;
    q.recompute = options_.recompute;
    q.updater = options_.updater;
    Arena book(book_.data(), book_.size());
    Context ctx = context();
    status = make_plan(q, ctx, book, plan);
    if (status != Status::ok) return;
    memory_.assign(plan.bytes(), std::byte{0xff});  // NaN everywhere: nothing may be read before it is written
    gradients.assign(net.parameters.size(), NAN);
    run = std::make_unique<Run>(plan, memory_.data(), net.parameters.data(), gradients.data());
  }

  Context context() {
    Context ctx = net_.context(&failure);
    ctx.parallel = options_.parallel;
    ctx.training = options_.training;
    ctx.random_key = 77;
    return ctx;
  }

  /// The value of an input beside the main one, for the runs that follow.
  void give(Id input, const Values& x, std::int32_t batch) {
    given_[input] = x;
    REQUIRE(run->give(context(), input, {given_[input].data(), net_.graph.shape(input).with_batch(batch)}) ==
            Status::ok);
  }
  Values forward(const Values& x, std::int32_t batch) {
    input_ = x;
    REQUIRE(run->forward(context(), {input_.data(), net_.image(batch)}) == Status::ok);
    return copy(run->value(net_.graph.output));
  }
  Values forward_reference(const Values& x, std::int32_t batch) {
    reference_ = x;
    REQUIRE(run->forward_reference(context(), {reference_.data(), net_.image(batch)}) == Status::ok);
    return copy(run->reference_value(net_.graph.output));
  }
  /// The signal at the input for a seed at the output.
  Values back(const Values& seed, Ledger* ledger = nullptr) {
    for (int c = 0; c < options_.channels; ++c) {
      const TensorView s = run->signal(net_.graph.output, c);
      REQUIRE(static_cast<std::size_t>(s.size()) == seed.size());
      std::copy(seed.begin(), seed.end(), s.data);
    }
    status = run->walk_back(context(), ledger);
    REQUIRE_MESSAGE(status == Status::ok, failure.node << ": " << failure.what);
    return copy(run->signal(net_.graph.input));
  }
  static Values copy(const TensorView& t) { return {t.data, t.data + t.size()}; }

  Failure failure;
  Status status = Status::ok;
  Plan plan;
  std::unique_ptr<Run> run;
  Values gradients;

 private:
  Net& net_;
  std::vector<const Rule*> rules_;
  Options options_;
  std::vector<std::byte> book_, memory_;
  Values input_, reference_;
  std::map<Id, Values> given_;
};

/// One rule for all nodes.
inline std::vector<const Rule*> everywhere(const Net& net, const Rule& rule) {
  return std::vector<const Rule*>(net.graph.nodes.size(), &rule);
}

/// The results of all nodes.
inline std::vector<Id> results(const Net& net) {
  std::vector<Id> all;
  for (Id v = 0; v < net.graph.values.size(); ++v)
    if (net.graph.values[v].kind == ValueKind::result) all.push_back(v);
  return all;
}

/// A composite's rules, with their memory.
struct Composed {
  Composed(const Net& net, const CompositeOptions& o)
      : memory(std::size_t{1} << 20), arena(memory.data(), memory.size()), rules(net.graph.nodes.size()) {
    Failure failure;
    const Status s = compose(net.graph, o, arena, rules, &failure);
    REQUIRE_MESSAGE(s == Status::ok, failure.what);
  }
  std::vector<std::byte> memory;
  Arena arena;
  std::vector<const Rule*> rules;
};

}  // namespace vitrine::test
