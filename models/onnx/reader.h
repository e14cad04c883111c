// The inside of the importer: protobuf messages seen as checked tensors and attributes.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/host/error.h"

namespace vitrine::onnx {

namespace pb = ::ONNX_NAMESPACE;
using Dims = std::vector<std::int64_t>;

/// Stands for the batch size in shapes that are computed at import.
inline constexpr std::int64_t batch_marker = std::int64_t{-1} << 52;

/// A tensor known at import: a weight, a shape, a scalar.
struct Constant {
  Dims dims;
  bool is_float = true;
  std::vector<float> f;
  std::vector<std::int64_t> i;
  std::int64_t size() const noexcept { return static_cast<std::int64_t>(is_float ? f.size() : i.size()); }
  double at(std::size_t k) const noexcept { return is_float ? static_cast<double>(f[k]) : static_cast<double>(i[k]); }
};

/// Why one node cannot be imported; collected, so that a user sees all of them at once.
class Unsupported : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The tensor of a message, sizes checked against its bytes. `folder` holds external data; "" allows none.
Constant read_tensor(const pb::TensorProto&, const std::string& path, const std::string& folder);

/// "(1,3,224,224)"
std::string text(const Dims&);

/// A node and its attributes.
struct Node {
  std::string name, op;
  std::vector<std::string> in, out;  ///< "" is an absent optional input
  const pb::NodeProto* proto = nullptr;
  float a = 0;  ///< of an activation that was recognised

  const pb::AttributeProto* find(const char* attribute) const;
  std::int64_t integer(const char* attribute, std::int64_t initial) const;
  float number(const char* attribute, float initial) const;
  std::string text(const char* attribute, const std::string& initial) const;
  Dims integers(const char* attribute, Dims initial = {}) const;
  bool has(std::size_t input) const { return input < in.size() && !in[input].empty(); }
};

/// f(x) of a scalar, as a sub-graph of elementwise nodes computes it, named where it is a known activation.
struct Activation {
  const char* op;  ///< of the layer registry
  float a = 0, b = 0;
};

/// Replaces sub-graphs that compute a known activation of one tensor (x*sigmoid(x), GELU by Erf or Tanh, hard-swish by
/// parts, ...) by one node of op "vitrine.ACTIVATION". They are recognised by their values on a grid, not by their
/// form.
void recognise_activations(std::vector<Node>&, const std::map<std::string, Constant>& scalars,
                           const std::set<std::string>& outputs);

/// Dimensions with ones put in at `axes` of the result, or without the ones at `axes` (none named: without all);
/// negative axes count from the end.
Dims unsqueezed(const Dims&, Dims axes);
Dims squeezed(const Dims&, Dims axes);

/// What a Slice takes of a dimension of n elements; Unsupported for a step of 0.
struct Range {
  std::int64_t start = 0, count = 0, step = 1;
};
Range slice_range(std::int64_t n, std::int64_t start, std::int64_t end, std::int64_t step);

/// The value of a node whose inputs are all known, of at most `limit` elements; Unsupported for other ops.
Constant evaluate(const Node&, const std::vector<const Constant*>& in, std::int64_t opset, std::int64_t limit);

}  // namespace vitrine::onnx
