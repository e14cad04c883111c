// Training networks with interpretable filters (layers/interpretable_filters.h): where the layers go, and the filter
// loss beside the task's.
#pragma once

#include "layers/interpretable_filters.h"
#include "models/train/trainer.h"

namespace vitrine {

struct InterpretableOptions {
  /// Nodes after whose result the layer goes ("relu6"); with "+conv" a 3x3 convolution and a ReLU of its own come
  /// first, as the authors put them on top of VGG. That is the form for residual networks, whose sums mix filters.
  std::vector<std::string> nodes;
  FilterLossOptions loss;
  bool centroid = false;
  /// Mean |filter gradient| over mean |task gradient| at the layer in the first epoch; in epoch t (from 0) it is
  /// weight/(1+t). 0: the gates alone. The authors' factor is tied to the size of VGG's activations;
  /// layers/README.md has the loss.
  double weight = 0.3;
};

/// The network with the layers put in: NODE.interpretable, and before it NODE.conv and NODE.conv_relu where asked for.
Model with_interpretable_filters(const Model&, const InterpretableOptions&, std::uint64_t seed);

/// Adds the filter loss of every interpretable layer to the signal at its input, and lets categories follow the
/// batches. Learned slopes move between a step's forward run and its way back.
class FilterTraining final : public TrainHook {
 public:
  /// `batch`: the largest. An Error if a layer reads the network's input, or has not as many classes as the data.
  FilterTraining(const Engine&, const Model&, const data::Dataset& train, const InterpretableOptions&, int batch);

  void start_batch(const data::Batch&, int epoch) override;
  std::string describe() const override;
  bool watches(Id node) const noexcept override;
  Status after_forward(const Context&, const Graph&, Id node, const NodeIO&, const NodeIO* reference) noexcept override;
  Status before_step(const Context&, const Graph&, Id node, std::span<const TensorView> signals) noexcept override;

 private:
  struct Layer {
    Id node, below;    // the layer's node, and the node whose result it reads
    Storage gradient;  // of its filter loss, for the largest batch
  };
  InterpretableOptions options_;
  std::vector<Layer> layers_;
  std::vector<double> share_;
  std::vector<std::int32_t> labels_;
  double rate_;  // weight/(1+t)
};

}  // namespace vitrine
