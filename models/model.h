// A network with its parameters and what must travel with them: how inputs are prepared, what classes are called, how
// it was trained. One file holds all of it: a .safetensors with the graph as JSON in its metadata, so that loading
// needs no code that knows the architecture.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/host/session.h"
#include "core/host/text.h"
#include "models/output.h"

namespace vitrine {

/// How a picture becomes the network's input: brought to the network's extent, its channels in the network's order,
/// then (pixel/255 - mean) / std, a channel each in that order.
struct InputPreparation {
  std::vector<float> mean, std;  ///< empty: pixel/255
  bool bgr = false;              ///< channels are blue, green, red
  int resize = 0;                ///< the shorter side, before the centre is cut out; 0: the whole picture is stretched
  bool nhwc = false;             ///< arrays in and out are (N,H,W,C), as the file that the network came from has them
};

class Model {
 public:
  Model() = default;
  /// Builds a network: `body` gets the builder and the input's id and returns the output's id. Throws Error with the
  /// builder's first failure. Parameters are zero until initialised or loaded.
  Model(std::string architecture, Shape image, const std::function<Id(GraphBuilder&, Id)>& body);
  /// Likewise with any number of inputs and outputs, which `body` declares; the first of each is the main one.
  Model(std::string architecture, const std::function<void(GraphBuilder&)>& body);

  /// A model file, or an .onnx file (models/onnx/onnx.h).
  static Model load(const std::string& path);
  void save(const std::string& path) const;

  const Graph& graph() const noexcept { return graph_; }
  /// Index of a node by its name or an alias; an Error names the nodes there are.
  Id node(const std::string& name) const;
  /// The input of that name; an Error names the inputs there are.
  Id input(const std::string& name) const;
  /// The output that a node (by its name or an alias) makes; an Error names the outputs there are.
  Id output(const std::string& name) const;
  /// Makes an input the main one: it is explained, the others are given. A preparation for another number of channels
  /// is dropped.
  void select_input(const std::string& name);
  /// Makes an output the main one: it is predicted and explained. What was said of another output's kind is dropped,
  /// and so are class names that do not fit.
  void select_output(const std::string& name);
  Shape image_shape() const noexcept { return graph_.shape(graph_.input); }  ///< of the main input
  /// What the numbers of the main output are: `chosen_kind`, or what its shape and its last op say.
  OutputKind output_kind() const noexcept;
  /// Says that the main output is of another kind. A usage Error if its shape cannot be.
  void choose_output_kind(OutputKind);
  /// For people: "10 classes", "one logit of two classes", "dense output (N,21,32,32)".
  std::string output_description() const;
  /// How many classes are told apart: two by one logit, none by numbers and maps.
  int class_count() const noexcept;
  /// Whether that many class names fit the output.
  bool can_name(std::size_t names) const noexcept;
  /// Channels of the main output, for every place where it is dense (N,C,H,W).
  int classes() const noexcept { return graph_.shape(graph_.output).c(); }
  /// Whether the main output is dense: has more than one place.
  bool dense() const noexcept { return graph_.shape(graph_.output).pixels() != 1; }
  /// Dimensions of an array of `n` images of an input or output, as the file that the network came from has it: (N,K)
  /// for one place and (N,C,H,W) for more, or (N,H,W,C) where the preparation says nhwc, unless `ranks` says otherwise.
  std::vector<std::int64_t> array_shape(Id value, std::int64_t n) const;
  /// The value that explanations start from: the main output, or what a final softmax (or its logarithm) or a final
  /// sigmoid reads, unless the output's kind is regression.
  Id logits() const noexcept;
  /// The op between logits() and the main output; empty if there is none.
  std::string final_activation() const;
  std::int64_t parameter_count() const noexcept;  ///< of trainable parameters, without the padding of the flat block

  std::string architecture;  ///< the name it was made under, for people
  InputPreparation preparation;
  std::vector<std::string> class_names;                      ///< empty: numbers; of one logit: its two classes, or one
  std::optional<OutputKind> chosen_kind;                     ///< of the main output; empty: recognised
  std::vector<std::pair<std::string, std::string>> notes;    ///< training: accuracy, epochs, data, seed
  std::vector<std::pair<std::string, std::string>> aliases;  ///< other names of nodes: an imported file's tensors
  std::map<std::string, int> ranks;  ///< dimensions, batch included, of arrays of inputs and outputs; see array_shape

  /// Classifiers beside the output that training has a loss at, too (GoogLeNet); no other run computes them.
  struct AuxiliaryHead {
    std::string node;  ///< whose result is a vector of logits
    float weight;      ///< of its loss
  };
  std::vector<AuxiliaryHead> auxiliary;
  std::vector<real> parameters;  ///< the flat block, graph().parameter_size elements

  std::string class_name(int k) const;

 private:
  friend Model model_from_json(const std::string& json, const std::string& path,
                               const std::function<bool(const std::string&, std::vector<std::int64_t>&)>& shape_of);
  void lay_out(std::size_t nodes, const std::function<void(GraphBuilder&)>& write);

  Memory arena_;
  Graph graph_{};
};

/// What travels with a network beside its graph, as JSON, and back into a model that has its graph: preparation, class
/// names, notes. `path` is for messages.
std::string model_baggage_to_json(const Model&);
void model_baggage_from_json(Model&, const std::string& json, const std::string& path);

/// The graph and everything but parameters as JSON, and back. `shape_of` gives a parameter tensor's shape by name.
std::string model_to_json(const Model&);
Model model_from_json(const std::string& json, const std::string& path,
                      const std::function<bool(const std::string&, std::vector<std::int64_t>&)>& shape_of);

}  // namespace vitrine
