// The slots that cuDNN may take, against the reference: the module over the libcudart stand-in, cuDNN's test double
// below it. Scratch memory is exactly what the plan asked for, so that one byte more is a fault.
//
//   cudnn_test --module=PATH     (VITRINE_CUDNN_LIBRARY: the double)
#define DOCTEST_CONFIG_IMPLEMENT
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "kernels/device.h"

using namespace vitrine;
using namespace vitrine::kernels;

namespace {

const Device* device = nullptr;
const Table<float>& reference() { return table(Isa::reference); }

// A vector and its copy on the device.
struct Both {
  std::vector<float> host;
  float* there;
  explicit Both(std::size_t n, std::uint32_t seed = 0)
      : host(n, 0), there(static_cast<float*>(device->allocate(n * sizeof(float)))) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (float& v : host) v = normal(random);
    device->upload(there, host.data(), n * sizeof(float));
  }
  ~Both() { device->release(there); }
  Both(const Both&) = delete;
  /// `zero`: the result may be nothing but zeros, as ReLU leaves it of negative sums.
  void agrees(const char* what, bool zero = false) const {
    std::vector<float> got(host.size());
    device->download(got.data(), there, got.size() * sizeof(float));
    REQUIRE(device->failure() == nullptr);
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < host.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(got[i]) - static_cast<double>(host[i])));
      largest = std::max(largest, std::abs(static_cast<double>(host[i])));
    }
    INFO(what);
    CHECK((largest > 0 || zero));
    CHECK(worst <= 3e-6 * largest);
  }
};

template <class Args>
void run_there(const Tiled<Args>& kernel, const Args& a) {
  const Work work = kernel.plan(a);
  CHECK(work.tiles == 1);
  auto *const scratch = static_cast<std::byte*>(device->allocate(work.scratch_bytes)), *const shared =
                                                                                           static_cast<std::byte*>(
                                                                                               device->allocate(
                                                                                                   work.shared_bytes));
  if (work.shared_bytes > 0) kernel.pack(a, shared, 0);
  kernel.tile(a, shared, scratch, 0);
  device->synchronise();
  device->release(shared);
  device->release(scratch);
}
template <class Args>
void run_here(const Tiled<Args>& kernel, const Args& a) {
  const Work work = kernel.plan(a);
  std::vector<std::max_align_t> shared(work.shared_bytes / sizeof(std::max_align_t) + 1),
      scratch(work.scratch_bytes / sizeof(std::max_align_t) + 1);
  for (std::int64_t part = 0; part < work.parts && work.shared_bytes > 0; ++part)
    kernel.pack(a, reinterpret_cast<std::byte*>(shared.data()), part);
  for (std::int64_t i = 0; i < work.tiles; ++i)
    kernel.tile(a, reinterpret_cast<std::byte*>(shared.data()), reinterpret_cast<std::byte*>(scratch.data()), i);
}

}  // namespace

TEST_CASE("convolutions, with substituted operands, biases, strides, dilations, groups") {
  const ConvShape shapes[] = {
      {2, 3, 9, 10, 8, 3, 3, 9, 10, 1, 1, 1, 1, 1, 1, 1},  // same
      {3, 4, 11, 9, 6, 5, 5, 4, 3, 2, 2, 0, 0, 1, 1, 2},   // strides, groups; the algorithm that takes no bias
      {1, 2, 12, 12, 4, 3, 3, 8, 8, 1, 1, 0, 0, 2, 2, 1},  // dilations
      {2, 3, 8, 8, 5, 3, 3, 8, 8, 1, 1, 2, 2, 1, 1, 1},    // more padding at one side: refused
      {2, 4, 8, 8, 4, 3, 3, 8, 8, 1, 1, 1, 1, 1, 1, 4},    // depthwise: refused
  };
  const Substitute subs[] = {{}, {1, 0}, {1.25f, 1}, {1, 1, Substitute::square}, {1, 1, Substitute::one}};
  std::uint32_t seed = 1;
  for (const ConvShape& s : shapes)
    for (const Substitute& w_sub : subs)
      for (const Substitute& x_sub : {Substitute{}, Substitute{0, 1}})
        for (const bool add : {false, true}) {
          const bool relu = seed / 4 % 2 == 1;
          INFO("relu ", relu, ", batch ", s.n, " of ", s.c, " channels to ", s.oc, ", kernel ", s.kh, ", groups ",
               s.groups, ", add ", add);
          const auto xs = static_cast<std::size_t>(s.n * s.c * s.h * s.w),
                     ws = static_cast<std::size_t>(s.oc * (s.c / s.groups) * s.kh * s.kw),
                     ys = static_cast<std::size_t>(s.n * s.oc * s.oh * s.ow);
          const Both x(xs, ++seed), w(ws, ++seed), y(ys, ++seed), bias(static_cast<std::size_t>(s.oc), ++seed);
          Both out(ys, ++seed), x_out(xs, ++seed), w_out(ws, ++seed);
          ConvArgs<float> here;
          here.s = s, here.x_sub = x_sub, here.w_sub = w_sub, here.add = add, here.relu = relu,
          here.bias_sub = seed % 2 == 0 ? Substitute{} : Substitute{1, 0};
          here.x = x.host.data(), here.w = w.host.data(), here.y = y.host.data(),
          here.bias = seed % 3 == 0 ? nullptr : bias.host.data();
          here.y_out = out.host.data(), here.x_out = x_out.host.data(), here.w_out = w_out.host.data();
          ConvArgs<float> there = here;
          there.x = x.there, there.w = w.there, there.y = y.there,
          there.bias = here.bias != nullptr ? bias.there : nullptr;
          there.y_out = out.there, there.x_out = x_out.there, there.w_out = w_out.there;
          const Table<float>& t = *device->kernels;
          run_here(reference().conv_forward, here), run_there(t.conv_forward, there);
          out.agrees("forward", relu);
          run_here(reference().conv_backward_data, here), run_there(t.conv_backward_data, there);
          x_out.agrees("backward data");
          run_here(reference().conv_backward_weights, here), run_there(t.conv_backward_weights, there);
          w_out.agrees("backward weights");
        }
}

TEST_CASE("batch norm") {
  for (const std::int64_t channels : {1, 5})
    for (const bool add : {false, true}) {
      BatchNormArgs<float> here;
      here.images = 3, here.channels = channels, here.pixels = 14, here.last = channels,
      here.add_dx = here.add_dgamma = here.add_dbeta = add;
      const auto c = static_cast<std::size_t>(channels);
      const Both x(3 * c * 14, 1), dy(3 * c * 14, 2), gamma(c, 3), beta(c, 4);
      Both y(3 * c * 14, 5), mean(c, 6), inv(c, 7), running_mean(c, 8), running_var(c, 9), dx(3 * c * 14, 10),
          dgamma(c, 11), dbeta(c, 12);
      here.x = x.host.data(), here.gamma = gamma.host.data(), here.beta = beta.host.data(),
      here.mean = mean.host.data(), here.inv_std = inv.host.data(), here.running_mean = running_mean.host.data();
      here.running_var = running_var.host.data(), here.y = y.host.data(), here.dy = dy.host.data(),
      here.dx = dx.host.data(), here.dgamma = dgamma.host.data(), here.dbeta = dbeta.host.data();
      BatchNormArgs<float> there = here;
      there.x = x.there, there.gamma = gamma.there, there.beta = beta.there, there.mean = mean.there,
      there.inv_std = inv.there, there.running_mean = running_mean.there, there.running_var = running_var.there;
      there.y = y.there, there.dy = dy.there, there.dx = dx.there, there.dgamma = dgamma.there,
      there.dbeta = dbeta.there;
      reference().batch_norm_forward(here), device->kernels->batch_norm_forward(there);
      y.agrees("y"), mean.agrees("mean"), inv.agrees("1/deviation"), running_mean.agrees("running mean"),
          running_var.agrees("running variance");
      reference().batch_norm_backward(here), device->kernels->batch_norm_backward(there);
      dx.agrees("dx"), dgamma.agrees("dgamma"), dbeta.agrees("dbeta");
    }
}

TEST_CASE("pools") {
  for (const bool count_padding : {false, true})
    for (const std::int32_t pad : {0, 1}) {
      PoolShape p;
      p.planes = 6, p.h = 8, p.w = 9, p.kh = 3, p.kw = 2, p.stride_h = 2, p.stride_w = 2,
      p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = pad, p.count_padding = count_padding;
      p.oh = (p.h + 2 * pad - 3) / 2 + 1, p.ow = (p.w + 2 * pad - 2) / 2 + 1;
      const auto xs = static_cast<std::size_t>(p.planes * p.h * p.w),
                 ys = static_cast<std::size_t>(p.planes * p.oh * p.ow);
      Both x(xs, 1), y(ys, 2);
      reference().max_pool_forward(p, x.host.data(), y.host.data(), nullptr),
          device->kernels->max_pool_forward(p, x.there, y.there, nullptr);
      y.agrees("maximum");
      reference().avg_pool_forward(p, x.host.data(), y.host.data()),
          device->kernels->avg_pool_forward(p, x.there, y.there);
      y.agrees("average");
      for (const bool add : {true, false}) {
        reference().avg_pool_backward(p, y.host.data(), x.host.data(), add),
            device->kernels->avg_pool_backward(p, y.there, x.there, add);
        x.agrees("average's way back");
      }
    }
}

int main(int count, char** arguments) {
  std::string module;
  for (int i = 1; i < count; ++i)
    if (const std::string a = arguments[i]; a.starts_with("--module=")) module = a.substr(9);
  void* const library = dlopen(module.c_str(), RTLD_NOW);
  if (library == nullptr) return std::fprintf(stderr, "no module: %s\n", dlerror()), 1;
  const auto open = reinterpret_cast<decltype(&vitrine_open_device)>(dlsym(library, "vitrine_open_device"));
  const char* why = "it exports no vitrine_open_device";
  device = open != nullptr ? open(0, &why) : nullptr;
  if (device == nullptr) return std::fprintf(stderr, "no device: %s\n", why), 1;
  if (std::string(device->name).find("cuDNN 9") == std::string::npos)
    return std::fprintf(stderr, "no cuDNN: %s\n", device->name), 1;
  return doctest::Context(count, arguments).run();
}
