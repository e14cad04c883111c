#include <algorithm>

#include "models/architectures/families.h"

namespace vitrine {
namespace {

using namespace families;

// Simonyan & Zisserman 2015, table 1: columns A, B, D, E.
constexpr std::int32_t vgg_a[] = {64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0};
constexpr std::int32_t vgg_b[] = {64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0};
constexpr std::int32_t vgg_d[] = {64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0};
constexpr std::int32_t vgg_e[] = {64,  64,  0,   128, 128, 0,   256, 256, 256, 256, 0,
                                  512, 512, 512, 512, 0,   512, 512, 512, 512, 0};
constexpr int densenet_121[] = {6, 12, 24, 16}, densenet_bc_100[] = {16, 16, 16};

constexpr Shape imagenet{1, 3, 224, 224}, cifar{1, 3, 32, 32}, digits{1, 1, 28, 28};
constexpr Initialiser he = Initialiser::kaiming_normal, he_out = Initialiser::kaiming_normal_out;

constexpr Architecture list[] = {
    {"lenet5", "LeNet-5 with ReLU and max pooling", digits, 10, 61706, "fc3", Initialiser::lecun_uniform, lenet5},
    {"lenet5-tanh", "LeNet-5 with tanh and average pooling, as in 1998", digits, 10, 61706, "fc3",
     Initialiser::lecun_uniform, lenet5_tanh},
    {"cnn6", "six 3x3 convolutions, three pools, two linear layers", {1, 3, 64, 64}, 9, 334873, "fc2", he, cnn6},
    {"vgg-mini",
     "six 3x3 convolutions with batch norm, three pools, two linear layers",
     {1, 3, 64, 64},
     9,
     627569,
     "fc2",
     he_out,
     vgg_mini},
    {"resnet-mini", "three residual blocks, no batch norm, global average", cifar, 10, 77706, "fc", he, resnet_mini},
    {"alexnet", "five convolutions, overlapping pools, three linear layers", imagenet, 1000, 61100840, "classifier.6",
     he, alexnet},
    {"vgg11", "8 convolutions and 3 linear layers", imagenet, 1000, 132863336, "classifier.6", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_a, false, false); }},
    {"vgg13", "10 convolutions and 3 linear layers", imagenet, 1000, 133047848, "classifier.6", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_b, false, false); }},
    {"vgg16", "13 convolutions and 3 linear layers", imagenet, 1000, 138357544, "classifier.6", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_d, false, false); }},
    {"vgg19", "16 convolutions and 3 linear layers", imagenet, 1000, 143667240, "classifier.6", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_e, false, false); }},
    {"vgg11-bn", "VGG-11 with batch norm", imagenet, 1000, 132868840, "classifier.6", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_a, true, false); }},
    {"vgg13-bn", "VGG-13 with batch norm", imagenet, 1000, 133053736, "classifier.6", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_b, true, false); }},
    {"vgg16-bn", "VGG-16 with batch norm", imagenet, 1000, 138365992, "classifier.6", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_d, true, false); }},
    {"vgg19-bn", "VGG-19 with batch norm", imagenet, 1000, 143678248, "classifier.6", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_e, true, false); }},
    {"vgg11-bn-cifar", "VGG-11 with batch norm and one linear layer", cifar, 10, 9231114, "classifier", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_a, true, true); }},
    {"vgg16-bn-cifar", "VGG-16 with batch norm and one linear layer", cifar, 10, 14728266, "classifier", he_out,
     [](Network& n, Id x) { return vgg(n, x, vgg_d, true, true); }},
    {"googlenet", "Inception modules; trains with two auxiliary heads", imagenet, 1000, 6624904, "fc", he, googlenet},
    {"resnet18", "8 basic residual blocks", imagenet, 1000, 11689512, "fc", he_out,
     [](Network& n, Id x) {
       return resnet(n, x, {2, 2, 2, 2}, false);
     }},
    {"resnet34", "16 basic residual blocks", imagenet, 1000, 21797672, "fc", he_out,
     [](Network& n, Id x) {
       return resnet(n, x, {3, 4, 6, 3}, false);
     }},
    {"resnet50", "16 bottleneck blocks", imagenet, 1000, 25557032, "fc", he_out,
     [](Network& n, Id x) {
       return resnet(n, x, {3, 4, 6, 3}, true);
     }},
    {"resnet101", "33 bottleneck blocks", imagenet, 1000, 44549160, "fc", he_out,
     [](Network& n, Id x) {
       return resnet(n, x, {3, 4, 23, 3}, true);
     }},
    {"resnet152", "50 bottleneck blocks", imagenet, 1000, 60192808, "fc", he_out,
     [](Network& n, Id x) {
       return resnet(n, x, {3, 8, 36, 3}, true);
     }},
    {"resnet20", "CIFAR ResNet of 20 layers, parameter-free shortcuts", cifar, 10, 269722, "linear", he,
     [](Network& n, Id x) { return resnet_cifar(n, x, 3); }},
    {"resnet32", "CIFAR ResNet of 32 layers", cifar, 10, 464154, "linear", he,
     [](Network& n, Id x) { return resnet_cifar(n, x, 5); }},
    {"resnet44", "CIFAR ResNet of 44 layers", cifar, 10, 658586, "linear", he,
     [](Network& n, Id x) { return resnet_cifar(n, x, 7); }},
    {"resnet56", "CIFAR ResNet of 56 layers", cifar, 10, 853018, "linear", he,
     [](Network& n, Id x) { return resnet_cifar(n, x, 9); }},
    {"resnet110", "CIFAR ResNet of 110 layers", cifar, 10, 1727962, "linear", he,
     [](Network& n, Id x) { return resnet_cifar(n, x, 18); }},
    {"resnet8", "MLPerf Tiny's ResNet-8", cifar, 10, 78186, "dense", he, resnet8},
    {"densenet121", "four dense blocks, growth 32", imagenet, 1000, 7978856, "classifier", he,
     [](Network& n, Id x) { return densenet(n, x, densenet_121, 32, 64, false); }},
    {"densenet-bc-100", "CIFAR DenseNet-BC of 100 layers, growth 12", cifar, 10, 769162, "classifier", he,
     [](Network& n, Id x) { return densenet(n, x, densenet_bc_100, 12, 24, true); }},
};

std::string plain(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

}  // namespace

std::span<const Architecture> architectures() noexcept { return list; }

const Architecture& find_architecture(const std::string& name) {
  std::string known;
  for (const Architecture& a : list) {
    if (plain(name) == a.name) return a;
    known += (known.empty() ? "" : ", ") + std::string(a.name);
  }
  throw Error("unknown model '" + name + "': expected one of " + known, Error::usage);
}

Model build_model(const Architecture& a, Shape image, int classes, bool with_auxiliary) {
  std::vector<Model::AuxiliaryHead> heads;
  Model model(a.name, image, [&](GraphBuilder& g, Id x) {
    Network net{g, classes, with_auxiliary};
    const Id logits = a.body(net, x);
    heads = std::move(net.auxiliary);
    return logits;
  });
  model.auxiliary = std::move(heads);
  return model;
}

Model make_model(const std::string& architecture, Shape image, int classes, std::uint64_t seed, bool with_auxiliary) {
  const Architecture& a = find_architecture(architecture);
  Model model = build_model(a, image, classes, with_auxiliary);
  initialise(model.graph(), a.initialiser, seed, model.parameters.data());
  return model;
}

}  // namespace vitrine
