// Initial values of parameters. Every element is a pure function of (seed, parameter, index).
#pragma once

#include "core/graph.h"

namespace vitrine {

enum class Initialiser : std::uint8_t {
  kaiming_normal,      ///< N(0, 2/fan_in): He et al. 2015; for ReLU networks
  kaiming_normal_out,  ///< N(0, 2/fan_out) at convolutions, N(0, 0.01^2) at linear layers: torchvision's ResNet and VGG
  kaiming_uniform,     ///< U(-b, b), b = sqrt(6/fan_in)
  xavier_normal,       ///< N(0, 2/(fan_in+fan_out)): Glorot & Bengio 2010; for tanh
  xavier_uniform,      ///< U(-b, b), b = sqrt(6/(fan_in+fan_out))
  lecun_normal,        ///< N(0, 1/fan_in): LeCun et al. 1998
  lecun_uniform,       ///< U(-b, b), b = sqrt(3/fan_in)
};

/// Fills the flat parameter block: weights by `how`, biases and shifts 0, scales 1.
void initialise(const Graph&, Initialiser how, std::uint64_t seed, real* parameters) noexcept;

}  // namespace vitrine
