// LRP rules as data. A rule of layer-wise relevance propagation [Bach et al. 2015] is a table of rows. A row says which
// part of the input meets which part of the weights and of the bias; rows form one or two groups. For a layer with
// input x, weights w and bias b, and relevance R at its output:
//
//   row k       z_k = A(w_k) x_k + b_k              x_k, w_k, b_k: the parts that the row names
//   group g     D_g = sum of z_k over its rows ;    s_g = R / stabilised(D_g)
//   relevance   R_in = sum over g of factor_g * sum over its rows k of x_k . A(w_k)^T s_g
//
// interp/rules/lrp.h runs a table at every affine op. A table of one's own is filled in like those in lrp_table.cpp and
// asked with check(). README.md in this folder has the formulas of all built-in rules.
#pragma once

#include "core/op.h"

namespace vitrine {

/// What a row multiplies its weights with.
enum class LrpInput : std::uint8_t {
  all,         ///< x
  positive,    ///< max(x, 0)
  negative,    ///< min(x, 0)
  ones,        ///< 1 for each input element, 0 in the padding
  above_low,   ///< x - low
  above_high,  ///< x - high, which is not positive inside the box
};

/// How a group gets its denominators.
enum class LrpDenominator : std::uint8_t {
  of_rows,             ///< the sum of its rows
  output_less_bounds,  ///< likewise, for rows above bounds: (A(w) x + b) - (sum of A(w_k) bound_k + b). The subtrahend
                       ///< is the same for all images, so it is made once for a batch
};

/// Whether the bias takes part in the denominators.
enum class BiasMode : std::uint8_t {
  kept,     ///< it does, and absorbs its share of the relevance
  dropped,  ///< it does not
  shared,   ///< it does, and its share is spread evenly over the neuron's inputs [Bach et al. 2015, sec. 2.6; toolbox]
};

/// One row. Parts of weights and bias are substitutions: raw_part, positive_part, negative_part, squared, ones, nothing
/// (core/op.h), or factors of one's own for the positive and the negative elements.
struct LrpRow {
  LrpInput input = LrpInput::all;
  Substitute weight = nothing;  ///< nothing: the row is not used
  Substitute bias = nothing;
  constexpr bool used() const noexcept { return !weight.zero(); }
};

struct LrpGroup {
  static constexpr std::size_t max_rows = 4;

  LrpRow rows[max_rows] = {};  ///< used ones first
  float factor = 1;  ///< of the relevance that the group sends; those of all groups sum to 1 in rules that conserve
  kernels::Sign outputs = kernels::Sign::any;  ///< the group speaks for all outputs, or those of one sign
  LrpDenominator denominator = LrpDenominator::of_rows;
  /// The denominators may be much smaller than the relevance that is divided by them. Kernels whose error is relative
  /// to the largest sums nearby (Winograd) do not make them.
  bool exact = false;

  std::size_t row_count() const noexcept;
  std::span<const LrpRow> used_rows() const noexcept { return {rows, row_count()}; }
};

struct LrpTable {
  static constexpr std::size_t max_groups = 2;

  const char* name = "lrp";
  LrpGroup groups[max_groups] = {};  ///< a group whose first row is not used is none; used ones first
  kernels::Stabilise stabiliser{};
  BiasMode bias = BiasMode::kept;
  /// k, if D_0 + D_1 = k * (A(w) x + b): at ops with weights the denominators of the second group are then what those
  /// of the first leave of it, and need no pass of their own. 0: there is no such number.
  float output_multiple = 0;
  /// Bounds of inputs, in network space: one value, or one per channel. They must outlive the rule.
  std::span<const float> low{}, high{};

  std::size_t group_count() const noexcept;
  std::span<const LrpGroup> used_groups() const noexcept { return {groups, group_count()}; }
  /// The table without rows that read negative inputs: for inputs that are known to have none.
  LrpTable for_nonnegative_inputs() const noexcept;
};

/// Null if the interpreter can run the table and its formula is the one at the head of this file; else why not, as the
/// end of a sentence ("needs ...").
const char* check(const LrpTable&) noexcept;

/// The built-in rules.
enum class LrpKind : std::uint8_t {
  zero,        ///< by contribution; 0/0 is 0
  epsilon,     ///< by contribution, with epsilon added to the denominators
  gamma,       ///< positive contributions favoured by 1 + gamma; inputs of any sign
  alpha_beta,  ///< alpha times the positive contributions minus beta times the negative ones, alpha - beta = 1
  z_plus,      ///< positive contributions alone
  z_box,       ///< z^B: inputs known to be in [low, high]
  w_square,    ///< by squared weights
  flat,        ///< evenly
  norm,        ///< by contribution with the usual stabiliser, for linear ops without weights: average pool, add
};

/// Names of the kinds, in the order of LrpKind: on the command line, in composites and in ledgers.
inline constexpr const char* lrp_names[] = {"lrp-0", "epsilon",  "gamma", "alpha-beta", "z-plus",
                                            "z-box", "w-square", "flat",  "norm"};
constexpr const char* name(LrpKind kind) noexcept { return lrp_names[static_cast<std::size_t>(kind)]; }

struct LrpOptions {
  LrpKind kind = LrpKind::epsilon;
  float epsilon = 1e-6f;  ///< of the epsilon rule, in place of the stabiliser's
  float gamma = 0.25f, alpha = 2, beta = 1;
  kernels::Stabilise stabiliser{};  ///< of all other rules; its form is that of the epsilon rule, too
  BiasMode bias = BiasMode::kept;
  std::span<const float> low{}, high{};  ///< z_box, as in LrpTable
};

/// The table of a built-in rule.
LrpTable lrp_table(const LrpOptions&) noexcept;

/// Null if the options are in their ranges and their table passes check; else why not.
const char* check(const LrpOptions&) noexcept;

}  // namespace vitrine
