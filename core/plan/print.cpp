#include "core/plan/print.h"

#include "core/plan/buffers.h"
#include "core/plan/passes.h"

namespace vitrine {
namespace {

// Writes columns: text is padded to the next column, and kept apart from it by at least one space.
class Line {
 public:
  explicit Line(TextSink& sink) noexcept : sink_(sink) {}

  Line& operator<<(std::string_view text) noexcept {
    sink_.write(text);
    at_ += text.size();
    return *this;
  }
  Line& operator<<(std::size_t number) noexcept {
    char digits[20];
    std::size_t k = sizeof digits;
    do digits[--k] = static_cast<char>('0' + number % 10);
    while ((number /= 10) > 0);
    return *this << std::string_view{digits + k, sizeof digits - k};
  }
  Line& operator<<(std::int32_t number) noexcept { return *this << static_cast<std::size_t>(number); }
  Line& column(std::size_t at) noexcept {
    do *this << " ";
    while (at_ < at);
    return *this;
  }
  void end() noexcept {
    *this << "\n";
    at_ = 0;
  }

 private:
  TextSink& sink_;
  std::size_t at_ = 0;
};

constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

// The letter of the buffer that holds v, or its signal.
char letter_of(const Plan& plan, BufferKind wanted, Id id) noexcept {
  std::size_t k = 0;
  char found = ' ';
  for_each_buffer(plan, [&](const Buffer&, BufferKind kind, Id owner) {
    if (kind == wanted && owner == id && found == ' ') found = letters[k % letters.size()];
    ++k;
  });
  return found;
}

class NodeTable {
  static constexpr std::size_t way_column = 98;

 public:
  NodeTable(const Plan& plan, TextSink& sink, const NodeWays& ways) noexcept
      : plan_(plan), g_(*plan.request.graph), ways_(ways), line_(sink) {}

  void forward() noexcept {
    const std::int32_t n = static_cast<std::int32_t>(g_.nodes.size());
    if (plan_.request.reference) line_ << "reference run: ticks 0 to " << n - 1, line_.end();
    line_ << "forward run: ticks " << (plan_.request.reference ? n : 0) << " to "
          << (plan_.request.reference ? 2 * n : n) - 1;
    line_.end();
    line_ << "node";
    line_.column(18) << "forward";
    line_.column(48) << "layout";
    line_.column(61) << "buffer";
    line_.column(82) << "in use";
    way_title(ways_.forward);
    for (std::size_t i = 0; i < g_.nodes.size(); ++i) forward_row(i);
  }

  void walk() noexcept {
    if (plan_.request.rules.empty()) return;
    line_.end();
    line_ << "walk: ticks " << (plan_.request.reference ? 2 : 1) * static_cast<std::int32_t>(g_.nodes.size()) << " to "
          << plan_.end - 1;
    line_.end();
    line_ << "node";
    line_.column(18) << "backward";
    line_.column(48) << "reads";
    line_.column(61) << "signal";
    line_.column(82) << "in use";
    way_title(ways_.backward);
    for (std::size_t i = g_.nodes.size(); i-- > 0;) walk_row(i);
    for (Id v = 0; v < g_.values.size(); ++v) {
      if (g_.values[v].kind != ValueKind::input || !plan_.signal(v).planned()) continue;
      line_ << g_.values[v].name;
      line_.column(18) << "-";
      line_.column(61);
      buffer(plan_.signal(v), letter_of(plan_, BufferKind::signal, v));
      line_.end();
    }
  }

 private:
  const char* name(std::size_t i) const noexcept { return g_.nodes[i].name; }

  void way(std::span<const char* const> ways, std::size_t i) noexcept {
    if (i < ways.size() && *ways[i] != '\0') line_.column(way_column) << ways[i];
  }
  void way_title(std::span<const char* const> ways) noexcept {
    if (!ways.empty()) line_.column(way_column) << "way of the kernels";
    line_.end();
  }

  void buffer(const Buffer& b, char letter) noexcept {
    const char text[] = {letter, ' ', '['};
    line_ << std::string_view{text, sizeof text} << b.offset << ", " << b.offset + b.bytes << ")";
    line_.column(82) << b.first << " to " << b.last;
  }

  void forward_row(std::size_t i) noexcept {
    const NodePlan& node = plan_.nodes[i];
    line_ << name(i);
    line_.column(18);
    if (!node.needed) {
      line_ << "not needed";
    } else if (!node.runs()) {
      line_ << "in " << name(node.fused_into);
    } else {
      line_ << "runs";
      for (std::size_t k = i + 1; k < g_.nodes.size(); ++k)
        if (plan_.nodes[k].fused_into == i) line_ << " + " << name(k);
      if (node.watched) line_ << ", watched";
      if (node.recomputed) line_ << ", recomputed";
      const ValuePlan& value = plan_.values[node.result];
      line_.column(48) << (value.interleaved ? "interleaved" : "planar");
      line_.column(61);
      buffer(value.memory, letter_of(plan_, BufferKind::value, value.memory_of));
      way(ways_.forward, i);
    }
    line_.end();
    if (!node.aux.planned()) return;
    line_.column(18) << "its record for the walk";
    line_.column(61);
    buffer(node.aux, letter_of(plan_, BufferKind::aux, static_cast<Id>(i)));
    line_.end();
  }

  void walk_row(std::size_t i) noexcept {
    const NodePlan& node = plan_.nodes[i];
    const Id out = g_.nodes[i].out;
    line_ << name(i);
    line_.column(18);
    if (node.walked) {
      line_ << plan_.request.rules[i]->name();
      if (node.folded_relu != no_id) line_ << " + mask of " << name(node.folded_relu);
      line_.column(48);
      reads(i);
      line_.column(61);
      const ValuePlan& value = plan_.values[out];
      const Buffer& own = plan_.signal(out);
      // A reused buffer belongs to another value's signal, whose lifetime covers this one's.
      buffer(value.signal_reuses == out ? own : plan_.signal(value.signal_reuses),
             letter_of(plan_, BufferKind::signal, value.signal_reuses));
      if (value.signal_reuses != out) line_ << ", that of " << g_.values[value.signal_reuses].name;
      way(ways_.backward, i);
    } else if (node.elided) {
      const Id folded = folded_into(i);
      if (folded != no_id)
        line_ << "in " << name(folded);
      else
        line_ << "skipped: signal to " << g_.values[plan_.values[out].signal_goes_to].name;
    } else {
      line_ << "-";
    }
    line_.end();
  }

  void reads(std::size_t i) noexcept {
    Need need = plan_.request.rules[i]->needs(*g_.nodes[i].op);
    if (plan_.nodes[i].folded_relu != no_id) need.out = true;
    const char* between = "";
    const auto item = [&](const char* what) {
      line_ << between << what;
      between = ", ";
    };
    if (need.in) item("in");
    if (need.out)
      item(plan_.nodes[i].output_seen == g_.nodes[i].out ? "out" : g_.values[plan_.nodes[i].output_seen].name);
    if (need.aux) item("aux");
    if (*between == '\0') line_ << "-";
  }

  Id folded_into(std::size_t relu) const noexcept {
    for (std::size_t k = 0; k < g_.nodes.size(); ++k)
      if (plan_.nodes[k].folded_relu == relu) return static_cast<Id>(k);
    return no_id;
  }

  const Plan& plan_;
  const Graph& g_;
  NodeWays ways_;
  Line line_;
};

// One line of print_memory.
void print_tick(const Plan& plan, std::int32_t tick, char phase, const char* node, Line& line) noexcept {
  constexpr std::size_t name_width = 14, width = 54;
  std::string_view name = node;
  line << name.substr(0, name_width);
  line.column(name_width + 1) << std::string_view{&phase, 1} << " ";
  char row[width];
  for (char& c : row) c = '.';
  std::size_t k = 0, used = 0;
  for_each_buffer(plan, [&](const Buffer& b, BufferKind, Id) {
    const char letter = letters[k++ % letters.size()];
    if (tick < b.first || tick > b.last) return;
    used += b.bytes;
    const std::size_t first = b.offset * width / plan.planned_bytes;
    std::size_t last = (b.offset + b.bytes) * width / plan.planned_bytes;
    if (last == first) ++last;  // smaller than a column
    for (std::size_t c = first; c < last && c < width; ++c) row[c] = letter;
  });
  line << std::string_view{row, width} << " " << used;
  line.end();
}

}  // namespace

void print_nodes(const Plan& plan, TextSink& sink, const NodeWays& ways) noexcept {
  NodeTable table(plan, sink, ways);
  table.forward();
  table.walk();
}

void print_memory(const Plan& plan, TextSink& sink) noexcept {
  Line line(sink);
  if (plan.planned_bytes == 0) return;
  line << "r: reference run, f: forward, a: again, w: walk; " << plan.planned_bytes << " bytes across";
  line.end();
  for_each_tick(plan, [&](std::int32_t tick, Phase phase, Id node) {
    constexpr char marks[] = {'r', 'f', 'a', 'w'};
    print_tick(plan, tick, marks[static_cast<std::size_t>(phase)], plan.request.graph->nodes[node].name, line);
  });
}

}  // namespace vitrine
