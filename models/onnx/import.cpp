#include "models/onnx/importer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/host/io/file.h"
#include "core/host/utf8.h"
#include "layers/view.h"

namespace vitrine::onnx {
namespace {

constexpr std::int64_t element_limit = std::int64_t{1} << 31;  // of one image of a tensor

// Whether one image has too many elements; the product of its sizes may not even fit into 64 bits.
bool is_huge(const Shape& s) {
  return std::int64_t{s.c()} * s.h() > element_limit || std::int64_t{s.c()} * s.h() * s.w() > element_limit;
}

// What can be a name in messages and JSON: UTF-8 without control characters.
bool is_text(const std::string& s) { return utf8::escaped(s) == s; }

std::string list_of(const std::set<std::string>& names) {
  std::string s;
  for (const std::string& name : names) s += (s.empty() ? "" : ", ") + name;
  return s;
}

}  // namespace

std::int32_t narrow(std::int64_t v, const char* what) {
  if (v < -(1 << 28) || v > (1 << 28)) throw Unsupported(std::string("has ") + what + " of " + std::to_string(v));
  return static_cast<std::int32_t>(v);
}

std::int64_t product(const Dims& d) {
  std::int64_t n = 1;
  for (const std::int64_t v : d) n *= v;  // sizes of tensors that `set` has accepted
  return n;
}

Shape shape_of(const Dims& d) {
  if (d.empty() || d.size() > 3)
    throw Unsupported("makes a tensor of " + std::to_string(d.size() + 1) + " dimensions, expected 2 to 4");
  Shape s;
  for (std::size_t k = 0; k < d.size(); ++k) s.d[k + 1] = narrow(d[k], "a size");
  return s;
}

Dims dims_of(const Shape& s, std::size_t rank) {
  Dims d;
  for (std::size_t k = 0; k < rank; ++k) d.push_back(s.d[k + 1]);
  return d;
}

Importer::Importer(const pb::ModelProto& model, std::string path, std::string folder, const ImportOptions& options)
    : model_(model), graph_(model.graph()), path_(std::move(path)), folder_(std::move(folder)), options_(options) {
  opset_ = 0;
  for (const auto& o : model_.opset_import())
    if (o.domain().empty() || o.domain() == "ai.onnx") opset_ = o.version();
  if (opset_ < 6 || opset_ > 25) fail("is of opset " + std::to_string(opset_) + ", expected 6 to 23 (newer are tried)");
  if (!is_text(graph_.name())) fail("has a name that is no text (UTF-8)");
  allowance_ += 4 * static_cast<std::int64_t>(model_.ByteSizeLong());
  read_initializers();
  find_inputs();
  read_nodes();
}

Model Importer::run() {
  const pb::ValueInfoProto& input = main_input();
  const std::vector<std::string> outputs = find_outputs();
  recognise_activations(nodes_, scalars_, {outputs.begin(), outputs.end()});
  count_readers(outputs);
  // A graph whose first act is to bring NHWC into NCHW is an NCHW network.
  nhwc_ = starts_with_transpose(input.name());

  std::string output;
  Model model(architecture(), [&](GraphBuilder& g) {
    builder_ = &g;
    declare_inputs(g, input, nhwc_);
    if (nhwc_) tensors_[nodes_[0].out[0]] = tensors_[input.name()];
    for (std::size_t i = nhwc_ ? 1 : 0; i < nodes_.size() && g.ok(); ++i) convert(i);
    if (!problems_.empty()) {
      std::string all = unsupported_.empty() ? "" : "operators that are not supported: " + list_of(unsupported_);
      for (const std::string& p : problems_) all += (all.empty() ? "" : "; ") + p;
      fail("cannot be imported: " + all);
    }
    if (g.ok()) output = declare_outputs(g, outputs);
    if (!g.ok()) fail(sentence(g.failure()));
  });
  model.select_input(inputs_.size() > 1 ? input.name() : "input");
  model.select_output(output);
  model.ranks = ranks_;
  fill_parameters(model);
  model.preparation.nhwc = nhwc_;
  for (const auto& [tensor, node] : aliases_)
    if (tensor != node && model.graph().find(node.c_str()) != no_id && model.graph().find(tensor.c_str()) == no_id)
      model.aliases.emplace_back(tensor, node);
  for (const auto& property : model_.metadata_props())
    if (property.key() == "vitrine") model_baggage_from_json(model, property.value(), path_);
  if (!quantised_.empty()) {
    std::string all;
    for (const std::string& op : quantised_) all += (all.empty() ? "" : ", ") + op;
    std::erase_if(model.notes, [](const auto& note) { return note.first == "run in float"; });
    model.notes.emplace_back("run in float", all);
  }
  if (!left_out_.empty()) {
    std::string all;
    for (const std::string& what : left_out_) all += (all.empty() ? "" : "; ") + what;
    std::erase_if(model.notes, [](const auto& note) { return note.first == "left out"; });
    model.notes.emplace_back("left out", all);
  }
  return model;
}

// Weights, now that every parameter has its place.
void Importer::fill_parameters(Model& model) const {
  for (const Value& v : model.graph().values) {
    if (v.kind != ValueKind::parameter) continue;
    const std::vector<float>& w = weights_.at(v.name);
    if (static_cast<std::int64_t>(w.size()) != v.shape.size())
      fail("tensor for '" + std::string(v.name) + "' has " + std::to_string(w.size()) + " elements, expected " +
           std::to_string(v.shape.size()));
    for (std::size_t k = 0; k < w.size(); ++k) {
      if (!std::isfinite(w[k]))
        fail("weight '" + std::string(v.name) + "' is not finite at element " + std::to_string(k));
      model.parameters[static_cast<std::size_t>(v.offset) + k] = static_cast<real>(w[k]);
    }
  }
}

void Importer::spend(std::int64_t elements) {
  if (elements > allowance_)
    throw Unsupported("makes more constants than " + std::to_string(constant_bytes >> 20) +
                      " MiB and a few times the file's size");
  allowance_ -= elements;
}

std::string Importer::architecture() const {
  const std::string name = graph_.name();
  return name.empty() ? "onnx" : name;
}

void Importer::read_initializers() {
  for (const pb::TensorProto& t : graph_.initializer()) {
    if (!initializers_.emplace(t.name(), &t).second) fail("has two initializers called '" + t.name() + "'");
    constexpr std::int64_t small = 1024;
    std::int64_t n = 1;
    for (const std::int64_t d : t.dims()) n = d >= 0 && d <= small ? std::min(n * d, small + 1) : small + 1;
    if (n <= small) constants_[t.name()] = read_tensor(t, path_, folder_);
  }
  if (graph_.sparse_initializer_size() > 0) fail("has sparse initializers, which are not supported");
}

Node Importer::read_node(const pb::NodeProto& proto, std::set<std::string>& names) {
  Node node;
  node.proto = &proto;
  node.op =
      proto.domain().empty() || proto.domain() == "ai.onnx" ? proto.op_type() : proto.domain() + "." + proto.op_type();
  node.in.assign(proto.input().begin(), proto.input().end());
  node.out.assign(proto.output().begin(), proto.output().end());
  if (node.out.empty() || node.out[0].empty()) fail("has a node '" + proto.name() + "' without an output");
  node.name = proto.name().empty() || names.contains(proto.name()) ? node.out[0] : proto.name();
  for (const auto* list : {&node.in, &node.out})
    for (const std::string& tensor : *list)
      if (!is_text(tensor)) fail("has a tensor whose name is no text (UTF-8)");
  if (!is_text(node.name) || !is_text(node.op)) fail("has a node whose name is no text (UTF-8)");
  // Values of a network share one set of names: its input and the parameters, called NODE.weight and so on, have
  // theirs.
  const auto reserved = [&](const std::string& name) {
    for (const pb::ValueInfoProto* in : inputs_)
      if (inputs_.size() > 1 && (in->name() == name || in->name().starts_with(name + "."))) return true;
    return name == "input" || name.ends_with(".weight") || name.ends_with(".bias") || name.ends_with(".running_mean") ||
           name.ends_with(".running_var");
  };
  const std::string given = node.name;
  while (reserved(node.name) || !names.insert(node.name).second) node.name += "_";
  if (node.name != given) aliases_[given] = node.name;
  return node;
}

void Importer::read_nodes() {
  if (graph_.node_size() > 20000) fail("has " + std::to_string(graph_.node_size()) + " nodes, expected at most 20000");
  std::set<std::string> known, names;
  for (const auto& [name, tensor] : initializers_) known.insert(name);
  for (const auto& in : graph_.input()) known.insert(in.name());
  for (const pb::NodeProto& proto : graph_.node()) nodes_.push_back(read_node(proto, names));
  sort_nodes(known);
  for (const Node& node : nodes_)
    if (node.op == "Constant") read_constant(node);
  std::erase_if(nodes_, [](const Node& node) { return node.op == "Constant"; });
  add_spelled_outputs(known);
  for (const auto& [name, c] : constants_)
    if (c.size() == 1) scalars_[name] = c;
}

void Importer::sort_nodes(std::set<std::string>& known) {
  std::set<std::string> made;
  for (const Node& node : nodes_)
    for (const std::string& out : node.out)
      if (!out.empty() && (known.contains(out) || !made.insert(out).second))
        fail("node '" + node.name + "' makes '" + out + "', which is there already");
  // Each node as soon as all that it reads is there, in the file's order where that is one.
  std::map<std::string, std::vector<std::size_t>> waiting;
  std::vector<std::size_t> missing(nodes_.size(), 0);
  std::set<std::size_t> ready;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    for (const std::string& in : std::set<std::string>(nodes_[i].in.begin(), nodes_[i].in.end())) {
      if (in.empty() || known.contains(in)) continue;
      if (!made.contains(in)) fail("node '" + nodes_[i].name + "' reads '" + in + "', which no earlier node makes");
      waiting[in].push_back(i);
      ++missing[i];
    }
    if (missing[i] == 0) ready.insert(i);
  }
  std::vector<Node> sorted;
  while (!ready.empty()) {
    const std::size_t i = *ready.begin();
    ready.erase(ready.begin());
    for (const std::string& out : nodes_[i].out) {
      if (out.empty()) continue;
      known.insert(out);
      for (const std::size_t reader : waiting[out])
        if (--missing[reader] == 0) ready.insert(reader);
    }
    sorted.push_back(std::move(nodes_[i]));
  }
  for (std::size_t i = 0; i < nodes_.size() && sorted.size() < nodes_.size(); ++i)
    for (const std::string& in : nodes_[i].in)
      if (missing[i] > 0 && !in.empty() && !known.contains(in))
        fail("node '" + nodes_[i].name + "' reads '" + in + "', which no earlier node makes: the nodes form a cycle");
  nodes_ = std::move(sorted);
}

void Importer::add_spelled_outputs(const std::set<std::string>& known) {
  const auto base = [](const std::string& name) {
    const std::size_t colon = name.rfind(':');
    const bool number = colon != std::string::npos && colon + 1 < name.size() &&
                        name.find_first_not_of("0123456789", colon + 1) == std::string::npos;
    return number ? name.substr(0, colon) : name;
  };
  for (const auto& output : graph_.output()) {
    if (known.contains(output.name())) continue;
    std::vector<std::string> same;
    for (const Node& node : nodes_)
      for (const std::string& out : node.out)
        if (!out.empty() && base(out) == base(output.name())) same.push_back(out);
    if (same.size() != 1) continue;
    Node node;
    node.op = "Identity";
    node.in = {same[0]};
    node.out = {output.name()};
    node.name = output.name();
    nodes_.push_back(std::move(node));
  }
}

void Importer::read_constant(const Node& node) {
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
    if (a->name() == "value_int")
      c.i = {a->i()};
    else
      c.i.assign(a->ints().begin(), a->ints().end());
    if (a->name() == "value_ints") c.dims = {static_cast<std::int64_t>(c.i.size())};
  } else {
    fail("node '" + node.name + "' (Constant) has a value of an unsupported kind");
  }
  constants_[node.out[0]] = std::move(c);
}

namespace {

std::string quoted(const std::vector<std::string>& names) {
  std::string s;
  for (const std::string& name : names) s += (s.empty() ? "'" : ", '") + name + "'";
  return s;
}

// Whether a tensor is said to hold floats; one that says nothing may.
bool holds_floats(const pb::ValueInfoProto& info) {
  switch (info.type().tensor_type().elem_type()) {
    case pb::TensorProto::UNDEFINED:
    case pb::TensorProto::FLOAT:
    case pb::TensorProto::FLOAT16:
    case pb::TensorProto::DOUBLE:
    case pb::TensorProto::BFLOAT16:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Importer::find_inputs() {
  std::set<std::string> read;
  for (const pb::NodeProto& node : graph_.node()) read.insert(node.input().begin(), node.input().end());
  std::vector<std::string> unread;
  const pb::ValueInfoProto* first = nullptr;
  for (const auto& in : graph_.input()) {
    if (initializers_.contains(in.name())) continue;
    if (!is_text(in.name())) fail("has an input whose name is no text (UTF-8)");
    if (first == nullptr) first = &in;
    for (const pb::ValueInfoProto* other : inputs_)
      if (other->name() == in.name()) fail("has two inputs called '" + in.name() + "'");
    if (read.contains(in.name()))
      inputs_.push_back(&in);
    else
      unread.push_back(in.name());
  }
  if (first == nullptr) fail("has no input");
  if (inputs_.size() > max_inputs)
    fail("has " + std::to_string(inputs_.size()) + " inputs, expected at most " + std::to_string(max_inputs));
  if (inputs_.empty()) {
    inputs_ = {first};
  } else {
    for (const std::string& name : unread) left_out_.push_back("input '" + name + "' (no node reads it)");
  }
}

const pb::ValueInfoProto& Importer::main_input() const {
  if (options_.input.empty()) return *inputs_[0];
  std::vector<std::string> names;
  for (const pb::ValueInfoProto* in : inputs_) {
    if (in->name() == options_.input) return *in;
    names.push_back(in->name());
  }
  throw Error(path_ + ": has no input '" + options_.input + "': its inputs are " + quoted(names), Error::usage);
}

std::vector<std::string> Importer::find_outputs() {
  std::vector<std::string> names, whole;
  for (const auto& out : graph_.output()) {
    if (!is_text(out.name())) fail("has an output whose name is no text (UTF-8)");
    (holds_floats(out) ? names : whole).push_back(out.name());
  }
  if (names.empty() && whole.empty()) fail("has no output");
  if (names.size() > max_outputs)
    fail("has " + std::to_string(names.size()) + " outputs, expected at most " + std::to_string(max_outputs));
  const auto is = [&](const std::vector<std::string>& list) {
    return std::find(list.begin(), list.end(), options_.output) != list.end();
  };
  if (!options_.output.empty() && !is(names) && !is(whole))
    throw Error(path_ + ": has no output '" + options_.output + "': its outputs are " + quoted(names) +
                    (names.empty() || whole.empty() ? "" : ", ") + quoted(whole),
                Error::usage);
  if (names.empty() || is(whole))
    fail("has an output " + quoted(names.empty() ? whole : std::vector{options_.output}) +
         " of whole numbers or truth values, which have no gradient: expected floats");
  for (const std::string& name : whole) left_out_.push_back("output '" + name + "' (holds no floats)");
  skip_nodes_of(whole, names);
  return names;
}

void Importer::skip_nodes_of(const std::vector<std::string>& left_out, const std::vector<std::string>& kept) {
  if (left_out.empty()) return;
  std::set<std::string> dropped(left_out.begin(), left_out.end()), wanted(kept.begin(), kept.end());
  std::set<std::string> skipped;
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    const Node& node = nodes_[i];
    const auto makes = [&](const std::set<std::string>& tensors) {
      return std::any_of(node.out.begin(), node.out.end(), [&](const auto& out) { return tensors.contains(out); });
    };
    if (makes(wanted))
      wanted.insert(node.in.begin(), node.in.end());
    else if (makes(dropped))
      dropped.insert(node.in.begin(), node.in.end()), skipped.insert(node.out[0]);
  }
  std::erase_if(nodes_, [&](const Node& node) { return skipped.contains(node.out[0]); });
}

void Importer::declare_inputs(GraphBuilder& g, const pb::ValueInfoProto& main, bool nhwc) {
  for (const pb::ValueInfoProto* in : inputs_) {
    const bool turned = nhwc && (in == &main || in->type().tensor_type().shape().dim_size() == 4);
    const Shape image = image_of(*in, in == &main, turned),
                network = turned ? Shape{1, image.w(), image.c(), image.h()} : image;
    const Id x = g.input(network, inputs_.size() > 1 ? in->name().c_str() : nullptr);
    // The graph's first node turns the main input; what turns the others comes where they are read.
    (turned && in != &main ? as_nchw_ : tensors_)[in->name()] = {x, dims_of(network, rank_)};
  }
}

std::string Importer::why_no_output(const GraphBuilder& g, const std::string& name) const {
  const auto t = tensors_.find(name);
  if (t == tensors_.end()) return "does not depend on its input";
  if (g.values()[t->second.id].kind == ValueKind::input) return "is its input";
  if (t->second.dims.size() > 3)
    return "has " + std::to_string(t->second.dims.size() + 1) + " dimensions, expected 1 to 4";
  return "";
}

std::string Importer::declare_outputs(GraphBuilder& g, const std::vector<std::string>& names) {
  std::string main;
  std::map<Id, std::string> taken;
  std::vector<Id> order;
  for (const std::string& name : names) {
    const std::string why = why_no_output(g, name);
    if (!why.empty() && (names.size() == 1 || name == options_.output))
      fail("has an output '" + name + "' that " + why);
    if (!why.empty()) {
      left_out_.push_back("output '" + name + "' (" + why + ")");
      continue;
    }
    Tensor t = tensors_.at(name);
    if (nhwc_ && t.dims.size() == 3 && g.shape(t.id).pixels() != 1 && !turned_.contains(name)) {
      // Arrays of an NHWC network are turned, so what stands in the file's order is turned here.
      const std::string turn = fresh(name + ".nchw");
      t.id = transpose(g, t.id, 3, 1, 2, turn.c_str());
      if (!g.ok()) return "";
      aliases_[name] = turn;
    }
    if (const auto same = taken.find(t.id); same != taken.end()) {
      left_out_.push_back("output '" + name + "' (the same as '" + same->second + "')");
      if (name == options_.output) main = g.values()[t.id].name;
      continue;
    }
    taken[t.id] = name;
    order.push_back(t.id);
    g.output(t.id);
    const Value& v = g.values()[t.id];
    if (t.dims.empty() || (v.shape.pixels() != 1 && t.dims.size() != 3))
      ranks_[v.name] = static_cast<int>(t.dims.size()) + 1;
    if (taken.size() == 1 && main.empty()) main = v.name;
    if (name == options_.output) main = v.name;
  }
  if (taken.empty()) fail("has no output that depends on its inputs: its outputs are " + quoted(names));
  if (!options_.output.empty()) return main;
  return g.values()[likely_main(g, order, taken)].name;
}

// Of several outputs the one that most probably names classes: a vector rather than maps, one that is called or
// computed like scores, one that leads to no other output; else the first.
Id Importer::likely_main(const GraphBuilder& g, const std::vector<Id>& order,
                         const std::map<Id, std::string>& names) const {
  std::set<Id> read;
  for (const auto& node : g.nodes()) read.insert(node.in.begin(), node.in.end());
  const auto is_called_so = [](std::string name) {
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const char* const words[] = {"logit", "prob", "class", "score", "label", "softmax", "pred"};
    return std::any_of(std::begin(words), std::end(words),
                       [&](const char* word) { return name.find(word) != std::string::npos; });
  };
  Id best = no_id;
  int most = -1;
  for (const Id v : order) {
    const Op& op = *g.nodes()[g.values()[v].producer].op;
    const bool scores = op.traits().scores != Scores::none || is_called_so(names.at(v));
    const int likely = 4 * (g.shape(v).pixels() == 1) + 2 * scores + !read.contains(v);
    if (likely > most) best = v, most = likely;
  }
  return best;
}

std::int64_t Importer::given_size(const pb::ValueInfoProto& input, bool main, bool nhwc, std::size_t dimension) const {
  Shape given{0, 0, 0, 0};
  if (const auto named = options_.images.find(input.name()); named != options_.images.end())
    given = named->second;
  else if (main && options_.image)
    given = *options_.image;
  if (nhwc) given = Shape{1, given.h(), given.w(), given.c()};
  return given.d[dimension];
}

Shape Importer::image_of(const pb::ValueInfoProto& input, bool main, bool nhwc) {
  const std::string an_input = inputs_.size() > 1 ? "an input '" + input.name() + "'" : "an input";
  if (!input.type().has_tensor_type() || !input.type().tensor_type().has_shape())
    fail("has an input '" + input.name() + "' without a shape");
  const auto& shape = input.type().tensor_type().shape();
  if (shape.dim_size() < 2 || shape.dim_size() > 4)
    fail("has " + an_input + " of " + std::to_string(shape.dim_size()) +
         " dimensions, expected 2 to 4 with the batch first");
  rank_ = static_cast<std::size_t>(shape.dim_size()) - 1;
  if (const std::int64_t batch = shape.dim(0).has_dim_value() ? shape.dim(0).dim_value() : 0; batch > 0) {
    if (fixed_batch_ > 0 && fixed_batch_ != batch)
      fail("has " + an_input + " with a batch of " + std::to_string(batch) + ", but another with one of " +
           std::to_string(fixed_batch_));
    fixed_batch_ = batch;
  }
  if (nhwc && rank_ != 3)
    fail("has " + an_input + " of " + std::to_string(rank_ + 1) +
         " dimensions, which its first node transposes as if they were 4");
  Shape s;
  for (int k = 1; k < shape.dim_size(); ++k) {
    const std::int64_t fixed =
        shape.dim(k).has_dim_value() && shape.dim(k).dim_value() > 0 ? shape.dim(k).dim_value() : 0;
    const std::int64_t given = given_size(input, main, nhwc, static_cast<std::size_t>(k));
    if (fixed > 0 && given > 0 && fixed != given)
      fail("has " + an_input + " of size " + std::to_string(fixed) + " in dimension " + std::to_string(k) + ", but " +
           std::to_string(given) + " was given");
    const std::int64_t d = fixed > 0 ? fixed : given;
    if (d < 1)
      fail("has " + an_input + " whose dimension " + std::to_string(k) +
           " is dynamic: give its size (vitrine import --input " + (main ? "" : input.name() + "=") + "C,H,W)");
    if (d > (1 << 20))
      fail("has " + an_input + " of size " + std::to_string(d) + " in dimension " + std::to_string(k) +
           ", expected at most 1048576");
    s.d[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(d);
  }
  if (is_huge(s)) fail("has " + an_input + " of shape " + vitrine::text(s) + ", which is too large");
  return s;
}

void Importer::count_readers(const std::vector<std::string>& outputs) {
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    for (const std::string& in : nodes_[i].in)
      if (!in.empty()) readers_[in].push_back(i);
  for (const std::string& output : outputs) ++extra_[output];
}

bool Importer::starts_with_transpose(const std::string& input) const {
  const Node* first = only_reader(input);
  return first != nullptr && first == nodes_.data() && first->op == "Transpose" &&
         first->integers("perm") == Dims{0, 3, 1, 2};
}

const Node* Importer::only_reader(const std::string& tensor) const {
  const auto r = readers_.find(tensor);
  return r != readers_.end() && r->second.size() == 1 && !extra_.contains(tensor) ? &nodes_[r->second[0]] : nullptr;
}

const Constant& Importer::constant(const std::string& name) {
  if (const auto c = constants_.find(name); c != constants_.end()) return c->second;
  const auto t = initializers_.find(name);
  if (t == initializers_.end()) throw Unsupported("reads '" + name + "', which must be a constant");
  const Constant& c = constants_[name] = read_tensor(*t->second, path_, folder_);
  if (t->second->data_location() == pb::TensorProto::EXTERNAL) allowance_ += 4 * c.size();
  return c;
}

const Constant& Importer::constant(const Node& node, std::size_t k, const char* what) {
  if (!node.has(k)) throw Unsupported(std::string("lacks its ") + what);
  if (!is_constant(node.in[k])) throw Unsupported(std::string("has a ") + what + " that is computed at run time");
  return constant(node.in[k]);
}

Dims Importer::list(const Node& node, const char* attribute, std::size_t input) {
  if (node.find(attribute) != nullptr) return node.integers(attribute);
  if (!node.has(input)) return {};
  const Constant& c = constant(node, input, attribute);
  if (c.is_float) throw Unsupported(std::string("has ") + attribute + " that are no whole numbers");
  return c.i;
}

const Tensor& Importer::viewed(const Node& node, std::size_t k) {
  if (!node.has(k)) throw Unsupported("lacks an input");
  if (const auto in = as_nchw_.find(node.in[k]); in != as_nchw_.end() && !tensors_.contains(node.in[k])) {
    const Id turned = transpose(*builder_, in->second.id, 2, 3, 1, fresh(node.in[k] + ".nhwc").c_str());
    if (!builder_->ok()) fail(sentence(builder_->failure()));
    tensors_[node.in[k]] = {turned, dims_of(builder_->shape(turned), 3)};
  }
  const auto t = tensors_.find(node.in[k]);
  if (t != tensors_.end()) return t->second;
  throw Unsupported("reads '" + node.in[k] + "' where a tensor of the network is expected");
}

const Tensor& Importer::tensor(const Node& node, std::size_t k) {
  const Tensor& t = viewed(node, k);
  if (t.dims.empty() || t.dims.size() > 3)
    throw Unsupported("reads a tensor of " + std::to_string(t.dims.size() + 1) + " dimensions, expected 2 to 4");
  return t;
}

std::string Importer::fresh(std::string name) const {
  const auto taken = [&](const Value& v) { return v.name == name; };
  while (std::any_of(builder_->values().begin(), builder_->values().end(), taken) ||
         std::any_of(nodes_.begin(), nodes_.end(), [&](const Node& node) { return node.name == name; }))
    name += "_";
  return name;
}

const Tensor& Importer::elements(const Node& node, std::size_t k) {
  const Tensor& t = viewed(node, k);
  return t.dims.empty() ? t : tensor(node, k);
}

void Importer::set(const Node& node, Id id, std::size_t rank) {
  if (!builder_->ok()) {
    Failure f = builder_->failure();
    f.node = "";
    throw Error(path_ + ": node '" + node.name + "' (" + node.op + ") " + sentence(f));
  }
  if (is_huge(builder_->shape(id)))
    throw Unsupported("makes a tensor of shape " + vitrine::text(builder_->shape(id)) + ", which is too large");
  tensors_[node.out[0]] = {id, dims_of(builder_->shape(id), rank)};
  aliases_[node.out[0]] = node.name;
}

void Importer::pass(const Node& node, const Tensor& t) {
  tensors_[node.out[0]] = t;
  if (const auto a = aliases_.find(node.in[0]); a != aliases_.end()) {
    const std::string made_by = a->second;
    aliases_[node.out[0]] = made_by;
    aliases_.emplace(node.name, made_by);
  }
}

void Importer::weight(const Node& node, const char* suffix, std::vector<float> values) {
  spend(static_cast<std::int64_t>(values.size()));
  weights_[node.name + "." + suffix] = std::move(values);
}

namespace {

// Why an operator has no converter, where there is more to say than that.
std::string why_unsupported(const std::string& op) {
  if (op.find("Attention") != std::string::npos || op == "RotaryEmbedding")
    return "is attention, which is not supported: Vitrine explains convolutional networks";
  for (const char* name : {"LSTM", "GRU", "RNN", "Scan", "Loop", "If"})
    if (op == name) return "repeats or branches at run time, which is not supported";
  return "is of an operator that is not supported";
}

}  // namespace

void Importer::convert(std::size_t i) {
  const Node& node = nodes_[i];
  if (skipped_.contains(i)) return;
  try {
    bool all_constant = true, unknown = false;
    for (const std::string& in : node.in) {
      if (in.empty()) continue;
      unknown = unknown || unknown_.contains(in);
      all_constant = all_constant && is_constant(in);
    }
    const auto known_op = [&] {
      return node.op == "Shape" || node.op.starts_with("vitrine.") ||
             std::any_of(converters().begin(), converters().end(), [&](const auto& c) { return node.op == c.first; });
    };
    if (!all_constant && !known_op()) unsupported_.insert(node.op);
    if (unknown) {
      unknown_.insert(node.out.begin(), node.out.end());
      return;
    }
    if (node.op == "Shape") return shape(node);
    if (all_constant) {
      std::vector<const Constant*> in;
      for (const std::string& name : node.in) in.push_back(name.empty() ? nullptr : &constant(name));
      Constant c = evaluate(node, in, opset_, allowance_);
      if (node.op == "DequantizeLinear") quantised_.insert(node.op);
      spend(c.size());
      if (c.size() == 1) scalars_[node.out[0]] = c;
      constants_[node.out[0]] = std::move(c);
      return;
    }
    for (const auto& [op, member] : converters())
      if (node.op == op) return (this->*member)(node);
    if (node.op.starts_with("vitrine.")) return activation(node);
    throw Unsupported(why_unsupported(node.op));
  } catch (const Unsupported& e) {
    problems_.push_back("node '" + node.name + "' (" + node.op + ") " + e.what());
    unknown_.insert(node.out.begin(), node.out.end());
  }
}

const std::vector<std::pair<const char*, Importer::Member>>& Importer::converters() {
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
      {"Exp", &Importer::activation},
      {"Log", &Importer::activation},
      {"Abs", &Importer::activation},
      {"Sqrt", &Importer::activation},
      {"Reciprocal", &Importer::activation},
      {"Softsign", &Importer::activation},
      {"Celu", &Importer::activation},
      {"Selu", &Importer::activation},
      {"ThresholdedRelu", &Importer::activation},
      {"Swish", &Importer::activation},
      {"ParametricSoftplus", &Importer::activation},
      {"ScaledTanh", &Importer::activation},
      {"ImageScaler", &Importer::old_affine},
      {"Affine", &Importer::old_affine},
      {"InstanceNormalization", &Importer::norm},
      {"GroupNormalization", &Importer::norm},
      {"LayerNormalization", &Importer::norm},
      {"MeanVarianceNormalization", &Importer::norm},
      {"Softmax", &Importer::softmax_node},
      {"LogSoftmax", &Importer::softmax_node},
      {"MaxPool", &Importer::pool},
      {"AveragePool", &Importer::pool},
      {"GlobalAveragePool", &Importer::global_pool},
      {"GlobalMaxPool", &Importer::global_pool},
      {"ReduceMean", &Importer::reduce},
      {"ReduceMax", &Importer::reduce},
      {"ReduceSum", &Importer::reduce},
      {"ReduceMin", &Importer::reduce_any},
      {"ReduceL1", &Importer::reduce_any},
      {"ReduceL2", &Importer::reduce_any},
      {"ReduceProd", &Importer::reduce_any},
      {"ReduceSumSquare", &Importer::reduce_any},
      {"ReduceLogSum", &Importer::reduce_any},
      {"ReduceLogSumExp", &Importer::reduce_any},
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
      {"Tile", &Importer::tile},
      {"Gather", &Importer::gather_node},
      {"DepthToSpace", &Importer::depth_and_space},
      {"SpaceToDepth", &Importer::depth_and_space},
      {"Where", &Importer::where},
      {"QuantizeLinear", &Importer::quantise},
      {"DequantizeLinear", &Importer::quantise},
  };
  return list;
}

Model import_bytes(std::span<const std::byte> bytes, const std::string& path, const std::string& folder,
                   const ImportOptions& options) {
  pb::ModelProto model;
  if (bytes.size() > std::size_t{1} << 31)
    throw Error(path + ": has more than 2 GiB, which no ONNX file can have without external data");
  if (!model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || !model.has_graph())
    throw Error(path + ": is no ONNX model (its protobuf message is damaged or of another kind)");
  return Importer(model, path, folder, options).run();
}

Model import_file(const std::string& path, const ImportOptions& options) {
  const io::MappedFile file(path);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return import_bytes(file.bytes(), path, folder.empty() ? "." : folder, options);
}

}  // namespace vitrine::onnx
