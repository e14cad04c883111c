// Status codes: how kernels, core, layers and rules report failure. They carry no text, so they cost a byte in
// firmware; `Failure` adds what a host needs to make one sentence of it.
#pragma once

#include <cstdint>

#include "core/shape.h"

namespace vitrine {

enum class [[nodiscard]] Status : std::uint8_t{
    ok,
    bad_shape,     ///< an input's shape does not fit the op
    bad_argument,  ///< an attribute is out of its range (stride 0, alpha - beta != 1, ...)
    bad_graph,     ///< a value used before it exists, a second output, no input, ...
    out_of_arena,  ///< the caller's memory is too small
    no_rule,       ///< a rule has no meaning at this op
    no_trace,      ///< a value that a rule needs was not kept by the forward run
    non_finite,    ///< NaN or infinity where the caller asked to be told
    stopped,       ///< the caller asked to stop
};

/// The name of a status, for logs ("out_of_arena").
const char* name(Status) noexcept;

/// The first failure of a builder or a walk. Pointers are to static or graph-owned strings, never to heap.
struct Failure {
  Status status = Status::ok;
  const char* node = "";         ///< name of the node, or "" if it is not about one
  const char* what = "";         ///< what is wrong, as the end of a sentence: "needs 1 <= stride"
  Shape found{}, expected{};     ///< for bad_shape: found, and expected where that can be said (else equal to found)
  std::int64_t found_value = 0;  ///< for bad_argument and out_of_arena (bytes needed)
};

#define VITRINE_TRY(expression)                                                                           \
  do {                                                                                                    \
    if (const ::vitrine::Status status_ = (expression); status_ != ::vitrine::Status::ok) return status_; \
  } while (false)

}  // namespace vitrine
