// Methods that are one walk: gradient, input x gradient, deconvnet, guided backprop, LRP, DeepLIFT.
#include <algorithm>
#include <chrono>
#include <optional>

#include "interp/predict/method.h"
#include "interp/rules/deeplift.h"
#include "interp/rules/signal.h"

namespace vitrine {
namespace {

double seconds() noexcept {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr Setting deeplift_list[] = {
    {Setting::choice, "rule", "rescale",
     "at activations; genomics-default: reveal-cancel after linear layers, else rescale",
     "rescale|reveal-cancel|genomics-default"},
};
constexpr Setting reversed_list[] = {
    {Setting::choice, "other", "refuse", "at activations that are no rectifiers", "refuse|gradient"},
};

// One walk with one signal a value.
class WalkMethod : public Method {
 public:
  WalkMethod(const MethodContext& c, Walk::Seed seed, bool times_input)
      : context_(c), assignment_(context_.model), seed_(seed), times_input_(times_input) {}

  void attribute(const TensorView& x, std::span<const int> targets, const TensorView& baseline,
                 real* relevance) override {
    scored = {};
    in_batches(context_, x.shape.n(), *walk_, [&](std::int32_t first, std::int32_t count) {
      const TensorView part = x.images(first, count);
      const TensorView reference = has_baseline() ? baseline.images(first, count) : TensorView{};
      walk_->run(part, has_baseline() ? &reference : nullptr,
                 targets.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), seed_, &scored);
      walk_->collect(ledger);
      finish(part, reference, relevance + first * x.shape.per_image());
    });
  }

  bool scores_inputs() const override { return true; }

 protected:
  void start(Walk::Options options) {
    options.ledger = context_.request.ledger;
    options.together = context_.together;
    walk_ = std::make_unique<Walk>(context_.model, context_.engine, assignment_.rules, options,
                                   context_.request.memory_budget);
  }

  virtual void finish(const TensorView& x, const TensorView& reference, real* out) {
    const HostTensor s = walk_->signal();
    for (std::int64_t i = 0; i < x.size(); ++i) {
      const real factor = !times_input_ ? 1 : reference ? x.data[i] - reference.data[i] : x.data[i];
      out[i] = s.data[i] * factor;
    }
  }

  MethodContext context_;
  Assignment assignment_;
  Walk::Seed seed_;
  bool times_input_;
  std::unique_ptr<Walk> walk_;
  friend std::unique_ptr<Method> vitrine::make_walk_method(const MethodContext&, const std::string&, const Settings&);
};

class Rescale final : public WalkMethod {
 public:
  explicit Rescale(const MethodContext& c) : WalkMethod(c.request.ledger ? c : c.over_merged(), Walk::Seed::one, true) {
    assignment_.fill(&rule_);
    // With one baseline for all images its trace is made once, and kept.
    const bool one =
        c.model.graph().inputs.size() == 1 &&
        (c.request.baseline_images ? c.request.baseline_images->shape.n() == 1 : c.request.baseline == "zero");
    start({.keep = {}, .reference = true, .one_reference = one});
  }
  bool complete() const override { return true; }
  bool has_baseline() const override { return true; }

 private:
  DeepLiftRescale rule_;
};

class RevealCancel final : public WalkMethod {
 public:
  RevealCancel(const MethodContext& c, std::vector<char> reveal)
      : WalkMethod(c, Walk::Seed::one, true), reveal_(std::move(reveal)) {
    const Graph& g = c.model.graph();
    std::size_t bytes = 1 << 16;
    for (const Value& v : g.values)
      bytes +=
          v.kind == ValueKind::parameter ? 64 : 2 * (static_cast<std::size_t>(v.shape.size()) * sizeof(real) + 128);
    // Parts and plan alike grow with the batch; half of the budget each is a safe split.
    const auto batch = static_cast<std::int32_t>(std::clamp<std::size_t>(c.request.memory_budget / 2 / bytes, 1, 64));
    book_ = Memory((2 * sizeof(TensorView)) * g.values.size() + Arena::alignment);
    memory_ = Memory(bytes * static_cast<std::size_t>(batch), c.engine.device());
    Arena book(book_.data(), book_.bytes()), data(memory_.data(), memory_.bytes());
    DeepLiftParts parts;
    if (make_deeplift_parts(g, batch, book, data, parts) != Status::ok)
      throw Error("deeplift: the parts of all values do not fit in memory");
    rule_ = std::make_unique<DeepLiftRevealCancel>(
        g, parts, std::span<const bool>(reinterpret_cast<const bool*>(reveal_.data()), reveal_.size()));
    assignment_.fill(rule_.get());
    start({.keep = {}, .reference = true, .channels = 2, .observer = rule_.get(), .batch = batch});
  }
  bool complete() const override { return true; }
  bool has_baseline() const override { return true; }

 protected:
  void finish(const TensorView& x, const TensorView&, real* out) override {
    const Storage result(context_.engine, static_cast<std::size_t>(x.size()));
    walk_->session().check([&](const Context& ctx) {
      return rule_->contribution(ctx, walk_->session().run(), context_.model.graph().input, {result.data(), x.shape});
    });
    result.download({out, static_cast<std::size_t>(x.size())});
  }

 private:
  std::vector<char> reveal_;
  Memory book_, memory_;
  std::unique_ptr<DeepLiftRevealCancel> rule_;
};

// Which pointwise nodes use RevealCancel.
std::vector<char> reveal_nodes(const MethodContext& c, const std::string& rule) {
  const Graph& g = c.model.graph();
  std::vector<char> reveal(g.nodes.size(), 0);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    if (g.nodes[i].op->klass() != OpClass::pointwise) continue;
    const Id producer = g.values[g.nodes[i].in[0]].producer;
    const bool dense = producer != no_id && matches("linear", g.nodes[producer].op->name());
    reveal[i] = rule == "reveal-cancel" || (rule == "genomics-default" && dense);
  }
  for (const RuleChoice& choice : c.request.rules) {
    if (choice.rule != "rescale" && choice.rule != "reveal-cancel")
      throw Error("rule " + choice.rule + " carries no multipliers: method deeplift takes rescale and reveal-cancel",
                  Error::usage);
    bool matched = false;
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      if (!matches(choice.pattern.c_str(), g.nodes[i].name)) continue;
      if (g.nodes[i].op->klass() != OpClass::pointwise)
        throw Error("rule " + choice.rule + " at " + g.nodes[i].name + " (" + g.nodes[i].op->name() +
                        "): is no activation, where alone it has a meaning",
                    Error::usage);
      reveal[i] = choice.rule == "reveal-cancel";
      matched = true;
    }
    if (!matched) throw Error("--rule: pattern '" + choice.pattern + "' matches no node", Error::usage);
  }
  return reveal;
}

}  // namespace

const std::span<const Setting> deeplift_settings = deeplift_list, reversed_settings = reversed_list;

Walk::Walk(const Model& model, const Engine& engine, const std::vector<const Rule*>& rules, Options options,
           std::size_t budget)
    : model_(model), options_(std::move(options)), logits_(model.logits()), rules_(rules) {
  if (options_.until == no_id) options_.until = model.graph().input;
  options_.keep.push_back(logits_);
  PlanRequest request;
  request.graph = &model.graph();
  request.rules = rules_;
  request.channels = options_.channels;
  request.reference = options_.reference;
  request.one_reference = options_.one_reference;
  request.until = options_.until;
  request.seeds = {&logits_, 1};
  request.keep_values = options_.keep;
  request.ledger = options_.ledger;
  request.observer = options_.observer;
  const Fit f = fit(engine, request, budget, options_.together);
  if (options_.batch == 0) options_.batch = f.batch;
  request.batch = options_.batch;
  session_ = std::make_unique<Session>(engine, request, model.parameters, f.prepare);
  if (options_.ledger) lines_.resize(model.graph().nodes.size());
}

void Walk::run(const TensorView& x, const TensorView* reference, std::span<const int> targets, Seed how,
               Method::Scored* scored) {
  if (reference != nullptr) run_reference(*reference);
  session_->forward(x);
  const HostTensor out = session_->download(session_->run().value(logits_));
  const std::int64_t classes = out.shape.per_image();
  seed_.assign(static_cast<std::size_t>(out.size()), real{0});
  const bool with_baseline = scored != nullptr && reference != nullptr;
  std::optional<HostTensor> at_baseline;
  if (with_baseline) at_baseline.emplace(session_->download(session_->run().reference_value(logits_)));
  for (std::int32_t n = 0; n < x.shape.n(); ++n) {
    const int target = target_of(out, n, targets[static_cast<std::size_t>(n)]);
    const std::int64_t at = n * classes + target;
    seed_[static_cast<std::size_t>(at)] = how == Seed::one ? 1 : out.data[at];
    if (scored == nullptr) continue;
    scored->target.push_back(target);
    scored->score.push_back(out.data[at]);
    if (with_baseline) scored->baseline.push_back(at_baseline->data[options_.one_reference ? target : at]);
  }
  for (int c = 0; c < options_.channels; ++c) session_->upload(session_->run().signal(logits_, c), seed_);
  std::fill(lines_.begin(), lines_.end(), LedgerLine{});
  Ledger ledger{lines_, seconds};
  session_->walk_back(options_.ledger ? &ledger : nullptr);
}

void Walk::run_reference(const TensorView& images) {
  if (!options_.one_reference) return session_->forward_reference(images);
  const TensorView one = images.images(0, 1);
  const std::span<const real> values{one.data, static_cast<std::size_t>(one.size())};
  if (std::equal(reference_.begin(), reference_.end(), values.begin(), values.end())) return;
  reference_.clear();                                   // what an error leaves behind is no reference
  std::vector<real> own(values.begin(), values.end());  // later walks read it, when the caller's may be gone
  session_->forward_reference({own.data(), one.shape});
  reference_ = std::move(own);
}

int Walk::target_of(const HostTensor& logits, std::int32_t n, int asked) {
  if (asked != Method::predicted) return asked;
  const real* const row = logits.data + n * logits.shape.per_image();
  return static_cast<int>(std::max_element(row, row + logits.shape.per_image()) - row);
}

void Walk::score(const TensorView& x, const TensorView& baseline, std::span<const int> targets,
                 Method::Scored& scored) {
  const std::size_t first = scored.target.size();
  const auto forward = [&](const TensorView& images, auto body) {
    session_->forward(images);
    const HostTensor out = session_->download(session_->run().value(logits_));
    for (std::int32_t n = 0; n < images.shape.n(); ++n) body(n, out, n * out.shape.per_image());
  };
  forward(x, [&](std::int32_t n, const HostTensor& out, std::int64_t row) {
    scored.target.push_back(target_of(out, n, targets[static_cast<std::size_t>(n)]));
    scored.score.push_back(out.data[row + scored.target.back()]);
  });
  forward(baseline, [&](std::int32_t n, const HostTensor& out, std::int64_t row) {
    scored.baseline.push_back(out.data[row + scored.target[first + static_cast<std::size_t>(n)]]);
  });
}

std::int32_t Walk::lanes() const noexcept {
  const Plan& plan = session_->plan();
  return std::find(plan.innermost.begin(), plan.innermost.end(), true) != plan.innermost.end() ? plan.lanes : 1;
}

void Walk::collect(std::vector<LedgerRow>& rows) const {
  if (lines_.empty()) return;
  const Graph& g = model_.graph();
  if (rows.empty()) rows.resize(g.nodes.size());
  const auto add = [](kernels::Stats& total, const kernels::Stats& s) {
    total.sum += s.sum;
    total.abs_sum += s.abs_sum;
    total.abs_max = std::max(total.abs_max, s.abs_max);
    total.non_finite += s.non_finite;
  };
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const LedgerLine& line = lines_[i];
    if (!line.filled) continue;
    LedgerRow& row = rows[i];
    row.node = g.nodes[i].name;
    row.op = g.nodes[i].op->name();
    row.rule = line.rule;
    add(row.out, line.out);
    add(row.in, line.in);
    row.absorbed_by_bias += line.absorbed.absorbed_by_bias;
    row.absorbed_by_stabiliser += line.absorbed.absorbed_by_stabiliser;
    row.seconds += line.seconds;
    row.bytes += line.bytes;
  }
}

Fit fit(const Engine& engine, PlanRequest request, std::size_t budget, Together together, std::size_t beside) {
  // A batch of `many` pays for preparing weights of this size anew each time: those of a path, or what calls bring
  // again and again.
  constexpr std::int32_t many = 8;
  const std::size_t large = std::size_t{together.path ? 32u : 160u} << 20;
  // Values beyond this are slower to fetch than the weights that a larger batch spares. Batches of a path all read the
  // same weights.
  const std::size_t useful_bytes = std::size_t{together.path ? 96u : 384u} << 20;
  // Large images: more at once gain a tenth at most, and take as much more memory each.
  constexpr std::int32_t some = 5;
  const auto planned = [&](std::int32_t batch, bool prepare, auto look) {
    request.batch = batch;
    request.constant_parameters = prepare;
    Session::with_plan(engine, request, look);
  };
  std::size_t prepared = 0, each = 0;
  planned(1, true, [&](const Plan& plan) {
    prepared = plan.prepared_bytes;
    each = plan.bytes() - prepared + beside;
  });
  Fit f{};
  f.prepare = prepared + each <= budget && (together.images < many || prepared <= large);
  const std::size_t room = (budget - (f.prepare ? prepared : 0)) / each;
  const std::size_t useful = std::max<std::size_t>(together.images >= many ? some : many / 2, useful_bytes / each);
  f.batch = static_cast<std::int32_t>(std::clamp<std::size_t>(std::min(room, useful), 1, 64));
  // Small batches are of equal size; of large ones vectors across images fill more.
  if (const std::int32_t n = together.images; n > 0 && (n <= f.batch || f.batch < 2 * many)) {
    const std::int32_t batches = (n - 1) / f.batch + 1;
    f.batch = (n - 1) / batches + 1;
  }
  // Kernels of a larger batch prepare other weights than those of one image, and work with memory that grows otherwise
  // than values do.
  if (f.prepare && together.images >= many)
    planned(f.batch, true, [&](const Plan& plan) { f.prepare = plan.prepared_bytes <= large; });
  for (std::size_t bytes = budget + 1; f.batch > 1 && bytes > budget;) {
    planned(f.batch, f.prepare,
            [&](const Plan& plan) { bytes = plan.bytes() + static_cast<std::size_t>(f.batch) * beside; });
    if (bytes > budget) --f.batch;
  }
  return f;
}

std::unique_ptr<Method> make_walk_method(const MethodContext& c, const std::string& name, const Settings& s) {
  if (name == "deeplift") {
    const std::vector<char> reveal = reveal_nodes(c, s.text("rule"));
    if (std::find(reveal.begin(), reveal.end(), 1) == reveal.end()) return std::make_unique<Rescale>(c);
    return std::make_unique<RevealCancel>(c, reveal);
  }
  // Rules and ledgers name nodes, merged ones too; LRP's user says which network is meant.
  const bool lrp = name == "lrp",
             merge = lrp ? s.text("batch-norm") == "merge" : c.request.rules.empty() && !c.request.ledger;
  auto m = std::make_unique<WalkMethod>(merge ? c.over_merged() : c, lrp ? Walk::Seed::logit : Walk::Seed::one,
                                        name == "input-x-gradient");
  Assignment& a = m->assignment_;
  if (lrp) {
    const CompositeFile* const file = c.request.composite.get();
    const CompositeOptions o = composite_options(a.model(), s, a, file);
    if (file != nullptr)
      a.compose(o, *file);
    else
      a.compose(o);
  } else if (name == "deconvnet" || name == "guided-backprop") {
    RuleSet set(a.arena());
    a.fill(set.make<RectifyRule>(name == "deconvnet" ? kernels::Rectify::deconvnet : kernels::Rectify::guided,
                                 s.text("other") == "refuse"));
  } else {
    RuleSet set(a.arena());
    a.fill(set.make<GradientRule>());
  }
  a.override_with(c.request.rules);
  m->start({});
  return m;
}

}  // namespace vitrine
