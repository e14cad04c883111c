// A plan as text: what happens at each node, and memory against time. No heap, no streams: the text goes piece by piece
// to a sink of the caller's.
#pragma once

#include <string_view>

#include "core/plan/plan.h"

namespace vitrine {

class TextSink {
 public:
  virtual void write(std::string_view text) noexcept = 0;

 protected:
  ~TextSink() = default;
};

/// Which way the kernels of each node go, in words (tell_ways, core/measure.h): one text per node, or none at all.
struct NodeWays {
  std::span<const char*const> forward{}, backward{};
};

/// Two tables. The forward run, a line per node: whether it runs and which nodes are fused into it, the layout of what
/// it writes, the buffer [first byte, end) and the ticks of time in which the buffer is in use; a second line if the
/// node keeps a private record (the winners of a max pool). The walk, a line per node in the order of the walk: its
/// step or why there is none, what the step reads of the forward run, and the buffer of the signal that arrives. A
/// letter before a buffer is its letter in print_memory; letters start again after 62.
void print_nodes(const Plan&, TextSink&, const NodeWays& ways = {}) noexcept;

/// Memory against time, 80 columns wide: a line per tick of time, a column per 1/54 of the memory for values and
/// signals. Each buffer is drawn by a letter; "." is not in use. At the end of a line: the bytes in use.
void print_memory(const Plan&, TextSink&) noexcept;

}  // namespace vitrine
