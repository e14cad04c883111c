#include "interp/runs/windows.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "interp/runs/batch_size.h"
#include "models/rewrite.h"

namespace vitrine {
namespace {

// One axis of a value in the network of crops. Positions are those of the windows.
struct AxisCrop {
  std::int32_t size = 0;               // of the tensor
  std::vector<std::int32_t> origin;    // where it begins in the whole map
  std::vector<std::int32_t> from, to;  // the places that differ from the image's own map, in the whole map
  bool same_place(const AxisCrop& o) const { return size == o.size && origin == o.origin; }
};
struct Crop {
  bool whole = false;
  std::array<AxisCrop, 2> axes;
};

// What patches need of the batch that runs.
struct Batch {
  std::int32_t first = 0, columns = 1;
};

// The image's own map, cut to each window's crop, with what has changed laid over it.
class Patch final : public CustomOp {
 public:
  Patch(const Crop* from, const Crop* to, const TensorView* own, const Batch* batch) noexcept
      : from_(from), to_(to), own_(own), batch_(batch) {}
  const char* name() const noexcept override { return "patch"; }
  Status infer(const Context&, std::span<const Shape> in, std::span<const Shape>, Shape& out,
               std::size_t& aux) const noexcept override {
    out = in[0];
    out.d[2] = to_->axes[0].size;
    out.d[3] = to_->axes[1].size;
    aux = 0;
    return Status::ok;
  }
  Status forward(const Context& ctx, const NodeIO& io) const noexcept override {
    const TensorView &x = io.in[0], &y = io.out;
    if (!*own_) return Status::ok;  // there is no image yet: the dry run of a plan, which must touch nothing
    ctx.ranges(std::int64_t{y.shape.n()} * y.shape.c(), 1, [&](std::int64_t begin, std::int64_t end) noexcept {
      for (std::int64_t plane = begin; plane < end; ++plane) {
        const auto window = static_cast<std::int32_t>(plane / y.shape.c()) + batch_->first;
        const auto row = static_cast<std::size_t>(window / batch_->columns),
                   column = static_cast<std::size_t>(window % batch_->columns);
        const real* const own = own_->data + plane % y.shape.c() * own_->shape.pixels();
        const Place down = place(0, row), across = place(1, column);
        real* const to = y.data + plane * y.shape.pixels();
        for (std::int32_t i = 0; i < y.shape.h(); ++i)
          std::memcpy(to + i * y.shape.w(), own + (down.to + i) * own_->shape.w() + across.to,
                      static_cast<std::size_t>(y.shape.w()) * sizeof(real));
        const real* const changed = x.data + plane * x.shape.pixels();
        if (across.begin < across.end)
          for (std::int32_t i = down.begin; i < down.end; ++i)
            std::memcpy(to + (i - down.to) * y.shape.w() + across.begin - across.to,
                        changed + (i - down.from) * x.shape.w() + across.begin - across.from,
                        static_cast<std::size_t>(across.end - across.begin) * sizeof(real));
      }
    });
    return Status::ok;
  }
  Status vjp(const Context& ctx, const NodeIO&, const TensorView&, std::span<const Sink>,
             std::span<const Sink>) const noexcept override {
    return ctx.fail(Status::no_rule, "runs forward only");
  }
  Need vjp_needs(bool) const noexcept override { return {}; }

 private:
  // Origins of the crops, and the changed places that both hold.
  struct Place {
    std::int32_t from, to, begin, end;
  };
  Place place(std::size_t axis, std::size_t position) const noexcept {
    const AxisCrop &from = from_->axes[axis], &to = to_->axes[axis];
    const std::int32_t origin = to.origin[position];
    return {from.origin[position], origin, std::max(from.from[position], origin),
            std::min(from.to[position], origin + to.size)};
  }

  const Crop *from_, *to_;
  const TensorView* own_;
  const Batch* batch_;
};

// Fields in whole numbers; none where an op reads everything, enlarges, or does not treat all places alike.
struct WholeField {
  std::int32_t size, step, before;
};
std::optional<WholeField> local_field(const Graph& g, const Node& node, std::size_t axis) {
  if (node.op->op_class() == OpClass::gate) return {};
  const Shape in = g.shape(node.in[0]), out = g.shape(node.out);
  const Field f = node.op->field(in, out, axis);
  const auto whole = [](float v) { return v == std::floor(v); };
  if (f.whole || f.step < 1 || !whole(f.size) || !whole(f.step) || !whole(f.before)) return {};
  const WholeField w{static_cast<std::int32_t>(f.size), static_cast<std::int32_t>(f.step),
                     static_cast<std::int32_t>(f.before)};
  // An input shorter by a step gives an output shorter by a place, and changes nothing else.
  std::vector<Shape> shorter, parameters;
  for (const Id v : node.in) {
    Shape s = g.shape(v);
    if (s.d[axis] != in.d[axis] || s.d[axis] <= w.step) return {};
    s.d[axis] -= w.step;
    shorter.push_back(s);
  }
  for (const Id p : node.par) parameters.push_back(g.shape(p));
  Shape got{}, expected = out;
  std::size_t aux = 0;
  expected.d[axis] -= 1;
  if (node.op->infer({}, shorter, parameters, got, aux) != Status::ok || got != expected) return {};
  return w;
}

// A node's crops along one axis: what of its output changes, which crop of its inputs it needs, and which crop of its
// output it then makes.
struct NodeAxis {
  AxisCrop in, out;
};
NodeAxis node_axis(const std::vector<const AxisCrop*>& inputs, const WholeField& f, std::int32_t in_size,
                   std::int32_t out_size) {
  NodeAxis n;
  const std::size_t positions = inputs[0]->origin.size();
  std::int32_t most = 1;
  for (std::size_t i = 0; i < positions; ++i) {
    std::int32_t from = in_size, to = 0;
    for (const AxisCrop* c : inputs) {
      if (c->from[i] >= c->to[i]) continue;
      from = std::min(from, c->from[i]);
      to = std::max(to, c->to[i]);
    }
    // Output j reads [j step - before, j step - before + size).
    const auto floor_div = [](std::int32_t a, std::int32_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); };
    const std::int32_t first = from < to ? std::clamp(floor_div(from + f.before - f.size, f.step) + 1, 0, out_size) : 0;
    const std::int32_t last = from < to ? std::clamp(floor_div(to - 1 + f.before, f.step) + 1, first, out_size) : 0;
    n.out.from.push_back(first);
    n.out.to.push_back(last);
    most = std::max(most, last - first);
  }
  // The crop begins at a whole number of steps before what is needed, so that its outputs are outputs of the whole, and
  // ends there or where the map ends. Outputs near a cut see padding instead of places, and nobody reads them.
  const std::int32_t lead = (f.before + f.step - 1) / f.step;
  std::int32_t size = (most - 1) * f.step + f.size - f.before + f.step * lead;
  size += ((in_size - size) % f.step + f.step) % f.step;
  n.in.size = std::min(size, in_size);
  n.out.size = out_size - (in_size - n.in.size) / f.step;
  for (std::size_t i = 0; i < positions; ++i) {
    const std::int32_t origin = std::clamp(f.step * (n.out.from[i] - lead), 0, in_size - n.in.size);
    n.in.origin.push_back(origin);
    n.out.origin.push_back(origin / f.step);
  }
  return n;
}

double multiplications(const Graph& g, const Node& node, double pixels) {
  double each = static_cast<double>(g.shape(node.out).c());
  if (node.op->op_class() == OpClass::affine && static_cast<const AffineOp&>(*node.op).mixes())
    each = static_cast<double>(g.shape(node.par[0]).size());
  return each * pixels;
}

}  // namespace

struct WindowedRuns::Crops {
  Shape image;
  Batch batch;
  std::vector<Crop> made;                     // a value of the network: what the crop network makes for it
  std::vector<std::unique_ptr<Crop>> needed;  // of patches
  std::vector<TensorView> own;                // a value: the image's own map
  Model model;
  Id value = no_id, whole_value = no_id;  // in this network, in the whole one
  std::vector<Id> kept;
  std::unique_ptr<Session> base, session;
  std::vector<real> input;
};

WindowedRuns::WindowedRuns() : crops_(std::make_unique<Crops>()) {}
WindowedRuns::~WindowedRuns() = default;

std::int32_t WindowedRuns::batch() const noexcept { return crops_->session->plan().request.batch; }

const Session& WindowedRuns::session() const noexcept { return *crops_->session; }

// Makes the network of crops, node by node.
class WindowedRuns::CropBuilder {
 public:
  CropBuilder(const Model& model, const WindowAxis& rows, const WindowAxis& columns, Id value, Crops& crops)
      : model_(model), g_(model.graph()), value_(value), c_(crops) {
    c_.image = model.image_shape();
    c_.batch.columns = static_cast<std::int32_t>(columns.first.size());
    c_.made.resize(g_.values.size());
    c_.own.resize(g_.values.size());
    // The input: crops as large as the largest window.
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const WindowAxis& w = axis == 0 ? rows : columns;
      AxisCrop& a = input().axes[axis];
      a.from = w.first;
      a.to = w.last;
      for (std::size_t i = 0; i < w.first.size(); ++i) a.size = std::max(a.size, w.last[i] - w.first[i]);
      for (const std::int32_t first : w.first) a.origin.push_back(std::min(first, c_.image.d[2 + axis] - a.size));
    }
  }

  void build() {
    const Shape crop{1, c_.image.c(), input().axes[0].size, input().axes[1].size};
    c_.model = Model(model_.architecture, crop, [&](GraphBuilder& b, Id x) {
      Rewriter r(model_, b, x);
      for (Id i = 0; i < g_.nodes.size() && b.ok(); ++i) add_node(b, r, i);
      return r.now(g_.output);
    });
    // All nodes are there in the same order, so the parameters have the same places, and are the network's own.
    c_.model.parameters = {};
  }

  /// Multiplications of the network of crops and of the whole one.
  double some() const noexcept { return some_; }
  double all() const noexcept { return all_; }

 private:
  struct NodeCrops {
    bool local = false;     ///< the node runs on crops
    bool in_place = false;  ///< its inputs' crops go on as they are
    std::array<AxisCrop, 2> in;
    Crop out;
  };

  Crop& input() noexcept { return c_.made[g_.input]; }

  std::unique_ptr<Crop> whole_map(Id v) {
    auto crop = std::make_unique<Crop>();
    crop->whole = true;
    for (std::size_t axis = 0; axis < 2; ++axis) {
      AxisCrop& a = crop->axes[axis];
      const std::size_t positions = input().axes[axis].origin.size();
      a.size = g_.shape(v).d[2 + axis];
      a.origin.assign(positions, 0);
      a.from.assign(positions, 0);
      a.to.assign(positions, a.size);
    }
    return crop;
  }

  NodeCrops crops_of(const Node& node) {
    constexpr double whole_from = 0.6;  // a share of a map's places: from there on the whole map is no slower
    NodeCrops n;
    const std::array<std::optional<WholeField>, 2> fields{local_field(g_, node, 2), local_field(g_, node, 3)};
    bool local = fields[0] && fields[1];
    for (const Id v : node.in) local = local && !c_.made[v].whole;
    if (local) {
      double share = 1;
      n.in_place = true;
      for (std::size_t axis = 0; axis < 2; ++axis) {
        std::vector<const AxisCrop*> inputs;
        for (const Id v : node.in) inputs.push_back(&c_.made[v].axes[axis]);
        const WholeField& f = *fields[axis];
        NodeAxis a = node_axis(inputs, f, g_.shape(node.in[0]).d[2 + axis], g_.shape(node.out).d[2 + axis]);
        // If each place reads itself alone, inputs with equal crops go on as they are.
        n.in_place = n.in_place && f.size == 1 && f.step == 1 && f.before == 0;
        for (const AxisCrop* c : inputs) n.in_place = n.in_place && c->same_place(*inputs[0]);
        n.in[axis] = std::move(a.in);
        n.out.axes[axis] = std::move(a.out);
        share *= static_cast<double>(n.in[axis].size) / g_.shape(node.in[0]).d[2 + axis];
      }
      n.local = n.in_place || share <= whole_from;
    }
    for (std::size_t axis = 0; axis < 2 && n.in_place; ++axis) {
      n.out.axes[axis].size = c_.made[node.in[0]].axes[axis].size;
      n.out.axes[axis].origin = c_.made[node.in[0]].axes[axis].origin;
    }
    if (!n.local) n.out = std::move(*whole_map(node.out));
    return n;
  }

  // From here on, v is the crop `need`, cut and filled up from what is there of v.
  const Crop& patch(GraphBuilder& b, Rewriter& r, Id v, std::unique_ptr<Crop> need) {
    c_.needed.push_back(std::move(need));
    const Crop* const crop = c_.needed.back().get();
    const Id from[] = {r.now(v)};
    r.stands_for(v, b.add(b.make<Patch>(&c_.made[v], crop, &c_.own[v], &c_.batch), from, {}, nullptr));
    return *crop;
  }

  void add_node(GraphBuilder& b, Rewriter& r, Id i) {
    const Node& node = g_.nodes[i];
    NodeCrops n = crops_of(node);
    std::vector<std::pair<Id, Id>> before;  // what stood for the inputs
    for (const Id v : node.in) {
      before.emplace_back(v, r.now(v));
      if (n.local ? n.in_place : c_.made[v].whole) continue;
      if (std::find(c_.kept.begin(), c_.kept.end(), v) == c_.kept.end() && v != g_.input) c_.kept.push_back(v);
      const Crop& need = patch(b, r, v, n.local ? std::make_unique<Crop>(Crop{false, n.in}) : whole_map(v));
      some_ += static_cast<double>(g_.shape(v).c()) * need.axes[0].size * need.axes[1].size;
    }
    r.copy(i);
    for (const auto& [v, stood] : before) r.stands_for(v, stood);
    all_ += multiplications(g_, node, static_cast<double>(g_.shape(node.out).pixels()));
    some_ += multiplications(g_, node, static_cast<double>(n.out.axes[0].size) * n.out.axes[1].size);
    c_.made[node.out] = std::move(n.out);
    if (node.out != value_) return;
    // A value that stays a crop is asked for whole.
    if (!c_.made[value_].whole) patch(b, r, value_, whole_map(value_));
    c_.value = r.now(value_);
  }

  const Model& model_;
  const Graph& g_;
  Id value_;
  Crops& c_;
  double all_ = 0, some_ = 0;
};

std::unique_ptr<WindowedRuns> WindowedRuns::make(const Model& model, const Engine& engine, const WindowAxis& rows,
                                                 const WindowAxis& columns, Id value, std::size_t budget) {
  constexpr double worth_it = 0.7;  // a share of all multiplications
  if (engine.device() != nullptr || model.graph().inputs.size() > 1) return nullptr;
  std::unique_ptr<WindowedRuns> runs(new WindowedRuns);
  Crops& c = *runs->crops_;
  CropBuilder builder(model, rows, columns, value, c);
  builder.build();
  runs->share_ = builder.some() / builder.all();
  if (runs->share_ > worth_it) return nullptr;
  if (c.model.graph().parameter_size != model.graph().parameter_size)
    throw Error("windows: the network of crops has other parameters than the network");

  c.whole_value = value;
  c.kept.push_back(value);
  PlanRequest own;
  own.graph = &model.graph();
  own.keep_values = c.kept;
  c.base = std::make_unique<Session>(engine, own, model.parameters);
  PlanRequest request;
  request.graph = &c.model.graph();
  request.keep_values = {&c.value, 1};
  const Fit f =
      fit_batch(engine, request, budget, {}, static_cast<std::size_t>(c.model.image_shape().size()) * sizeof(real));
  request.batch = f.batch;
  c.session = std::make_unique<Session>(engine, request, model.parameters, f.prepare);
  c.input.resize(static_cast<std::size_t>(c.model.image_shape().with_batch(request.batch).size()));
  return runs;
}

void WindowedRuns::set_image(const TensorView& image) {
  Crops& c = *crops_;
  c.own[c.base->plan().request.graph->input] = image;
  c.base->forward(image);
  for (const Id v : c.kept) c.own[v] = c.base->run().value(v);
}

HostTensor WindowedRuns::image_value() const {
  return crops_->base->peek(crops_->base->run().value(crops_->whole_value));
}

HostTensor WindowedRuns::run(std::int32_t first, std::int32_t count, std::span<const float> fill) {
  Crops& c = *crops_;
  c.batch.first = first;
  const Id input = c.base->plan().request.graph->input;
  const TensorView& own = c.own[input];
  const AxisCrop &down = c.made[input].axes[0], &across = c.made[input].axes[1];
  const Shape shape = c.model.image_shape().with_batch(count);
  for (std::int32_t n = 0; n < count; ++n) {
    const auto row = static_cast<std::size_t>((first + n) / c.batch.columns),
               column = static_cast<std::size_t>((first + n) % c.batch.columns);
    for (std::int32_t k = 0; k < shape.c(); ++k) {
      real* const to = c.input.data() + (std::int64_t{n} * shape.c() + k) * shape.pixels();
      for (std::int32_t i = 0; i < down.size; ++i)
        for (std::int32_t j = 0; j < across.size; ++j) {
          const std::int32_t y = down.origin[row] + i, x = across.origin[column] + j;
          const bool inside =
              y >= down.from[row] && y < down.to[row] && x >= across.from[column] && x < across.to[column];
          to[i * across.size + j] = inside ? static_cast<real>(fill[static_cast<std::size_t>(k)])
                                           : own.data[(std::int64_t{k} * own.shape.h() + y) * own.shape.w() + x];
        }
    }
  }
  c.session->forward({c.input.data(), shape});
  return c.session->peek(c.session->run().value(c.value));
}

}  // namespace vitrine
