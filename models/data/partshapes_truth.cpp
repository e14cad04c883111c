#include "models/data/partshapes_truth.h"

#include <bit>

namespace vitrine::data {
namespace {

bool agree(const std::array<int, 4>& a, const std::array<int, 4>& b, unsigned slots) {
  for (std::size_t i = 0; i < 4; ++i)
    if ((slots >> i & 1) != 0 && a[i] != b[i]) return false;
  return true;
}

}  // namespace

std::array<double, 9> ideal_posterior(const std::array<int, 4>& values, unsigned visible) {
  std::array<double, 9> p{};
  int agreeing = 0;
  for (int c = 0; c < 9; ++c) agreeing += agree(code_word(c), values, visible);
  for (int c = 0; c < 9; ++c)
    if (agreeing == 0)
      p[static_cast<std::size_t>(c)] = 1. / 9;
    else if (agree(code_word(c), values, visible))
      p[static_cast<std::size_t>(c)] = 1. / agreeing;
  return p;
}

std::vector<SlotCase> slot_cases(Task task) {
  std::vector<SlotCase> cases;
  if (task == Task::code9 || task == Task::code9c) {
    for (int c = 0; c < 9; ++c) cases.push_back({code_word(c), c, 1. / 9});
    return cases;
  }
  for (int i = 0; i < 81; ++i) {
    const std::array<int, 4> x = {i / 27, i / 9 % 3, i / 3 % 3, i % 3};
    const double uniform = 1. / 81;
    switch (task) {
      case Task::near9:
        cases.push_back({x, nearest_word(x), uniform});
        break;
      case Task::head3:
        cases.push_back({x, x[0], uniform});
        break;
      case Task::wing3:
        cases.push_back({x, x[1], uniform});
        break;
      case Task::tail3:
        cases.push_back({x, x[2], uniform});
        break;
      case Task::legs3:
        cases.push_back({x, x[3], uniform});
        break;
      case Task::and2: {
        const bool both = x[0] == 1 && x[1] == 1;
        cases.push_back({x, both, (both ? 1. / 2 : 1. / 16) / 9});
        break;
      }
      case Task::xor2:
        if (x[0] < 2 && x[1] < 2) cases.push_back({x, x[0] ^ x[1], 1. / 36});
        break;
      default:
        return {};
    }
  }
  return cases;
}

std::array<double, 16> slot_game(Task task, const std::array<int, 4>& values, int label) {
  const std::vector<SlotCase> cases = slot_cases(task);
  std::array<double, 16> v{};
  for (unsigned s = 0; s < 16; ++s) {
    double all = 0, of_label = 0;
    for (const SlotCase& c : cases) {
      if (!agree(c.values, values, s)) continue;
      all += c.probability;
      if (c.label == label) of_label += c.probability;
    }
    v[s] = of_label / all;
  }
  return v;
}

std::array<double, 4> shapley(const std::array<double, 16>& game) noexcept {
  constexpr double weight[4] = {1. / 4, 1. / 12, 1. / 12, 1. / 4};  // |S|! (3-|S|)! / 4!
  std::array<double, 4> phi{};
  for (unsigned i = 0; i < 4; ++i)
    for (unsigned s = 0; s < 16; ++s)
      if ((s >> i & 1) == 0) phi[i] += weight[std::popcount(s)] * (game[s | 1u << i] - game[s]);
  return phi;
}

}  // namespace vitrine::data
