#include "interp/result/part_file.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/host/io/file.h"
#include "core/host/io/npy.h"

namespace vitrine {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Json stats_json(const kernels::Stats& s) {
  return {{"sum", s.sum}, {"abs_sum", s.abs_sum}, {"abs_max", s.abs_max}, {"non_finite", s.non_finite}};
}

kernels::Stats stats_of(const Json& j) {
  kernels::Stats s;
  s.sum = j.at("sum");
  s.abs_sum = j.at("abs_sum");
  s.abs_max = j.at("abs_max");
  s.non_finite = j.at("non_finite");
  return s;
}

// Without what differs from run to run: a part's bytes are the same whoever made it.
Json sums_json(const std::vector<LedgerRow>& ledger) {
  Json rows = Json::array();
  for (const LedgerRow& r : ledger)
    rows.push_back({{"node", r.node},
                    {"op", r.op},
                    {"rule", r.rule},
                    {"out", stats_json(r.out)},
                    {"in", stats_json(r.in)},
                    {"absorbed_by_bias", r.absorbed_by_bias},
                    {"absorbed_by_stabiliser", r.absorbed_by_stabiliser},
                    {"unplaced", r.unplaced()}});
  return rows;
}

std::vector<LedgerRow> sums_of(const Json& rows) {
  std::vector<LedgerRow> ledger;
  for (const Json& j : rows) {
    LedgerRow r;
    r.node = j.at("node");
    r.op = j.at("op");
    r.rule = j.at("rule");
    r.out = stats_of(j.at("out"));
    r.in = stats_of(j.at("in"));
    r.absorbed_by_bias = j.at("absorbed_by_bias");
    r.absorbed_by_stabiliser = j.at("absorbed_by_stabiliser");
    ledger.push_back(std::move(r));
  }
  return ledger;
}

Json source_json(const PartSource& s) {
  return {{"method", s.method},
          {"settings", s.settings},
          {"rules", s.rules},
          {"objective", s.objective},
          {"baseline", s.baseline},
          {"model", {{"sha256", s.model_sha256}}},
          {"input", {{"sha256", s.input_sha256}, {"images", s.images}}},
          {"shape", s.array_shape}};
}

PartSource source_of(const Json& j) {
  PartSource s;
  s.method = j.at("method");
  s.settings = j.at("settings");
  s.rules = j.at("rules");
  s.objective = j.at("objective");
  s.baseline = j.at("baseline");
  s.model_sha256 = j.at("model").at("sha256");
  s.input_sha256 = j.at("input").at("sha256");
  s.images = j.at("input").at("images");
  s.array_shape = j.at("shape").get<std::vector<std::int64_t>>();
  return s;
}

Json part_json(const Part& p) {
  return {{"part", p.index},
          {"of", p.of},
          {"rows", {{"first", p.first}, {"count", p.count}}},
          {"names", p.names},
          {"targets", p.targets},
          {"scores", p.scores},
          {"baseline_scores", p.baseline_scores},
          {"ledger", {{"images", p.count}, {"nodes", sums_json(p.ledger)}}}};
}

Part part_of(const Json& j) {
  Part p;
  p.index = j.at("part");
  p.of = j.at("of");
  p.first = j.at("rows").at("first");
  p.count = j.at("rows").at("count");
  p.names = j.at("names").get<std::vector<std::string>>();
  p.targets = j.at("targets").get<std::vector<int>>();
  p.scores = j.at("scores").get<std::vector<double>>();
  p.baseline_scores = j.at("baseline_scores").get<std::vector<double>>();
  p.ledger = sums_of(j.at("ledger").at("nodes"));
  return p;
}

void write_text(const std::string& path, const std::string& text) {
  io::AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

Json read_json(const std::string& path) {
  const std::vector<std::byte> bytes = io::read_file(path);
  Json j = Json::parse(reinterpret_cast<const char*>(bytes.data()),
                       reinterpret_cast<const char*>(bytes.data()) + bytes.size(), nullptr, false);
  if (!j.is_object() || j.value("schema", "") != "vitrine-part/1")
    throw Error(path + ": is no description of a part (\"schema\": \"vitrine-part/1\")");
  return j;
}

struct Found {
  PartSource source;
  Part part;
};
Found read_part(const std::string& path) {
  const Json j = read_json(path);
  try {
    return {source_of(j), part_of(j)};
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": lacks a key or has one of another type: " + e.what());
  }
}

std::string difference(const PartSource& a, const PartSource& b) {
  if (a.model_sha256 != b.model_sha256) return "another network";
  if (a.input_sha256 != b.input_sha256 || a.images != b.images) return "other images";
  if (a.method != b.method) return "method " + a.method;
  if (a.settings != b.settings || a.rules != b.rules) return "other settings";
  if (a.objective != b.objective) return "objective " + a.objective;
  return "another baseline or shape";
}

std::string path_of(const std::string& folder, std::int64_t index, std::int64_t of, const char* ending) {
  return (fs::path(folder) / (part_name(index, of) + ending)).string();
}

// How many parts the folder's explanation has, by the name of one that is there.
std::int64_t parts_of(const std::string& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    long long index = 0, of = 0;
    int length = 0;
    const std::string name = it->path().filename().string();
    if (std::sscanf(name.c_str(), "part-%lld-of-%lld.json%n", &index, &of, &length) == 2 &&
        static_cast<std::size_t>(length) == name.size() && of > 0)
      return of;
  }
  throw Error(folder + ": holds no part-*-of-*.json");
}

}  // namespace

std::string part_name(std::int64_t index, std::int64_t of) {
  char name[64];
  std::snprintf(name, sizeof name, "part-%05lld-of-%05lld", static_cast<long long>(index), static_cast<long long>(of));
  return name;
}

bool part_is_complete(const std::string& folder, const PartSource& source, std::int64_t index, std::int64_t of) {
  const std::string description = path_of(folder, index, of, ".json");
  std::error_code ignored;
  if (!fs::exists(description, ignored)) return false;
  const Found found = read_part(description);
  if (found.source != source)
    throw Error(description + ": is of " + difference(found.source, source) +
                ": name another folder, or remove this one");
  return fs::exists(path_of(folder, index, of, ".npy"), ignored);
}

void write_part(const std::string& folder, const PartSource& source, const Part& part,
                const std::vector<float>& relevance) {
  std::vector<std::int64_t> shape = source.array_shape;
  shape[0] = part.count;
  io::write_npy(path_of(folder, part.index, part.of, ".npy"), shape, relevance.data());
  Json j{{"schema", "vitrine-part/1"}};
  j.update(source_json(source));
  j.update(part_json(part));
  write_text(path_of(folder, part.index, part.of, ".json"),
             j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

MergedParts merge_parts(const std::string& folder, const std::string& output) {
  MergedParts merged;
  merged.parts = parts_of(folder);
  merged.relevance = output.empty() ? (fs::path(folder) / "relevance.npy").string() : output;
  merged.index = fs::path(merged.relevance).replace_extension(".json").string();
  std::vector<Part> parts;
  PartSource source;
  for (std::int64_t k = 0; k < merged.parts; ++k) {
    const std::string description = path_of(folder, k, merged.parts, ".json");
    std::error_code ignored;
    if (!fs::exists(description, ignored))
      throw Error(folder + ": " + part_name(k, merged.parts) + " is missing: explain again, with its --shard");
    Found found = read_part(description);
    if (k == 0) source = found.source;
    if (found.source != source) throw Error(description + ": is of " + difference(found.source, source));
    parts.push_back(std::move(found.part));
  }
  io::NpyWriter relevance(merged.relevance, source.array_shape);
  Part all;
  for (const Part& p : parts) {
    const io::NpyArray rows = io::read_npy(path_of(folder, p.index, merged.parts, ".npy"));
    std::vector<std::int64_t> expected = source.array_shape;
    expected[0] = p.count;
    if (rows.shape != expected)
      throw Error(path_of(folder, p.index, merged.parts, ".npy") + ": does not have its part's " +
                  std::to_string(p.count) + " images");
    const std::vector<float> values = rows.floats();
    relevance.append(values.data(), values.size());
    all.count += p.count;
    all.names.insert(all.names.end(), p.names.begin(), p.names.end());
    all.targets.insert(all.targets.end(), p.targets.begin(), p.targets.end());
    all.scores.insert(all.scores.end(), p.scores.begin(), p.scores.end());
    all.baseline_scores.insert(all.baseline_scores.end(), p.baseline_scores.begin(), p.baseline_scores.end());
    add_ledger(all.ledger, p.ledger);
  }
  relevance.commit();
  merged.images = all.count;
  Json j{{"schema", "vitrine-explanation/1"}};
  j.update(source_json(source));
  Json rest = part_json(all);
  for (const char* key : {"part", "of", "rows"}) rest.erase(key);
  j.update(rest);
  write_text(merged.index, j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  return merged;
}

std::string ledger_json(const std::vector<LedgerRow>& ledger, const std::string& method,
                        const std::vector<int>& targets, const std::vector<double>& scores) {
  Json nodes = sums_json(ledger);
  for (std::size_t k = 0; k < ledger.size(); ++k) {
    nodes[k]["seconds"] = ledger[k].seconds;
    nodes[k]["bytes"] = ledger[k].bytes;
  }
  Json images = Json::array();
  for (std::size_t n = 0; n < targets.size(); ++n) images.push_back({{"target", targets[n]}, {"score", scores[n]}});
  const Json j{{"schema", "vitrine-ledger/1"}, {"method", method}, {"images", images}, {"nodes", nodes}};
  return j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace vitrine
