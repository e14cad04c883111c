// Architectures against torchvision (tests/golden/make_state_dicts.py): published sizes, names and shapes, values; and
// the laws of explanation on the real networks.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/host/io/npy.h"
#include "core/host/io/safetensors.h"
#include "interp/predict/explain.h"
#include "interp/runs/windows.h"
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv2d.h"
#include "layers/conv_transpose2d.h"
#include "layers/linear.h"
#include "layers/rule_embedded.h"
#include "layers/scale.h"
#include "layers/view.h"
#include "models/architectures.h"
#include "models/merge.h"
#include "models/state_dict.h"
#include "models/train/optimizer.h"
#include "models/train/trainer.h"
#include "tests/models/planted.h"
#include "tests/support/files.h"

using namespace vitrine;
using namespace vitrine::test;

TEST_SUITE_BEGIN("models");

namespace {

// The graph of an architecture without memory for its parameters.
struct Structure {
  Structure(const Architecture& a, Shape image, int classes, bool auxiliary)
      : memory(std::size_t{64} << 20), arena(memory.data(), memory.size()), g(arena, 4096, 40000) {
    Network net{g, classes, auxiliary};
    g.output(a.body(net, g.input(image)));
    REQUIRE_MESSAGE(g.ok(), (std::string(g.failure().node) + ": " + g.failure().what));
  }
  std::vector<std::byte> memory;
  Arena arena;
  GraphBuilder g;
};

Images planted_images(Shape image, std::int32_t n) {
  Images x{image.with_batch(n), {}};
  std::vector<real> one = planted("image", {1, image.c(), image.h(), image.w()});
  for (std::int32_t k = 0; k < n; ++k) {
    x.data.insert(x.data.end(), one.begin(), one.end());
    std::rotate(one.begin(), one.begin() + 7, one.end());
  }
  return x;
}

double sum(const Explanation& e, std::size_t n) {
  const auto each = static_cast<std::size_t>(e.shape.per_image());
  double s = 0;
  for (std::size_t i = n * each; i < (n + 1) * each; ++i) s += static_cast<double>(e.relevance[i]);
  return s;
}

double difference(const std::vector<real>& a, const std::vector<real>& b) {
  REQUIRE(a.size() == b.size());
  double d = 0, m = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    d = std::max(d, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    m = std::max(m, std::abs(static_cast<double>(b[i])));
  }
  return d / m;
}

Model planted_model(const char* architecture, Shape image, int classes = 10) {
  Model model = build_model(find_architecture(architecture), image, classes);
  plant(model);
  return model;
}

}  // namespace

TEST_CASE("every architecture has its published number of parameters") {
  for (const Architecture& a : architectures()) {
    CAPTURE(std::string(a.name));
    const Structure plan(a, a.usual, a.usual_classes, false);
    std::int64_t n = 0;
    bool classifier = false;
    for (const Value& v : plan.g.values()) {
      n += v.kind == ValueKind::parameter && v.trainable ? v.shape.size() : 0;
      classifier = classifier || std::string(v.name) == std::string(a.classifier) + ".weight";
    }
    CHECK(n == a.parameters);
    CHECK(classifier);
  }
}

TEST_CASE("names and shapes are those of torchvision's state dicts") {
  const auto golden = nlohmann::json::parse(std::ifstream(VITRINE_SOURCE_ROOT "/tests/golden/state_dicts.json"));
  for (const auto& item : golden.items()) {
    const std::string name = item.key();
    const nlohmann::json& entry = item.value();
    CAPTURE(name);
    const Architecture& a = find_architecture(name);
    const Structure plan(a, a.usual, a.usual_classes, true);
    std::vector<std::string> lines;
    std::int64_t parameters = 0;
    for (const Value& v : plan.g.values()) {
      if (v.kind != ValueKind::parameter) continue;
      std::string line = std::string(v.name) + "(";
      for (std::uint8_t d = 0; d < v.rank; ++d) line += (d ? "," : "") + std::to_string(v.shape.d[d]);
      lines.push_back(line + ")");
      parameters += v.trainable ? v.shape.size() : 0;
    }
    std::sort(lines.begin(), lines.end());
    std::string all;
    for (const std::string& line : lines) all += (all.empty() ? "" : "\n") + line;
    CHECK(parameters == entry.at("parameters").get<std::int64_t>());
    CHECK(lines.size() == entry.at("tensors").get<std::size_t>());
    CHECK(std::to_string(fnv(all)) == entry.at("hash").get<std::string>());
  }
}

TEST_CASE("planted weights give torchvision's logits") {
  const auto golden = nlohmann::json::parse(std::ifstream(VITRINE_SOURCE_ROOT "/tests/golden/state_dicts.json"));
  const Engine engine(1);
  for (const auto& item : golden.items()) {
    const std::string name = item.key();
    const nlohmann::json& entry = item.value();
    if (!entry.contains("logits")) continue;
    CAPTURE(name);
    const Model model = planted_model(name.c_str(), {1, 3, 96, 64});
    const std::vector<real> y = predict(model, engine, planted_images(model.image_shape(), 1));
    const auto expected = entry.at("logits").get<std::vector<real>>();
    CHECK(difference(y, expected) < 1e-4);
  }
}

TEST_CASE("occlusion that computes only what a window changes is occlusion") {
  const Engine engine(2);
  struct Case {
    const char* name;
    Shape image;
    const char *window, *stride;
  };
  // Windows at all places of the stride's residues, cut at borders, of uneven sides; strides, pools in ceil mode,
  // joins.
  for (const Case& c :
       {Case{"resnet18", {1, 3, 96, 64}, "9x7", "11x13"}, Case{"resnet20", {1, 3, 32, 32}, "5x4", "7x3"},
        Case{"googlenet", {1, 3, 65, 96}, "8", "16"}, Case{"vgg11-bn-cifar", {1, 3, 32, 32}, "4", "6"},
        Case{"alexnet", {1, 3, 127, 96}, "12", "20"}, Case{"densenet-bc-100", {1, 3, 32, 32}, "3", "12"},
        Case{"lenet5", {1, 1, 28, 28}, "3", "2"}, Case{"resnet50", {1, 3, 65, 64}, "10x6", "17"}}) {
    CAPTURE(std::string(c.name));
    const Model model = planted_model(c.name, c.image);
    const Images x = planted_images(model.image_shape(), 2);
    ExplainRequest request;
    request.method = "occlusion";
    request.settings = {{"window", c.window}, {"stride", c.stride}, {"fill", "0.3"}};
    const Explanation changed = explain(model, engine, x, request);
    const Explanation single =
        explain(model, engine, {model.image_shape(), {x.data.begin(), x.data.begin() + model.image_shape().size()}},
                request, {},
                1);  // one window at a time
    request.settings["recompute"] = "all";
    const Explanation all = explain(model, engine, x, request);
    // Differences of scores: roundoff is relative to the scores.
    const double size = std::max(std::abs(all.score[0]), std::abs(all.score[1])),
                 largest = *std::max_element(all.relevance.begin(), all.relevance.end());
    CHECK(largest > 1e-3 * size);
    double worst = 0, worst_single = 0;
    for (std::size_t i = 0; i < all.relevance.size(); ++i)
      worst = std::max(worst, std::abs(double{changed.relevance[i]} - all.relevance[i]));
    for (std::size_t i = 0; i < single.relevance.size(); ++i)
      worst_single = std::max(worst_single, std::abs(double{single.relevance[i]} - all.relevance[i]));
    CHECK(worst < 2e-5 * size);
    CHECK(worst_single < 2e-5 * size);
    CHECK(changed.score == all.score);
  }
  // Windows of 16 every 8: 0.36 of the operations lie in what the windows change; crops have margins.
  WindowAxis axis;
  for (std::int32_t i = 0; i < 27; ++i) axis.first.push_back(8 * i), axis.last.push_back(8 * i + 16);
  const Model resnet = planted_model("resnet18", {1, 3, 224, 224});
  const auto runs = WindowedRuns::make(resnet, engine, axis, axis, resnet.logits(), std::size_t{512} << 20);
  REQUIRE(runs != nullptr);
  CHECK(runs->share() < 0.55);
  // A window as large as the image leaves nothing to save.
  CHECK(WindowedRuns::make(resnet, engine, {{0}, {224}}, {{0}, {224}}, resnet.logits(), std::size_t{512} << 20) ==
        nullptr);
}

TEST_CASE("a merged network is the same function, and LRP-0 the same map") {
  const Engine engine(1);
  for (const char* name : {"resnet20", "vgg11-bn-cifar", "densenet-bc-100"}) {
    CAPTURE(std::string(name));
    const Model model = planted_model(name, {1, 3, 32, 32});
    REQUIRE(has_mergeable_batch_norm(model));
    const Model merged = merge_batch_norms(model);
    CHECK_FALSE(has_mergeable_batch_norm(merged));
    CHECK(merged.graph().nodes.size() < model.graph().nodes.size());
    const Images x = planted_images(model.image_shape(), 2);
    CHECK(difference(predict(merged, engine, x), predict(model, engine, x)) < 1e-5);
    ExplainRequest request;
    request.method = "lrp";
    request.settings = {{"composite", "uniform-zero"}, {"stabilizer", "1e-30"}};
    const Explanation folded = explain(model, engine, x, request);
    request.settings["batch-norm"] = "keep";
    const Explanation kept = explain(model, engine, x, request);
    request.method = "input-x-gradient";
    request.settings.clear();
    const Explanation product = explain(model, engine, x, request);
    // Both equal input x gradient, as LRP-0 does wherever all units are ReLUs; float loses digits where contributions
    // cancel.
    CHECK(difference(folded.relevance, product.relevance) < 2e-2);
    CHECK(difference(kept.relevance, product.relevance) < 2e-2);
  }
}

TEST_CASE(
    "weights prepared for the kernels once are those prepared each time, also where convolutions of other strides "
    "share them") {
  Model model("net", {1, 6, 12, 12}, [](GraphBuilder& g, Id x) {
    const Id first = conv2d(g, x, {.out = 6, .kernel = 3, .padding = 1}, "conv");
    Conv2d* const op = g.make<Conv2d>();
    op->out = 6;
    op->kernel_h = op->kernel_w = 3;
    op->stride_h = op->stride_w = 2;
    const Id inputs[] = {first};
    const std::vector<Id> parameters(g.nodes()[g.values()[first].producer].par.begin(),
                                     g.nodes()[g.values()[first].producer].par.end());
    return linear(g, flatten(g, g.add_shared(op, inputs, parameters, "strided")), 3, "fc");
  });
  plant(model);
  const Engine engine(1);
  const GradientRule rule;
  const std::vector<const Rule*> rules(model.graph().nodes.size(), &rule);
  PlanRequest request;
  request.graph = &model.graph();
  request.rules = rules;
  request.until = model.graph().input;
  std::vector<real> image(6 * 12 * 12);
  for (std::size_t k = 0; k < image.size(); ++k) image[k] = static_cast<real>(k % 7) - 3;
  const auto gradient = [&](Session& session) {
    session.forward({image.data(), model.image_shape()});
    session.upload(session.run().signal(model.graph().output), std::vector<real>{1, -2, 3});
    session.walk_back();
    const HostTensor g = session.peek(session.run().signal(model.graph().input));
    return std::vector<real>(g.data, g.data + g.size());
  };
  Session prepared(engine, request, model.parameters), each_time(engine, request, model.parameters.data(), nullptr);
  const std::vector<real> want = gradient(each_time);
  CHECK(*std::max_element(want.begin(), want.end()) > 0);
  for (int run = 0; run < 2; ++run) CHECK(gradient(prepared) == want);
  if (kernels::active() != kernels::Isa::reference)
    CHECK(prepared.plan().prepared_count == 4);  // twice forward, twice back
}

TEST_CASE("merging: transposed convolutions with groups, scales behind norms, shared weights and several readers") {
  const Engine engine(1);
  const auto check = [&](const std::function<Id(GraphBuilder&, Id)>& body, std::size_t merged_nodes) {
    Model model("net", {1, 4, 6, 5}, [&](GraphBuilder& g, Id x) { return linear(g, flatten(g, body(g, x)), 3, "fc"); });
    plant(model);
    const Model merged = merge_batch_norms(model);
    CHECK(merged.graph().nodes.size() == merged_nodes + 2);
    const Images x = planted_images(model.image_shape(), 2);
    CHECK(difference(predict(merged, engine, x), predict(model, engine, x)) < 1e-5);
    CHECK(merged.graph().find("norm") == no_id);
  };
  check(
      [](GraphBuilder& g, Id x) {
        return scale(
            g,
            batch_norm(g,
                       conv_transpose2d(g, x, {.out = 6, .kernel = 3, .stride = 2, .groups = 2, .bias = false}, "conv"),
                       "norm"),
            "scale");
      },
      1);
  check([](GraphBuilder& g,
           Id x) { return batch_norm(g, conv2d(g, x, {.out = 6, .kernel = 3, .groups = 2}, "conv"), "norm"); },
        1);
  check(
      [](GraphBuilder& g, Id x) {
        return affine_map(g, batch_norm(g, conv2d(g, x, {.out = 6, .kernel = 3, .bias = false}, "conv"), "norm"), -2,
                          0.5f, "map");
      },
      1);
  // A norm that is not the only reader stays, and so does one behind a shared weight.
  const Model read_twice("net", {1, 4, 6, 5}, [](GraphBuilder& g, Id x) {
    const Id h = conv2d(g, x, {.out = 4, .kernel = 1}, "conv");
    const Id parts[] = {h, batch_norm(g, h, "norm")};
    return linear(g, flatten(g, concat(g, parts)), 3, "fc");
  });
  CHECK_FALSE(has_mergeable_batch_norm(read_twice));
  // conv, norm, and conv's weight again behind them: only the last norm, which follows a weight of its own, is merged.
  Model shared("net", {1, 4, 6, 5}, [](GraphBuilder& g, Id x) {
    const auto reused = [](GraphBuilder& b, Id in, Id first) {
      Conv2d* const op = b.make<Conv2d>();
      op->out = 4;
      const Id inputs[] = {in};
      const std::vector<Id> parameters(b.nodes()[b.values()[first].producer].par.begin(),
                                       b.nodes()[b.values()[first].producer].par.end());
      return b.add_shared(op, inputs, parameters, "again");
    };
    const Id conv = conv2d(g, x, {.out = 4, .kernel = 1}, "conv");
    const Id again = reused(g, relu(g, batch_norm(g, conv, "norm"), "relu"), conv);
    const Id own =
        conv2d(g, relu(g, batch_norm(g, again, "norm2"), "relu2"), {.out = 5, .kernel = 3, .bias = false}, "own");
    return linear(g, flatten(g, batch_norm(g, own, "norm3")), 3, "fc");
  });
  plant(shared);
  shared.aliases = {{"tensor", "norm3"}};
  const Model merged = merge_batch_norms(shared);
  CHECK(merged.graph().find("norm") != no_id);
  CHECK(merged.graph().find("norm2") != no_id);
  CHECK(merged.graph().find("norm3") == no_id);
  for (const char* name : {"norm3", "tensor"}) CHECK(merged.node(name) == merged.node("own"));
  CHECK(merged.graph().nodes[merged.node("again")].par[0] == merged.graph().nodes[merged.node("conv")].par[0]);
  const Images x = planted_images(shared.image_shape(), 2);
  CHECK(difference(predict(merged, engine, x), predict(shared, engine, x)) < 1e-5);
}

TEST_CASE("ResNet-18: without biases the relevance sums up to the logit; with them the ledger says what each took") {
  const Engine engine(1);
  const Model model = planted_model("resnet18", {1, 3, 64, 64});
  const Images x = planted_images(model.image_shape(), 2);
  ExplainRequest request;
  request.method = "lrp";
  request.settings = {{"composite", "epsilon-plus-flat"}, {"bias", "dropped"}};
  request.ledger = true;
  const Explanation e = explain(model, engine, x, request);
  for (std::size_t n = 0; n < 2; ++n) CHECK(std::abs(sum(e, n) - e.score[n]) < 1e-3 * std::abs(e.score[n]));

  request.settings.erase("bias");
  const Explanation kept = explain(model, engine, x, request);
  double absorbed = 0, by_biases = 0;
  int biased = 0;
  for (const LedgerRow& row : kept.ledger) {
    absorbed += row.absorbed_by_bias + row.absorbed_by_stabiliser + row.unplaced();
    by_biases += std::abs(row.absorbed_by_bias);
    if (row.absorbed_by_bias != 0) ++biased;
  }
  CHECK(biased >= 20);  // the convolutions, whose biases are the norms' shifts
  const double total = sum(kept, 0) + sum(kept, 1), score = kept.score[0] + kept.score[1];
  CHECK(by_biases > 1e-2 * std::abs(score));
  CHECK(std::abs(total + absorbed - score) < 1e-3 * std::abs(score));
}

TEST_CASE("LRP and DeepLIFT on DenseNet-121 and GoogLeNet as they are: complete, and a batch equals its images") {
  const Engine engine(1);
  for (const char* name : {"densenet121", "googlenet"}) {
    CAPTURE(std::string(name));
    const Model model = planted_model(name, {1, 3, 64, 64});
    const Images x = planted_images(model.image_shape(), 2);
    ExplainRequest request;
    request.method = "lrp";
    request.settings = {{"composite", "epsilon-plus-flat"}, {"bias", "dropped"}};
    const Explanation both = explain(model, engine, x, request);
    for (std::size_t n = 0; n < 2; ++n) {
      CHECK(std::abs(sum(both, n) - both.score[n]) < 2e-3 * std::abs(both.score[n]));
      const auto each = static_cast<std::size_t>(model.image_shape().size());
      const std::vector<real> alone(x.data.begin() + static_cast<std::ptrdiff_t>(n * each),
                                    x.data.begin() + static_cast<std::ptrdiff_t>((n + 1) * each));
      const Explanation one = explain(model, engine, {model.image_shape(), alone}, request);
      CHECK(difference({both.relevance.begin() + static_cast<std::ptrdiff_t>(n * each),
                        both.relevance.begin() + static_cast<std::ptrdiff_t>((n + 1) * each)},
                       one.relevance) < 1e-4);
    }
    request.method = "deeplift";
    request.settings.clear();
    const Explanation lift = explain(model, engine, x, request);
    for (std::size_t n = 0; n < 2; ++n) {
      const double delta = lift.score[n] - lift.baseline_score[n];
      CHECK(std::abs(sum(lift, n) - delta) < 1e-3 * std::abs(delta));
    }
  }
}

TEST_CASE("GoogLeNet trains all its heads, and no other run computes the auxiliary ones") {
  const Folder folder;
  std::vector<float> x(4 * 3 * 64 * 64);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7919 % 1000) / 500 - 1;
  const std::vector<std::int64_t> y = {0, 1, 2, 1};
  io::write_npy(folder / "x.npy", {4, 3, 64, 64}, x.data());
  io::write_npy(folder / "y.npy", {4}, y.data());
  const std::string pair = (folder / "x.npy") + "," + (folder / "y.npy");
  const data::TrainTest data = data::open_for_training("npy:" + pair + "," + pair);
  const Engine engine(1);
  Model model = make_model("googlenet", {1, 3, 64, 64}, 3, 1);
  REQUIRE(model.auxiliary.size() == 2);
  const std::vector<real> before = model.parameters;
  TrainOptions o;
  o.epochs = 1;
  o.batch = 4;
  o.out = folder / "g.safetensors";
  const Job stop;
  train(model, engine, data, o, {}, stop);
  for (const Value& v : model.graph().values) {
    if (v.kind != ValueKind::parameter || !std::string(v.name).ends_with("weight")) continue;
    CAPTURE(std::string(v.name));
    CHECK_FALSE(std::equal(before.begin() + v.offset, before.begin() + v.offset + v.shape.size(),
                           model.parameters.begin() + v.offset));
  }
  const Model back = Model::load(o.out);
  CHECK(back.auxiliary.size() == 2);
  CHECK(back.auxiliary[1].node == "aux2.fc2");
  const Id keep[] = {back.graph().output};
  PlanRequest request;
  request.graph = &back.graph();
  request.keep_values = keep;
  const Session session(engine, request, back.parameters);
  for (std::size_t i = 0; i < back.graph().nodes.size(); ++i)
    CHECK(session.plan().nodes[i].needed == !std::string(back.graph().nodes[i].name).starts_with("aux"));
}

TEST_CASE("state dicts: round trip, wrappers, maps, and what does not fit") {
  const Folder folder;
  Model model = planted_model("resnet20", {1, 3, 32, 32}, 7);
  const std::string path = folder / "state.safetensors";
  export_state_dict(model, path);
  const Model back = import_state_dict(path, {"resnet20", {}, {}});
  CHECK(back.classes() == 7);
  CHECK(back.parameters == model.parameters);

  const auto rewritten = [&](const std::function<std::string(const std::string&)>& name, const std::string& without) {
    io::SafetensorsWriter file(folder / "other.safetensors");
    for (const Value& v : model.graph().values)
      if (v.kind == ValueKind::parameter && v.name != without)
        file.add(name(v.name), file_shape(v), model.parameters.data() + v.offset);
    file.commit();
    return folder / "other.safetensors";
  };
  CHECK(import_state_dict(rewritten([](const std::string& n) { return "module." + n; }, ""), {"resnet20", {}, {}})
            .parameters == model.parameters);
  const auto head = [](const std::string& n) { return n.starts_with("linear") ? "fc" + n.substr(6) : n; };
  CHECK(import_state_dict(rewritten(head, ""), {"resnet20", {}, {{"fc.", "linear."}}}).parameters == model.parameters);
  CHECK_THROWS_WITH_AS(import_state_dict(rewritten(head, ""), {"resnet20", {}, {}}),
                       doctest::Contains("has no tensor 'linear.weight'"), Error);
  const auto same = [](const std::string& n) { return n; };
  CHECK_THROWS_WITH_AS(import_state_dict(rewritten(same, "layer2.1.bn2.bias"), {"resnet20", {}, {}}),
                       doctest::Contains("lacks layer2.1.bn2.bias"), Error);
  CHECK_THROWS_WITH_AS(import_state_dict(path, {"resnet32", {}, {}}), doctest::Contains("lacks layer1.3.conv1.weight"),
                       Error);
  CHECK_THROWS_WITH_AS(import_state_dict(path, {"resnet99", {}, {}}), doctest::Contains("unknown model 'resnet99'"),
                       Error);
}

TEST_CASE(
    "optimisers: within the walk and after it, the same bits; what is frozen stays; the first steps are those of the "
    "formulas") {
  const Engine engine(2);
  const Model origin = make_model("resnet20", {1, 3, 16, 16}, 5, 7);
  const Graph& g = origin.graph();
  const GradientRule rule(true);
  const std::vector<const Rule*> rules(g.nodes.size(), &rule);
  PlanRequest request;
  request.graph = &g;
  request.batch = 4;
  request.rules = rules;
  request.parameter_gradients = true;
  std::vector<real> x(static_cast<std::size_t>(4 * 3 * 16 * 16));
  for (std::size_t k = 0; k < x.size(); ++k) x[k] = std::sin(static_cast<real>(k));
  const std::vector<real> seed(static_cast<std::size_t>(4 * 5), real{0.25});
  // Half of the block moves: up to some parameter's end.
  std::int64_t end = 0;
  for (const Value& v : g.values)
    if (v.kind == ValueKind::parameter && v.offset < static_cast<std::int64_t>(origin.parameters.size()) / 2)
      end = std::max(end, v.offset + v.shape.size());
  for (const Optimizer kind : {Optimizer::sgd, Optimizer::nesterov, Optimizer::adam, Optimizer::adamw}) {
    CAPTURE(static_cast<int>(kind));
    std::vector<real> moved[2], first_gradients;
    for (const bool within : {false, true}) {
      std::vector<real> parameters = origin.parameters, first(parameters.size(), 0), second(parameters.size(), 0),
                        gradients(parameters.size(), 0);
      OptimizerStep step;
      step.optimizer = kind, step.momentum = 0.9f, step.weight_decay = 0.01f, step.lr = 0.05f;
      step.parameters = parameters.data(), step.first = first.data(), step.second = second.data();
      for (const Value& v : g.values)
        if (v.kind == ValueKind::parameter && v.trainable && v.offset < end)
          step.moving.emplace_back(v.offset, v.offset + v.shape.size());
      PlanRequest own = request;
      own.updater = within ? &step : nullptr;
      Session session(engine, own, parameters.data(), within ? nullptr : gradients.data());
      session.context().training = true;
      for (int t = 1; t <= 3; ++t) {
        step.step = t;
        session.forward({x.data(), {4, 3, 16, 16}});
        session.upload(session.run().signal(g.output), seed);
        session.walk_back();
        if (!within) step.update_all(session.context(), gradients.data());
        if (!within && t == 1 && kind == Optimizer::sgd) {
          // Momentum starts with the gradient itself.
          for (const auto& [from, to] : step.moving)
            for (auto k = static_cast<std::size_t>(from); k < static_cast<std::size_t>(to); ++k)
              CHECK(parameters[k] ==
                    doctest::Approx(origin.parameters[k] - 0.05f * (gradients[k] + 0.01f * origin.parameters[k]))
                        .epsilon(1e-5));
        }
      }
      moved[within] = parameters;
      std::size_t changed = 0;
      for (const Value& v : g.values)
        for (auto k = static_cast<std::size_t>(v.offset);
             v.kind == ValueKind::parameter && v.trainable && k < static_cast<std::size_t>(v.offset + v.shape.size());
             ++k) {
          changed += parameters[k] != origin.parameters[k] ? 1u : 0u;
          if (v.offset >= end) CHECK(parameters[k] == origin.parameters[k]);
        }
      CHECK(changed > static_cast<std::size_t>(end) / 2);
    }
    CHECK(moved[0] == moved[1]);
  }
}

TEST_SUITE_END();
