#include "interp/result/registry.h"

#include <algorithm>
#include <chrono>

#include "core/host/text.h"

namespace vitrine {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

std::map<std::string, std::string> AttributionCall::wrapped_settings() const {
  std::map<std::string, std::string> inner;
  for (const auto& [key, value] : settings)
    if (key.starts_with("of.")) inner[key.substr(3)] = value;
  return inner;
}

const MethodEntry& find_method(const std::string& name, bool study) {
  std::vector<std::string> known;
  const std::string plain = plain_name(name);
  for (const MethodEntry* const e : method_entries()) {
    if ((e->study != nullptr) != study) continue;
    if (plain == e->card.name) return *e;
    known.emplace_back(e->card.name);
  }
  const std::string near = nearest_name(plain, known);
  std::string sentence = std::string("unknown ") + (study ? "study" : "method") + " '" + name + "': ";
  if (!near.empty()) sentence += "did you mean " + near + "? ";
  sentence += near.empty() ? "expected one of " : "There are ";
  for (std::size_t k = 0; k < known.size(); ++k) sentence += (k > 0 ? ", " : "") + known[k];
  throw Error(sentence, Error::usage);
}

std::unique_ptr<Attribution> make_attribution(const std::string& name, const AttributionCall& c) {
  const MethodEntry& entry = find_method(name);
  const Card& card = entry.card;
  std::map<std::string, std::string> own = c.settings;
  if (card.wraps_a_method) std::erase_if(own, [](const auto& pair) { return pair.first.starts_with("of."); });
  const Settings settings(std::string("method ") + card.name, card.settings, own);
  if (!c.rules.empty() && !card.takes_rules)
    throw Error(std::string("method ") + card.name + " walks with fixed rules: it takes no --rule", Error::usage);
  const bool takes_composite =
      card.wraps_a_method || std::any_of(card.settings.begin(), card.settings.end(),
                                         [](const Setting& s) { return s.name == std::string("composite"); });
  if (c.composite && !takes_composite)
    throw Error(std::string("method ") + card.name + " takes no --composite: it is for method lrp", Error::usage);
  std::unique_ptr<Attribution> made = entry.attribution(c, settings);
  made->card_ = &card;
  if (!made->has_baseline() && !made->card().takes_background && !c.baseline.is_default())
    throw Error(std::string("method ") + card.name + " has no baseline", Error::usage);
  return made;
}

Result run_study(const std::string& name, const StudyCall& c, const std::map<std::string, std::string>& given,
                 const Job& job) {
  const MethodEntry& entry = find_method(name, true);
  const Settings settings(std::string("study ") + entry.card.name, entry.card.settings, given);
  const double start = now();
  Result result = entry.study(c, settings, job);
  result.study = entry.card.name;
  for (const Setting& s : entry.card.settings) result.settings[s.name] = settings.text(s.name);
  result.seed = c.seed;
  for (Subject* const subject : c.subjects) {
    result.cost.forward += subject->runs().forward;
    result.cost.backward += subject->runs().backward;
    result.cost.peak_bytes = std::max(result.cost.peak_bytes, subject->runs().peak_bytes);
  }
  result.cost.seconds = now() - start;
  return result;
}

}  // namespace vitrine
