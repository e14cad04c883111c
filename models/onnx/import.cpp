#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>

#include "core/io/file.h"
#include "layers/activation.h"
#include "layers/add.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/conv_transpose2d.h"
#include "layers/linear.h"
#include "layers/local_response_norm.h"
#include "layers/pool.h"
#include "layers/product.h"
#include "layers/scale.h"
#include "layers/softmax.h"
#include "layers/upsample.h"
#include "layers/view.h"
#include "models/onnx/onnx.h"
#include "models/onnx/reader.h"

namespace vitrine::onnx {
namespace {

constexpr std::int64_t element_limit = std::int64_t{1} << 31;  // of one image of a tensor

// A tensor of the network: its value and its dimensions beyond the batch. Where those are more than three, they are but a way
// to see the value that only views understand.
struct Tensor {
  Id id = no_id;
  Dims dims;
};

// Sums of a few such numbers fit into 32 bits.
std::int32_t narrow(std::int64_t v, const char* what) {
  if (v < -(1 << 28) || v > (1 << 28)) throw Unsupported(std::string("has ") + what + " of " + std::to_string(v));
  return static_cast<std::int32_t>(v);
}

std::int64_t product(const Dims& d) {
  std::int64_t n = 1;
  for (const std::int64_t v : d) n *= v;  // sizes of tensors that `set` has accepted
  return n;
}

// Whether one image has too many elements; the product of its sizes may not even fit into 64 bits.
bool is_huge(const Shape& s) { return std::int64_t{s.c()} * s.h() > element_limit || std::int64_t{s.c()} * s.h() * s.w() > element_limit; }

// What can be a name in messages and JSON: UTF-8 without a 0.
bool is_text(const std::string& s) {
  for (std::size_t i = 0; i < s.size();) {
    const auto at = [&](std::size_t k) { return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u; };
    const unsigned lead = at(0);
    const std::size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    std::uint32_t code = more == 0 ? lead : lead & (0x3fu >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      if ((at(k) & 0xc0) != 0x80) return false;
      code = code << 6 | (at(k) & 0x3f);
    }
    constexpr std::uint32_t smallest[] = {1, 0x80, 0x800, 0x10000};
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

Shape shape_of(const Dims& d) {
  if (d.empty() || d.size() > 3) throw Unsupported("makes a tensor of " + std::to_string(d.size() + 1) + " dimensions, expected 2 to 4");
  Shape s;
  for (std::size_t k = 0; k < d.size(); ++k) s.d[k + 1] = narrow(d[k], "a size");
  return s;
}

Dims dims_of(const Shape& s, std::size_t rank) {
  Dims d;
  for (std::size_t k = 0; k < rank; ++k) d.push_back(s.d[k + 1]);
  return d;
}

class Importer {
 public:
  Importer(const pb::ModelProto& model, std::string path, std::string folder, const ImportOptions& options)
      : model_(model), graph_(model.graph()), path_(std::move(path)), folder_(std::move(folder)), options_(options) {
    opset_ = 0;
    for (const auto& o : model_.opset_import())
      if (o.domain().empty() || o.domain() == "ai.onnx") opset_ = o.version();
    if (opset_ < 7 || opset_ > 25) fail("is of opset " + std::to_string(opset_) + ", expected 7 to 18 (newer ones are tried)");
    if (!is_text(graph_.name())) fail("has a name that is no text (UTF-8)");
    allowance_ += 4 * static_cast<std::int64_t>(model_.ByteSizeLong());
    read_initializers();
    read_nodes();
  }

  Model run() {
    const pb::ValueInfoProto& input = the_input();
    const std::string output = the_output();
    recognise_activations(nodes_, scalars_, {output});
    count_readers(output);
    // A graph whose first act is to bring NHWC into NCHW is an NCHW network.
    const bool nhwc = starts_with_transpose(input.name());
    const Shape image = image_of(input, nhwc), network = nhwc ? Shape{1, image.w(), image.c(), image.h()} : image;

    Model model(architecture(), network, [&](GraphBuilder& g, Id x) {
      builder_ = &g;
      tensors_[input.name()] = {x, dims_of(network, rank_)};
      if (nhwc) tensors_[nodes_[0].out[0]] = tensors_[input.name()];
      for (std::size_t i = nhwc ? 1 : 0; i < nodes_.size(); ++i) convert(i);
      if (!problems_.empty()) {
        std::string all;
        for (const std::string& p : problems_) all += (all.empty() ? "" : "; ") + p;
        fail("cannot be imported: " + all);
      }
      if (!tensors_.contains(output)) fail("has an output '" + output + "' that does not depend on its input");
      Id out = tensors_.at(output).id;
      const Shape s = g.shape(out);
      if (g.ok() && s.pixels() != 1) fail("has an output of shape (N," + vitrine::text(s).substr(3) + ", expected a vector of classes");
      if (g.ok() && out == x) fail("has an output that is its input");
      return out;
    });
    // Weights, now that every parameter has its place.
    for (const Value& v : model.graph().values) {
      if (v.kind != ValueKind::parameter) continue;
      const std::vector<float>& w = weights_.at(v.name);
      if (static_cast<std::int64_t>(w.size()) != v.shape.size()) fail("tensor for '" + std::string(v.name) + "' has " + std::to_string(w.size()) + " elements, expected " + std::to_string(v.shape.size()));
      for (std::size_t k = 0; k < w.size(); ++k) {
        if (!std::isfinite(w[k])) fail("weight '" + std::string(v.name) + "' is not finite at element " + std::to_string(k));
        model.parameters[static_cast<std::size_t>(v.offset) + k] = static_cast<real>(w[k]);
      }
    }
    model.preparation.nhwc = nhwc;
    for (const auto& [tensor, node] : aliases_)
      if (tensor != node && model.graph().find(node.c_str()) != no_id && model.graph().find(tensor.c_str()) == no_id) model.aliases.emplace_back(tensor, node);
    for (const auto& property : model_.metadata_props())
      if (property.key() == "vitrine") model_baggage_from_json(model, property.value(), path_);
    return model;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(path_ + ": " + what); }

  // A file can make far more numbers than it has. What is computed or copied is held to a few times its size.
  void spend(std::int64_t elements) {
    if (elements > allowance_) throw Unsupported("makes more constants than a file of this size should");
    allowance_ -= elements;
  }

  std::string architecture() const {
    const std::string name = graph_.name();
    return name.empty() ? "onnx" : name;
  }

  // ---- reading ----

  void read_initializers() {
    for (const pb::TensorProto& t : graph_.initializer()) {
      if (!initializers_.emplace(t.name(), &t).second) fail("has two initializers called '" + t.name() + "'");
      constexpr std::int64_t small = 1024;
      std::int64_t n = 1;
      for (const std::int64_t d : t.dims()) n = d >= 0 && d <= small ? std::min(n * d, small + 1) : small + 1;
      if (n <= small) constants_[t.name()] = read_tensor(t, path_, folder_);
    }
    if (graph_.sparse_initializer_size() > 0) fail("has sparse initializers, which are not supported");
  }

  void read_nodes() {
    if (graph_.node_size() > 20000) fail("has " + std::to_string(graph_.node_size()) + " nodes, expected at most 20000");
    std::set<std::string> known, names;
    for (const auto& [name, tensor] : initializers_) known.insert(name);
    for (const auto& in : graph_.input()) known.insert(in.name());
    for (const pb::NodeProto& proto : graph_.node()) {
      Node node;
      node.proto = &proto;
      node.op = proto.domain().empty() || proto.domain() == "ai.onnx" ? proto.op_type() : proto.domain() + "." + proto.op_type();
      node.in.assign(proto.input().begin(), proto.input().end());
      node.out.assign(proto.output().begin(), proto.output().end());
      if (node.out.empty() || node.out[0].empty()) fail("has a node '" + proto.name() + "' without an output");
      node.name = proto.name().empty() || names.contains(proto.name()) ? node.out[0] : proto.name();
      for (const auto* list : {&node.in, &node.out})
        for (const std::string& tensor : *list)
          if (!is_text(tensor)) fail("has a tensor whose name is no text (UTF-8)");
      if (!is_text(node.name) || !is_text(node.op)) fail("has a node whose name is no text (UTF-8)");
      // Values of a network share one set of names: its input and the parameters, called NODE.weight and so on, have theirs.
      const auto reserved = [](const std::string& name) {
        return name == "input" || name.ends_with(".weight") || name.ends_with(".bias") || name.ends_with(".running_mean") || name.ends_with(".running_var");
      };
      const std::string given = node.name;
      while (reserved(node.name) || !names.insert(node.name).second) node.name += "_";
      if (node.name != given) aliases_[given] = node.name;
      for (const std::string& in : node.in)
        if (!in.empty() && !known.contains(in)) fail("node '" + node.name + "' reads '" + in + "', which no earlier node makes");
      for (const std::string& out : node.out)
        if (!out.empty() && !known.insert(out).second) fail("node '" + node.name + "' makes '" + out + "', which is there already");
      if (node.op == "Constant") {
        read_constant(node);
        continue;
      }
      nodes_.push_back(std::move(node));
    }
    for (const auto& [name, c] : constants_)
      if (c.size() == 1) scalars_[name] = c;
  }

  void read_constant(const Node& node) {
    Constant c;
    const auto* a = node.proto->attribute_size() == 1 ? &node.proto->attribute(0) : nullptr;
    if (a == nullptr) fail("node '" + node.name + "' (Constant) has no single value");
    if (a->has_t()) {
      c = read_tensor(a->t(), path_, folder_);
    } else if (a->name() == "value_float") {
      c.f = {a->f()};
    } else if (a->name() == "value_floats") {
      c.f.assign(a->floats().begin(), a->floats().end());
      c.dims = {static_cast<std::int64_t>(c.f.size())};
    } else if (a->name() == "value_int" || a->name() == "value_ints") {
      c.is_float = false;
      if (a->name() == "value_int") c.i = {a->i()};
      else c.i.assign(a->ints().begin(), a->ints().end());
      if (a->name() == "value_ints") c.dims = {static_cast<std::int64_t>(c.i.size())};
    } else {
      fail("node '" + node.name + "' (Constant) has a value of an unsupported kind");
    }
    constants_[node.out[0]] = std::move(c);
  }

  const pb::ValueInfoProto& the_input() const {
    const pb::ValueInfoProto* found = nullptr;
    for (const auto& in : graph_.input()) {
      if (initializers_.contains(in.name())) continue;  // old files list weights as inputs
      if (found != nullptr) fail("has several inputs ('" + found->name() + "', '" + in.name() + "'), expected one");
      found = &in;
    }
    if (found == nullptr) fail("has no input");
    return *found;
  }

  std::string the_output() const {
    if (graph_.output_size() == 0) fail("has no output");
    return graph_.output(0).name();
  }

  Shape image_of(const pb::ValueInfoProto& input, bool nhwc) {
    if (!input.type().has_tensor_type() || !input.type().tensor_type().has_shape()) fail("has an input '" + input.name() + "' without a shape");
    const auto& shape = input.type().tensor_type().shape();
    if (shape.dim_size() < 2 || shape.dim_size() > 4) fail("has an input of " + std::to_string(shape.dim_size()) + " dimensions, expected 2 to 4 with the batch first");
    rank_ = static_cast<std::size_t>(shape.dim_size()) - 1;
    if (shape.dim(0).has_dim_value() && shape.dim(0).dim_value() > 0) fixed_batch_ = shape.dim(0).dim_value();
    if (nhwc && rank_ != 3) fail("has an input of " + std::to_string(rank_ + 1) + " dimensions, which its first node transposes as if they were 4");
    Shape s, wanted{0, 0, 0, 0};
    if (options_.image) wanted = nhwc ? Shape{1, options_.image->h(), options_.image->w(), options_.image->c()} : *options_.image;
    for (int k = 1; k < shape.dim_size(); ++k) {
      const std::int64_t fixed = shape.dim(k).has_dim_value() && shape.dim(k).dim_value() > 0 ? shape.dim(k).dim_value() : 0;
      const std::int64_t given = wanted.d[static_cast<std::size_t>(k)];
      if (fixed > 0 && given > 0 && fixed != given) fail("has an input of size " + std::to_string(fixed) + " in dimension " + std::to_string(k) + ", but " + std::to_string(given) + " was given");
      const std::int64_t d = fixed > 0 ? fixed : given;
      if (d < 1) fail("has an input whose dimension " + std::to_string(k) + " is dynamic: give its size (vitrine import --input C,H,W)");
      if (d > (1 << 20)) fail("has an input of size " + std::to_string(d) + " in dimension " + std::to_string(k) + ", expected at most 1048576");
      s.d[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(d);
    }
    if (is_huge(s)) fail("has an input of shape " + vitrine::text(s) + ", which is too large");
    return s;
  }

  void count_readers(const std::string& output) {
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      for (const std::string& in : nodes_[i].in)
        if (!in.empty()) readers_[in].push_back(i);
    ++extra_[output];
  }

  bool starts_with_transpose(const std::string& input) const {
    const Node* first = only_reader(input);
    return first != nullptr && first == nodes_.data() && first->op == "Transpose" && first->integers("perm") == Dims{0, 3, 1, 2};
  }

  /// The only node that reads a tensor, or null.
  const Node* only_reader(const std::string& tensor) const {
    const auto r = readers_.find(tensor);
    return r != readers_.end() && r->second.size() == 1 && !extra_.contains(tensor) ? &nodes_[r->second[0]] : nullptr;
  }

  // ---- constants ----

  bool is_constant(const std::string& name) const { return constants_.contains(name) || initializers_.contains(name); }

  const Constant& constant(const std::string& name) {
    if (const auto c = constants_.find(name); c != constants_.end()) return c->second;
    const auto t = initializers_.find(name);
    if (t == initializers_.end()) throw Unsupported("reads '" + name + "', which must be a constant");
    const Constant& c = constants_[name] = read_tensor(*t->second, path_, folder_);
    if (t->second->data_location() == pb::TensorProto::EXTERNAL) allowance_ += 4 * c.size();
    return c;
  }

  const Constant& constant(const Node& node, std::size_t k, const char* what) {
    if (!node.has(k)) throw Unsupported(std::string("lacks its ") + what);
    if (!is_constant(node.in[k])) throw Unsupported(std::string("has a ") + what + " that is computed at run time");
    return constant(node.in[k]);
  }

  /// Whole numbers of an attribute (older opsets) or of an input (newer ones).
  Dims list(const Node& node, const char* attribute, std::size_t input) {
    if (node.find(attribute) != nullptr) return node.integers(attribute);
    if (!node.has(input)) return {};
    const Constant& c = constant(node, input, attribute);
    if (c.is_float) throw Unsupported(std::string("has ") + attribute + " that are no whole numbers");
    return c.i;
  }

  // ---- the network ----

  /// An input for nodes that only move elements.
  const Tensor& viewed(const Node& node, std::size_t k) {
    if (!node.has(k)) throw Unsupported("lacks an input");
    const auto t = tensors_.find(node.in[k]);
    if (t != tensors_.end()) return t->second;
    throw Unsupported("reads '" + node.in[k] + "' where a tensor of the network is expected");
  }

  const Tensor& tensor(const Node& node, std::size_t k) {
    const Tensor& t = viewed(node, k);
    if (t.dims.size() > 3) throw Unsupported("reads a tensor of " + std::to_string(t.dims.size() + 1) + " dimensions, expected 2 to 4");
    return t;
  }

  void set(const Node& node, Id id, std::size_t rank) {
    if (!builder_->ok()) {
      Failure f = builder_->failure();
      f.node = "";
      throw Error(path_ + ": node '" + node.name + "' (" + node.op + ") " + sentence(f));
    }
    if (is_huge(builder_->shape(id))) throw Unsupported("makes a tensor of shape " + vitrine::text(builder_->shape(id)) + ", which is too large");
    tensors_[node.out[0]] = {id, dims_of(builder_->shape(id), rank)};
    aliases_[node.out[0]] = node.name;
  }

  // A node that makes no op: its output is the value of its input.
  void pass(const Node& node, const Tensor& t) {
    tensors_[node.out[0]] = t;
    if (const auto a = aliases_.find(node.in[0]); a != aliases_.end()) {
      const std::string made_by = a->second;
      aliases_[node.out[0]] = made_by;
      aliases_.emplace(node.name, made_by);
    }
  }

  void weight(const Node& node, const char* suffix, std::vector<float> values) {
    spend(static_cast<std::int64_t>(values.size()));
    weights_[node.name + "." + suffix] = std::move(values);
  }

  void convert(std::size_t i) {
    const Node& node = nodes_[i];
    if (skipped_.contains(i)) return;
    try {
      bool all_constant = true, unknown = false;
      for (const std::string& in : node.in) {
        if (in.empty()) continue;
        unknown = unknown || unknown_.contains(in);
        all_constant = all_constant && is_constant(in);
      }
      if (unknown) {
        unknown_.insert(node.out.begin(), node.out.end());
        return;
      }
      if (node.op == "Shape") return shape(node);
      if (all_constant) {
        std::vector<const Constant*> in;
        for (const std::string& name : node.in) in.push_back(name.empty() ? nullptr : &constant(name));
        Constant c = evaluate(node, in, opset_, allowance_);
        spend(c.size());
        if (c.size() == 1) scalars_[node.out[0]] = c;
        constants_[node.out[0]] = std::move(c);
        return;
      }
      for (const auto& [op, member] : converters())
        if (node.op == op) return (this->*member)(node);
      if (node.op.starts_with("vitrine.")) return activation(node);
      throw Unsupported("is of an operator that is not supported");
    } catch (const Unsupported& e) {
      problems_.push_back("node '" + node.name + "' (" + node.op + ") " + e.what());
      unknown_.insert(node.out.begin(), node.out.end());
    }
  }

  using Member = void (Importer::*)(const Node&);
  static const std::vector<std::pair<const char*, Member>>& converters() {
    static const std::vector<std::pair<const char*, Member>> list = {
        {"Conv", &Importer::conv},
        {"ConvTranspose", &Importer::conv_transpose},
        {"Gemm", &Importer::gemm},
        {"MatMul", &Importer::matmul},
        {"BatchNormalization", &Importer::batch_normalization},
        {"LRN", &Importer::lrn},
        {"Relu", &Importer::activation},
        {"LeakyRelu", &Importer::activation},
        {"PRelu", &Importer::prelu},
        {"Elu", &Importer::activation},
        {"Sigmoid", &Importer::activation},
        {"Tanh", &Importer::activation},
        {"HardSigmoid", &Importer::activation},
        {"HardSwish", &Importer::activation},
        {"Softplus", &Importer::activation},
        {"Gelu", &Importer::activation},
        {"Mish", &Importer::activation},
        {"Clip", &Importer::clip_node},
        {"Min", &Importer::clip_node},
        {"Max", &Importer::clip_node},
        {"Softmax", &Importer::softmax_node},
        {"LogSoftmax", &Importer::softmax_node},
        {"MaxPool", &Importer::pool},
        {"AveragePool", &Importer::pool},
        {"GlobalAveragePool", &Importer::global_pool},
        {"GlobalMaxPool", &Importer::global_pool},
        {"ReduceMean", &Importer::reduce},
        {"ReduceMax", &Importer::reduce},
        {"ReduceSum", &Importer::reduce},
        {"Add", &Importer::arithmetic},
        {"Sub", &Importer::arithmetic},
        {"Mul", &Importer::arithmetic},
        {"Div", &Importer::arithmetic},
        {"Neg", &Importer::arithmetic},
        {"Pow", &Importer::power},
        {"Sum", &Importer::sum},
        {"Concat", &Importer::concat_node},
        {"Flatten", &Importer::reshape_node},
        {"Reshape", &Importer::reshape_node},
        {"Squeeze", &Importer::reshape_node},
        {"Unsqueeze", &Importer::reshape_node},
        {"Transpose", &Importer::transpose_node},
        {"Slice", &Importer::slice_node},
        {"Split", &Importer::split},
        {"Pad", &Importer::pad_node},
        {"Resize", &Importer::resize},
        {"Upsample", &Importer::resize},
        {"Identity", &Importer::identity},
        {"Dropout", &Importer::identity},
        {"Cast", &Importer::identity},
        {"Expand", &Importer::expand},
    };
    return list;
  }

  void shape(const Node& node) {
    Constant c;
    c.is_float = false;
    if (node.has(0) && is_constant(node.in[0])) {
      c.i = constant(node.in[0]).dims;
    } else {
      const Tensor& t = viewed(node, 0);
      c.i = {batch_marker};
      c.i.insert(c.i.end(), t.dims.begin(), t.dims.end());
    }
    const auto rank = static_cast<std::int64_t>(c.i.size());
    const std::int64_t start = node.integer("start", 0), end = node.integer("end", rank);
    const std::int64_t from = std::clamp<std::int64_t>(start < 0 ? start + rank : start, 0, rank), to = std::clamp<std::int64_t>(end < 0 ? end + rank : end, from, rank);
    c.i = Dims(c.i.begin() + from, c.i.begin() + to);
    c.dims = {static_cast<std::int64_t>(c.i.size())};
    constants_[node.out[0]] = std::move(c);
  }

  void identity(const Node& node) {
    if (node.op == "Cast") {
      const std::int64_t to = node.integer("to", pb::TensorProto::FLOAT);
      if (to != pb::TensorProto::FLOAT && to != pb::TensorProto::FLOAT16 && to != pb::TensorProto::DOUBLE && to != pb::TensorProto::BFLOAT16) throw Unsupported("casts to a type that is no float");
    }
    if (node.op == "Dropout" && node.has(2) && is_constant(node.in[2]) && constant(node.in[2]).size() == 1 && constant(node.in[2]).at(0) != 0)
      throw Unsupported("is in training mode: export the model in evaluation mode");
    pass(node, Tensor(viewed(node, 0)));  // a copy: `viewed` refers into the map that is written
  }

  // Spatial attributes as (h, w); a network of rank 3 has its length in h.
  struct Spatial {
    std::int32_t kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1}, begin[2] = {0, 0}, end[2] = {0, 0};
  };

  Spatial spatial(const Node& node, const Tensor& x, Dims kernel) {
    const std::size_t n = x.dims.size() - 1;
    if (x.dims.size() < 2) throw Unsupported("reads a tensor without height and width");
    if (kernel.empty()) kernel = node.integers("kernel_shape");
    const Dims strides = node.integers("strides", Dims(n, 1)), dilations = node.integers("dilations", Dims(n, 1)), pads = node.integers("pads", Dims(2 * n, 0));
    if (kernel.size() != n || strides.size() != n || dilations.size() != n || pads.size() != 2 * n) throw Unsupported("has attributes for another number of dimensions than its input's");
    const std::string automatic = node.text("auto_pad", "NOTSET");
    Spatial s;
    for (std::size_t k = 0; k < n; ++k) {
      s.kernel[k] = narrow(kernel[k], "a kernel");
      s.stride[k] = narrow(strides[k], "a stride");
      s.dilation[k] = narrow(dilations[k], "a dilation");
      s.begin[k] = narrow(pads[k], "padding");
      s.end[k] = narrow(pads[n + k], "padding");
      if (s.kernel[k] < 1 || s.stride[k] < 1 || s.dilation[k] < 1) throw Unsupported("has a kernel, stride or dilation below 1");
      if (automatic == "VALID") s.begin[k] = s.end[k] = 0;
      if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
        const std::int64_t in = x.dims[k + 1], out = (in + s.stride[k] - 1) / s.stride[k];
        const std::int64_t all = std::max<std::int64_t>(0, (out - 1) * s.stride[k] + std::int64_t{s.dilation[k]} * (s.kernel[k] - 1) + 1 - in);
        const std::int64_t less = all / 2, more = all - less;
        s.begin[k] = narrow(automatic == "SAME_UPPER" ? less : more, "padding");
        s.end[k] = narrow(automatic == "SAME_UPPER" ? more : less, "padding");
      } else if (automatic != "NOTSET" && automatic != "VALID" && !automatic.empty()) {
        throw Unsupported("has auto_pad '" + automatic + "'");
      }
    }
    return s;
  }

  // A bias that stands apart as an Add behind an op without one: the op takes it.
  const Constant* take_bias(const Node& node, std::int64_t channels, std::size_t rank) {
    const Node* add = only_reader(node.out[0]);
    if (add == nullptr || add->op != "Add" || add->in.size() != 2) return nullptr;
    const std::string& other = add->in[0] == node.out[0] ? add->in[1] : add->in[0];
    if (!is_constant(other)) return nullptr;
    const Constant& c = constant(other);
    if (!c.is_float || !is_per_channel(c, rank, channels) || c.size() != channels) return nullptr;
    const auto at = static_cast<std::size_t>(add - nodes_.data());
    skipped_.insert(at);
    return &c;
  }

  // Broadcast against (N,C,...) it gives one value a channel, or one for all.
  static bool is_per_channel(const Constant& c, std::size_t rank, std::int64_t channels) {
    if (c.dims.size() > rank + 1) return false;
    if (c.size() == 1) return true;
    if (c.size() != channels) return false;
    const std::size_t back = rank;  // the channel dimension, counted from the end
    return c.dims.size() >= back && c.dims[c.dims.size() - back] == channels;
  }

  void alias_output(const Node& node) {
    const Node* add = only_reader(node.out[0]);
    if (add == nullptr || !skipped_.contains(static_cast<std::size_t>(add - nodes_.data()))) return;
    tensors_[add->out[0]] = tensors_.at(node.out[0]);
    aliases_[add->out[0]] = node.name;
    aliases_.emplace(add->name, node.name);
  }

  template <class Op>
  void set_window(Op& op, const Spatial& s) {
    op.kernel_h = s.kernel[0];
    op.kernel_w = s.kernel[1];
    op.stride_h = s.stride[0];
    op.stride_w = s.stride[1];
    op.dilation_h = s.dilation[0];
    op.dilation_w = s.dilation[1];
    op.pad_top = s.begin[0];
    op.pad_left = s.begin[1];
    op.pad_bottom = s.end[0];
    op.pad_right = s.end[1];
  }

  void conv(const Node& node) {
    const Tensor x = tensor(node, 0);
    const Constant& w = constant(node, 1, "weight");
    if (w.dims.size() != x.dims.size() + 1 || !w.is_float) throw Unsupported("has a weight of shape " + text(w.dims));
    const Spatial s = spatial(node, x, Dims(w.dims.begin() + 2, w.dims.end()));
    Conv2d* op = builder_->make<Conv2d>();
    if (op == nullptr) return set(node, no_id, 1);
    set_window(*op, s);
    if (const auto p = pending_pads_.find(node.in[0]); p != pending_pads_.end()) {
      op->pad_top += p->second[0];
      op->pad_left += p->second[1];
      op->pad_bottom += p->second[2];
      op->pad_right += p->second[3];
    }
    op->out = narrow(w.dims[0], "channels");
    op->groups = narrow(node.integer("group", 1), "groups");
    const Constant* bias = node.has(2) ? &constant(node, 2, "bias") : take_bias(node, op->out, x.dims.size());
    op->bias = bias != nullptr;
    const Shape ws{op->out, narrow(w.dims[1], "channels"), op->kernel_h, op->kernel_w};
    append(node, op, x, ws, 4, w.f, bias, x.dims.size());
  }

  void append(const Node& node, Op* op, const Tensor& x, const Shape& weight_shape, std::uint8_t rank, std::vector<float> w, const Constant* bias, std::size_t out_rank) {
    if (bias != nullptr && (!bias->is_float || bias->size() < 1)) throw Unsupported("has a bias that is no list of floats");
    const GraphBuilder::Parameter parameters[] = {{"weight", weight_shape, rank, Init::weight}, {"bias", {bias != nullptr ? narrow(bias->size(), "biases") : 1, 1}, 1, Init::zero}};
    const Id in[] = {x.id};
    const Id id = builder_->add(op, in, {parameters, bias != nullptr ? 2u : 1u}, node.name.c_str());
    weight(node, "weight", std::move(w));
    if (bias != nullptr) weight(node, "bias", bias->f);
    set(node, id, out_rank);
    alias_output(node);
  }

  void conv_transpose(const Node& node) {
    const Tensor x = tensor(node, 0);
    const Constant& w = constant(node, 1, "weight");
    if (w.dims.size() != x.dims.size() + 1 || !w.is_float) throw Unsupported("has a weight of shape " + text(w.dims));
    Spatial s = spatial(node, x, Dims(w.dims.begin() + 2, w.dims.end()));
    const Dims size = node.integers("output_shape");
    Dims extra = node.integers("output_padding", Dims(x.dims.size() - 1, 0));
    const std::string automatic = node.text("auto_pad", "NOTSET");
    if (extra.size() != x.dims.size() - 1 || (!size.empty() && size.size() != extra.size())) throw Unsupported("has attributes for another number of dimensions than its input's");
    if (!size.empty() || automatic.starts_with("SAME"))
      for (std::size_t k = 0; k < extra.size(); ++k) {
        const std::int64_t out = size.empty() ? x.dims[k + 1] * s.stride[k] : narrow(size[k], "a size");
        const std::int64_t all = (x.dims[k + 1] - 1) * s.stride[k] + narrow(extra[k], "output padding") + std::int64_t{s.dilation[k]} * (s.kernel[k] - 1) + 1 - out;
        // What is too much is cut off on both sides; what is missing is added behind.
        const std::int64_t cut = std::max<std::int64_t>(all, 0), less = cut / 2;
        s.begin[k] = narrow(automatic == "SAME_UPPER" ? less : cut - less, "padding");
        s.end[k] = narrow(cut - s.begin[k], "padding");
        extra[k] += cut - all;
      }
    ConvTranspose2d* op = builder_->make<ConvTranspose2d>();
    if (op == nullptr) return set(node, no_id, 1);
    set_window(*op, s);
    op->groups = narrow(node.integer("group", 1), "groups");
    op->out = narrow(w.dims[1] * op->groups, "channels");
    op->output_pad_h = narrow(extra[0], "output padding");
    if (extra.size() > 1) op->output_pad_w = narrow(extra[1], "output padding");
    const Constant* bias = node.has(2) ? &constant(node, 2, "bias") : take_bias(node, op->out, x.dims.size());
    op->bias = bias != nullptr;
    const Shape ws{narrow(w.dims[0], "channels"), narrow(w.dims[1], "channels"), op->kernel_h, op->kernel_w};
    append(node, op, x, ws, 4, w.f, bias, x.dims.size());
  }

  // Rows of a linear layer's weight are outputs.
  static std::vector<float> transposed(const Constant& c) {
    const auto rows = static_cast<std::size_t>(c.dims[0]), columns = static_cast<std::size_t>(c.dims[1]);
    std::vector<float> out(c.f.size());
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < columns; ++j) out[j * rows + i] = c.f[i * columns + j];
    return out;
  }

  void linear_layer(const Node& node, const Tensor& x, std::int64_t outputs, std::int64_t inputs, std::vector<float> w, const Constant* bias) {
    if (x.dims.size() != 1) throw Unsupported("multiplies a tensor of " + std::to_string(x.dims.size() + 1) + " dimensions, expected (N,K)");
    Linear* op = builder_->make<Linear>();
    if (op == nullptr) return set(node, no_id, 1);
    op->out = narrow(outputs, "outputs");
    op->bias = bias != nullptr;
    append(node, op, x, {op->out, narrow(inputs, "inputs")}, 2, std::move(w), bias, 1);
  }

  void gemm(const Node& node) {
    const Tensor x = tensor(node, 0);
    const Constant& b = constant(node, 1, "matrix");
    if (node.integer("transA", 0) != 0) throw Unsupported("transposes its input, which would mix the batch");
    if (b.dims.size() != 2 || !b.is_float || b.size() < 1) throw Unsupported("has a matrix of shape " + text(b.dims));
    const bool rows = node.integer("transB", 0) != 0;
    std::vector<float> w = rows ? b.f : transposed(b);
    const float alpha = node.number("alpha", 1), beta = node.number("beta", 1);
    for (float& v : w) v *= alpha;
    const std::int64_t outputs = b.dims[rows ? 0 : 1], inputs = b.dims[rows ? 1 : 0];
    Constant scaled;
    const Constant* bias = nullptr;
    if (node.has(2)) {
      const Constant& c = constant(node, 2, "bias");
      if (!c.is_float || c.dims.size() > 2 || !is_per_channel(c, 1, outputs)) throw Unsupported("has a bias of shape " + text(c.dims));
      for (std::int64_t k = 0; k < outputs; ++k) scaled.f.push_back(beta * c.f[static_cast<std::size_t>(c.size() == 1 ? 0 : k)]);
      bias = &scaled;
    } else {
      bias = take_bias(node, outputs, 1);
    }
    linear_layer(node, x, outputs, inputs, std::move(w), bias);
  }

  void matmul(const Node& node) {
    const Tensor x = tensor(node, 0);
    const Constant& b = constant(node, 1, "matrix");
    if (b.dims.size() != 2 || !b.is_float || b.size() < 1) throw Unsupported("has a matrix of shape " + text(b.dims));
    linear_layer(node, x, b.dims[1], b.dims[0], transposed(b), take_bias(node, b.dims[1], 1));
  }

  void batch_normalization(const Node& node) {
    const Tensor x = tensor(node, 0);
    if (node.integer("spatial", 1) != 1) throw Unsupported("normalises each place by itself (spatial 0); one mean a channel is supported");
    const auto made = std::count_if(node.out.begin(), node.out.end(), [](const std::string& o) { return !o.empty(); });
    if (node.integer("training_mode", 0) != 0 || (opset_ < 14 && made > 1)) throw Unsupported("is in training mode: export the model in evaluation mode");
    BatchNorm* op = builder_->make<BatchNorm>();
    if (op == nullptr) return set(node, no_id, 1);
    op->eps = node.number("epsilon", 1e-5f);
    op->momentum = std::clamp(1 - node.number("momentum", 0.9f), 0.0f, 1.0f);  // ONNX counts what stays
    const Shape each{builder_->shape(x.id).c(), 1};
    const char* const names[] = {"weight", "bias", "running_mean", "running_var"};
    GraphBuilder::Parameter parameters[4];
    for (std::size_t k = 0; k < 4; ++k) {
      const Constant& c = constant(node, k + 1, names[k]);
      if (!c.is_float || c.size() != each.n()) throw Unsupported(std::string("has a ") + names[k] + " of shape " + text(c.dims));
      if (k == 3 && std::any_of(c.f.begin(), c.f.end(), [](float v) { return !(v >= 0); })) throw Unsupported("has a negative variance");
      parameters[k] = {names[k], each, 1, k == 0 || k == 3 ? Init::one : Init::zero, k < 2};
      weight(node, names[k], c.f);
    }
    const Id in[] = {x.id};
    set(node, builder_->add(op, in, parameters, node.name.c_str()), x.dims.size());
  }

  void lrn(const Node& node) {
    const Tensor x = tensor(node, 0);
    set(node, local_response_norm(*builder_, x.id, narrow(node.integer("size", 1), "a size"), node.name.c_str(), node.number("alpha", 1e-4f), node.number("beta", 0.75f), node.number("bias", 1)), x.dims.size());
  }

  void activation(const Node& node) {
    const Tensor x = tensor(node, 0);
    GraphBuilder& g = *builder_;
    const char* const name = node.name.c_str();
    const std::string& op = node.op;
    Id id = no_id;
    if (op == "Relu") id = relu(g, x.id, name);
    else if (op == "LeakyRelu") id = leaky_relu(g, x.id, node.number("alpha", 0.01f), name);
    else if (op == "Elu") id = elu(g, x.id, node.number("alpha", 1), name);
    else if (op == "Sigmoid") id = sigmoid(g, x.id, name);
    else if (op == "Tanh") id = tanh(g, x.id, name);
    else if (op == "HardSigmoid") id = hard_sigmoid(g, x.id, node.number("alpha", 0.2f), node.number("beta", 0.5f), name);
    else if (op == "HardSwish" || op == "vitrine.hard_swish") id = hard_swish(g, x.id, name);
    else if (op == "Softplus") id = softplus(g, x.id, name);
    else if (op == "Mish") id = multiply(g, x.id, tanh(g, softplus(g, x.id, (node.name + ".softplus").c_str()), (node.name + ".tanh").c_str()), -1, name);
    else if (op == "Gelu") id = node.text("approximate", "none") == "tanh" ? gelu_tanh(g, x.id, name) : gelu(g, x.id, name);
    else if (op == "vitrine.gelu") id = gelu(g, x.id, name);
    else if (op == "vitrine.gelu_tanh") id = gelu_tanh(g, x.id, name);
    else if (op == "vitrine.silu") id = silu(g, x.id, name);
    else if (op == "vitrine.hard_sigmoid") id = hard_sigmoid(g, x.id, 1.0f / 6, 0.5f, name);
    else throw Unsupported("is of an operator that is not supported");
    set(node, id, x.dims.size());
  }

  void prelu(const Node& node) {
    const Tensor x = tensor(node, 0);
    const Constant& slope = constant(node, 1, "slope");
    if (!slope.is_float || slope.size() < 1 || std::any_of(slope.f.begin(), slope.f.end(), [&](float v) { return v != slope.f[0]; }))
      throw Unsupported("has a slope a channel; one for all is supported");
    set(node, leaky_relu(*builder_, x.id, slope.f[0], node.name.c_str()), x.dims.size());
  }

  void clip_node(const Node& node) {
    const Tensor x = tensor(node, node.op == "Clip" || tensors_.contains(node.in[0]) ? 0 : 1);
    constexpr float largest = 3.402823466e38f;  // JSON knows no infinity
    float low = -largest, high = largest;
    const auto bound = [&](std::size_t k) {
      const Constant& c = constant(node, k, "bound");
      if (c.size() != 1 || c.dims.size() > x.dims.size() + 1) throw Unsupported("has a bound that is no scalar");
      return std::clamp(static_cast<float>(c.at(0)), -largest, largest);
    };
    if (node.op == "Clip") {
      low = node.has(1) ? bound(1) : std::clamp(node.number("min", low), -largest, largest);
      high = node.has(2) ? bound(2) : std::clamp(node.number("max", high), -largest, largest);
    } else {
      if (node.in.size() != 2) throw Unsupported("compares other than a tensor with a scalar");
      (node.op == "Max" ? low : high) = bound(tensors_.contains(node.in[0]) ? 1 : 0);
    }
    if (low == -largest && high == largest) pass(node, x);
    else if (low == 0 && high == largest) set(node, relu(*builder_, x.id, node.name.c_str()), x.dims.size());
    else set(node, clip(*builder_, x.id, low, high, node.name.c_str()), x.dims.size());
  }

  void softmax_node(const Node& node) {
    const Tensor x = tensor(node, 0);
    const auto rank = static_cast<std::int64_t>(x.dims.size()) + 1;
    std::int64_t axis = node.integer("axis", opset_ >= 13 ? -1 : 1);
    if (axis < 0) axis += rank;
    // Before opset 13 all dimensions from the axis on are one; where only channels are more than 1, that is the same.
    if (builder_->shape(x.id).pixels() != 1 || axis != 1) throw Unsupported("normalises over other dimensions than the classes of a vector");
    const char* const name = node.name.c_str();
    set(node, node.op == "Softmax" ? softmax(*builder_, x.id, name) : log_softmax(*builder_, x.id, name), x.dims.size());
  }

  void pool(const Node& node) {
    const Tensor x = tensor(node, 0);
    if (node.out.size() > 1 && !node.out[1].empty() && readers_.contains(node.out[1])) throw Unsupported("hands out its indices, which are not supported");
    const Spatial s = spatial(node, x, {});
    const auto fill = [&](Window& w) {
      set_window(w, s);
      w.ceil_mode = node.integer("ceil_mode", 0) != 0;
    };
    const Id in[] = {x.id};
    if (node.op == "MaxPool") {
      MaxPool* op = builder_->make<MaxPool>();
      if (op != nullptr) fill(op->window);
      return set(node, builder_->add(op, in, {}, node.name.c_str()), x.dims.size());
    }
    AvgPool* op = builder_->make<AvgPool>();
    if (op != nullptr) {
      fill(op->window);
      op->count_padding = node.integer("count_include_pad", 0) != 0;
    }
    set(node, builder_->add(op, in, {}, node.name.c_str()), x.dims.size());
  }

  void global_pool(const Node& node) {
    const Tensor x = tensor(node, 0);
    if (x.dims.size() < 2) throw Unsupported("reads a tensor without height and width");
    set(node, node.op == "GlobalMaxPool" ? global_max_pool(*builder_, x.id, node.name.c_str()) : global_avg_pool(*builder_, x.id, node.name.c_str()), x.dims.size());
  }

  // Means, sums and maxima over whole dimensions: pools.
  void reduce(const Node& node) {
    const Tensor x = tensor(node, 0);
    Dims axes = list(node, "axes", 1);
    const auto rank = static_cast<std::int64_t>(x.dims.size()) + 1;
    for (std::int64_t& a : axes) a = a < 0 ? a + rank : a;
    std::sort(axes.begin(), axes.end());
    if (axes.empty() || axes.back() >= rank) throw Unsupported("takes in the batch, or a dimension that its input does not have");
    GraphBuilder& g = *builder_;
    Id id = x.id;
    // Pools work on the last two dimensions. The first two of (H,W,C), or channels, are brought there first.
    if (axes == Dims{1, 2}) id = transpose(g, id, 3, 1, 2, (node.name + ".moved").c_str());
    else if (axes == Dims{1}) id = transpose(g, id, 2, 1, 3, (node.name + ".moved").c_str());
    else if (axes != Dims{2, 3} && axes != Dims{2} && axes != Dims{3}) throw Unsupported("takes in the batch, or channels with one of height and width");
    if (axes.size() == 2 || rank < 4) {
      id = node.op == "ReduceMax" ? global_max_pool(g, id, node.name.c_str()) : global_avg_pool(g, id, node.name.c_str());
    } else {
      Window window;
      (axes[0] == 3 ? window.kernel_w : window.kernel_h) = narrow(x.dims[static_cast<std::size_t>(axes[0] - 1)], "a size");
      const Id in[] = {id};
      if (node.op == "ReduceMax") {
        MaxPool* op = g.make<MaxPool>();
        if (op != nullptr) op->window = window;
        id = g.add(op, in, {}, node.name.c_str());
      } else {
        AvgPool* op = g.make<AvgPool>();
        if (op != nullptr) op->window = window;
        id = g.add(op, in, {}, node.name.c_str());
      }
    }
    set(node, id, 3);
    const bool keep = node.integer("keepdims", 1) != 0;
    Dims dims;
    std::int64_t count = 1;
    for (std::int64_t k = 1; k < rank; ++k) {
      const bool taken = std::find(axes.begin(), axes.end(), k) != axes.end();
      const std::int64_t size = x.dims[static_cast<std::size_t>(k - 1)];
      if (taken) count *= size;
      if (!taken || keep) dims.push_back(taken ? 1 : size);
    }
    if (dims.empty()) throw Unsupported("leaves nothing but the batch");
    if (node.op == "ReduceSum") {
      Node part;
      part.name = node.name + ".sum";
      part.op = node.op;
      part.out = node.out;
      scale_by(part, {id, {}}, static_cast<float>(count), 0);
      id = tensors_.at(node.out[0]).id;
    }
    // A pool keeps channels in front and dimensions in their places; what the file says may be another shape.
    const Shape shape = shape_of(dims);
    if (shape != g.shape(id)) set(node, reshape(g, id, shape.c(), shape.h(), shape.w(), (node.name + ".kept").c_str()), 3);
    tensors_[node.out[0]].dims = dims;
  }

  void arithmetic(const Node& node) {
    if (node.op == "Neg") return scale_by(node, tensor(node, 0), -1.0f, 0.0f);
    if (node.in.size() != 2) throw Unsupported("has other than two inputs");
    const bool first = tensors_.contains(node.in[0]), second = tensors_.contains(node.in[1]);
    if (first && second) return two_tensors(node);
    const Tensor x = tensor(node, first ? 0 : 1);
    const Constant& c = constant(node, first ? 1 : 0, "operand");
    if (expanded_.contains(node.in[first ? 0 : 1])) throw Unsupported("multiplies an expanded tensor with a constant");
    const std::int64_t channels = builder_->shape(x.id).c();
    if (!is_per_channel(c, x.dims.size(), channels)) throw Unsupported("combines a tensor with a constant of shape " + text(c.dims) + "; one value a channel is supported");
    spend(2 * channels);
    std::vector<float> w(static_cast<std::size_t>(channels), 1), b(w.size(), 0);
    for (std::size_t k = 0; k < w.size(); ++k) {
      const auto v = static_cast<float>(c.at(c.size() == 1 ? 0 : k));
      if (node.op == "Add") b[k] = v;
      else if (node.op == "Sub") b[k] = first ? -v : v, w[k] = first ? 1.0f : -1.0f;
      else if (node.op == "Mul") w[k] = v;
      else if (first) w[k] = 1 / v;
      else throw Unsupported("divides by a tensor of the network");
    }
    scale_by(node, x, std::move(w), std::move(b));
  }

  void power(const Node& node) {
    const Tensor x = tensor(node, 0);
    const Constant& exponent = constant(node, 1, "exponent");
    if (exponent.size() != 1 || exponent.dims.size() > x.dims.size() + 1 || exponent.at(0) != 2) throw Unsupported("raises to another power than 2");
    set(node, multiply(*builder_, x.id, x.id, -1, node.name.c_str()), x.dims.size());
  }

  // Products spread their smaller factor themselves, so its expansion is but a promise that they check.
  void expand(const Node& node) {
    const Tensor x = tensor(node, 0);
    const Dims to = list(node, "shape", 1);
    if (to.size() > x.dims.size() + 1) throw Unsupported("adds dimensions");
    Dims dims = x.dims;
    for (std::size_t k = 0; k < to.size() && k < dims.size(); ++k) {
      std::int64_t& d = dims[dims.size() - 1 - k];
      const std::int64_t wanted = to[to.size() - 1 - k];
      if (d != 1 && wanted != 1 && d != wanted) throw Unsupported("expands " + text(x.dims) + " (without the batch) to " + text(to));
      if (d == 1) d = wanted;
    }
    pass(node, x);
    if (dims == x.dims) return;
    const auto r = readers_.find(node.out[0]);
    if (r == readers_.end() || extra_.contains(node.out[0]) || std::any_of(r->second.begin(), r->second.end(), [&](std::size_t i) { return nodes_[i].op != "Mul"; }))
      throw Unsupported("repeats elements of other than a product's factor");
    expanded_[node.out[0]] = dims;
  }

  void scale_by(const Node& node, const Tensor& x, float w, float b) {
    const auto channels = static_cast<std::size_t>(builder_->shape(x.id).c());
    spend(2 * static_cast<std::int64_t>(channels));
    scale_by(node, x, std::vector<float>(channels, w), std::vector<float>(channels, b));
  }

  void scale_by(const Node& node, const Tensor& x, std::vector<float> w, std::vector<float> b) {
    const Id id = scale(*builder_, x.id, node.name.c_str());
    weight(node, "weight", std::move(w));
    weight(node, "bias", std::move(b));
    set(node, id, x.dims.size());
  }

  void two_tensors(const Node& node) {
    Tensor a = tensor(node, 0), b = tensor(node, 1);
    GraphBuilder& g = *builder_;
    if (node.op == "Add" || node.op == "Sub") {
      if (a.dims != b.dims) throw Unsupported("adds tensors of shapes " + text(a.dims) + " and " + text(b.dims) + "; equal ones are supported");
      if (node.op == "Sub") {
        const std::string name = node.name + ".negated";
        b.id = scale(g, b.id, name.c_str());
        const auto channels = static_cast<std::size_t>(g.shape(b.id).c());
        spend(2 * static_cast<std::int64_t>(channels));
        weights_[name + ".weight"].assign(channels, -1);
        weights_[name + ".bias"].assign(channels, 0);
      }
      return set(node, add(g, a.id, b.id, node.name.c_str()), a.dims.size());
    }
    if (node.op != "Mul") throw Unsupported("divides by a tensor of the network");
    if (a.dims.size() != b.dims.size()) throw Unsupported("multiplies tensors of shapes " + text(a.dims) + " and " + text(b.dims) + "; equal numbers of dimensions are supported");
    const Shape sa = g.shape(a.id), sb = g.shape(b.id);
    if (sa.per_image() < sb.per_image()) std::swap(a, b);
    for (const std::string& in : node.in)
      if (const auto e = expanded_.find(in); e != expanded_.end() && e->second != a.dims) throw Unsupported("multiplies a tensor expanded to " + text(e->second) + " with a smaller one");
    std::int32_t gate = -1;
    if (sa != sb || opens(b.id)) gate = 1;
    else if (opens(a.id)) gate = 0;
    set(node, multiply(g, a.id, b.id, gate, node.name.c_str()), a.dims.size());
  }

  // The result of an op whose values open and close: sigmoids.
  bool opens(Id id) const {
    const Id p = builder_->values()[id].producer;
    if (p == no_id) return false;
    const char* const op = builder_->nodes()[p].op->name();
    return matches("sigmoid", op) || matches("hard_sigmoid", op) || matches("softmax", op);
  }

  void sum(const Node& node) {
    std::vector<Id> terms;
    const Dims dims = tensor(node, 0).dims;
    if (node.in.size() == 1) return identity(node);
    for (std::size_t k = 0; k < node.in.size(); ++k) {
      terms.push_back(tensor(node, k).id);
      if (tensor(node, k).dims != dims) throw Unsupported("adds tensors of different shapes");
    }
    set(node, add(*builder_, terms, node.name.c_str()), dims.size());
  }

  void concat_node(const Node& node) {
    if (node.in.size() == 1) return identity(node);
    std::vector<Id> parts;
    const std::size_t rank = tensor(node, 0).dims.size();
    for (std::size_t k = 0; k < node.in.size(); ++k) {
      parts.push_back(tensor(node, k).id);
      if (tensor(node, k).dims.size() != rank) throw Unsupported("joins tensors of different numbers of dimensions");
    }
    std::int64_t axis = node.integer("axis", 1);
    if (axis < 0) axis += static_cast<std::int64_t>(rank) + 1;
    if (axis < 1 || axis > static_cast<std::int64_t>(rank)) throw Unsupported("joins tensors along the batch");
    set(node, concat(*builder_, parts, node.name.c_str(), static_cast<std::int32_t>(axis)), rank);
  }

  void reshape_node(const Node& node) {
    const Tensor x = viewed(node, 0);
    const std::int64_t each = product(x.dims);
    Dims to;
    if (node.op == "Flatten") {
      std::int64_t axis = node.integer("axis", 1);
      if (axis < 0) axis += static_cast<std::int64_t>(x.dims.size()) + 1;
      if (axis != 1) throw Unsupported("flattens from axis " + std::to_string(axis) + ", which is not the first behind the batch");
      to = {each};
    } else if (node.op == "Reshape") {
      to = reshaped(node, x, each);
    } else {
      Dims with_batch{batch_marker};
      with_batch.insert(with_batch.end(), x.dims.begin(), x.dims.end());
      const Dims axes = list(node, "axes", 1);
      to = node.op == "Unsqueeze" ? unsqueezed(with_batch, axes) : squeezed(with_batch, axes);
      if (to[0] != batch_marker) throw Unsupported("adds a dimension before the batch");
      to.erase(to.begin());
    }
    if (to.empty() || product(to) != each) throw Unsupported("reshapes " + text(x.dims) + " (without the batch) to " + text(to));
    // A view that changes nothing but the number of dimensions is none.
    if (to.size() > 3 || shape_of(to) == builder_->shape(x.id)) return pass(node, {x.id, to});
    const Shape shape = shape_of(to);
    if (to.size() == 1) return set(node, flatten(*builder_, x.id, node.name.c_str()), 1);
    set(node, reshape(*builder_, x.id, shape.c(), shape.h(), shape.w(), node.name.c_str()), to.size());
  }

  Dims reshaped(const Node& node, const Tensor& x, std::int64_t each) {
    Dims to = list(node, "shape", 1);
    if (to.size() < 2) throw Unsupported("reshapes to " + text(to) + ", which mixes the batch");
    const bool zeros = node.integer("allowzero", 0) == 0;
    for (std::size_t k = 0; k < to.size(); ++k)
      if (to[k] == 0 && zeros) {
        if (k > x.dims.size()) throw Unsupported("copies a dimension that its input does not have");
        to[k] = k == 0 ? batch_marker : x.dims[k - 1];
      }
    std::int64_t known = 1, open = -1;
    for (std::size_t k = 1; k < to.size(); ++k) {
      if (to[k] == -1) open = static_cast<std::int64_t>(k);
      else if (to[k] < 1 || to[k] > (1 << 30) || (known *= to[k]) > (std::int64_t{1} << 31)) throw Unsupported("reshapes to " + text(to));
    }
    // The batch stays the batch if it is named so, left open, or the one size that the file was made with.
    const std::int64_t batch = to[0];
    const bool kept = batch == batch_marker || (batch == -1 && open < 0 && known == each) || (batch == fixed_batch_ && batch > 0 && (open >= 0 || known == each));
    if (!kept) throw Unsupported("reshapes to " + text(to) + ", which mixes the batch");
    if (open >= 0) to[static_cast<std::size_t>(open)] = each % known == 0 ? each / known : 0;
    to.erase(to.begin());
    return to;
  }

  void transpose_node(const Node& node) {
    const Tensor x = viewed(node, 0);
    Dims perm = node.integers("perm");
    const std::size_t rank = x.dims.size() + 1;
    if (perm.size() != rank || perm[0] != 0) throw Unsupported("moves the batch dimension");
    if (rank > 4) return transpose_view(node, x, perm);
    std::int32_t d[3] = {1, 2, 3};
    for (std::size_t k = 1; k < rank; ++k) d[k - 1] = narrow(perm[k] < 0 ? perm[k] + static_cast<std::int64_t>(rank) : perm[k], "a dimension");
    set(node, transpose(*builder_, x.id, d[0], d[1], d[2], node.name.c_str()), x.dims.size());
  }

  // Of more than three dimensions those that stay side by side are moved as one: channel shuffles become a reshape, a
  // transpose of three dimensions and a reshape.
  void transpose_view(const Node& node, const Tensor& x, const Dims& perm) {
    Dims dims, order, back(x.dims.size(), -1);  // dimensions above 1 as the result has them, and their places in the input
    for (std::size_t k = 1; k < perm.size(); ++k) {
      if (perm[k] < 1 || perm[k] > static_cast<std::int64_t>(x.dims.size()) || std::count(perm.begin(), perm.end(), perm[k]) != 1) throw Unsupported("has an impossible permutation");
      dims.push_back(x.dims[static_cast<std::size_t>(perm[k] - 1)]);
      if (dims.back() > 1) order.push_back(perm[k] - 1);
    }
    std::int64_t kept = 0;
    for (std::size_t k = 0; k < x.dims.size(); ++k)
      if (x.dims[k] > 1) back[k] = kept++;
    std::vector<std::pair<std::int64_t, std::int64_t>> runs;  // first dimension in the input, elements
    for (std::size_t k = 0; k < order.size(); ++k) {
      const auto at = [&](std::size_t j) { return back[static_cast<std::size_t>(order[j])]; };
      if (k > 0 && at(k) == at(k - 1) + 1) runs.back().second *= x.dims[static_cast<std::size_t>(order[k])];
      else runs.emplace_back(order[k], x.dims[static_cast<std::size_t>(order[k])]);
    }
    if (runs.size() < 2) return pass(node, {x.id, dims});
    if (runs.size() > 3) throw Unsupported("permutes " + text(x.dims) + " (without the batch) in a way that three dimensions do not express");
    auto sources = runs;
    std::sort(sources.begin(), sources.end());
    std::int32_t size[3] = {1, 1, 1}, d[3] = {1, 2, 3};
    for (std::size_t k = 0; k < runs.size(); ++k) {
      size[k] = narrow(sources[k].second, "a size");
      d[k] = static_cast<std::int32_t>(std::find(sources.begin(), sources.end(), runs[k]) - sources.begin()) + 1;
    }
    Id id = x.id;
    if (builder_->shape(id) != Shape{1, size[0], size[1], size[2]}) id = reshape(*builder_, id, size[0], size[1], size[2], (node.name + ".merged").c_str());
    set(node, transpose(*builder_, id, d[0], d[1], d[2], node.name.c_str()), 3);
    tensors_[node.out[0]].dims = dims;
  }

  void slice_node(const Node& node) {
    const Tensor x = tensor(node, 0);
    const Dims starts = list(node, "starts", 1), ends = list(node, "ends", 2);
    Dims axes = list(node, "axes", 3), steps = node.has(4) ? list(node, "steps", 4) : Dims(starts.size(), 1);
    if (axes.empty())
      for (std::size_t k = 0; k < starts.size(); ++k) axes.push_back(static_cast<std::int64_t>(k));
    if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size()) throw Unsupported("slices with lists of unequal lengths");
    Id id = x.id;
    for (std::size_t k = 0; k < starts.size(); ++k) {
      const std::int64_t axis = axes[k] < 0 ? axes[k] + static_cast<std::int64_t>(x.dims.size()) + 1 : axes[k];
      if (axis == 0 && starts[k] == 0 && steps[k] == 1 && ends[k] >= (fixed_batch_ > 0 ? fixed_batch_ : 0x7fffffff)) continue;  // all of the batch
      if (axis < 1 || axis > static_cast<std::int64_t>(x.dims.size())) throw Unsupported("slices the batch");
      const std::int64_t n = x.dims[static_cast<std::size_t>(axis - 1)];
      const Range r = slice_range(n, starts[k], ends[k], steps[k]);
      if (r.count < 1) throw Unsupported("slices everything away");
      if (r.start == 0 && r.step == 1 && r.count == n) continue;
      const std::string name = k + 1 < starts.size() ? node.name + "." + std::to_string(k) : node.name;
      id = slice(*builder_, id, static_cast<std::int32_t>(axis), narrow(r.start, "a start"), narrow(r.count, "a count"), narrow(r.step, "a step"), name.c_str());
    }
    if (id == x.id) pass(node, x);
    else set(node, id, x.dims.size());
  }

  void split(const Node& node) {
    const Tensor x = tensor(node, 0);
    std::int64_t axis = node.integer("axis", 0);
    if (axis < 0) axis += static_cast<std::int64_t>(x.dims.size()) + 1;
    if (axis < 1 || axis > static_cast<std::int64_t>(x.dims.size())) throw Unsupported("splits the batch");
    const std::int64_t n = x.dims[static_cast<std::size_t>(axis - 1)], parts = static_cast<std::int64_t>(node.out.size());
    Dims sizes = list(node, "split", 1);
    if (sizes.empty())
      for (std::int64_t k = 0, each = (n + parts - 1) / parts; k < parts; ++k) sizes.push_back(std::min(each, n - k * each));
    if (static_cast<std::int64_t>(sizes.size()) != parts) throw Unsupported("splits into other than its outputs");
    std::int64_t from = 0;
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      const std::string name = node.name + "." + std::to_string(k);
      if (sizes[k] < 1 || sizes[k] > n - from) throw Unsupported("splits past its input");
      const Id id = slice(*builder_, x.id, static_cast<std::int32_t>(axis), narrow(from, "a start"), narrow(sizes[k], "a size"), 1, name.c_str());
      from += sizes[k];
      Node part;
      part.name = name;
      part.op = node.op;
      part.out = {node.out[k]};
      set(part, id, x.dims.size());
    }
  }

  void pad_node(const Node& node) {
    const Tensor x = tensor(node, 0);
    if (node.text("mode", "constant") != "constant") throw Unsupported("pads by '" + node.text("mode", "") + "'; constant 0 is supported");
    double value = static_cast<double>(node.number("value", 0));
    if (node.has(2)) {
      const Constant& c = constant(node, 2, "value");
      if (c.size() != 1) throw Unsupported("pads with other than a scalar");
      value = c.at(0);
    }
    if (value != 0) throw Unsupported("pads with " + std::to_string(value) + "; 0 is supported");
    const Dims given = list(node, "pads", 1), axes = node.has(3) ? list(node, "axes", 3) : Dims{};
    const std::size_t rank = x.dims.size() + 1;
    Dims pads = given;
    if (!axes.empty()) {
      if (given.size() != 2 * axes.size()) throw Unsupported("has pads for another number of axes");
      pads.assign(2 * rank, 0);
      for (std::size_t k = 0; k < axes.size(); ++k) {
        const std::int64_t a = axes[k] < 0 ? axes[k] + static_cast<std::int64_t>(rank) : axes[k];
        if (a < 0 || a >= static_cast<std::int64_t>(rank)) throw Unsupported("pads an axis that its input does not have");
        pads[static_cast<std::size_t>(a)] = given[k];
        pads[static_cast<std::size_t>(a) + rank] = given[k + axes.size()];
      }
    }
    if (pads.size() != 2 * rank || pads[0] != 0 || pads[rank] != 0) throw Unsupported("pads the batch, or another number of dimensions");
    std::int32_t p[6] = {};  // front, top, left, back, bottom, right
    for (std::size_t k = 1; k < rank; ++k) {
      p[k - 1] = narrow(pads[k], "padding");
      p[k + 2] = narrow(pads[rank + k], "padding");
    }
    // Zeros around height and width before a convolution are its padding: rules that look at its inputs (flat, z-box) must
    // see pixels alone.
    const Node* reader = only_reader(node.out[0]);
    const bool spatial = p[0] == 0 && p[3] == 0 && *std::min_element(p, p + 6) >= 0;
    const std::string automatic = reader != nullptr ? reader->text("auto_pad", "NOTSET") : "";
    if (reader != nullptr && reader->op == "Conv" && reader->in[0] == node.out[0] && spatial && (automatic == "NOTSET" || automatic == "VALID")) {
      pending_pads_[node.out[0]] = {p[1], p[2], p[4], p[5]};
      return pass(node, x);
    }
    Pad* op = builder_->make<Pad>();
    if (op != nullptr) {
      op->front = p[0];
      op->top = p[1];
      op->left = p[2];
      op->back = p[3];
      op->bottom = p[4];
      op->right = p[5];
    }
    const Id in[] = {x.id};
    set(node, builder_->add(op, in, {}, node.name.c_str()), x.dims.size());
  }

  void resize(const Node& node) {
    const Tensor x = tensor(node, 0);
    const bool old = node.op == "Upsample", simple = old || opset_ < 11;
    if (x.dims.size() != 3) throw Unsupported("resamples a tensor that has no height and width");
    const std::string mode = node.text("mode", "nearest"), place = node.text("coordinate_transformation_mode", simple ? "asymmetric" : "half_pixel");
    const std::string nearest = node.text("nearest_mode", simple ? "floor" : "round_prefer_floor");
    Upsample* op = builder_->make<Upsample>();
    if (op == nullptr) return set(node, no_id, 1);
    op->bilinear = mode == "linear" || mode == "bilinear";
    if (!op->bilinear && mode != "nearest") throw Unsupported("resamples by '" + mode + "'; nearest and linear are supported");
    if (node.integer("antialias", 0) != 0) throw Unsupported("resamples with antialias, which is not supported");
    if (node.text("keep_aspect_ratio_policy", "stretch") != "stretch") throw Unsupported("keeps the aspect ratio, which is not supported");
    op->align_corners = place == "align_corners";
    op->half_pixel = place == "half_pixel" || place == "pytorch_half_pixel" || (place == "tf_half_pixel_for_nn" && !op->bilinear);
    if (!op->align_corners && !op->half_pixel && place != "asymmetric") throw Unsupported("has coordinates of kind '" + place + "'");

    const std::size_t scales_at = simple ? 1 : 2;
    std::vector<float> scales;
    Dims sizes;
    if (const auto* listed = node.find("scales"); listed != nullptr) scales.assign(listed->floats().begin(), listed->floats().end());
    else if (node.has(scales_at)) scales = constant(node, scales_at, "scales").f;
    if (scales.empty() && node.has(3)) sizes = constant(node, 3, "sizes").i;
    // One of them for each dimension, or for those that `axes` lists (opset 18).
    Dims axes = node.integers("axes", {0, 1, 2, 3});
    if (axes.size() != (scales.empty() ? sizes.size() : scales.size())) throw Unsupported("has neither scales nor sizes of height and width");
    std::int32_t out[] = {narrow(x.dims[1], "a size"), narrow(x.dims[2], "a size")};
    for (std::size_t k = 0; k < axes.size(); ++k) {
      const std::int64_t axis = axes[k] < 0 ? axes[k] + 4 : axes[k];
      if (axis < 0 || axis > 3) throw Unsupported("resamples an axis that its input does not have");
      if (axis < 2) {
        if (scales.empty() ? axis == 1 && sizes[k] != x.dims[0] : scales[k] != 1) throw Unsupported("resamples other than height and width");
        continue;
      }
      const auto d = static_cast<std::size_t>(axis - 2);
      if (scales.empty()) {
        out[d] = narrow(sizes[k], "a size");
        continue;
      }
      const float s = scales[k], size = s * static_cast<float>(out[d]);
      if (!(s > 0) || !(size < 1e6f)) throw Unsupported("has an impossible scale");
      out[d] = static_cast<std::int32_t>(std::floor(size + 1e-4f));
      (d == 0 ? op->step_h : op->step_w) = 1 / s;
    }
    op->out_h = out[0];
    op->out_w = out[1];
    if (op->out_h < 1 || op->out_w < 1) throw Unsupported("resamples to nothing");

    const bool whole = op->out_h % x.dims[1] == 0 && op->out_w % x.dims[2] == 0, smaller = op->out_h < x.dims[1] || op->out_w < x.dims[2];
    if (op->bilinear) {
      // There PyTorch puts a single place first, not into the middle.
      if (place == "pytorch_half_pixel" && ((op->out_h == 1 && x.dims[1] > 1) || (op->out_w == 1 && x.dims[2] > 1))) throw Unsupported("resamples to a single place at coordinates of kind 'pytorch_half_pixel'");
    } else if (op->half_pixel && whole) {
      // Whole multiples never lie between two places: all ways to round are one.
      if (!nearest.starts_with("round_prefer_") && place != "tf_half_pixel_for_nn") throw Unsupported("rounds by '" + nearest + "' at coordinates of kind '" + place + "'");
    } else if (op->half_pixel ? nearest != "round_prefer_floor" || place == "tf_half_pixel_for_nn" : nearest != "floor") {
      throw Unsupported("rounds by '" + nearest + "' at coordinates of kind '" + place + "'");
    } else if (simple && smaller) {
      throw Unsupported("makes height or width smaller by 'nearest', which its opset does not define");
    }
    const Id in[] = {x.id};
    set(node, builder_->add(op, in, {}, node.name.c_str()), 3);
  }

  const pb::ModelProto& model_;
  const pb::GraphProto& graph_;
  std::string path_, folder_;
  const ImportOptions& options_;
  std::int64_t opset_ = 0, fixed_batch_ = 0, allowance_ = 1 << 22;
  std::size_t rank_ = 3;
  std::vector<Node> nodes_;
  std::map<std::string, const pb::TensorProto*> initializers_;
  std::map<std::string, Constant> constants_, scalars_;
  std::map<std::string, std::vector<std::size_t>> readers_;
  std::map<std::string, int> extra_;  // tensors that are read from outside
  GraphBuilder* builder_ = nullptr;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, Dims> expanded_;  // factors as Expand nodes make them
  std::map<std::string, std::array<std::int32_t, 4>> pending_pads_;  // of Pad nodes that a convolution takes: top, left, bottom, right
  std::map<std::string, std::vector<float>> weights_;
  std::map<std::string, std::string> aliases_;
  std::set<std::string> unknown_;
  std::set<std::size_t> skipped_;
  std::vector<std::string> problems_;
};

}  // namespace

Model import_bytes(std::span<const std::byte> bytes, const std::string& path, const std::string& folder, const ImportOptions& options) {
  pb::ModelProto model;
  if (bytes.size() > std::size_t{1} << 31) throw Error(path + ": has more than 2 GiB, which no ONNX file can have without external data");
  if (!model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || !model.has_graph()) throw Error(path + ": is no ONNX model (its protobuf message is damaged or of another kind)");
  return Importer(model, path, folder, options).run();
}

Model import_file(const std::string& path, const ImportOptions& options) {
  const io::MappedFile file(path);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return import_bytes(file.bytes(), path, folder.empty() ? "." : folder, options);
}

}  // namespace vitrine::onnx
