// The families of architectures, one file each. A body builds a network behind the input and returns its logits.
#pragma once

#include "models/architectures.h"

namespace vitrine::families {

Id lenet5(Network&, Id input);
Id lenet5_tanh(Network&, Id input);
Id cnn6(Network&, Id input);
Id vgg_mini(Network&, Id input);
Id resnet_mini(Network&, Id input);

Id alexnet(Network&, Id input);

/// `layout`: channels of the convolutions, 0 for a max pool [Simonyan & Zisserman 2015, table 1].
Id vgg(Network&, Id input, std::span<const std::int32_t> layout, bool batch_norm, bool cifar);

/// Blocks in the four stages; bottleneck: 1x1, 3x3, 1x1 [He et al. 2016, table 1], the stride at the 3x3 as in
/// torchvision.
Id resnet(Network&, Id input, const std::array<int, 4>& blocks, bool bottleneck);
/// 6n+2 layers for small pictures [He et al. 2016, section 4.2], shortcuts without parameters (option A).
Id resnet_cifar(Network&, Id input, int n);
/// The 8-layer network of MLPerf Tiny; layers have the names that Keras gives them.
Id resnet8(Network&, Id input);

Id googlenet(Network&, Id input);

/// Layers in the blocks [Huang et al. 2017, table 1].
Id densenet(Network&, Id input, std::span<const int> blocks, std::int32_t growth, std::int32_t first, bool cifar);

}  // namespace vitrine::families
