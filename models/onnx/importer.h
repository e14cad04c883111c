// The inside of the importer: from a file's nodes to a graph, one converter an operator. Definitions by what operators
// do: import.cpp (the file, the graph), import_layers.cpp, import_arithmetic.cpp, import_views.cpp,
// import_composed.cpp.
#pragma once

#include <array>
#include <functional>
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
  Node read_node(const pb::NodeProto& proto, std::set<std::string>& names);
  /// An order in which the nodes can run, if the file's is none. `known`: what the file gives.
  void sort_nodes(std::set<std::string>& known);
  /// Outputs that a producer spells otherwise ("scores:0" where a node makes "scores") get a node that hands them on.
  void add_spelled_outputs(const std::set<std::string>& known);
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
  Id activation_of(const Node& node, Id x);
  void prelu(const Node& node);
  void clip_node(const Node& node);
  void softmax_node(const Node& node);
  void pool(const Node& node);
  void pool_channels(const Node& node, const Tensor& x);
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
  void where(const Node& node);
  /// Quantised values run in float.
  void quantise(const Node& node);
  /// A factor and a shift that an operator of old exports has as attributes.
  void old_affine(const Node& node);
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
  void concat_many(const Node& node);
  void reshape_node(const Node& node);
  Dims reshaped(const Node& node, const Tensor& x, std::int64_t each);
  void transpose_node(const Node& node);
  /// Of more than three dimensions those that stay side by side are moved as one: channel shuffles become a reshape, a
  /// transpose of three dimensions and a reshape.
  void transpose_view(const Node& node, const Tensor& x, const Dims& perm);
  void slice_node(const Node& node);
  void split(const Node& node);
  void pad_node(const Node& node);
  void pad_one(const Node& node, const Tensor& x, const Dims& pads, double value);
  void resize(const Node& node);
  void resize_row(const Node& node, const Tensor& x);
  /// Where each output place of a Resize reads along one dimension, as a matrix: cubic, and what pools of one or two
  /// places do not express.
  void resize_by_matrix(const Node& node, const Tensor& x, const std::vector<float>& scales, const Dims& sizes);

  // ---- import_composed.cpp ----

  /// The same elements in another shape.
  Tensor shaped(const Tensor& t, const Dims& to, const std::string& name);
  /// Elements `stride` apart along `size` loops from `start` on, as `to`.
  Tensor strided(const Tensor& t, Dims size, Dims stride, std::int64_t start, const Dims& to, const std::string& name);
  /// Dimension k of the result is dimension order[k] (from 0 on, the batch apart).
  Tensor permuted(const Tensor& t, const Dims& order, const std::string& name);
  static Dims broadcast_dims(const Dims& a, const Dims& b);
  /// The same of two tensors, each with its batch: of unequal numbers of dimensions, that would meet another one.
  static Dims joint_dims(const Dims& a, const Dims& b);
  /// A constant's dimensions beside a tensor of `rank`, the batch apart.
  static Dims without_batch(const Constant& c, std::size_t rank);
  Tensor expanded_to(const Tensor& t, const Dims& to, const std::string& name);
  /// The node's output is this tensor, whose dimensions need not be those of its value.
  void result(const Node& node, const Tensor& t);
  /// factor t + shift
  Tensor mapped(const Tensor& t, float factor, float shift, const std::string& name);
  /// A constant as a tensor of the network, made from another one.
  Tensor constant_tensor(const Tensor& like, const Constant& c, const Dims& dims, const std::string& name);
  /// factor x + shift, where both follow from the constant's value at each place.
  void with_constant(const Node& node, const Tensor& x, const Constant& c, const Dims& c_dims,
                     const std::function<std::pair<float, float>(float)>& coefficients);
  /// Mean or maximum over dimensions (from 1 on), by a pool.
  Tensor pooled(const Tensor& x, const Dims& axes, bool maximum, bool keep, const std::string& name);
  Dims reduced_axes(const Node& node, std::size_t rank);
  void reduce_any(const Node& node);
  void reduce_product(const Node& node, const Tensor& x, const Dims& axes, bool keep);
  /// (x - mean)/sqrt(variance + eps) of each of `groups` parts of an image.
  void normalise(const Node& node, const Tensor& x, std::int64_t groups, float eps, const std::string& name);
  void norm(const Node& node);
  /// `tail`: over all dimensions from the axis on.
  void softmax_over(const Node& node, const Tensor& x, std::int64_t axis, bool tail);
  /// A matrix (outputs, inputs) along one dimension of any tensor: a convolution of one place.
  void linear_over(const Node& node, const Tensor& x, std::size_t axis, std::int64_t outputs, std::vector<float> w,
                   const Constant* bias, const std::string& name, bool trainable = true);
  void extremum(const Node& node);
  void depth_and_space(const Node& node);
  void tile(const Node& node);
  void gather_node(const Node& node);
  /// The elements at these places of one dimension.
  Tensor picked(const Node& node, const Tensor& x, std::size_t axis, const Dims& places, const std::string& name);
  /// Pads by repeated content: reflect, edge, wrap.
  void pad_by_content(const Node& node, const Tensor& x, const Dims& pads, const std::string& mode);

  /// Constants that a file may compute, beyond a few times its own size: 256 MiB.
  static constexpr std::int64_t constant_bytes = std::int64_t{1} << 28;
  const pb::ModelProto& model_;
  const pb::GraphProto& graph_;
  std::string path_, folder_;
  const ImportOptions& options_;
  std::int64_t opset_ = 0, fixed_batch_ = 0, allowance_ = constant_bytes / 4;
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
  std::set<std::string> unsupported_;  // operators without a converter, behind a problem or not
  std::set<std::string> quantised_;    // operators that run in float though the file says whole numbers
};

}  // namespace vitrine::onnx
