#include "models/rewrite.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>

#include "layers/init.h"
#include "layers/registry.h"

namespace vitrine {
namespace {

// Carries attributes from one op to another of its kind, in the order in which both name them.
class Reader final : public AttributeVisitor {
 public:
  void operator()(const char*, std::int32_t& v) noexcept override { whole.push_back(v); }
  void operator()(const char*, float& v) noexcept override { numbers.push_back(v); }
  void operator()(const char*, bool& v) noexcept override { flags.push_back(v); }
  std::vector<std::int32_t> whole;
  std::vector<float> numbers;
  std::vector<bool> flags;
};

class Writer final : public AttributeVisitor {
 public:
  Writer(const Reader& from, bool with_bias) : from_(from), with_bias_(with_bias) {}
  void operator()(const char*, std::int32_t& v) noexcept override { v = from_.whole[whole_++]; }
  void operator()(const char*, float& v) noexcept override { v = from_.numbers[numbers_++]; }
  void operator()(const char* name, bool& v) noexcept override {
    v = from_.flags[flags_++] || (with_bias_ && matches("bias", name));
  }

 private:
  const Reader& from_;
  bool with_bias_;
  std::size_t whole_ = 0, numbers_ = 0, flags_ = 0;
};

Op* copy_op(GraphBuilder& g, Op& op, bool with_bias) {
  const OpEntry* const entry = find_op(op.name());
  if (entry == nullptr)
    throw Error(std::string("op '") + op.name() + "' is not in the registry, so it cannot be copied");
  Op* const made = entry->make(g);
  if (made == nullptr) return nullptr;
  Reader reader;
  op.attributes(reader);
  Writer writer(reader, with_bias);
  made->attributes(writer);
  return made;
}

// By name, into a network whose parameters of the same name have the same shape.
void copy_parameters(const Model& from, Model& to) {
  std::map<std::string_view, const Value*> known;
  for (const Value& v : from.graph().values)
    if (v.kind == ValueKind::parameter) known[v.name] = &v;
  for (const Value& v : to.graph().values) {
    if (v.kind != ValueKind::parameter) continue;
    if (const auto old = known.find(v.name); old != known.end())
      std::copy_n(from.parameters.begin() + old->second->offset, v.shape.size(), to.parameters.begin() + v.offset);
  }
}

}  // namespace

Rewriter::Rewriter(const Model& from, GraphBuilder& g) : from_(from.graph()), g_(g), now_(from_.values.size(), no_id) {
  for (const Id v : from_.inputs) now_[v] = g.input(from_.shape(v), from_.values[v].name);
}

Rewriter::Rewriter(const Model& from, GraphBuilder& g, Id input)
    : from_(from.graph()), g_(g), now_(from_.values.size(), no_id) {
  now_[from_.input] = input;
}

void Rewriter::copy(Id node, bool with_bias) {
  const Node& n = from_.nodes[node];
  std::vector<Id> in, shared;
  std::vector<GraphBuilder::Parameter> own;
  for (const Id v : n.in) in.push_back(now_[v]);
  for (const Id p : n.par) {
    const Value& v = from_.values[p];
    if (now_[p] != no_id)
      shared.push_back(now_[p]);
    else
      own.push_back({v.name + std::strlen(n.name) + 1, v.shape, v.rank, v.init, v.trainable});
  }
  Op* const op = copy_op(g_, *n.op, with_bias);
  if (with_bias && n.par.size() == 1) own.push_back({"bias", {from_.shape(n.out).c(), 1}, 1, Init::zero});
  now_[n.out] = shared.empty() ? g_.add(op, in, own, n.name) : g_.add_shared(op, in, shared, n.name);
  if (!g_.ok()) return;
  for (std::size_t k = 0; k < n.par.size(); ++k) now_[n.par[k]] = g_.nodes().back().par[k];
}

Model rewrite(const Model& old, const std::function<void(Rewriter&, Id)>& step) {
  const Graph& from = old.graph();
  std::vector<Id> now;
  Model m(old.architecture, [&](GraphBuilder& g) {
    Rewriter r(old, g);
    for (Id i = 0; i < from.nodes.size() && g.ok(); ++i) step(r, i);
    for (Id v = 0; v < from.values.size(); ++v) now.push_back(r.now(v));
    for (const Id v : from.outputs) g.output(r.now(v));
  });
  m.select_input(from.values[from.input].name);
  m.select_output(m.graph().values[now[from.output]].name);
  for (const auto& [name, rank] : old.ranks)
    for (const std::span<const Id> ends : {from.inputs, from.outputs})
      for (const Id v : ends)
        if (name == from.values[v].name) m.ranks[m.graph().values[now[v]].name] = rank;
  copy_parameters(old, m);
  m.preparation = old.preparation;
  m.class_names = old.class_names;
  m.chosen_kind = old.chosen_kind;
  m.notes = old.notes;
  // The node that makes what an old node made; "" where that is the input.
  const auto name_now = [&](const std::string& name) -> std::string {
    if (m.graph().find(name.c_str()) != no_id) return name;
    const Id producer = m.graph().values[now[from.nodes[old.node(name)].out]].producer;
    return producer != no_id ? m.graph().nodes[producer].name : "";
  };
  const auto alias = [&](const std::string& name, const std::string& node) {
    if (const std::string to = name_now(node); !to.empty()) m.aliases.emplace_back(name, to);
  };
  for (const auto& [name, node] : old.aliases) alias(name, node);
  for (const Node& node : from.nodes)
    if (m.graph().find(node.name) == no_id) alias(node.name, node.name);
  for (const Model::AuxiliaryHead& head : old.auxiliary) m.auxiliary.push_back({name_now(head.node), head.weight});
  return m;
}

Model insert_after(const Model& old, const std::string& node, std::uint64_t seed,
                   const std::function<Id(GraphBuilder&, Id)>& body) {
  const Id place = old.node(node), result = old.graph().nodes[place].out;
  Model m = rewrite(old, [&](Rewriter& r, Id i) {
    r.copy(i);
    if (i == place && r.builder().ok()) r.stands_for(result, body(r.builder(), r.now(result)));
  });
  initialise(m.graph(), Initialiser::kaiming_normal, seed, m.parameters.data());
  copy_parameters(old, m);
  return m;
}

}  // namespace vitrine
