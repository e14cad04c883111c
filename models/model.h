// A network with its parameters and what must travel with them: how inputs are prepared, what classes are called, how it
// was trained. One file holds all of it: a .safetensors with the graph as JSON in its metadata, so that loading needs no
// code that knows the architecture.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/engine.h"

namespace vitrine {

/// How a picture becomes the network's input: (pixel/255 - mean) / std, a channel each.
struct InputPreparation {
  std::vector<float> mean, std;
};

class Model {
 public:
  Model() = default;
  /// Builds a network: `body` gets the builder and the input's id and returns the output's id. Throws Error with the
  /// builder's first failure. Parameters are zero until initialised or loaded.
  Model(std::string architecture, Shape image, const std::function<Id(GraphBuilder&, Id)>& body);

  static Model load(const std::string& path);
  void save(const std::string& path) const;

  const Graph& graph() const noexcept { return graph_; }
  /// Index of a node; an Error names the nodes there are.
  Id node(const std::string& name) const;
  Shape image_shape() const noexcept { return graph_.shape(graph_.input); }
  int classes() const noexcept { return static_cast<int>(graph_.shape(graph_.output).per_image()); }
  /// The value that explanations start from: the output, or what a final softmax reads.
  Id logits() const noexcept;
  std::int64_t parameter_count() const noexcept;  ///< without the padding of the flat block

  std::string architecture;              ///< the name it was made under, for people
  InputPreparation preparation;
  std::vector<std::string> class_names;  ///< empty: numbers
  std::vector<std::pair<std::string, std::string>> notes;  ///< training: accuracy, epochs, data, seed
  std::vector<real> parameters;          ///< the flat block, graph().parameter_size elements

  std::string class_name(int k) const;

 private:
  friend Model model_from_json(const std::string& json, const std::string& path,
                               const std::function<bool(const std::string&, std::vector<std::int64_t>&)>& shape_of);
  void lay_out(std::size_t nodes, const std::function<void(GraphBuilder&)>& write);

  Memory arena_;
  Graph graph_{};
};

/// The graph and everything but parameters as JSON, and back. `shape_of` gives a parameter tensor's shape by name.
std::string model_to_json(const Model&);
Model model_from_json(const std::string& json, const std::string& path,
                      const std::function<bool(const std::string&, std::vector<std::int64_t>&)>& shape_of);

}  // namespace vitrine
