#include "models/rewrite.h"

#include <algorithm>
#include <cstring>

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
  explicit Writer(const Reader& from) : from_(from) {}
  void operator()(const char*, std::int32_t& v) noexcept override { v = from_.whole[whole_++]; }
  void operator()(const char*, float& v) noexcept override { v = from_.numbers[numbers_++]; }
  void operator()(const char*, bool& v) noexcept override { v = from_.flags[flags_++]; }

 private:
  const Reader& from_;
  std::size_t whole_ = 0, numbers_ = 0, flags_ = 0;
};

Op* copy(GraphBuilder& g, Op& op) {
  const OpEntry* const entry = find_op(op.name());
  if (entry == nullptr) throw Error(std::string("op '") + op.name() + "' is not in the registry, so it cannot be copied");
  Op* const made = entry->make(g);
  if (made == nullptr) return nullptr;
  Reader reader;
  op.attributes(reader);
  Writer writer(reader);
  made->attributes(writer);
  return made;
}

}  // namespace

Model insert_after(const Model& old, const std::string& node, std::uint64_t seed, const std::function<Id(GraphBuilder&, Id)>& body) {
  const Graph& from = old.graph();
  const Id place = old.node(node);
  Model m(old.architecture, old.image_shape(), [&](GraphBuilder& g, Id x) {
    std::vector<Id> now(from.values.size(), no_id);
    now[from.input] = x;
    for (Id i = 0; i < from.nodes.size() && g.ok(); ++i) {
      const Node& n = from.nodes[i];
      std::vector<Id> in, shared;
      std::vector<GraphBuilder::Parameter> own;
      for (const Id v : n.in) in.push_back(now[v]);
      for (const Id p : n.par) {
        const Value& v = from.values[p];
        if (now[p] != no_id) shared.push_back(now[p]);
        else own.push_back({v.name + std::strlen(n.name) + 1, v.shape, v.rank, v.init, v.trainable});
      }
      Op* const op = copy(g, *n.op);
      now[n.out] = shared.empty() ? g.add(op, in, own, n.name) : g.add_shared(op, in, shared, n.name);
      if (!g.ok()) break;
      for (std::size_t k = 0; k < n.par.size(); ++k) now[n.par[k]] = g.nodes().back().par[k];
      if (i == place) now[n.out] = body(g, now[n.out]);
    }
    return now[from.output];
  });
  initialise(m.graph(), Initialiser::kaiming_normal, seed, m.parameters.data());
  for (const Value& v : m.graph().values) {
    if (v.kind != ValueKind::parameter) continue;
    for (const Value& w : from.values)
      if (w.kind == ValueKind::parameter && std::strcmp(v.name, w.name) == 0)
        std::copy_n(old.parameters.begin() + w.offset, w.shape.size(), m.parameters.begin() + v.offset);
  }
  m.preparation = old.preparation;
  m.class_names = old.class_names;
  m.notes = old.notes;
  m.aliases = old.aliases;
  m.auxiliary = old.auxiliary;
  return m;
}

}  // namespace vitrine
