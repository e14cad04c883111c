// The commands of the program `vitrine`, one file each. Each adds itself to the command line and returns its exit
// status.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <string>
#include <vector>

#include "interp/predict/explain.h"
#include "models/data/inputs.h"

namespace vitrine::tools {

void add_train(CLI::App&, int& status);
void add_eval(CLI::App&, int& status);
void add_data(CLI::App&, int& status);
void add_predict(CLI::App&, int& status);
void add_explain(CLI::App&, int& status);
void add_study(CLI::App&, int& status);  ///< study, merge
void add_import(CLI::App&, int& status);
void add_export(CLI::App&, int& status);
void add_filters(CLI::App&, int& status);
void add_rules_report(CLI::App&, int& status);
void add_inspect(CLI::App&, int& status);
void add_lists(CLI::App&, int& status);  ///< methods, rules, models, layers

/// Raised by Ctrl-C: long work looks at it and stops at the next good place.
extern std::atomic<bool> stop_requested;

using data::Inputs;
using data::moved;
using data::read_images;
using data::read_inputs;
using data::unprepared;
/// What --input takes, for its help.
inline constexpr const char* input_help =
    "X.npy (N,C,H,W, as the network takes it), a picture, or a folder of pictures; NAME=X.npy gives another input";

/// How pictures of a data set are brought to a network's extent.
data::PictureFit picture_fit(const Model&);

/// Where a command runs its network: options --threads, --device and --memory of every command that does.
struct EngineOptions {
  int threads = 0;
  std::string device = "cpu", memory;
  void add_to(CLI::App&);
  Engine open() const;
};
/// "2 threads, avx512 kernels", or the device's name.
std::string describe(const Engine&);

/// The check of an option that is a number from `low` to `high`; unlike CLI::Range it refuses nan.
CLI::Validator within(double low, double high);
/// What a seed can be; CLI11 itself takes -1 and cuts numbers that are too large.
CLI::Validator seed_range();

/// "[key=value]..." of --set.
std::map<std::string, std::string> parse_assignments(const std::vector<std::string>&);

/// A file that a command names: the option (or argument), and its path, which may be empty.
struct NamedFile {
  std::string option, path;
};
/// A usage Error if a file that is written is one of those that are read, or two that are written are one.
void refuse_same_files(const std::vector<NamedFile>& written, const std::vector<NamedFile>& read);
/// A model file and the files of --input, for refuse_same_files.
std::vector<NamedFile> files_read(const std::string& model, const std::vector<std::string>& inputs);
/// A usage Error unless the path is empty, a stream (io::is_stream), or ends in that.
void require_ending(const NamedFile&, const std::string& ending);

/// Says which of several outputs a command is about (`what`: "predicted"), unless the caller named one: nothing else
/// in a result shows it.
void say_main_output(const Model&, const std::string& named, const char* what);

/// Columns of the terminal behind a stream; 80 if it does not say.
int terminal_columns(std::FILE*);

/// One line of a terminal that is written again and again: never wider than the terminal, at most ten times a second.
/// Nothing is written to what is no terminal.
class StatusLine {
 public:
  explicit StatusLine(std::FILE* stream);
  bool due() const noexcept;
  /// NAME [####....] NUMBERS, of which the bar gives way first, then the end of the numbers.
  void show(const std::string& name, double share, const std::string& numbers);
  /// Takes the line away, so that other text can take its place.
  void clear();

 private:
  std::FILE* stream_;
  bool terminal_, shown_ = false;
  double shown_at_ = 0;
};

/// A job that Ctrl-C stops and that shows a status line on standard error, which is gone when the job ends.
class Progress {
 public:
  explicit Progress(std::string what, std::string cache = "");
  ~Progress();
  Progress(const Progress&) = delete;
  const Job& job() const noexcept { return job_; }

 private:
  void show(double share);
  std::string what_;
  StatusLine line_;
  double start_;
  Job job_;
};

}  // namespace vitrine::tools
