#include "interp/runs/composite_file.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/host/io/file.h"
#include "layers/registry.h"

namespace vitrine {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* schema = "vitrine-composite/1";
constexpr std::size_t max_bytes = std::size_t{1} << 20;

std::vector<std::string> alternatives(const std::string& list) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find('|', at), list.size());
    out.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

bool names_ops(const std::string& word) {
  for (const OpWord& w : op_words())
    if (word == w.name) return true;
  for (const OpEntry& op : op_entries())
    if (matches(word.c_str(), op.name)) return true;
  return false;
}

// As a user would write it: 0.1f is 0.1.
double shortest(float v) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, v).ptr;
  double out = v;
  std::from_chars(text, end, out);
  return out;
}

Json numbers(std::span<const float> values) {
  Json list = Json::array();
  for (const float v : values) list.push_back(shortest(v));
  return list;
}

Json settings_of(const RuleSpec& spec) {
  Json out = Json::object();
  if (spec.settings == nullptr) return out;
  const LrpOptions& o = *spec.settings;
  if (spec.given & LrpGiven::epsilon) out["epsilon"] = shortest(o.epsilon);
  if (spec.given & LrpGiven::gamma) out["gamma"] = shortest(o.gamma);
  if (spec.given & LrpGiven::alpha_beta) out["alpha"] = shortest(o.alpha), out["beta"] = shortest(o.beta);
  if (spec.given & LrpGiven::low) out["low"] = numbers(o.low);
  if (spec.given & LrpGiven::high) out["high"] = numbers(o.high);
  if (spec.given & LrpGiven::stabiliser) out["stabiliser"] = shortest(o.stabiliser.eps);
  if (spec.given & LrpGiven::form)
    out["stabiliser-form"] = o.stabiliser.mode == kernels::Stabilise::clip ? "clip" : "offset";
  if (spec.given & LrpGiven::bias)
    out["bias"] = o.bias == BiasMode::dropped ? "dropped" : o.bias == BiasMode::shared ? "shared" : "kept";
  return out;
}

void put_rule(Json& to, RuleSpec spec, LrpKind chosen) {
  if (spec.kind == RuleKind::chosen) spec = chosen;
  for (const RuleEntry& e : rule_entries())
    if (e.rule && e.rule->kind == spec.kind && (spec.kind != RuleKind::lrp || e.rule->lrp == spec.lrp))
      to["rule"] = e.name;
  Json settings = settings_of(spec);
  if (!spec.strict) settings["other"] = "gradient";
  if (!settings.empty()) to["settings"] = settings;
}

/// One line per entry: a file that people change.
std::string to_json(const Composite& c, const std::string& name, LrpKind chosen) {
  std::string out = "{\n";
  const auto line = [&](const char* key, const Json& value) {
    out += " \"" + std::string(key) + "\": " + value.dump() + ",\n";
  };
  line("schema", schema);
  line("name", name);
  line("summary", c.summary);
  line("source", c.source);
  out += " \"entries\": [";
  const char* separator = "\n";
  for (const CompositeEntry& e : c.entries) {
    Json entry = Json::object();
    if (e.nodes != nullptr) entry["nodes"] = e.nodes;
    if (e.ops != nullptr) entry["ops"] = e.ops;
    if (e.first) entry["first"] = true;
    put_rule(entry, e.rule, chosen);
    out += separator + ("  " + entry.dump());
    separator = ",\n";
  }
  Json otherwise = Json::object();
  put_rule(otherwise, c.otherwise, chosen);
  return out + "\n ],\n \"otherwise\": " + otherwise.dump() + "\n}\n";
}

}  // namespace

// Fills a CompositeFile from its JSON.
class CompositeFile::Reader {
 public:
  explicit Reader(CompositeFile& file) : file_(file) {}

  void read(const Json& root) {
    const std::string where = "composite " + file_.path_;
    check_keys(root, where, {"schema", "name", "summary", "source", "entries", "otherwise"});
    if (!root.contains("schema") || root["schema"] != schema)
      throw Error(where + ": 'schema' is " + (root.contains("schema") ? root["schema"].dump() : "missing") +
                  ", expected \"" + schema + "\"");
    for (const char* key : {"name", "entries", "otherwise"})
      if (!root.contains(key)) throw Error(where + ": '" + key + "' is missing");
    const Json& entries = root["entries"];
    if (!entries.is_array()) throw Error(where + ": 'entries' is " + found(entries) + ", expected an array");
    for (std::size_t k = 0; k < entries.size(); ++k) read_entry(entries[k], file_.entries_.size());
    check_keys(root["otherwise"], where + ": otherwise", {"rule", "settings"});
    file_.composite_ = {text(root, where, "name"), text(root, where, "summary"), text(root, where, "source"),
                        file_.entries_, read_rule(root["otherwise"], where + ": otherwise")};
  }

 private:
  static std::string found(const Json& value) { return std::string("a JSON ") + value.type_name(); }

  static void check_keys(const Json& object, const std::string& where, std::initializer_list<const char*> known) {
    std::string list;
    for (const char* key : known) list += (list.empty() ? "" : ", ") + std::string(key);
    if (!object.is_object()) throw Error(where + ": is " + found(object) + ", expected an object with " + list);
    for (const auto& item : object.items())
      if (std::find(known.begin(), known.end(), item.key()) == known.end())
        throw Error(where + ": unknown key '" + item.key() + "', expected one of " + list);
  }

  /// A text of the object, kept in the file; "" if there is none.
  const char* text(const Json& object, const std::string& where, const char* key) {
    if (!object.contains(key)) return "";
    const Json& value = object[key];
    if (!value.is_string() || value.get_ref<const std::string&>().find('\0') != std::string::npos)
      throw Error(where + ": '" + key + "' is " + found(value) + ", expected a text");
    return file_.texts_.emplace_back(value.get<std::string>()).c_str();
  }

  void read_entry(const Json& entry, std::size_t index) {
    const std::string where = "composite " + file_.path_ + ": entry " + std::to_string(index + 1);
    check_keys(entry, where, {"nodes", "ops", "first", "rule", "settings"});
    CompositeEntry e{.rule = read_rule(entry, where)};
    if (entry.contains("nodes")) e.nodes = text(entry, where, "nodes");
    if (entry.contains("ops")) {
      e.ops = text(entry, where, "ops");
      for (const std::string& word : alternatives(e.ops))
        if (!names_ops(word)) {
          std::string known;
          for (const OpWord& w : op_words()) known += std::string(known.empty() ? "" : ", ") + w.name;
          throw Error(where + ": 'ops' has '" + word + "', expected an op of `vitrine layers` or one of " + known);
        }
    }
    if (entry.contains("first")) {
      if (!entry["first"].is_boolean())
        throw Error(where + ": 'first' is " + found(entry["first"]) + ", expected true or false");
      e.first = entry["first"].get<bool>();
    }
    if (e.nodes == nullptr && e.ops == nullptr && !e.first)
      throw Error(where + ": has no condition, expected nodes, ops or \"first\": true");
    file_.entries_.push_back(e);
  }

  RuleSpec read_rule(const Json& object, const std::string& where) {
    if (!object.contains("rule")) throw Error(where + ": 'rule' is missing");
    const RuleEntry& entry = find_rule(text(object, where, "rule"), where + ": ");
    if (!entry.rule) throw Error(where + ": rule " + entry.name + " carries multipliers of DeepLIFT, not relevance");
    RuleSpec spec = *entry.rule;
    std::map<std::string, std::string> given;
    if (object.contains("settings")) {
      const Json& settings = object["settings"];
      if (!settings.is_object()) throw Error(where + ": 'settings' is " + found(settings) + ", expected an object");
      for (const auto& item : settings.items()) given[item.key()] = written(item.value(), where, item.key());
    }
    const Settings s(where + ": rule " + entry.name, entry.settings, given);
    if (s.declares("other")) spec.strict = s.text("other") == "refuse";
    if (spec.kind != RuleKind::lrp) return spec;
    LrpSettings& kept = file_.settings_.emplace_back(read_lrp_settings(s));
    kept.options.kind = spec.lrp;
    // Bounds that are not given are known with the model only.
    const float zero = 0;
    LrpOptions checked = kept.options;
    checked.low = checked.high = {&zero, 1};
    if (kept.given & LrpGiven::low) kept.options.low = kept.low;
    if (kept.given & LrpGiven::high) kept.options.high = kept.high;
    if ((kept.given & LrpGiven::low) && (kept.given & LrpGiven::high)) checked = kept.options;
    if (const char* why = check(checked)) throw Error(where + ": rule " + entry.name + " " + why, Error::usage);
    spec.given = kept.given;
    spec.settings = &kept.options;
    return spec;
  }

  /// A setting's value as on the command line.
  static std::string written(const Json& value, const std::string& where, const std::string& key) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number()) return value.dump();
    std::string list;
    bool all_numbers = value.is_array() && !value.empty();
    if (all_numbers)
      for (const Json& v : value) {
        all_numbers = all_numbers && v.is_number();
        list += (list.empty() ? "" : ";") + v.dump();
      }
    if (!all_numbers)
      throw Error(where + ": setting '" + key + "' is " + found(value) +
                  ", expected a number, a text or an array of numbers");
    return list;
  }

  CompositeFile& file_;
};

CompositeFile::CompositeFile(const std::string& path) : path_(path) {
  const std::vector<std::byte> bytes = io::read_file(path, max_bytes);
  const char* const text = reinterpret_cast<const char*>(bytes.data());
  const Json root = Json::parse(text, text + bytes.size(), nullptr, false);
  if (root.is_discarded()) throw Error("composite " + path + ": is no JSON");
  Reader(*this).read(root);
}

std::string CompositeFile::where(std::size_t entry) const {
  return "composite " + path_ + ": " + (entry < entries_.size() ? "entry " + std::to_string(entry + 1) : "otherwise");
}

std::shared_ptr<const CompositeFile> read_composite(const std::string& path) {
  return std::make_shared<const CompositeFile>(path);
}

std::string composite_json(const std::string& name) {
  CompositeOptions o;
  if (!find_composite(name, o)) {
    std::string known;
    for (const Composite* c : named_composites) known += std::string(c->name) + ", ";
    throw Error("unknown composite '" + name + "': expected one of " + known + "uniform-RULE", Error::usage);
  }
  return to_json(o.composite, name, o.rule.kind);
}

}  // namespace vitrine
