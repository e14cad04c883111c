#include "models/train/schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "core/host/error.h"

namespace vitrine {
namespace {

double number(const std::string& text, const std::string& whole) {
  double v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc{} || end != text.data() + text.size() || !(v > 0) || v > 1e6)
    throw Error("schedule '" + whole + "': '" + text + "' is not a number above 0 and at most 1000000", Error::usage);
  return v;
}

double half_wave(double from, double to, double share) {
  return to + (from - to) * (1 + std::cos(std::numbers::pi * share)) / 2;
}

}  // namespace

double Schedule::factor(std::int64_t t, std::int64_t total) const noexcept {
  if (kind == one_cycle) {
    // Smith & Topin 2018, with cosine legs as PyTorch's OneCycleLR has them.
    const double rise = std::max(1.0, warm_share * static_cast<double>(total) - 1), at = static_cast<double>(t);
    if (at <= rise) return half_wave(1 / start_factor, 1, at / rise);
    return half_wave(1, 1 / (start_factor * final_factor),
                     (at - rise) / std::max(1.0, static_cast<double>(total) - 1 - rise));
  }
  const double ramp = t < warmup ? static_cast<double>(t + 1) / static_cast<double>(warmup) : 1;
  switch (kind) {
    case step:
      return ramp * (every > 0 ? std::pow(gamma, static_cast<double>(t / every)) : 1);
    case cosine: {
      const std::int64_t after = std::max<std::int64_t>(1, total - warmup);
      return t < warmup ? ramp : half_wave(1, floor, static_cast<double>(t - warmup) / static_cast<double>(after));
    }
    case constant:
    case one_cycle:
      break;
  }
  return ramp;
}

Schedule Schedule::parse(const std::string& whole, std::int64_t per_epoch, std::int64_t epochs) {
  Schedule s;
  std::string text = whole;
  const auto steps = [&](double e) {
    return std::max<std::int64_t>(1, std::llround(e * static_cast<double>(per_epoch)));
  };
  if (const std::size_t plus = text.find("+warmup"); plus != std::string::npos) {
    const std::string rest = text.substr(plus + 7);
    text.resize(plus);
    if (!rest.empty() && rest[0] != ':')
      throw Error("schedule '" + whole + "': expected +warmup or +warmup:EPOCHS", Error::usage);
    s.warmup = steps(rest.empty() ? 1 : number(rest.substr(1), whole));
  }
  std::string options;
  if (const std::size_t colon = text.find(':'); colon != std::string::npos) {
    options = text.substr(colon + 1);
    text.resize(colon);
  }
  if (text == "constant")
    s.kind = constant;
  else if (text == "cosine")
    s.kind = cosine;
  else if (text == "one-cycle")
    s.kind = one_cycle;
  else if (text == "step")
    s.kind = step;
  else
    throw Error("unknown schedule '" + whole +
                    "': expected constant, step[:EPOCHS[,GAMMA]], cosine or one-cycle, each with +warmup[:EPOCHS]",
                Error::usage);
  if (!options.empty() && s.kind != step)
    throw Error("schedule '" + whole + "': only step takes options", Error::usage);
  if (s.kind == step) {
    const std::size_t comma = options.find(',');
    s.every = steps(options.empty() ? std::max(1.0, static_cast<double>(epochs) / 3)
                                    : number(options.substr(0, comma), whole));
    if (comma != std::string::npos) s.gamma = number(options.substr(comma + 1), whole);
  }
  const std::int64_t total = per_epoch * epochs;
  const std::string beyond =
      " than the " + std::to_string(epochs) + (epochs == 1 ? " epoch" : " epochs") + " of training";
  if (total > 0 && s.warmup > total)
    throw Error("schedule '" + whole + "': the warm-up is longer" + beyond, Error::usage);
  if (total > 0 && !options.empty() && s.every >= total)
    throw Error("schedule '" + whole + "': its first step comes no earlier than the end of training (" +
                    std::to_string(epochs) + (epochs == 1 ? " epoch)" : " epochs)"),
                Error::usage);
  if (s.kind == one_cycle && s.warmup > 0)
    throw Error("schedule '" + whole + "': one-cycle has its own warm-up", Error::usage);
  return s;
}

}  // namespace vitrine
