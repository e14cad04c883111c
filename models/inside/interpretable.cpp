#include "models/inside/interpretable.h"

#include <algorithm>

#include "kernels/philox.h"
#include "layers/activation.h"
#include "layers/conv2d.h"
#include "models/rewrite.h"

namespace vitrine {

Model with_interpretable_filters(const Model& model, const InterpretableOptions& o, std::uint64_t seed) {
  std::vector<std::string> places;
  std::vector<bool> with_conv;
  for (const std::string& text : o.nodes) {
    with_conv.push_back(text.ends_with("+conv"));
    places.push_back(with_conv.back() ? text.substr(0, text.size() - 5) : text);
    const Shape s = model.graph().shape(model.graph().nodes[model.node(places.back())].out);
    if (s.pixels() == 1)
      throw Error("node '" + places.back() + "' makes " + vitrine::text(s) +
                      ", but interpretable filters are maps: expected a node with height and width",
                  Error::usage);
  }
  const int classes = model.classes();
  const auto insert = [&](const Model& m, std::size_t k) {
    return insert_after(m, places[k], derive_key(seed, 100 + k), [&](GraphBuilder& g, Id x) {
      Id h = x;
      if (with_conv[k])
        h = relu(g, conv2d(g, h, {.out = g.shape(x).c(), .kernel = 3, .padding = 1}, (places[k] + ".conv").c_str()),
                 (places[k] + ".conv_relu").c_str());
      return interpretable_filters(g, h, classes, (places[k] + ".interpretable").c_str(), o.centroid);
    });
  };
  if (places.empty()) throw Error("interpretable filters need a node to stand after", Error::usage);
  Model m = insert(model, 0);
  for (std::size_t k = 1; k < places.size(); ++k) m = insert(m, k);
  return m;
}

FilterTraining::FilterTraining(const Engine& engine, const Model& model, const data::Dataset& train,
                               const InterpretableOptions& o, int batch)
    : options_(o),
      share_(static_cast<std::size_t>(model.classes()), 0),
      labels_(static_cast<std::size_t>(batch), 0),
      rate_(o.weight) {
  const Graph& g = model.graph();
  for (Id i = 0; i < g.nodes.size(); ++i) {
    const Node& node = g.nodes[i];
    if (!node.op->traits().part_filters) continue;
    if (const int known = static_cast<const InterpretableFilters*>(node.op)->classes; known != train.classes())
      throw Error(std::string(node.name) + ": knows " + std::to_string(known) + " classes, but the data has " +
                  std::to_string(train.classes()));
    const Id below = g.values[node.in[0]].producer;
    if (below == no_id)
      throw Error(std::string(node.name) + ": reads the network's input, where no filter is to be trained");
    layers_.push_back(
        {i, below, Storage(engine, static_cast<std::size_t>(g.shape(node.in[0]).with_batch(batch).size()))});
  }
  if (layers_.empty()) throw Error("the network has no layer of interpretable filters");
  if (train.classes() > 10) {
    std::fill(share_.begin(), share_.end(), 1.0 / train.classes());
    return;
  }
  for (std::int64_t i = 0; i < train.size(); ++i)
    share_[static_cast<std::size_t>(train.label(i))] += 1.0 / static_cast<double>(train.size());
}

void FilterTraining::start_batch(const data::Batch& batch, int epoch) {
  std::copy(batch.labels.begin(), batch.labels.end(), labels_.begin());
  rate_ = options_.weight / (1 + epoch);
}

std::string FilterTraining::describe() const {
  const FilterLossOptions& l = options_.loss;
  return std::string("filters ") +
         (l.released        ? "released"
          : l.all_templates ? "paper, all templates"
                            : "paper") +
         (l.learn_slopes ? ", learned slopes" : "") + ", weight " + std::to_string(options_.weight);
}

bool FilterTraining::watches(Id node) const noexcept {
  return std::any_of(layers_.begin(), layers_.end(),
                     [&](const Layer& layer) { return layer.node == node || layer.below == node; });
}

Status FilterTraining::after_forward(const Context& ctx, const Graph& g, Id node, const NodeIO& io,
                                     const NodeIO*) noexcept {
  for (Layer& layer : layers_) {
    if (layer.node != node) continue;
    const auto& op = static_cast<const InterpretableFilters&>(*g.nodes[node].op);
    VITRINE_TRY(update_filters(ctx, op, io, labels_, options_.loss));
    if (options_.weight > 0)
      VITRINE_TRY(
          filter_loss(ctx, op, io, labels_, share_, options_.loss, {}, {layer.gradient.data(), io.in[0].shape}));
  }
  return Status::ok;
}

Status FilterTraining::before_step(const Context& ctx, const Graph&, Id node,
                                   std::span<const TensorView> signals) noexcept {
  if (options_.weight == 0) return Status::ok;
  for (const Layer& layer : layers_) {
    if (layer.below != node) continue;
    const TensorView& signal = signals[0];
    const double task = ctx->stats(signal.data, signal.size()).abs_sum,
                 own = ctx->stats(layer.gradient.data(), signal.size()).abs_sum;
    ctx->scale(static_cast<real>(own > 0 ? rate_ * task / own : 0), layer.gradient.data(), signal.data, signal.size(),
               true);
  }
  return Status::ok;
}

}  // namespace vitrine
