#include "core/status.h"

namespace vitrine {

const char* name(Status status) noexcept {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::bad_shape:
      return "bad_shape";
    case Status::bad_argument:
      return "bad_argument";
    case Status::bad_graph:
      return "bad_graph";
    case Status::out_of_arena:
      return "out_of_arena";
    case Status::no_rule:
      return "no_rule";
    case Status::no_trace:
      return "no_trace";
    case Status::non_finite:
      return "non_finite";
    case Status::stopped:
      return "stopped";
  }
  return "unknown";
}

}  // namespace vitrine
