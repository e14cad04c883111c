#include "models/state_dict.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/host/io/file.h"
#include "core/host/io/safetensors.h"
#include "models/architectures.h"

namespace vitrine {
namespace {

// Names joined for a sentence, the first few.
std::string some(const std::vector<std::string>& names) {
  std::string s;
  for (std::size_t k = 0; k < names.size() && k < 8; ++k) {
    if (k > 0) s += ", ";
    s += names[k];
  }
  return names.size() > 8 ? s + " and " + std::to_string(names.size() - 8) + " more" : s;
}

std::string renamed(const std::string& name, const std::map<std::string, std::string>& names) {
  const std::pair<const std::string, std::string>* best = nullptr;
  for (const auto& entry : names)
    if (name.starts_with(entry.first) && (best == nullptr || entry.first.size() > best->first.size())) best = &entry;
  return best != nullptr ? best->second + name.substr(best->first.size()) : name;
}

// The file's tensors by the names that they have here.
std::map<std::string, const io::TensorEntry*> tensors_by_name(const io::Safetensors& file,
                                                              const std::map<std::string, std::string>& names) {
  std::string wrapper;
  for (const char* prefix : {"module.", "model.", "_orig_mod."})
    if (!file.tensors().empty() && std::all_of(file.tensors().begin(), file.tensors().end(),
                                               [&](const io::TensorEntry& t) { return t.name.starts_with(prefix); }))
      wrapper = prefix;
  std::map<std::string, const io::TensorEntry*> out;
  for (const io::TensorEntry& t : file.tensors()) {
    const std::string name = renamed(t.name.substr(wrapper.size()), names);
    if (!out.emplace(name, &t).second) throw Error(file.path() + ": two tensors come to be called '" + name + "'");
  }
  return out;
}

}  // namespace

Model import_state_dict(const std::string& path, const StateDictOptions& o) {
  const Architecture& a = find_architecture(o.architecture);
  const io::Safetensors file(path);
  const auto tensors = tensors_by_name(file, o.names);

  const std::string last = std::string(a.classifier) + ".weight";
  const auto classifier = tensors.find(last);
  if (classifier == tensors.end()) {
    std::vector<std::string> found;
    for (const auto& [name, t] : tensors) found.push_back(name);
    throw Error(path + ": has no tensor '" + last + "', which " + a.name + " ends in; it holds " + some(found) +
                " (--map gives other names)");
  }
  const auto& d = classifier->second->shape;
  if (d.size() != 2 || d[0] < 1 || d[0] > (1 << 24))
    throw Error(path + ": tensor '" + last + "' has shape " + text(d) + ", expected (classes, features)");
  const bool auxiliary =
      std::any_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.first.starts_with("aux1."); });
  Model model = build_model(a, o.image.value_or(a.usual), static_cast<int>(d[0]), auxiliary);

  std::vector<std::string> missing, wrong, extra;
  std::map<std::string, bool> used;
  for (const Value& v : model.graph().values) {
    if (v.kind != ValueKind::parameter) continue;
    const auto t = tensors.find(v.name);
    if (t == tensors.end()) {
      missing.emplace_back(v.name);
      continue;
    }
    used[v.name] = true;
    std::vector<std::int64_t> expected;
    for (std::uint8_t k = 0; k < v.rank; ++k) expected.push_back(v.shape.d[k]);
    if (t->second->shape != expected) {
      wrong.push_back(std::string(v.name) + " " + text(t->second->shape) + " instead of " + text(expected));
      continue;
    }
    const std::vector<float> values = t->second->floats();
    for (std::size_t k = 0; k < values.size(); ++k)
      if (!std::isfinite(values[k]))
        throw Error(path + ": tensor '" + t->second->name + "' is not finite at element " + std::to_string(k));
    std::copy(values.begin(), values.end(), model.parameters.begin() + v.offset);
  }
  for (const auto& [name, t] : tensors)
    if (!used.contains(name) && !name.ends_with("num_batches_tracked")) extra.push_back(name);
  std::string what;
  const auto add = [&](const char* about, const std::vector<std::string>& names) {
    if (!names.empty()) what += (what.empty() ? "" : "; ") + std::string(about) + " " + some(names);
  };
  add("lacks", missing);
  add("has other shapes:", wrong);
  add("holds what the network does not have:", extra);
  if (!what.empty()) throw Error(path + ": does not fit " + a.name + ": " + what + " (--map gives other names)");
  return model;
}

void export_state_dict(const Model& model, const std::string& path) {
  io::SafetensorsWriter file(path);
  file.metadata("format", "pt");
  for (const Value& v : model.graph().values) {
    if (v.kind != ValueKind::parameter) continue;
    std::vector<std::int64_t> shape;
    for (std::uint8_t k = 0; k < v.rank; ++k) shape.push_back(v.shape.d[k]);
    file.add(v.name, shape, model.parameters.data() + v.offset);
  }
  file.commit();
}

std::map<std::string, std::string> read_name_map(const std::string& path) {
  const std::vector<std::byte> text = io::read_file(path, std::size_t{1} << 24);
  try {
    const auto json = nlohmann::json::parse(reinterpret_cast<const char*>(text.data()),
                                            reinterpret_cast<const char*>(text.data()) + text.size());
    return json.get<std::map<std::string, std::string>>();
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": is no JSON object of names: " + e.what());
  }
}

}  // namespace vitrine
