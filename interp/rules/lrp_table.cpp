#include "interp/rules/lrp_table.h"

namespace vitrine {
namespace {

constexpr Substitute favour_positive(float gamma) noexcept { return {1 + gamma, 1}; }
constexpr Substitute favour_negative(float gamma) noexcept { return {1, 1 + gamma}; }

// NaN and infinity fail.
bool finite(float v) noexcept { return v - v == 0; }
bool finite(const Substitute& s) noexcept { return finite(s.p) && finite(s.n); }
bool close(float a, float b) noexcept {
  const float difference = a - b, size = (b < 0 ? -b : b) + 1;
  return difference < 1e-5f * size && -difference < 1e-5f * size;
}

bool above_bound(const LrpRow& row) noexcept {
  return row.input == LrpInput::above_low || row.input == LrpInput::above_high;
}

/// Adds up a row's factors of positive and of negative weights (or biases). False for squares and ones.
bool add(Substitute& sum, const Substitute& s) noexcept {
  sum.p += s.p;
  sum.n += s.n;
  return s.kind == Substitute::signs;
}

const char* check_rows(const LrpGroup& group) noexcept {
  for (std::size_t k = 0; k < LrpGroup::max_rows; ++k) {
    const LrpRow& row = group.rows[k];
    if (row.used() && k >= group.row_count()) return "needs its rows one after another, without a gap";
    if (!finite(row.weight) || !finite(row.bias)) return "needs finite factors of weights and bias";
    if (above_bound(row) != (group.denominator == LrpDenominator::output_less_bounds) && row.used())
      return "needs the denominator output_less_bounds where, and only where, rows are above a bound";
  }
  if (!finite(group.factor) || group.factor == 0) return "needs factors of groups that are finite and not 0";
  if (group.denominator != LrpDenominator::output_less_bounds) return nullptr;
  Substitute sum = nothing;
  bool linear = true;
  for (const LrpRow& row : group.used_rows()) {
    linear = add(sum, row.weight) && linear;
    if (!row.bias.zero()) return "needs rows above a bound without a bias: it cancels";
  }
  if (!linear || !close(sum.p, 1) || !close(sum.n, 1))
    return "needs rows above a bound whose parts of the weights sum to the weights";
  return nullptr;
}

const char* check_bounds(std::span<const float> low, std::span<const float> high) noexcept {
  if (low.empty() || high.empty()) return "needs low and high";
  if (low.size() != high.size()) return "needs as many values of low as of high";
  for (std::size_t c = 0; c < low.size(); ++c)
    if (!(low[c] <= high[c])) return "needs low of at most high";
  return nullptr;
}

/// Whether all rows together see k times every input, weight and bias: the meaning of LrpTable::output_multiple.
bool sums_to_output(const LrpTable& t) noexcept {
  Substitute positive = nothing, negative = nothing, bias = nothing;
  bool linear = true;
  for (const LrpGroup& group : t.used_groups())
    for (const LrpRow& row : group.used_rows()) {
      if (row.input != LrpInput::negative) linear = add(positive, row.weight) && linear;
      if (row.input != LrpInput::positive) linear = add(negative, row.weight) && linear;
      linear = add(bias, row.bias) && linear && row.input <= LrpInput::negative;
    }
  const float k = t.output_multiple;
  return linear && close(positive.p, k) && close(positive.n, k) && close(negative.p, k) && close(negative.n, k) &&
         close(bias.p, k) && close(bias.n, k);
}

}  // namespace

std::size_t LrpGroup::row_count() const noexcept {
  std::size_t n = 0;
  while (n < max_rows && rows[n].used()) ++n;
  return n;
}

std::size_t LrpTable::group_count() const noexcept {
  std::size_t n = 0;
  while (n < max_groups && groups[n].rows[0].used()) ++n;
  return n;
}

LrpTable LrpTable::for_nonnegative_inputs() const noexcept {
  LrpTable t = *this;
  std::size_t kept_groups = 0;
  for (const LrpGroup& group : used_groups()) {
    LrpGroup& to = t.groups[kept_groups];
    to = group;
    std::size_t kept = 0;
    for (const LrpRow& row : group.used_rows())
      if (row.input != LrpInput::negative) to.rows[kept++] = row;
    for (std::size_t k = kept; k < LrpGroup::max_rows; ++k) to.rows[k] = LrpRow{};
    kept_groups += kept > 0;
  }
  for (std::size_t g = kept_groups; g < group_count(); ++g) t.groups[g] = LrpGroup{};
  if (kept_groups < group_count()) t.output_multiple = 0;
  return t;
}

LrpTable lrp_table(const LrpOptions& o) noexcept {
  constexpr auto all = LrpInput::all, positive = LrpInput::positive, negative = LrpInput::negative;
  constexpr Substitute p = positive_part, n = negative_part;
  LrpTable t{.name = name(o.kind), .stabiliser = o.stabiliser, .bias = o.bias, .low = o.low, .high = o.high};
  switch (o.kind) {
    case LrpKind::zero:
      t.groups[0] = {.rows = {{all, raw_part, raw_part}}};
      t.stabiliser.eps = 0;
      break;
    case LrpKind::epsilon:
      t.groups[0] = {.rows = {{all, raw_part, raw_part}}};
      t.stabiliser.eps = o.epsilon;
      break;
    case LrpKind::norm:
      t.groups[0] = {.rows = {{all, raw_part, raw_part}}};
      break;
    case LrpKind::z_plus:
      t.groups[0] = {.rows = {{positive, p, p}, {negative, n}}};
      break;
    case LrpKind::alpha_beta:
      t.groups[0] = {.rows = {{positive, p, p}, {negative, n}}, .factor = o.alpha};
      if (o.beta == 0) break;
      // The relevance that arrives grew out of the positive contributions' sums, so it is not much larger than they
      // are. The negative contributions' sums may be far smaller: hence `exact`.
      t.groups[1] = {.rows = {{positive, n, n}, {negative, p}}, .factor = -o.beta, .exact = true};
      t.output_multiple = 1;
      break;
    case LrpKind::gamma: {
      const Substitute up = favour_positive(o.gamma), down = favour_negative(o.gamma);
      t.groups[0] = {.rows = {{positive, up, up}, {negative, down}}, .outputs = kernels::Sign::positive};
      t.groups[1] = {.rows = {{positive, down, down}, {negative, up}}, .outputs = kernels::Sign::negative};
      t.output_multiple = 2 + o.gamma;
      break;
    }
    case LrpKind::z_box:
      // (x - low) w+ + (x - high) w-; the bias cancels: b - b+ - b-.
      t.groups[0] = {.rows = {{LrpInput::above_low, p}, {LrpInput::above_high, n}},
                     .denominator = LrpDenominator::output_less_bounds};
      break;
    case LrpKind::w_square:
      t.groups[0] = {.rows = {{LrpInput::ones, squared, squared}}};
      break;
    case LrpKind::flat:
      t.groups[0] = {.rows = {{LrpInput::ones, ones}}};
      break;
  }
  return t;
}

const char* check(const LrpTable& t) noexcept {
  if (t.group_count() == 0) return "needs at least one row in its first group";
  for (std::size_t g = 0; g < LrpTable::max_groups; ++g) {
    if (const char* why = check_rows(t.groups[g])) return why;
    if (t.groups[g].denominator == LrpDenominator::output_less_bounds)
      if (const char* why = check_bounds(t.low, t.high)) return why;
  }
  if (!(t.stabiliser.eps >= 0) || !finite(t.stabiliser.eps)) return "needs a stabiliser of at least 0";
  if (t.output_multiple != 0 && (t.group_count() != 2 || !sums_to_output(t)))
    return "needs output_multiple to be what both groups' rows sum to, or 0";
  return nullptr;
}

const char* check(const LrpOptions& o) noexcept {
  // Written so that NaN fails too.
  if (!(o.epsilon >= 0)) return "needs epsilon of at least 0";
  if (!(o.gamma >= 0)) return "needs gamma of at least 0";
  if (!(o.stabiliser.eps > 0)) return "needs a stabiliser above 0";
  if (o.kind == LrpKind::alpha_beta) {
    const float difference = o.alpha - o.beta - 1;
    if (!(o.alpha >= 1 && o.beta >= 0 && difference < 1e-5f && difference > -1e-5f))
      return "needs alpha - beta = 1 with alpha of at least 1 and beta of at least 0";
  }
  return check(lrp_table(o));
}

}  // namespace vitrine
