#include <sys/ioctl.h>
#include <unistd.h>

#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "core/host/io/file.h"
#include "interp/settings.h"
#include "tools/commands.h"

namespace vitrine::tools {

void EngineOptions::add_to(CLI::App& app) {
  app.add_option("--threads", threads, "of the CPU; 0: one a core")->capture_default_str()->check(CLI::Range(0, 1024));
  app.add_option("--device", device, "cpu, cuda or cuda:N (the N-th GPU)")->capture_default_str();
  app.add_option("--memory", memory, "that one run may take, such as 800M or 4G; else what the system has left");
}

namespace {

// "800M", "2.5G", "1048576"; 0 for nothing.
std::size_t parse_bytes(const std::string& text) {
  if (text.empty()) return 0;
  const std::string units = "KMGT";
  const std::size_t unit = units.find(static_cast<char>(std::toupper(static_cast<unsigned char>(text.back()))));
  double n = 0;
  const bool valid = parse_number(unit == std::string::npos ? text : text.substr(0, text.size() - 1), n) && n > 0;
  const double bytes = unit == std::string::npos ? n : std::ldexp(n, 10 * (static_cast<int>(unit) + 1));
  if (!valid || bytes < 1 || bytes > 1e18)
    throw Error("--memory " + text + ": expected a size such as 800M or 4G", Error::usage);
  return static_cast<std::size_t>(bytes);
}

}  // namespace

Engine EngineOptions::open() const { return Engine(threads, device, parse_bytes(memory)); }

std::string describe(const Engine& engine) {
  if (engine.device() != nullptr) return engine.device()->name;
  return std::to_string(engine.threads()) + (engine.threads() == 1 ? " thread, " : " threads, ") +
         kernels::name(kernels::active()) + " kernels";
}

data::PictureFit picture_fit(const Model& model) {
  const Shape s = model.image_shape();
  return {s.h(), s.w(), model.preparation.resize, s.c() == 1 ? 1 : 3};
}

CLI::Validator within(double low, double high) {
  char range[64];
  std::snprintf(range, sizeof range, "from %g to %g", low, high);
  const auto check = [low, high, expected = std::string(range)](const std::string& text) {
    double v = 0;
    return parse_number(text, v) && v >= low && v <= high ? std::string() : text + ": expected a number " + expected;
  };
  return {check, range};
}

CLI::Validator seed_range() {
  const auto check = [](const std::string& text) {
    std::uint64_t seed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
    return error == std::errc{} && end == text.data() + text.size()
               ? std::string()
               : text + ": expected a whole number from 0 to 18446744073709551615";
  };
  return {check, "from 0 to 2^64 - 1"};
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

// Whether two paths are one file; a file that is not there yet has the folder that it would be in.
bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  const bool same = std::filesystem::equivalent(a, b, error);
  if (!error) return same;
  return std::filesystem::weakly_canonical(a, error) == std::filesystem::weakly_canonical(b, error);
}

}  // namespace

void refuse_same_files(const std::vector<NamedFile>& written, const std::vector<NamedFile>& read) {
  for (std::size_t i = 0; i < written.size(); ++i) {
    const NamedFile& out = written[i];
    if (out.path.empty() || io::is_stream(out.path)) continue;
    for (const NamedFile& in : read)
      if (!in.path.empty() && same_file(out.path, in.path))
        throw Error(out.option + " " + out.path + ": is " + in.option + ", which would be overwritten", Error::usage);
    for (std::size_t k = 0; k < i; ++k)
      if (!written[k].path.empty() && same_file(out.path, written[k].path))
        throw Error(out.option + " " + out.path + ": is written by " + written[k].option + " as well", Error::usage);
  }
}

std::vector<NamedFile> files_read(const std::string& model, const std::vector<std::string>& inputs) {
  std::vector<NamedFile> files = {{"the model file", model}};
  for (const std::string& input : inputs) {
    const std::size_t equals = input.rfind('=');  // NAME=X.npy
    files.push_back({"--input", equals == std::string::npos ? input : input.substr(equals + 1)});
  }
  return files;
}

void require_ending(const NamedFile& file, const std::string& ending) {
  std::error_code ignored;
  if (file.path.empty() || io::is_stream(file.path) || file.path.ends_with(ending)) return;
  if (std::filesystem::is_directory(file.path, ignored)) return;  // whoever writes says that it is a folder
  throw Error(file.option + " " + file.path + ": expected a name that ends in " + ending, Error::usage);
}

void say_main_output(const Model& model, const std::string& named, const char* what) {
  const Graph& g = model.graph();
  if (g.outputs.size() > 1 && named.empty())
    std::fprintf(stderr, "vitrine: of %zu outputs '%s' is %s (--output-name takes another)\n", g.outputs.size(),
                 g.values[g.output].name, what);
}

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

int terminal_columns(std::FILE* stream) {
  winsize size{};
  return ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

StatusLine::StatusLine(std::FILE* stream) : stream_(stream), terminal_(::isatty(::fileno(stream)) == 1) {}

bool StatusLine::due() const noexcept { return terminal_ && now() - shown_at_ >= 0.1; }

void StatusLine::show(const std::string& name, double share, const std::string& numbers) {
  constexpr int widest = 40, narrowest = 4, around = 4;  // of the bar; its brackets and the spaces around it
  shown_at_ = now();
  shown_ = true;
  const int columns = terminal_columns(stream_) - 1;
  const int width = std::min(widest, columns - around - static_cast<int>(name.size() + numbers.size()));
  std::string line = name;
  if (width >= narrowest) {
    const int full = std::clamp(static_cast<int>(share * width), 0, width);
    line += " [" + std::string(static_cast<std::size_t>(full), '#') +
            std::string(static_cast<std::size_t>(width - full), '.') + "]";
  }
  line += " " + numbers;
  std::fprintf(stream_, "\r\033[K%s", line.substr(0, static_cast<std::size_t>(std::max(0, columns))).c_str());
  std::fflush(stream_);
}

void StatusLine::clear() {
  if (shown_) std::fprintf(stream_, "\r\033[K");
  shown_ = false;
}

Progress::Progress(std::string what, std::string cache)
    : what_(std::move(what)),
      line_(stderr),
      start_(now()),
      job_([this](double share) { show(share); }, [] { return stop_requested.load(); }, std::move(cache)) {}

Progress::~Progress() { line_.clear(); }

void Progress::show(double share) {
  const double seconds = now() - start_;
  if (seconds < 0.5 || !line_.due()) return;  // nothing for what is done at once
  const double left = share > 0 ? seconds * (1 - share) / share : 0;
  char numbers[48];
  std::snprintf(numbers, sizeof numbers, "%3.0f %%  %.0f s left", 100 * share, left);
  line_.show(what_, share, numbers);
}

}  // namespace vitrine::tools
