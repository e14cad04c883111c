// The list of ops by name: what a model file is read with, and what `vitrine layers` prints.
#pragma once

#include "core/graph.h"

namespace vitrine {

struct OpEntry {
  const char* name;                     ///< Op::name
  const char* summary;                  ///< one line for people
  Op* (*make)(GraphBuilder&) noexcept;  ///< with default attributes; null if the graph's arena is full
};

/// All ops, in the order in which they are documented.
std::span<const OpEntry> op_entries() noexcept;

/// The entry of that name, or null.
const OpEntry* find_op(const char* name) noexcept;

}  // namespace vitrine
