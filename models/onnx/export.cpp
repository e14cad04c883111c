#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/host/io/file.h"
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/conv_transpose2d.h"
#include "layers/interpretable_filters.h"
#include "layers/local_response_norm.h"
#include "layers/pool.h"
#include "layers/rule_embedded.h"
#include "layers/softmax.h"
#include "layers/upsample.h"
#include "layers/view.h"
#include "models/onnx/onnx.h"

namespace vitrine::onnx {
namespace {

namespace pb = ::ONNX_NAMESPACE;
using Ints = std::vector<std::int64_t>;

// Vectors are (N,C,1,1) to Vitrine; to ONNX a value is of rank 2 behind a flatten or linear layer, else of rank 4.
class Exporter {
 public:
  explicit Exporter(const Model& model) : model_(model), g_(model.graph()) {
    proto_.set_ir_version(8);
    proto_.set_producer_name("vitrine");
    auto* opset = proto_.add_opset_import();
    opset->set_domain("");
    opset->set_version(17);
    out_ = proto_.mutable_graph();
    out_->set_name(model.architecture);
    auto* property = proto_.add_metadata_props();
    property->set_key("vitrine");
    property->set_value(model_baggage_to_json(model));
    for (const Value& v : g_.values)
      if (v.kind != ValueKind::input) taken_.insert(v.name);
    // Several inputs have their own names; one alone was always called so.
    if (g_.inputs.size() == 1) {
      inputs_[g_.input] = fresh("input");
    } else {
      for (const Id v : g_.inputs) taken_.insert(inputs_[v] = g_.values[v].name);
    }
  }

  std::string run() {
    write_input(g_.input);
    for (const Id v : g_.inputs)
      if (v != g_.input) write_input(v);
    for (const Node& node : g_.nodes) write(node);
    write_output(g_.output);
    for (const Id v : g_.outputs)
      if (v != g_.output) write_output(v);
    for (const Value& v : g_.values)
      if (v.kind == ValueKind::parameter && !spread_.contains(v.name)) {
        Ints dims;
        for (std::uint8_t d = 0; d < v.rank; ++d) dims.push_back(v.shape.d[d]);
        initializer(v.name, dims, model_.parameters.data() + v.offset);
      }
    std::string bytes;
    if (proto_.ByteSizeLong() > std::size_t{0x7fffffff} || !proto_.SerializeToString(&bytes))
      throw Error("the network has more than 2 GiB of weights, which no single ONNX file holds");
    return bytes;
  }

 private:
  void write_input(Id v) {
    const Shape& s = g_.shape(v);
    std::string name = inputs_.at(v);
    if (model_.preparation.nhwc) {
      const std::string images = g_.inputs.size() == 1 ? fresh("images") : name;
      name = g_.inputs.size() == 1 ? name : inputs_[v] = fresh(name + ".nchw");
      describe(out_->add_input(), images, {s.h(), s.w(), s.c()});
      set(add("Transpose", name, {images}, name), "perm", Ints{0, 3, 1, 2});
    } else {
      describe(out_->add_input(), name, {s.c(), s.h(), s.w()});
    }
    rank_[v] = 4;
  }

  // In the dimensions and the order that its arrays have.
  void write_output(Id v) {
    Ints dims = model_.array_shape(v, 1);  // the batch is not among them
    dims.erase(dims.begin());
    if (dims.size() == 1) return describe(out_->add_output(), as_rank(v, 2), dims);
    const std::string maps = as_rank(v, 4), name = name_of(v);
    if (dims.size() == 3 && !model_.preparation.nhwc) return describe(out_->add_output(), maps, dims);
    if (dims.size() == 3) {
      const std::string turned = step("Transpose", name + ".nhwc", {maps});
      set(last(), "perm", Ints{0, 2, 3, 1});
      return describe(out_->add_output(), turned, dims);
    }
    Ints shape = dims;
    shape.insert(shape.begin(), dims.empty() ? -1 : 0);
    describe(out_->add_output(), step("Reshape", name + ".array", {maps, whole(name + ".array.shape", shape)}), dims);
  }

  static void describe(pb::ValueInfoProto* info, const std::string& name, const Ints& dims) {
    info->set_name(name);
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(pb::TensorProto::FLOAT);
    tensor->mutable_shape()->add_dim()->set_dim_param("batch");
    for (const std::int64_t d : dims) tensor->mutable_shape()->add_dim()->set_dim_value(d);
  }

  // Nodes and tensors beside the network's own get names that none of those has.
  std::string fresh(std::string name) {
    while (!taken_.insert(name).second) name += "_";
    return name;
  }

  std::string name_of(Id v) const {
    const auto input = inputs_.find(v);
    return input != inputs_.end() ? input->second : g_.values[v].name;
  }

  pb::NodeProto& add(const std::string& op, const std::string& name, const std::vector<std::string>& in,
                     const std::string& out) {
    pb::NodeProto& n = *out_->add_node();
    n.set_op_type(op);
    n.set_name(name);
    for (const std::string& i : in) n.add_input(i);
    n.add_output(out);
    return n;
  }

  /// A node on the way to one of the network's; returns its output.
  std::string step(const std::string& op, const std::string& name, const std::vector<std::string>& in) {
    const std::string out = fresh(name);
    add(op, out, in, out);
    return out;
  }

  pb::NodeProto& last() { return *out_->mutable_node(out_->node_size() - 1); }

  static void set(pb::NodeProto& n, const char* name, std::int64_t v) {
    auto* a = n.add_attribute();
    a->set_name(name);
    a->set_type(pb::AttributeProto::INT);
    a->set_i(v);
  }
  static void set(pb::NodeProto& n, const char* name, float v) {
    auto* a = n.add_attribute();
    a->set_name(name);
    a->set_type(pb::AttributeProto::FLOAT);
    a->set_f(v);
  }
  static void set(pb::NodeProto& n, const char* name, const char* v) {
    auto* a = n.add_attribute();
    a->set_name(name);
    a->set_type(pb::AttributeProto::STRING);
    a->set_s(v);
  }
  static void set(pb::NodeProto& n, const char* name, const Ints& v) {
    auto* a = n.add_attribute();
    a->set_name(name);
    a->set_type(pb::AttributeProto::INTS);
    for (const std::int64_t i : v) a->add_ints(i);
  }

  void initializer(const std::string& name, const Ints& dims, const real* data) {
    auto* t = out_->add_initializer();
    t->set_name(name);
    t->set_data_type(pb::TensorProto::FLOAT);
    std::size_t n = 1;
    for (const std::int64_t d : dims) {
      t->add_dims(d);
      n *= static_cast<std::size_t>(d);
    }
    t->set_raw_data(std::string(reinterpret_cast<const char*>(data), n * sizeof(float)));
  }

  std::string number(const std::string& name, float v) {
    const real value = static_cast<real>(v);
    const std::string own = fresh(name);
    initializer(own, {}, &value);
    return own;
  }

  std::string whole(const std::string& name, const Ints& v) {
    auto* t = out_->add_initializer();
    const std::string own = fresh(name);
    t->set_name(own);
    t->set_data_type(pb::TensorProto::INT64);
    t->add_dims(static_cast<std::int64_t>(v.size()));
    t->set_raw_data(std::string(reinterpret_cast<const char*>(v.data()), v.size() * sizeof(std::int64_t)));
    return own;
  }

  // The name of a value in the rank that a reader needs.
  std::string as_rank(Id v, int rank) {
    const std::string name = name_of(v);
    if (rank_.at(v) == rank) return name;
    std::string& other = other_rank_[v];
    if (other.empty())
      other = rank == 2 ? step("Flatten", name + ".vector", {name})
                        : step("Reshape", name + ".map", {name, whole(name + ".map.shape", {0, -1, 1, 1})});
    return other;
  }

  template <class Op>
  static void window(pb::NodeProto& n, const Op& op) {
    set(n, "kernel_shape", Ints{op.kernel_h, op.kernel_w});
    set(n, "strides", Ints{op.stride_h, op.stride_w});
    set(n, "dilations", Ints{op.dilation_h, op.dilation_w});
    set(n, "pads", Ints{op.pad_top, op.pad_left, op.pad_bottom, op.pad_right});
  }

  // A parameter of one value a channel, in a shape that spreads over maps.
  std::string spread(Id p, int rank) {
    const Value& v = g_.values[p];
    std::map<int, std::string>& forms = spread_[v.name];
    std::string& name = forms[rank];
    if (name.empty()) {
      name = forms.size() == 1 ? v.name : fresh(v.name);
      initializer(name, rank == 4 ? Ints{v.shape.n(), 1, 1} : Ints{v.shape.n()}, model_.parameters.data() + v.offset);
    }
    return name;
  }

  void write(const Node& node) {
    const std::string op = node.op->name(), name = node.name, out = node.name;
    std::vector<std::string> in;
    int rank = 2;
    for (const Id v : node.in) rank = std::max(rank, rank_.at(v));
    const bool vector = op == "linear";
    if (vector) rank = 2;
    // Ops that take maps, whatever their input is.
    for (const char* maps :
         {"conv2d", "conv_transpose2d", "max_pool", "avg_pool", "adaptive_avg_pool", "upsample", "upsample_nearest",
          "transpose", "slice", "pad", "row_softmax", "local_response_norm", "interpretable_filters", "local_maximum"})
      if (op == maps) rank = 4;
    if (op == "concat" && static_cast<const Concat&>(*node.op).axis != 1) rank = 4;
    for (const Id v : node.in) in.push_back(as_rank(v, rank));
    int result = rank;
    const auto parameters = [&] {
      std::vector<std::string> all = in;
      for (const Id p : node.par) all.emplace_back(g_.values[p].name);
      return all;
    };
    const auto plain = [&](const char* onnx_op) { return &add(onnx_op, name, in, out); };

    if (op == "conv2d") {
      const auto& o = static_cast<const Conv2d&>(*node.op);
      pb::NodeProto& n = add("Conv", name, parameters(), out);
      window(n, o);
      set(n, "group", std::int64_t{o.groups});
    } else if (op == "conv_transpose2d") {
      const auto& o = static_cast<const ConvTranspose2d&>(*node.op);
      pb::NodeProto& n = add("ConvTranspose", name, parameters(), out);
      window(n, o);
      set(n, "group", std::int64_t{o.groups});
      set(n, "output_padding", Ints{o.output_pad_h, o.output_pad_w});
    } else if (op == "linear") {
      set(add("Gemm", name, parameters(), out), "transB", std::int64_t{1});
    } else if (op == "batch_norm") {
      const auto& o = static_cast<const BatchNorm&>(*node.op);
      pb::NodeProto& n = add("BatchNormalization", name, parameters(), out);
      set(n, "epsilon", o.eps);
      set(n, "momentum", 1 - o.momentum);
    } else if (op == "scale") {
      add("Add", name, {step("Mul", name + ".scaled", {in[0], spread(node.par[0], rank)}), spread(node.par[1], rank)},
          out);
    } else if (op == "local_response_norm") {
      const auto& o = static_cast<const LocalResponseNorm&>(*node.op);
      pb::NodeProto* const n = plain("LRN");
      set(*n, "size", std::int64_t{o.size});
      set(*n, "alpha", o.alpha);
      set(*n, "beta", o.beta);
      set(*n, "bias", o.bias);
    } else if (op == "relu") {
      plain("Relu");
    } else if (op == "leaky_relu") {
      set(*plain("LeakyRelu"), "alpha", parameter(node).a);
    } else if (op == "tanh") {
      plain("Tanh");
    } else if (op == "sigmoid") {
      plain("Sigmoid");
    } else if (op == "elu") {
      set(*plain("Elu"), "alpha", parameter(node).a);
    } else if (op == "softplus") {
      plain("Softplus");
    } else if (op == "softsign") {
      plain("Softsign");
    } else if (op == "abs") {
      plain("Abs");
    } else if (op == "exp") {
      plain("Exp");
    } else if (op == "log") {
      plain("Log");
    } else if (op == "threshold") {
      set(*plain("ThresholdedRelu"), "alpha", parameter(node).a);
    } else if (op == "power") {
      add("Pow", name, {in[0], number(name + ".exponent", parameter(node).a)}, out);
    } else if (op == "prelu") {
      add("PRelu", name, {in[0], spread(node.par[0], rank)}, out);
    } else if (op == "hard_swish") {
      plain("HardSwish");
    } else if (op == "hard_sigmoid") {
      pb::NodeProto* const n = plain("HardSigmoid");
      set(*n, "alpha", parameter(node).a);
      set(*n, "beta", parameter(node).b);
    } else if (op == "clip") {
      add("Clip", name, {in[0], number(name + ".low", parameter(node).a), number(name + ".high", parameter(node).b)},
          out);
    } else if (op == "silu") {
      add("Mul", name, {in[0], step("Sigmoid", name + ".gate", in)}, out);
    } else if (op == "gelu") {
      const std::string inner = step("Mul", name + ".inner", {in[0], number(name + ".root", std::sqrt(0.5f))});
      const std::string plus =
          step("Add", name + ".plus", {step("Erf", name + ".erf", {inner}), number(name + ".one", 1)});
      add("Mul", name, {step("Mul", name + ".product", {in[0], plus}), number(name + ".half", 0.5f)}, out);
    } else if (op == "gelu_tanh") {
      const std::string bent =
          step("Mul", name + ".bent",
               {step("Mul", name + ".square", {in[0], in[0]}), number(name + ".a", 1.5957691f * 0.044715f)});
      const std::string slope = step("Add", name + ".slope", {bent, number(name + ".b", 1.5957691f)});
      add("Mul", name, {in[0], step("Sigmoid", name + ".gate", {step("Mul", name + ".inner", {in[0], slope})})}, out);
    } else if (op == "max_pool") {
      const Window& w = static_cast<const MaxPool&>(*node.op).window;
      pb::NodeProto* const n = plain("MaxPool");
      window(*n, w);
      set(*n, "ceil_mode", std::int64_t{w.ceil_mode});
    } else if (op == "avg_pool") {
      const auto& o = static_cast<const AvgPool&>(*node.op);
      pb::NodeProto* const n = plain("AveragePool");
      set(*n, "kernel_shape", Ints{o.window.kernel_h, o.window.kernel_w});
      set(*n, "strides", Ints{o.window.stride_h, o.window.stride_w});
      set(*n, "pads", Ints{o.window.pad_top, o.window.pad_left, o.window.pad_bottom, o.window.pad_right});
      set(*n, "ceil_mode", std::int64_t{o.window.ceil_mode});
      set(*n, "count_include_pad", std::int64_t{o.count_padding});
    } else if (op == "adaptive_avg_pool") {
      const Shape &x = g_.shape(node.in[0]), &y = g_.shape(node.out);
      if (y.pixels() == 1) {
        plain("GlobalAveragePool");
      } else if (x.h() % y.h() == 0 && x.w() % y.w() == 0) {
        pb::NodeProto* const n = plain("AveragePool");
        set(*n, "kernel_shape", Ints{x.h() / y.h(), x.w() / y.w()});
        set(*n, "strides", Ints{x.h() / y.h(), x.w() / y.w()});
      } else {
        refuse(node, "averages over windows of unequal sizes");
      }
    } else if (op == "add") {
      plain(in.size() == 2 ? "Add" : "Sum");
    } else if (op == "multiply") {
      plain("Mul");
    } else if (op == "upsample" || op == "upsample_nearest") {
      const Resampling& o = op == "upsample" ? static_cast<const Upsample&>(*node.op).to
                                             : static_cast<const NearestUpsample&>(*node.op).to;
      const Shape& x = g_.shape(node.in[0]);
      const bool from_sizes = o.step_h == 0 && o.step_w == 0;
      std::vector<std::string> all = {in[0], ""};
      if (from_sizes) {
        // Sizes hold the batch, which is not known: shape arithmetic keeps it.
        const std::string front =
            step("Slice", name + ".front",
                 {step("Shape", name + ".of", {in[0]}), whole(name + ".zero", {0}), whole(name + ".two", {2})});
        all.emplace_back("");
        all.push_back(step("Concat", name + ".all", {front, whole(name + ".extent", {o.out_h, o.out_w})}));
        set(*out_->mutable_node(out_->node_size() - 1), "axis", std::int64_t{0});
      } else {
        // The least scale that gives the size when it is rounded down again.
        const auto scale = [](float step, std::int32_t from, std::int32_t to) {
          float s = step > 0 ? 1 / step : static_cast<float>(to) / static_cast<float>(from);
          while (s * static_cast<float>(from) < static_cast<float>(to)) s = std::nextafter(s, INFINITY);
          return static_cast<real>(s);
        };
        const real scales[] = {1, 1, scale(o.step_h, x.h(), o.out_h), scale(o.step_w, x.w(), o.out_w)};
        all.push_back(fresh(name + ".scales"));
        initializer(all.back(), {4}, scales);
      }
      pb::NodeProto& n = add("Resize", name, all, out);
      set(n, "mode", o.bilinear ? "linear" : "nearest");
      set(n, "coordinate_transformation_mode",
          o.align_corners ? "align_corners"
          : o.half_pixel  ? "half_pixel"
                          : "asymmetric");
      if (!o.bilinear) set(n, "nearest_mode", o.half_pixel && !o.align_corners ? "round_prefer_floor" : "floor");
    } else if (op == "concat") {
      set(*plain("Concat"), "axis", std::int64_t{static_cast<const Concat&>(*node.op).axis});
    } else if (op == "flatten") {
      set(*plain("Flatten"), "axis", std::int64_t{1});
      result = 2;
    } else if (op == "reshape") {
      const auto& o = static_cast<const Reshape&>(*node.op);
      add("Reshape", name, {in[0], whole(name + ".shape", {0, o.c, o.h, o.w})}, out);
      result = 4;
    } else if (op == "transpose") {
      const auto& o = static_cast<const Transpose&>(*node.op);
      set(*plain("Transpose"), "perm", Ints{0, o.d1, o.d2, o.d3});
    } else if (op == "strided_view") {
      strided_view(node, in[0]);
      result = 4;
    } else if (op == "row_softmax") {
      set(*plain(static_cast<const RowSoftmax&>(*node.op).logarithm ? "LogSoftmax" : "Softmax"), "axis",
          std::int64_t{3});
    } else if (op == "slice") {
      const auto& o = static_cast<const Slice&>(*node.op);
      std::int64_t end = o.start + std::int64_t{o.count} * o.step;
      if (end < 0) end = -(std::int64_t{1} << 31);  // backwards past the first element
      add("Slice", name,
          {in[0], whole(name + ".start", {o.start}), whole(name + ".end", {end}), whole(name + ".axis", {o.axis}),
           whole(name + ".step", {o.step})},
          out);
    } else if (op == "pad") {
      const auto& o = static_cast<const Pad&>(*node.op);
      add("Pad", name, {in[0], whole(name + ".pads", {0, o.front, o.top, o.left, 0, o.back, o.bottom, o.right})}, out);
    } else if (op == "dropout") {
      add("Dropout", name, {in[0], number(name + ".ratio", static_cast<const Dropout&>(*node.op).p)}, out);
    } else if (op == "affine_map") {
      const auto& o = static_cast<const AffineMap&>(*node.op);
      add("Add", name,
          {step("Mul", name + ".product", {in[0], number(name + ".factor", o.factor)}),
           number(name + ".shift", o.shift)},
          out);
    } else if (op == "local_maximum") {
      const std::int32_t r = static_cast<const LocalMaximum&>(*node.op).radius;
      const std::string highest = step("MaxPool", name + ".highest", in);
      set(last(), "kernel_shape", Ints{2 * r + 1, 2 * r + 1});
      set(last(), "pads", Ints{r, r, r, r});
      const std::string kept = step("Cast", name + ".kept", {step("Equal", name + ".equal", {in[0], highest})});
      set(last(), "to", std::int64_t{pb::TensorProto::FLOAT});
      add("Mul", name, {in[0], kept}, out);
    } else if (op == "interpretable_filters") {
      filters(node, in[0]);
    } else if (op == "log_softmax") {
      set(*plain("LogSoftmax"), "axis", std::int64_t{1});
    } else if (op == "softmax") {
      set(*plain("Softmax"), "axis", std::int64_t{1});
    } else {
      refuse(node, "has no form in ONNX");
    }
    rank_[node.out] = result;
  }

  // A permutation of dimensions is a transpose; any other view picks its places from a list.
  void strided_view(const Node& node, const std::string& x) {
    const auto& o = static_cast<const StridedView&>(*node.op);
    const std::string name = node.name;
    std::vector<std::size_t> order;  // of dimensions, from the largest stride down
    for (std::size_t k = 0; k < StridedView::dimensions; ++k)
      if (o.size[k] > 1) order.push_back(k);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return o.stride[a] > o.stride[b]; });
    std::int64_t dense = 1;
    bool permutes = o.start == 0;
    for (std::size_t k = order.size(); k-- > 0; dense *= o.size[order[k]])
      permutes = permutes && o.stride[order[k]] == dense;
    permutes = permutes && dense == g_.shape(node.in[0]).per_image();
    std::string list;
    if (permutes) {
      Ints from{0}, perm{0};
      for (const std::size_t k : order) from.push_back(o.size[k]);
      for (std::size_t k = 0; k < StridedView::dimensions; ++k)
        if (const auto at = std::find(order.begin(), order.end(), k); at != order.end())
          perm.push_back(at - order.begin() + 1);
      list = step("Transpose", name + ".moved", {step("Reshape", name + ".parts", {x, whole(name + ".sizes", from)})});
      set(last(), "perm", perm);
    } else {
      Ints places{o.start};
      for (std::size_t k = 0; k < StridedView::dimensions; ++k) {
        Ints more;
        for (const std::int64_t p : places)
          for (std::int32_t i = 0; i < o.size[k]; ++i) more.push_back(p + std::int64_t{i} * o.stride[k]);
        places = std::move(more);
      }
      list = step("Gather", name + ".list", {step("Flatten", name + ".all", {x}), whole(name + ".places", places)});
      set(last(), "axis", std::int64_t{1});
    }
    add("Reshape", name, {list, whole(name + ".shape", {0, o.c, o.h, o.w})}, name);
  }

  // The template around each map's maximum, looked up in a table of distances.
  void filters(const Node& node, const std::string& x) {
    const auto& o = static_cast<const InterpretableFilters&>(*node.op);
    if (o.centroid) refuse(node, "places its templates by centres of mass, which has no form in ONNX");
    const std::string name = node.name, distances = fresh(name + ".distances"), steepness = fresh(name + ".steepness");
    const Shape& s = g_.shape(node.out);
    const auto pixels = static_cast<std::int32_t>(s.pixels());
    std::vector<real> table;
    for (std::int32_t p = 0; p < pixels; ++p)
      for (std::int32_t q = 0; q < pixels; ++q)
        table.push_back(static_cast<real>(std::abs(p / s.w() - q / s.w()) + std::abs(p % s.w() - q % s.w())));
    initializer(distances, {pixels, pixels}, table.data());
    const Value& slope = g_.values[node.par[InterpretableFilters::steepness]];
    std::vector<real> fall;
    for (std::int32_t c = 0; c < s.c(); ++c)
      fall.push_back(static_cast<real>(o.beta) * model_.parameters[static_cast<std::size_t>(slope.offset + c)] /
                     static_cast<real>(std::max(s.h(), s.w())));
    initializer(steepness, {s.c(), 1}, fall.data());
    for (const Id p : node.par) spread_[g_.values[p].name];  // its state is in the table and the steepness
    const std::string peak =
        step("ArgMax", name + ".peak", {step("Reshape", name + ".flat", {x, whole(name + ".rows", {0, 0, -1})})});
    set(last(), "axis", std::int64_t{2});
    set(last(), "keepdims", std::int64_t{0});
    const std::string scaled =
        step("Mul", name + ".fall", {step("Gather", name + ".distance", {distances, peak}), steepness});
    const std::string gate =
        step("Relu", name + ".gate", {step("Sub", name + ".template", {number(name + ".one", 1), scaled})});
    add("Mul", name, {x, step("Reshape", name + ".mask", {gate, whole(name + ".map", {0, 0, s.h(), s.w()})})}, name);
  }

  static kernels::MapParameters parameter(const Node& node) {
    return static_cast<const Activation&>(*node.op).parameters;
  }

  [[noreturn]] static void refuse(const Node& node, const char* why) {
    throw Error("node '" + std::string(node.name) + "' (" + node.op->name() + ") " + why);
  }

  const Model& model_;
  const Graph& g_;
  pb::ModelProto proto_;
  pb::GraphProto* out_ = nullptr;
  std::map<Id, std::string> inputs_;  // their names
  std::set<std::string> taken_;
  std::map<Id, int> rank_;                                    // of values as ONNX has them
  std::map<Id, std::string> other_rank_;                      // their names in the other rank
  std::map<std::string, std::map<int, std::string>> spread_;  // parameters in shapes of their own: name by rank
};

}  // namespace

void export_file(const Model& model, const std::string& path) {
  const std::string bytes = Exporter(model).run();
  io::AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

}  // namespace vitrine::onnx
