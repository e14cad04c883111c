// Exporters write activations that their opset lacks as sub-graphs, each in its own way (x * (1 + erf(x/sqrt 2)) * 0.5,
// 0.5 x * (...), ...). What they have in common is the function, so that is what is compared.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "models/onnx/reader.h"

namespace vitrine::onnx {
namespace {

constexpr std::size_t grid_size = 49, region_limit = 16;
using Values = std::array<double, grid_size>;

double grid(std::size_t k) { return -6 + 0.25 * static_cast<double>(k) + 0.01; }  // off the kinks

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Known {
  Activation activation;
  double (*f)(double);
};

const Known known[] = {
    {{"silu"}, [](double x) { return x * sigmoid(x); }},
    {{"gelu"}, [](double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }},
    {{"gelu_tanh"}, [](double x) { return x * sigmoid(1.5957691216057308 * x * (1 + 0.044715 * x * x)); }},
    {{"hard_swish"}, [](double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }},
    {{"hard_sigmoid", 1.0f / 6, 0.5f}, [](double x) { return std::clamp(x / 6 + 0.5, 0.0, 1.0); }},
};

bool elementwise(const std::string& op) {
  for (const char* known_op :
       {"Add", "Sub", "Mul", "Div", "Pow", "Erf", "Tanh", "Sigmoid", "HardSigmoid", "Clip", "Neg", "Softplus", "Where",
        "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Log", "Exp"})
    if (op == known_op) return true;
  return false;
}

class Region {
 public:
  Region(const std::vector<Node>& nodes, const std::map<std::string, std::size_t>& producer,
         const std::map<std::string, Constant>& scalars)
      : nodes_(nodes), producer_(producer), scalars_(scalars) {}

  // The nodes between one tensor and node `last`, and the function they compute, if it is known.
  std::optional<Activation> match(std::size_t last) {
    inside_ = {last};
    while (inside_.size() <= region_limit) {
      std::set<std::string> frontier;
      for (const std::size_t i : inside_)
        for (const std::string& in : nodes_[i].in)
          if (!in.empty() && !scalars_.contains(in) && !made_inside(in)) frontier.insert(in);
      if (frontier.empty()) return std::nullopt;
      if (frontier.size() == 1 && inside_.size() > 1) {
        root_ = *frontier.begin();
        if (nodes_[last].op == "Where" || compare(last, grid_size / 2))  // a few points say no for most
          if (const auto found = compare(last, 1)) return found;
      }
      // Take in the latest producer: a tensor that several nodes read is reached only when all its readers are inside.
      std::optional<std::size_t> next;
      for (const std::string& name : frontier)
        if (const auto p = producer_.find(name);
            p != producer_.end() && elementwise(nodes_[p->second].op) && (!next || p->second > *next))
          next = p->second;
      if (!next) return std::nullopt;
      inside_.insert(*next);
    }
    return std::nullopt;
  }

  const std::string& root() const { return root_; }

 private:
  bool made_inside(const std::string& name) const {
    const auto p = producer_.find(name);
    return p != producer_.end() && inside_.contains(p->second);
  }

  // The known function that this one equals at every `step`-th point of the grid.
  std::optional<Activation> compare(std::size_t last, std::size_t step) const {
    std::map<std::string, Values> values;
    for (std::size_t k = 0; k < grid_size; k += step) values[root_][k] = grid(k);
    for (const std::size_t i : inside_) {  // in order
      const Node& node = nodes_[i];
      if (node.out.size() != 1) return std::nullopt;
      Values& out = values[node.out[0]];
      for (std::size_t k = 0; k < grid_size; k += step) {
        const auto in = [&](std::size_t j) {
          if (!node.has(j)) return std::nan("");
          const auto s = scalars_.find(node.in[j]);
          return s != scalars_.end() ? s->second.at(0) : values.at(node.in[j])[k];
        };
        const std::string& op = node.op;
        const double x = in(0);
        out[k] = op == "Add"              ? x + in(1)
                 : op == "Sub"            ? x - in(1)
                 : op == "Mul"            ? x * in(1)
                 : op == "Div"            ? x / in(1)
                 : op == "Pow"            ? std::pow(x, in(1))
                 : op == "Erf"            ? std::erf(x)
                 : op == "Tanh"           ? std::tanh(x)
                 : op == "Sigmoid"        ? sigmoid(x)
                 : op == "Neg"            ? -x
                 : op == "Softplus"       ? std::log1p(std::exp(x))
                 : op == "Where"          ? (x != 0 ? in(1) : in(2))
                 : op == "Greater"        ? static_cast<double>(x > in(1))
                 : op == "Less"           ? static_cast<double>(x < in(1))
                 : op == "Log"            ? std::log(x)
                 : op == "Exp"            ? std::exp(x)
                 : op == "GreaterOrEqual" ? static_cast<double>(x >= in(1))
                 : op == "LessOrEqual"    ? static_cast<double>(x <= in(1))
                 : op == "HardSigmoid"
                     ? std::clamp(static_cast<double>(node.number("alpha", 0.2f)) * x +
                                      static_cast<double>(node.number("beta", 0.5f)),
                                  0.0, 1.0)
                     : std::clamp(x, node.has(1) ? in(1) : static_cast<double>(node.number("min", -3.4e38f)),
                                  node.has(2) ? in(2) : static_cast<double>(node.number("max", 3.4e38f)));
      }
    }
    const Values& y = values.at(nodes_[last].out[0]);
    for (const Known& candidate : known) {
      bool same = true;
      for (std::size_t k = 0; k < grid_size && same; k += step)
        same = std::abs(y[k] - candidate.f(grid(k))) < 2e-5 * (1 + std::abs(grid(k)));
      if (same) return candidate.activation;
    }
    return softplus(y, step);
  }

  // log(1 + e^(beta x))/beta for some beta, which is what its value at the point next to 0 says.
  static std::optional<Activation> softplus(const Values& y, std::size_t step) {
    const std::size_t middle = grid_size / 2;
    if (step != 1 || !(y[middle] > 0)) return std::nullopt;
    const auto f = [](double x, double beta) {
      return std::log1p(std::exp(-std::abs(beta * x))) / beta + std::max(x, 0.0);
    };
    double low = 1e-2, high = 1e2;  // the value falls as beta grows
    for (int k = 0; k < 100; ++k) {
      const double beta = std::sqrt(low * high);
      (f(grid(middle), beta) > y[middle] ? low : high) = beta;
    }
    for (std::size_t k = 0; k < grid_size; ++k)
      if (!(std::abs(y[k] - f(grid(k), low)) < 2e-5 * (1 + std::abs(grid(k))))) return std::nullopt;
    const double whole = std::round(low);
    const bool near = std::abs(low - whole) < 1e-5 * whole;
    return Activation{"softplus", static_cast<float>(near ? whole : low)};
  }

  const std::vector<Node>& nodes_;
  const std::map<std::string, std::size_t>& producer_;
  const std::map<std::string, Constant>& scalars_;
  std::set<std::size_t> inside_;
  std::string root_;
};

}  // namespace

void recognise_activations(std::vector<Node>& nodes, const std::map<std::string, Constant>& scalars,
                           const std::set<std::string>& outputs) {
  std::map<std::string, std::size_t> producer;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (const std::string& out : nodes[i].out)
      if (!out.empty()) producer[out] = i;
  // Later nodes first, so that the whole of an activation is found before a part of it.
  for (std::size_t i = nodes.size(); i-- > 0;) {
    if (nodes[i].op != "Mul" && nodes[i].op != "Div" && nodes[i].op != "Where") continue;
    Region region(nodes, producer, scalars);
    const auto found = region.match(i);
    if (!found) continue;
    nodes[i].op = std::string("vitrine.") + found->op;
    nodes[i].a = found->a;
    nodes[i].in = {region.root()};
    nodes[i].proto = nullptr;
  }
  // What nobody reads any more goes.
  std::set<std::string> read = outputs;
  std::vector<Node> kept;
  for (std::size_t i = nodes.size(); i-- > 0;) {
    const Node& node = nodes[i];
    if (std::none_of(node.out.begin(), node.out.end(), [&](const std::string& o) { return read.contains(o); }))
      continue;
    read.insert(node.in.begin(), node.in.end());
    kept.push_back(std::move(nodes[i]));
  }
  nodes.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
}

}  // namespace vitrine::onnx
