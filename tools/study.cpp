// vitrine study: anything that is found out about networks and data, as a folder with numbers, tables, pictures and a
// page; vitrine merge: the parts of an explanation joined.
#include <cstdio>
#include <filesystem>

#include "core/host/io/sha256.h"
#include "interp/result/part_file.h"
#include "interp/result/write.h"
#include "tools/commands.h"

namespace vitrine::tools {
namespace {

struct Options {
  std::string name, data, cache, output;
  std::vector<std::string> files, nodes, settings;
  std::int64_t images = 0;
  std::uint64_t seed = 0;
  EngineOptions engine;
};

void print(const Result& r, const std::string& folder) {
  for (const auto& [name, m] : r.numbers()) {
    std::printf("%-24s %.6g", name.c_str(), m.value);
    if (std::isfinite(m.low)) std::printf("  (%.4g to %.4g)", m.low, m.high);
    std::printf("  n %lld\n", static_cast<long long>(m.n));
  }
  for (const Claim& c : r.claims())
    std::printf("%s  %s  (%.4g, threshold %.4g)\n", c.holds ? "holds" : "fails", c.statement.c_str(), c.value,
                c.threshold);
  std::printf("result: %s\n", (std::filesystem::path(folder) / "index.html").c_str());
}

int run(const Options& o) {
  find_method(o.name, true);  // a wrong name is said before anything is read
  const std::map<std::string, std::string> settings = parse_assignments(o.settings);
  const Engine engine = o.engine.open();
  std::vector<std::unique_ptr<const Model>> models;
  std::vector<std::unique_ptr<Subject>> subjects;
  std::unique_ptr<data::Dataset> data;
  StudyCall call{.subjects = {}, .nodes = o.nodes, .images = o.images, .seed = o.seed};
  for (const std::string& file : o.files) {
    models.push_back(std::make_unique<const Model>(Model::load(file)));
    if (!data && !o.data.empty()) data = data::open_for_evaluation(o.data, picture_fit(*models[0]));
    subjects.push_back(std::make_unique<Subject>(*models.back(), engine, data.get(), Subject::usual_budget, o.seed));
    call.subjects.push_back(subjects.back().get());
  }
  const Progress progress(o.name, o.cache);
  Result r = run_study(o.name, call, settings, progress.job());
  r.version = VITRINE_VERSION;
  r.model = {std::filesystem::path(o.files[0]).filename().string(), io::sha256_of_file(o.files[0])};
  if (data) r.data = {o.data, data->digest(), o.images > 0 ? std::min(o.images, data->size()) : data->size()};
  write_result(r, o.output);
  print(r, o.output);
  return 0;
}

}  // namespace

void add_study(CLI::App& app, int& status) {
  auto* const c = app.add_subcommand("study", "a study of networks and data (vitrine studies lists them), as a folder");
  auto o = std::make_shared<Options>();
  c->add_option("NAME", o->name, "the study")->required();
  c->add_option("FILE", o->files, "model files; the first is the one that is studied")->required();
  c->add_option("--data", o->data, "data set, as for train; its test part is used");
  c->add_option("--node", o->nodes, "a node that is studied; may be given several times")->allow_extra_args(false);
  c->add_option("--set", o->settings, "key=value: a setting of the study")->allow_extra_args(false);
  c->add_option("--images", o->images, "the first so many; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  c->add_option("--seed", o->seed, "of what is drawn")->check(seed_range())->capture_default_str();
  c->add_option("--cache", o->cache, "folder for activations that later runs may use again");
  c->add_option("--output", o->output, "folder of the result: result.json, index.html, arrays, tables, pictures")
      ->required();
  o->engine.add_to(*c);
  c->callback([o, &status] { status = run(*o); });

  auto* const m = app.add_subcommand("merge", "join the parts that explain --output DIR wrote");
  auto folder = std::make_shared<std::string>(), output = std::make_shared<std::string>();
  m->add_option("DIR", *folder, "folder of the parts")->required();
  m->add_option("--output", *output, "R.npy (default: DIR/relevance.npy); its description goes beside it, .json");
  m->callback([folder, output, &status] {
    const MergedParts done = merge_parts(*folder, *output);
    std::printf("%lld images of %lld %s: %s and %s\n", static_cast<long long>(done.images),
                static_cast<long long>(done.parts), done.parts == 1 ? "part" : "parts", done.relevance.c_str(),
                done.index.c_str());
    status = 0;
  });
}

}  // namespace vitrine::tools
