#include "core/graph.h"

namespace vitrine {
namespace {

std::size_t length(const char* s) noexcept {
  std::size_t n = 0;
  while (s[n] != '\0') ++n;
  return n;
}

bool same(const char* a, const char* b) noexcept {
  while (*a != '\0' && *a == *b) ++a, ++b;
  return *a == *b;
}

// Far beyond any memory, and no sum or product of sizes overflows below it.
constexpr std::int64_t most_elements = std::int64_t{1} << 40;
constexpr const char* too_many_elements = "has more than 2^40 elements";
constexpr std::size_t max_node_inputs = 1024;

// Of a shape whose sizes are all at least 1.
bool too_large(const Shape& shape) noexcept {
  std::int64_t n = 1;
  for (const std::int32_t size : shape.d) {
    if (size > most_elements / n) return true;
    n *= size;
  }
  return false;
}

}  // namespace

Id Graph::find(const char* name) const noexcept {
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (same(nodes[i].name, name)) return static_cast<Id>(i);
  return no_id;
}

Id Graph::only_reader(Id value) const noexcept {
  Id reader = no_id;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (const Id v : nodes[i].in)
      if (v == value) {
        if (reader != no_id) return no_id;
        reader = static_cast<Id>(i);
      }
  return is_output(value) ? no_id : reader;
}

Id Graph::find_input(const char* name) const noexcept {
  for (const Id v : inputs)
    if (same(values[v].name, name)) return v;
  return no_id;
}

std::size_t Graph::input_index(Id value) const noexcept {
  std::size_t k = 0;
  while (k < inputs.size() && inputs[k] != value) ++k;
  return k;
}

bool Graph::is_output(Id value) const noexcept {
  for (const Id v : outputs)
    if (v == value) return true;
  return false;
}

namespace {

bool ends(char pattern) noexcept { return pattern == '\0' || pattern == '|'; }

bool matches_first(const char* pattern, const char* text) noexcept {
  const char *star = nullptr, *resume = nullptr;
  while (*text != '\0') {
    if (*pattern == '*') {
      star = pattern++;
      resume = text;
    } else if (!ends(*pattern) && (*pattern == '?' || *pattern == *text)) {
      ++pattern, ++text;
    } else if (star != nullptr) {
      pattern = star + 1;
      text = ++resume;
    } else {
      return false;
    }
  }
  while (*pattern == '*') ++pattern;
  return ends(*pattern);
}

}  // namespace

bool matches(const char* pattern, const char* text) noexcept {
  for (; !matches_first(pattern, text); ++pattern) {
    while (!ends(*pattern)) ++pattern;
    if (*pattern == '\0') return false;
  }
  return true;
}

GraphBuilder::GraphBuilder(Arena& arena, std::size_t max_nodes, std::size_t max_values) noexcept
    : arena_(arena), max_nodes_(max_nodes), max_values_(max_values) {
  nodes_ = arena_.array<Node>(max_nodes);
  values_ = arena_.array<Value>(max_values);
  if (nodes_ == nullptr || values_ == nullptr)
    (void)fail(Status::out_of_arena, "", "the graph's arena is too small for its arrays");
}

Id GraphBuilder::fail(Status status, const char* node, const char* what, Shape found, Shape expected) noexcept {
  if (ok()) failure_ = {status, node, what, found, expected, 0};
  return no_id;
}

Id GraphBuilder::input(Shape image, const char* name) noexcept {
  if (!ok()) return no_id;
  if (name != nullptr)
    name = copy_name(name, "", 0);
  else
    name = input_count_ == 0 ? "input" : copy_name("input", "_", input_count_ + 1);
  if (!ok()) return no_id;
  if (input_count_ == max_inputs) return fail(Status::bad_graph, name, "is one input too many: a graph has at most 16");
  for (std::size_t v = 0; v < value_count_; ++v)
    if (same(values_[v].name, name)) return fail(Status::bad_graph, name, "is the name of an input and another value");
  for (const std::int32_t d : image.d)
    if (d < 1) return fail(Status::bad_shape, name, "every dimension of the input must be at least 1", image, image);
  if (too_large(image)) return fail(Status::bad_shape, name, too_many_elements, image, image);
  if (value_count_ == max_values_)
    return fail(Status::out_of_arena, name, "the graph has more values than its arena was made for");
  ::new (&values_[value_count_]) Value{.name = name, .shape = image.with_batch(1), .kind = ValueKind::input};
  return inputs_[input_count_++] = static_cast<Id>(value_count_++);
}

bool GraphBuilder::names_input(const char* name) const noexcept {
  for (std::size_t k = 0; k < input_count_; ++k)
    if (same(values_[inputs_[k]].name, name)) return true;
  return false;
}

const char* GraphBuilder::copy_name(const char* base, const char* suffix, std::size_t number) noexcept {
  char digits[24];
  std::size_t n = 0;
  if (number > 0)
    for (std::size_t v = number; v > 0; v /= 10) digits[n++] = static_cast<char>('0' + v % 10);
  const std::size_t a = length(base), b = length(suffix);
  char* out = arena_.array<char>(a + b + n + 1);
  if (out == nullptr) {
    (void)fail(Status::out_of_arena, base, "the graph's arena is full");
    return "";
  }
  std::size_t at = 0;
  for (std::size_t i = 0; i < a; ++i) out[at++] = base[i];
  for (std::size_t i = 0; i < b; ++i) out[at++] = suffix[i];
  while (n > 0) out[at++] = digits[--n];
  out[at] = '\0';
  return out;
}

const char* GraphBuilder::name_for(const Op& op, const char* name) noexcept {
  if (name != nullptr) return copy_name(name, "", 0);
  std::size_t number = 1;
  for (std::size_t i = 0; i < node_count_; ++i) number += same(nodes_[i].op->name(), op.name()) ? 1 : 0;
  return copy_name(op.name(), "_", number);
}

Id GraphBuilder::add(Op* op, std::span<const Id> in, std::span<const Parameter> parameters, const char* name) noexcept {
  if (!ok() || op == nullptr) return no_id;
  name = name_for(*op, name);
  Id par[8];
  if (parameters.size() > 8) return fail(Status::bad_graph, name, "an op has at most 8 parameters");
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    if (value_count_ == max_values_)
      return fail(Status::out_of_arena, name, "the graph has more values than its arena was made for");
    const Parameter& p = parameters[k];
    const char* dot = copy_name(name, ".", 0);
    const char* full = copy_name(dot, p.suffix, 0);
    if (!ok()) return no_id;
    if (names_input(full)) return fail(Status::bad_graph, full, "is the name of an input and another value");
    for (const std::int32_t d : p.shape.d)
      if (d < 1)
        return fail(Status::bad_shape, name, "every dimension of a parameter must be at least 1", p.shape, p.shape);
    if (too_large(p.shape) || parameter_size_ > most_elements)
      return fail(Status::bad_shape, name, too_many_elements, p.shape, p.shape);
    ::new (&values_[value_count_]) Value{.name = full,
                                         .shape = p.shape,
                                         .kind = ValueKind::parameter,
                                         .producer = no_id,
                                         .rank = p.rank,
                                         .init = p.init,
                                         .trainable = p.trainable,
                                         .offset = parameter_size_};
    // Each parameter starts on a cache line of the flat block, so that neighbours never share one between threads.
    parameter_size_ += (p.shape.size() + 15) / 16 * 16;
    par[k] = static_cast<Id>(value_count_++);
  }
  return append(op, in, {par, parameters.size()}, name);
}

Id GraphBuilder::add_shared(Op* op, std::span<const Id> in, std::span<const Id> parameters, const char* name) noexcept {
  if (!ok() || op == nullptr) return no_id;
  for (const Id p : parameters)
    if (p >= value_count_ || values_[p].kind != ValueKind::parameter)
      return fail(Status::bad_graph, name != nullptr ? name : "", "shares a value that is no parameter");
  return append(op, in, parameters, name_for(*op, name));
}

Id GraphBuilder::append(Op* op, std::span<const Id> in, std::span<const Id> par, const char* name) noexcept {
  if (!ok()) return no_id;
  if (node_count_ == max_nodes_ || value_count_ == max_values_)
    return fail(Status::out_of_arena, name, "the graph has more nodes than its arena was made for");
  for (std::size_t i = 0; i < node_count_; ++i)
    if (same(nodes_[i].name, name)) return fail(Status::bad_graph, name, "is the name of two nodes");
  if (names_input(name)) return fail(Status::bad_graph, name, "is the name of an input and another value");
  if (in.empty()) return fail(Status::bad_graph, name, "has no input");
  if (in.size() > max_node_inputs) return fail(Status::bad_graph, name, "has more than 1024 inputs");
  Id* ids = arena_.array<Id>(in.size() + par.size());
  Shape* shapes = arena_.array<Shape>(in.size() + par.size());
  if (ids == nullptr || shapes == nullptr) return fail(Status::out_of_arena, name, "the graph's arena is full");
  for (std::size_t k = 0; k < in.size() + par.size(); ++k) {
    const Id v = k < in.size() ? in[k] : par[k - in.size()];
    if (v >= value_count_) return fail(Status::bad_graph, name, "reads a value that no earlier node makes");
    if (k < in.size() && values_[v].kind == ValueKind::parameter)
      return fail(Status::bad_graph, name, "reads a parameter as an input");
    ids[k] = v;
    shapes[k] = values_[v].shape;
  }
  Context ctx;
  Failure why;
  ctx.failure = &why;
  Shape out;
  std::size_t aux_bytes = 0;
  if (const Status s = op->infer(ctx, {shapes, in.size()}, {shapes + in.size(), par.size()}, out, aux_bytes);
      s != Status::ok) {
    failure_ = why;
    failure_.status = s;
    failure_.node = name;
    return no_id;
  }
  for (const std::int32_t d : out.d)
    if (d < 1)
      return fail(Status::bad_shape, name, "gives an empty result: its input is too small", shapes[0], shapes[0]);
  if (too_large(out)) return fail(Status::bad_shape, name, too_many_elements, out, out);
  const Id result = static_cast<Id>(value_count_++);
  ::new (&values_[result])
      Value{.name = name, .shape = out, .kind = ValueKind::result, .producer = static_cast<Id>(node_count_)};
  ::new (&nodes_[node_count_++]) Node{name, op, {ids, in.size()}, {ids + in.size(), par.size()}, result, aux_bytes};
  return result;
}

void GraphBuilder::output(Id value) noexcept {
  if (!ok()) return;
  if (value >= value_count_ || values_[value].kind != ValueKind::result)
    return (void)fail(Status::bad_graph, "output", "the output must be the result of a node");
  if (output_count_ == max_outputs)
    return (void)fail(Status::bad_graph, values_[value].name, "is one output too many: a graph has at most 64");
  for (std::size_t k = 0; k < output_count_; ++k)
    if (outputs_[k] == value) return (void)fail(Status::bad_graph, values_[value].name, "is an output twice");
  outputs_[output_count_++] = value;
}

void GraphBuilder::set_trainable(Id parameter, bool trainable) noexcept {
  if (ok() && parameter < value_count_) values_[parameter].trainable = trainable;
}

Status GraphBuilder::build(Graph& graph) noexcept {
  if (ok() && input_count_ == 0) (void)fail(Status::bad_graph, "input", "the graph has no input");
  if (ok() && output_count_ == 0) (void)fail(Status::bad_graph, "output", "the graph has no output");
  Id* const ends = ok() ? arena_.array<Id>(input_count_ + output_count_) : nullptr;
  if (ok() && ends == nullptr) (void)fail(Status::out_of_arena, "", "the graph's arena is full");
  if (!ok()) return failure_.status;
  for (std::size_t k = 0; k < input_count_; ++k) ends[k] = inputs_[k];
  for (std::size_t k = 0; k < output_count_; ++k) ends[input_count_ + k] = outputs_[k];
  graph = {{nodes_, node_count_},
           {values_, value_count_},
           inputs_[0],
           outputs_[0],
           parameter_size_,
           {ends, input_count_},
           {ends + input_count_, output_count_}};
  return Status::ok;
}

}  // namespace vitrine
