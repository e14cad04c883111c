// What a report is told: which way every kernel goes, at which node, forward and back.
#include "core/report.h"

#include <map>
#include <set>
#include <string>

#include "tests/support/small_nets.h"

using namespace vitrine;
using namespace vitrine::test;

namespace {

struct Told final : Report {
  std::uint32_t node = no_id;
  bool backward = false;
  std::map<std::uint32_t, std::set<std::string>> kernels[2];  // forward, back: by node
  bool sound = true;

  void at(std::uint32_t n, bool back) noexcept override { node = n, backward = back; }
  void chose(const kernels::Choice& c, const kernels::GemmArgs<real>&) noexcept override { note(c); }
  void chose(const kernels::Choice& c, const kernels::ConvArgs<real>&) noexcept override { note(c); }
  void chose(const kernels::Choice& c, const kernels::PoolShape&) noexcept override { note(c); }
  void chose(const kernels::Choice& c, const kernels::BatchNormArgs<real>&) noexcept override { note(c); }
  void note(const kernels::Choice& c) {
    kernels[backward][node].insert(c.kernel);
    sound = sound && *c.way != '\0' && c.passed <= kernels::Choice::max_passed;
    for (int i = 0; i < c.passed; ++i)
      sound = sound && *c.refusals[i].reason != '\0' && std::string(c.refusals[i].way) != c.way;
  }
};

}  // namespace

TEST_SUITE_BEGIN("core");

TEST_CASE("a report is told of every kernel with several ways, by node") {
  const GradientRule rule(true);
  Net net({1, 2, 8, 9}, plain_net);
  Walked walked(net, everywhere(net, rule), {.batch = 2, .parameter_gradients = true});
  Told told;
  Context ctx = walked.context();
  ctx.report = &told;
  const Values x = random_values(net.image(2).size(), 1);
  const Values quiet = walked.forward(x, 2);
  CHECK(told.node == no_id);
  Values same = x;
  REQUIRE(walked.run->forward(ctx, {same.data(), net.image(2)}) == Status::ok);
  CHECK(Walked::copy(walked.run->value(net.graph.output)) == quiet);
  std::fill_n(walked.run->signal(net.graph.output).data, net.result(2).size(), real{1});
  REQUIRE(walked.run->walk_back(ctx) == Status::ok);
  CHECK(told.node == net.node("conv1"));
  CHECK(told.sound);
  const bool lists = kernel_table().conv_forward.choice != nullptr;  // the reference has one way for everything
  using Kernels = std::set<std::string>;
  CHECK(told.kernels[0][net.node("conv1")] == (lists ? Kernels{"conv_forward"} : Kernels{}));
  CHECK(told.kernels[1][net.node("conv2")] ==
        (lists ? Kernels{"conv_backward_data", "conv_backward_weights"} : Kernels{}));
  CHECK(told.kernels[0][net.node("pool1")] == (lists ? Kernels{"max_pool_forward"} : Kernels{}));
  CHECK(told.kernels[1][net.node("pool1")] == (lists ? Kernels{"max_pool_scatter"} : Kernels{}));
}

TEST_SUITE_END();
