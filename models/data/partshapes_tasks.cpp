// Names of PartShapes' tasks and classes.
#include <charconv>

#include "models/data/partshapes.h"

namespace vitrine::data {
namespace {

struct Entry {
  std::string_view name;
  int classes;
};
// In the order of Task.
constexpr Entry entries[task_count] = {
    {"code9", 9},  {"near9", 9},   {"head3", 3},     {"wing3", 3},      {"tail3", 3},     {"legs3", 3},
    {"place6", 6}, {"and2", 2},    {"xor2", 2},      {"eq2", 2},        {"scene6", 6},    {"kind3", 3},
    {"code9c", 9}, {"bam-obj", 3}, {"bam-scene", 6}, {"scene-only", 6}, {"bam-graded", 6}};

constexpr const char* shapes[] = {"circle", "square", "triangle"};
constexpr const char* patterns[] = {"plain", "striped", "dotted"};
constexpr const char* colours[] = {"red", "green", "blue"};
constexpr const char* numbers[] = {"1", "2", "3"};
constexpr const char* textures[] = {"vertical stripes", "horizontal stripes", "diagonal", "checker", "dots", "blobs"};
constexpr const char* kinds[] = {"critter", "house", "cart"};

const Entry& entry(Task task) { return entries[static_cast<std::size_t>(task)]; }

}  // namespace

std::optional<TaskSpec> parse_task(std::string_view name, std::string_view argument) {
  std::string plain(name);
  for (char& c : plain)
    if (c == '_') c = '-';
  for (int i = 0; i < task_count; ++i) {
    TaskSpec spec;
    spec.task = static_cast<Task>(i);
    if (entry(spec.task).name != plain) continue;
    if (argument.empty()) return spec;
    const char* const end = argument.data() + argument.size();
    std::from_chars_result read{argument.data(), std::errc::invalid_argument};
    bool valid = false;
    if (spec.task == Task::code9c) {
      read = std::from_chars(argument.data(), end, spec.rho);
      valid = spec.rho >= 0 && spec.rho <= 1;
    } else if (spec.task == Task::bam_graded) {
      read = std::from_chars(argument.data(), end, spec.grade);
      valid = spec.grade >= 1 && spec.grade <= 6;
    }
    if (!valid || read.ec != std::errc{} || read.ptr != end) return std::nullopt;
    return spec;
  }
  return std::nullopt;
}

std::optional<TaskSpec> parse_task_word(std::string_view word) {
  const std::size_t at = word.find_first_of("(:");
  if (at == std::string_view::npos) return parse_task(word);
  std::string_view argument = word.substr(at + 1);
  if (word[at] == '(') {
    if (argument.empty() || argument.back() != ')') return std::nullopt;
    argument.remove_suffix(1);
  }
  if (argument.empty()) return std::nullopt;
  return parse_task(word.substr(0, at), argument);
}

std::string_view task_name(Task task) noexcept { return entry(task).name; }
int task_classes(Task task) noexcept { return entry(task).classes; }

std::string class_name(Task task, int k) {
  switch (task) {
    case Task::code9:
    case Task::near9:
    case Task::code9c: {
      const std::array<int, 4> w = code_word(k);
      return std::string(shapes[w[0]]) + "-" + patterns[w[1]] + "-" + colours[w[2]] + "-" + numbers[w[3]];
    }
    case Task::head3:
      return shapes[k];
    case Task::wing3:
      return patterns[k];
    case Task::tail3:
      return colours[k];
    case Task::legs3:
      return numbers[k];
    case Task::place6:
      return std::string(k < 3 ? "head " : "tail ") + colours[k % 3];
    case Task::and2:
      return k == 1 ? "square and striped" : "not both";
    case Task::xor2:
      return k == 1 ? "square xor striped" : "both or neither";
    case Task::eq2:
      return k == 1 ? "same colour" : "different colours";
    case Task::kind3:
    case Task::bam_obj:
      return kinds[k];
    default:
      return textures[k];
  }
}

int nearest_word(const std::array<int, 4>& values) noexcept {
  for (int c = 0; c < 9; ++c) {
    const std::array<int, 4> word = code_word(c);
    int same = 0;
    for (std::size_t i = 0; i < 4; ++i) same += word[i] == values[i];
    if (same >= 3) return c;
  }
  return -1;  // not for values 0 ... 2: the code is perfect
}

}  // namespace vitrine::data
