// The one exception type of the host side (core/host/io, models, interp methods, tools). It carries one sentence that
// names the file, field or shape, what was found and what was expected. Kernels, core, layers and rules return Status
// instead.
#pragma once

#include <stdexcept>
#include <string>

namespace vitrine {

class Error : public std::runtime_error {
 public:
  /// What the program's exit status says: 2 the call was wrong (usage), 1 the input or the machine was.
  enum Kind { input = 1, usage = 2 };
  explicit Error(const std::string& sentence, Kind kind = input) : std::runtime_error(sentence), kind_(kind) {}
  Kind kind() const noexcept { return kind_; }

 private:
  Kind kind_;
};

}  // namespace vitrine
