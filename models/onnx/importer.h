// The inside of the importer: from a file's nodes to a graph, one converter an operator. Definitions by what operators
// do: import.cpp (the file, the graph), import_layers.cpp, import_arithmetic.cpp, import_views.cpp.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/graph.h"
#include "models/onnx/onnx.h"
#include "models/onnx/reader.h"

namespace vitrine::onnx {

/// A tensor of the network: its value and its dimensions beyond the batch. Where those are more than three, they are
/// but a way to see the value that only views understand.
struct Tensor {
  Id id = no_id;
  Dims dims;
};

/// A size or place as 32 bits; small enough that sums of a few fit, too.
std::int32_t narrow(std::int64_t v, const char* what);
/// Elements of one image of a tensor that the network holds.
std::int64_t product(const Dims&);
/// One image of at most three dimensions, and back.
Shape shape_of(const Dims&);
Dims dims_of(const Shape&, std::size_t rank);

/// The import of one file. Everything throws: Error for the file as a whole, Unsupported for a node.
class Importer {
 public:
  Importer(const pb::ModelProto&, std::string path, std::string folder, const ImportOptions&);
  Model run();

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(path_ + ": " + what); }
  /// A file can make far more numbers than it has. What is computed or copied is held to a few times its size.
  void spend(std::int64_t elements);
  std::string architecture() const;
  void read_initializers();
  void read_nodes();
  void read_constant(const Node& node);
  /// The inputs that the network has: all that some node reads, without weights, which old files list as inputs.
  void find_inputs();
  const pb::ValueInfoProto& main_input() const;
  /// The outputs that the network may have: all of floats. Nodes that only others hang on are skipped.
  std::vector<std::string> find_outputs();
  void skip_nodes_of(const std::vector<std::string>& left_out, const std::vector<std::string>& kept);
  /// One image of an input, as the file has it; `rank_` becomes the number of its dimensions behind the batch.
  Shape image_of(const pb::ValueInfoProto& input, bool main, bool nhwc);
  std::int64_t given_size(const pb::ValueInfoProto& input, bool main, bool nhwc, std::size_t dimension) const;
  void declare_inputs(GraphBuilder& g, const pb::ValueInfoProto& main, bool nhwc);
  /// Declares what can be an output; the name of the main one's value.
  std::string declare_outputs(GraphBuilder& g, const std::vector<std::string>& names);
  /// Why a tensor cannot be an output, as the end of "has an output that ..."; "" if it can.
  Id likely_main(const GraphBuilder& g, const std::vector<Id>& order, const std::map<Id, std::string>& names) const;
  std::string why_no_output(const GraphBuilder& g, const std::string& name) const;
  void fill_parameters(Model& model) const;
  void count_readers(const std::vector<std::string>& outputs);
  bool starts_with_transpose(const std::string& input) const;
  /// The only node that reads a tensor, or null.
  const Node* only_reader(const std::string& tensor) const;
  bool is_constant(const std::string& name) const { return constants_.contains(name) || initializers_.contains(name); }
  const Constant& constant(const std::string& name);
  const Constant& constant(const Node& node, std::size_t k, const char* what);
  /// Whole numbers of an attribute (older opsets) or of an input (newer ones).
  Dims list(const Node& node, const char* attribute, std::size_t input);
  /// An input for nodes that only move elements.
  const Tensor& viewed(const Node& node, std::size_t k);
  /// An input of at most four dimensions.
  const Tensor& tensor(const Node& node, std::size_t k);
  /// The same, or the batch alone: for ops that work element by element.
  const Tensor& elements(const Node& node, std::size_t k);
  /// A name that no value has and no node of the file gets.
  std::string fresh(std::string name) const;
  /// The node's output is this value.
  void set(const Node& node, Id id, std::size_t rank);
  /// A node that makes no op: its output is the value of its input.
  void pass(const Node& node, const Tensor& t);
  void weight(const Node& node, const char* suffix, std::vector<float> values);
  /// The i-th node, by the converter of its operator; what is not supported is noted.
  void convert(std::size_t i);
  using Member = void (Importer::*)(const Node&);
  static const std::vector<std::pair<const char*, Member>>& converters();

  // ---- import_layers.cpp ----

  /// Spatial attributes as (h, w); a network of rank 3 has its length in h.
  struct Spatial {
    std::int32_t kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1}, begin[2] = {0, 0}, end[2] = {0, 0};
  };
  Spatial spatial(const Node& node, const Tensor& x, Dims kernel);
  /// A bias that stands apart as an Add behind an op without one: the op takes it, and `alias_output` says so.
  const Constant* take_bias(const Node& node, std::int64_t channels, std::size_t rank);
  void alias_output(const Node& node);
  void conv(const Node& node);
  /// An op with a weight and perhaps a bias.
  void append(const Node& node, Op* op, const Tensor& x, const Shape& weight_shape, std::uint8_t rank,
              std::vector<float> w, const Constant* bias, std::size_t out_rank);
  void conv_transpose(const Node& node);
  /// Rows of a linear layer's weight are outputs.
  static std::vector<float> transposed(const Constant& c);
  void linear_layer(const Node& node, const Tensor& x, std::int64_t outputs, std::int64_t inputs, std::vector<float> w,
                    const Constant* bias);
  void gemm(const Node& node);
  void matmul(const Node& node);
  void batch_normalization(const Node& node);
  void lrn(const Node& node);
  void activation(const Node& node);
  void prelu(const Node& node);
  void clip_node(const Node& node);
  void softmax_node(const Node& node);
  void pool(const Node& node);
  void global_pool(const Node& node);
  /// Means, sums and maxima over whole dimensions: pools.
  void reduce(const Node& node);

  // ---- import_arithmetic.cpp ----

  /// Broadcast against (N,C,...) it gives one value a channel, or one for all.
  static bool is_per_channel(const Constant& c, std::size_t rank, std::int64_t channels);
  void arithmetic(const Node& node);
  void power(const Node& node);
  /// Products spread their smaller factor themselves, so its expansion is but a promise that they check.
  void expand(const Node& node);
  void scale_by(const Node& node, const Tensor& x, float w, float b);
  void scale_by(const Node& node, const Tensor& x, std::vector<float> w, std::vector<float> b);
  void two_tensors(const Node& node);
  /// The result of an op whose values open and close: sigmoids.
  bool opens(Id id) const;
  void sum(const Node& node);

  // ---- import_views.cpp ----

  void shape(const Node& node);
  void identity(const Node& node);
  void concat_node(const Node& node);
  void reshape_node(const Node& node);
  Dims reshaped(const Node& node, const Tensor& x, std::int64_t each);
  void transpose_node(const Node& node);
  /// Of more than three dimensions those that stay side by side are moved as one: channel shuffles become a reshape, a
  /// transpose of three dimensions and a reshape.
  void transpose_view(const Node& node, const Tensor& x, const Dims& perm);
  void slice_node(const Node& node);
  void split(const Node& node);
  void pad_node(const Node& node);
  void resize(const Node& node);

  const pb::ModelProto& model_;
  const pb::GraphProto& graph_;
  std::string path_, folder_;
  const ImportOptions& options_;
  std::int64_t opset_ = 0, fixed_batch_ = 0, allowance_ = 1 << 22;
  std::size_t rank_ = 3;
  bool nhwc_ = false;
  std::vector<const pb::ValueInfoProto*> inputs_;
  std::map<std::string, int> ranks_;       // of outputs whose arrays have other dimensions than their values
  std::set<std::string> turned_;           // outputs of NHWC networks whose last transpose is left out
  std::map<std::string, Tensor> as_nchw_;  // inputs of NHWC networks beside the main one, as the network has them
  std::vector<std::string> left_out_;      // sentences about inputs and outputs that the network has not
  std::vector<Node> nodes_;
  std::map<std::string, const pb::TensorProto*> initializers_;
  std::map<std::string, Constant> constants_, scalars_;
  std::map<std::string, std::vector<std::size_t>> readers_;
  std::map<std::string, int> extra_;  // tensors that are read from outside
  GraphBuilder* builder_ = nullptr;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, Dims> expanded_;  // factors as Expand nodes make them
  std::map<std::string, std::array<std::int32_t, 4>>
      pending_pads_;  // of Pad nodes that a convolution takes: top, left, bottom, right
  std::map<std::string, std::vector<float>> weights_;
  std::map<std::string, std::string> aliases_;
  std::set<std::string> unknown_;
  std::set<std::size_t> skipped_;
  std::vector<std::string> problems_;
};

}  // namespace vitrine::onnx
