#include "layers/init.h"

#include "kernels/normal.h"

namespace vitrine {
void initialise(const Graph& g, Initialiser how, std::uint64_t seed, real* parameters) noexcept {
  for (std::int64_t i = 0; i < g.parameter_size; ++i) parameters[i] = 0;
  for (std::size_t id = 0; id < g.values.size(); ++id) {
    const Value& v = g.values[id];
    if (v.kind != ValueKind::parameter) continue;
    real* const p = parameters + v.offset;
    const std::int64_t n = v.shape.size();
    if (v.init == Init::one)
      for (std::int64_t i = 0; i < n; ++i) p[i] = 1;
    if (v.init != Init::weight) continue;
    const double taps = static_cast<double>(v.shape.pixels()), fan_in = v.shape.c() * taps,
                 fan_out = v.shape.n() * taps;
    double variance = 2 / fan_in;
    if (how == Initialiser::kaiming_normal_out) variance = v.rank == 4 ? 2 / fan_out : 1e-4;
    if (how == Initialiser::xavier_normal || how == Initialiser::xavier_uniform) variance = 2 / (fan_in + fan_out);
    if (how == Initialiser::lecun_normal || how == Initialiser::lecun_uniform) variance = 1 / fan_in;
    const bool uniform =
        how == Initialiser::kaiming_uniform || how == Initialiser::xavier_uniform || how == Initialiser::lecun_uniform;
    const std::uint64_t key = derive_key(seed, id);
    const double deviation = std::sqrt(variance), bound = std::sqrt(3 * variance);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto k = static_cast<std::uint64_t>(i);
      p[i] = static_cast<real>(uniform ? bound * (2 * (philox_word(key, k) / 4294967296.0) - 1)
                                       : deviation * philox_normal(key, k));
    }
  }
}

}  // namespace vitrine
