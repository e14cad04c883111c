// vitrine filters: what the filters of a layer stand for, against the known parts of a data set.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "interp/render/picture.h"
#include "interp/space/filter_metrics.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

struct Options {
  std::string file, data, node, sheet;
  FilterMetricsOptions metrics;
  EngineOptions engine;
  bool json = false;
};

int run(Options& o) {
  const Model model = Model::load(o.file);
  const auto data = data::open_for_evaluation(o.data);
  const Engine engine = o.engine.open();
  Subject subject(model, engine, data.get());
  const Job job({}, [] { return stop_requested.load(); });
  const std::string node = o.node.empty() ? last_interpretable_layer(model) : o.node;
  const FilterReport r = measure_filters(subject, node, o.metrics, job);
  if (o.json) {
    nlohmann::ordered_json filters = nlohmann::ordered_json::array();
    for (const FilterMetrics& m : r.filters)
      filters.push_back({{"category", m.category},
                         {"selectivity", m.selectivity},
                         {"part", m.part},
                         {"part_interpretability", m.interpretability},
                         {"landmark", m.landmark},
                         {"instability", m.instability},
                         {"best_instability", m.best_instability}});
    std::printf("%s\n", nlohmann::ordered_json{{"node", r.node},
                                               {"part_interpretability", r.interpretability},
                                               {"instability", r.instability},
                                               {"best_instability", r.best_instability},
                                               {"selectivity", r.selectivity},
                                               {"one_part", r.one_part},
                                               {"dead", r.dead},
                                               {"filters", filters}}
                            .dump(2)
                            .c_str());
  } else {
    for (std::size_t f = 0; f < r.filters.size(); ++f) {
      const FilterMetrics& m = r.filters[f];
      if (m.category < 0)
        std::printf("filter %-4zu dead\n", f);
      else
        std::printf("filter %-4zu %-10s selectivity %.2f  part %-8s %.2f  instability %.3f (%s), best category %.3f\n",
                    f, data->class_name(m.category).c_str(), m.selectivity, m.part.empty() ? "-" : m.part.c_str(),
                    m.interpretability, m.instability, m.landmark.c_str(), m.best_instability);
    }
    std::printf(
        "%s: %zu filters, %d dead; part interpretability %.3f; with one part %.2f; instability %.3f, best category "
        "%.3f; selectivity %.2f\n",
        r.node.c_str(), r.filters.size(), r.dead, r.interpretability, r.one_part, r.instability, r.best_instability,
        r.selectivity);
  }
  if (!o.sheet.empty()) {
    filter_sheet(subject, r, o.metrics, job).save_png(o.sheet);
    std::fprintf(o.json ? stderr : stdout, "regions: %s\n", o.sheet.c_str());
  }
  return 0;
}

}  // namespace

void add_filters(CLI::App& app, int& status) {
  auto* const c =
      app.add_subcommand("filters", "what a layer's filters stand for, against the known parts of a data set");
  auto o = std::make_shared<Options>();
  c->add_option("FILE", o->file, "model file")->required();
  c->add_option("--data", o->data, "data set with parts: partshapes[:variant,...]; its test part is used")->required();
  c->add_option("--node", o->node, "whose maps (default: the last layer of interpretable filters)");
  c->add_option("--images", o->metrics.images, "the first so many; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  c->add_option("--radius", o->metrics.radius, "pixels that a valid unit paints around it")
      ->capture_default_str()
      ->check(within(0.5, 1000.0));
  c->add_option("--sheet", o->sheet, "picture of filters' regions on their strongest images, .png");
  o->engine.add_to(*c);
  c->add_flag("--json", o->json, "for programs");
  c->callback([o, &status] { status = run(*o); });
}

}  // namespace vitrine::tools
