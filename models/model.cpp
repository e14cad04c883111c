#include "models/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/host/io/safetensors.h"
#include "core/host/utf8.h"
#include "layers/registry.h"
#include "models/onnx/onnx.h"

namespace vitrine {
namespace {

constexpr const char* format = "vitrine/1";

class AttributeWriter final : public AttributeVisitor {
 public:
  void operator()(const char* key, std::int32_t& v) noexcept override { json[key] = v; }
  void operator()(const char* key, float& v) noexcept override { json[key] = v; }
  void operator()(const char* key, bool& v) noexcept override { json[key] = v; }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
};

class AttributeReader final : public AttributeVisitor {
 public:
  explicit AttributeReader(const nlohmann::json& json) : json_(json) {}
  void operator()(const char* key, std::int32_t& v) noexcept override {
    const nlohmann::json* j = find(key);
    if (j == nullptr) return;
    if (!j->is_number_integer() || *j < -(1 << 30) || *j > (1 << 30)) return bad(key, "a whole number");
    v = j->get<std::int32_t>();
  }
  void operator()(const char* key, float& v) noexcept override {
    const nlohmann::json* j = find(key);
    if (j == nullptr) return;
    if (!j->is_number()) return bad(key, "a number");
    v = j->get<float>();
  }
  void operator()(const char* key, bool& v) noexcept override {
    const nlohmann::json* j = find(key);
    if (j == nullptr) return;
    if (!j->is_boolean()) return bad(key, "true or false");
    v = j->get<bool>();
  }
  std::string error;
  std::size_t seen = 0;

 private:
  const nlohmann::json* find(const char* key) noexcept {
    ++seen;
    const auto it = json_.find(key);
    if (it != json_.end()) return &*it;
    if (error.empty()) error = std::string("lacks the attribute '") + key + "'";
    return nullptr;
  }
  void bad(const char* key, const char* expected) noexcept {
    if (error.empty()) error = std::string("has an attribute '") + key + "' that is not " + expected;
  }
  const nlohmann::json& json_;
};

std::vector<std::int64_t> file_shape(const Value& v) {
  std::vector<std::int64_t> s;
  for (std::uint8_t d = 0; d < v.rank; ++d) s.push_back(v.shape.d[d]);
  return s;
}

}  // namespace

void Model::lay_out(std::size_t nodes, const std::function<void(GraphBuilder&)>& write) {
  arena_ = Memory((std::size_t{1} << 20) + nodes * 4096);
  Arena arena(arena_.data(), arena_.bytes());
  GraphBuilder g(arena, nodes, nodes * 8 + 8);
  write(g);
  if (g.build(graph_) != Status::ok) throw Error(sentence(g.failure()));
  parameters.assign(static_cast<std::size_t>(graph_.parameter_size), real{0});
}

Model::Model(std::string name, Shape image, const std::function<Id(GraphBuilder&, Id)>& body)
    : architecture(std::move(name)) {
  lay_out(4096, [&](GraphBuilder& g) {
    const Id x = g.input(image);
    g.output(body(g, x));
  });
}

Model::Model(std::string name, const std::function<void(GraphBuilder&)>& body) : architecture(std::move(name)) {
  lay_out(4096, body);
}

Id Model::node(const std::string& name) const {
  if (const Id i = graph_.find(name.c_str()); i != no_id) return i;
  for (const auto& [alias, node] : aliases)
    if (alias == name) return graph_.find(node.c_str());
  std::string known;
  for (const Node& n : graph_.nodes) known += (known.empty() ? "" : ", ") + std::string(n.name);
  throw Error("no node is called '" + name + "': the nodes are " + known, Error::usage);
}

namespace {

// Names of inputs or outputs, with their aliases: "fc2 (logits), features".
std::string names_of(const Model& m, std::span<const Id> values) {
  std::string s;
  for (const Id v : values) {
    const std::string name = m.graph().values[v].name;
    std::string also;
    for (const auto& [alias, node] : m.aliases)
      if (node == name) also += (also.empty() ? "" : ", ") + alias;
    s += (s.empty() ? "" : ", ") + name + (also.empty() ? "" : " (" + also + ")");
  }
  return s;
}

}  // namespace

Id Model::input(const std::string& name) const {
  if (const Id v = graph_.find_input(name.c_str()); v != no_id) return v;
  throw Error("no input is called '" + name + "': the inputs are " + names_of(*this, graph_.inputs), Error::usage);
}

Id Model::output(const std::string& name) const {
  Id i = graph_.find(name.c_str());
  for (const auto& [alias, node] : aliases)
    if (i == no_id && alias == name) i = graph_.find(node.c_str());
  if (i != no_id && graph_.is_output(graph_.nodes[i].out)) return graph_.nodes[i].out;
  throw Error("no output is called '" + name + "': the outputs are " + names_of(*this, graph_.outputs), Error::usage);
}

void Model::select_input(const std::string& name) {
  graph_.input = input(name);
  if (static_cast<std::int32_t>(preparation.mean.size()) != image_shape().c()) preparation.mean = preparation.std = {};
}

void Model::select_output(const std::string& name) {
  const Id selected = output(name);
  if (selected != graph_.output) chosen_kind.reset();
  graph_.output = selected;
  if (!can_name(class_names.size())) class_names.clear();
}

std::vector<std::int64_t> Model::array_shape(Id value, std::int64_t n) const {
  const Shape& s = graph_.shape(value);
  const auto rank = ranks.find(graph_.values[value].name);
  std::vector<std::int64_t> d{n};
  for (int k = 1; k < (rank != ranks.end() ? rank->second : s.pixels() == 1 ? 2 : 4); ++k)
    d.push_back(s.d[static_cast<std::size_t>(k)]);
  if (preparation.nhwc && d.size() == 4) d = {n, s.h(), s.w(), s.c()};
  return d;
}

std::int64_t Model::parameter_count() const noexcept {
  std::int64_t n = 0;
  for (const Value& v : graph_.values) n += v.kind == ValueKind::parameter && v.trainable ? v.shape.size() : 0;
  return n;
}

namespace {

// Preparation, classes and notes: what both files and ONNX metadata carry.
nlohmann::ordered_json baggage(const Model& m) {
  nlohmann::ordered_json notes = nlohmann::ordered_json::object();
  for (const auto& [key, value] : m.notes) notes[key] = value;
  const InputPreparation& p = m.preparation;
  nlohmann::ordered_json json = {{"architecture", m.architecture},
                                 {"preparation",
                                  {{"mean", p.mean},
                                   {"std", p.std},
                                   {"order", p.bgr ? "bgr" : "rgb"},
                                   {"resize", p.resize},
                                   {"layout", p.nhwc ? "nhwc" : "nchw"}}},
                                 {"classes", m.class_names},
                                 {"notes", notes}};
  if (m.chosen_kind) json["output_kind"] = name(*m.chosen_kind);
  return json;
}

void read_baggage(Model& m, const nlohmann::json& json, std::size_t channels, const std::string& path) {
  const auto fail = [&](const std::string& what) { throw Error(path + ": " + what); };
  m.architecture = json.at("architecture").get<std::string>();
  m.class_names = json.at("classes").get<std::vector<std::string>>();
  for (std::string& name : m.class_names) name = utf8::escaped(name);
  m.chosen_kind.reset();
  if (json.contains("output_kind")) {
    const auto kind = json.at("output_kind").get<std::string>();
    m.chosen_kind = output_kind_of(kind);
    if (!m.chosen_kind) fail("field 'output_kind' is '" + kind + "', expected " + output_kind_names);
  }
  m.notes.clear();
  for (const auto& [key, value] : json.at("notes").items()) m.notes.emplace_back(key, value.get<std::string>());
  const auto& p = json.at("preparation");
  m.preparation.mean = p.at("mean").get<std::vector<float>>();
  m.preparation.std = p.at("std").get<std::vector<float>>();
  const auto choice = [&](const char* key, const char* no, const char* yes) {
    const std::string v = p.value(key, no);
    if (v != no && v != yes)
      fail(std::string("field 'preparation' has ") + key + " '" + v + "', expected " + no + " or " + yes);
    return v == yes;
  };
  m.preparation.bgr = choice("order", "rgb", "bgr");
  m.preparation.nhwc = choice("layout", "nchw", "nhwc");
  m.preparation.resize = p.value("resize", 0);
  if (m.preparation.resize < 0 || m.preparation.resize > (1 << 15))
    fail("field 'preparation' has a resize of " + std::to_string(m.preparation.resize) + ", expected 0 to 32768");
  if (m.preparation.mean.size() != m.preparation.std.size() ||
      (!m.preparation.mean.empty() && m.preparation.mean.size() != channels))
    fail("field 'preparation' needs one mean and one std a channel");
  for (const float mean : m.preparation.mean)
    if (!std::isfinite(mean)) fail("field 'preparation' has a mean that is not finite");
  for (const float s : m.preparation.std)
    if (!(s > 0) || !std::isfinite(s)) fail("field 'preparation' has a std that is not above 0");
}

Shape image_from_json(const nlohmann::json& json, const std::string& field, const std::string& path) {
  const auto d = json.get<std::vector<std::int64_t>>();
  const auto fail = [&](const std::string& what) { throw Error(path + ": field '" + field + "' has " + what); };
  if (d.size() != 3) fail(std::to_string(d.size()) + " sizes, expected channels, height and width");
  for (const std::int64_t v : d)
    if (v < 1 || v > (1 << 20)) fail("a size of " + std::to_string(v) + ", expected 1 to 1048576");
  return {1, static_cast<std::int32_t>(d[0]), static_cast<std::int32_t>(d[1]), static_cast<std::int32_t>(d[2])};
}

void check_classes(const Model& m, const std::string& path) {
  if (!m.can_name(m.class_names.size()))
    throw Error(path + ": names " + std::to_string(m.class_names.size()) + " classes, but its output has " +
                std::to_string(m.classes()));
}

}  // namespace

std::string model_baggage_to_json(const Model& m) { return baggage(m).dump(); }

void model_baggage_from_json(Model& m, const std::string& text, const std::string& path) {
  const bool nhwc = m.preparation.nhwc;
  try {
    read_baggage(m, nlohmann::json::parse(text), static_cast<std::size_t>(m.image_shape().c()), path);
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": metadata field 'vitrine' is malformed: " + e.what());
  }
  m.preparation.nhwc = nhwc;  // the graph says so, whatever the text does
  check_classes(m, path);
}

std::string model_to_json(const Model& m) {
  const Graph& g = m.graph();
  nlohmann::ordered_json nodes = nlohmann::ordered_json::array();
  nlohmann::ordered_json frozen = nlohmann::ordered_json::array();
  for (const Node& node : g.nodes) {
    AttributeWriter attributes;
    node.op->attributes(attributes);
    std::vector<std::string> in, parameters;
    for (const Id v : node.in) in.emplace_back(g.values[v].name);
    for (const Id p : node.par) parameters.emplace_back(g.values[p].name);
    nodes.push_back({{"name", node.name},
                     {"op", node.op->name()},
                     {"in", in},
                     {"parameters", parameters},
                     {"attributes", attributes.json}});
  }
  for (const Value& v : g.values)
    if (v.kind == ValueKind::parameter && !v.trainable) frozen.push_back(v.name);
  const Shape s = m.image_shape();
  nlohmann::ordered_json json{{"format", format},
                              {"input", {s.c(), s.h(), s.w()}},
                              {"output", g.values[g.output].name},
                              {"nodes", nodes},
                              {"frozen", frozen}};
  if (g.inputs.size() > 1 || std::string(g.values[g.input].name) != "input") {
    json["inputs"] = nlohmann::ordered_json::array();
    for (const Id v : g.inputs) {
      const Shape& of = g.shape(v);
      json["inputs"].push_back({{"name", g.values[v].name}, {"shape", {of.c(), of.h(), of.w()}}});
    }
    json["main_input"] = g.values[g.input].name;
  }
  if (g.outputs.size() > 1)
    for (const Id v : g.outputs) json["outputs"].push_back(g.values[v].name);
  if (!m.ranks.empty()) json["ranks"] = m.ranks;
  if (!m.auxiliary.empty()) {
    json["auxiliary"] = nlohmann::ordered_json::array();
    for (const Model::AuxiliaryHead& head : m.auxiliary)
      json["auxiliary"].push_back({{"node", head.node}, {"weight", head.weight}});
  }
  if (!m.aliases.empty()) {
    json["aliases"] = nlohmann::ordered_json::object();
    for (const auto& [alias, node] : m.aliases) json["aliases"][alias] = node;
  }
  json.update(baggage(m));
  return json.dump();
}

namespace {

Id find_value(const GraphBuilder& g, const std::string& name) {
  for (std::size_t v = g.values().size(); v-- > 0;)
    if (name == g.values()[v].name) return static_cast<Id>(v);
  return no_id;
}

// Appends the nodes of a file's JSON to a graph.
class NodeReader {
 public:
  using ShapeOf = std::function<bool(const std::string&, std::vector<std::int64_t>&)>;
  NodeReader(GraphBuilder& g, std::vector<std::string> frozen, const ShapeOf& shape_of, std::string path)
      : g_(g), frozen_(std::move(frozen)), shape_of_(shape_of), path_(std::move(path)) {}

  void read(const nlohmann::json& node) {
    const auto name = node.at("name").get<std::string>();
    if (utf8::escaped(name) != name) fail("node '" + name + "' has a control character in its name");
    Op* const op = make_op(name, node);
    if (op == nullptr) return;
    std::vector<Id> in;
    for (const auto& v : node.at("in")) {
      const auto from = v.get<std::string>();
      const Id id = find_value(g_, from);
      if (id == no_id || g_.values()[id].kind == ValueKind::parameter)
        fail("node '" + name + "' reads '" + from + "', which no earlier node makes");
      in.push_back(id);
    }
    std::vector<GraphBuilder::Parameter> own;
    std::vector<std::string> suffixes;
    std::vector<Id> shared;
    const auto& names = node.at("parameters");
    suffixes.reserve(names.size());
    for (const auto& p : names) {
      const auto full = p.get<std::string>();
      if (const Id id = find_value(g_, full); id != no_id) {
        shared.push_back(id);
        continue;
      }
      own.push_back(parameter(name, full));
      suffixes.push_back(full.substr(name.size() + 1));
      own.back().suffix = suffixes.back().c_str();
      if (suffixes.back() == "weight") own.back().init = Init::weight;
    }
    if (!shared.empty() && !own.empty()) fail("node '" + name + "' mixes parameters of its own with shared ones");
    if (shared.empty())
      g_.add(op, in, own, name.c_str());
    else
      g_.add_shared(op, in, shared, name.c_str());
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(path_ + ": " + what); }

  // Null if the graph has no room for it.
  Op* make_op(const std::string& name, const nlohmann::json& node) {
    const auto op_name = node.at("op").get<std::string>();
    const OpEntry* entry = find_op(op_name.c_str());
    if (entry == nullptr) fail("node '" + name + "' is of unknown op '" + op_name + "'");
    Op* const op = entry->make(g_);
    if (op == nullptr) return nullptr;
    AttributeReader reader(node.at("attributes"));
    op->attributes(reader);
    if (reader.error.empty() && reader.seen != node.at("attributes").size())
      reader.error = "has attributes that op '" + op_name + "' does not know";
    if (!reader.error.empty()) fail("node '" + name + "' " + reader.error);
    return op;
  }

  // A parameter of a node's own, with its shape in the file; its suffix is the caller's.
  GraphBuilder::Parameter parameter(const std::string& name, const std::string& full) const {
    std::vector<std::int64_t> shape;
    if (!shape_of_(full, shape)) fail("lacks the tensor '" + full + "' that node '" + name + "' needs");
    if (full.size() <= name.size() + 1 || !full.starts_with(name + "."))
      fail("parameter '" + full + "' is not named after its node '" + name + "'");
    if (shape.empty() || shape.size() > 4)
      fail("tensor '" + full + "' has " + std::to_string(shape.size()) + " dimensions, expected 1 to 4");
    Shape s;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] < 1 || shape[d] > (1 << 30))
        fail("tensor '" + full + "' has a dimension of " + std::to_string(shape[d]));
      s.d[d] = static_cast<std::int32_t>(shape[d]);
    }
    const bool moves = std::find(frozen_.begin(), frozen_.end(), full) == frozen_.end();
    return {"", s, static_cast<std::uint8_t>(shape.size()), Init::zero, moves};
  }

  GraphBuilder& g_;
  std::vector<std::string> frozen_;
  const ShapeOf& shape_of_;
  std::string path_;
};

void read_inputs(GraphBuilder& g, const nlohmann::json& json, const Shape& image, const std::string& path) {
  if (!json.contains("inputs")) return (void)g.input(image);
  if (!json.at("inputs").is_array()) throw Error(path + ": field 'inputs' is no list");
  for (const auto& in : json.at("inputs"))
    g.input(image_from_json(in.at("shape"), "inputs", path), in.at("name").get<std::string>().c_str());
}

// All outputs, the main one ("output") among them.
void read_outputs(GraphBuilder& g, const nlohmann::json& json, const std::string& path) {
  std::vector<std::string> names{json.at("output").get<std::string>()};
  if (json.contains("outputs")) {
    const std::string main = names[0];
    names = json.at("outputs").get<std::vector<std::string>>();
    if (std::find(names.begin(), names.end(), main) == names.end())
      throw Error(path + ": its output '" + main + "' is not among its outputs");
  }
  for (const std::string& name : names) {
    const Id id = find_value(g, name);
    if (id == no_id) throw Error(path + ": its output '" + name + "' is no node");
    g.output(id);
  }
}

// Dimensions of arrays: of inputs and outputs alone, and as many as their sizes need.
void read_ranks(Model& m, const nlohmann::json& json, const std::string& path) {
  const Graph& g = m.graph();
  for (const auto& [name, rank] : json.at("ranks").get<std::map<std::string, int>>()) {
    Id v = g.find_input(name.c_str());
    for (const Id out : g.outputs)
      if (name == g.values[out].name) v = out;
    if (v == no_id) throw Error(path + ": field 'ranks' names '" + name + "', which is no input or output");
    int least = 4;
    while (least > 1 && g.shape(v).d[static_cast<std::size_t>(least - 1)] == 1) --least;
    if (rank < least || rank > 4)
      throw Error(path + ": field 'ranks' gives '" + name + "' " + std::to_string(rank) + " dimensions, expected " +
                  std::to_string(least) + " to 4");
  }
  m.ranks = json.at("ranks").get<std::map<std::string, int>>();
}

void read_aliases_and_heads(Model& m, const nlohmann::json& json, const std::string& path) {
  const auto fail = [&](const std::string& what) { throw Error(path + ": " + what); };
  if (json.contains("aliases"))
    for (const auto& [alias, node] : json.at("aliases").items()) m.aliases.emplace_back(alias, node.get<std::string>());
  if (json.contains("auxiliary"))
    for (const auto& head : json.at("auxiliary"))
      m.auxiliary.push_back({head.at("node").get<std::string>(), head.at("weight").get<float>()});
  for (const auto& [alias, node] : m.aliases)
    if (m.graph().find(node.c_str()) == no_id)
      fail("has an alias '" + alias + "' of a node '" + node + "' that is not there");
  for (const Model::AuxiliaryHead& head : m.auxiliary) {
    const Id i = m.graph().find(head.node.c_str());
    if (i == no_id || m.graph().shape(m.graph().nodes[i].out) != m.graph().shape(m.graph().output))
      fail("has an auxiliary head '" + head.node + "' that is no node with the output's shape");
  }
}

}  // namespace

Model model_from_json(const std::string& text, const std::string& path,
                      const std::function<bool(const std::string&, std::vector<std::int64_t>&)>& shape_of) {
  const auto fail = [&](const std::string& what) -> void { throw Error(path + ": " + what); };
  Model m;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    if (const auto f = json.at("format").get<std::string>(); f != format)
      fail("has model format '" + f + "', expected '" + format + "'");
    const Shape image = image_from_json(json.at("input"), "input", path);
    read_baggage(m, json, static_cast<std::size_t>(image.c()), path);
    const auto& nodes = json.at("nodes");
    if (!nodes.is_array() || nodes.empty() || nodes.size() > 100000)
      fail("field 'nodes' is no list of 1 to 100000 nodes");
    const auto frozen =
        json.contains("frozen") ? json.at("frozen").get<std::vector<std::string>>() : std::vector<std::string>{};

    m.lay_out(nodes.size(), [&](GraphBuilder& g) {
      read_inputs(g, json, image, path);
      NodeReader reader(g, frozen, shape_of, path);
      for (const auto& node : nodes)
        if (g.ok()) reader.read(node);
      if (g.ok()) read_outputs(g, json, path);
    });
    if (json.contains("main_input")) m.graph_.input = m.input(json.at("main_input").get<std::string>());
    if (m.image_shape() != image)
      fail("field 'input' has shape " + vitrine::text(image) + ", but the main input has " +
           vitrine::text(m.image_shape()));
    for (const Id v : m.graph_.outputs)
      if (json.at("output").get<std::string>() == m.graph_.values[v].name) m.graph_.output = v;
    if (json.contains("ranks")) read_ranks(m, json, path);
    read_aliases_and_heads(m, json, path);
  } catch (const nlohmann::json::exception& e) {
    fail(std::string("metadata field 'vitrine' is malformed: ") + e.what());
  } catch (const Error& e) {
    const std::string what = e.what();
    if (what.starts_with(path)) throw;
    fail(what);
  }
  check_classes(m, path);
  return m;
}

Model Model::load(const std::string& path) {
  if (path.ends_with(".onnx")) return onnx::import_file(path);
  const io::Safetensors file(path);
  const std::string& json = file.metadata("vitrine");
  if (json.empty())
    throw Error(
        path +
        ": holds tensors but no network: its metadata lacks the field 'vitrine' (files written by vitrine have it)");
  Model m = model_from_json(json, path, [&](const std::string& name, std::vector<std::int64_t>& shape) {
    const io::TensorEntry* t = file.find(name);
    if (t != nullptr) shape = t->shape;
    return t != nullptr;
  });
  for (const Value& v : m.graph_.values) {
    if (v.kind != ValueKind::parameter) continue;
    const io::TensorEntry& t = file.tensor(v.name);
    if (t.dtype == io::Dtype::f32) {
      std::memcpy(m.parameters.data() + v.offset, t.bytes.data(), t.bytes.size());
    } else {
      const std::vector<float> values = t.floats();
      std::copy(values.begin(), values.end(), m.parameters.begin() + v.offset);
    }
    for (std::int64_t i = 0; i < v.shape.size(); ++i)
      if (!std::isfinite(m.parameters[static_cast<std::size_t>(v.offset + i)]))
        throw Error(path + ": tensor '" + v.name + "' is not finite at element " + std::to_string(i));
  }
  return m;
}

void Model::save(const std::string& path) const {
  io::SafetensorsWriter file(path);
  file.metadata("vitrine", model_to_json(*this));
  for (const Value& v : graph_.values)
    if (v.kind == ValueKind::parameter) file.add(v.name, file_shape(v), parameters.data() + v.offset);
  file.commit();
}

}  // namespace vitrine
