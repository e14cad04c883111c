// Ops and their classes. An op's author writes the few primitives of its class and gets every rule; a rule's author
// writes one function per class and gets every op: N + M functions, never N x M.
//
// Ops are stateless: attributes (stride, padding), never activations. They live in the graph's arena and are never
// destroyed. All work on memory goes through the kernel table of the Context, so that a dry run with a table that does
// nothing measures the memory a run will need (core/measure.h).
#pragma once

#include <span>

#include "core/layout.h"

namespace vitrine {

enum class OpClass : std::uint8_t {
  affine,     ///< z = A x + b in each input: conv, linear, average pool, add, batch norm in evaluation
  pointwise,  ///< y_i = f(x_i)
  gate,       ///< y_i = g_i x_i, with a gate g that is made from the whole map of x: templates around peaks
  route,      ///< each output is one chosen input: max pool
  view,  ///< moves or repeats elements, changes none: concat, flatten, pad, nearest upsampling, dropout in evaluation
  product,  ///< elementwise product of two inputs: gates, masks
  custom,   ///< none of these: softmax, LRN; has its own derivative, and other rules only if it says so
};

const char* name(OpClass) noexcept;

/// What a backward step reads of the forward run, beside parameters. The planner keeps only that.
struct Need {
  bool in = false, out = false, aux = false;
  friend constexpr Need operator|(Need a, Need b) noexcept { return {a.in || b.in, a.out || b.out, a.aux || b.aux}; }
};

/// The residual sum and ReLU of later nodes, done by an op before it stores its result (Op::takes_epilogue):
/// out = relu(result + residual). core/plan/epilogue.cpp decides where.
struct Epilogue {
  TensorView residual{};  ///< of the result's shape; without data: none
  bool relu = false;
};

/// One node in one run: its operands, its result and its private record, stored where the plan says.
struct NodeIO {
  std::span<const TensorView> in, par;
  TensorView out;
  void* aux = nullptr;     ///< what forward notes for the backward step (the winners of a max pool)
  std::uint32_t node = 0;  ///< index in the graph, from which an op derives its own random stream
  Epilogue epilogue{};     ///< read by forward only
};

/// Where an op with an epilogue writes its own result: to `out`, added to the residual if there is one.
Sink epilogue_start(const Context&, const NodeIO&) noexcept;

/// Which positions of its input an op's output reads, along one axis: position i reads i*step - before up to i*step -
/// before + size - 1. `step` is below 1 if the op enlarges its input. `whole`: every output reads the whole input.
struct Field {
  float size = 1, step = 1, before = 0;
  bool whole = false;

  /// The field of a window of `kernel` taps, `dilation` apart: convolutions and pools.
  static constexpr Field window(std::int32_t kernel, std::int32_t dilation, std::int32_t stride,
                                std::int32_t padding) noexcept {
    return {static_cast<float>(dilation) * static_cast<float>(kernel - 1) + 1, static_cast<float>(stride),
            static_cast<float>(padding), false};
  }
};

/// What an op's result is if the op turns scores into probabilities.
enum class Scores : std::uint8_t {
  none,
  probabilities,      ///< of classes, with a sum of 1: softmax
  log_probabilities,  ///< their logarithms
  each_probability,   ///< one per element: sigmoid
};

/// What training, saved models and reports need to know of an op beyond its class. Nothing goes by an op's name.
struct OpTraits {
  bool random = false;        ///< draws random numbers in training: two forward runs differ (dropout)
  bool normaliser = false;    ///< its untrainable parameters are running statistics of what it sees (batch norm)
  bool part_filters = false;  ///< an InterpretableFilters: its parameters follow the classes of the images
  Scores scores = Scores::none;
};

/// Visits an op's attributes, so that they are saved, loaded and printed without knowing the op.
class AttributeVisitor {
 public:
  virtual void operator()(const char* key, std::int32_t& value) noexcept = 0;
  virtual void operator()(const char* key, float& value) noexcept = 0;
  virtual void operator()(const char* key, bool& value) noexcept = 0;

 protected:
  ~AttributeVisitor() = default;
};

class Op {
 public:
  virtual OpClass op_class() const noexcept = 0;
  virtual OpTraits traits() const noexcept { return {}; }
  virtual const char* name() const noexcept = 0;  ///< "conv2d": the name in files and messages
  virtual void attributes(AttributeVisitor&) noexcept {}

  /// Shape of the result for these operands (batch size 1 or more), and bytes of aux a run needs for it. Checks
  /// everything that forward and vjp rely on; they check nothing again.
  virtual Status infer(const Context&, std::span<const Shape> in, std::span<const Shape> par, Shape& out,
                       std::size_t& aux_bytes) const noexcept = 0;
  virtual Status forward(const Context&, const NodeIO&) const noexcept = 0;
  /// d_in[k] (+)= J_k^T d_out and d_par[k] (+)= likewise; sinks without data are not wanted.
  virtual Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
                     std::span<const Sink> d_par) const noexcept = 0;
  /// What each output reads of an input along height (axis 2) or width (axis 3). By default the same place, or all of
  /// it where the sizes differ. Channels are not looked at. See core/geometry.h.
  virtual Field field(const Shape& in, const Shape& out, std::size_t axis) const noexcept {
    return {1, 1, 0, in.d[axis] != out.d[axis]};
  }
  /// What vjp reads; `parameters`: parameter gradients are wanted too.
  virtual Need vjp_needs(bool parameters) const noexcept = 0;
  /// vjp works in place: an input's signal may be stored over the output's signal, since no element is read after it
  /// is written.
  virtual bool vjp_in_place() const noexcept { return false; }
  /// Layouts that forward, vjp, apply and apply_t take, given the shapes of the first input and the result
  /// (core/layout.h). Asked only if the kernels take interleaved batches at all (Kernels::takes_interleaved).
  virtual Layouts layouts(const Context&, const Shape& /*in*/, const Shape& /*out*/) const noexcept {
    return Layouts::planar;
  }
  /// forward does the work of NodeIO::epilogue; an op that does not is never given any.
  virtual bool takes_epilogue() const noexcept { return false; }
  /// Which part of an epilogue can replace this op: none, the sum (of its two inputs), or the ReLU.
  enum class EpilogueRole : std::uint8_t { none, sum, relu };
  virtual EpilogueRole epilogue_role() const noexcept { return EpilogueRole::none; }

 protected:
  constexpr Op() noexcept = default;
  ~Op() = default;
};

/// Substitutions for one pass through an affine op: which function of input, weight and bias takes part.
struct Row {
  Substitute x, w, bias;
  bool exact = false;                      ///< the result is divided by where it may be small: kernels::ConvArgs::exact
  kernels::KnownDifference<real> known{};  ///< what is known of the result; ops need not look at it
};
inline constexpr Substitute raw_part{}, positive_part{1, 0}, negative_part{0, 1}, nothing{0, 0};
inline constexpr Substitute squared{1, 1, Substitute::square}, ones{1, 1, Substitute::one};

/// What an affine op's matrix is made of: composites and DeepLIFT go by it.
enum class Weights : std::uint8_t {
  fixed,     ///< constants of no negative sign: average pool, add, bilinear upsampling
  diagonal,  ///< one factor of any sign and one shift per element: batch norm, scale
  spatial,   ///< kernels of any signs, and a bias: convolutions
  dense,     ///< a matrix of any signs, and a bias: linear layers
};

class AffineOp : public Op {
 public:
  OpClass op_class() const noexcept final { return OpClass::affine; }

  /// z (+)= A(row.w) row.x(x) + row.bias(b), for any x of the inputs' shapes (the forward inputs are x = io.in).
  virtual Status apply(const Context&, const NodeIO&, std::span<const TensorView> x, const Row&,
                       const Sink& z) const noexcept = 0;
  /// c (+)= A(w)^T s, the part of input k. By adjointness <apply x, s> = <x, apply_t s> for every substitution w.
  virtual Status apply_t(const Context&, const NodeIO&, Substitute w, const TensorView& s, std::size_t k,
                         const Sink& c) const noexcept = 0;
  /// d_par (+)= gradient by the parameters; nothing for ops without any.
  virtual Status parameter_gradient(const Context&, const NodeIO&, const TensorView&,
                                    std::span<const Sink>) const noexcept {
    return Status::ok;
  }
  /// Whether apply and apply_t know this substitution of the weights.
  virtual bool accepts(Substitute) const noexcept { return true; }
  virtual Weights weights() const noexcept { return Weights::fixed; }
  /// Sums products of different inputs with weights of any sign: composites give these ops their rules.
  bool mixes() const noexcept { return weights() == Weights::spatial || weights() == Weights::dense; }
  /// The output channel that element k of the weight (the first parameter) contributes to.
  virtual std::int64_t output_channel(const Shape& weight, std::int64_t k) const noexcept {
    return k / weight.per_image();
  }
  bool has_bias() const noexcept { return weights() != Weights::fixed; }

  Status forward(const Context& ctx, const NodeIO& io) const noexcept override {
    return apply(ctx, io, io.in, {}, {io.out, false});
  }
  Status vjp(const Context&, const NodeIO&, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink> d_par) const noexcept override;
  Need vjp_needs(bool parameters) const noexcept override { return {parameters && has_bias(), false, false}; }

 protected:
  ~AffineOp() = default;
};

/// One input, an output of its shape, and a derivative per element: pointwise ops and gates.
class ActivationOp : public Op {
 public:
  /// y = f(x) at any points; of the node, only its parameters are read.
  virtual Status evaluate(const Context&, const NodeIO&, const TensorView& x, const TensorView& y) const noexcept = 0;
  /// d (+)= f'(x) * s, given x and y = f(x).
  virtual Status slope(const Context&, const NodeIO&, const TensorView& x, const TensorView& y, const TensorView& s,
                       const Sink& d) const noexcept = 0;

  Status forward(const Context& ctx, const NodeIO& io) const noexcept override {
    return evaluate(ctx, io, io.in[0], io.out);
  }
  Status vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink>) const noexcept override {
    return d_in[0] ? slope(ctx, io, io.in[0], io.out, d_out, d_in[0]) : Status::ok;
  }

 protected:
  ~ActivationOp() = default;
};

class PointwiseOp : public ActivationOp {
 public:
  OpClass op_class() const noexcept final { return OpClass::pointwise; }

  /// Passes positive inputs unchanged and stops others: what deconvnet and guided backprop are defined on.
  virtual bool rectifier() const noexcept { return false; }
  /// No output is negative.
  virtual bool nonnegative() const noexcept { return rectifier(); }

  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape>, Shape& out,
               std::size_t& aux) const noexcept override {
    out = in[0];
    aux = 0;
    return Status::ok;
  }

 protected:
  ~PointwiseOp() = default;
};

/// y_i = g_i x_i. The gate g is made from the whole map of x and is constant almost everywhere (a mask at the map's
/// peak): its derivative is the gate, relevance passes it unchanged, and reversed networks pass it as the gradient
/// does. No gate is negative.
class GateOp : public ActivationOp {
 public:
  OpClass op_class() const noexcept final { return OpClass::gate; }

  /// y (+)= g(x) s. With s = x it is the forward run, with a signal the derivative. Of the node, only its parameters
  /// are read.
  virtual Status gate(const Context&, const NodeIO&, const TensorView& x, const TensorView& s,
                      const Sink& y) const noexcept = 0;

  Status evaluate(const Context& ctx, const NodeIO& io, const TensorView& x, const TensorView& y) const noexcept final {
    return gate(ctx, io, x, x, {y, false});
  }
  Status slope(const Context& ctx, const NodeIO& io, const TensorView& x, const TensorView&, const TensorView& s,
               const Sink& d) const noexcept final {
    return gate(ctx, io, x, s, d);
  }
  Need vjp_needs(bool) const noexcept override { return {true, false, false}; }

 protected:
  ~GateOp() = default;
};

/// Whether the op is an ActivationOp.
inline bool is_activation(const Op& op) noexcept {
  return op.op_class() == OpClass::pointwise || op.op_class() == OpClass::gate;
}

class RouteOp : public Op {
 public:
  OpClass op_class() const noexcept final { return OpClass::route; }

  /// y = x at the chosen places of this run (any x of the input's shape).
  virtual Status gather(const Context&, const NodeIO&, const TensorView& x, const TensorView& y) const noexcept = 0;
  /// d (+)= s put back to the chosen places; where windows overlap, they add.
  virtual Status scatter(const Context&, const NodeIO&, const TensorView& s, const Sink& d) const noexcept = 0;

  Status vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink>) const noexcept override {
    return d_in[0] ? scatter(ctx, io, d_out, d_in[0]) : Status::ok;
  }
  Need vjp_needs(bool) const noexcept override { return {false, false, true}; }

 protected:
  ~RouteOp() = default;
};

/// Views are linear and carry every signal alike, so their vjp serves all rules.
class ViewOp : public Op {
 public:
  OpClass op_class() const noexcept final { return OpClass::view; }
  Need vjp_needs(bool) const noexcept override { return {}; }

 protected:
  ~ViewOp() = default;
};

/// y = a * b. The second factor's sizes are the first's, or 1 where it is broadcast.
class ProductOp : public Op {
 public:
  OpClass op_class() const noexcept final { return OpClass::product; }

  /// The factor that only opens and closes (a gate, a mask), for which no relevance is meant: 0 or 1; -1 if neither is
  /// one.
  virtual int gate() const noexcept = 0;
  /// d (+)= s * other, summed over where factor k was broadcast; `other` has the other factor's shape. Without data:
  /// all ones.
  virtual Status partial(const Context&, const NodeIO&, const TensorView& s, const TensorView& other, std::size_t k,
                         const Sink& d) const noexcept = 0;

  Status vjp(const Context& ctx, const NodeIO& io, const TensorView& d_out, std::span<const Sink> d_in,
             std::span<const Sink>) const noexcept override {
    for (std::size_t k = 0; k < 2; ++k)
      if (d_in[k]) VITRINE_TRY(partial(ctx, io, d_out, io.in[1 - k], k, d_in[k]));
    return Status::ok;
  }
  Need vjp_needs(bool) const noexcept override { return {true, false, false}; }

 protected:
  ~ProductOp() = default;
};

class CustomOp : public Op {
 public:
  OpClass op_class() const noexcept final { return OpClass::custom; }

  /// Relevance and reversed signals pass it unchanged (then it has one input, of the output's shape); else LRP,
  /// deconvnet and guided backprop refuse it.
  virtual bool passes() const noexcept { return false; }
  /// It has DeepLIFT multipliers; else DeepLIFT refuses it.
  virtual bool has_multipliers() const noexcept { return false; }
  /// d_in (+)= multipliers of the inputs from those of the output, so that m (x - x0) sums up to m_out (y - y0).
  virtual Status multipliers(const Context& ctx, const NodeIO&, const NodeIO& /*reference*/, const TensorView& /*m*/,
                             std::span<const Sink>) const noexcept {
    return ctx.fail(Status::no_rule, "has no multipliers");
  }

 protected:
  ~CustomOp() = default;
};

}  // namespace vitrine
