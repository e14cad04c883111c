// The commands of the program `vitrine`, one file each. Each adds itself to the command line and returns its exit
// status.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <string>
#include <vector>

#include "interp/predict/explain.h"

namespace vitrine::tools {

void add_train(CLI::App&, int& status);
void add_eval(CLI::App&, int& status);
void add_data(CLI::App&, int& status);
void add_predict(CLI::App&, int& status);
void add_explain(CLI::App&, int& status);
void add_import(CLI::App&, int& status);
void add_export(CLI::App&, int& status);
void add_filters(CLI::App&, int& status);
void add_rules_report(CLI::App&, int& status);
void add_inspect(CLI::App&, int& status);
void add_lists(CLI::App&, int& status);  ///< methods, rules, models, layers

/// Raised by Ctrl-C: long work looks at it and stops at the next good place.
extern std::atomic<bool> stop_requested;

/// Inputs as the network takes them, with a name each for people.
struct Inputs {
  Images images;
  std::vector<std::string> names;
  std::vector<std::int64_t> file_shape;  ///< of the .npy; empty where pictures were read
  bool nhwc = false;                     ///< the .npy was (N,H,W,C)
};
/// Images between the orders (N,C,H,W) and (N,H,W,C); `s` is one image as (1,C,H,W).
std::vector<float> moved(const std::vector<float>& from, std::int64_t images, const Shape& s, bool to_nchw);
/// X is a .npy (N,C,H,W) float32 as the network takes it; a .png or .jpg, which is resized and prepared as the model
/// says; or a folder of such pictures.
Inputs read_inputs(const Model&, const std::string& path);
/// The pixels in [0,1] that a prepared image stands for, for showing.
std::vector<float> unprepared(const Model&, const TensorView& image);

/// Where a command runs its network: options --threads and --device of every command that does.
struct EngineOptions {
  int threads = 0;
  std::string device = "cpu";
  void add_to(CLI::App&);
  Engine open() const { return Engine(threads, device); }
};
/// "2 threads, avx512 kernels", or the device's name.
std::string describe(const Engine&);

/// "[key=value]..." of --set.
std::map<std::string, std::string> parse_assignments(const std::vector<std::string>&);

}  // namespace vitrine::tools
