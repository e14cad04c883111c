// Values of nodes that read constants alone: weights that are reshaped, and the chains by which exporters compute
// shapes.
#include <algorithm>
#include <cmath>

#include "models/onnx/reader.h"

namespace vitrine::onnx {
namespace {

constexpr std::int64_t computed_limit = std::int64_t{1} << 31;  // elements of any constant

std::int64_t count(const Dims& d, std::int64_t limit) {
  std::int64_t n = 1;  // sizes of 0 apart, so that no product of some of the sizes overflows
  bool empty = false;
  limit = std::min(limit, computed_limit);
  for (const std::int64_t v : d) {
    if (v < 0 || v > computed_limit || (n *= std::max<std::int64_t>(v, 1)) > computed_limit)
      throw Unsupported("computes a constant of an impossible shape");
    empty = empty || v == 0;
  }
  if (empty) return 0;
  if (n > limit) throw Unsupported("makes more constants than a file of this size should");
  return n;
}

std::int64_t axis_of(std::int64_t axis, std::size_t rank) {
  const auto r = static_cast<std::int64_t>(rank);
  if (axis < -r || axis >= r)
    throw Unsupported("has an axis of " + std::to_string(axis) + " for a tensor of " + std::to_string(rank) +
                      " dimensions");
  return axis < 0 ? axis + r : axis;
}

Constant like(const Constant& c, Dims dims) {
  Constant out;
  out.dims = std::move(dims);
  out.is_float = c.is_float;
  return out;
}

// Sums and products of two such numbers do not overflow; no size is larger.
void require_small(std::int64_t v) {
  if (v < -computed_limit || v > computed_limit)
    throw Unsupported("computes with the whole number " + std::to_string(v) + ", which is too large for a size");
}

void push(Constant& to, const Constant& from, std::size_t k) {
  if (from.is_float)
    to.f.push_back(from.f.at(k));
  else
    to.i.push_back(from.i.at(k));
}

// Elements of `c` at multi-indices of `dims`, through strides.
Constant gather_strided(const Constant& c, const Dims& dims, const Dims& strides, std::int64_t start,
                        std::int64_t limit) {
  Constant out = like(c, dims);
  const std::int64_t n = count(dims, limit);
  Dims at(dims.size(), 0);
  for (std::int64_t k = 0; k < n; ++k) {
    std::int64_t from = start;
    for (std::size_t d = 0; d < dims.size(); ++d) from += at[d] * strides[d];
    push(out, c, static_cast<std::size_t>(from));
    for (std::size_t d = dims.size(); d-- > 0;) {
      if (++at[d] < dims[d]) break;
      at[d] = 0;
    }
  }
  return out;
}

Dims dense_strides(const Dims& d) {
  Dims s(d.size(), 1);
  for (std::size_t k = d.size(); k-- > 1;) s[k - 1] = s[k] * d[k];
  return s;
}

}  // namespace

Dims unsqueezed(const Dims& dims, Dims axes) {
  for (std::int64_t& a : axes) a = axis_of(a, dims.size() + axes.size());
  std::sort(axes.begin(), axes.end());
  Dims out = dims;
  for (const std::int64_t a : axes) {
    if (a > static_cast<std::int64_t>(out.size())) throw Unsupported("has axes that leave a gap");
    out.insert(out.begin() + a, 1);
  }
  return out;
}

Dims squeezed(const Dims& dims, Dims axes) {
  for (std::int64_t& a : axes) a = axis_of(a, dims.size());
  Dims out;
  for (std::size_t k = 0; k < dims.size(); ++k) {
    const bool listed =
        axes.empty() ? dims[k] == 1 : std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(k)) != axes.end();
    if (listed && dims[k] != 1) throw Unsupported("squeezes dimension " + std::to_string(k) + " of " + text(dims));
    if (!listed) out.push_back(dims[k]);
  }
  return out;
}

Range slice_range(std::int64_t n, std::int64_t start, std::int64_t end, std::int64_t step) {
  if (step == 0) throw Unsupported("slices with a step of 0");
  if (n == 0) return {};
  step = std::clamp(step, -n, n);
  const std::int64_t from = std::clamp<std::int64_t>(start < 0 ? start + n : start, 0, step > 0 ? n : n - 1);
  const std::int64_t to =
      std::clamp<std::int64_t>(end < 0 ? std::max<std::int64_t>(end, -n - 1) + n : end, step > 0 ? 0 : -1, n);
  const std::int64_t count = step > 0 ? (to - from + step - 1) / step : (from - to - step - 1) / -step;
  return {from, std::max<std::int64_t>(count, 0), step};
}

namespace {

Constant binary(const Node& node, const Constant& a, const Constant& b, std::int64_t limit) {
  const std::size_t rank = std::max(a.dims.size(), b.dims.size());
  Dims dims(rank), sa(rank, 0), sb(rank, 0);
  const Dims da = dense_strides(a.dims), db = dense_strides(b.dims);
  for (std::size_t k = 0; k < rank; ++k) {
    const bool in_a = k + a.dims.size() >= rank, in_b = k + b.dims.size() >= rank;
    const std::int64_t x = in_a ? a.dims[k + a.dims.size() - rank] : 1, y = in_b ? b.dims[k + b.dims.size() - rank] : 1;
    if (x != y && x != 1 && y != 1)
      throw Unsupported("combines constants of shapes " + text(a.dims) + " and " + text(b.dims));
    dims[k] = x == 1 ? y : x;
    if (in_a && x != 1) sa[k] = da[k + a.dims.size() - rank];
    if (in_b && y != 1) sb[k] = db[k + b.dims.size() - rank];
  }
  const Constant x = gather_strided(a, dims, sa, 0, limit), y = gather_strided(b, dims, sb, 0, limit);
  Constant out = like(a, dims);
  out.is_float = a.is_float || b.is_float;
  for (std::size_t k = 0; k < static_cast<std::size_t>(x.size()); ++k) {
    if (!out.is_float) {
      const std::int64_t p = x.i[k], q = y.i[k];
      if (p == batch_marker || q == batch_marker) {
        const std::int64_t other = p == batch_marker ? q : p;
        if ((node.op == "Mul" || node.op == "Div") && other == 1)
          out.i.push_back(batch_marker);
        else
          throw Unsupported("computes with the batch size");
        continue;
      }
      require_small(p);
      require_small(q);
      if (node.op == "Div" && q == 0) throw Unsupported("divides by 0");
      out.i.push_back(node.op == "Add" ? p + q : node.op == "Sub" ? p - q : node.op == "Mul" ? p * q : p / q);
    } else {
      const double p = x.at(k), q = y.at(k);
      out.f.push_back(static_cast<float>(node.op == "Add"   ? p + q
                                         : node.op == "Sub" ? p - q
                                         : node.op == "Mul" ? p * q
                                         : node.op == "Div" ? p / q
                                                            : std::pow(p, q)));
    }
  }
  return out;
}

Constant slice(const Node& node, const std::vector<const Constant*>& in, std::int64_t limit) {
  const Constant& c = *in[0];
  const auto list = [&](std::size_t k, const char* attribute) {
    return node.has(k) && in[k] != nullptr ? in[k]->i : node.integers(attribute);
  };
  const Dims starts = list(1, "starts"), ends = list(2, "ends");
  Dims axes = list(3, "axes"), steps = node.has(4) && in[4] != nullptr ? in[4]->i : Dims(starts.size(), 1);
  if (axes.empty())
    for (std::size_t k = 0; k < starts.size(); ++k) axes.push_back(static_cast<std::int64_t>(k));
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    throw Unsupported("slices with lists of unequal lengths");
  Dims dims = c.dims, strides = dense_strides(c.dims);
  std::int64_t first = 0;
  for (std::size_t k = 0; k < starts.size(); ++k) {
    const auto a = static_cast<std::size_t>(axis_of(axes[k], dims.size()));
    const std::int64_t n = dims[a];
    const Range range = slice_range(n, starts[k], ends[k], steps[k]);
    first += range.start * strides[a];
    dims[a] = range.count;
    strides[a] *= range.step;
  }
  return gather_strided(c, dims, strides, first, limit);
}

Constant value_of(const Node& node, const std::vector<const Constant*>& in, std::int64_t opset, std::int64_t limit) {
  const std::string& op = node.op;
  const auto input = [&](std::size_t k) -> const Constant& {
    if (k >= in.size() || in[k] == nullptr) throw Unsupported("lacks an input");
    return *in[k];
  };
  (void)count(input(0).dims, limit);
  if (op == "Identity" || op == "Dropout") return input(0);
  if (op == "Cast") {
    Constant out = input(0);
    const std::int64_t to = node.integer("to", pb::TensorProto::FLOAT);
    const bool floating = to == pb::TensorProto::FLOAT || to == pb::TensorProto::DOUBLE ||
                          to == pb::TensorProto::FLOAT16 || to == pb::TensorProto::BFLOAT16;
    if (floating && !out.is_float) {
      for (const std::int64_t v : out.i) {
        if (v == batch_marker) throw Unsupported("computes with the batch size");
        out.f.push_back(static_cast<float>(v));
      }
      out.i.clear();
    } else if (!floating && out.is_float) {
      for (const float v : out.f)
        out.i.push_back(std::isfinite(v) && std::abs(v) < 1e15f ? static_cast<std::int64_t>(v) : 0);
      out.f.clear();
    }
    out.is_float = floating;
    return out;
  }
  if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div" || op == "Pow")
    return binary(node, input(0), input(1), limit);
  if (op == "Neg" || op == "Sqrt" || op == "Exp" || op == "Floor" || op == "Ceil" || op == "Reciprocal") {
    Constant out = input(0);
    if (!out.is_float && op != "Neg") throw Unsupported("computes with whole numbers");
    for (float& v : out.f)
      v = op == "Neg"     ? -v
          : op == "Sqrt"  ? std::sqrt(v)
          : op == "Exp"   ? std::exp(v)
          : op == "Floor" ? std::floor(v)
          : op == "Ceil"  ? std::ceil(v)
                          : 1 / v;
    for (std::int64_t& v : out.i) {
      if (v == batch_marker) throw Unsupported("computes with the batch size");
      require_small(v);
      v = -v;
    }
    return out;
  }
  if (op == "Gather") {
    const Constant &c = input(0), &index = input(1);
    if (index.is_float) throw Unsupported("gathers by indices that are no whole numbers");
    const auto axis = static_cast<std::size_t>(axis_of(node.integer("axis", 0), c.dims.size()));
    Dims dims(c.dims.begin(), c.dims.begin() + static_cast<std::ptrdiff_t>(axis));
    dims.insert(dims.end(), index.dims.begin(), index.dims.end());
    dims.insert(dims.end(), c.dims.begin() + static_cast<std::ptrdiff_t>(axis) + 1, c.dims.end());
    std::int64_t outer = 1, inner = 1;
    for (std::size_t k = 0; k < axis; ++k) outer *= c.dims[k];
    for (std::size_t k = axis + 1; k < c.dims.size(); ++k) inner *= c.dims[k];
    (void)count(dims, limit);
    Constant out = like(c, dims);
    for (std::int64_t o = 0; o < outer; ++o)
      for (const std::int64_t given : index.i) {
        const std::int64_t k = given < 0 ? given + c.dims[axis] : given;
        if (k < 0 || k >= c.dims[axis])
          throw Unsupported("gathers element " + std::to_string(given) + " of " + std::to_string(c.dims[axis]));
        for (std::int64_t i = 0; i < inner; ++i)
          push(out, c, static_cast<std::size_t>((o * c.dims[axis] + k) * inner + i));
      }
    return out;
  }
  if (op == "Concat") {
    const Constant& first = input(0);
    const auto axis = static_cast<std::size_t>(axis_of(node.integer("axis", 0), first.dims.size()));
    Constant out = like(first, first.dims);
    out.dims[axis] = 0;
    std::int64_t outer = 1;
    for (std::size_t k = 0; k < axis; ++k) outer *= first.dims[k];
    for (std::size_t k = 0; k < in.size(); ++k) {
      if (input(k).is_float != first.is_float || input(k).dims.size() != first.dims.size())
        throw Unsupported("joins constants of different kinds");
      out.dims[axis] += input(k).dims[axis];
    }
    (void)count(out.dims, limit);
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::size_t k = 0; k < in.size(); ++k) {
        const std::int64_t each = outer > 0 ? input(k).size() / outer : 0;
        for (std::int64_t i = 0; i < each; ++i) push(out, input(k), static_cast<std::size_t>(o * each + i));
      }
    return out;
  }
  if (op == "Unsqueeze" || op == "Squeeze") {
    Constant out = input(0);
    Dims axes = opset >= 13 ? (node.has(1) ? input(1).i : Dims{}) : node.integers("axes");
    out.dims = op == "Unsqueeze" ? unsqueezed(out.dims, std::move(axes)) : squeezed(out.dims, std::move(axes));
    return out;
  }
  if (op == "Reshape" || op == "Flatten") {
    Constant out = input(0);
    Dims to;
    if (op == "Flatten") {
      const std::int64_t axis = node.integer("axis", 1);
      std::int64_t rows = 1;
      for (std::int64_t k = 0; k < axis && k < static_cast<std::int64_t>(out.dims.size()); ++k)
        rows *= out.dims[static_cast<std::size_t>(k)];
      to = {rows, -1};
    } else {
      to = input(1).i;
    }
    std::int64_t known = 1, open = -1;
    for (std::size_t k = 0; k < to.size(); ++k) {
      if (to[k] == 0 && k < out.dims.size()) to[k] = out.dims[k];
      if (to[k] == -1)
        open = static_cast<std::int64_t>(k);
      else
        known *= to[k] >= 0 && to[k] < computed_limit ? to[k] : 0;
    }
    if (open >= 0) to[static_cast<std::size_t>(open)] = known > 0 ? out.size() / known : 0;
    if (count(to, limit) != out.size())
      throw Unsupported("reshapes a constant of shape " + text(out.dims) + " to " + text(to));
    out.dims = to;
    return out;
  }
  if (op == "Transpose") {
    const Constant& c = input(0);
    Dims perm = node.integers("perm"), dims, strides;
    if (perm.empty())
      for (std::size_t k = c.dims.size(); k-- > 0;) perm.push_back(static_cast<std::int64_t>(k));
    if (perm.size() != c.dims.size()) throw Unsupported("permutes another number of dimensions than it has");
    const Dims dense = dense_strides(c.dims);
    for (const std::int64_t p : perm) {
      const auto d = static_cast<std::size_t>(axis_of(p, c.dims.size()));
      dims.push_back(c.dims[d]);
      strides.push_back(dense[d]);
    }
    if (count(dims, limit) != c.size()) throw Unsupported("permutes with a repeated dimension");
    return gather_strided(c, dims, strides, 0, limit);
  }
  if (op == "Slice") return slice(node, in, limit);
  if (op == "ConstantOfShape") {
    Constant out;
    out.dims = input(0).i;
    const std::int64_t n = count(out.dims, limit);
    float v = 0;
    if (const auto* a = node.find("value"); a != nullptr && a->has_t()) {
      const Constant value = read_tensor(a->t(), "value", "");
      out.is_float = value.is_float;
      v = value.size() > 0 ? static_cast<float>(value.at(0)) : 0;
    }
    if (out.is_float)
      out.f.assign(static_cast<std::size_t>(n), v);
    else
      out.i.assign(static_cast<std::size_t>(n), static_cast<std::int64_t>(v));
    return out;
  }
  throw Unsupported("is of an operator that is not supported on constants");
}

}  // namespace

Constant evaluate(const Node& node, const std::vector<const Constant*>& in, std::int64_t opset, std::int64_t limit) {
  Constant c = value_of(node, in, opset, limit);
  // Everything behind trusts this, and files say what they like.
  if (count(c.dims, limit) != c.size())
    throw Unsupported("makes " + std::to_string(c.size()) + " elements for a constant of shape " + text(c.dims));
  return c;
}

}  // namespace vitrine::onnx
