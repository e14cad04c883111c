// The one representation of a network: a flat array of nodes. Training, inference, explanation, export and the embedded
// build all read it. It owns nothing; GraphBuilder lays it out in an arena.
#pragma once

#include <span>

#include "core/op.h"

namespace vitrine {

using Id = std::uint32_t;  ///< of a value (a tensor of the graph)
inline constexpr Id no_id = ~Id{0};
inline constexpr std::size_t max_inputs = 16, max_outputs = 64;  ///< of a graph

enum class ValueKind : std::uint8_t { input, parameter, result };

/// How a parameter starts (layers/init.h), and whether the optimiser moves it.
enum class Init : std::uint8_t { zero, one, weight };

struct Value {
  const char* name = "";
  Shape shape{};  ///< for one image, except parameters
  ValueKind kind = ValueKind::result;
  Id producer = no_id;  ///< index of the node that makes it
  // parameters only:
  std::uint8_t rank = 4;  ///< of the tensor in files: a linear weight has 2, a bias 1
  Init init = Init::zero;
  bool trainable = true;    ///< false: running statistics, frozen weights
  std::int64_t offset = 0;  ///< in the flat parameter block, in elements
};

struct Node {
  const char* name = "";
  Op* op = nullptr;
  std::span<const Id> in, par;
  Id out = no_id;
  std::size_t aux_bytes = 0;  ///< for one image
};

struct Graph {
  std::span<const Node> nodes;  ///< in an order in which they can run
  std::span<const Value> values;
  /// The main ones: the input that is explained and that runs are started with, and the output that predictions and
  /// explanations mean by default. Each is one of `inputs` and `outputs`.
  Id input = no_id, output = no_id;
  std::int64_t parameter_size = 0;          ///< elements of the flat parameter block
  std::span<const Id> inputs{}, outputs{};  ///< all of them, in the order in which they were made

  const Shape& shape(Id v) const noexcept { return values[v].shape; }
  /// Index of the node of that name, or no_id.
  Id find(const char* name) const noexcept;
  /// Index of the only node that reads a value, or no_id if none or several do, or if the value is an output.
  Id only_reader(Id value) const noexcept;
  /// The input of that name, or no_id.
  Id find_input(const char* name) const noexcept;
  /// Place of a value among `inputs`; their number if it is none.
  std::size_t input_index(Id value) const noexcept;
  bool is_output(Id value) const noexcept;
};

/// `pattern` with * (anything), ? (one character) and | (between alternatives) against a node's name: how rules are set
/// by name.
bool matches(const char* pattern, const char* text) noexcept;

/// Writes a graph into an arena. The first mistake is kept and every later call does nothing, so a network is written
/// without checks and asked once: `if (g.build(graph) != Status::ok) ... g.failure()`.
class GraphBuilder {
 public:
  /// Reserves room for the arrays. On a host, OwnedGraph (models/) chooses generous sizes.
  GraphBuilder(Arena& arena, std::size_t max_nodes, std::size_t max_values) noexcept;

  /// The first input is the main one. `name` must be unique among all values; null: "input", "input_2" and so on.
  Id input(Shape image, const char* name = nullptr) noexcept;

  struct Parameter {
    const char* suffix;  ///< "weight": the full name is NODE.weight
    Shape shape;
    std::uint8_t rank;
    Init init;
    bool trainable = true;
  };
  /// Appends op(in..., parameters...) and returns its result. `name` must be unique; null: the op's name and a number.
  Id add(Op* op, std::span<const Id> in, std::span<const Parameter> parameters, const char* name) noexcept;
  /// Likewise, reading the parameters of an earlier node (shared weights).
  Id add_shared(Op* op, std::span<const Id> in, std::span<const Id> parameters, const char* name) noexcept;
  /// The first output is the main one.
  void output(Id value) noexcept;
  void set_trainable(Id parameter, bool trainable) noexcept;

  /// An op in the graph's arena; null (and the builder failed) if it is full.
  template <class T, class... Args>
  T* make(Args&&... args) noexcept {
    T* op = arena_.create<T>(std::forward<Args>(args)...);
    if (op == nullptr) (void)fail(Status::out_of_arena, "", "the graph's arena is full");
    return op;
  }

  Shape shape(Id value) const noexcept { return ok() && value < value_count_ ? values_[value].shape : Shape{}; }
  std::span<const Value> values() const noexcept { return {values_, value_count_}; }
  std::span<const Node> nodes() const noexcept { return {nodes_, node_count_}; }
  bool ok() const noexcept { return failure_.status == Status::ok; }
  const Failure& failure() const noexcept { return failure_; }
  Id fail(Status, const char* node, const char* what, Shape found = {}, Shape expected = {}) noexcept;
  Status build(Graph&) noexcept;

 private:
  const char* copy_name(const char* base, const char* suffix, std::size_t number) noexcept;
  Id append(Op* op, std::span<const Id> in, std::span<const Id> par, const char* name) noexcept;
  const char* name_for(const Op& op, const char* name) noexcept;
  bool names_input(const char* name) const noexcept;

  Arena& arena_;
  Node* nodes_ = nullptr;
  Value* values_ = nullptr;
  std::size_t node_count_ = 0, value_count_ = 0, max_nodes_, max_values_;
  Id inputs_[max_inputs], outputs_[max_outputs];
  std::size_t input_count_ = 0, output_count_ = 0;
  std::int64_t parameter_size_ = 0;
  Failure failure_{};
};

}  // namespace vitrine
