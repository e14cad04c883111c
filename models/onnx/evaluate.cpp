// Values of nodes that read constants alone: weights that are reshaped, and the chains by which exporters compute
// shapes.
#include <algorithm>
#include <cmath>
#include <optional>

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
  if (n > limit) throw Unsupported("makes more constants than 256 MiB and a few times the file's size");
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

// The elements of `c` spread over `dims`.
Constant spread(const Constant& c, const Dims& dims, std::int64_t limit) {
  if (c.dims.size() > dims.size())
    throw Unsupported("spreads a constant of shape " + text(c.dims) + " over " + text(dims));
  Dims stride(dims.size(), 0);
  const Dims dense = dense_strides(c.dims);
  const std::size_t missing = dims.size() - c.dims.size();
  for (std::size_t k = 0; k < c.dims.size(); ++k) {
    if (c.dims[k] != 1 && c.dims[k] != dims[k + missing])
      throw Unsupported("spreads a constant of shape " + text(c.dims) + " over " + text(dims));
    if (c.dims[k] != 1) stride[k + missing] = dense[k];
  }
  return gather_strided(c, dims, stride, 0, limit);
}

// A size of a shape that is computed; constants have one image.
Dims sizes_of(Dims d) {
  for (std::int64_t& v : d)
    if (v == batch_marker) v = 1;
  return d;
}

Dims joint_dims(const Dims& a, const Dims& b) {
  Dims out(std::max(a.size(), b.size()), 1);
  for (const Dims* d : {&a, &b})
    for (std::size_t k = 0; k < d->size(); ++k) {
      std::int64_t& v = out[k + out.size() - d->size()];
      if ((*d)[k] != 1) v = (*d)[k];
    }
  return out;
}

Constant expanded(const Constant& c, Dims to, std::int64_t limit) {
  return spread(c, joint_dims(c.dims, sizes_of(std::move(to))), limit);
}

Constant tiled(const Constant& c, const Constant& repeats, std::int64_t limit) {
  if (repeats.is_float || repeats.i.size() != c.dims.size()) throw Unsupported("repeats another number of dimensions");
  Dims size, stride, dims;
  const Dims dense = dense_strides(c.dims);
  for (std::size_t k = 0; k < c.dims.size(); ++k) {
    require_small(repeats.i[k]);
    size.insert(size.end(), {repeats.i[k], c.dims[k]});
    stride.insert(stride.end(), {0, dense[k]});
    dims.push_back(repeats.i[k] * c.dims[k]);
  }
  Constant out = gather_strided(c, size, stride, 0, limit);
  out.dims = dims;
  return out;
}

bool compares(const std::string& op) {
  return op == "Equal" || op == "Less" || op == "Greater" || op == "LessOrEqual" || op == "GreaterOrEqual" ||
         op == "And" || op == "Or";
}

Constant compared(const Node& node, const Constant& a, const Constant& b, std::int64_t limit) {
  const Dims dims = joint_dims(a.dims, b.dims);
  const Constant x = spread(a, dims, limit), y = spread(b, dims, limit);
  Constant out;
  out.dims = dims;
  out.is_float = false;
  const std::string& op = node.op;
  for (std::size_t k = 0; k < static_cast<std::size_t>(x.size()); ++k) {
    const double p = x.at(k), q = y.at(k);
    out.i.push_back(op == "Equal"            ? p == q
                    : op == "Less"           ? p < q
                    : op == "Greater"        ? p > q
                    : op == "LessOrEqual"    ? p <= q
                    : op == "GreaterOrEqual" ? p >= q
                    : op == "And"            ? p != 0 && q != 0
                                             : p != 0 || q != 0);
  }
  return out;
}

Constant chosen(const Constant& mask, const Constant& a, const Constant& b, std::int64_t limit) {
  if (a.is_float != b.is_float) throw Unsupported("chooses between constants of different kinds");
  const Dims dims = joint_dims(joint_dims(mask.dims, a.dims), b.dims);
  const Constant m = spread(mask, dims, limit), x = spread(a, dims, limit), y = spread(b, dims, limit);
  Constant out = like(a, dims);
  for (std::size_t k = 0; k < static_cast<std::size_t>(m.size()); ++k) push(out, m.at(k) != 0 ? x : y, k);
  return out;
}

Constant range(const Constant& from, const Constant& to, const Constant& step, std::int64_t limit) {
  for (const Constant* c : {&from, &to, &step})
    if (c->size() != 1 || c->at(0) == static_cast<double>(batch_marker))
      throw Unsupported("has ends that are no scalars");
  const double a = from.at(0), b = to.at(0), s = step.at(0), n = s != 0 ? std::ceil((b - a) / s) : 0;
  if (s == 0 || !(n < 1e9)) throw Unsupported("makes an endless list");
  Constant out = like(from, {std::max<std::int64_t>(0, static_cast<std::int64_t>(n))});
  (void)count(out.dims, limit);
  for (std::int64_t k = 0; k < out.dims[0]; ++k) {
    const double v = a + static_cast<double>(k) * s;
    if (out.is_float)
      out.f.push_back(static_cast<float>(v));
    else
      out.i.push_back(static_cast<std::int64_t>(v));
  }
  return out;
}

// Products, sums and extremes of whole constants, as sizes are computed.
Constant reduced(const Node& node, const Constant& c, Dims axes, std::int64_t limit) {
  const bool keep = node.integer("keepdims", 1) != 0;
  for (std::int64_t& a : axes) a = axis_of(a, c.dims.size());
  if (!axes.empty() && axes.size() != c.dims.size()) throw Unsupported("reduces some dimensions of a constant");
  (void)count(c.dims, limit);
  Constant out = like(c, keep ? Dims(c.dims.size(), 1) : Dims{});
  double v = node.op == "ReduceProd" ? 1 : node.op == "ReduceMax" ? -INFINITY : node.op == "ReduceMin" ? INFINITY : 0;
  for (std::size_t k = 0; k < static_cast<std::size_t>(c.size()); ++k) {
    const double x = c.at(k);
    if (!c.is_float && c.i[k] == batch_marker) throw Unsupported("computes with the batch size");
    v = node.op == "ReduceProd"  ? v * x
        : node.op == "ReduceMax" ? std::max(v, x)
        : node.op == "ReduceMin" ? std::min(v, x)
                                 : v + x;
  }
  if (node.op == "ReduceMean") v /= static_cast<double>(std::max<std::int64_t>(c.size(), 1));
  if (!std::isfinite(v) || (!c.is_float && std::abs(v) > 1e15))
    throw Unsupported("computes a number that is too large");
  if (out.is_float)
    out.f = {static_cast<float>(v)};
  else
    out.i = {static_cast<std::int64_t>(v)};
  return out;
}

// (x - zero point) times scale, one of each or one along an axis.
Constant dequantised(const Node& node, const Constant& x, const Constant& scale, const Constant* zero) {
  std::int64_t inner = 1;
  const std::int64_t size = scale.size();
  if (!scale.is_float || size < 1 || (zero != nullptr && zero->size() != size))
    throw Unsupported("has a scale and a zero point of different sizes");
  if (size > 1) {
    const auto axis = static_cast<std::size_t>(axis_of(node.integer("axis", 1), x.dims.size()));
    if (x.dims[axis] != size) throw Unsupported("has " + std::to_string(size) + " scales for shape " + text(x.dims));
    for (std::size_t k = axis + 1; k < x.dims.size(); ++k) inner *= x.dims[k];
  }
  Constant out;
  out.dims = x.dims;
  for (std::int64_t k = 0; k < x.size(); ++k) {
    const auto at = static_cast<std::size_t>(size > 1 ? k / inner % size : 0);
    const double z = zero != nullptr ? zero->at(at) : 0;
    out.f.push_back(static_cast<float>((x.at(static_cast<std::size_t>(k)) - z) * scale.at(at)));
  }
  return out;
}

// Operators on constants that exporters compute shapes and masks with, beside the ones below.
std::optional<Constant> more_values(const Node& node, const std::vector<const Constant*>& in, std::int64_t limit) {
  const std::string& op = node.op;
  const auto input = [&](std::size_t k) -> const Constant& {
    if (k >= in.size() || in[k] == nullptr) throw Unsupported("lacks an input");
    return *in[k];
  };
  if (op == "Expand") return expanded(input(0), input(1).i, limit);
  if (op == "Tile") return tiled(input(0), input(1), limit);
  if (op == "Where") return chosen(input(0), input(1), input(2), limit);
  if (op == "Range") return range(input(0), input(1), input(2), limit);
  if (compares(op)) return compared(node, input(0), input(1), limit);
  if (op == "DequantizeLinear") return dequantised(node, input(0), input(1), in.size() > 2 ? in[2] : nullptr);
  if (op.starts_with("Reduce") &&
      (op == "ReduceProd" || op == "ReduceSum" || op == "ReduceMax" || op == "ReduceMin" || op == "ReduceMean"))
    return reduced(node, input(0), in.size() > 1 && in[1] != nullptr ? in[1]->i : node.integers("axes"), limit);
  if (op == "Min" || op == "Max") {
    const Dims dims = joint_dims(input(0).dims, input(1).dims);
    const Constant a = spread(input(0), dims, limit), b = spread(input(1), dims, limit);
    if (in.size() != 2 || a.is_float != b.is_float) throw Unsupported("compares other than two constants of one kind");
    Constant out = like(a, dims);
    for (std::size_t k = 0; k < static_cast<std::size_t>(a.size()); ++k)
      push(out, (a.at(k) < b.at(k)) == (op == "Min") ? a : b, k);
    return out;
  }
  if (op == "Not") {
    Constant out = input(0);
    for (std::int64_t& v : out.i) v = v == 0;
    return out;
  }
  if (op == "Log" || op == "Abs" || op == "Tanh" || op == "Sigmoid" || op == "Softplus") {
    Constant out = input(0);
    if (!out.is_float) throw Unsupported("computes with whole numbers");
    for (float& v : out.f)
      v = op == "Log"        ? std::log(v)
          : op == "Abs"      ? std::abs(v)
          : op == "Tanh"     ? std::tanh(v)
          : op == "Softplus" ? std::log1p(std::exp(v))
                             : 1 / (1 + std::exp(-v));
    return out;
  }
  return std::nullopt;
}

Constant value_of(const Node& node, const std::vector<const Constant*>& in, std::int64_t opset, std::int64_t limit) {
  const std::string& op = node.op;
  const auto input = [&](std::size_t k) -> const Constant& {
    if (k >= in.size() || in[k] == nullptr) throw Unsupported("lacks an input");
    return *in[k];
  };
  (void)count(input(0).dims, limit);
  if (op == "Identity" || op == "Dropout") return input(0);
  if (std::optional<Constant> value = more_values(node, in, limit)) return std::move(*value);
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
    out.dims = sizes_of(input(0).i);
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
