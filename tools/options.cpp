#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

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

data::PictureFit picture_fit(const Model& model) {
  const Shape s = model.image_shape();
  return {s.h(), s.w(), model.preparation.resize, s.c() == 1 ? 1 : 3};
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

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string what, std::string cache)
    : what_(std::move(what)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(now()),
      job_([this](double share) { show(share); }, [] { return stop_requested.load(); }, std::move(cache)) {}

Progress::~Progress() {
  if (terminal_ && shown_at_ > 0) std::fprintf(stderr, "\r\033[K");
}

void Progress::show(double share) {
  const double time = now();
  // Nothing for what is done at once, and never a second line.
  if (!terminal_ || time - start_ < 0.5 || time - shown_at_ < 0.1) return;
  shown_at_ = time;
  const double left = share > 0 ? (time - start_) * (1 - share) / share : 0;
  char numbers[48];
  std::snprintf(numbers, sizeof numbers, " %3.0f %%  %.0f s left", 100 * share, left);
  const int room = terminal_columns() - 1 - static_cast<int>(std::string(numbers).size());
  const std::string name = what_.substr(0, static_cast<std::size_t>(std::max(0, room / 2)));
  const int width = std::clamp(room - static_cast<int>(name.size()) - 3, 0, 40), full = static_cast<int>(share * width);
  std::string bar;
  if (width >= 4)
    bar = " [" + std::string(static_cast<std::size_t>(full), '#') +
          std::string(static_cast<std::size_t>(width - full), '.') + "]";
  std::fprintf(stderr, "\r\033[K%s%s%s", name.c_str(), bar.c_str(), numbers);
  std::fflush(stderr);
}

}  // namespace vitrine::tools
