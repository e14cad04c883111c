// The built-in composites. All but `uniform` are Zennit's [Anders et al. 2021], by the same names and with the same
// defaults; `first` means the layers that the input reaches, where Zennit takes the first module that was registered.
#pragma once

#include "interp/rules/composite.h"

namespace vitrine {
namespace composite_table {

inline constexpr LrpOptions alpha2_beta1_settings{.alpha = 2, .beta = 1};
inline constexpr RuleSpec alpha2_beta1{LrpKind::alpha_beta, &alpha2_beta1_settings, LrpGiven::alpha_beta};
inline constexpr CompositeEntry unchanged{.ops = "pointwise|route|view", .rule = RuleKind::pass};

inline constexpr CompositeEntry epsilon_plus[] = {
    {.ops = "spatial", .rule = LrpKind::z_plus},
    {.ops = "dense", .rule = LrpKind::epsilon},
    unchanged,
};
inline constexpr CompositeEntry epsilon_plus_flat[] = {
    {.first = true, .rule = LrpKind::flat},
    {.ops = "spatial", .rule = LrpKind::z_plus},
    {.ops = "dense", .rule = LrpKind::epsilon},
    unchanged,
};
inline constexpr CompositeEntry epsilon_gamma_box[] = {
    {.ops = "spatial", .first = true, .rule = LrpKind::z_box},
    {.ops = "spatial", .rule = LrpKind::gamma},
    {.ops = "dense", .rule = LrpKind::epsilon},
    unchanged,
};
inline constexpr CompositeEntry epsilon_alpha2_beta1[] = {
    {.ops = "spatial", .rule = alpha2_beta1},
    {.ops = "dense", .rule = LrpKind::epsilon},
    unchanged,
};
inline constexpr CompositeEntry epsilon_alpha2_beta1_flat[] = {
    {.first = true, .rule = LrpKind::flat},
    {.ops = "spatial", .rule = alpha2_beta1},
    {.ops = "dense", .rule = LrpKind::epsilon},
    unchanged,
};
// The gradient wherever it has no rule of its own, a batch norm that stands alone included.
inline constexpr CompositeEntry excitation_backprop[] = {
    {.ops = "weighted", .rule = LrpKind::z_plus},
    {.ops = "normaliser|activation", .rule = RuleKind::gradient},
    unchanged,
};
inline constexpr CompositeEntry uniform[] = {
    {.ops = "weighted", .rule = RuleKind::chosen},
    unchanged,
};

inline constexpr const char* zennit = "Anders et al. 2021 (Zennit)";

}  // namespace composite_table

inline constexpr Composite Composite::epsilon_plus{"epsilon-plus", "convolutions z-plus, linear layers epsilon",
                                                   composite_table::zennit, composite_table::epsilon_plus};
inline constexpr Composite Composite::epsilon_plus_flat{"epsilon-plus-flat", "epsilon-plus with flat at first layers",
                                                        composite_table::zennit, composite_table::epsilon_plus_flat};
inline constexpr Composite Composite::epsilon_gamma_box{
    "epsilon-gamma-box", "convolutions gamma, linear layers epsilon, z-box at first convolutions",
    composite_table::zennit, composite_table::epsilon_gamma_box};
inline constexpr Composite Composite::epsilon_alpha2_beta1{
    "epsilon-alpha2-beta1", "convolutions alpha-beta with alpha 2 and beta 1, linear layers epsilon",
    composite_table::zennit, composite_table::epsilon_alpha2_beta1};
inline constexpr Composite Composite::epsilon_alpha2_beta1_flat{
    "epsilon-alpha2-beta1-flat", "epsilon-alpha2-beta1 with flat at first layers", composite_table::zennit,
    composite_table::epsilon_alpha2_beta1_flat};
inline constexpr Composite Composite::excitation_backprop{
    "excitation-backprop", "layers with weights z-plus, activations and batch norms by the gradient",
    "Zhang et al. 2016; Anders et al. 2021 (Zennit)", composite_table::excitation_backprop};
inline constexpr Composite Composite::uniform{"uniform", "one rule at all layers with weights", "Bach et al. 2015",
                                              composite_table::uniform};

/// Those that have a name of their own. `uniform` goes by uniform-RULE.
inline constexpr const Composite* named_composites[] = {
    &Composite::epsilon_plus,         &Composite::epsilon_plus_flat,         &Composite::epsilon_gamma_box,
    &Composite::epsilon_alpha2_beta1, &Composite::epsilon_alpha2_beta1_flat, &Composite::excitation_backprop,
};

}  // namespace vitrine
