#include "tools/commands.h"

namespace vitrine::tools {

void EngineOptions::add_to(CLI::App& app) {
  app.add_option("--threads", threads, "of the CPU; 0: one a core")->capture_default_str()->check(CLI::Range(0, 1024));
  app.add_option("--device", device, "cpu, cuda or cuda:N (the N-th GPU)")->capture_default_str();
}

std::string describe(const Engine& engine) {
  if (engine.device() != nullptr) return engine.device()->name;
  return std::to_string(engine.threads()) + (engine.threads() == 1 ? " thread, " : " threads, ") +
         kernels::name(kernels::active()) + " kernels";
}

std::map<std::string, std::string> parse_assignments(const std::vector<std::string>& list) {
  std::map<std::string, std::string> out;
  for (const std::string& pair : list) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error("--set '" + pair + "': expected key=value", Error::usage);
    if (!out.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second)
      throw Error("--set: '" + pair.substr(0, equals) + "' is set twice", Error::usage);
  }
  return out;
}

}  // namespace vitrine::tools
