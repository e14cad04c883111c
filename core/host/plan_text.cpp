#include "core/host/plan_text.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/host/error.h"
#include "core/host/memory.h"
#include "core/host/text.h"
#include "core/measure.h"
#include "core/plan/buffers.h"
#include "core/plan/print.h"

namespace vitrine {
namespace {

class StringSink final : public TextSink {
 public:
  void write(std::string_view piece) noexcept override { text.append(piece); }
  std::string text;
};

// Collects the ways of each node's kernels.
class WayReport final : public Report {
 public:
  explicit WayReport(std::size_t nodes) : calls_{std::vector<Calls>(nodes), std::vector<Calls>(nodes)} {}
  void at(std::uint32_t node, bool backward) noexcept override { node_ = node, backward_ = backward; }
  void chose(const kernels::Choice& c, const kernels::GemmArgs<real>&) noexcept override { note(c); }
  void chose(const kernels::Choice& c, const kernels::ConvArgs<real>&) noexcept override { note(c); }
  void chose(const kernels::Choice& c, const kernels::PoolShape&) noexcept override { note(c); }
  void chose(const kernels::Choice& c, const kernels::BatchNormArgs<real>&) noexcept override { note(c); }

  Ways ways() const {
    Ways w;
    for (const Calls& calls : calls_[0]) w.forward.push_back(text(calls));
    for (const Calls& calls : calls_[1]) w.backward.push_back(text(calls));
    return w;
  }

 private:
  using Calls = std::vector<std::pair<std::string, std::string>>;  // kernel and way, each pair once

  void note(const kernels::Choice& c) {
    Calls& calls = calls_[backward_][node_];
    const std::pair<std::string, std::string> call{c.kernel, c.way};
    if (std::find(calls.begin(), calls.end(), call) == calls.end()) calls.push_back(call);
  }
  static std::string text(const Calls& calls) {
    if (calls.size() == 1) return calls[0].second;
    std::string all;
    for (const auto& [kernel, way] : calls) all += (all.empty() ? "" : "; ") + kernel + ": " + way;
    return all;
  }

  std::vector<Calls> calls_[2];  // forward, backward: per node
  std::uint32_t node_ = 0;
  bool backward_ = false;
};

struct Kind {
  const char *name, *colour;
};
// By BufferKind; colours of the Okabe-Ito palette, which colour-blind readers can tell apart.
constexpr Kind kinds[] = {{"value", "#0072b2"},
                          {"reference value", "#56b4e9"},
                          {"signal", "#d55e00"},
                          {"record", "#009e73"},
                          {"reference record", "#999999"},
                          {"recomputed value", "#cc79a7"},
                          {"recomputed record", "#f0e442"}};

constexpr double left = 80, top = 40, width = 880, height = 400;

// Node names come from files: no character of theirs may act as markup.
std::string escaped(const char* text) {
  std::string out;
  for (; *text != '\0'; ++text) {
    const char c = *text;
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
    if (static_cast<unsigned char>(c) < 0x20) out.back() = ' ';
  }
  return out;
}

template <class... T>
void append(std::string& out, const char* format, T... values) {
  char buffer[256];
  const int n = std::snprintf(buffer, sizeof buffer, format, values...);
  out.append(buffer, static_cast<std::size_t>(std::clamp(n, 0, static_cast<int>(sizeof buffer) - 1)));
}

class MemoryChart {
 public:
  explicit MemoryChart(const Plan& plan) : plan_(plan), ticks_(plan.end + 1) {}

  std::string draw() {
    append(svg_,
           "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" font-family=\"sans-serif\" "
           "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
           left + width + 20, top + height + 60);
    buffers();
    axes();
    phases();
    legend();
    return svg_ + "</svg>\n";
  }

 private:
  double x(double tick) const { return left + width * tick / ticks_; }
  double y(double bytes) const {
    return top + height - height * bytes / static_cast<double>(std::max<std::size_t>(plan_.planned_bytes, 1));
  }

  void buffers() {
    const Graph& g = *plan_.request.graph;
    for_each_buffer(plan_, [&](const Buffer& b, BufferKind kind, Id id) {
      const bool of_node =
          kind == BufferKind::aux || kind == BufferKind::reference_aux || kind == BufferKind::recomputed_aux;
      const Kind& k = kinds[static_cast<std::size_t>(kind)];
      const double bottom = y(static_cast<double>(b.offset)), above = y(static_cast<double>(b.offset + b.bytes));
      append(svg_,
             "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\" fill-opacity=\"0.7\" "
             "stroke=\"white\" stroke-width=\"0.5\"><title>",
             x(b.first), above, x(b.last + 1) - x(b.first), bottom - above, k.colour);
      svg_ += std::string(k.name) + " of " + escaped(of_node ? g.nodes[id].name : g.values[id].name);
      append(svg_, ": bytes [%zu, %zu), ticks %d to %d</title></rect>\n", b.offset, b.offset + b.bytes, b.first,
             b.last);
    });
  }

  void axes() {
    append(svg_, "<path d=\"M%g %g V%g H%g\" fill=\"none\" stroke=\"black\"/>\n", left, top, top + height,
           left + width);
    for (int k = 0; k <= 4; ++k) {
      const double bytes = static_cast<double>(plan_.planned_bytes) * k / 4;
      append(svg_, "<text x=\"%g\" y=\"%.2f\" text-anchor=\"end\">%.4g %s</text>\n", left - 6, y(bytes) + 4,
             bytes >= 1048576 ? bytes / 1048576 : bytes / 1024, bytes >= 1048576 ? "MiB" : "KiB");
    }
    append(svg_, "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">time, one tick per node and phase</text>\n",
           left + width / 2, top + height + 48);
  }

  // Where each phase starts. Recomputation and walk alternate, so they are one.
  void phases() {
    constexpr const char* names[] = {"reference run", "forward run", "walk", "walk"};
    std::string_view last;
    for_each_tick(plan_, [&](std::int32_t tick, Phase phase, Id) {
      const char* const name = names[static_cast<std::size_t>(phase)];
      if (name == last) return;
      last = name;
      append(svg_, "<path d=\"M%.2f %g V%g\" stroke=\"black\" stroke-dasharray=\"2 3\"/>\n", x(tick), top,
             top + height);
      append(svg_, "<text x=\"%.2f\" y=\"%g\">%s</text>\n", x(tick) + 2, top + height + 16, name);
    });
  }

  void legend() {
    bool drawn[std::size(kinds)] = {};
    for_each_buffer(plan_, [&](const Buffer&, BufferKind kind, Id) { drawn[static_cast<std::size_t>(kind)] = true; });
    double at = left;
    for (std::size_t k = 0; k < std::size(kinds); ++k) {
      if (!drawn[k]) continue;
      append(svg_, "<rect x=\"%g\" y=\"14\" width=\"12\" height=\"12\" fill=\"%s\" fill-opacity=\"0.7\"/>", at,
             kinds[k].colour);
      append(svg_, "<text x=\"%g\" y=\"24\">%s</text>\n", at + 16, kinds[k].name);
      at += 130;
    }
  }

  const Plan& plan_;
  double ticks_;
  std::string svg_;
};

}  // namespace

Ways ways_of(const Engine& engine, const Plan& plan) {
  const std::size_t nodes = plan.nodes.size();
  Memory memory(plan.book_bytes + 12 * nodes * sizeof(Prepared::Entry) + 4 * Arena::alignment);
  Arena book(memory.data(), memory.bytes());
  WayReport report(nodes);
  Failure failure;
  Context ctx = engine.context();
  ctx.failure = &failure;
  if (tell_ways(ctx, book, plan, report) != Status::ok) throw Error(sentence(failure));
  return report.ways();
}

std::string node_table(const Plan& plan, const Ways& ways) {
  StringSink sink;
  std::vector<const char*> forward, backward;
  for (const std::string& way : ways.forward) forward.push_back(way.c_str());
  for (const std::string& way : ways.backward) backward.push_back(way.c_str());
  print_nodes(plan, sink, {forward, backward});
  return sink.text;
}

std::string memory_picture(const Plan& plan) {
  StringSink sink;
  print_memory(plan, sink);
  return sink.text;
}

std::string memory_chart(const Plan& plan) { return MemoryChart(plan).draw(); }

}  // namespace vitrine
